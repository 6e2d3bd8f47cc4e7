//! The XML of OSS: documents are read into a tree, text is escaped. The only file that names
//! `quick_xml::`.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::ParseResult;
use crate::error::escape_control;
use crate::names::is_upload_id;

/// Documents of OSS are four levels deep at most.
const DEPTH_MAX: usize = 16;
/// The length at which shown texts are cut. Real messages have fewer than 300 characters.
const TEXT_CHARS_MAX: usize = 1024;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Returns the text of the first child of that name, or `None` if it is missing or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(child.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Reads a whole document whose root is `root`. A document that stops early is an error, not a
/// shorter document.
pub(super) fn parse(document: &[u8], root: &str) -> Result<Element, String> {
    let element = parse_any(document)?;
    if element.name != root {
        return Err(format!(
            "it holds <{}>, not <{root}>",
            clean_text(&element.name)
        ));
    }
    Ok(element)
}

pub(super) fn parse_any(document: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    loop {
        let finished = match reader
            .read_event()
            .map_err(|error| format!("broken XML: {error}"))?
        {
            Event::Start(_) if open.len() == DEPTH_MAX => {
                return Err("XML nested too deeply".into());
            }
            Event::Start(tag) => {
                open.push(Element {
                    name: tag.local_name().as_ref().to_owned(),
                    ..Element::default()
                });
                None
            }
            Event::Empty(tag) => Some(Element {
                name: tag.local_name().as_ref().to_owned(),
                ..Element::default()
            }),
            Event::End(_) => open.pop(),
            Event::Text(text) => append(&mut open, &text.xml10_content()),
            Event::CData(text) => append(&mut open, &text.xml10_content()),
            Event::GeneralRef(entity) => append(&mut open, &resolve(&entity)?),
            Event::Eof => {
                return Err(if open.is_empty() {
                    "no XML".into()
                } else {
                    "XML that stops early".into()
                });
            }
            Event::DocType(_) => return Err("XML with a document type".into()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => None,
        };
        if let Some(mut element) = finished {
            if !element.children.is_empty() {
                element.text.clear();
            }
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Ok(element),
            }
        }
    }
}

fn append(open: &mut [Element], text: &str) -> Option<Element> {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
    None
}

fn resolve(entity: &BytesRef) -> Result<String, String> {
    if let Some(character) = entity
        .resolve_char_ref()
        .map_err(|error| format!("broken XML: {error}"))?
    {
        return Ok(character.to_string());
    }
    let name = entity.xml10_content();
    resolve_predefined_entity(&name)
        .map(str::to_owned)
        .ok_or_else(|| format!("broken XML: unknown entity {}", clean_text(&name)))
}

/// Escapes text that will stand between two tags.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

/// Returns the child `UploadId` of an element.
///
/// The id becomes part of URLs, of the checkpoint and of log lines, so nothing but an upload id is
/// accepted.
pub(super) fn upload_id(element: &Element) -> ParseResult<String> {
    let id = element.text("UploadId").ok_or("it has no UploadId")?;
    match is_upload_id(id) {
        true => Ok(id.to_owned()),
        false => Err("its UploadId has characters that no upload id has".into()),
    }
}

/// Returns a text that can be shown and logged: one line, without control characters.
pub(super) fn clean_text(text: &str) -> String {
    let words = text.split(|character: char| character.is_control() || character.is_whitespace());
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    escape_control(&line.chars().take(TEXT_CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_joins_entities_and_cdata() {
        let document =
            b"<?xml version=\"1.0\"?><R><E>&quot;A&#66;&#x43;&amp;&quot;</E><E><![CDATA[<x>]]>y</E><F/></R>";
        let root = parse(document, "R").unwrap();
        let texts: Vec<_> = root.all("E").map(|element| element.text.as_str()).collect();
        assert_eq!(texts, ["\"ABC&\"", "<x>y"]);
        assert_eq!(root.text("F"), None);
    }

    #[test]
    fn xml_rejects_truncated_and_foreign_documents() {
        let document = b"<R><A>1</A><B>2</B></R>";
        for end in 0..document.len() {
            assert!(parse(&document[..end], "R").is_err(), "{end}");
        }
        for foreign in [
            &b"<html><body>x</body></html>"[..],
            b"\xff\xfe",
            b"{}",
            b"<R>&nope;</R>",
            b"<R></S>",
        ] {
            assert!(parse(foreign, "R").is_err());
        }
        assert!(
            parse("<a>".repeat(1000).as_bytes(), "a")
                .unwrap_err()
                .contains("deep")
        );
    }

    #[test]
    fn xml_escaped_text_is_read_back() {
        let text = "a&b<c>\"d'e";
        assert_eq!(
            parse_any(format!("<T>{}</T>", escape(text)).as_bytes())
                .unwrap()
                .text,
            text
        );
    }

    #[test]
    fn xml_text_is_cleaned() {
        assert_eq!(clean_text(" a\r\n\tb\u{9b}c "), "a b c");
        assert_eq!(clean_text("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(clean_text(&"x".repeat(5000)).len(), TEXT_CHARS_MAX);
        let error = parse("<a\u{202e}b></a\u{202e}b>".as_bytes(), "R").unwrap_err();
        assert!(!error.contains('\u{202e}'), "{error}");
    }
}

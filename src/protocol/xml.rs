//! The little XML that OSS speaks, read into a tree and written from text. The only place that names `quick_xml::`.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// OSS's answers are four levels deep at most.
const DEPTH_MAX: usize = 16;

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

    /// The text of the first child of that name; `None` if there is none or it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let child = self.children.iter().find(|child| child.name == name)?;
        Some(child.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Reads a whole document whose root is `root`. A document that stops early is an error, not a shorter document.
pub(super) fn parse(document: &[u8], root: &str) -> Result<Element, String> {
    let element = parse_any(document)?;
    if element.name != root {
        return Err(format!("it holds <{}> where <{root}> belongs", element.name));
    }
    Ok(element)
}

pub(super) fn parse_any(document: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(document).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    loop {
        let finished = match reader.read_event().map_err(|error| format!("broken XML: {error}"))? {
            Event::Start(_) if open.len() == DEPTH_MAX => return Err("XML nested too deeply".into()),
            Event::Start(tag) => {
                open.push(Element { name: tag.local_name().as_ref().to_owned(), ..Element::default() });
                None
            }
            Event::Empty(tag) => {
                Some(Element { name: tag.local_name().as_ref().to_owned(), ..Element::default() })
            }
            Event::End(_) => open.pop(),
            Event::Text(text) => append(&mut open, &text.xml10_content()),
            Event::CData(text) => append(&mut open, &text.xml10_content()),
            Event::GeneralRef(entity) => append(&mut open, &resolve(&entity)?),
            Event::Eof => {
                return Err(if open.is_empty() { "no XML".into() } else { "XML that stops early".into() });
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
    if let Some(character) = entity.resolve_char_ref().map_err(|error| format!("broken XML: {error}"))? {
        return Ok(character.to_string());
    }
    let name = entity.xml10_content();
    resolve_predefined_entity(&name)
        .map(str::to_owned)
        .ok_or_else(|| format!("broken XML: unknown entity {name}"))
}

/// Text as it stands between two tags.
pub(super) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_and_cdata_join_to_one_text() {
        let document =
            b"<?xml version=\"1.0\"?><R><E>&quot;A&#66;&#x43;&amp;&quot;</E><E><![CDATA[<x>]]>y</E><F/></R>";
        let root = parse(document, "R").unwrap();
        let texts: Vec<_> = root.all("E").map(|element| element.text.as_str()).collect();
        assert_eq!(texts, ["\"ABC&\"", "<x>y"]);
        assert_eq!(root.text("F"), None);
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_an_error() {
        let document = b"<R><A>1</A><B>2</B></R>";
        for end in 0..document.len() {
            assert!(parse(&document[..end], "R").is_err(), "{end}");
        }
        for foreign in [&b"<html><body>x</body></html>"[..], b"\xff\xfe", b"{}", b"<R>&nope;</R>", b"<R></S>"]
        {
            assert!(parse(foreign, "R").is_err());
        }
        assert!(parse("<a>".repeat(1000).as_bytes(), "a").unwrap_err().contains("deep"));
    }

    #[test]
    fn escaping_survives_reading() {
        let text = "a&b<c>\"d'e";
        assert_eq!(parse_any(format!("<T>{}</T>", escaped(text)).as_bytes()).unwrap().text, text);
    }
}

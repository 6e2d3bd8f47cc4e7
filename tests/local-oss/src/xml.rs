//! Parsers of the documents that clients send: lists of parts, and of objects to delete.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use crate::error::{OssError, Result};

/// The most objects that one request deletes.
const DELETED_MAX: usize = 1000;

/// Parses a `CompleteMultipartUpload` document. Returns the number and the ETag of each part, in
/// the order of the document, which may be empty.
pub(crate) fn parse_complete(document: &[u8]) -> Result<Vec<(u32, String)>> {
    let parts = elements(document, "CompleteMultipartUpload").and_then(|elements| parts(&elements));
    parts.ok_or_else(malformed)
}

fn parts(elements: &[Element]) -> Option<Vec<(u32, String)>> {
    let (mut parts, mut number, mut etag) = (Vec::new(), None, None);
    for Element { path, text } in elements {
        match path.as_str() {
            "Part" => parts.push((number.take()?, etag.take()?)),
            "Part/PartNumber" => number = Some(text.trim().parse().ok()?),
            "Part/ETag" => etag = Some(text.trim().to_owned()),
            _ => {}
        }
    }
    Some(parts)
}

/// The content of a `Delete` document.
#[derive(Debug, Default)]
pub(crate) struct DeleteList {
    pub(crate) keys: Vec<String>,
    /// Whether the response does not list what was deleted.
    pub(crate) quiet: bool,
}

pub(crate) fn parse_delete(document: &[u8]) -> Result<DeleteList> {
    let mut list = DeleteList::default();
    for Element { path, text } in elements(document, "Delete").ok_or_else(malformed)? {
        match path.as_str() {
            "Object/Key" if !text.is_empty() => list.keys.push(text),
            "Object" => {}
            "Quiet" if ["true", "false"].contains(&text.as_str()) => list.quiet = text == "true",
            "Object/VersionId" => {
                return Err(OssError::new(
                    501,
                    "NotImplemented",
                    "This local server has no versions.",
                ));
            }
            _ => return Err(malformed()),
        }
    }
    if (1..=DELETED_MAX).contains(&list.keys.len()) {
        Ok(list)
    } else {
        Err(malformed())
    }
}

fn malformed() -> OssError {
    let message = "The XML you provided was not well-formed or did not validate against our published schema.";
    OssError::new(400, "MalformedXML", message).ec("0042-00000205")
}

/// An element below the root: the path of its name, and its text.
struct Element {
    path: String,
    text: String,
}

/// Returns all elements below the root, in the order of their end tags; `None` if the document is
/// not complete or has another root.
fn elements(document: &[u8], root: &str) -> Option<Vec<Element>> {
    let mut reader = Reader::from_str(std::str::from_utf8(document).ok()?);
    let mut path: Vec<String> = Vec::new();
    let (mut elements, mut text) = (Vec::new(), String::new());
    let mut complete = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                text.clear();
                if complete || path[0] != root {
                    return None;
                }
            }
            Event::End(_) => {
                match path.get(1..) {
                    Some([]) => complete = true,
                    Some(below) => elements.push(Element {
                        path: below.join("/"),
                        text: text.clone(),
                    }),
                    None => {}
                }
                path.pop();
            }
            Event::Text(chunk) => text.push_str(&chunk),
            Event::CData(chunk) => text.push_str(&chunk),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&reference)?),
            },
            Event::Eof => return (complete && path.is_empty()).then_some(elements),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_document() {
        let document = "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload>\n \
            <Part><PartNumber>1</PartNumber><ETag>\"AB\"</ETag></Part>\
            <Part><ETag>&#34;CD&quot;</ETag><PartNumber> 3 </PartNumber><Other>x</Other></Part>\
            <Part><PartNumber>4</PartNumber><ETag><![CDATA[EF]]></ETag></Part>\n</CompleteMultipartUpload>";
        let parts = parse_complete(document.as_bytes()).expect("a good list");
        assert_eq!(
            parts,
            [
                (1, "\"AB\"".to_owned()),
                (3, "\"CD\"".to_owned()),
                (4, "EF".to_owned())
            ]
        );
        for wrong in [
            "",
            "nothing",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>A</ETag></Part>",
            "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>A</ETag></Part>\
             </CompleteMultipartUpload>",
        ] {
            assert!(parse_complete(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn delete_document() {
        let document = "<?xml version=\"1.0\"?>\n<Delete>\n <Quiet>true</Quiet>\
            <Object><Key> a&amp;b&#10;</Key></Object>\n<Object><Key>c</Key></Object></Delete>";
        let list = parse_delete(document.as_bytes()).expect("a good list");
        assert_eq!(
            (list.keys, list.quiet),
            (vec![" a&b\n".to_owned(), "c".to_owned()], true)
        );
        let many = "<Object><Key>a</Key></Object>".repeat(DELETED_MAX + 1);
        for wrong in [
            "<Delete></Delete>",
            "<Delete><Object><Key></Key></Object></Delete>",
            "<Delete><Quiet>yes</Quiet><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><VersionId>b</VersionId></Object></Delete>",
            "<Other><Object><Key>a</Key></Object></Other>",
            &format!("<Delete>{many}</Delete>"),
        ] {
            assert!(parse_delete(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

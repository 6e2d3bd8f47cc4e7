//! Reading the one document that clients send: the list of parts.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use crate::error::{OssError, Result};

/// Number and ETag of each part, in the order of a `CompleteMultipartUpload` document.
pub(crate) fn parse_complete(document: &[u8]) -> Result<Vec<(u32, String)>> {
    let parts = std::str::from_utf8(document).ok().and_then(read_parts);
    match parts {
        Some(parts) if !parts.is_empty() => Ok(parts),
        _ => {
            let message = "The XML you provided was not well-formed or did not validate against our \
                           published schema.";
            Err(OssError::new(400, "MalformedXML", message).ec("0042-00000205"))
        }
    }
}

fn read_parts(document: &str) -> Option<Vec<(u32, String)>> {
    let mut reader = Reader::from_str(document);
    let mut path: Vec<String> = Vec::new();
    let (mut parts, mut number, mut etag) = (Vec::new(), None, None);
    let mut text = String::new();
    let mut complete = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                text.clear();
                match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["CompleteMultipartUpload"] if !complete => {}
                    ["CompleteMultipartUpload", "Part"] => (number, etag) = (None, None),
                    ["CompleteMultipartUpload", ..] => {}
                    _ => return None,
                }
            }
            Event::End(_) => {
                match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["CompleteMultipartUpload"] => complete = true,
                    ["CompleteMultipartUpload", "Part"] => parts.push((number.take()?, etag.take()?)),
                    ["CompleteMultipartUpload", "Part", "PartNumber"] => {
                        number = Some(text.trim().parse().ok()?)
                    }
                    ["CompleteMultipartUpload", "Part", "ETag"] => etag = Some(text.trim().to_owned()),
                    _ => {}
                }
                path.pop();
            }
            Event::Text(piece) => text.push_str(&piece),
            Event::CData(piece) => text.push_str(&piece),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&reference)?),
            },
            Event::Eof => return (complete && path.is_empty()).then_some(parts),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_lists() {
        let document = "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload>\n \
            <Part><PartNumber>1</PartNumber><ETag>\"AB\"</ETag></Part>\
            <Part><ETag>&#34;CD&quot;</ETag><PartNumber> 3 </PartNumber><Other>x</Other></Part>\
            <Part><PartNumber>4</PartNumber><ETag><![CDATA[EF]]></ETag></Part>\n</CompleteMultipartUpload>";
        let parts = parse_complete(document.as_bytes()).expect("a good list");
        assert_eq!(parts, [(1, "\"AB\"".to_owned()), (3, "\"CD\"".to_owned()), (4, "EF".to_owned())]);
        for wrong in [
            "",
            "nothing",
            "<CompleteMultipartUpload></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>A</ETag></Part>",
            "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>A</ETag></Part>\
             </CompleteMultipartUpload>",
        ] {
            assert!(parse_complete(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

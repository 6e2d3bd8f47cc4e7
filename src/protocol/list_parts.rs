//! ListParts (OSS documentation of that name).

use super::request::{Header, Method, Request, Response};
use super::{Parsed, xml};
use crate::part::unquoted;

/// A part as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedPart {
    pub(crate) number: u32,
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) crc64: Option<u64>,
}

pub(crate) struct Page {
    pub(crate) parts: Vec<ListedPart>,
    /// The marker of the next page, if there is one.
    pub(crate) next: Option<u32>,
}

pub(crate) fn request(bucket: &str, key: &str, upload_id: &str, marker: u32, headers: &[Header]) -> Request {
    Request::new("ListParts", Method::Get, bucket, key)
        .query("uploadId", upload_id)
        .query("max-parts", 1000)
        .query("part-number-marker", marker)
        .query("encoding-type", "url")
        .headers(headers)
}

pub(crate) fn parse(response: &Response, marker: u32) -> Parsed<Page> {
    let result = xml::parse(&response.body, "ListPartsResult")?;
    let mut parts = Vec::new();
    for part in result.all("Part") {
        let number = |name: &str| part.text(name).and_then(|text| text.parse::<u64>().ok());
        let listed = ListedPart {
            number: number("PartNumber")
                .and_then(|n| u32::try_from(n).ok())
                .ok_or("a part has no PartNumber")?,
            etag: unquoted(part.text("ETag").ok_or("a part has no ETag")?).to_owned(),
            size: number("Size").ok_or("a part has no Size")?,
            crc64: number("HashCrc64ecma"),
        };
        parts.push(listed);
    }
    let next = match result.text("IsTruncated") {
        Some("true") => {
            let next = result.text("NextPartNumberMarker").and_then(|text| text.parse().ok());
            Some(
                next.filter(|next| *next > marker)
                    .ok_or("it is truncated and does not say where to go on")?,
            )
        }
        _ => None,
    };
    Ok(Page { parts, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &str, marker: u32) -> Parsed<Page> {
        parse(&Response { status: 200, body: body.into(), ..Response::default() }, marker)
    }

    #[test]
    fn parts_and_the_next_page() {
        let body = "<ListPartsResult><PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>5</NextPartNumberMarker>\
            <IsTruncated>true</IsTruncated><Part><PartNumber>1</PartNumber><LastModified>2012-02-23T07:01:34.000Z</LastModified>\
            <ETag>&quot;AB&quot;</ETag><HashCrc64ecma>18446744073709551615</HashCrc64ecma><Size>6291456</Size></Part>\
            <Part><PartNumber>5</PartNumber><ETag>CD</ETag><Size>1</Size></Part></ListPartsResult>";
        let Ok(page) = page(body, 0) else { panic!("not read") };
        assert_eq!(page.next, Some(5));
        assert_eq!(
            page.parts[0],
            ListedPart { number: 1, etag: "AB".into(), size: 6_291_456, crc64: Some(u64::MAX) }
        );
        assert_eq!(page.parts[1].crc64, None);
    }

    #[test]
    fn a_list_that_would_turn_in_circles_is_not_followed() {
        let body = "<ListPartsResult><NextPartNumberMarker>5</NextPartNumberMarker><IsTruncated>true</IsTruncated></ListPartsResult>";
        assert!(page(body, 4).is_ok());
        assert!(page(body, 5).is_err());
        assert!(page("<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>", 0).is_err());
        assert!(page("<ListPartsResult><Part></Part></ListPartsResult>", 0).is_err());
    }
}

//! ListParts (OSS documentation of that name).

use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use super::{ParseResult, xml};
use crate::error::OperationKind;
use crate::part::{PARTS_MAX, normalize_etag};

/// Parts on one page: the most that OSS gives.
const PAGE_SIZE: usize = 1000;

pub(crate) struct ListParts<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) upload_id: &'a str,
    /// The number of the last part of the page before; 0 for the first page.
    pub(crate) marker: u32,
    pub(crate) headers: &'a [Header],
}

/// A part as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedPart {
    pub(crate) number: u32,
    /// Normalized.
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) crc64: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) parts: Vec<ListedPart>,
    /// The marker of the next page, if there is one.
    pub(crate) next: Option<u32>,
}

impl Action for ListParts<'_> {
    type Output = Page;

    fn request(&self) -> Request {
        Request::new(OperationKind::ListParts, Method::Get, self.bucket, self.key)
            .query("uploadId", self.upload_id)
            .query("max-parts", PAGE_SIZE)
            .query("part-number-marker", self.marker)
            .query("encoding-type", "url")
            .headers(self.headers)
    }

    /// The numbers on a page are larger than the marker and not larger than 10,000, and the next
    /// marker is not smaller than the last of them, so that a whole list has at most 10,000 parts
    /// and ends.
    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<Page> {
        check_success(response, 200, SuccessBody::Document, sent)?;
        let result = xml::parse(&response.body, "ListPartsResult")?;
        let mut parts = Vec::new();
        let mut last = self.marker;
        for part in result.all("Part") {
            let part = listed_part(part)?;
            if part.number <= last || u64::from(part.number) > PARTS_MAX {
                return Err("its part numbers are not in order".into());
            }
            last = part.number;
            parts.push(part);
        }
        let next = match result.text("IsTruncated") {
            Some("true") => {
                let next = result
                    .text("NextPartNumberMarker")
                    .and_then(|text| text.parse().ok());
                let grows = |next: &u32| {
                    *next > self.marker && *next >= last && u64::from(*next) <= PARTS_MAX
                };
                Some(
                    next.filter(grows)
                        .ok_or("it is truncated and does not say where to continue")?,
                )
            }
            _ => None,
        };
        Ok(Page { parts, next })
    }
}

fn listed_part(part: &xml::Element) -> ParseResult<ListedPart> {
    let number = |name: &str| part.text(name).and_then(|text| text.parse::<u64>().ok());
    Ok(ListedPart {
        number: number("PartNumber")
            .and_then(|number| u32::try_from(number).ok())
            .ok_or("a part has no PartNumber")?,
        etag: part
            .text("ETag")
            .and_then(normalize_etag)
            .ok_or("a part has no ETag")?
            .to_owned(),
        size: number("Size").ok_or("a part has no Size")?,
        crc64: number("HashCrc64ecma"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn parse(response: &Response, marker: u32) -> Option<Page> {
        let action = ListParts {
            bucket: "b",
            key: "k",
            upload_id: "I1",
            marker,
            headers: &[],
        };
        action.parse(response, &Sent::EMPTY).ok()
    }

    fn page(body: &str, marker: u32) -> Option<Page> {
        let document = format!("<ListPartsResult>{body}</ListPartsResult>");
        parse(&response(200, &[], &document), marker)
    }

    fn part(number: u64) -> String {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>E</ETag><Size>1</Size></Part>")
    }

    fn truncated(next: u64) -> String {
        format!(
            "<IsTruncated>true</IsTruncated><NextPartNumberMarker>{next}</NextPartNumberMarker>"
        )
    }

    #[test]
    fn list_parts_reads_parts_and_the_next_page() {
        let body = "<PartNumberMarker>0</PartNumberMarker>\
            <NextPartNumberMarker>5</NextPartNumberMarker><IsTruncated>true</IsTruncated>\
            <Part><PartNumber>1</PartNumber><LastModified>2012-02-23T07:01:34.000Z</LastModified>\
            <ETag>&quot;AB&quot;</ETag><HashCrc64ecma>18446744073709551615</HashCrc64ecma>\
            <Size>6291456</Size></Part>\
            <Part><PartNumber>5</PartNumber><ETag>W/&quot;CD&quot;</ETag><Size>1</Size></Part>";
        let page = page(body, 0).unwrap();
        assert_eq!(page.next, Some(5));
        let first = ListedPart {
            number: 1,
            etag: "AB".into(),
            size: 6_291_456,
            crc64: Some(u64::MAX),
        };
        assert_eq!(page.parts[0], first);
        assert_eq!(
            (page.parts[1].etag.as_str(), page.parts[1].crc64),
            ("CD", None)
        );
    }

    #[test]
    fn list_parts_ends() {
        assert!(page(&truncated(5), 4).is_some());
        assert!(page(&truncated(5), 5).is_none());
        assert!(page(&truncated(10_000), 0).is_some());
        assert!(page(&truncated(10_001), 0).is_none());
        assert!(page("<IsTruncated>true</IsTruncated>", 0).is_none());
        assert!(page(&(part(3) + &truncated(2)), 0).is_none());
    }

    #[test]
    fn list_parts_numbers_are_in_order() {
        assert!(page(&(part(1) + &part(2)), 0).is_some());
        assert!(page(&(part(2) + &part(1)), 0).is_none());
        assert!(page(&(part(1) + &part(1)), 0).is_none());
        assert!(page(&part(1), 1).is_none());
        assert!(page(&part(0), 0).is_none());
        assert!(page(&part(10_000), 0).is_some());
        assert!(page(&part(10_001), 0).is_none());
        assert!(page("<Part></Part>", 0).is_none());
    }

    #[test]
    fn list_parts_is_from_oss() {
        let document = format!("<ListPartsResult>{}</ListPartsResult>", part(1));
        assert!(parse(&foreign_response(200, &[], &document), 0).is_none());
        assert!(parse(&response(206, &[], &document), 0).is_none());
    }
}

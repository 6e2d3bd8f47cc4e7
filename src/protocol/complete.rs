//! CompleteMultipartUpload (OSS documentation of that name).

use std::fmt::Write;

use super::request::{Header, Method, Request, Response};
use super::upload_part::etag;
use super::{Parsed, xml};
use crate::part::{Part, unquoted};

/// What OSS says of an object that has just been made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) etag: String,
    pub(crate) crc64: Option<u64>,
    pub(crate) version_id: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) callback_body: Option<Vec<u8>>,
}

pub(crate) fn request(bucket: &str, key: &str, upload_id: &str, headers: &[Header]) -> Request {
    Request::new("CompleteMultipartUpload", Method::Post, bucket, key)
        .query("uploadId", upload_id)
        .query("encoding-type", "url")
        .header("content-type", "application/xml")
        .headers(headers)
}

/// `parts` in ascending order of their numbers.
pub(crate) fn body<'a>(parts: impl ExactSizeIterator<Item = &'a Part>) -> String {
    let mut body = String::with_capacity(64 + parts.len() * 100);
    body.push_str("<CompleteMultipartUpload>");
    for part in parts {
        let (number, etag) = (part.number, xml::escaped(&part.etag));
        write!(body, "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
            .expect("a String takes all");
    }
    body.push_str("</CompleteMultipartUpload>");
    body
}

/// With a callback the body is the application server's, and everything else is in the headers.
pub(crate) fn parse(response: &Response, callback: bool) -> Parsed<Completed> {
    if callback {
        return Ok(Completed { callback_body: Some(response.body.clone()), ..from_headers(response)? });
    }
    let result = xml::parse(&response.body, "CompleteMultipartUploadResult")?;
    let completed =
        Completed { location: result.text("Location").map(str::to_owned), ..Completed::default() };
    let etag = match (result.text("ETag").map(unquoted), etag(response)) {
        (Some(etag), _) if !etag.is_empty() => etag.to_owned(),
        (_, etag) => etag?,
    };
    Ok(Completed { location: completed.location, etag, ..from_headers_but_etag(response)? })
}

pub(super) fn from_headers(response: &Response) -> Parsed<Completed> {
    Ok(Completed { etag: etag(response)?, ..from_headers_but_etag(response)? })
}

fn from_headers_but_etag(response: &Response) -> Parsed<Completed> {
    Ok(Completed {
        crc64: response.crc64()?,
        version_id: response.header("x-oss-version-id").map(str::to_owned),
        request_id: response.request_id().map(str::to_owned),
        ..Completed::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_list() {
        let part = |number, etag: &str| Part { number, etag: etag.into(), crc64: 0 };
        assert_eq!(
            body([part(1, "AB"), part(2, "<C>")].iter()),
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;AB&quot;</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>&quot;&lt;C&gt;&quot;</ETag></Part></CompleteMultipartUpload>"
        );
    }

    #[test]
    fn the_answer_with_and_without_callback() {
        let headers = vec![("etag".into(), "\"H\"".into()), ("x-oss-hash-crc64ecma".into(), "9".into())];
        let xml = "<CompleteMultipartUploadResult><Location>http://b.x/k</Location><ETag>\"X-2\"</ETag></CompleteMultipartUploadResult>";
        let response = Response { status: 200, headers: headers.clone(), body: xml.into() };
        let Ok(completed) = parse(&response, false) else { panic!("not read") };
        assert_eq!((completed.etag.as_str(), completed.crc64), ("X-2", Some(9)));
        assert_eq!(completed.location.as_deref(), Some("http://b.x/k"));
        let response = Response { status: 200, headers, body: b"{\"ok\":1}".to_vec() };
        let Ok(completed) = parse(&response, true) else { panic!("not read") };
        assert_eq!(
            (completed.etag.as_str(), completed.callback_body.as_deref()),
            ("H", Some(&b"{\"ok\":1}"[..]))
        );
        assert!(parse(&response, false).is_err());
        assert!(parse(&Response { status: 200, ..Response::default() }, true).is_err());
    }
}

//! CompleteMultipartUpload (OSS documentation of that name).

use std::iter;

use super::request::{Header, Method, Request, Response};
use super::upload_part::etag;
use super::{Parsed, xml};
use crate::part::{Part, Parts, unquoted};

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

/// The part list in pieces: whole, that of 10,000 parts has a megabyte.
pub(crate) fn body(parts: &Parts) -> impl Iterator<Item = String> {
    let part = |part: &Part| {
        let (number, etag) = (part.number, xml::escaped(&part.etag));
        format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
    };
    let open = iter::once("<CompleteMultipartUpload>".to_owned());
    let close = iter::once("</CompleteMultipartUpload>".to_owned());
    open.chain(parts.iter().map(part)).chain(close)
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
        let part = |(number, etag): (u32, &str)| Part { number, etag: etag.into(), crc64: 0 };
        let parts: Parts = [(2, "<C>"), (1, "AB")].into_iter().map(part).collect();
        assert_eq!(
            body(&parts).collect::<String>(),
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

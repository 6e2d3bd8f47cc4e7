//! UploadPart (OSS documentation of that name).

use super::request::{Header, Method, Request, Response};
use super::{Parsed, Untrusted};
use crate::part::unquoted;

pub(crate) fn request(bucket: &str, key: &str, upload_id: &str, number: u32, headers: &[Header]) -> Request {
    let mut request = Request::new("UploadPart", Method::Put, bucket, key)
        .query("partNumber", number)
        .query("uploadId", upload_id)
        .headers(headers);
    request.part = Some(number);
    request
}

/// The part's ETag, if the answer vouches for the bytes that were sent.
pub(crate) fn parse(response: &Response, crc64_sent: u64) -> Parsed<String> {
    check_crc64(response, crc64_sent)?;
    etag(response)
}

pub(super) fn etag(response: &Response) -> Parsed<String> {
    match response.header("etag").map(unquoted) {
        Some(etag) if !etag.is_empty() => Ok(etag.to_owned()),
        _ => Err("it has no ETag".into()),
    }
}

/// Without a CRC-64 in the answer there is nothing to compare.
pub(super) fn check_crc64(response: &Response, local: u64) -> Parsed<()> {
    match response.crc64()? {
        Some(remote) if remote != local => Err(Untrusted(format!(
            "the CRC-64 of the stored bytes is {remote}, that of the local ones is {local}"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Response { status: 200, headers, body: Vec::new() }
    }

    #[test]
    fn an_answer_vouches_for_the_bytes_or_is_not_accepted() {
        let good = [("etag", "\"AB\""), ("x-oss-hash-crc64ecma", "7")];
        assert!(matches!(parse(&response(&good), 7), Ok(etag) if etag == "AB"));
        let Err(Untrusted(reason)) = parse(&response(&good), 8) else {
            panic!("a wrong CRC-64 was accepted")
        };
        assert!(reason.contains("CRC-64") && reason.contains('7') && reason.contains('8'), "{reason}");
        let zero = [("etag", "AB"), ("x-oss-hash-crc64ecma", "0")];
        assert!(parse(&response(&zero), 8).is_err());
        assert!(parse(&response(&zero), 0).is_ok());
        assert!(parse(&response(&[("etag", "\"AB\"")]), 8).is_ok());
        assert!(parse(&response(&[("etag", "\"\"")]), 8).is_err());
        assert!(parse(&response(&[]), 8).is_err());
    }
}

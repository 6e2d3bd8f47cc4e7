//! UploadPart (OSS documentation of that name).

use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use super::{InvalidResponse, ParseResult};
use crate::encoding::base64_encode;
use crate::error::OperationKind;
use crate::md5_digest::Md5Digest;
use crate::part::normalize_etag;

pub(crate) struct UploadPart<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) upload_id: &'a str,
    pub(crate) number: u32,
    pub(crate) content_md5: Option<Md5Digest>,
    pub(crate) headers: &'a [Header],
}

/// A part as OSS has stored it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPart {
    pub(crate) etag: String,
    /// OSS reported the CRC-64 of the bytes that were sent. Without it the caller has to compare
    /// the ETag with their MD5.
    pub(crate) crc64_confirmed: bool,
}

impl Action for UploadPart<'_> {
    type Output = StoredPart;

    fn request(&self) -> Request {
        let mut request = Request::new(
            OperationKind::UploadPart,
            Method::Put,
            self.bucket,
            self.key,
        )
        .query("partNumber", self.number)
        .query("uploadId", self.upload_id)
        .headers(self.headers);
        request.part = Some(self.number);
        with_content_md5(request, self.content_md5)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<StoredPart> {
        check_success(response, 200, SuccessBody::None, sent)?;
        let crc64_confirmed = check_crc64(response, sent.crc64)?;
        Ok(StoredPart {
            etag: etag(response)?,
            crc64_confirmed,
        })
    }
}

pub(super) fn with_content_md5(request: Request, md5: Option<Md5Digest>) -> Request {
    match md5 {
        Some(md5) => request.header("content-md5", base64_encode(md5.0)),
        None => request,
    }
}

pub(super) fn etag(response: &Response) -> ParseResult<String> {
    match response.header("etag").map(normalize_etag) {
        Some(Some(etag)) => Ok(etag.to_owned()),
        Some(None) => Err("its ETag is not valid".into()),
        None => Err("it has no ETag".into()),
    }
}

/// Compares the CRC-64 of the response with the local one. Returns whether the response has one.
pub(super) fn check_crc64(response: &Response, local: u64) -> ParseResult<bool> {
    match response.crc64()? {
        Some(remote) if remote != local => Err(InvalidResponse {
            reason: format!(
                "the CRC-64 of the stored bytes is {remote}, that of the local ones is {local}"
            ),
            is_damage: true,
        }),
        remote => Ok(remote.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    const ACTION: UploadPart<'_> = UploadPart {
        bucket: "b",
        key: "k",
        upload_id: "I1",
        number: 7,
        content_md5: None,
        headers: &[],
    };

    fn parse(response: &Response, crc64: u64) -> Result<StoredPart, String> {
        let sent = Sent {
            is_complete: true,
            crc64,
        };
        ACTION
            .parse(response, &sent)
            .map_err(|invalid| invalid.reason)
    }

    fn stored(etag: &str, crc64_confirmed: bool) -> Result<StoredPart, String> {
        let etag = etag.to_owned();
        Ok(StoredPart {
            etag,
            crc64_confirmed,
        })
    }

    #[test]
    fn upload_part_compares_the_crc64() {
        let good = response(
            200,
            &[("etag", "\"AB\""), ("x-oss-hash-crc64ecma", "7")],
            "",
        );
        assert_eq!(parse(&good, 7), stored("AB", true));
        let reason = parse(&good, 8).unwrap_err();
        assert!(
            reason.contains("CRC-64") && reason.contains('7') && reason.contains('8'),
            "{reason}"
        );
        let zero = response(200, &[("etag", "AB"), ("x-oss-hash-crc64ecma", "0")], "");
        assert!(parse(&zero, 8).is_err());
        assert_eq!(parse(&zero, 0), stored("AB", true));
        let not_a_number = response(200, &[("etag", "AB"), ("x-oss-hash-crc64ecma", "x")], "");
        assert!(parse(&not_a_number, 0).is_err());
    }

    #[test]
    fn upload_part_without_crc64_is_not_confirmed() {
        assert_eq!(
            parse(&response(200, &[("etag", "W/\"AB\"")], ""), 8),
            stored("AB", false)
        );
    }

    #[test]
    fn upload_part_needs_an_etag_from_oss() {
        assert!(parse(&response(200, &[("etag", "\"\"")], ""), 8).is_err());
        assert!(parse(&response(200, &[], ""), 8).is_err());
        assert!(parse(&foreign_response(200, &[("etag", "\"AB\"")], ""), 8).is_err());
        assert!(parse(&response(200, &[("etag", "\"AB\"")], "<html></html>"), 8).is_err());
        assert!(parse(&response(201, &[("etag", "\"AB\"")], ""), 8).is_err());
    }

    #[test]
    fn upload_part_request_has_the_md5_that_is_given() {
        let action = UploadPart {
            content_md5: Some(Md5Digest::of("x")),
            ..ACTION
        };
        let request = action.request();
        assert_eq!(request.encoded_query(), "partNumber=7&uploadId=I1");
        assert_eq!(
            request.headers,
            [("content-md5".into(), "ndTkYSaMgDT1yFZOFVxnpg==".to_owned())]
        );
        assert!(ACTION.request().headers.is_empty());
    }
}

//! PutObject (OSS documentation of that name), for a file that needs no parts.

use super::ParseResult;
use super::complete::{ObjectInfo, callback_body};
use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use super::upload_part::{check_crc64, with_content_md5};
use crate::error::OperationKind;
use crate::md5_digest::Md5Digest;

pub(crate) struct PutObject<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) content_md5: Option<Md5Digest>,
    pub(crate) headers: &'a [Header],
    /// The headers have a callback, so the body of the response is that of the application server.
    pub(crate) has_callback: bool,
}

impl Action for PutObject<'_> {
    /// Without a CRC-64 in it the caller has to compare the ETag with the MD5 of the bytes.
    type Output = ObjectInfo;

    fn request(&self) -> Request {
        let request = Request::new(OperationKind::PutObject, Method::Put, self.bucket, self.key);
        with_content_md5(request.headers(self.headers), self.content_md5)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<ObjectInfo> {
        let body = if self.has_callback {
            SuccessBody::Callback
        } else {
            SuccessBody::None
        };
        check_success(response, 200, body, sent)?;
        check_crc64(response, sent.crc64)?;
        Ok(ObjectInfo {
            callback_body: callback_body(response, self.has_callback),
            ..ObjectInfo::from_headers(response)?
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn parse(response: &Response, has_callback: bool) -> Option<ObjectInfo> {
        let action = PutObject {
            bucket: "b",
            key: "k",
            content_md5: None,
            headers: &[],
            has_callback,
        };
        let sent = Sent {
            is_complete: true,
            crc64: 7,
        };
        action.parse(response, &sent).ok()
    }

    const HEADERS: [(&str, &str); 2] = [("etag", "\"AB\""), ("x-oss-hash-crc64ecma", "7")];

    #[test]
    fn put_object_has_a_body_only_with_a_callback() {
        let object = parse(&response(200, &HEADERS, ""), false).unwrap();
        assert_eq!((object.etag.as_str(), object.crc64), ("AB", Some(7)));
        assert_eq!(parse(&response(200, &HEADERS, "x"), false), None);
        let object = parse(&response(200, &HEADERS, "x"), true).unwrap();
        assert_eq!(object.callback_body.as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn put_object_is_not_believed_to_others() {
        assert_eq!(
            parse(&foreign_response(200, &HEADERS[..1], ""), false),
            None
        );
        assert_eq!(parse(&response(201, &HEADERS, ""), false), None);
        assert_eq!(
            parse(
                &response(200, &[("etag", "AB"), ("x-oss-hash-crc64ecma", "8")], ""),
                false
            ),
            None
        );
    }
}

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use super::ParseResult;
use crate::encoding::{percent_encode, percent_encode_path};
use crate::error::{Operation, OperationKind, escape_control};
use crate::time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Put,
    Post,
    Delete,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// A header's name, in lower case, and its value.
pub(crate) type Header = (Cow<'static, str>, String);

/// An operation of the OSS API. It writes its request and reads its response.
pub(crate) trait Action {
    /// The content of a successful response.
    type Output;

    /// Returns the request without its body and its signature.
    fn request(&self) -> Request;

    /// Reads a response that reports success.
    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<Self::Output>;
}

/// What the last attempt sent as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Every byte of the body was sent.
    pub(crate) is_complete: bool,
    /// The CRC-64 of the bytes that were sent.
    pub(crate) crc64: u64,
}

#[cfg(test)]
impl Sent {
    /// The value for a request without a body.
    pub(crate) const EMPTY: Sent = Sent {
        is_complete: true,
        crc64: 0,
    };
}

/// The kind of body that a successful response has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SuccessBody {
    None,
    /// A document of OSS, or nothing.
    Document,
    /// The response of the application server to the callback.
    Callback,
}

/// Accepts only what OSS itself sends when an operation succeeds.
///
/// Captive portals, proxies and web servers report success for requests that they do not
/// understand. A response without a request id and without a CRC-64 is not from OSS, whatever its
/// ETag is. `sent` must be complete, because a response that came before the end of the body does
/// not confirm the bytes after it.
pub(super) fn check_success(
    response: &Response,
    status: u16,
    body: SuccessBody,
    sent: &Sent,
) -> ParseResult<()> {
    if response.status != status {
        return Err(format!("its status is {}, not {status}", response.status).into());
    }
    if response.request_id().is_none() && response.header(CRC64_HEADER).is_none() {
        return Err("it has no x-oss-request-id, so it is not from OSS".into());
    }
    if body == SuccessBody::None && !response.body.is_empty() {
        return Err("it has a body, so it is not from OSS".into());
    }
    if !sent.is_complete {
        return Err("it came before all bytes had been sent".into());
    }
    Ok(())
}

const CRC64_HEADER: &str = "x-oss-hash-crc64ecma";

/// A request that is not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) operation: OperationKind,
    pub(crate) method: Method,
    pub(crate) bucket: String,
    /// The key, byte for byte as the user gave it. Empty for a request to the bucket.
    pub(crate) key: String,
    pub(crate) part: Option<u32>,
    /// Not encoded. A value that is empty is sent as a bare name.
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<Header>,
}

impl Request {
    pub(crate) fn new(
        operation: OperationKind,
        method: Method,
        bucket: &str,
        key: &str,
    ) -> Request {
        Request {
            operation,
            method,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            part: None,
            query: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl fmt::Display) -> Request {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((Cow::Borrowed(name), value.into()));
        self
    }

    pub(crate) fn headers(mut self, headers: &[Header]) -> Request {
        self.headers.extend_from_slice(headers);
        self
    }

    /// Returns the value of a header, whose name is given in lower case.
    pub(crate) fn header_value(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn encoded_key(&self) -> Cow<'_, str> {
        percent_encode_path(&self.key)
    }

    pub(crate) fn encoded_query(&self) -> String {
        encode_query_pairs(
            self.query
                .iter()
                .map(|(name, value)| (percent_encode(name), percent_encode(value))),
        )
    }

    /// Describes the request in errors.
    pub(crate) fn operation(&self) -> Operation {
        Operation::new(
            self.operation,
            self.part,
            format!("oss://{}/{}", self.bucket, escape_control(&self.key)),
        )
    }
}

/// Displays the operation. The text is made only if it is printed.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation().fmt(f)
    }
}

/// `name=value&name`, in the order given.
pub(crate) fn encode_query_pairs<T: AsRef<str>>(pairs: impl Iterator<Item = (T, T)>) -> String {
    let mut joined = String::new();
    for (name, value) in pairs {
        if !joined.is_empty() {
            joined.push('&');
        }
        joined.push_str(name.as_ref());
        if !value.as_ref().is_empty() {
            joined.push('=');
            joined.push_str(value.as_ref());
        }
    }
    joined
}

/// A response whose body has been read, up to a limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the request ID, or `None` if it has characters that no request ID has.
    pub(crate) fn request_id(&self) -> Option<&str> {
        self.header("x-oss-request-id").filter(|id| is_clean(id))
    }

    /// Returns the time of the server.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.header("date").and_then(time::parse_http_date)
    }

    /// Returns the CRC-64 of the stored bytes, as OSS reports it. 0 is a valid checksum.
    pub(crate) fn crc64(&self) -> ParseResult<Option<u64>> {
        match self
            .header("x-oss-hash-crc64ecma")
            .map(|text| text.trim().parse())
        {
            None => Ok(None),
            Some(Ok(crc64)) => Ok(Some(crc64)),
            Some(Err(_)) => Err("its CRC-64 is not a number".into()),
        }
    }
}

/// Returns whether a request ID or a version ID can be shown and logged as it is.
pub(super) fn is_clean(id: &str) -> bool {
    const BYTES_MAX: usize = 128;
    (1..=BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a successful response with these headers and a request ID.
    pub(in super::super) fn response(
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut response = foreign_response(status, headers, body);
        response
            .headers
            .push(("x-oss-request-id".into(), "R1".into()));
        response
    }

    /// The same without the request id.
    pub(in super::super) fn foreign_response(
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let header = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        Response {
            status,
            headers: headers.iter().map(header).collect(),
            body: body.into(),
        }
    }

    fn check(response: &Response, body: SuccessBody) -> Result<(), String> {
        check_success(response, 200, body, &Sent::EMPTY).map_err(|invalid| invalid.reason)
    }

    #[test]
    fn success_needs_a_sign_of_oss() {
        assert_eq!(check(&response(200, &[], ""), SuccessBody::None), Ok(()));
        let with_crc64 = foreign_response(200, &[("x-oss-hash-crc64ecma", "0")], "");
        assert_eq!(check(&with_crc64, SuccessBody::None), Ok(()));
        let portal = foreign_response(200, &[("etag", "\"AB\"")], "");
        assert!(
            check(&portal, SuccessBody::None)
                .unwrap_err()
                .contains("not from OSS")
        );
        let injected = foreign_response(200, &[("x-oss-request-id", "a\u{9b}b")], "");
        assert!(check(&injected, SuccessBody::None).is_err());
    }

    #[test]
    fn success_has_one_status() {
        for status in [201, 202, 203, 204, 206] {
            assert!(
                check(&response(status, &[], ""), SuccessBody::None).is_err(),
                "{status}"
            );
        }
        assert!(
            check_success(
                &response(204, &[], ""),
                204,
                SuccessBody::None,
                &Sent::EMPTY
            )
            .is_ok()
        );
        assert!(
            check_success(
                &response(200, &[], ""),
                204,
                SuccessBody::None,
                &Sent::EMPTY
            )
            .is_err()
        );
    }

    #[test]
    fn success_has_a_body_only_where_one_belongs() {
        let html = response(200, &[], "<html></html>");
        assert!(check(&html, SuccessBody::None).is_err());
        assert_eq!(check(&html, SuccessBody::Document), Ok(()));
        assert_eq!(check(&html, SuccessBody::Callback), Ok(()));
    }

    #[test]
    fn success_comes_after_the_whole_body() {
        let early = Sent {
            is_complete: false,
            crc64: 0,
        };
        assert!(check_success(&response(200, &[], ""), 200, SuccessBody::None, &early).is_err());
    }

    #[test]
    fn request_id_is_visible_ascii() {
        let id = |id: &str| {
            foreign_response(200, &[("x-oss-request-id", id)], "")
                .request_id()
                .is_some()
        };
        assert!(id("5C3D9175B6FC201293AD4890"));
        for wrong in ["", "a b", "\u{9b}31m", "\u{202e}x", &"x".repeat(129)] {
            assert!(!id(wrong), "{wrong:?}");
        }
    }
}

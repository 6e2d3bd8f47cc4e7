//! HeadObject (OSS documentation of that name).

use std::time::SystemTime;

use super::ParseResult;
use super::complete::ObjectInfo;
use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use crate::error::OperationKind;
use crate::time;

pub(crate) struct HeadObject<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) headers: &'a [Header],
}

/// An object and its properties.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) size: Option<u64>,
    pub(crate) last_modified: Option<SystemTime>,
    pub(crate) object: ObjectInfo,
    /// All headers of the response, to compare with what a call sets.
    pub(crate) headers: Vec<(String, String)>,
}

impl Action for HeadObject<'_> {
    type Output = Head;

    fn request(&self) -> Request {
        Request::new(
            OperationKind::HeadObject,
            Method::Head,
            self.bucket,
            self.key,
        )
        .headers(self.headers)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<Head> {
        check_success(response, 200, SuccessBody::None, sent)?;
        Ok(Head {
            size: response
                .header("content-length")
                .and_then(|text| text.trim().parse().ok()),
            last_modified: response
                .header("last-modified")
                .and_then(time::parse_http_date),
            object: ObjectInfo::from_headers(response)?,
            headers: response.headers.clone(),
        })
    }
}

impl Head {
    /// Returns whether this is the object that an upload, initiated at `since`, would have made.
    ///
    /// An older object was made by another upload, even if its bytes are equal. Some proxies remove
    /// the Content-Length of a HEAD; then an equal CRC-64 is enough. Without a CRC-64 the size must
    /// agree, and the age must be known. Both times are the server's, in whole seconds.
    pub(crate) fn matches(&self, size: u64, crc64: u64, since: SystemTime) -> bool {
        let is_older = self
            .last_modified
            .is_some_and(|modified| seconds(modified) < seconds(since));
        match self.object.crc64 {
            Some(remote) => {
                remote == crc64 && self.size.is_none_or(|remote| remote == size) && !is_older
            }
            None => self.size == Some(size) && self.last_modified.is_some() && !is_older,
        }
    }

    /// Returns the value of a header of the response, whose name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn parse(response: &Response) -> Option<Head> {
        let action = HeadObject {
            bucket: "b",
            key: "k",
            headers: &[],
        };
        action.parse(response, &Sent::EMPTY).ok()
    }

    fn matches(headers: &[(&str, &str)]) -> bool {
        let headers: Vec<_> = headers
            .iter()
            .copied()
            .chain([("etag", "\"AB\"")])
            .collect();
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        parse(&response(200, &headers, ""))
            .unwrap()
            .matches(10, 7, since)
    }

    const CRC64: &str = "x-oss-hash-crc64ecma";

    #[test]
    fn head_matches_by_crc64_and_size() {
        assert!(matches(&[(CRC64, "7"), ("content-length", "10")]));
        assert!(matches(&[(CRC64, "7")]));
        assert!(!matches(&[(CRC64, "7"), ("content-length", "11")]));
        assert!(!matches(&[(CRC64, "8"), ("content-length", "10")]));
        let before = ("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert!(!matches(&[(CRC64, "7"), ("content-length", "10"), before]));
    }

    #[test]
    fn head_without_crc64_matches_by_size_and_age() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(matches(&[("content-length", "10"), modified]));
        assert!(!matches(&[modified]));
        assert!(!matches(&[("content-length", "10")]));
        let before = ("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT");
        assert!(!matches(&[("content-length", "10"), before]));
    }

    #[test]
    fn head_is_from_oss() {
        assert!(parse(&foreign_response(200, &[("etag", "AB")], "")).is_none());
        assert!(parse(&response(204, &[("etag", "AB")], "")).is_none());
    }
}

//! HeadObject (OSS documentation of that name): is the object there, and is it ours?

use std::time::SystemTime;

use super::Parsed;
use super::complete::{Completed, from_headers};
use super::request::{Header, Method, Request, Response};
use crate::dates;

pub(crate) struct Head {
    pub(crate) size: Option<u64>,
    pub(crate) last_modified: Option<SystemTime>,
    pub(crate) object: Completed,
}

pub(crate) fn request(bucket: &str, key: &str, headers: &[Header]) -> Request {
    Request::new("HeadObject", Method::Head, bucket, key).headers(headers)
}

pub(crate) fn parse(response: &Response) -> Parsed<Head> {
    Ok(Head {
        size: response.header("content-length").and_then(|text| text.parse().ok()),
        last_modified: response.header("last-modified").and_then(dates::parse_http),
        object: from_headers(response)?,
    })
}

impl Head {
    /// Is this the object that an upload, begun at `since`, would have made? Times are the server's, in whole seconds.
    pub(crate) fn is(&self, size: u64, crc64: u64, since: SystemTime) -> bool {
        let content = match self.object.crc64 {
            Some(remote) => remote == crc64,
            None => self.last_modified.is_some_and(|modified| seconds(modified) >= seconds(since)),
        };
        content && self.size == Some(size)
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

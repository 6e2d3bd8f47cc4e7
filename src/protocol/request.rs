use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use super::Parsed;
use crate::dates;
use crate::encoding::{encoded, encoded_path};
use crate::error::{Operation, printable};

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

/// A request that is not signed yet.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The OSS API name, for errors and logs.
    pub(crate) operation: &'static str,
    pub(crate) method: Method,
    pub(crate) bucket: String,
    /// Byte for byte as the user gave it; empty for a request to the bucket.
    pub(crate) key: String,
    pub(crate) part: Option<u32>,
    /// Not encoded. A value that is empty is sent as a bare name.
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<Header>,
}

impl Request {
    pub(crate) fn new(operation: &'static str, method: Method, bucket: &str, key: &str) -> Request {
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

    pub(crate) fn encoded_key(&self) -> Cow<'_, str> {
        encoded_path(&self.key)
    }

    pub(crate) fn encoded_query(&self) -> String {
        join(self.query.iter().map(|(name, value)| (encoded(name), encoded(value))))
    }

    /// For errors.
    pub(crate) fn operation(&self) -> Operation {
        Operation::new(self.operation, self.part, format!("oss://{}/{}", self.bucket, printable(&self.key)))
    }
}

/// Made only where it is printed.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation().fmt(f)
    }
}

/// `name=value&name`, in the order given.
pub(crate) fn join<T: AsRef<str>>(pairs: impl Iterator<Item = (T, T)>) -> String {
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

/// An answer, its body read and bounded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.header("x-oss-request-id")
    }

    /// The server's clock.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        self.header("date").and_then(dates::parse_http)
    }

    /// What OSS says the CRC-64 of the stored bytes is; 0 is a value like any other.
    pub(crate) fn crc64(&self) -> Parsed<Option<u64>> {
        match self.header("x-oss-hash-crc64ecma").map(|text| text.trim().parse()) {
            None => Ok(None),
            Some(Ok(crc64)) => Ok(Some(crc64)),
            Some(Err(_)) => Err("its CRC-64 is not a number".into()),
        }
    }
}

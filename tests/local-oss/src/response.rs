//! Responses and their bodies.

use std::fs::File;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use hyper::body::{Body, Frame, SizeHint};

use crate::error::OssError;
use crate::store::Source;
use crate::text::{Xml, base64};

/// The largest chunk of a body that is sent at once.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A response before it has the headers that all responses have.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) payload: ResponseBody,
    pub(crate) error_code: Option<String>,
    /// Whether something other than the service is meant to have sent this.
    pub(crate) is_foreign: bool,
}

/// The body of a response.
pub(crate) enum ResponseBody {
    Bytes(Bytes),
    File { file: File, remaining: u64 },
    Filler { remaining: u64 },
}

impl Response {
    pub(crate) fn empty(status: u16) -> Response {
        Response {
            status,
            headers: Vec::new(),
            payload: ResponseBody::Bytes(Bytes::new()),
            error_code: None,
            is_foreign: false,
        }
    }

    pub(crate) fn with_body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response {
        let mut response = Response::empty(status);
        response.set("content-type", content_type);
        response.payload = ResponseBody::Bytes(body.into());
        response
    }

    pub(crate) fn xml(status: u16, xml: Xml) -> Response {
        Response::with_body(status, "application/xml", xml.finish())
    }

    pub(crate) fn from_error(
        error: &OssError,
        method: &str,
        request_id: &str,
        host: &str,
    ) -> Response {
        let xml = error.to_xml(request_id, host);
        let mut response = if method == "HEAD" {
            let mut response = Response::empty(error.status);
            response.set("x-oss-err", &base64(xml));
            response
        } else {
            Response::with_body(error.status, "application/xml", xml)
        };
        if let Some(ec) = error.ec {
            response.set("x-oss-ec", ec);
        }
        response.error_code = Some(error.code.clone());
        response
    }

    /// Sets a header and replaces an earlier one.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(header, _)| header != name);
    }

    /// Returns the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Makes the ETag weak, if there is one.
    pub(crate) fn weaken_etag(&mut self) {
        let strong = self.header("etag").filter(|etag| !etag.starts_with("W/"));
        if let Some(weak) = strong.map(|etag| format!("W/{etag}")) {
            self.set("etag", &weak);
        }
    }

    /// Returns the bytes of the body if they are in memory.
    pub(crate) fn body(&self) -> &[u8] {
        match &self.payload {
            ResponseBody::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    pub(crate) fn into_hyper(self) -> hyper::Response<ResponseBody> {
        let mut builder = hyper::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            builder = builder.header(name.as_str(), value.as_bytes());
        }
        builder.body(self.payload).unwrap_or_else(|_| {
            let mut broken = hyper::Response::new(ResponseBody::Bytes(Bytes::new()));
            *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
            broken
        })
    }

    /// Returns the response as bytes, with a `Content-Length` that is larger than the body. Without
    /// a body the bytes end in the middle of the head.
    pub(crate) fn into_truncated(self, without_body: bool) -> Vec<u8> {
        let body = self.body();
        let mut text = format!("HTTP/1.1 {} Truncated\r\n", self.status);
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, _)| name != "content-length")
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", body.len() + 64));
        let mut bytes = text.into_bytes();
        if without_body {
            bytes.truncate(bytes.len() / 2);
            return bytes;
        }
        bytes.extend_from_slice(&body[..body.len() / 2]);
        bytes
    }
}

impl ResponseBody {
    pub(crate) fn from_source(source: Source, length: u64) -> ResponseBody {
        match source {
            Source::Bytes(bytes) => ResponseBody::Bytes(bytes),
            Source::File(file) => ResponseBody::File {
                file,
                remaining: length,
            },
        }
    }

    pub(crate) fn remaining(&self) -> u64 {
        match self {
            ResponseBody::Bytes(bytes) => bytes.len() as u64,
            ResponseBody::File { remaining, .. } | ResponseBody::Filler { remaining } => *remaining,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let payload = self.get_mut();
        let count = payload.remaining().min(CHUNK_BYTES);
        if count == 0 {
            return Poll::Ready(None);
        }
        let bytes = match payload {
            ResponseBody::Bytes(bytes) => std::mem::take(bytes),
            ResponseBody::Filler { remaining } => {
                *remaining -= count;
                Bytes::from(vec![b'x'; count as usize])
            }
            ResponseBody::File { file, remaining } => {
                *remaining -= count;
                let mut buffer = vec![0; count as usize];
                if let Err(error) = file.read_exact(&mut buffer) {
                    return Poll::Ready(Some(Err(error)));
                }
                buffer.into()
            }
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

/// How a request ends.
pub(crate) enum Outcome {
    Respond(Response),
    /// The connection is reset.
    Reset,
    /// The connection is closed.
    Close,
}

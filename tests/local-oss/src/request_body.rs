//! Request bodies.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::digest::{Digester, Digests};
use crate::error::{OssError, Result};
use crate::store::Sink;

/// The largest XML document.
const DOCUMENT_BYTES_MAX: usize = 4 << 20;
/// The largest body that is kept for the request log.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The largest object or part.
const BODY_BYTES_MAX: u64 = 5 << 30;

/// A request body that is read on demand.
pub(crate) struct RequestBody {
    incoming: Incoming,
    expected: Option<u64>,
    pub(crate) received: u64,
    /// The rate at which the body is read, if it is limited.
    pub(crate) bytes_per_second: Option<u64>,
    /// Whether to flip the first bit.
    pub(crate) corrupt: bool,
    /// Whether the bytes are kept for the request log.
    keep: bool,
    kept: Vec<u8>,
    started: Option<Instant>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, expected: Option<u64>, keep: bool) -> RequestBody {
        let (kept, started) = (Vec::new(), None);
        RequestBody {
            incoming,
            expected,
            received: 0,
            bytes_per_second: None,
            corrupt: false,
            keep,
            kept,
            started,
        }
    }

    /// Returns whether reading has not started, so that no `100 Continue` was sent.
    pub(crate) fn is_untouched(&self) -> bool {
        self.started.is_none()
    }

    /// Takes the bytes that were kept for the request log.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    /// Reads the next chunk; returns `None` at the end.
    async fn read_chunk(&mut self) -> Result<Option<Bytes>> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let bytes = loop {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => break bytes,
                    Err(_trailers) => {}
                },
                Some(Err(_)) => {
                    let message = "The request body terminated prematurely.";
                    return Err(OssError::new(400, "IncompleteBody", message));
                }
            }
        };
        self.received += bytes.len() as u64;
        if self.keep && self.kept.len() + bytes.len() <= KEPT_BYTES_MAX {
            self.kept.extend_from_slice(&bytes);
        } else {
            self.keep = false;
            self.kept = Vec::new();
        }
        if let Some(rate) = self.bytes_per_second {
            let due = Duration::from_secs_f64(self.received as f64 / rate.max(1) as f64);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
        if std::mem::take(&mut self.corrupt) {
            let mut flipped = bytes.to_vec();
            flipped[0] ^= 1;
            return Ok(Some(flipped.into()));
        }
        Ok(Some(bytes))
    }

    /// Reads and discards the rest.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while self.read_chunk().await?.is_some() {}
        Ok(())
    }

    /// Reads about half of the body.
    pub(crate) async fn read_half(&mut self) -> Result<()> {
        let half = self.expected.map_or(1, |length| length / 2);
        while self.received < half && self.read_chunk().await?.is_some() {}
        Ok(())
    }

    /// Reads the whole body into memory, for small documents.
    pub(crate) async fn read_document(&mut self) -> Result<Vec<u8>> {
        let mut document = Vec::new();
        while let Some(bytes) = self.read_chunk().await? {
            if document.len() + bytes.len() > DOCUMENT_BYTES_MAX {
                return Err(OssError::new(
                    400,
                    "MalformedXML",
                    "The document is too large.",
                ));
            }
            document.extend_from_slice(&bytes);
        }
        Ok(document)
    }

    /// Writes the whole body to the sink.
    pub(crate) async fn copy_to(&mut self, sink: &mut Sink, with_md5: bool) -> Result<Digests> {
        let mut digester = Digester::new(with_md5);
        while let Some(bytes) = self.read_chunk().await? {
            if self.received > BODY_BYTES_MAX {
                return Err(too_large());
            }
            digester.update(&bytes);
            sink.write(&bytes)?;
        }
        Ok(digester.finish())
    }
}

/// Checks the `Content-Length` of an object or a part.
pub(crate) fn check_length(length: Option<u64>, chunked: bool) -> Result<()> {
    match length {
        None if !chunked => {
            let message = "You must provide the Content-Length HTTP header.";
            Err(OssError::new(411, "MissingContentLength", message))
        }
        Some(length) if length > BODY_BYTES_MAX => Err(too_large()),
        _ => Ok(()),
    }
}

fn too_large() -> OssError {
    OssError::new(
        400,
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size.",
    )
}

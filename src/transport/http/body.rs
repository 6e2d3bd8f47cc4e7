use std::io::{self, Read};
use std::sync::Arc;

use super::super::exchange::Exchange;
use crate::error::{FailureKind, TransportFailure};

/// The request body as ureq reads it. Once the server wants no more of it, the caller's reader is
/// not read any further. ureq then gets as many bytes as it still expects, and they are discarded.
pub(super) struct BodyReader<'a> {
    inner: &'a mut dyn Read,
    length: u64,
    left: u64,
    exchange: Arc<Exchange>,
    failure: Option<TransportFailure>,
}

impl<'a> BodyReader<'a> {
    pub(super) fn new(
        inner: &'a mut dyn Read,
        length: u64,
        exchange: Arc<Exchange>,
    ) -> BodyReader<'a> {
        BodyReader {
            inner,
            length,
            left: length,
            exchange,
            failure: None,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The error of the caller's reader, which must not be reported as a failure of the network.
    pub(super) fn take_failure(&mut self) -> Option<TransportFailure> {
        self.failure.take()
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.exchange.send_body();
        if self.exchange.is_body_abandoned() {
            let most = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            self.left -= most as u64;
            return Ok(most);
        }
        let result = self.inner.read(buffer);
        match &result {
            // ureq would wait for the missing bytes forever.
            Ok(0) if self.left > 0 && !buffer.is_empty() => {
                let detail = "the body ended before its announced length";
                self.failure = Some(TransportFailure::new(FailureKind::Other, detail));
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(read) => self.left = self.left.saturating_sub(*read as u64),
            Err(error) => {
                let detail = format!("the body cannot be read: {error}");
                self.failure = Some(TransportFailure::new(FailureKind::Other, detail));
            }
        }
        result
    }
}

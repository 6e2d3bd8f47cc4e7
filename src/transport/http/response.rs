//! The outermost layer of a connection, where HTTP is plain text: interim responses, and responses
//! in mid-body.

use std::sync::Arc;
use std::time::Duration;

use ureq::Timeout;
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};

use super::super::exchange::{Exchange, Phase};
use super::super::socket;
use super::dial::failed;
use crate::error::{FailureKind, TransportFailure};

/// How long to look for a response when the request could not be sent to its end.
const LAST_LOOK: Duration = Duration::from_millis(100);
const INTERIM_BYTES_MAX: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug)]
pub(super) struct ResponseStream {
    inner: Box<dyn Transport>,
    exchange: Arc<Exchange>,
    /// It grows if a response has many headers.
    input: Vec<u8>,
    /// Input was added or used since ureq checked last.
    has_progress: bool,
    interim_bytes: usize,
}

impl ResponseStream {
    pub(super) fn new(inner: Box<dyn Transport>, exchange: Arc<Exchange>) -> ResponseStream {
        ResponseStream {
            inner,
            exchange,
            input: Vec::new(),
            has_progress: false,
            interim_bytes: 0,
        }
    }

    /// Removes interim responses: an unrequested `100 Continue`, and `103 Early Hints`. ureq
    /// understands a `100` only without headers.
    fn skip_interim(&mut self, wants_continue: bool) -> Interim {
        loop {
            match interim_length(&self.input) {
                Interim::Partial if self.input.len() > INTERIM_BYTES_MAX => return Interim::None,
                Interim::Partial => return Interim::Partial,
                Interim::None => return Interim::None,
                Interim::Whole(length) => {
                    let is_continue = self.input.get(9..12) == Some(b"100".as_slice());
                    self.interim_bytes += length;
                    self.input.drain(..length);
                    if is_continue && wants_continue {
                        self.input.splice(..0, CONTINUE.iter().copied());
                        return Interim::None;
                    }
                }
            }
        }
    }

    /// Handles a request that could not be sent completely. If the server has sent an error
    /// response, that is the result.
    fn find_response(&mut self, error: ureq::Error) -> Result<(), ureq::Error> {
        let is_body = self.exchange.phase() == Phase::Sending;
        if !is_body || !may_have_responded(&error) || self.exchange.is_body_abandoned() {
            return Err(error);
        }
        self.exchange.abandon_body(true);
        let timeout = NextTimeout {
            after: LAST_LOOK.into(),
            reason: Timeout::RecvResponse,
            ..NextTimeout::default()
        };
        match self.await_input(timeout) {
            Ok(true) if !self.input.is_empty() => {
                self.has_progress = true;
                Ok(())
            }
            _ => {
                self.exchange.abandon_body(false);
                Err(error)
            }
        }
    }
}

impl Transport for ResponseStream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.interim_bytes = 0;
        match self.inner.transmit_output(amount, timeout) {
            Ok(()) => Ok(()),
            Err(error) => self.find_response(error),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // ureq sets a timeout only for `100 Continue`. The other timeout is that of the last read
        // after a failure.
        let wants_continue =
            !timeout.after.is_not_happening() && timeout.reason != Timeout::RecvResponse;
        self.exchange.await_response();
        loop {
            let is_open = self.inner.maybe_await_input(timeout)?;
            let buffers = self.inner.buffers();
            let received = buffers.input().len();
            self.input.extend_from_slice(buffers.input());
            buffers.input_consume(received);
            if !is_open || self.exchange.phase() == Phase::Receiving {
                return Ok(is_open);
            }
            match self.skip_interim(wants_continue) {
                Interim::None if self.input.is_empty() => {}
                Interim::None => {
                    if !self.input.starts_with(CONTINUE) {
                        self.exchange.start_response();
                    }
                    return Ok(true);
                }
                Interim::Partial | Interim::Whole(_) => {}
            }
            if self.interim_bytes > INTERIM_BYTES_MAX {
                let detail = format!(
                    "{} sends interim responses without end",
                    self.exchange.peer()
                );
                return Err(failed(TransportFailure::new(FailureKind::NotHttp, detail)));
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.input.is_empty() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl Buffers for ResponseStream {
    fn output(&mut self) -> &mut [u8] {
        self.inner.buffers().output()
    }

    fn input(&self) -> &[u8] {
        &self.input
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.inner.buffers().input_append_buf()
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.inner.buffers().tmp_and_output()
    }

    fn input_appended(&mut self, amount: usize) {
        self.inner.buffers().input_appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.has_progress = amount > 0;
        self.input.drain(..amount);
        if self.input.is_empty() {
            // A kept connection needs no large buffer.
            self.input.shrink_to(super::INPUT_BUFFER_BYTES);
        }
    }

    fn can_use_input(&self) -> bool {
        !self.input.is_empty() && self.has_progress
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Interim {
    None,
    /// It may be the start of one.
    Partial,
    /// It is one, of this many bytes.
    Whole(usize),
}

/// Looks for an interim response. `101` is not one: it switches protocols for good.
fn interim_length(input: &[u8]) -> Interim {
    const START: &[u8] = b"HTTP/1.x 1";
    let matches = |(index, byte): (usize, &u8)| match index {
        7 => byte.is_ascii_digit(),
        _ => *byte == START[index],
    };
    if !input.iter().take(START.len()).enumerate().all(matches) || input.get(9..12) == Some(b"101")
    {
        return Interim::None;
    }
    match input.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => Interim::Whole(at + 4),
        None => Interim::Partial,
    }
}

/// Returns true if the peer may have sent a response before it reset the connection or stopped
/// reading.
fn may_have_responded(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => match socket::kind_of(error) {
            Some(kind) => kind == FailureKind::WriteStalled,
            None => true,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_responses_are_recognised() {
        let whole = b"HTTP/1.1 100 Continue\r\nVia: squid\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert_eq!(interim_length(whole), Interim::Whole(37));
        for length in 1..37 {
            assert_eq!(
                interim_length(&whole[..length]),
                Interim::Partial,
                "{length}"
            );
        }
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 101 S\r\n\r\n",
            "<html>",
            "HTTPS",
        ] {
            assert_eq!(interim_length(other.as_bytes()), Interim::None, "{other}");
        }
    }
}

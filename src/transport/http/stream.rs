use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::unversioned::transport::{Buffers, LazyBuffers, NextTimeout, Transport};

use super::super::exchange::Exchange;
use super::super::socket::Socket;
use super::{INPUT_BUFFER_BYTES, OUTPUT_BUFFER_BYTES};

/// Under TLS a write is one TLS record; the body is in the buffer of the TLS layer.
const RECORD_BYTES: usize = 17 * 1024;

/// A socket as ureq requires it. The timeouts are those of the exchange, not those of ureq.
#[derive(Debug)]
pub(super) struct SocketStream {
    socket: Socket,
    exchange: Arc<Exchange>,
    buffers: LazyBuffers,
}

impl SocketStream {
    pub(super) fn new(socket: Socket, exchange: Arc<Exchange>, is_below_tls: bool) -> SocketStream {
        let output_bytes = if is_below_tls {
            RECORD_BYTES
        } else {
            OUTPUT_BUFFER_BYTES
        };
        let buffers = LazyBuffers::new(INPUT_BUFFER_BYTES, output_bytes);
        SocketStream {
            socket,
            exchange,
            buffers,
        }
    }
}

impl Transport for SocketStream {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), ureq::Error> {
        // The rest of the body is discarded.
        if !self.exchange.is_body_abandoned() {
            let output = &self.buffers.output()[..amount];
            self.socket.write_all(output, &self.exchange)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        // Only the wait for 100 Continue, and our own look at what the server says, have a limit.
        let at_most: Option<Duration> =
            (!timeout.after.is_not_happening()).then_some(*timeout.after);
        let buffer = self.buffers.input_append_buf();
        let read = match self.socket.read(buffer, &self.exchange, at_most) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            Err(error) => return Err(error.into()),
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.exchange.is_body_abandoned() && self.socket.is_quiet()
    }
}

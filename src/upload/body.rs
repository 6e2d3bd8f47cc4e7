//! A piece of the file on its way to the server.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::source::Source;
use crate::client::{Line, Pacer, Payload};
use crate::crc64::Digest;
use crate::part::Piece;
use crate::protocol::Parsed;
use crate::{Error, Result};

/// Read once for each attempt, straight into the connection's buffer.
pub(super) struct PieceBody<'a> {
    source: &'a Source,
    piece: Piece,
    line: &'a Line,
    pacer: Option<&'a Pacer>,
    /// Bytes of bodies that are on their way, and all that were ever sent.
    flow: &'a ByteCount,
    on_retry: &'a dyn Fn(),
    /// Look once more at the file before the last bytes go: after them it is too late.
    whole_object: bool,
    position: u64,
    crc64: Digest,
    failure: Option<Error>,
}

/// Bytes handed to sockets, counted by all workers together.
#[derive(Default)]
pub(super) struct ByteCount {
    /// Of parts that are not acknowledged yet.
    on_the_way: AtomicU64,
    /// Of all bodies, also of those that were sent again.
    sent: AtomicU64,
}

impl ByteCount {
    pub(super) fn on_the_way(&self) -> u64 {
        self.on_the_way.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl<'a> PieceBody<'a> {
    pub(super) fn new(
        source: &'a Source,
        piece: Piece,
        line: &'a Line,
        pacer: Option<&'a Pacer>,
        flow: &'a ByteCount,
        on_retry: &'a dyn Fn(),
    ) -> PieceBody<'a> {
        let (position, crc64) = (0, Digest::new());
        PieceBody {
            source,
            piece,
            line,
            pacer,
            flow,
            on_retry,
            whole_object: false,
            position,
            crc64,
            failure: None,
        }
    }

    /// The body of a PutObject.
    pub(super) fn of_whole_object(mut self) -> PieceBody<'a> {
        self.whole_object = true;
        self
    }

    /// Of what the last attempt read.
    pub(super) fn crc64(&self) -> u64 {
        self.crc64.sum()
    }

    /// An answer vouches for the piece only if it came after the last of its bytes had been sent.
    pub(super) fn check_sent(&self) -> Parsed<()> {
        match self.position == self.piece.size {
            true => Ok(()),
            false => Err("it came before the bytes had been sent".into()),
        }
    }

    fn rewind(&mut self) {
        self.flow.on_the_way.fetch_sub(self.position, Ordering::Relaxed);
        self.position = 0;
        self.crc64 = Digest::new();
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = self.piece.size - self.position;
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let wanted = self.pacer.map_or(wanted, |pacer| wanted.min(pacer.step()));
        let read = self
            .source
            .read_at(&mut buffer[..wanted], self.piece.offset + self.position)
            .map_err(|source| self.source.read_error(source))?;
        if read == 0 && left > 0 {
            return Err(self.source.unexpected_end_error());
        }
        if self.whole_object && read as u64 == left {
            self.check_source(&buffer[..read])?;
        }
        Ok(read)
    }

    /// What was read, with these last bytes, is what is there.
    fn check_source(&self, last: &[u8]) -> Result<()> {
        self.source.ensure_unchanged(|source| {
            let mut crc64 = self.crc64.clone();
            crc64.write(last);
            Ok(source.digest(self.piece, false, self.line)?.0 == crc64.sum())
        })
    }
}

impl Read for PieceBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.switch().is_cut() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"));
        }
        if self.position == self.piece.size || buffer.is_empty() {
            return Ok(0);
        }
        let read = self.next(buffer).map_err(|error| {
            self.failure = Some(error);
            io::Error::from(io::ErrorKind::UnexpectedEof)
        })?;
        if let Some(pacer) = self.pacer {
            self.line.pace(pacer, read)?;
        }
        self.crc64.write(&buffer[..read]);
        self.position += read as u64;
        self.flow.on_the_way.fetch_add(read as u64, Ordering::Relaxed);
        self.flow.sent.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Payload for PieceBody<'_> {
    fn length(&self) -> u64 {
        self.piece.size
    }

    fn open(&mut self) -> Result<&mut dyn Read> {
        self.rewind();
        Ok(self)
    }

    fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn was_read(&self) -> bool {
        self.position > 0
    }

    fn retrying(&mut self) {
        self.rewind();
        (self.on_retry)();
    }
}

/// What was on the way has arrived, or never will.
impl Drop for PieceBody<'_> {
    fn drop(&mut self) {
        self.rewind();
    }
}

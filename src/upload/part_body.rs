//! A part range as a request body.

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::job::Job;
use super::source::Source;
use crate::client::RequestBody;
use crate::crc64::Digest;
use crate::part::PartRange;
use crate::protocol::request::Sent;
use crate::{Error, Result};

/// Reads a part range once per attempt, directly into the buffer of the connection.
pub(super) struct PartBody<'a> {
    job: &'a Job<'a>,
    source: &'a Source<'a>,
    range: PartRange,
    position: u64,
    crc64: Digest,
    /// Checks the source once more before the last bytes are sent. With them a PutObject creates
    /// the object.
    verify_source_before_end: bool,
    error: Option<Error>,
}

/// Bytes handed to sockets, counted by all workers together.
#[derive(Default)]
pub(super) struct ByteCounters(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    /// Bytes of parts that are not acknowledged yet.
    in_flight: u64,
    /// Bytes of all bodies, including those that were sent again.
    sent: u64,
    /// What has been read of a stream, in whole parts.
    read: (u64, u32),
}

impl ByteCounters {
    pub(super) fn in_flight(&self) -> u64 {
        self.counts().in_flight
    }

    pub(super) fn sent(&self) -> u64 {
        self.counts().sent
    }

    /// Returns how many bytes and parts have been read of a stream.
    pub(super) fn read(&self) -> (u64, u32) {
        self.counts().read
    }

    pub(super) fn add_read_part(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.read.0 += bytes;
        counts.read.1 += 1;
    }

    fn add(&self, bytes: u64) {
        let mut counts = self.counts();
        counts.in_flight += bytes;
        counts.sent += bytes;
    }

    fn arrived_or_lost(&self, bytes: u64) {
        self.counts().in_flight -= bytes;
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> PartBody<'a> {
    pub(super) fn new(job: &'a Job<'a>, source: &'a Source<'a>, range: PartRange) -> PartBody<'a> {
        PartBody {
            job,
            source,
            range,
            position: 0,
            crc64: Digest::new(),
            verify_source_before_end: false,
            error: None,
        }
    }

    /// Creates the body of a PutObject.
    pub(super) fn of_whole_object(
        job: &'a Job<'a>,
        source: &'a Source<'a>,
        range: PartRange,
    ) -> PartBody<'a> {
        let mut body = PartBody::new(job, source, range);
        body.verify_source_before_end = true;
        body
    }

    /// Returns the CRC-64 of what was read in the last attempt.
    pub(super) fn crc64(&self) -> u64 {
        self.crc64.finish()
    }

    fn restart(&mut self) {
        self.job.counters.arrived_or_lost(self.position);
        self.position = 0;
        self.crc64 = Digest::new();
    }

    /// Waits until the bandwidth limit allows sending, and returns how many bytes to read then.
    /// Returns `None` once everything was aborted.
    fn next_chunk_size(&self, buffer_size: usize) -> Result<Option<usize>> {
        let remaining = usize::try_from(self.range.size - self.position).unwrap_or(usize::MAX);
        let wanted = buffer_size.min(remaining);
        match &self.job.config.bandwidth_limit {
            Some(limit) => self.job.dispatcher.throttle(limit, wanted),
            None => Ok(Some(wanted)),
        }
    }

    fn read_chunk(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let source = self.source;
        let offset = self.range.offset + self.position;
        let read = source
            .read_at(buffer, offset)
            .map_err(|error| source.read_error(error))?;
        if read == 0 {
            return Err(source.unexpected_end_error());
        }
        if self.verify_source_before_end && read as u64 == self.range.size - self.position {
            self.verify_source(&buffer[..read])?;
        }
        Ok(read)
    }

    /// Keeps the error for the call. The connection gets another one.
    fn fail(&mut self, error: Error) -> io::Error {
        self.error = Some(error);
        io::Error::from(io::ErrorKind::UnexpectedEof)
    }

    /// Verifies that what was read, together with these last bytes, still is the file's content.
    fn verify_source(&self, last: &[u8]) -> Result<()> {
        self.source.ensure_unchanged(|source| {
            let mut crc64 = self.crc64.clone();
            crc64.update(last);
            let abort = self.job.dispatcher.abort_handle();
            Ok(source.digest(self.range, false, abort)?.0 == crc64.finish())
        })
    }
}

impl Read for PartBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let aborted = || io::Error::new(io::ErrorKind::ConnectionAborted, "aborted");
        if self.job.dispatcher.abort_handle().is_aborted() {
            return Err(aborted());
        }
        if self.position == self.range.size || buffer.is_empty() {
            return Ok(0);
        }
        let size = match self.next_chunk_size(buffer.len()) {
            Ok(size) => size.ok_or_else(aborted)?,
            Err(error) => return Err(self.fail(error)),
        };
        let read = self
            .read_chunk(&mut buffer[..size])
            .map_err(|error| self.fail(error))?;
        self.crc64.update(&buffer[..read]);
        self.position += read as u64;
        self.job.counters.add(read as u64);
        Ok(read)
    }
}

impl RequestBody for PartBody<'_> {
    fn len(&self) -> u64 {
        self.range.size
    }

    fn rewind(&mut self) -> Result<&mut dyn Read> {
        self.restart();
        Ok(self)
    }

    fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    fn bytes_read(&self) -> u64 {
        self.position
    }

    fn sent(&self) -> Sent {
        Sent {
            is_complete: self.position == self.range.size,
            crc64: self.crc64(),
        }
    }
}

impl Drop for PartBody<'_> {
    fn drop(&mut self) {
        self.restart();
    }
}

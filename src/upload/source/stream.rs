//! Reads a stream part by part, into a few buffers that are used again and again.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;
use crate::client::{AbortHandle, AbortReason};
use crate::part::{PART_SIZE_MAX, PARTS_MAX};
use crate::upload::job::Job;
use crate::upload::stop::{PartStop, Stop};
use crate::upload::workers::JOBS_AHEAD;

/// What a buffer is first given room for: bytes. It doubles from there, so that a short stream takes
/// no more memory than it needs.
const FIRST_ROOM: usize = 64 * 1024;

pub(in crate::upload) struct StreamReader<'a> {
    job: &'a Job<'a>,
    reader: &'a mut (dyn Read + Send),
    buffers: Arc<Buffers>,
    /// The number of the part that was read last.
    number: u32,
    /// The first byte of the next part, if that had to be read to find out whether there is one.
    ahead: Option<u8>,
    has_ended: bool,
}

/// A part of a stream, in memory. Its buffer is used again when it is dropped.
pub(in crate::upload) struct StreamPart {
    pub(in crate::upload) number: u32,
    pub(in crate::upload) bytes: Vec<u8>,
    buffers: Arc<Buffers>,
}

struct Buffers {
    state: Mutex<BufferState>,
    returned: Condvar,
}

struct BufferState {
    free: Vec<Vec<u8>>,
    /// How many more may be made.
    unmade: usize,
}

impl<'a> StreamReader<'a> {
    pub(in crate::upload) fn new(
        job: &'a Job<'a>,
        reader: &'a mut (dyn Read + Send),
    ) -> StreamReader<'a> {
        StreamReader {
            job,
            reader,
            buffers: Arc::new(Buffers::new(job.config.routines + JOBS_AHEAD)),
            number: 0,
            ahead: None,
            has_ended: false,
        }
    }

    pub(in crate::upload) fn is_exhausted(&self) -> bool {
        self.has_ended && self.ahead.is_none()
    }

    /// Reads the first part, which may be empty, and finds out whether it is the only one.
    pub(in crate::upload) fn read_first(&mut self) -> Result<(StreamPart, bool), PartStop> {
        let part = self.read_part()?;
        if !self.has_ended {
            let mut next = Vec::new();
            self.fill(&mut next, 1)?;
            self.ahead = next.pop();
        }
        Ok((part, self.is_exhausted()))
    }

    /// Reads the next part; `None` at the end of the stream. Blocks until one of the parts before
    /// has been dropped, if there are too many of them.
    pub(in crate::upload) fn read_next(&mut self) -> Result<Option<StreamPart>, PartStop> {
        if self.is_exhausted() {
            return Ok(None);
        }
        if u64::from(self.number) == PARTS_MAX {
            let mut next = Vec::from_iter(self.ahead.take());
            self.fill(&mut next, 1)?;
            return match next.is_empty() {
                true => Ok(None),
                false => Err(self.too_long()),
            };
        }
        let part = self.read_part()?;
        Ok((!part.bytes.is_empty()).then_some(part))
    }

    fn read_part(&mut self) -> Result<StreamPart, PartStop> {
        let abort = self.job.dispatcher.abort_handle();
        ensure_running(abort)?;
        let mut part = StreamPart {
            number: self.number + 1,
            bytes: self.buffers.take(),
            buffers: self.buffers.clone(),
        };
        ensure_running(abort)?;
        part.bytes.clear();
        part.bytes.extend(self.ahead.take());
        let part_size = usize::try_from(self.job.plan.part_size).unwrap_or(usize::MAX);
        self.fill(&mut part.bytes, part_size)?;
        if !part.bytes.is_empty() {
            self.number += 1;
            self.job.counters.add_read_part(part.bytes.len() as u64);
        }
        Ok(part)
    }

    /// Reads until the buffer has this size, or until the stream ends.
    fn fill(&mut self, buffer: &mut Vec<u8>, size: usize) -> Result<(), PartStop> {
        let abort = self.job.dispatcher.abort_handle();
        let result = self.try_fill(buffer, size);
        // An abort makes reading fail, too.
        ensure_running(abort)?;
        result.map_err(|error| read_error(error).into())
    }

    fn try_fill(&mut self, buffer: &mut Vec<u8>, size: usize) -> io::Result<()> {
        let mut reader = GuardedReader {
            reader: &mut *self.reader,
            abort: self.job.dispatcher.abort_handle(),
        };
        while !self.has_ended && buffer.len() < size {
            let wanted = size - buffer.len();
            // The first part may be all there is.
            let room = match self.number {
                0 => buffer.len().max(FIRST_ROOM).min(wanted),
                _ => wanted,
            };
            buffer.try_reserve_exact(room)?;
            // It fills short reads, and retries those that were interrupted.
            let read = reader.by_ref().take(room as u64).read_to_end(buffer)?;
            self.has_ended = read < room;
        }
        Ok(())
    }

    fn too_long(&self) -> PartStop {
        let part_size = self.job.plan.part_size;
        let reason = match part_size < PART_SIZE_MAX {
            true => format!(
                "it is longer than {PARTS_MAX} parts of {part_size} bytes; use a part size of {} \
                 bytes or more",
                (2 * part_size).min(PART_SIZE_MAX)
            ),
            false => {
                format!("it is longer than {PARTS_MAX} parts of 5 GiB; OSS has no larger objects")
            }
        };
        read_error(io::Error::new(ErrorKind::InvalidInput, reason)).into()
    }
}

/// An error for which the stream is the reason.
pub(in crate::upload) fn read_error(source: io::Error) -> Error {
    Error::Source {
        path: PathBuf::new(),
        source,
    }
}

fn ensure_running(abort: &AbortHandle) -> Result<(), PartStop> {
    match abort.aborted() {
        _ if abort.is_running() => Ok(()),
        Some(AbortReason::Cancelled) => Err(PartStop::Stopped(Stop::Cancelled {
            object_may_exist: false,
        })),
        // Whoever stopped the others reports why.
        Some(AbortReason::Panicked) | None => Err(PartStop::Drained),
    }
}

/// Reads no more once the call is stopped, and believes no reader that claims to have read more
/// than there was room for.
struct GuardedReader<'a> {
    reader: &'a mut (dyn Read + Send),
    abort: &'a AbortHandle,
}

impl Read for GuardedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.abort.is_running() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let read = self.reader.read(buffer)?;
        if read > buffer.len() {
            let reason = "its reader returned more bytes than it was asked for";
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        Ok(read)
    }
}

impl Buffers {
    fn new(count: usize) -> Buffers {
        Buffers {
            state: Mutex::new(BufferState {
                free: Vec::new(),
                unmade: count,
            }),
            returned: Condvar::new(),
        }
    }

    /// Returns a buffer, as soon as there is one.
    fn take(&self) -> Vec<u8> {
        let has_none = |state: &mut BufferState| state.free.is_empty() && state.unmade == 0;
        let waited = self.returned.wait_while(self.state(), has_none);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.free.pop().unwrap_or_else(|| {
            state.unmade = state.unmade.saturating_sub(1);
            Vec::new()
        })
    }

    fn give_back(&self, buffer: Vec<u8>) {
        self.state().free.push(buffer);
        self.returned.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPart {
    fn drop(&mut self) {
        self.buffers.give_back(mem::take(&mut self.bytes));
    }
}

use std::io::{self, Read};
use std::iter;

use crate::Error;
use crate::protocol::request::Sent;

/// A request body that can be sent again. Every attempt reads it from the start.
pub(crate) trait RequestBody {
    /// Returns its length in bytes.
    fn len(&self) -> u64;
    /// Returns a reader that starts at the first byte.
    fn rewind(&mut self) -> Result<&mut dyn Read, Error>;
    /// Takes the error with which reading failed, so that it is not reported as a failure of the
    /// network.
    fn take_error(&mut self) -> Option<Error>;
    /// Returns how many bytes were read since the last rewind.
    fn bytes_read(&self) -> u64;
    /// Returns what was sent since the last rewind.
    fn sent(&self) -> Sent;
}

/// Text in chunks, each made when it is needed.
pub(crate) type Chunks<'a> = Box<dyn Iterator<Item = String> + 'a>;

/// A request body that is text, or nothing.
pub(crate) struct TextBody<'a> {
    make_chunks: Box<dyn Fn() -> Chunks<'a> + 'a>,
    length: u64,
    remaining: Chunks<'a>,
    chunk: io::Cursor<String>,
    bytes_read: u64,
}

impl<'a> TextBody<'a> {
    pub(crate) fn empty() -> TextBody<'a> {
        TextBody::new(|| Box::new(iter::empty()))
    }

    /// Creates a body from a function that makes the same text each time it is called.
    pub(crate) fn new(make_chunks: impl Fn() -> Chunks<'a> + 'a) -> TextBody<'a> {
        TextBody {
            length: make_chunks().map(|chunk| chunk.len() as u64).sum(),
            remaining: make_chunks(),
            make_chunks: Box::new(make_chunks),
            chunk: io::Cursor::default(),
            bytes_read: 0,
        }
    }
}

impl Read for TextBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.chunk.read(&mut buffer[filled..])?;
            filled += read;
            if read == 0 {
                let Some(chunk) = self.remaining.next() else {
                    break;
                };
                self.chunk = io::Cursor::new(chunk);
            }
        }
        self.bytes_read += filled as u64;
        Ok(filled)
    }
}

impl RequestBody for TextBody<'_> {
    fn len(&self) -> u64 {
        self.length
    }

    fn rewind(&mut self) -> Result<&mut dyn Read, Error> {
        self.remaining = (self.make_chunks)();
        self.chunk = io::Cursor::default();
        self.bytes_read = 0;
        Ok(self)
    }

    fn take_error(&mut self) -> Option<Error> {
        None
    }

    fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    fn sent(&self) -> Sent {
        Sent {
            is_complete: self.bytes_read == self.length,
            crc64: 0,
        }
    }
}

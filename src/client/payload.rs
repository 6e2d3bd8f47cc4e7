use std::io::{self, Read};
use std::iter;

use crate::Error;
use crate::protocol::request::Sent;

/// What a request carries. Every attempt opens it anew.
pub(crate) trait Payload {
    /// Bytes.
    fn length(&self) -> u64;
    fn open(&mut self) -> Result<&mut dyn Read, Error>;
    /// Why reading it failed, if it did: then it is not the network's fault.
    fn failure(&mut self) -> Option<Error>;
    /// Was any of it read since it was opened?
    fn was_read(&self) -> bool;
    /// What the last attempt sent.
    fn sent(&self) -> Sent;
    /// The attempt failed, another one follows.
    fn retrying(&mut self);
}

/// Text in pieces, each made when it is its turn.
pub(crate) type Chunks<'a> = Box<dyn Iterator<Item = String> + 'a>;

/// A text, or nothing, as the body of a request.
pub(crate) struct Message<'a> {
    text: Box<dyn Fn() -> Chunks<'a> + 'a>,
    length: u64,
    rest: Chunks<'a>,
    chunk: io::Cursor<String>,
    /// Bytes read since it was opened.
    position: u64,
    on_retry: Option<&'a mut dyn FnMut()>,
}

impl<'a> Message<'a> {
    pub(crate) fn empty() -> Message<'a> {
        Message::new(|| Box::new(iter::empty()))
    }

    /// Every attempt makes the text anew; it must be the same.
    pub(crate) fn new(text: impl Fn() -> Chunks<'a> + 'a) -> Message<'a> {
        let length = text().map(|chunk| chunk.len() as u64).sum();
        let (rest, chunk) = (text(), io::Cursor::default());
        Message { text: Box::new(text), length, rest, chunk, position: 0, on_retry: None }
    }

    pub(crate) fn on_retry(mut self, tell: &'a mut dyn FnMut()) -> Message<'a> {
        self.on_retry = Some(tell);
        self
    }
}

impl Read for Message<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.chunk.read(&mut buffer[filled..])?;
            filled += read;
            if read == 0 {
                let Some(chunk) = self.rest.next() else { break };
                self.chunk = io::Cursor::new(chunk);
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }
}

impl Payload for Message<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn open(&mut self) -> Result<&mut dyn Read, Error> {
        (self.rest, self.chunk, self.position) = ((self.text)(), io::Cursor::default(), 0);
        Ok(self)
    }

    fn failure(&mut self) -> Option<Error> {
        None
    }

    fn was_read(&self) -> bool {
        self.position > 0
    }

    /// Nobody compares the checksum of a text.
    fn sent(&self) -> Sent {
        Sent { is_complete: self.position == self.length, ..Sent::EMPTY }
    }

    fn retrying(&mut self) {
        if let Some(tell) = &mut self.on_retry {
            tell();
        }
    }
}

use std::io::{self, Read};

use crate::Error;

/// What a request carries. Every attempt opens it anew.
pub(crate) trait Payload {
    /// Bytes.
    fn length(&self) -> u64;
    fn open(&mut self) -> Result<&mut dyn Read, Error>;
    /// Why reading it failed, if it did: then it is not the network's fault.
    fn failure(&mut self) -> Option<Error>;
    /// Was any of it read since it was opened?
    fn was_read(&self) -> bool;
    /// The attempt failed, another one follows.
    fn retrying(&mut self);
}

/// A request with a short text, or nothing, as its body.
pub(crate) struct Message<'a> {
    text: io::Cursor<Vec<u8>>,
    on_retry: &'a mut dyn FnMut(),
}

impl<'a> Message<'a> {
    pub(crate) fn new(text: impl Into<Vec<u8>>, on_retry: &'a mut dyn FnMut()) -> Message<'a> {
        Message { text: io::Cursor::new(text.into()), on_retry }
    }
}

impl Payload for Message<'_> {
    fn length(&self) -> u64 {
        self.text.get_ref().len() as u64
    }

    fn open(&mut self) -> Result<&mut dyn Read, Error> {
        self.text.set_position(0);
        Ok(&mut self.text)
    }

    fn failure(&mut self) -> Option<Error> {
        None
    }

    fn was_read(&self) -> bool {
        self.text.position() > 0
    }

    fn retrying(&mut self) {
        (self.on_retry)();
    }
}

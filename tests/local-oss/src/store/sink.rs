//! The destination of a body while it is received.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;

use super::types::Content;

/// Receives a body in chunks. A file that is not finished is removed.
pub(crate) enum Sink {
    Memory(Vec<u8>),
    File(TempFile, File),
    Discard,
}

/// A file that is removed when it is dropped, unless it is kept.
pub(crate) struct TempFile(Option<PathBuf>);

impl Sink {
    pub(crate) fn file(path: PathBuf, file: File) -> Sink {
        Sink::File(TempFile(Some(path)), file)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Memory(buffer) => buffer.extend_from_slice(bytes),
            Sink::File(_, file) => file.write_all(bytes)?,
            Sink::Discard => {}
        }
        Ok(())
    }

    /// Returns the content. A file is still removed when the guard is dropped.
    pub(crate) fn finish(self) -> (Content, TempFile) {
        match self {
            Sink::Memory(buffer) => (Content::Memory(Bytes::from(buffer)), TempFile(None)),
            Sink::File(temporary, _) => {
                let path = temporary.0.clone().unwrap_or_default();
                (Content::File(path), temporary)
            }
            Sink::Discard => (Content::Discarded, TempFile(None)),
        }
    }
}

impl TempFile {
    /// Keeps the file.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_file(path);
        }
    }
}

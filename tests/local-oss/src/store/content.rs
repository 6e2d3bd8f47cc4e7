//! Stored content: reading it, and joining parts.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use super::types::{Content, StoredPart};
use super::{Sink, Store};
use crate::error::Result;

/// Reads the whole content; returns no bytes if it was discarded.
pub(super) fn read(content: &Content) -> io::Result<Vec<u8>> {
    match content {
        Content::Memory(bytes) => Ok(bytes.to_vec()),
        Content::File(path) => fs::read(path),
        Content::Discarded => Ok(Vec::new()),
    }
}

impl Store {
    /// Concatenates the parts; computes the MD5 of the result on request.
    pub(crate) fn join_parts(
        &self,
        upload_id: &str,
        parts: &[&StoredPart],
        with_md5: bool,
    ) -> Result<(Sink, Option<[u8; 16]>)> {
        let total = parts.iter().map(|part| part.size).sum();
        let mut sink = self.sink(upload_id, Some(total))?;
        for part in parts {
            match (&mut sink, &part.content) {
                // Files are copied by the kernel.
                (Sink::File(_, target), Content::File(path)) => {
                    io::copy(&mut File::open(path)?, target)?;
                }
                (sink, content) => sink.write(&read(content)?)?,
            }
        }
        let md5 = if with_md5 { md5_of(&mut sink)? } else { None };
        Ok((sink, md5))
    }
}

fn md5_of(sink: &mut Sink) -> io::Result<Option<[u8; 16]>> {
    match sink {
        Sink::Memory(bytes) => Ok(Some(md5::compute(bytes).0)),
        Sink::Discard => Ok(None),
        Sink::File(_, file) => {
            file.seek(SeekFrom::Start(0))?;
            let mut context = md5::Context::new();
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(Some(context.finalize().0)),
                    count => context.consume(&buffer[..count]),
                }
            }
        }
    }
}

/// A range of some content, positioned at its start.
pub(crate) enum Source {
    Bytes(Bytes),
    File(File),
}

impl Content {
    /// Opens a range that lies within the content; `None` if the bytes were discarded.
    pub(crate) fn open(&self, start: u64, length: u64) -> io::Result<Option<Source>> {
        match self {
            Content::Memory(bytes) => {
                let (start, end) = (start as usize, (start + length) as usize);
                Ok(Some(Source::Bytes(bytes.slice(start..end))))
            }
            Content::File(path) => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                Ok(Some(Source::File(file)))
            }
            Content::Discarded => Ok(None),
        }
    }
}

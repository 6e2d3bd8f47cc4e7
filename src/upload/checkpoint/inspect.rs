//! Reads a checkpoint without locking or changing anything.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use super::file::{FILE_BYTES_MAX, TEMP_SUFFIX};
use super::format::{CheckpointState, Header, is_blank};
use crate::upload::platform::never_block;

/// Enough to tell whose file it is: bytes.
const HEADER_BYTES: u64 = 64;

/// What a file is.
#[derive(Debug)]
pub(in crate::upload) enum Inspected {
    /// The checkpoint of an unfinished upload.
    Upload(Box<CheckpointState>),
    /// A checkpoint that has no upload yet, or is not finished itself.
    Blank,
    Damaged,
    /// A checkpoint of a version that a later release writes.
    Newer(u32),
    /// Not a checkpoint.
    Foreign,
}

/// Reads the file, unless it is not a checkpoint. A link is none.
pub(in crate::upload) fn inspect(path: &Path) -> io::Result<Inspected> {
    let is_temporary = path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(TEMP_SUFFIX.as_bytes());
    if is_temporary || !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(Inspected::Foreign);
    }
    let mut options = OpenOptions::new();
    options.read(true);
    never_block(&mut options);
    let file = options.open(path)?;
    // It may have been replaced since the first look.
    if !file.metadata()?.is_file() {
        return Ok(Inspected::Foreign);
    }
    let mut content = Vec::new();
    read_up_to(&file, HEADER_BYTES, &mut content)?;
    match Header::of(&content) {
        Header::Ours => {}
        Header::Newer(version) => return Ok(Inspected::Newer(version)),
        Header::Empty | Header::Foreign => return Ok(Inspected::Foreign),
    }
    read_up_to(&file, FILE_BYTES_MAX, &mut content)?;
    if is_blank(&content) {
        return Ok(Inspected::Blank);
    }
    let state = std::str::from_utf8(&content)
        .ok()
        .and_then(CheckpointState::from_text);
    Ok(state.map_or(Inspected::Damaged, |state| {
        Inspected::Upload(Box::new(state))
    }))
}

fn read_up_to(file: &File, limit: u64, content: &mut Vec<u8>) -> io::Result<()> {
    file.take(limit).read_to_end(content).map(|_| ())
}

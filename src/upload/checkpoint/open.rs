//! Opens and locks the checkpoint file. A missing file is created with its first line, so that it
//! never looks like a foreign file.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::CheckpointStore;
use super::file::{
    CheckpointFile, FILE_BYTES_MAX, TRIES_MAX, create_private, is_same_file_at, new_path,
    temp_path, write_and_lock,
};
use super::format::{FIRST_LINE, Header, is_blank};
use crate::md5_digest::Md5Digest;
use crate::upload::platform::{
    has_no_locks, is_link_unsupported, is_same_file, kind_of, never_block,
};
use crate::{Error, Result};

/// The result of one attempt to open and lock the file.
enum Attempt {
    Opened(CheckpointFile),
    Absent,
    /// The file was created, removed or replaced meanwhile; try again.
    Raced(Option<io::Error>),
}

impl CheckpointFile {
    /// Opens and locks the file, which is created if it is missing.
    ///
    /// It is then replaced by a file of the same content, in the way that a save replaces it: a
    /// directory that allows no saves is noticed before there is an upload.
    pub(in crate::upload) fn open(path: &Path) -> Result<CheckpointFile> {
        let mut last_error = None;
        for _ in 0..TRIES_MAX {
            let attempt = match lock_existing(path)? {
                Attempt::Opened(file) => file.rehearse()?,
                Attempt::Absent => create(path)?,
                raced @ Attempt::Raced(_) => raced,
            };
            match attempt {
                Attempt::Opened(file) => return Ok(file),
                Attempt::Absent => {}
                Attempt::Raced(error) => last_error = error.or(last_error),
            }
        }
        // Other calls replace the file again and again, or no file can be created here.
        Err(last_error.map_or(
            Error::CheckpointInUse {
                path: path.to_owned(),
            },
            |error| failed(path, error),
        ))
    }

    /// Opens and locks the file if there is one. Nothing is written.
    pub(in crate::upload) fn open_existing(path: &Path) -> Result<Option<CheckpointFile>> {
        for _ in 0..TRIES_MAX {
            match lock_existing(path)? {
                Attempt::Opened(file) => return Ok(Some(file)),
                Attempt::Absent => return Ok(None),
                Attempt::Raced(_) => {}
            }
        }
        Err(Error::CheckpointInUse {
            path: path.to_owned(),
        })
    }

    /// Removes what a crash left beside this checkpoint, if it can be removed.
    pub(in crate::upload) fn remove_orphan(&self) {
        for temp in [temp_path(&self.path), new_path(&self.path)] {
            if let Err(error) = remove_orphan(&self.path, &temp) {
                log::warn!("{error}");
            }
        }
    }

    /// Replaces the file by one of the same content, to find out whether saves will work.
    fn rehearse(mut self) -> Result<Attempt> {
        remove_orphan(&self.path, &temp_path(&self.path))?;
        let io_failed = |error| failed(&self.path, error);
        let before = self.locked.metadata().map_err(io_failed)?;
        let content = self.read_content().map_err(io_failed)?;
        let content = if content.is_empty() {
            FIRST_LINE.as_bytes()
        } else {
            &content
        };
        self.is_empty = is_blank(content);
        let Err(error) = self.replace(content) else {
            return Ok(Attempt::Opened(self));
        };
        // If neither the old file nor the new one is there, another call was faster.
        let is_there = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|there| is_same_file(&before, &there))
            || is_same_file_at(&self.locked, &self.path).unwrap_or(true);
        match is_there {
            true => Err(failed(&self.path, error)),
            false => Ok(Attempt::Raced(Some(error))),
        }
    }
}

fn lock_existing(path: &Path) -> Result<Attempt> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => return Err(not_a_file(path, &metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Absent),
        Err(error) => return Err(failed(path, error)),
    }
    let file = match open_existing_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Attempt::Raced(Some(error)));
        }
        Err(error) => return Err(failed(path, error)),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(Error::CheckpointInUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) if !has_no_locks(&error) => {
            return Err(failed(path, error));
        }
        // A file system without locks. The documentation describes the consequences.
        _ => {}
    }
    if !is_same_file_at(&file, path).map_err(|error| failed(path, error))?
        || looks_replaced(&file, path)
    {
        return Ok(Attempt::Raced(None));
    }
    let mut opened = CheckpointFile::new(path, file, b"");
    let content = opened.read_content().map_err(|error| failed(path, error))?;
    opened.content = Md5Digest::of(&content);
    match Header::of(&content) {
        Header::Ours if content.len() as u64 > FILE_BYTES_MAX => Err(not_a_checkpoint(
            path,
            "is larger than any checkpoint; choose another path, or delete it".into(),
        )),
        Header::Ours => {
            opened.is_empty = is_blank(&content);
            Ok(Attempt::Opened(opened))
        }
        Header::Empty => {
            opened.was_empty = true;
            Ok(Attempt::Opened(opened))
        }
        header => Err(not_a_checkpoint(path, foreign_reason(header))),
    }
}

/// Creates the file with its first line in it, already locked, under a name that nothing else has.
fn create(path: &Path) -> Result<Attempt> {
    let new = new_path(path);
    remove_orphan(path, &new)?;
    let file = match create_private(&new) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Attempt::Raced(None)),
        Err(error) => return Err(failed(path, error)),
    };
    match write_and_lock(&file, FIRST_LINE.as_bytes()) {
        Ok(()) => {}
        // Another call has just taken it for an orphan, and removes it.
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Attempt::Raced(None)),
        Err(error) => {
            let _ = std::fs::remove_file(&new);
            return Err(failed(path, error));
        }
    }
    let file = match rename_without_replacing(&new, path) {
        Ok(()) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Attempt::Raced(None)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Attempt::Raced(Some(error)));
        }
        Err(error) if is_link_unsupported(&error) => match create_in_place(path)? {
            Some(file) => file,
            None => return Ok(Attempt::Raced(None)),
        },
        Err(error) => return Err(failed(path, error)),
    };
    let mut created = CheckpointFile::new(path, file, FIRST_LINE.as_bytes());
    created.is_empty = true;
    if !is_same_file_at(&created.locked, path).map_err(|error| failed(path, error))? {
        return Ok(Attempt::Raced(None));
    }
    let ready = remove_orphan(path, &temp_path(path)).and_then(|()| {
        created
            .sync_directory()
            .map_err(|error| failed(path, error))
    });
    match ready {
        Ok(()) => Ok(Attempt::Opened(created)),
        Err(error) => {
            let _ = created.remove();
            Err(error)
        }
    }
}

/// Removes `from` if that fails.
pub(super) fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    // Its replacement came with later releases than the oldest that is allowed here.
    #[allow(deprecated)]
    let from = tempfile::TempPath::from_path(from);
    from.persist_noclobber(to).map_err(|refused| refused.error)
}

/// For file systems that can neither link nor rename without replacing. A crash in the middle
/// leaves an empty file.
pub(super) fn create_in_place(path: &Path) -> Result<Option<File>> {
    let file = match create_private(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    match write_and_lock(&file, FIRST_LINE.as_bytes()) {
        Ok(()) => Ok(Some(file)),
        Err(error) => {
            let _ = std::fs::remove_file(path);
            Err(failed(path, error))
        }
    }
}

/// Removes a temporary file that a crash left between writing and renaming.
fn remove_orphan(path: &Path, temp: &Path) -> Result<()> {
    match std::fs::symlink_metadata(temp) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => return Err(in_the_way(temp, &metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(temp, error)),
    }
    let orphan = match open_existing_file(temp) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(temp, error)),
    };
    match orphan.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(Error::CheckpointInUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) if !has_no_locks(&error) => {
            return Err(failed(temp, error));
        }
        _ => {}
    }
    if !is_same_file_at(&orphan, temp).map_err(|error| failed(temp, error))? {
        return Ok(());
    }
    match read_header(&orphan).map_err(|error| failed(temp, error))? {
        Header::Empty | Header::Ours => {
            std::fs::remove_file(temp).map_err(|error| failed(temp, error))
        }
        header => Err(not_a_checkpoint(temp, foreign_reason(header))),
    }
}

fn read_header(file: &File) -> io::Result<Header> {
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start)?;
    Ok(Header::of(&start))
}

/// Opens the file. If a pipe has taken its place, this does not wait for the other end.
fn open_existing_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    never_block(&mut options);
    options.open(path)
}

/// Returns whether another file has taken the place of the one just opened. Where files have no
/// inodes, this is judged by size and time.
fn looks_replaced(file: &File, path: &Path) -> bool {
    let stat = |metadata: io::Result<Metadata>| {
        metadata.and_then(|it| Ok((it.len(), it.modified()?))).ok()
    };
    cfg!(not(unix)) && stat(file.metadata()) != stat(std::fs::symlink_metadata(path))
}

/// Returns why a text that does not start like a checkpoint was not used, and what to do about it.
pub(super) fn foreign_reason(header: Header) -> String {
    match header {
        Header::Newer(version) => format!(
            "is a checkpoint of version {version}, which a newer release of this program wrote; resume with that \
             release, or choose another path"
        ),
        _ => "is not an oss-upload checkpoint; choose another path, or delete the file".into(),
    }
}

fn not_a_file(path: &Path, metadata: &Metadata) -> Error {
    let what_to_do = match metadata.is_dir() {
        true => "to keep checkpoints in it, use checkpoint_dir(true, dir)",
        false => "give the path of a regular file, or of one that does not exist yet",
    };
    not_a_checkpoint(path, format!("is {}; {what_to_do}", kind_of(metadata)))
}

fn in_the_way(temp: &Path, metadata: &Metadata) -> Error {
    let reason =
        "but a temporary file needs its name; remove it, or choose another checkpoint path";
    not_a_checkpoint(temp, format!("is {}, {reason}", kind_of(metadata)))
}

fn not_a_checkpoint(path: &Path, reason: String) -> Error {
    Error::NotACheckpoint {
        path: path.to_owned(),
        reason,
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Checkpoint {
        path: Some(path.to_owned()),
        source: error,
    }
}

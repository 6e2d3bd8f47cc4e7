//! The checkpoint on disk: locked for one call, replaced as a whole, and nobody else's file touched.
//!
//! A lock on a path that is renamed over is void. So each save locks its new file *before* it takes the path, and
//! keeps that lock; and whoever gets a lock looks whether the path still names what was locked.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::FIRST_LINE;
use super::options::CheckpointStore;
use crate::{Error, Result};

/// Larger than the record of 10,000 parts ever gets: bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often a file that is replaced again and again is tried before it counts as in use.
const TRIES_MAX: usize = 100;

#[derive(Debug)]
pub(super) struct CheckpointFile {
    path: PathBuf,
    /// What the path names now. Its lock is held as long as it is open.
    held: File,
    /// Nothing of worth is in it: it goes when the call ends.
    empty: bool,
}

impl CheckpointFile {
    /// Makes the file if it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<CheckpointFile> {
        let mut last_error = None;
        for _ in 0..TRIES_MAX {
            let (held, empty) = match open_or_create(path)? {
                Ok(opened) => opened,
                Err(error) => {
                    last_error = Some(error);
                    continue;
                }
            };
            match held.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::CheckpointInUse { path: path.to_owned() });
                }
                // A file system without locks. The documentation says what is lost.
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
                Err(TryLockError::Error(error)) => return Err(failed(path, error)),
            }
            if is_at(&held, path).map_err(|error| failed(path, error))? && !was_replaced(&held, path) {
                let mut file = CheckpointFile { path: path.to_owned(), held, empty };
                file.check_first_line()?;
                file.remove_orphan()?;
                return Ok(file);
            }
        }
        // Others come and go without end; or there is no making a file here.
        Err(last_error.map_or(Error::CheckpointInUse { path: path.to_owned() }, |error| failed(path, error)))
    }

    fn check_first_line(&mut self) -> Result<()> {
        if is_ours(&self.held).map_err(|error| failed(&self.path, error))? {
            return Ok(());
        }
        // Dropping must not remove what is not ours.
        self.empty = false;
        Err(Error::NotACheckpoint { path: self.path.clone() })
    }

    /// What a crash between writing and renaming left.
    fn remove_orphan(&self) -> Result<()> {
        let path = temporary(&self.path);
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&path, error)),
        };
        if !metadata.is_file() {
            return Err(Error::NotACheckpoint { path });
        }
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            // Somebody's record has this name.
            return Err(Error::CheckpointInUse { path });
        }
        if !is_ours(&file).map_err(|error| failed(&path, error))? {
            return Err(Error::NotACheckpoint { path });
        }
        std::fs::remove_file(&path).map_err(|error| failed(&path, error))
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        let (directory, name) = directory_and_name(&self.path);
        let mut file =
            tempfile::Builder::new().prefix(name).suffix(".tmp").rand_bytes(0).tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match file.as_file().try_lock() {
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
            result => result.map_err(io::Error::from)?,
        }
        if !is_at(&self.held, &self.path)? && std::fs::symlink_metadata(&self.path).is_ok() {
            let reason = "something else was put in its place while the upload ran";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        // Not `persist`: on Windows it replaces no file that is open, and ours is, since it is locked.
        let (file, next) = file.keep().map_err(|error| error.error)?;
        let moved = self.give_name(file, &next);
        if moved.is_err() {
            let _ = std::fs::remove_file(&next);
        }
        moved?;
        self.empty = false;
        sync_directory(directory_and_name(&self.path).0);
        Ok(())
    }

    /// The next record takes the place of the last one; its lock is held before the other one goes.
    fn give_name(&mut self, file: File, next: &Path) -> io::Result<()> {
        // Access denied, and sharing violation.
        let in_use = |moved: &io::Result<()>| {
            cfg!(windows) && matches!(moved, Err(error) if matches!(error.raw_os_error(), Some(5 | 32)))
        };
        let mut moved = std::fs::rename(next, &self.path);
        if moved.is_err() && !in_use(&moved) {
            return moved;
        }
        self.held = file;
        // On Windows, FAT and some shares replace no file that is open; ours no longer is. Whoever opens it now finds the next
        // one locked, and goes away.
        for _ in 0..TRIES_MAX {
            if !in_use(&moved) {
                break;
            }
            std::thread::yield_now();
            moved = std::fs::rename(next, &self.path);
        }
        moved
    }
}

impl CheckpointStore for CheckpointFile {
    fn load(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        (&self.held).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        // Text that is damaged so badly that it is no text is damaged text.
        Ok((!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.replace(text)
    }

    fn remove(&mut self) -> io::Result<()> {
        self.empty = false;
        match is_at(&self.held, &self.path)? {
            true => std::fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

impl Drop for CheckpointFile {
    fn drop(&mut self) {
        if self.empty && self.remove().is_err() {
            log::warn!("the empty checkpoint {} can't be removed", self.path.display());
        }
        // Closing is not enough: a process that is just being started may hold a copy of the descriptor.
        let _ = self.held.unlock();
    }
}

/// A file system without locks, or one whose lock service is not there (`ENOLCK`, on network shares).
fn has_no_locks(error: &io::Error) -> bool {
    let no_service = match () {
        () if cfg!(target_os = "linux") => Some(37),
        () if cfg!(target_os = "macos") => Some(77),
        () => None,
    };
    error.kind() == io::ErrorKind::Unsupported || (no_service.is_some() && error.raw_os_error() == no_service)
}

/// Where the next record is written before it takes the place of the last one.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    name.into()
}

/// The file and whether it is empty. The inner error is that it came or went in the middle: to be tried again.
fn open_or_create(path: &Path) -> Result<io::Result<(File, bool)>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(Error::NotACheckpoint { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            options.create_new(true);
            private(&mut options);
        }
        Err(error) => return Err(failed(path, error)),
    }
    match options.open(path).and_then(|file| Ok((file.metadata()?.len() == 0, file))) {
        Ok((empty, file)) => Ok(Ok((file, empty))),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            Ok(Err(error))
        }
        Err(error) => Err(failed(path, error)),
    }
}

/// Readable by nobody else.
fn private(options: &mut OpenOptions) {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    #[cfg(not(unix))]
    let _ = options;
}

/// Empty, our first line, or a part of it.
fn is_ours(mut file: &File) -> io::Result<bool> {
    use std::io::Seek;
    let mut start = Vec::new();
    file.take(FIRST_LINE.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(FIRST_LINE.as_bytes().starts_with(&start))
}

/// Does the path name this very file? A link in its place does not.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(there.is_file() && same_file(&file.metadata()?, &there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Where files have no numbers, one that took the place of the one just opened shows by its size or time.
fn was_replaced(file: &File, path: &Path) -> bool {
    let print = |metadata: io::Result<Metadata>| metadata.and_then(|it| Ok((it.len(), it.modified()?))).ok();
    cfg!(not(unix)) && print(file.metadata()) != print(std::fs::symlink_metadata(path))
}

fn directory_and_name(path: &Path) -> (&Path, &std::ffi::OsStr) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (directory, path.file_name().unwrap_or_default())
}

/// So that the new name survives a power cut; where directories can't be synced, the old record does.
fn sync_directory(directory: &Path) {
    if let Ok(directory) = File::open(directory) {
        let _ = directory.sync_all();
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Checkpoint { path: Some(path.to_owned()), source: error }
}

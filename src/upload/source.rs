//! The local file: what it was when the upload began, and its bytes by their positions.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::client::AbortHandle;
use crate::crc64::Digest;
use crate::md5_digest::{Md5, Md5Digest};
use crate::part::PartRange;
use crate::{Error, Result};

/// Read at a time where no request takes the bytes: bytes.
const BUFFER_BYTES: usize = 128 * 1024;

pub(super) struct Source {
    file: File,
    /// Absolute; empty for an open file.
    path: PathBuf,
    pub(super) fingerprint: Fingerprint,
}

/// What tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970; negative before.
    pub(super) mtime: i128,
    /// Where the system has them.
    pub(super) identity: Option<Identity>,
}

/// What an edit changes even when it puts the size and the mtime back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Nanoseconds since 1970.
    pub(super) ctime: i128,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What became of the file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    /// Size and mtime are the same, yet something was done to the file.
    Touched,
    Changed,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source> {
        if path.as_os_str().is_empty() {
            return Err(Error::option(
                "path",
                "it is empty: give the file to upload",
            ));
        }
        let failed = |source| Error::Source {
            path: path.to_owned(),
            source,
        };
        // Opening a pipe would wait for somebody to write to it, so look first.
        regular(&std::fs::metadata(path).map_err(failed)?).map_err(failed)?;
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        regular(&metadata).map_err(failed)?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        Ok(Source {
            file,
            path: absolute,
            fingerprint: Fingerprint::of(&metadata).map_err(failed)?,
        })
    }

    pub(super) fn from_file(file: File) -> Result<Source> {
        let failed = |source| Error::Source {
            path: PathBuf::new(),
            source,
        };
        let metadata = file.metadata().map_err(failed)?;
        regular(&metadata).map_err(failed)?;
        Ok(Source {
            file,
            path: PathBuf::new(),
            fingerprint: Fingerprint::of(&metadata).map_err(failed)?,
        })
    }

    /// Compares handle and path with what they were at the beginning.
    fn change(&self) -> Result<Change> {
        let of = |metadata: io::Result<Metadata>| {
            Fingerprint::of(&metadata.map_err(|source| self.read_error(source))?)
                .map_err(|source| self.read_error(source))
        };
        let now = of(self.file.metadata())?;
        if (now.size, now.mtime) != (self.fingerprint.size, self.fingerprint.mtime) {
            return Ok(Change::Changed);
        }
        if !self.path.as_os_str().is_empty() {
            match std::fs::metadata(&self.path) {
                Ok(metadata) => {
                    let there = of(Ok(metadata))?;
                    if !there.is_same_file(&now) {
                        return Ok(Change::Changed);
                    }
                }
                Err(_) => return Ok(Change::Changed),
            }
        }
        Ok(if now.identity == self.fingerprint.identity {
            Change::None
        } else {
            Change::Touched
        })
    }

    /// Does the path name this very file, by whatever name?
    pub(super) fn is_same_file_as(&self, path: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let by_path = !self.path.as_os_str().is_empty()
            && (path == self.path || same(real(path), real(&self.path)));
        let there = std::fs::metadata(path)
            .ok()
            .and_then(|metadata| Identity::of(&metadata));
        by_path
            || same(
                there.map(|there| there.place()),
                self.fingerprint.identity.map(|own| own.place()),
            )
    }

    /// No object is made of a file that changed under our hands. Where only its bytes can tell, `proof` reads them.
    pub(super) fn ensure_unchanged<E: From<Error>>(
        &self,
        proof: impl FnOnce() -> Result<bool, E>,
    ) -> Result<(), E> {
        let same = match self.change()? {
            Change::None => true,
            Change::Changed => false,
            Change::Touched => proof()?,
        };
        if same {
            Ok(())
        } else {
            Err(self.changed_error().into())
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        Some(&*self.path).filter(|path| !path.as_os_str().is_empty())
    }

    pub(super) fn size(&self) -> u64 {
        self.fingerprint.size
    }

    pub(super) fn ensure_size_unchanged(&self) -> Result<()> {
        let metadata = self
            .file
            .metadata()
            .map_err(|error| self.read_error(error))?;
        if metadata.len() == self.fingerprint.size {
            Ok(())
        } else {
            Err(self.changed_error())
        }
    }

    pub(super) fn changed_error(&self) -> Error {
        Error::SourceChanged {
            path: self.path.clone(),
        }
    }

    /// CRC-64 and, if wanted, MD5 of a piece. An error once the line is cut.
    pub(super) fn digest(
        &self,
        range: PartRange,
        with_md5: bool,
        abort: &AbortHandle,
    ) -> Result<(u64, Option<Md5Digest>)> {
        let (mut crc64, mut md5) = (Digest::new(), with_md5.then(Md5::new));
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut range = range.range();
        while !range.is_empty() {
            if abort.is_aborted() {
                return Err(Error::Cancelled {
                    object_may_exist: false,
                });
            }
            let wanted = usize::try_from(range.end - range.start)
                .unwrap_or(BUFFER_BYTES)
                .min(BUFFER_BYTES);
            let read = self
                .read_at(&mut buffer[..wanted], range.start)
                .map_err(|source| self.read_error(source))?;
            if read == 0 {
                return Err(self.changed_error());
            }
            crc64.update(&buffer[..read]);
            if let Some(md5) = &mut md5 {
                md5.update(&buffer[..read]);
            }
            range.start += read as u64;
        }
        Ok((crc64.finish(), md5.map(Md5::finish)))
    }

    pub(super) fn read_error(&self, source: io::Error) -> Error {
        Error::Source {
            path: self.path.clone(),
            source,
        }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match positioned_read(&self.file, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(unix)]
fn positioned_read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// On Windows this moves the handle's cursor, which nothing here relies on.
#[cfg(windows)]
fn positioned_read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory, not a file",
        ));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(())
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> io::Result<Fingerprint> {
        let mtime = match metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => nanoseconds(after),
            Err(before) => -nanoseconds(before.duration()),
        };
        Ok(Fingerprint {
            size: metadata.len(),
            mtime,
            identity: Identity::of(metadata),
        })
    }

    fn is_same_file(&self, other: &Fingerprint) -> bool {
        let place =
            |fingerprint: &Fingerprint| fingerprint.identity.map(|identity| identity.place());
        (self.size, self.mtime, place(self)) == (other.size, other.mtime, place(other))
    }
}

fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

fn nanoseconds(duration: Duration) -> i128 {
    duration.as_nanos().cast_signed()
}

impl Identity {
    fn place(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        let ctime =
            i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        Some(Identity {
            ctime,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Identity> {
        None
    }
}

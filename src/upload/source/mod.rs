//! What is uploaded: a file, with its fingerprint when it was opened, or bytes in memory.

mod fingerprint;
mod stream;

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(in crate::upload) use fingerprint::{Fingerprint, Identity, SourceKind};
use fingerprint::{Stat, UNKNOWN_SIZE, ensure_regular, read_at};
pub(in crate::upload) use stream::{StreamPart, StreamReader, read_error};

use super::platform::{has_no_links, never_block};
use crate::client::AbortHandle;
use crate::crc64::Digest;
use crate::md5_digest::{Md5, Md5Digest};
use crate::part::{PartRange, determine_part_size};
use crate::{Error, Result};

/// The bytes that are read at a time if they are not sent.
const BUFFER_BYTES: usize = 128 * 1024;

/// What [`part_size_for`] gives files that have at most [`PARTS_MAX`](crate::PARTS_MAX) such
/// parts: 8 MiB.
const PREFERRED_PART_SIZE: u64 = 8 << 20;

/// Looks at the file and returns a part size for it: 8 MiB, or as many bytes more as it takes for
/// the file to fit into [`PARTS_MAX`](crate::PARTS_MAX) parts.
///
/// It is [`determine_part_size`] of the size that the file has now. An upload is resumed only with
/// the part size that it started with: for a file of more than 80,000 MiB that still grows, choose
/// a part size once and keep it.
///
/// ```
/// # fn f(bucket: &oss_upload::Bucket) -> Result<(), Box<dyn std::error::Error>> {
/// use oss_upload::{checkpoint, part_size_for};
///
/// let path = "file.bin";
/// bucket.upload_file("file.bin", path, part_size_for(path)?, [checkpoint(true, "")])?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The error of the operating system if nothing is known of the file, for example because it does
/// not exist. [`IsADirectory`](ErrorKind::IsADirectory) for a directory, and
/// [`InvalidInput`](ErrorKind::InvalidInput) for a pipe, a device or a socket. The error does not
/// name the path.
pub fn part_size_for(path: impl AsRef<Path>) -> io::Result<u64> {
    let metadata = metadata_at(path.as_ref())?;
    ensure_regular(&metadata)?;
    Ok(determine_part_size(metadata.len(), PREFERRED_PART_SIZE))
}

pub(in crate::upload) struct Source<'a> {
    origin: SourceOrigin<'a>,
    pub(in crate::upload) fingerprint: Fingerprint,
    /// The file had a name when it was opened. A temporary file may have none, and some FUSE file
    /// systems report none for any file.
    had_links: bool,
}

enum SourceOrigin<'a> {
    /// A file, and its absolute path. Nobody knows the path of a file that the caller had open.
    File(File, Option<PathBuf>),
    /// Bytes that cannot change while they are borrowed.
    Bytes(&'a [u8]),
    /// A stream is read from beginning to end elsewhere. Each of its parts is a source of bytes.
    Stream,
}

/// What happened to the file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Unchanged,
    /// Size and mtime are the same, but other metadata is not.
    MetadataChanged,
    /// The path leads to another inode of the same size and mtime. It may be the same file: some
    /// FUSE file systems report another inode each time the path is looked up.
    OtherInode,
    Changed,
    /// The path leads to another file, or to none.
    Replaced,
}

impl<'a> Source<'a> {
    pub(in crate::upload) fn from_bytes(bytes: &'a [u8]) -> Source<'a> {
        Source {
            origin: SourceOrigin::Bytes(bytes),
            fingerprint: Fingerprint::without_file(SourceKind::Bytes, bytes.len() as u64),
            had_links: false,
        }
    }

    pub(in crate::upload) fn stream() -> Source<'static> {
        Source {
            origin: SourceOrigin::Stream,
            fingerprint: Fingerprint::without_file(SourceKind::Stream, 0),
            had_links: false,
        }
    }

    /// Opens the file, writes its cached bytes to the disk, and takes its fingerprint.
    ///
    /// `now` is the local time, read before this call: a change that comes later makes the
    /// fingerprint doubtful.
    pub(in crate::upload) fn open(path: &Path, now: SystemTime) -> Result<Source<'a>> {
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
        // Opening some devices has effects, so the kind of the file is checked first.
        ensure_regular(&metadata_at(path).map_err(failed)?).map_err(failed)?;
        let file = open_for_reading(path).map_err(failed)?;
        let fingerprint = Fingerprint::take(&file, now).map_err(failed)?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        // The absolute path is checked again at the end. If that is not possible (it may be too
        // long), this fails now.
        metadata_at(&absolute).map_err(failed)?;
        Ok(Source {
            had_links: has_links(&file),
            origin: SourceOrigin::File(file, Some(absolute)),
            fingerprint,
        })
    }

    pub(in crate::upload) fn from_file(file: File, now: SystemTime) -> Result<Source<'a>> {
        let failed = |source| Error::Source {
            path: PathBuf::new(),
            source,
        };
        let fingerprint = Fingerprint::take(&file, now).map_err(failed)?;
        Ok(Source {
            had_links: has_links(&file),
            origin: SourceOrigin::File(file, None),
            fingerprint,
        })
    }

    /// Returns the absolute path, or `None` for an open file and for what is not a file.
    pub(in crate::upload) fn path(&self) -> Option<&Path> {
        match &self.origin {
            SourceOrigin::File(_, path) => path.as_deref(),
            SourceOrigin::Bytes(_) | SourceOrigin::Stream => None,
        }
    }

    pub(in crate::upload) fn is_stream(&self) -> bool {
        matches!(self.origin, SourceOrigin::Stream)
    }

    fn file(&self) -> Option<&File> {
        match &self.origin {
            SourceOrigin::File(file, _) => Some(file),
            SourceOrigin::Bytes(_) | SourceOrigin::Stream => None,
        }
    }

    /// Compares the open file and the file at the path with the fingerprint.
    fn detect_change(&self, file: &File) -> Result<Change> {
        let now = self.stat(file)?;
        if (now.size, now.mtime) != (self.fingerprint.size, self.fingerprint.mtime) {
            return Ok(Change::Changed);
        }
        if let Some(path) = self.path() {
            match metadata_at(path) {
                Ok(metadata) => {
                    let there = Stat::of(&metadata).map_err(|error| self.read_error(error))?;
                    if (there.size, there.mtime) != (now.size, now.mtime) {
                        return Ok(Change::Replaced);
                    }
                    let place = |stat: &Stat| stat.identity.map(Identity::device_and_inode);
                    if place(&there) != place(&now) {
                        return Ok(Change::OtherInode);
                    }
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Change::Replaced),
                Err(error) => return Err(self.read_error(error)),
            }
        }
        let same = now.identity == self.fingerprint.identity;
        Ok(if same {
            Change::Unchanged
        } else {
            Change::MetadataChanged
        })
    }

    /// Returns an error if the file is not what it was when it was opened.
    ///
    /// If the metadata are not sufficient, `verify` has to compare the bytes of a source with those
    /// that were sent. This source is opened again by its path if another file may have taken its
    /// place.
    pub(in crate::upload) fn ensure_unchanged<E: From<Error>>(
        &self,
        verify: impl FnOnce(&Source<'_>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let Some(file) = self.file() else {
            return Ok(());
        };
        match self.detect_change(file)? {
            Change::Unchanged if !self.fingerprint.doubtful => Ok(()),
            // The path leads to the open file, so an edit shows in the bytes of this source.
            Change::Unchanged | Change::MetadataChanged if self.fingerprint.identity.is_some() => {
                if verify(self)? {
                    Ok(())
                } else {
                    Err(self.changed_error().into())
                }
            }
            // Where files have no inodes, the path may lead to another file.
            Change::Unchanged | Change::MetadataChanged | Change::OtherInode => {
                let Some(reopened) = self.reopen(file)? else {
                    return Err(self.replaced_error().into());
                };
                if verify(&reopened)? {
                    Ok(())
                } else {
                    Err(self.replaced_error().into())
                }
            }
            Change::Replaced => Err(self.replaced_error().into()),
            Change::Changed => Err(self.changed_error().into()),
        }
    }

    /// Opens the file that the path leads to now. It gets the fingerprint of the first one. Returns
    /// `None` if there is no such file.
    fn reopen(&self, file: &File) -> Result<Option<Source<'static>>> {
        let path = self.path();
        let file = path.map_or_else(|| file.try_clone(), open_for_reading);
        match file.and_then(|file| ensure_regular(&file.metadata()?).map(|()| file)) {
            Ok(file) => Ok(Some(Source {
                origin: SourceOrigin::File(file, path.map(Path::to_owned)),
                fingerprint: self.fingerprint,
                had_links: self.had_links,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.read_error(error)),
        }
    }

    /// Returns whether the file has another size than its fingerprint. This is one system call, so
    /// it can be done after each part.
    pub(in crate::upload) fn looks_grown_or_shrunk(&self) -> Result<bool> {
        let Some(file) = self.file() else {
            return Ok(false);
        };
        let metadata = file.metadata().map_err(|error| self.read_error(error))?;
        Ok(metadata.len() != self.fingerprint.size)
    }

    /// Returns whether the path leads to this file, also by a link.
    pub(in crate::upload) fn is_same_file_as(&self, path: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let by_path = self
            .path()
            .is_some_and(|own| path == own || both_equal(real(path), real(own)));
        let there = std::fs::metadata(path)
            .ok()
            .and_then(|metadata| Identity::of(&metadata));
        let place = |identity: Option<Identity>| identity.map(Identity::device_and_inode);
        by_path || both_equal(place(there), place(self.fingerprint.identity))
    }

    /// Returns whether the file was deleted since it was opened. Then no later call can open it.
    pub(in crate::upload) fn is_deleted(&self) -> bool {
        self.had_links && self.file().is_some_and(|file| !has_links(file))
    }

    pub(in crate::upload) fn changed_error(&self) -> Error {
        Error::SourceChanged {
            path: self.named(),
            replaced: false,
        }
    }

    fn replaced_error(&self) -> Error {
        Error::SourceChanged {
            path: self.named(),
            replaced: true,
        }
    }

    /// Returns the error for a read that ends before the size of the fingerprint.
    pub(in crate::upload) fn unexpected_end_error(&self) -> Error {
        match self.looks_grown_or_shrunk() {
            Ok(true) => self.changed_error(),
            Ok(false) => self.read_error(io::Error::new(ErrorKind::InvalidInput, UNKNOWN_SIZE)),
            Err(error) => error,
        }
    }

    pub(in crate::upload) fn read_error(&self, source: io::Error) -> Error {
        Error::Source {
            path: self.named(),
            source,
        }
    }

    /// Returns the path in errors, which is empty for what was not given by its path.
    fn named(&self) -> PathBuf {
        self.path().map(Path::to_owned).unwrap_or_default()
    }

    fn stat(&self, file: &File) -> Result<Stat> {
        file.metadata()
            .and_then(|metadata| Stat::of(&metadata))
            .map_err(|error| self.read_error(error))
    }

    /// Reads a part range and returns its CRC-64 and, if wanted, its MD5. Returns an error once the
    /// dispatcher is aborted.
    pub(in crate::upload) fn digest(
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
                    upload_left: None,
                });
            }
            let left = usize::try_from(range.end - range.start).unwrap_or(BUFFER_BYTES);
            let read = self
                .read_at(&mut buffer[..left.min(BUFFER_BYTES)], range.start)
                .map_err(|error| self.read_error(error))?;
            if read == 0 {
                return Err(self.unexpected_end_error());
            }
            crc64.update(&buffer[..read]);
            if let Some(md5) = &mut md5 {
                md5.update(&buffer[..read]);
            }
            range.start += read as u64;
        }
        Ok((crc64.finish(), md5.map(Md5::finish)))
    }

    pub(in crate::upload) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.origin {
            SourceOrigin::File(file, _) => read_at(file, buffer, offset),
            SourceOrigin::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let mut rest = bytes.get(start..).unwrap_or_default();
                rest.read(buffer)
            }
            SourceOrigin::Stream => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// Returns whether a path leads to the open file, as far as is known.
fn has_links(file: &File) -> bool {
    !file
        .metadata()
        .is_ok_and(|metadata| has_no_links(&metadata))
}

/// Returns the metadata of the file at the path. It follows links, as opening does.
fn metadata_at(path: &Path) -> io::Result<Metadata> {
    loop {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Opens the file. If a pipe has just taken its place, this does not wait for a writer.
fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let mut unblocked = options.clone();
    never_block(&mut unblocked);
    match unblocked.open(path) {
        // Another process has a lease on this regular file, which the system takes back while a
        // blocking open waits.
        Err(error) if error.kind() == ErrorKind::WouldBlock => options.open(path),
        other => other,
    }
}

fn both_equal<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_size_for_a_file_fits_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        const MIB: u64 = 1 << 20;
        for (size, part_size) in [
            (0, 8 * MIB),
            (80_000 * MIB, 8 * MIB),
            (80_000 * MIB + 1, 8 * MIB + 1),
        ] {
            // A sparse file takes no space.
            file.set_len(size).unwrap();
            assert_eq!(part_size_for(&path).unwrap(), part_size);
        }
    }

    #[test]
    fn part_size_for_anything_but_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let kind = |path: &Path| part_size_for(path).unwrap_err().kind();
        assert_eq!(kind(dir.path()), ErrorKind::IsADirectory);
        assert_eq!(kind(&dir.path().join("missing")), ErrorKind::NotFound);
        assert_eq!(kind(Path::new("")), ErrorKind::NotFound);
        #[cfg(unix)]
        assert_eq!(kind(Path::new("/dev/null")), ErrorKind::InvalidInput);
    }
}

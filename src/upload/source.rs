//! The local file: what it was when the upload began, and its bytes by their positions.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::client::{Line, Pacer, Payload};
use crate::crc64::Digest;
use crate::part::Piece;
use crate::{Error, Result};

/// Read at a time where no request takes the bytes: bytes.
const BUFFER_BYTES: usize = 128 * 1024;

pub(super) struct Source {
    file: File,
    /// Absolute; empty for an open file.
    pub(super) path: PathBuf,
    pub(super) print: Fingerprint,
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
pub(super) enum Change {
    None,
    /// Size and mtime are the same, yet something was done to the file.
    Touched,
    Changed,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Source> {
        let failed = |source| Error::Source { path: path.to_owned(), source };
        // Opening a pipe would wait for somebody to write to it, so look first.
        regular(&std::fs::metadata(path).map_err(failed)?).map_err(failed)?;
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        regular(&metadata).map_err(failed)?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        Ok(Source { file, path: absolute, print: Fingerprint::of(&metadata).map_err(failed)? })
    }

    pub(super) fn from_file(file: File) -> Result<Source> {
        let failed = |source| Error::Source { path: PathBuf::new(), source };
        let metadata = file.metadata().map_err(failed)?;
        regular(&metadata).map_err(failed)?;
        Ok(Source { file, path: PathBuf::new(), print: Fingerprint::of(&metadata).map_err(failed)? })
    }

    /// Compares handle and path with what they were at the beginning.
    pub(super) fn change(&self) -> Result<Change> {
        let of = |metadata: io::Result<Metadata>| {
            Fingerprint::of(&metadata.map_err(|source| self.failed(source))?)
                .map_err(|source| self.failed(source))
        };
        let now = of(self.file.metadata())?;
        if (now.size, now.mtime) != (self.print.size, self.print.mtime) {
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
        Ok(if now.identity == self.print.identity { Change::None } else { Change::Touched })
    }

    pub(super) fn changed(&self) -> Error {
        Error::SourceChanged { path: self.path.clone() }
    }

    /// CRC-64 and, if wanted, MD5 of a piece. An error once the line is cut.
    pub(super) fn digest(
        &self,
        piece: Piece,
        with_md5: bool,
        line: &Line,
    ) -> Result<(u64, Option<[u8; 16]>)> {
        let (mut crc64, mut md5) = (Digest::new(), with_md5.then(md5::Context::new));
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut range = piece.range();
        while !range.is_empty() {
            if line.switch().is_cut() {
                return Err(Error::Cancelled { object_may_exist: false });
            }
            let wanted = usize::try_from(range.end - range.start).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let read =
                self.read_at(&mut buffer[..wanted], range.start).map_err(|source| self.failed(source))?;
            if read == 0 {
                return Err(self.changed());
            }
            crc64.write(&buffer[..read]);
            if let Some(md5) = &mut md5 {
                md5.consume(&buffer[..read]);
            }
            range.start += read as u64;
        }
        Ok((crc64.sum(), md5.map(|md5| md5.finalize().0)))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Source { path: self.path.clone(), source }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(())
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> io::Result<Fingerprint> {
        let mtime = match metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => nanoseconds(after),
            Err(before) => -nanoseconds(before.duration()),
        };
        Ok(Fingerprint { size: metadata.len(), mtime, identity: Identity::of(metadata) })
    }

    fn is_same_file(&self, other: &Fingerprint) -> bool {
        let place = |print: &Fingerprint| print.identity.map(|identity| (identity.device, identity.inode));
        (self.size, self.mtime, place(self)) == (other.size, other.mtime, place(other))
    }
}

fn nanoseconds(duration: Duration) -> i128 {
    duration.as_nanos().cast_signed()
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Identity> {
        use std::os::unix::fs::MetadataExt;
        let ctime = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        Some(Identity { ctime, device: metadata.dev(), inode: metadata.ino() })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Identity> {
        None
    }
}

/// A piece of the file on its way to the server.
pub(super) struct PieceBody<'a> {
    source: &'a Source,
    piece: Piece,
    line: &'a Line,
    pacer: Option<&'a Pacer>,
    /// Bytes of bodies that are on their way, and all that were ever sent.
    flow: &'a ByteCount,
    on_retry: &'a dyn Fn(),
    /// Look once more at the file before the last bytes go: after them it is too late.
    whole_object: bool,
    position: u64,
    crc64: Digest,
    failure: Option<Error>,
}

/// Bytes handed to sockets, counted by all workers together.
#[derive(Default)]
pub(super) struct ByteCount {
    /// Of parts that are not acknowledged yet.
    on_the_way: AtomicU64,
    /// Of all bodies, also of those that were sent again.
    sent: AtomicU64,
}

impl ByteCount {
    pub(super) fn on_the_way(&self) -> u64 {
        self.on_the_way.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl<'a> PieceBody<'a> {
    pub(super) fn new(
        source: &'a Source,
        piece: Piece,
        line: &'a Line,
        pacer: Option<&'a Pacer>,
        flow: &'a ByteCount,
        on_retry: &'a dyn Fn(),
    ) -> PieceBody<'a> {
        let (position, crc64) = (0, Digest::new());
        PieceBody {
            source,
            piece,
            line,
            pacer,
            flow,
            on_retry,
            whole_object: false,
            position,
            crc64,
            failure: None,
        }
    }

    /// The body of a PutObject.
    pub(super) fn of_whole_object(mut self) -> PieceBody<'a> {
        self.whole_object = true;
        self
    }

    /// Of what the last attempt read.
    pub(super) fn crc64(&self) -> u64 {
        self.crc64.sum()
    }

    fn rewind(&mut self) {
        self.flow.on_the_way.fetch_sub(self.position, Ordering::Relaxed);
        self.position = 0;
        self.crc64 = Digest::new();
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = self.piece.size - self.position;
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let wanted = self.pacer.map_or(wanted, |pacer| wanted.min(pacer.step()));
        let read = self
            .source
            .read_at(&mut buffer[..wanted], self.piece.offset + self.position)
            .map_err(|source| self.source.failed(source))?;
        let ends = read as u64 == left;
        if (read == 0 && left > 0) || (ends && self.whole_object && self.source.change()? == Change::Changed)
        {
            return Err(self.source.changed());
        }
        Ok(read)
    }
}

impl Read for PieceBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.switch().is_cut() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped"));
        }
        if self.position == self.piece.size || buffer.is_empty() {
            return Ok(0);
        }
        let read = self.next(buffer).map_err(|error| {
            self.failure = Some(error);
            io::Error::from(io::ErrorKind::UnexpectedEof)
        })?;
        if let Some(pacer) = self.pacer {
            self.line.pace(pacer, read)?;
        }
        self.crc64.write(&buffer[..read]);
        self.position += read as u64;
        self.flow.on_the_way.fetch_add(read as u64, Ordering::Relaxed);
        self.flow.sent.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Payload for PieceBody<'_> {
    fn length(&self) -> u64 {
        self.piece.size
    }

    fn open(&mut self) -> Result<&mut dyn Read> {
        self.rewind();
        Ok(self)
    }

    fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn was_read(&self) -> bool {
        self.position > 0
    }

    fn retrying(&mut self) {
        self.rewind();
        (self.on_retry)();
    }
}

/// What was on the way has arrived, or never will.
impl Drop for PieceBody<'_> {
    fn drop(&mut self) {
        self.rewind();
    }
}

//! The local file: its fingerprint when it was opened, and its bytes by position.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::client::Line;
use crate::crc64::Digest;
use crate::md5sum::{Md5, Md5Sum};
use crate::part::Piece;
use crate::{Error, Result};

/// Bytes read at a time when no request takes them.
const BUFFER_BYTES: usize = 128 * 1024;
/// How long an edit may leave a time stamp as it is: 2 seconds on FAT, and what a kernel's coarse clock lags behind.
const STAMP_GRAIN: Duration = Duration::from_millis(2_100);
/// How often a file that changes while it is opened is looked at again.
const OPEN_TRIES_MAX: usize = 10;
const UNKNOWN_SIZE: &str = "its real size cannot be known, because the size that the system reports is not the size \
                            of its content; copy it to an ordinary file and upload the copy";

pub(super) struct Source {
    file: File,
    origin: SourceOrigin,
    pub(super) fingerprint: Fingerprint,
}

/// How the caller named the file.
enum SourceOrigin {
    /// An absolute path.
    Path(PathBuf),
    /// An open file, whose path nobody knows.
    Handle,
}

/// Tells whether a file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Bytes.
    pub(super) size: u64,
    /// Nanoseconds since 1970; negative before.
    pub(super) mtime: i128,
    /// `None` where the system has none (Windows).
    pub(super) identity: Option<Identity>,
    /// The run of the system in which the fingerprint was taken. A power cut can keep a file's new times and lose its
    /// new bytes, so a fingerprint of another run proves nothing. `None` where the system has no such id; then all runs
    /// count as the same one.
    pub(super) boot_id: Option<u128>,
    /// The file had been changed so recently that another edit may leave no trace in its time stamps.
    pub(super) doubtful: bool,
}

/// What an edit changes even when it restores size and mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Nanoseconds since 1970.
    pub(super) ctime: i128,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// What happened to the file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Unchanged,
    /// Size and mtime are the same, but other metadata is not.
    MetadataChanged,
    /// The path leads to another inode of the same size and mtime. It may be the same file: some FUSE file systems give
    /// a file another inode at each look by path.
    OtherInode,
    Changed,
    /// The path leads to another file, or to none.
    Replaced,
}

impl Source {
    /// Opens the file, writes its cached bytes to the disk, and takes its fingerprint.
    ///
    /// `now` is the local time, read before this call: a change that comes later makes the fingerprint doubtful.
    pub(super) fn open(path: &Path, now: SystemTime) -> Result<Source> {
        if path.as_os_str().is_empty() {
            return Err(Error::option("path", "it is empty: give the file to upload"));
        }
        let failed = |source| Error::Source { path: path.to_owned(), source };
        // Opening some devices has effects, so look first.
        ensure_regular(&metadata_at(path).map_err(failed)?).map_err(failed)?;
        let file = open_for_reading(path).map_err(failed)?;
        let fingerprint = Fingerprint::take(&file, now).map_err(failed)?;
        let absolute = std::path::absolute(path).map_err(failed)?;
        // The absolute path is looked at again at the end. Where that cannot work (it may be too long), fail now.
        metadata_at(&absolute).map_err(failed)?;
        Ok(Source { file, origin: SourceOrigin::Path(absolute), fingerprint })
    }

    pub(super) fn from_file(file: File, now: SystemTime) -> Result<Source> {
        let failed = |source| Error::Source { path: PathBuf::new(), source };
        let fingerprint = Fingerprint::take(&file, now).map_err(failed)?;
        Ok(Source { file, origin: SourceOrigin::Handle, fingerprint })
    }

    /// The absolute path; `None` for an open file.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.origin {
            SourceOrigin::Path(path) => Some(path),
            SourceOrigin::Handle => None,
        }
    }

    /// Compares handle and path with the fingerprint.
    fn detect_change(&self) -> Result<Change> {
        let now = self.stat(&self.file)?;
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
        Ok(if same { Change::Unchanged } else { Change::MetadataChanged })
    }

    /// Returns an error if the file is not what it was when it was opened.
    ///
    /// Where metadata cannot tell, `verify` has to compare the bytes of the source that it is given with those that
    /// were sent. If another file may have taken the place of this one, that source is opened anew by the path.
    pub(super) fn ensure_unchanged<E: From<Error>>(
        &self,
        verify: impl FnOnce(&Source) -> Result<bool, E>,
    ) -> Result<(), E> {
        match self.detect_change()? {
            Change::Unchanged if !self.fingerprint.doubtful => Ok(()),
            Change::Unchanged | Change::MetadataChanged if self.fingerprint.identity.is_some() => {
                if verify(self)? { Ok(()) } else { Err(self.changed_error().into()) }
            }
            // Where files have no inodes, any of them may be another one.
            Change::Unchanged | Change::MetadataChanged | Change::OtherInode => {
                let Some(reopened) = self.reopen()? else { return Err(self.replaced_error().into()) };
                if verify(&reopened)? { Ok(()) } else { Err(self.replaced_error().into()) }
            }
            Change::Replaced => Err(self.replaced_error().into()),
            Change::Changed => Err(self.changed_error().into()),
        }
    }

    /// The file that the path leads to now, with the first one's fingerprint; `None` if there is none.
    fn reopen(&self) -> Result<Option<Source>> {
        let (file, origin) = match &self.origin {
            SourceOrigin::Handle => (self.file.try_clone(), SourceOrigin::Handle),
            SourceOrigin::Path(path) => (open_for_reading(path), SourceOrigin::Path(path.clone())),
        };
        match file.and_then(|file| ensure_regular(&file.metadata()?).map(|()| file)) {
            Ok(file) => Ok(Some(Source { file, origin, fingerprint: self.fingerprint })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.read_error(error)),
        }
    }

    /// Returns whether the file has another size than its fingerprint. One system call: cheap enough after each part.
    pub(super) fn looks_grown_or_shrunk(&self) -> Result<bool> {
        let metadata = self.file.metadata().map_err(|error| self.read_error(error))?;
        Ok(metadata.len() != self.fingerprint.size)
    }

    /// Returns whether the path leads to this very file, by whatever name.
    pub(super) fn is_same_file_as(&self, path: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let by_path = self.path().is_some_and(|own| path == own || both_equal(real(path), real(own)));
        let there = std::fs::metadata(path).ok().and_then(|metadata| Identity::of(&metadata));
        let place = |identity: Option<Identity>| identity.map(Identity::device_and_inode);
        by_path || both_equal(place(there), place(self.fingerprint.identity))
    }

    pub(super) fn changed_error(&self) -> Error {
        Error::SourceChanged { path: self.named(), replaced: false }
    }

    fn replaced_error(&self) -> Error {
        Error::SourceChanged { path: self.named(), replaced: true }
    }

    /// The error for a read that ends before the size of the fingerprint.
    pub(super) fn unexpected_end_error(&self) -> Error {
        match self.looks_grown_or_shrunk() {
            Ok(true) => self.changed_error(),
            Ok(false) => self.read_error(io::Error::new(ErrorKind::InvalidInput, UNKNOWN_SIZE)),
            Err(error) => error,
        }
    }

    pub(super) fn read_error(&self, source: io::Error) -> Error {
        Error::Source { path: self.named(), source }
    }

    /// For errors, where an open file has an empty path.
    fn named(&self) -> PathBuf {
        self.path().map(Path::to_owned).unwrap_or_default()
    }

    fn stat(&self, file: &File) -> Result<Stat> {
        file.metadata().and_then(|metadata| Stat::of(&metadata)).map_err(|error| self.read_error(error))
    }

    /// CRC-64 and, if wanted, MD5 of a piece. An error once the line is cut.
    pub(super) fn digest(
        &self,
        piece: Piece,
        with_md5: bool,
        line: &Line,
    ) -> Result<(u64, Option<Md5Sum>)> {
        let (mut crc64, mut md5) = (Digest::new(), with_md5.then(Md5::new));
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut range = piece.range();
        while !range.is_empty() {
            if line.switch().is_cut() {
                return Err(Error::Cancelled { object_may_exist: false });
            }
            let left = usize::try_from(range.end - range.start).unwrap_or(BUFFER_BYTES);
            let read = self
                .read_at(&mut buffer[..left.min(BUFFER_BYTES)], range.start)
                .map_err(|error| self.read_error(error))?;
            if read == 0 {
                return Err(self.unexpected_end_error());
            }
            crc64.write(&buffer[..read]);
            if let Some(md5) = &mut md5 {
                md5.write(&buffer[..read]);
            }
            range.start += read as u64;
        }
        Ok((crc64.sum(), md5.map(Md5::sum)))
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, buffer, offset)
    }
}

impl Fingerprint {
    /// Syncs the file first. Without that, a power cut could keep the times of the latest edit and lose its bytes, and
    /// bytes written through a memory map could change without changing the times.
    fn take(file: &File, now: SystemTime) -> io::Result<Fingerprint> {
        for _ in 0..OPEN_TRIES_MAX {
            let metadata = file.metadata()?;
            ensure_regular(&metadata)?;
            sync(file)?;
            let stat = Stat::of(&file.metadata()?)?;
            if has_content_of_size(file, stat.size)? {
                let stamps = [Some(stat.mtime), stat.identity.map(|identity| identity.ctime)];
                let doubtful = stamps.into_iter().flatten().any(|stamp| is_fresh(stamp, now));
                let Stat { size, mtime, identity } = stat;
                return Ok(Fingerprint { size, mtime, identity, boot_id: boot_id(), doubtful });
            }
            if file.metadata()?.len() == stat.size {
                return Err(io::Error::new(ErrorKind::InvalidInput, UNKNOWN_SIZE));
            }
        }
        let reason = "it grows or shrinks while it is opened; upload it when nothing writes to it";
        Err(io::Error::new(ErrorKind::ResourceBusy, reason))
    }
}

/// What one look at a file gives.
struct Stat {
    size: u64,
    mtime: i128,
    identity: Option<Identity>,
}

impl Stat {
    fn of(metadata: &Metadata) -> io::Result<Stat> {
        let mtime = nanoseconds(metadata.modified()?);
        Ok(Stat { size: metadata.len(), mtime, identity: Identity::of(metadata) })
    }
}

impl Identity {
    fn device_and_inode(self) -> (u64, u64) {
        (self.device, self.inode)
    }

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

/// Follows links, as opening does.
fn metadata_at(path: &Path) -> io::Result<Metadata> {
    loop {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn ensure_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(())
}

/// A pipe that took the file's place a moment ago must not make this wait for a writer.
fn open_for_reading(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    let mut unblocked = options.clone();
    never_block(&mut unblocked);
    match unblocked.open(path) {
        // Another process has a lease on this regular file, which the system takes back while a blocking open waits.
        Err(error) if error.kind() == ErrorKind::WouldBlock => options.open(path),
        other => other,
    }
}

/// Makes opening a named pipe return at once. Regular files do not care.
pub(super) fn never_block(options: &mut OpenOptions) {
    // `O_NONBLOCK`, whose value no crate of ours names. Elsewhere a pipe is noticed only by looking before.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const O_NONBLOCK: i32 = if cfg!(any(
        target_arch = "mips",
        target_arch = "mips32r6",
        target_arch = "mips64",
        target_arch = "mips64r6"
    )) {
        0o200
    } else if cfg!(any(target_arch = "sparc", target_arch = "sparc64")) {
        0x4000
    } else {
        0o4000
    };
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    const O_NONBLOCK: i32 = 0x4;
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "dragonfly",
        target_os = "netbsd",
        target_os = "openbsd"
    ))]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, O_NONBLOCK);
    let _ = options;
}

/// Writes the file's cached bytes to the disk, where its file system and a read handle allow that.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if !is_sync_unsupported(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether `error` means that nothing can be synced here, rather than that bytes were lost.
pub(super) fn is_sync_unsupported(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    matches!(
        error.kind(),
        ErrorKind::Unsupported
            | ErrorKind::InvalidInput
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
    ) || cfg!(unix) && error.raw_os_error() == Some(EBADF)
}

/// Returns whether the file ends where its size says, judged by its last byte.
///
/// Files of `/proc` have size 0 and those of `/sys` 4,096, whatever is in them.
fn has_content_of_size(file: &File, size: u64) -> io::Result<bool> {
    match read_at(file, &mut [0], size.saturating_sub(1)) {
        Ok(read) => Ok((read == 0) == (size == 0)),
        // No regular file of a disk lets a reader wait.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether an edit after `now` could leave the stamp as it is. One in the future may come from another clock.
fn is_fresh(stamp: i128, now: SystemTime) -> bool {
    nanoseconds(now) - stamp < STAMP_GRAIN.as_nanos().cast_signed()
}

fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

fn boot_id() -> Option<u128> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    parse_boot_id(&std::fs::read_to_string(PATH).ok()?)
}

/// A UUID; its hyphens stand where they like.
fn parse_boot_id(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.len() == 32 { u128::from_str_radix(&digits, 16).ok() } else { None }
}

fn both_equal<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.is_some() && one == other
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match positioned_read(file, buffer, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
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

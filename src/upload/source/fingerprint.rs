//! The fingerprint of a file: the metadata by which a change is detected, and how far they can be
//! trusted.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::time::{Duration, SystemTime};

use crate::upload::platform::{boot_id, is_sync_unsupported, positioned_read};

/// How long after an edit another one may leave the time stamp unchanged: 2 seconds on FAT, plus
/// the granularity of the kernel's clock.
const STAMP_GRAIN: Duration = Duration::from_millis(2_100);
/// How often the fingerprint of a file that changes meanwhile is taken.
const OPEN_TRIES_MAX: usize = 10;
pub(super) const UNKNOWN_SIZE: &str = "its real size cannot be known, because the size that the system reports is not the size \
                            of its content; copy it to an ordinary file and upload the copy";

/// Where the bytes of an upload come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upload) enum SourceKind {
    File,
    Bytes,
    Stream,
}

/// The metadata by which a change of a file is detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upload) struct Fingerprint {
    pub(in crate::upload) kind: SourceKind,
    /// Bytes; 0 for a stream, whose size nobody knows.
    pub(in crate::upload) size: u64,
    /// Nanoseconds since 1970; negative before. 0 unless it is a file.
    pub(in crate::upload) mtime: i128,
    /// `None` where the system has none (Windows).
    pub(in crate::upload) identity: Option<Identity>,
    /// The run of the system in which the fingerprint was taken. A power loss can keep a file's new
    /// times and lose its new bytes, so a fingerprint of another run is not trusted. `None` where
    /// the system has no such ID; then all runs count as the same one.
    pub(in crate::upload) boot_id: Option<u128>,
    /// The file had been changed so recently that another edit may leave no trace in its time
    /// stamps.
    pub(in crate::upload) doubtful: bool,
}

/// The metadata that an edit changes even if it restores size and mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upload) struct Identity {
    /// Nanoseconds since 1970.
    pub(in crate::upload) ctime: i128,
    pub(in crate::upload) device: u64,
    pub(in crate::upload) inode: u64,
}

impl Fingerprint {
    /// The fingerprint of bytes that have no file: it proves nothing, so parts are always verified.
    pub(super) fn without_file(kind: SourceKind, size: u64) -> Fingerprint {
        Fingerprint {
            kind,
            size,
            mtime: 0,
            identity: None,
            boot_id: None,
            doubtful: true,
        }
    }

    /// Takes the fingerprint, after syncing the file. Without that, a power loss could keep the
    /// times of the latest edit and lose its bytes, and bytes written through a memory map could
    /// change without changing the times.
    pub(super) fn take(file: &File, now: SystemTime) -> io::Result<Fingerprint> {
        for _ in 0..OPEN_TRIES_MAX {
            let metadata = file.metadata()?;
            ensure_regular(&metadata)?;
            sync(file)?;
            let stat = Stat::of(&file.metadata()?)?;
            if has_content_of_size(file, stat.size)? {
                let stamps = [
                    Some(stat.mtime),
                    stat.identity.map(|identity| identity.ctime),
                ];
                let doubtful = stamps
                    .into_iter()
                    .flatten()
                    .any(|stamp| is_fresh(stamp, now));
                let Stat {
                    size,
                    mtime,
                    identity,
                } = stat;
                return Ok(Fingerprint {
                    kind: SourceKind::File,
                    size,
                    mtime,
                    identity,
                    boot_id: boot_id(),
                    doubtful,
                });
            }
            if file.metadata()?.len() == stat.size {
                return Err(io::Error::new(ErrorKind::InvalidInput, UNKNOWN_SIZE));
            }
        }
        let reason = "it grows or shrinks while it is opened; upload it when nothing writes to it";
        Err(io::Error::new(ErrorKind::ResourceBusy, reason))
    }
}

/// The metadata of a file at one time.
pub(super) struct Stat {
    pub(super) size: u64,
    pub(super) mtime: i128,
    pub(super) identity: Option<Identity>,
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> io::Result<Stat> {
        let mtime = nanoseconds(metadata.modified()?);
        Ok(Stat {
            size: metadata.len(),
            mtime,
            identity: Identity::of(metadata),
        })
    }
}

impl Identity {
    pub(super) fn device_and_inode(self) -> (u64, u64) {
        (self.device, self.inode)
    }

    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Option<Identity> {
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
    pub(super) fn of(_: &Metadata) -> Option<Identity> {
        None
    }
}

pub(super) fn ensure_regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::new(
            ErrorKind::IsADirectory,
            "it is a directory, not a file",
        ));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    Ok(())
}

/// Writes the file's cached bytes to the disk, where its file system and a read handle allow that.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_data() {
        Err(error) if !is_sync_unsupported(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Returns whether the file ends where its size says, judged by its last byte.
///
/// Files of `/proc` have size 0 and those of `/sys` 4,096, whatever they contain.
fn has_content_of_size(file: &File, size: u64) -> io::Result<bool> {
    match read_at(file, &mut [0], size.saturating_sub(1)) {
        Ok(read) => Ok((read == 0) == (size == 0)),
        // Reading a regular file on a disk never blocks.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns whether an edit after `now` could leave the stamp as it is. A stamp in the future may
/// come from another clock, so it counts as fresh, too.
fn is_fresh(stamp: i128, now: SystemTime) -> bool {
    nanoseconds(now) - stamp < STAMP_GRAIN.as_nanos().cast_signed()
}

fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match positioned_read(file, buffer, offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> SystemTime {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        match seconds < 0 {
            true => SystemTime::UNIX_EPOCH.checked_sub(distance).unwrap(),
            false => SystemTime::UNIX_EPOCH.checked_add(distance).unwrap(),
        }
    }

    #[test]
    fn fingerprint_is_doubtful_within_the_grain_of_its_stamps() {
        let now = at(1_000_000);
        let age = |milliseconds: i128| nanoseconds(now) - milliseconds * 1_000_000;
        for fresh in [0, 1, 1_000, 2_000, 2_099, -1, -2_000, -3_600_000] {
            assert!(is_fresh(age(fresh), now), "{fresh} ms old");
        }
        for settled in [2_100, 5_000, 3_600_000] {
            assert!(!is_fresh(age(settled), now), "{settled} ms old");
        }
    }

    #[test]
    fn fingerprint_takes_any_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let file = File::options().read(true).write(true).open(path).unwrap();
        // 1901, just before 1970, the end of 32 bits, 2300, and beyond what most file systems can
        // store.
        for seconds in [
            -2_177_452_800,
            -1,
            0,
            4_294_967_296,
            10_413_792_000,
            253_402_300_800,
        ] {
            if file.set_modified(at(seconds)).is_err() {
                continue;
            }
            for now in [
                at(-2_177_452_800),
                at(0),
                at(1_800_000_000),
                at(253_402_300_800),
            ] {
                let taken = Fingerprint::take(&file, now).unwrap();
                let stored = file.metadata().unwrap().modified().unwrap();
                assert_eq!(taken.mtime, nanoseconds(stored));
            }
        }
    }

    #[test]
    fn fingerprint_of_a_settled_file_is_not_doubtful() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let file = File::open(path).unwrap();
        let now = SystemTime::now();
        assert!(Fingerprint::take(&file, now).unwrap().doubtful);
        assert!(
            !Fingerprint::take(&file, now + Duration::from_secs(5))
                .unwrap()
                .doubtful
        );
        assert!(
            Fingerprint::take(&file, now - Duration::from_secs(3600))
                .unwrap()
                .doubtful,
            "in the future"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn fingerprint_rejects_files_whose_size_is_not_that_of_their_content() {
        for path in [
            "/proc/version",
            "/proc/self/status",
            "/sys/kernel/mm/transparent_hugepage/enabled",
        ] {
            let Ok(file) = File::open(path) else { continue };
            let error = Fingerprint::take(&file, SystemTime::now()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}: {error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty");
        std::fs::write(&path, "").unwrap();
        assert_eq!(
            Fingerprint::take(&File::open(path).unwrap(), SystemTime::now())
                .unwrap()
                .size,
            0
        );
    }
}

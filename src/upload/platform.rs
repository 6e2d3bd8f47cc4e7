//! Differences between operating systems and between file systems.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};

/// Makes opening a named pipe return at once. It has no effect on regular files.
pub(super) fn never_block(options: &mut OpenOptions) {
    // The value of `O_NONBLOCK`, which no dependency exports. On other systems, a pipe is only
    // detected by the check before opening.
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

/// Returns the ID of this run of the system, which changes at a restart. Returns `None` if the
/// system has none.
pub(super) fn boot_id() -> Option<u128> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    parse_boot_id(&std::fs::read_to_string(PATH).ok()?)
}

/// Parses a UUID, with hyphens at any place.
fn parse_boot_id(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let is_uuid = digits.len() == 32 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    if is_uuid {
        u128::from_str_radix(&digits, 16).ok()
    } else {
        None
    }
}

#[cfg(unix)]
pub(super) fn positioned_read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// On Windows this moves the handle's cursor, which nothing here relies on.
#[cfg(windows)]
pub(super) fn positioned_read(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// A file system without locks, or one whose lock service does not run (`ENOLCK`, on network
/// shares).
pub(super) fn has_no_locks(error: &io::Error) -> bool {
    let no_service = match () {
        () if cfg!(target_os = "linux") => Some(37),
        () if cfg!(target_os = "macos") => Some(77),
        () => None,
    };
    error.kind() == ErrorKind::Unsupported
        || (no_service.is_some() && error.raw_os_error() == no_service)
}

/// A rename failed because its target is open, not because it is forbidden.
///
/// Windows says access denied or sharing violation. SMB shares under Linux say `EACCES`, `EBUSY` or
/// `ETXTBSY`; that a directory may not be written to would have been noticed when the new file was
/// created there.
pub(super) fn is_held_open(error: &io::Error) -> bool {
    const EACCES: i32 = 13;
    const EBUSY: i32 = 16;
    const ETXTBSY: i32 = 26;
    match error.raw_os_error() {
        Some(5 | 32) => cfg!(windows),
        Some(EACCES | EBUSY | ETXTBSY) => cfg!(unix),
        _ => false,
    }
}

pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    cfg!(unix) && matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// No hard links (`EPERM`), or none of what it takes.
pub(super) fn is_link_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
    )
}

/// Returns whether both are of one file, as far as the system reports it.
#[cfg(unix)]
pub(super) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
pub(super) fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Returns whether no path leads to an open file any more.
#[cfg(unix)]
pub(super) fn has_no_links(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 0
}

#[cfg(not(unix))]
pub(super) fn has_no_links(_: &Metadata) -> bool {
    false
}

/// Names what is not a regular file.
#[cfg(unix)]
pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

#[cfg(not(unix))]
pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    match () {
        () if metadata.is_dir() => "a directory",
        () if metadata.is_symlink() => "a symbolic link",
        () => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_id_is_a_uuid_or_nothing() {
        assert_eq!(
            parse_boot_id("00000000-0000-0000-0000-00000000002a\n"),
            Some(42)
        );
        for damaged in [
            "",
            "\n",
            "2a",
            "0000000000000000000000000000002g",
            "+0000000000000000000000000000002a",
        ] {
            assert_eq!(parse_boot_id(damaged), None, "{damaged:?}");
        }
        assert_eq!(boot_id(), boot_id());
        assert_eq!(
            boot_id().is_some(),
            cfg!(any(target_os = "linux", target_os = "android"))
        );
    }

    #[cfg(unix)]
    #[test]
    fn opening_a_pipe_does_not_wait_for_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("skipped: there is no mkfifo");
            return;
        }
        let (opened, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut options = OpenOptions::new();
            options.read(true);
            never_block(&mut options);
            let _ = opened.send(options.open(pipe).is_ok());
        });
        assert_eq!(
            wait.recv_timeout(std::time::Duration::from_secs(30)),
            Ok(true)
        );
    }

    #[test]
    fn sync_unsupported_is_not_an_error_that_loses_bytes() {
        for kind in [
            ErrorKind::Unsupported,
            ErrorKind::InvalidInput,
            ErrorKind::ReadOnlyFilesystem,
        ] {
            assert!(is_sync_unsupported(&kind.into()), "{kind:?}");
        }
        #[cfg(target_os = "linux")]
        for (code, unsupported) in [
            (22, true),
            (38, true),
            (95, true),
            (30, true),
            (9, true),
            (5, false),
            (28, false),
            (122, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_sync_unsupported(&error), unsupported, "{error}");
        }
    }
}

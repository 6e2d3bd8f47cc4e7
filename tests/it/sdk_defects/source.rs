//! Defects in how the file is read and checked.

use std::cell::Cell;
use std::fs::{self, File};

use local_oss::Fault;
use oss_upload::{Error, checkpoint, checkpoint_dir, progress};

use crate::harness::{Harness, PART, content};

/// The Android SDK sends zeros for bytes that it could not read.
#[test]
fn source_short_read_is_never_padded() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    let cut = progress(|p| {
        if p.parts_done == 0 {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(PART + PART / 2)
                .unwrap();
        }
    });
    let options = [checkpoint_dir(true, t.path("checkpoints")), cut];
    let error = t
        .bucket
        .upload_open_file("o", File::open(&path).unwrap(), PART, options)
        .unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
    let stored: Vec<_> = t.server.uploads()[0]
        .parts
        .iter()
        .map(|(number, ..)| *number)
        .collect();
    assert_eq!(stored, [1], "part 2 ends in the middle, part 3 has no byte");
}

/// The bytes to append so that the CRC-64 of the whole is 0. `crc64` is the checksum of the bytes
/// before.
fn tail_for_zero(crc64: u64) -> [u8; 8] {
    const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
    // Runs the register backwards, bit by bit, from the value that is 0 when it is inverted.
    let back = |register: u64, _| match register >> 63 {
        0 => register << 1,
        _ => (register ^ POLYNOMIAL) << 1 | 1,
    };
    ((0..64).fold(u64::MAX, back) ^ !crc64).to_le_bytes()
}

/// In the C++ SDK a CRC-64 of 0 counts as absent and is not compared.
#[test]
fn crc64_of_zero_is_compared() {
    let t = Harness::new();
    let crc64_of = |bytes: &[u8]| {
        t.server
            .put_object("examplebucket", "for its CRC-64", bytes);
        t.server
            .object("examplebucket", "for its CRC-64")
            .unwrap()
            .crc64
    };
    let mut bytes = content("f", PART - 8);
    bytes.extend(tail_for_zero(crc64_of(&bytes)));
    assert_eq!(crc64_of(&bytes), 0);
    bytes.extend(b"second part");
    let path = t.path("f");
    fs::write(&path, bytes).unwrap();
    t.inject_part(1, Fault::CorruptBody);
    t.refuse_part(2);
    t.bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(t.parts_sent(), [1, 1, 2]);
    let uploaded = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 1);
    t.assert_stored("o", &path);
}

/// The C# SDK leaves the file open, and fails with more than 64 threads.
#[test]
fn source_is_closed_after_a_hundred_workers() {
    let t = Harness::new();
    let path = t.file("f", 100 * PART);
    let open = || {
        let links = fs::read_dir("/proc/self/fd").into_iter().flatten();
        let named = links.filter_map(|link| fs::read_link(link.unwrap().path()).ok());
        named
            .filter(|name| name.starts_with(path.parent().unwrap()))
            .count()
    };
    let seen = Cell::new(0);
    let options = || {
        let look = progress(|_| seen.set(open()));
        [oss_upload::routines(100), checkpoint(true, ""), look]
    };
    t.refuse_part(90);
    t.upload(options()).unwrap_err();
    assert_eq!(open(), 0);
    t.upload(options()).unwrap();
    assert_eq!(open(), 0);
    assert!(seen.get() > 0 || !cfg!(target_os = "linux"));
    t.assert_stored("o", &path);
}

/// Tests of what the system reports about a process that does nothing else.
#[cfg(target_os = "linux")]
mod subprocess {
    use oss_upload::routines;

    use super::*;
    use crate::harness::{peak_memory, proc_number, run_in_subprocess};

    const SIZE: u64 = 20 * PART;

    /// How many bytes the call reads from files and sockets.
    fn bytes_read(call: impl FnOnce()) -> u64 {
        let before = proc_number("io", "rchar:").unwrap();
        call();
        proc_number("io", "rchar:").unwrap() - before
    }

    /// A file that was changed just now is read twice, because its time stamps may not show another
    /// edit.
    fn settle() {
        std::thread::sleep(std::time::Duration::from_millis(2_500));
    }

    #[track_caller]
    fn assert_about(read: u64, wanted: u64) {
        assert!(
            (wanted..wanted + 2 * PART).contains(&read),
            "{read} bytes were read, not {wanted}"
        );
    }

    /// The Android SDK computes an MD5 of the file before it sends anything.
    #[test]
    fn source_is_read_once() {
        if !run_in_subprocess("sdk_defects::source::subprocess::source_is_read_once") {
            return;
        }
        let t = Harness::new();
        let path = t.file("f", SIZE);
        settle();
        let upload = || drop(t.upload([checkpoint(true, "")]));
        t.refuse_part(1);
        assert_about(bytes_read(upload), PART);
        assert_about(bytes_read(upload), SIZE);
        t.assert_stored("o", &path);
    }

    /// The Ruby SDK computes an MD5 of the whole file for every part.
    #[test]
    fn source_of_resumed_parts_is_read_at_most_once() {
        if !run_in_subprocess(
            "sdk_defects::source::subprocess::source_of_resumed_parts_is_read_at_most_once",
        ) {
            return;
        }
        for touched in [false, true] {
            let t = Harness::new();
            let path = t.file("f", SIZE);
            settle();
            let upload = || drop(t.upload([checkpoint(true, "")]));
            t.refuse_part(11);
            upload();
            if touched {
                // Bytes and mtime are the same, and the ctime is not.
                fs::rename(&path, t.path("g")).unwrap();
                fs::rename(t.path("g"), &path).unwrap();
                fs::hard_link(&path, t.path("g")).unwrap();
                fs::remove_file(t.path("g")).unwrap();
                settle();
            }
            t.server.clear_requests();
            assert_about(bytes_read(upload), if touched { SIZE } else { SIZE / 2 });
            assert_eq!(t.parts_sent().len(), 10);
            t.assert_stored("o", &path);
        }
    }

    /// The Android SDK holds one part in memory for each thread.
    #[test]
    fn source_part_is_never_held_in_memory() {
        if !run_in_subprocess(
            "sdk_defects::source::subprocess::source_part_is_never_held_in_memory",
        ) {
            return;
        }
        let t = Harness::discarding();
        let part = 64 << 20;
        let path = t.sparse_file(2 * part).unwrap();
        let before = peak_memory().unwrap();
        t.bucket
            .upload_file("o", &path, part, [routines(2)])
            .unwrap();
        let grown = peak_memory().unwrap() - before;
        assert!(grown < 16 * 1024, "{grown} KiB for two parts of 64 MiB");
    }
}

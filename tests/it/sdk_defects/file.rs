//! How the file is read, and what is made of its bytes.

use std::cell::Cell;
use std::fs::{self, File};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{Error, checkpoint, checkpoint_dir, progress};

use crate::house::{House, PART, content};

/// Android sends zeros for what it could not read.
#[test]
fn a_short_read_is_never_filled_up() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
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
    let options = [checkpoint_dir(true, house.path("records")), cut];
    let error = house
        .bucket
        .upload_open_file("o", File::open(&path).unwrap(), PART, options)
        .unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
    let stored: Vec<_> = house.server.uploads()[0]
        .parts
        .iter()
        .map(|(number, ..)| *number)
        .collect();
    assert_eq!(stored, [1], "part 2 ends in the middle, part 3 has no byte");
}

/// The bytes that are to be appended so that the CRC-64 of it all is 0. `crc64` is that of what comes before.
fn tail_for_zero(crc64: u64) -> [u8; 8] {
    const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;
    // Backwards, bit by bit, from the register that gives 0 when it is inverted.
    let back = |register: u64, _| match register >> 63 {
        0 => register << 1,
        _ => (register ^ POLYNOMIAL) << 1 | 1,
    };
    ((0..64).fold(u64::MAX, back) ^ !crc64).to_le_bytes()
}

/// In C++ a CRC-64 of 0 is none, and nothing is compared.
#[test]
fn a_crc_of_zero_is_compared_too() {
    let house = House::new();
    let crc64_of = |bytes: &[u8]| {
        house
            .server
            .put_object("examplebucket", "for its CRC-64", bytes);
        house
            .server
            .object("examplebucket", "for its CRC-64")
            .unwrap()
            .crc64
    };
    let mut bytes = content("f", PART - 8);
    bytes.extend(tail_for_zero(crc64_of(&bytes)));
    assert_eq!(crc64_of(&bytes), 0);
    bytes.extend(b"second part");
    let path = house.path("f");
    fs::write(&path, bytes).unwrap();
    house.server.inject(
        Rule::new(Fault::CorruptBody)
            .on(Operation::UploadPart)
            .part(1),
    );
    house.refuse_part(2);
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(house.parts_sent(), [1, 1, 2]);
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 1);
    house.assert_stored("o", &path);
}

/// C# leaves it open, and has no more than 64 threads.
#[test]
fn a_hundred_workers_run_and_no_file_stays_open() {
    let house = House::new();
    let path = house.file("f", 100 * PART);
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
    house.refuse_part(90);
    house
        .bucket
        .upload_file("o", &path, PART, options())
        .unwrap_err();
    assert_eq!(open(), 0);
    house
        .bucket
        .upload_file("o", &path, PART, options())
        .unwrap();
    assert_eq!(open(), 0);
    assert!(seen.get() > 0 || !cfg!(target_os = "linux"));
    house.assert_stored("o", &path);
}

/// What only the system can tell, of a process that does nothing else.
#[cfg(target_os = "linux")]
mod alone {
    use local_oss::LocalOss;
    use oss_upload::routines;

    use super::*;
    use crate::house::alone;

    const SIZE: u64 = 20 * PART;

    fn told(file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(file).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many bytes were read from files by this call.
    fn bytes_read(call: impl FnOnce()) -> u64 {
        let before = told("/proc/self/io", "rchar:");
        call();
        told("/proc/self/io", "rchar:") - before
    }

    /// A file that was changed just now is read twice: its time stamps can't tell of another edit.
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

    /// Android computes an MD5 of the file before it sends anything.
    #[test]
    fn a_file_is_read_once() {
        if !alone("sdk_defects::file::alone::a_file_is_read_once") {
            return;
        }
        let house = House::new();
        let path = house.file("f", SIZE);
        settle();
        let upload = || {
            drop(
                house
                    .bucket
                    .upload_file("o", &path, PART, [checkpoint(true, "")]),
            )
        };
        house.refuse_part(1);
        assert_about(bytes_read(upload), PART);
        assert_about(bytes_read(upload), SIZE);
        house.assert_stored("o", &path);
    }

    /// Ruby computes an MD5 of the file after every part.
    #[test]
    fn what_was_resumed_is_read_once_at_most() {
        if !alone("sdk_defects::file::alone::what_was_resumed_is_read_once_at_most") {
            return;
        }
        for touched in [false, true] {
            let house = House::new();
            let path = house.file("f", SIZE);
            settle();
            let upload = || {
                drop(
                    house
                        .bucket
                        .upload_file("o", &path, PART, [checkpoint(true, "")]),
                )
            };
            house.refuse_part(11);
            upload();
            if touched {
                // Bytes and mtime are the same, and the ctime is not.
                fs::rename(&path, house.path("g")).unwrap();
                fs::rename(house.path("g"), &path).unwrap();
                fs::hard_link(&path, house.path("g")).unwrap();
                fs::remove_file(house.path("g")).unwrap();
                settle();
            }
            house.server.clear_requests();
            assert_about(bytes_read(upload), if touched { SIZE } else { SIZE / 2 });
            assert_eq!(house.parts_sent().len(), 10);
            house.assert_stored("o", &path);
        }
    }

    /// Android holds one for each thread.
    #[test]
    fn a_part_is_never_held_in_memory() {
        if !alone("sdk_defects::file::alone::a_part_is_never_held_in_memory") {
            return;
        }
        let house = House::with(LocalOss::builder().discard(true).start().unwrap());
        let (path, part) = (house.path("sparse"), 64 << 20);
        File::create(&path).unwrap().set_len(2 * part).unwrap();
        let peak = || told("/proc/self/status", "VmHWM:");
        let before = peak();
        house
            .bucket
            .upload_file("o", &path, part, [routines(2)])
            .unwrap();
        let grown = peak() - before;
        assert!(grown < 16 * 1024, "{grown} KiB for two parts of 64 MiB");
    }
}

//! What an upload costs, counted: requests, connections, saves, memory.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, Error, Progress, ProgressEvent, Uploaded, cancel, checkpoint_store,
    delete_upload_on_cancelling, progress, routines,
};

use crate::house::{House, Memory, PART};

const GIB: u64 = 1 << 30;
const PARTS_MAX: u64 = 10_000;

/// A server that keeps no bodies.
fn house() -> House {
    House::with(LocalOss::builder().discard(true).start().unwrap())
}

fn slow_house(latency: Duration) -> House {
    House::with(
        LocalOss::builder()
            .discard(true)
            .latency(latency)
            .start()
            .unwrap(),
    )
}

/// A file of nothing but holes; `None` where the file system has none of that size.
fn sparse(house: &House, size: u64) -> Option<PathBuf> {
    let path = house.path("sparse");
    File::create(&path)
        .unwrap()
        .set_len(size)
        .is_ok()
        .then_some(path)
}

/// The record is written by the clock and not by the part; what is missing is all that is sent.
#[test]
fn ten_thousand_parts_and_one_of_them_missing() {
    let house = house();
    let path = sparse(&house, PARTS_MAX * PART).unwrap();
    let mut record = Memory::default();
    let started = Instant::now();
    house.refuse_part(PARTS_MAX as u32);
    let error = upload_recorded(&house, &path, &mut record).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(house.server.requests().len(), 10_001);
    // One after Initiate, one a second, one at the end.
    let most = 3 + started.elapsed().as_secs() as usize;
    assert!(
        (2..=most).contains(&record.saves),
        "{} saves in {:?}",
        record.saves,
        started.elapsed()
    );
    house.server.clear_requests();
    let uploaded = upload_recorded(&house, &path, &mut record).unwrap();
    assert_eq!(
        (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
        (10_000, 9_999, PART)
    );
    assert_eq!(house.requests(Operation::ListParts).len(), 10);
    assert_eq!(house.parts_sent(), [PARTS_MAX as u32]);
    assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 1);
    assert_eq!(house.server.requests().len(), 12);
}

fn upload_recorded(house: &House, path: &Path, record: &mut Memory) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", path, PART, [routines(4), checkpoint_store(record)])
}

/// 48.8 TiB, or the most that the file system can hold, in 10,000 parts: begun, cancelled, carried on, cancelled.
#[test]
fn the_largest_object_is_begun_and_carried_on() {
    let house = house();
    let sizes = [5 * GIB * PARTS_MAX, 8 << 40, 1 << 40];
    let path = sizes
        .iter()
        .find_map(|size| sparse(&house, *size))
        .expect("a sparse file of 1 TiB");
    let part_size = std::fs::metadata(&path).unwrap().len().div_ceil(PARTS_MAX);
    assert!(part_size > 100 << 20 && part_size <= 5 * GIB);
    let mut record = Memory::default();
    for begins_with in [ProgressEvent::Started, ProgressEvent::Resumed] {
        let (token, mut first) = (CancelToken::new(), None);
        let look = |p: &Progress| {
            first.get_or_insert((p.event, p.parts_total));
            if p.transferred > 32 << 20 {
                token.cancel();
            }
        };
        let options = [
            routines(4),
            cancel(&token),
            delete_upload_on_cancelling(false),
            progress(look),
            checkpoint_store(&mut record),
        ];
        let error = house
            .bucket
            .upload_file("o", &path, part_size, options)
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
        assert_eq!(first, Some((begins_with, PARTS_MAX as usize)));
    }
    assert_eq!(house.requests(Operation::InitiateMultipartUpload).len(), 1);
    assert!(
        record
            .text
            .unwrap()
            .contains(&format!("\npart-size {part_size}\n"))
    );
}

fn upload_small_files(bucket: &Bucket, path: &Path, keys: std::ops::Range<usize>) {
    for key in keys {
        bucket
            .upload_file(&format!("o{key}"), path, PART, [])
            .unwrap();
    }
}

#[test]
fn two_hundred_small_files_take_one_connection() {
    let house = house();
    let path = house.file("f", 1000);
    upload_small_files(&house.bucket, &path, 0..200);
    assert_eq!(
        (house.server.connections(), house.server.requests().len()),
        (1, 200)
    );
}

#[test]
fn two_hundred_small_files_by_four_threads_take_four_connections() {
    let house = slow_house(Duration::from_millis(10));
    let path = house.file("f", 1000);
    thread::scope(|scope| {
        for number in 0..4 {
            let (bucket, path) = (house.bucket.clone(), &path);
            scope.spawn(move || upload_small_files(&bucket, path, number * 50..number * 50 + 50));
        }
    });
    assert_eq!(
        (house.server.connections(), house.server.requests().len()),
        (4, 200)
    );
}

#[test]
fn as_many_connections_as_threads_and_all_of_them_busy() {
    let house = slow_house(Duration::from_millis(25));
    let path = sparse(&house, 160 * PART).unwrap();
    house
        .bucket
        .upload_file("o", &path, PART, [routines(8)])
        .unwrap();
    assert_eq!(house.server.connections(), 8);
    let mut parts_by_connection = std::collections::BTreeMap::<usize, usize>::new();
    for part in house.requests(Operation::UploadPart) {
        *parts_by_connection.entry(part.connection).or_default() += 1;
    }
    // Twenty each, if all went at the same speed.
    assert!(
        parts_by_connection
            .values()
            .all(|parts| (5..=40).contains(parts)),
        "{parts_by_connection:?}"
    );
}

#[test]
fn a_retry_takes_no_connection_of_its_own() {
    let house = house();
    let path = sparse(&house, 40 * PART).unwrap();
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(busy).on(Operation::UploadPart).nth(10).times(5));
    let retries = Cell::new(0);
    let count = progress(|p: &Progress| {
        retries.set(retries.get() + usize::from(p.event == ProgressEvent::Retrying));
    });
    house
        .bucket
        .upload_file("o", &path, PART, [routines(4), count])
        .unwrap();
    assert_eq!((retries.get(), house.server.connections()), (5, 4));
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_part() {
    if !crate::house::alone("cost::memory_does_not_grow_with_the_part") {
        return;
    }
    let house = house();
    let upload = |parts: u64, part_size: u64| {
        let path = sparse(&house, parts * part_size).unwrap();
        house
            .bucket
            .upload_file("o", &path, part_size, [routines(4)])
            .unwrap();
    };
    upload(8, PART);
    let before = peak();
    upload(8, 64 << 20);
    let grown = peak() - before;
    assert!(
        grown < 8 << 20,
        "{grown} bytes more for parts of 64 MiB than for parts of 100 KiB"
    );
}

//! What an upload uses: requests, connections, checkpoint saves, memory.

use std::cell::Cell;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, Error, Progress, ProgressEvent, Uploaded, cancel, checkpoint_store,
    delete_upload_on_cancelling, progress, routines,
};

use crate::harness::{
    Harness, MemoryStore, PART, peak_memory, run_in_subprocess, service_unavailable,
};

const GIB: u64 = 1 << 30;
const PARTS_MAX: u64 = 10_000;

/// A server that keeps no bodies and takes this long to respond.
fn harness_with_latency(latency: Duration) -> Harness {
    Harness::with_server(
        LocalOss::builder()
            .discard(true)
            .latency(latency)
            .start()
            .unwrap(),
    )
}

/// The checkpoint is saved by time and not by part, and only the missing part is sent again.
#[test]
#[ignore = "slow: ten thousand parts"]
fn resume_of_ten_thousand_parts_sends_the_missing_one() {
    let t = Harness::discarding();
    let path = t.sparse_file(PARTS_MAX * PART).unwrap();
    let mut store = MemoryStore::default();
    let started = Instant::now();
    t.refuse_part(PARTS_MAX as u32);
    let error = upload_with_store(&t, &path, &mut store).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(t.server.requests().len(), 10_001);
    // One after InitiateMultipartUpload, one per second, and one at the end.
    let most = 3 + started.elapsed().as_secs() as usize;
    assert!(
        (2..=most).contains(&store.saves),
        "{} saves in {:?}",
        store.saves,
        started.elapsed()
    );
    t.server.clear_requests();
    let uploaded = upload_with_store(&t, &path, &mut store).unwrap();
    assert_eq!(
        (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
        (10_000, 9_999, PART)
    );
    assert_eq!(t.requests(Operation::ListParts).len(), 10);
    assert_eq!(t.parts_sent(), [PARTS_MAX as u32]);
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 1);
    assert_eq!(t.server.requests().len(), 12);
}

fn upload_with_store(t: &Harness, path: &Path, store: &mut MemoryStore) -> Result<Uploaded, Error> {
    t.bucket
        .upload_file("o", path, PART, [routines(4), checkpoint_store(store)])
}

/// 48.8 TiB, or the most that the file system can hold, in 10,000 parts: started, cancelled,
/// resumed, cancelled.
#[test]
fn largest_object_starts_and_resumes() {
    let t = Harness::discarding();
    let sizes = [5 * GIB * PARTS_MAX, 8 << 40, 1 << 40];
    let path = sizes
        .iter()
        .find_map(|size| t.sparse_file(*size))
        .expect("a sparse file of 1 TiB");
    let part_size = std::fs::metadata(&path).unwrap().len().div_ceil(PARTS_MAX);
    assert!(part_size > 100 << 20 && part_size <= 5 * GIB);
    let mut store = MemoryStore::default();
    for first_event in [ProgressEvent::Started, ProgressEvent::Resumed] {
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
            checkpoint_store(&mut store),
        ];
        let error = t
            .bucket
            .upload_file("o", &path, part_size, options)
            .unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
        assert_eq!(first, Some((first_event, PARTS_MAX as usize)));
    }
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 1);
    assert!(
        store
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
fn connections_one_for_two_hundred_small_files() {
    let t = Harness::discarding();
    let path = t.file("f", 1000);
    upload_small_files(&t.bucket, &path, 0..200);
    assert_eq!(
        (t.server.connections(), t.server.requests().len()),
        (1, 200)
    );
}

#[test]
fn connections_four_for_small_files_from_four_threads() {
    let t = harness_with_latency(Duration::from_millis(10));
    let path = t.file("f", 1000);
    thread::scope(|scope| {
        for number in 0..4 {
            let (bucket, path) = (t.bucket.clone(), &path);
            scope.spawn(move || upload_small_files(&bucket, path, number * 50..number * 50 + 50));
        }
    });
    assert_eq!(
        (t.server.connections(), t.server.requests().len()),
        (4, 200)
    );
}

#[test]
fn connections_match_routines_and_are_all_used() {
    let t = harness_with_latency(Duration::from_millis(25));
    let path = t.sparse_file(160 * PART).unwrap();
    t.bucket
        .upload_file("o", &path, PART, [routines(8)])
        .unwrap();
    assert_eq!(t.server.connections(), 8);
    let mut parts_by_connection = std::collections::BTreeMap::<usize, usize>::new();
    for part in t.requests(Operation::UploadPart) {
        *parts_by_connection.entry(part.connection).or_default() += 1;
    }
    // Twenty each, if all were equally fast.
    assert!(
        parts_by_connection
            .values()
            .all(|parts| (2..=80).contains(parts)),
        "{parts_by_connection:?}"
    );
}

#[test]
fn connections_are_reused_by_retries() {
    let t = Harness::discarding();
    let path = t.sparse_file(40 * PART).unwrap();
    t.server.inject(
        Rule::new(service_unavailable())
            .on(Operation::UploadPart)
            .nth(10)
            .times(5),
    );
    let retries = Cell::new(0);
    let count = progress(|p: &Progress| {
        retries.set(retries.get() + usize::from(p.event == ProgressEvent::Retrying));
    });
    t.bucket
        .upload_file("o", &path, PART, [routines(4), count])
        .unwrap();
    assert_eq!((retries.get(), t.server.connections()), (5, 4));
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: half a gigabyte"]
fn memory_does_not_grow_with_part_size() {
    if !run_in_subprocess("resource_usage::memory_does_not_grow_with_part_size") {
        return;
    }
    let t = Harness::discarding();
    let upload = |parts: u64, part_size: u64| {
        let path = t.sparse_file(parts * part_size).unwrap();
        t.bucket
            .upload_file("o", &path, part_size, [routines(4)])
            .unwrap();
    };
    upload(8, PART);
    let before = peak_memory().unwrap();
    upload(8, 64 << 20);
    let grown = peak_memory().unwrap() - before;
    assert!(
        grown < 8 << 10,
        "{grown} KiB more for parts of 64 MiB than for parts of 100 KiB"
    );
}

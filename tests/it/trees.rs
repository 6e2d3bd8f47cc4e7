//! `upload_dir`: a tree of files as one upload.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_oss::Operation;
use oss_upload::{
    CancelToken, Error, Progress, ProgressEvent, UploadOption, UploadedDir, cancel, checkpoint,
    checkpoint_dir, checkpoint_store, progress, routines, skip_unchanged,
};

use crate::harness::{Harness, MemoryStore, PART};

/// Writes small files and one of three parts, and returns their relative paths in order.
fn tree(t: &Harness, small: usize) -> (PathBuf, Vec<String>) {
    let dir = t.path("tree");
    let mut names = Vec::new();
    for number in 0..small {
        let name = format!("d{}/f{number:03}", number % 7);
        fs::create_dir_all(dir.join(format!("d{}", number % 7))).unwrap();
        fs::write(dir.join(&name), format!("content of {name}")).unwrap();
        names.push(name);
    }
    fs::create_dir_all(dir.join("large")).unwrap();
    fs::rename(t.file("film", 2 * PART + 1), dir.join("large/film")).unwrap();
    names.push("large/film".to_owned());
    names.sort();
    (dir, names)
}

#[track_caller]
fn assert_tree_stored(
    t: &Harness,
    dir: &std::path::Path,
    names: &[String],
    uploaded: &UploadedDir,
) {
    let keys: Vec<_> = uploaded.files.iter().map(|file| file.key.clone()).collect();
    let expected: Vec<_> = names.iter().map(|name| format!("p/{name}")).collect();
    assert_eq!(keys, expected);
    for name in names {
        t.assert_stored(&format!("p/{name}"), &dir.join(name));
    }
}

fn all(t: &Harness) -> [UploadOption<'static>; 3] {
    [
        routines(4),
        checkpoint_dir(true, t.path("cp")),
        skip_unchanged(true),
    ]
}

#[test]
fn tree_is_uploaded_with_the_requests_and_connections_of_its_files() {
    let t = Harness::new();
    let (dir, names) = tree(&t, 100);
    let uploaded = t
        .bucket
        .upload_dir("p/", &dir, PART, [routines(4)])
        .unwrap();
    assert_tree_stored(&t, &dir, &names, &uploaded);
    assert_eq!(t.requests(Operation::PutObject).len(), 100);
    assert_eq!(t.parts_sent(), [1, 2, 3]);
    assert_eq!(t.server.requests().len(), 100 + 3 + 2);
    assert!(t.server.connections() <= 4, "{}", t.server.connections());
    let bytes: u64 = names
        .iter()
        .map(|name| fs::metadata(dir.join(name)).unwrap().len())
        .sum();
    assert_eq!((uploaded.bytes_sent, uploaded.skipped), (bytes, 0));
    t.assert_nothing_left(&["tree"]);
}

#[test]
fn tree_is_resumed_as_a_whole_and_sends_nothing_twice() {
    let t = Harness::new();
    let (dir, names) = tree(&t, 20);
    t.refuse_part(3);
    t.bucket.upload_dir("p/", &dir, PART, all(&t)).unwrap_err();
    assert_eq!(t.requests(Operation::PutObject).len(), 20);
    t.server.clear_requests();
    let uploaded = t.bucket.upload_dir("p/", &dir, PART, all(&t)).unwrap();
    assert_tree_stored(&t, &dir, &names, &uploaded);
    assert_eq!(t.requests(Operation::PutObject).len(), 0);
    assert_eq!(t.parts_sent(), [3]);
    assert_eq!((uploaded.skipped, uploaded.bytes_sent), (20, 1));
    t.server.clear_requests();
    let uploaded = t.bucket.upload_dir("p/", &dir, PART, all(&t)).unwrap();
    assert_eq!((uploaded.skipped, uploaded.bytes_sent), (21, 0));
    assert_eq!(t.server.requests().len(), 21);
    t.assert_nothing_left(&["cp", "tree"]);
    assert_eq!(fs::read_dir(t.path("cp")).unwrap().count(), 0);
}

#[test]
fn tree_stops_at_the_first_failure_and_names_it() {
    let t = Harness::new();
    let (dir, _) = tree(&t, 50);
    t.deny(Operation::PutObject);
    let error = t
        .bucket
        .upload_dir("p/", &dir, PART, [routines(4)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"));
    assert!(
        error.to_string().contains("oss://examplebucket/p/d"),
        "{error}"
    );
    assert!(t.requests(Operation::PutObject).len() < 20, "it went on");
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 0);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn tree_progress_speaks_of_the_tree_and_names_the_file() {
    let t = Harness::new();
    let (dir, names) = tree(&t, 10);
    let mut events = Vec::new();
    let record = |p: &Progress| events.push(p.clone());
    let uploaded = t
        .bucket
        .upload_dir("p/", &dir, PART, [routines(3), progress(record)])
        .unwrap();
    let total = uploaded.bytes_sent;
    assert!(
        events
            .iter()
            .all(|p| p.total == total && p.parts_total == 13)
    );
    assert!(events.is_sorted_by_key(|p| p.transferred));
    let count = |event| events.iter().filter(|p| p.event == event).count();
    assert_eq!(
        (
            count(ProgressEvent::Started),
            count(ProgressEvent::Completed)
        ),
        (1, 1)
    );
    let last = events.last().unwrap();
    assert_eq!(
        (last.event, last.transferred, last.parts_done),
        (ProgressEvent::Completed, total, 13)
    );
    for name in &names {
        let key = format!("p/{name}");
        assert!(events.iter().any(|p| p.key == key), "{key} is not named");
    }
}

#[test]
fn tree_is_cancelled_as_a_whole() {
    let t = Harness::new();
    let (dir, _) = tree(&t, 50);
    let (token, done) = (CancelToken::new(), AtomicUsize::new(0));
    let stop = |p: &Progress| {
        if p.event == ProgressEvent::Transferred && done.fetch_add(1, Ordering::Relaxed) == 3 {
            token.cancel();
        }
    };
    let options = [routines(2), cancel(&token), progress(stop)];
    let error = t.bucket.upload_dir("p/", &dir, PART, options).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert!(t.requests(Operation::PutObject).len() < 20);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn tree_progress_callback_that_panics_stops_the_tree() {
    let t = Harness::new();
    let (dir, _) = tree(&t, 50);
    let upload = || {
        let fail = |p: &Progress| assert!(p.parts_done < 3, "enough");
        t.bucket
            .upload_dir("p/", &dir, PART, [routines(2), progress(fail)])
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(upload)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"enough"));
    assert!(t.requests(Operation::PutObject).len() < 20);
    // The client can be used again.
    t.bucket
        .upload_dir("p/", &dir, PART, [routines(2)])
        .unwrap();
}

#[test]
fn tree_leaves_out_our_checkpoints() {
    let t = Harness::new();
    let (dir, _) = tree(&t, 3);
    t.refuse_part(3);
    let film = dir.join("large/film");
    t.bucket
        .upload_file("other", &film, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(dir.join("large/film.cp").exists());
    fs::write(dir.join("mine.cp"), "not a checkpoint").unwrap();
    let uploaded = t.bucket.upload_dir("p/", &dir, PART, []).unwrap();
    let keys: Vec<_> = uploaded
        .files
        .iter()
        .map(|file| file.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "p/d0/f000",
            "p/d1/f001",
            "p/d2/f002",
            "p/large/film",
            "p/mine.cp"
        ]
    );
}

#[test]
fn tree_without_files_needs_no_request() {
    let t = Harness::new();
    fs::create_dir_all(t.path("tree/empty")).unwrap();
    let uploaded = t.bucket.upload_dir("p/", t.path("tree"), PART, []).unwrap();
    assert!(uploaded.files.is_empty());
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
fn tree_mistakes_are_named_before_any_request() {
    let t = Harness::new();
    let (dir, _) = tree(&t, 2);
    let mut store = MemoryStore::default();
    let upload = |dir: &std::path::Path, option| {
        t.bucket
            .upload_dir("p/", dir, PART, [option])
            .unwrap_err()
            .to_string()
    };
    for (option, expected) in [
        (checkpoint(true, ""), "invalid checkpoint: a tree needs"),
        (checkpoint(true, "x"), "invalid checkpoint: a tree needs"),
        (
            checkpoint_store(&mut store),
            "invalid checkpoint_store: a tree needs",
        ),
        (routines(0), "invalid routines"),
    ] {
        let error = upload(&dir, option);
        assert!(error.starts_with(expected), "{error}");
    }
    let missing = upload(&t.path("nowhere"), routines(1));
    assert!(missing.contains("nowhere: "), "{missing}");
    let file = upload(&dir.join("large/film"), routines(1));
    assert!(file.contains("film: "), "{file}");
    let slash = t
        .bucket
        .upload_dir("/", &dir, PART, [])
        .unwrap_err()
        .to_string();
    assert!(slash.starts_with("invalid key: "), "{slash}");
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
#[ignore = "slow: uploads ten thousand files"]
fn tree_of_ten_thousand_small_files_costs_one_request_each() {
    let t = Harness::discarding();
    let dir = t.path("tree");
    for number in 0..10_000 {
        let sub = dir.join(format!("{}", number / 100));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(format!("{number}")), vec![0; 4096]).unwrap();
    }
    let before = open_files();
    let mut most = 0;
    let watch = |p: &Progress| {
        if p.parts_done.is_multiple_of(500) {
            most = most.max(open_files());
        }
    };
    let uploaded = t
        .bucket
        .upload_dir("p/", &dir, PART, [routines(8), progress(watch)])
        .unwrap();
    assert_eq!(uploaded.files.len(), 10_000);
    assert_eq!(t.server.requests().len(), 10_000);
    assert!(t.server.connections() <= 8, "{}", t.server.connections());
    assert!(most < before + 8 * 8, "{before} open files grew to {most}");
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count())
}

//! One bandwidth limit for several calls, changed while they run.

use std::thread;
use std::time::{Duration, Instant};

use local_oss::Operation;
use oss_upload::{BandwidthLimit, Error, ProgressEvent, bandwidth_limit, checkpoint, progress};

use crate::harness::{Harness, PART};

#[test]
fn bandwidth_limit_is_shared_by_all_calls_that_are_given_it() {
    let t = Harness::new();
    // A second for all four files together; each by itself would take a quarter of one.
    let limit = BandwidthLimit::new(8 * PART);
    let paths: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| (name, t.file(name, 2 * PART)))
        .into();
    let started = Instant::now();
    thread::scope(|scope| {
        for (name, path) in &paths {
            let (bucket, limit) = (&t.bucket, limit.clone());
            scope.spawn(move || {
                let options = [bandwidth_limit(limit)];
                bucket.upload_file(name, path, PART, options).unwrap();
            });
        }
    });
    let elapsed = started.elapsed();
    assert!(elapsed >= Duration::from_millis(700), "{elapsed:?}");
    for (name, path) in &paths {
        t.assert_stored(name, path);
    }
}

#[test]
fn bandwidth_limit_that_is_raised_wakes_those_that_wait() {
    let t = Harness::new();
    // At the first limit it would take more than three minutes.
    let limit = BandwidthLimit::new(1024);
    let path = t.file("f", 2 * PART);
    let raise = |event| {
        if event == ProgressEvent::Transferred {
            limit.set(1 << 30)
        }
    };
    let options = [
        bandwidth_limit(&limit),
        progress(|progress| raise(progress.event)),
    ];
    let started = Instant::now();
    t.bucket.upload_file("o", &path, PART, options).unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    t.assert_stored("o", &path);
}

#[test]
fn bandwidth_limit_that_becomes_wrong_ends_the_call_and_can_be_resumed() {
    let t = Harness::new();
    let limit = BandwidthLimit::new(4 * PART);
    let path = t.file("f", 4 * PART);
    let spoil = |parts_done| {
        if parts_done == 1 {
            limit.set(0)
        }
    };
    let options = [
        bandwidth_limit(limit.clone()),
        checkpoint(true, ""),
        progress(|progress| spoil(progress.parts_done)),
    ];
    let error = t.bucket.upload_file("o", &path, PART, options).unwrap_err();
    let is_wrong = |error: &Error| {
        matches!(error, Error::InvalidOption { option: "bandwidth_limit", reason, .. }
            if reason.starts_with("0 bytes/s"))
    };
    assert!(is_wrong(&error), "{error}");
    t.assert_files(&["f", "f.cp"]);

    // A call that starts now is refused before any request.
    t.server.clear_requests();
    let options = || [bandwidth_limit(&limit), checkpoint(true, "")];
    let error = t
        .bucket
        .upload_file("o", &path, PART, options())
        .unwrap_err();
    assert!(is_wrong(&error), "{error}");
    assert_eq!(t.server.requests().len(), 0);

    limit.set(1 << 30);
    let uploaded = t.bucket.upload_file("o", &path, PART, options()).unwrap();
    assert!(uploaded.parts_resumed >= 1);
    let sent = t.requests(Operation::UploadPart).len();
    assert_eq!(sent, 4 - uploaded.parts_resumed);
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

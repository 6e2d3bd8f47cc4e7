//! A host that goes away in mid-upload and comes back.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use local_oss::LocalOss;
use oss_upload::{Client, Credentials, Error, Progress, RetryPolicy, checkpoint, progress};

use crate::harness::{PART, bucket, client, content, for_each_case_parallel};

const PARTS: u32 = 8;
const SIZE: u64 = PARTS as u64 * PART;
/// How many parts are stored when the server goes away.
const PARTS_BEFORE: usize = 3;
/// Longer than any outage here, and far shorter than the test run.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// Starts a server that finds what an earlier one has stored in the directory.
fn server_in(dir: &Path, address: &str) -> LocalOss {
    LocalOss::builder()
        .dir(dir)
        .address(address)
        .start()
        .unwrap()
}

/// The numbers of the parts of the only upload in the directory.
fn stored_parts(dir: &Path) -> Vec<u32> {
    let server = server_in(dir, "127.0.0.1:0");
    let uploads = server.uploads();
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    uploads[0].parts.iter().map(|part| part.0).collect()
}

/// Stops the server as soon as some parts are stored; running requests are completed. Keeps it away
/// for `outage`, and starts it again at the same address.
fn upload_through_outage(retry: RetryPolicy, outage: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let path = dir.path().join("f");
    std::fs::write(&path, content("f", SIZE)).unwrap();
    let server = server_in(&store, "127.0.0.1:0");
    let address = server.address().to_string();
    let bucket = bucket(client(&server).retry(retry));
    let (store, address) = (store.as_path(), address.as_str());

    thread::scope(|scope| {
        let (mut running, mut restarted) = (Some(server), None);
        let stop = |progress: &Progress| {
            if progress.parts_done < PARTS_BEFORE {
                return;
            }
            if let Some(server) = running.take() {
                restarted = Some(scope.spawn(move || {
                    server.shut_down(SHUTDOWN_LIMIT);
                    let before = stored_parts(store);
                    thread::sleep(outage);
                    (before, server_in(store, address))
                }));
            }
        };
        let uploaded = bucket.upload_file("o", &path, PART, [progress(stop)]);
        let (mut numbers, server) = restarted.unwrap().join().unwrap();
        uploaded.unwrap();
        let object = server.object("examplebucket", "o").unwrap();
        assert!(object.bytes == content("f", SIZE));
        assert!(numbers.len() >= PARTS_BEFORE, "{numbers:?}");
        let after = server.requests();
        numbers.extend(after.iter().filter_map(|request| request.part_number));
        numbers.sort_unstable();
        let once: Vec<u32> = (1..=PARTS).collect();
        assert_eq!(numbers, once, "each part is sent once");
    });
}

fn policies() -> [RetryPolicy; 2] {
    [
        RetryPolicy::default().max_attempts(1),
        RetryPolicy::default(),
    ]
}

#[test]
fn outage_in_mid_upload_is_waited_for() {
    for_each_case_parallel(policies(), |retry| {
        upload_through_outage(retry, Duration::from_secs(1))
    });
}

#[test]
#[ignore = "slow: the server is away for five seconds"]
fn outage_of_five_seconds_is_waited_for() {
    for_each_case_parallel(policies(), |retry| {
        upload_through_outage(retry, Duration::from_secs(5))
    });
}

/// The upload fails once the host has been away for `max_outage`, and the same call resumes it when
/// the host is back.
#[test]
fn outage_that_lasts_too_long_is_a_resumable_transport_error() {
    let dir = tempfile::tempdir().unwrap();
    let (store, path) = (dir.path().join("store"), dir.path().join("f"));
    std::fs::write(&path, content("f", SIZE)).unwrap();
    let server = server_in(&store, "127.0.0.1:0");
    let address: SocketAddr = server.address();
    let retry = RetryPolicy::default().max_outage(Duration::from_secs(1));
    let bucket = bucket(client(&server).retry(retry));
    let running = RefCell::new(Some(server));
    let stopped = RefCell::new(None);
    let stop = |progress: &Progress| {
        if progress.parts_done >= PARTS_BEFORE
            && let Some(server) = running.borrow_mut().take()
        {
            server.shut_down(SHUTDOWN_LIMIT);
            *stopped.borrow_mut() = Some(Instant::now());
        }
    };
    let options = [checkpoint(true, ""), progress(stop)];
    let error = bucket.upload_file("o", &path, PART, options).unwrap_err();
    let waited = stopped.take().unwrap().elapsed();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.is_resumable(), "{error}");
    // Waiting by time has begun when the first attempt failed, shortly after the server was gone.
    assert!(waited >= Duration::from_millis(900), "{waited:?}");
    assert!(waited < Duration::from_secs(60), "{waited:?}");

    let before = stored_parts(&store);
    let server = server_in(&store, &address.to_string());
    let uploaded = bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, before.len());
    let object = server.object("examplebucket", "o").unwrap();
    assert!(object.bytes == content("f", SIZE));
    assert!(server.uploads().is_empty());
}

/// The first request of a call is not waited for: nobody knows whether the host exists.
#[test]
fn outage_is_not_assumed_of_a_misspelt_endpoint() {
    let endpoints = [
        // Nothing listens there.
        "http://127.0.0.1:1",
        "http://oss-cn-hangzou.invalid",
    ];
    for_each_case_parallel(endpoints, |endpoint| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, content("f", 2 * PART)).unwrap();
        let bucket = bucket(
            Client::builder(endpoint)
                .credentials(Credentials::new("ak", "sk"))
                .region("cn-hangzhou")
                .no_proxy(),
        );
        let started = Instant::now();
        let error = bucket.upload_file("o", &path, PART, []).unwrap_err();
        let took = started.elapsed();
        assert!(matches!(error, Error::Transport { .. }), "{error:?}");
        // An outage is waited for 60 seconds.
        assert!(took < Duration::from_secs(40), "{took:?}: {error}");
    });
}

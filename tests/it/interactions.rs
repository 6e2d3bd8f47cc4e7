//! Features that meet: each of them is right alone, and their combination has to be, too.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    CancelToken, Client, Credentials, Error, Progress, ProgressEvent, RetryPolicy, cancel,
    checkpoint, checkpoint_dir, checkpoint_store, multipart_threshold, progress, routines,
    sequential, skip_unchanged,
};

use crate::harness::{
    Harness, MemoryStore, PART, bucket, client, content, for_each_case_parallel, http_response,
    run_in_subprocess, service_unavailable, status,
};

/// Stops a call while it looks whether the object is unchanged.
fn stop_while_looking(t: &Harness, stop: impl Fn(&CancelToken)) -> Error {
    t.inject(Operation::HeadObject, service_unavailable());
    let token = CancelToken::new();
    let on_retry = |progress: &Progress| {
        if progress.event == ProgressEvent::Retrying {
            stop(&token);
        }
    };
    t.upload([
        checkpoint(true, ""),
        skip_unchanged(true),
        cancel(&token),
        progress(on_retry),
    ])
    .unwrap_err()
}

#[test]
fn cancel_while_looking_for_an_unchanged_object_aborts_the_saved_upload() {
    let t = Harness::with_file(3 * PART);
    t.interrupt_after(2);
    let error = stop_while_looking(&t, CancelToken::cancel);
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    t.assert_nothing_left(&["f"]);
}

#[test]
fn pause_while_looking_for_an_unchanged_object_keeps_the_saved_upload() {
    let t = Harness::with_file(3 * PART);
    t.interrupt_after(2);
    let error = stop_while_looking(&t, CancelToken::pause);
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    assert_eq!(t.server.uploads().len(), 1);
    let uploaded = t.upload([checkpoint(true, "")]).unwrap();
    assert_eq!(uploaded.parts_resumed, 2);
    t.assert_nothing_left(&["f"]);
}

/// A tree of two small files, of which `b` has a checkpoint of an earlier upload in parts, with a
/// client that waits long before it retries.
fn tree_with_saved_upload() -> Harness {
    let server = local_oss::LocalOss::start();
    let patient = RetryPolicy::default()
        .base_delay(Duration::from_secs(3600))
        .max_delay(Duration::from_secs(3600));
    let patient = client(&server).retry(patient);
    let t = Harness::with_client(server, patient);
    fs::create_dir(t.path("tree")).unwrap();
    fs::write(t.path("tree/a"), "a").unwrap();
    fs::write(t.path("tree/b"), content("b", 2 * PART)).unwrap();
    t.refuse_part(2);
    let saved = [checkpoint_dir(true, t.path("cp"))];
    t.bucket
        .upload_file("p/b", t.path("tree/b"), PART, saved)
        .unwrap_err();
    assert_eq!(t.server.uploads().len(), 1);
    t.inject_always(Operation::HeadObject, service_unavailable());
    t
}

fn upload_tree(
    t: &Harness,
    on_progress: impl FnMut(&Progress) + 'static,
) -> Result<oss_upload::UploadedDir, Error> {
    let options = [
        checkpoint_dir(true, t.path("cp")),
        skip_unchanged(true),
        multipart_threshold(1 << 30),
        routines(2),
        progress(on_progress),
    ];
    t.bucket.upload_dir("p/", t.path("tree"), PART, options)
}

#[track_caller]
fn assert_upload_is_kept(t: &Harness) {
    assert_eq!(t.server.uploads().len(), 1);
    let pending = oss_upload::pending_uploads(t.path("cp")).unwrap();
    assert_eq!(pending.len(), 1, "the checkpoint has gone");
}

#[test]
fn tree_failure_is_no_cancel_of_the_other_files() {
    let t = tree_with_saved_upload();
    let gone = t.path("tree/a");
    let error = upload_tree(&t, move |progress| {
        if progress.event == ProgressEvent::Started {
            fs::remove_file(&gone).unwrap();
        }
    })
    .unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert_upload_is_kept(&t);
}

#[test]
fn tree_progress_panic_is_no_cancel_of_its_files() {
    let t = tree_with_saved_upload();
    let call = || {
        upload_tree(&t, |progress| {
            assert!(progress.event != ProgressEvent::Retrying, "by the callback");
        })
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    assert!(panic.is_err(), "the panic goes on");
    assert_upload_is_kept(&t);
}

#[test]
fn tree_failure_waits_only_shortly_for_the_other_files() {
    let t = Harness::new();
    fs::create_dir(t.path("tree")).unwrap();
    fs::write(t.path("tree/a"), "a").unwrap();
    fs::write(t.path("tree/b"), "b").unwrap();
    t.server
        .inject(Rule::new(Fault::StallBeforeResponse).on(Operation::PutObject));
    t.server.inject(
        Rule::new(status(403, "AccessDenied"))
            .on(Operation::PutObject)
            .nth(2)
            .forever(),
    );
    let started = Instant::now();
    let error = t
        .bucket
        .upload_dir("", t.path("tree"), PART, [routines(2)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn tree_of_no_files_checks_its_arguments() {
    let t = Harness::new();
    fs::create_dir(t.path("tree")).unwrap();
    let upload = |part_size| t.bucket.upload_dir("", t.path("tree"), part_size, []);
    assert_eq!(upload(PART).unwrap().files.len(), 0);
    let error = upload(0).unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "part_size",
                ..
            }
        ),
        "{error}"
    );
    let token = CancelToken::new();
    token.cancel();
    let cancelled = t
        .bucket
        .upload_dir("", t.path("tree"), PART, [cancel(&token)]);
    assert!(matches!(cancelled, Err(Error::Cancelled { .. })));
}

/// A file that never had a name, or whose file system reports no links, was not deleted.
#[cfg(unix)]
#[test]
fn open_file_without_a_name_is_resumed() {
    let t = Harness::with_file(3 * PART);
    let file = fs::File::open(t.path("f")).unwrap();
    fs::remove_file(t.path("f")).unwrap();
    let mut store = MemoryStore::default();
    t.refuse_part(3);
    let upload = |store: &mut MemoryStore| {
        let file = file.try_clone().unwrap();
        t.bucket
            .upload_open_file("o", file, PART, [checkpoint_store(store)])
    };
    upload(&mut store).unwrap_err();
    assert!(store.text.is_some(), "the checkpoint has gone");
    let uploaded = upload(&mut store).unwrap();
    assert_eq!(uploaded.parts_resumed, 2);
    t.assert_nothing_left(&[]);
}

#[test]
fn restart_that_cannot_initiate_aborts_what_it_replaces() {
    let t = Harness::with_file(3 * PART);
    t.inject_part(2, status(400, "PartNotSequential"));
    // The abort before the restart fails.
    t.server.inject(
        Rule::new(service_unavailable())
            .on(Operation::AbortMultipartUpload)
            .times(3),
    );
    t.server.inject(
        Rule::new(status(403, "AccessDenied"))
            .on(Operation::InitiateMultipartUpload)
            .nth(2),
    );
    let error = t.upload([sequential(true)]).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    t.assert_nothing_left(&["f"]);
}

#[test]
fn single_request_aborts_what_it_replaces_once_more_at_the_end() {
    for skips in [false, true] {
        let t = Harness::with_file(3 * PART);
        t.interrupt_after(2);
        if skips {
            t.upload([]).unwrap();
        }
        t.server.inject(
            Rule::new(service_unavailable())
                .on(Operation::AbortMultipartUpload)
                .times(3),
        );
        let options = [
            checkpoint(true, ""),
            multipart_threshold(1 << 30),
            skip_unchanged(skips),
        ];
        let uploaded = t.upload(options).unwrap();
        assert_eq!(uploaded.skipped, skips);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn timeouts_and_delays_of_any_length_are_taken() {
    let t = Harness::with_file(PART + 1);
    for extreme in [Duration::MAX, Duration::from_secs(u64::MAX / 2)] {
        let retry = RetryPolicy::default()
            .max_attempts(u32::MAX)
            .max_outage(extreme)
            .max_delay(extreme);
        let client = client(&t.server)
            .connect_timeout(extreme)
            .stall_timeout(extreme)
            .retry(retry);
        let uploaded = bucket(client).upload_file("o", t.path("f"), PART, []);
        assert_eq!(uploaded.unwrap().parts, 2);
    }
}

/// Responds to Initiate, and is gone then.
fn server_that_goes() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut head = [0; 4096];
        let _ = stream.read(&mut head).unwrap();
        let body = "<InitiateMultipartUploadResult><Bucket>examplebucket</Bucket><Key>o</Key>\
                    <UploadId>U</UploadId></InitiateMultipartUploadResult>";
        let headers = "x-oss-request-id: 5C3D9175B6FC201293AD4890\r\n";
        stream
            .write_all(http_response(200, headers, body).as_bytes())
            .unwrap();
    });
    address
}

#[test]
fn outage_without_delays_is_no_busy_loop() {
    let t = Harness::with_file(2 * PART);
    let retry = RetryPolicy::default()
        .base_delay(Duration::ZERO)
        .max_outage(Duration::from_secs(2));
    let client = Client::builder(&format!("http://{}", server_that_goes()))
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(retry);
    let mut retries = 0;
    let count = |progress: &Progress| {
        retries += usize::from(progress.event == ProgressEvent::Retrying);
    };
    let error = bucket(client)
        .upload_file("o", t.path("f"), PART, [progress(count)])
        .unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    assert!((1..200).contains(&retries), "{retries} retries in 2 s");
}

/// A provider that works twice: for Initiate and for the first part.
fn failing_provider(fail: fn() -> Result<Credentials, ProviderError>) -> Harness {
    let calls = AtomicUsize::new(0);
    let provider = move || match calls.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Ok(Credentials::new("ak", "sk")),
        _ => fail(),
    };
    let server = local_oss::LocalOss::start();
    let client = client(&server).credentials(provider);
    let t = Harness::with_client(server, client);
    t.file("f", 3 * PART);
    t
}

type ProviderError = Box<dyn std::error::Error + Send + Sync>;

#[test]
fn provider_that_fails_for_good_does_not_prevent_the_abort() {
    let t = failing_provider(|| Err("the metadata service is gone".into()));
    let error = t.upload([]).unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    t.assert_nothing_left(&["f"]);
}

#[test]
fn provider_that_panics_does_not_prevent_the_abort() {
    let t = failing_provider(|| panic!("in the provider"));
    let call = || t.upload([]);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"in the provider"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn tree_with_its_checkpoints_inside_leaves_them_out() {
    let t = Harness::new();
    let dir = t.path("tree");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), content("a", 3 * PART)).unwrap();
    let options = || [checkpoint_dir(true, t.path("tree/.cp")), routines(1)];
    t.refuse_part(3);
    t.bucket.upload_dir("", &dir, PART, options()).unwrap_err();
    assert_eq!(fs::read_dir(dir.join(".cp")).unwrap().count(), 1);
    let uploaded = t.bucket.upload_dir("", &dir, PART, options()).unwrap();
    assert_eq!(uploaded.files.len(), 1);
    assert_eq!(uploaded.files[0].parts_resumed, 2);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn tree_file_that_grew_since_it_was_listed_is_uploaded_as_it_is() {
    let t = Harness::new();
    let dir = t.path("tree");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "a").unwrap();
    fs::write(dir.join("b"), "b").unwrap();
    let grows = dir.join("a");
    let grow = |progress: &Progress| {
        assert!(progress.transferred <= progress.total);
        assert!(progress.parts_done <= progress.parts_total);
        if progress.event == ProgressEvent::Started {
            fs::write(&grows, content("a", 2 * PART + 1)).unwrap();
        }
    };
    let uploaded = t
        .bucket
        .upload_dir("", &dir, PART, [progress(grow), routines(2)])
        .unwrap();
    assert_eq!(uploaded.files[0].size, 2 * PART + 1);
    t.assert_stored("a", &dir.join("a"));
    t.assert_stored("b", &dir.join("b"));
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn tree_checkpoints_stay_where_they_are_if_the_working_directory_changes() {
    if !run_in_subprocess(
        "interactions::tree_checkpoints_stay_where_they_are_if_the_working_directory_changes",
    ) {
        return;
    }
    let t = Harness::new();
    for dir in ["one", "other", "tree"] {
        fs::create_dir(t.path(dir)).unwrap();
    }
    fs::write(t.path("tree/a"), content("a", 3 * PART)).unwrap();
    t.refuse_part(3);
    std::env::set_current_dir(t.path("one")).unwrap();
    let elsewhere = t.path("other");
    let go_elsewhere = |_: &Progress| std::env::set_current_dir(&elsewhere).unwrap();
    t.bucket
        .upload_dir(
            "",
            t.path("tree"),
            PART,
            [checkpoint_dir(true, "cp"), progress(go_elsewhere)],
        )
        .unwrap_err();
    let pending = |dir: &str| oss_upload::pending_uploads(t.path(dir)).unwrap().len();
    assert_eq!((pending("one/cp"), pending("other/cp")), (1, 0));
}

/// Another thread cancels while a tree is being uploaded; whenever that is, nothing is left.
#[test]
fn tree_that_is_cancelled_at_any_time_leaves_nothing() {
    for_each_case_parallel(0..12, |number: u32| {
        let t = Harness::new();
        let dir = t.path("tree");
        fs::create_dir(&dir).unwrap();
        for file in 0..6 {
            fs::write(dir.join(format!("s{file}")), "small").unwrap();
        }
        fs::write(dir.join("z"), content("z", 5 * PART)).unwrap();
        let token = CancelToken::new();
        let mut left = number;
        let stop = |_: &Progress| {
            match left {
                0 => token.cancel(),
                _ => left -= 1,
            };
        };
        let result = t.bucket.upload_dir(
            "",
            &dir,
            PART,
            [
                cancel(&token),
                checkpoint_dir(true, t.path("cp")),
                skip_unchanged(true),
                routines(3),
                progress(stop),
            ],
        );
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
        assert_eq!(t.server.uploads().len(), 0);
        assert_eq!(oss_upload::pending_uploads(t.path("cp")).unwrap(), []);
    });
}

//! Cancelling: from any thread and at any time it ends the call soon, and leaves only what the
//! caller asked for.

mod callback;
mod silent_server;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CancelToken, Error, Progress, ProgressEvent, UploadOption, Uploaded, adopt_unfinished,
    bandwidth_limit, cancel, checkpoint, delete_upload_on_cancelling, multipart_threshold,
    progress, routines,
};

use crate::harness::{
    Harness, PART, RecordedRequest, access_denied, content, for_each_case_parallel,
    run_in_subprocess,
};

use Operation::*;

const SIZE: u64 = 3 * PART + 7;
/// How long a cancelled call may take if the server does not respond at all, not even to the abort.
/// Without the cancelling it would take minutes: the limit is generous, for machines under load.
const SILENT_SERVER_LIMIT: Duration = Duration::from_secs(10);
/// How long a cancelled call may take if the server responds to the abort. Without the cancelling,
/// a request without a response takes the stall timeout, 60 seconds, and a retry waits for up to
/// 20.
const RESPONSIVE_LIMIT: Duration = Duration::from_secs(8);

/// What the caller wants to keep when it cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeepPolicy {
    /// There is a checkpoint, and cancelling removes it and the upload.
    Deleted,
    /// There is a checkpoint, and cancelling keeps it and the upload.
    Kept,
    /// There is no checkpoint.
    NoCheckpoint,
}

const KEEP_POLICIES: [KeepPolicy; 3] = [
    KeepPolicy::Deleted,
    KeepPolicy::Kept,
    KeepPolicy::NoCheckpoint,
];

impl KeepPolicy {
    fn options(self, token: &CancelToken) -> [UploadOption<'static>; 3] {
        [
            checkpoint(self != KeepPolicy::NoCheckpoint, ""),
            delete_upload_on_cancelling(self != KeepPolicy::Kept),
            cancel(token),
        ]
    }

    /// Checks, after a call with an upload id was cancelled, what it left, and that the next call
    /// completes.
    #[track_caller]
    fn check(self, t: &Harness) {
        match self {
            KeepPolicy::Kept => {
                t.assert_files(&["f", "f.cp"]);
                assert_eq!(t.server.uploads().len(), 1);
            }
            _ => t.assert_nothing_left(&["f"]),
        }
        self.finish(t);
    }

    #[track_caller]
    fn finish(self, t: &Harness) {
        t.server.clear_faults();
        let before = t.requests(UploadPart);
        let options = self.options(&CancelToken::new());
        t.bucket
            .upload_file("o", t.path("f"), PART, options)
            .unwrap();
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        if self == KeepPolicy::Kept {
            assert_nothing_sent_again(t, &before);
        }
    }
}

/// Asserts that no part acknowledged in `before` was sent again. The server may still receive what
/// was in flight.
#[track_caller]
fn assert_nothing_sent_again(t: &Harness, before: &[RecordedRequest]) {
    let acknowledged: HashSet<_> = before
        .iter()
        .filter(|part| part.status == Some(200))
        .map(|part| part.part_number)
        .collect();
    for part in &t.requests(UploadPart)[before.len()..] {
        assert!(
            !acknowledged.contains(&part.part_number),
            "{:?} was sent again",
            part.part_number
        );
    }
}

fn harness() -> Harness {
    Harness::with_file(SIZE)
}

/// Asserts that the call was cancelled. Returns whether the object may exist.
#[track_caller]
fn assert_cancelled(result: Result<Uploaded, Error>) -> bool {
    match result {
        Err(Error::Cancelled {
            object_may_exist, ..
        }) => object_may_exist,
        other => panic!("{other:?}"),
    }
}

/// Runs the call, cancels it from another thread once `time` returns true, and returns how long it
/// took from then on.
fn cancel_when<T>(
    token: &CancelToken,
    time: impl Fn() -> bool + Sync,
    call: impl FnOnce() -> T,
) -> (T, Duration) {
    thread::scope(|scope| {
        let canceller = scope.spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !time() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            thread::sleep(Duration::from_millis(50));
            token.cancel();
            Instant::now()
        });
        let result = call();
        let ended = Instant::now();
        (
            result,
            ended.saturating_duration_since(canceller.join().unwrap()),
        )
    })
}

fn cancel_when_fault_fires<T>(
    t: &Harness,
    token: &CancelToken,
    call: impl FnOnce() -> T,
) -> (T, Duration) {
    let fired = t.server.faults_fired();
    cancel_when(token, || t.server.faults_fired() > fired, call)
}

/// A failure after which the client waits for long.
fn unavailable() -> Fault {
    Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: Some(60),
    }
}

/// While the server does not respond, and while the client waits before a retry.
#[test]
fn cancel_interrupts_stall_and_backoff() {
    let operations = [InitiateMultipartUpload, UploadPart, CompleteMultipartUpload];
    let mut cases = Vec::new();
    for fault in [
        Fault::Stall,
        Fault::StallMidBody,
        Fault::StallBeforeResponse,
        unavailable(),
    ] {
        for policy in KEEP_POLICIES {
            cases.extend(operations.map(|operation| (fault.clone(), operation, policy)));
        }
    }
    for_each_case_parallel(cases, |(fault, operation, policy)| {
        let t = harness();
        let rule = Rule::new(fault).on(operation).forever();
        t.server.inject(if operation == UploadPart {
            rule.part(2)
        } else {
            rule
        });
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_fault_fires(&t, &token, || t.upload(policy.options(&token)));
        assert_eq!(
            assert_cancelled(result),
            operation == CompleteMultipartUpload
        );
        assert!(took < RESPONSIVE_LIMIT, "{took:?}");
        assert!(t.server.object("examplebucket", "o").is_none());
        match operation {
            // No id is known yet.
            InitiateMultipartUpload => {
                t.assert_nothing_left(&["f"]);
                policy.finish(&t);
            }
            _ => policy.check(&t),
        }
    });
}

#[test]
fn cancel_interrupts_put_object() {
    for_each_case_parallel(
        [
            Fault::Stall,
            Fault::StallMidBody,
            Fault::StallBeforeResponse,
            unavailable(),
        ],
        |fault| {
            for policy in KEEP_POLICIES {
                let t = Harness::with_file(PART);
                t.inject_always(PutObject, fault.clone());
                let token = CancelToken::new();
                let (result, took) =
                    cancel_when_fault_fires(&t, &token, || t.upload(policy.options(&token)));
                assert!(assert_cancelled(result), "it may have arrived");
                assert!(took < RESPONSIVE_LIMIT, "{took:?}");
                t.assert_nothing_left(&["f"]);
                policy.finish(&t);
            }
        },
    );
}

/// While a call that resumes lists parts, or aborts an upload that it replaces.
#[test]
fn cancel_interrupts_resume() {
    let mut cases = Vec::new();
    for policy in [KeepPolicy::Deleted, KeepPolicy::Kept] {
        for fault in [Fault::Stall, unavailable()] {
            for operation in [
                ListParts,
                AbortMultipartUpload,
                InitiateMultipartUpload,
                PutObject,
            ] {
                cases.push((fault.clone(), operation, policy));
            }
        }
    }
    for_each_case_parallel(cases, |(fault, operation, policy)| {
        let t = harness();
        t.interrupt_after(2);
        if operation != ListParts {
            let size = if operation == PutObject { PART } else { SIZE };
            fs::write(t.path("f"), content("another", size)).unwrap();
            t.server.clear_requests();
        }
        // The server responds to the abort that follows.
        let rule = Rule::new(fault).on(operation);
        t.server.inject(if operation == AbortMultipartUpload {
            rule
        } else {
            rule.forever()
        });
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_fault_fires(&t, &token, || t.upload(policy.options(&token)));
        assert_eq!(assert_cancelled(result), operation == PutObject);
        assert!(took < RESPONSIVE_LIMIT, "{took:?}");
        if policy == KeepPolicy::Deleted {
            t.assert_nothing_left(&["f"]);
        }
        policy.finish(&t);
    });
}

/// During the second InitiateMultipartUpload of a call whose first upload has vanished.
#[test]
fn cancel_interrupts_restart() {
    for_each_case_parallel(KEEP_POLICIES, |policy| {
        let t = harness();
        t.inject_part(2, Fault::ExpireUpload);
        let token = CancelToken::new();
        let stalled = Cell::new(false);
        let stall = |progress: &Progress| {
            if progress.parts_done == 1 && !stalled.replace(true) {
                t.inject_always(InitiateMultipartUpload, Fault::Stall);
            }
        };
        let options = policy.options(&token).into_iter().chain([progress(stall)]);
        let restarted = || t.requests(InitiateMultipartUpload).len() == 2;
        let (result, took) = cancel_when(&token, restarted, || t.upload(options));
        assert!(!assert_cancelled(result));
        assert!(took < RESPONSIVE_LIMIT, "{took:?}");
        if policy != KeepPolicy::Kept {
            t.assert_nothing_left(&["f"]);
        }
        t.server.clear_requests();
        policy.finish(&t);
    });
}

/// The abort gets one second and is not retried.
#[test]
fn cancel_returns_even_if_abort_gets_no_response() {
    for_each_case_parallel(KEEP_POLICIES, |policy| {
        let t = harness();
        t.server.inject(Rule::new(Fault::Stall).nth(3).forever());
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_fault_fires(&t, &token, || t.upload(policy.options(&token)));
        assert!(!assert_cancelled(result));
        assert!(took < SILENT_SERVER_LIMIT, "{took:?}");
        if policy == KeepPolicy::Kept {
            policy.check(&t);
        }
    });
}

/// The call has failed already and is cleaning up.
#[test]
fn cancel_interrupts_cleanup_after_failure() {
    for_each_case_parallel([Fault::Stall, unavailable()], |fault| {
        let t = harness();
        t.refuse_part(2);
        t.inject_always(AbortMultipartUpload, fault);
        let token = CancelToken::new();
        let aborting = || !t.requests(AbortMultipartUpload).is_empty();
        let (result, took) = cancel_when(&token, aborting, || t.upload([cancel(&token)]));
        result.unwrap_err();
        assert!(took < SILENT_SERVER_LIMIT, "{took:?}");
    });
}

/// A large part over a slow connection, and one under a bandwidth limit.
#[test]
fn cancel_interrupts_slow_transfer() {
    let size = 4 * 1024 * 1024;
    let mut cases = Vec::new();
    for threshold in [0, 2 * size] {
        for limit in [None, Some(256 * 1024)] {
            cases.extend(KEEP_POLICIES.map(|policy| (threshold, limit, policy)));
        }
    }
    for_each_case_parallel(cases, |(threshold, limit, policy)| {
        let t = Harness::new();
        let path = t.file("f", size);
        let slow = Fault::Slow {
            bytes_per_second: 256 * 1024,
        };
        let fault = if limit.is_none() {
            slow
        } else {
            Fault::Delay(Duration::ZERO)
        };
        let operation = if threshold == 0 {
            UploadPart
        } else {
            PutObject
        };
        t.inject(operation, fault);
        let token = CancelToken::new();
        let options = policy
            .options(&token)
            .into_iter()
            .chain([multipart_threshold(threshold)]);
        let options = options.chain(limit.map(bandwidth_limit));
        let (result, took) = cancel_when_fault_fires(&t, &token, || {
            t.bucket.upload_file("o", &path, size, options)
        });
        assert_cancelled(result);
        assert!(took < RESPONSIVE_LIMIT, "{took:?}");
        assert!(t.server.object("examplebucket", "o").is_none());
        if threshold > 0 || policy != KeepPolicy::Kept {
            t.assert_nothing_left(&["f"]);
        } else {
            t.assert_files(&["f", "f.cp"]);
        }
    });
}

/// CompleteMultipartUpload is being processed: the object may exist, and does.
#[test]
fn cancel_during_complete_reports_that_object_may_exist() {
    for_each_case_parallel(KEEP_POLICIES, |policy| {
        let t = harness();
        let late = Fault::Delay(Duration::from_secs(3));
        t.inject(CompleteMultipartUpload, late);
        let token = CancelToken::new();
        // Once the object exists, and not when the fault fires: the server still has to complete
        // the upload.
        let completed = || t.server.object("examplebucket", "o").is_some();
        let (result, took) = cancel_when(&token, completed, || t.upload(policy.options(&token)));
        assert!(assert_cancelled(result));
        assert!(took < RESPONSIVE_LIMIT, "{took:?}");
        t.assert_stored("o", &t.path("f"));
        assert_eq!(t.server.uploads().len(), 0);
        policy.finish(&t);
    });
}

/// One part has failed, and the call waits for another one.
#[test]
fn cancel_interrupts_wait_for_parts_in_flight() {
    let t = harness();
    t.inject_part(1, Fault::Stall);
    t.refuse_part(2);
    let token = CancelToken::new();
    let both = || t.requests(UploadPart).len() == 2;
    let options = || [routines(2), checkpoint(true, ""), cancel(&token)];
    let (result, took) = cancel_when(&token, both, || t.upload(options()));
    result.unwrap_err();
    assert!(took < RESPONSIVE_LIMIT, "{took:?}");
}

/// An upload that another machine initiated is not deleted.
#[test]
fn cancel_keeps_adopted_upload() {
    for policy in KEEP_POLICIES {
        let t = harness();
        t.refuse_part(3);
        t.upload([adopt_unfinished(true)]).unwrap_err();
        let token = CancelToken::new();
        let stop = |progress: &Progress| {
            if progress.parts_done == 3 {
                token.cancel();
            }
        };
        let options = || {
            policy
                .options(&token)
                .into_iter()
                .chain([adopt_unfinished(true)])
        };
        assert!(!assert_cancelled(
            t.upload(options().chain([progress(stop)]))
        ));
        assert_eq!(t.server.uploads().len(), 1);
        t.assert_files(if policy == KeepPolicy::Kept {
            &["f", "f.cp"]
        } else {
            &["f"]
        });
        let before = t.requests(UploadPart);
        let options = policy
            .options(&CancelToken::new())
            .into_iter()
            .chain([adopt_unfinished(true)]);
        t.upload(options).unwrap();
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        assert_nothing_sent_again(&t, &before);
    }
}

#[test]
fn cancel_before_start_sends_nothing() {
    for (policy, size) in KEEP_POLICIES
        .into_iter()
        .flat_map(|policy| [(policy, SIZE), (policy, PART), (policy, 0)])
    {
        let t = Harness::with_file(size);
        let token = CancelToken::new();
        token.cancel();
        assert!(!assert_cancelled(t.upload(policy.options(&token))));
        assert_eq!(t.server.requests().len(), 0);
        t.assert_files(&["f"]);
    }
}

/// With a checkpoint, there is something to delete or to keep.
#[test]
fn cancel_before_start_applies_checkpoint_policy() {
    for policy in [KeepPolicy::Deleted, KeepPolicy::Kept] {
        let t = harness();
        t.interrupt_after(2);
        let token = CancelToken::new();
        token.cancel();
        assert!(!assert_cancelled(t.upload(policy.options(&token))));
        policy.check(&t);
    }
}

#[test]
fn cancel_leaves_other_uploads_of_client_running() {
    let t = Harness::with_server(
        LocalOss::builder()
            .latency(Duration::from_millis(5))
            .start()
            .unwrap(),
    );
    let size = 12 * PART;
    let (path, other) = (t.file("f", size), t.file("g", size));
    let retried = RefCell::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..8 {
                let token = CancelToken::new();
                let after = |progress: &Progress| {
                    if progress.parts_done == turn {
                        token.cancel();
                    }
                };
                let options = [routines(4), cancel(&token), progress(after)];
                assert_cancelled(t.bucket.upload_file("cancelled", &other, PART, options));
            }
        });
        let count = |progress: &Progress| {
            *retried.borrow_mut() += usize::from(progress.event == ProgressEvent::Retrying);
        };
        for _ in 0..4 {
            t.upload([routines(2), progress(count)]).unwrap();
        }
    });
    assert_eq!(retried.into_inner(), 0);
    let parts = t
        .requests(UploadPart)
        .into_iter()
        .filter(|part| part.key == "o");
    assert_eq!(parts.count(), 4 * 12);
    t.assert_stored("o", &path);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn cancel_token_stops_all_its_uploads() {
    let t = harness();
    t.inject_always(UploadPart, Fault::Stall);
    let token = CancelToken::new();
    thread::scope(|scope| {
        for key in ["a", "b", "c"] {
            let (bucket, path, token) = (t.bucket.clone(), t.path("f"), token.clone());
            scope.spawn(move || {
                assert_cancelled(bucket.upload_file(key, path, PART, [cancel(&token)]))
            });
        }
        while t.requests(UploadPart).len() < 3 {
            thread::sleep(Duration::from_millis(2));
        }
        token.cancel();
    });
    t.assert_nothing_left(&["f"]);
    // The client can still be used.
    t.server.clear_faults();
    t.upload([]).unwrap();
}

/// However a call ends, its threads end before.
#[test]
#[cfg(target_os = "linux")]
fn worker_threads_end_before_call_returns() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    if !run_in_subprocess("cancel::worker_threads_end_before_call_returns") {
        return;
    }
    let threads = || {
        let task = |entry: std::io::Result<fs::DirEntry>| {
            fs::read_to_string(entry.unwrap().path().join("comm")).unwrap_or_default()
        };
        let names = fs::read_dir("/proc/self/task").unwrap().map(task);
        names
            .filter(|name| name.trim_end().starts_with("oss-upload"))
            .count()
    };
    let t = Harness::new();
    t.file("f", 12 * PART);
    let seen = Cell::new(0);
    let look = |_: &Progress| seen.set(seen.get().max(threads()));
    let run = |fault: Option<Fault>, stop: &dyn Fn(&CancelToken)| {
        t.server.inject(
            Rule::new(Fault::Delay(Duration::from_millis(20)))
                .on(UploadPart)
                .times(8),
        );
        t.server.inject(
            Rule::new(fault.unwrap_or(Fault::NoCrc))
                .on(UploadPart)
                .nth(9)
                .forever(),
        );
        let token = CancelToken::new();
        let observe = |progress: &Progress| {
            look(progress);
            if progress.parts_done == 4 {
                stop(&token);
            }
        };
        let options = [routines(8), cancel(&token), progress(observe)];
        let result = catch_unwind(AssertUnwindSafe(|| t.upload(options)));
        assert_eq!(threads(), 0, "after {result:?}");
        t.server.clear_faults();
        result
    };
    run(None, &|_| {}).unwrap().unwrap();
    run(Some(access_denied()), &|_| {}).unwrap().unwrap_err();
    assert_cancelled(run(Some(Fault::Stall), &CancelToken::cancel).unwrap());
    run(Some(Fault::Stall), &|_| panic!("callback panicked")).unwrap_err();
    assert!(seen.get() >= 8, "no worker thread was seen");
}

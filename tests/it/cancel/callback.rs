//! Cancelling from within the progress callback, by the token or by a panic.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use local_oss::{Fault, Operation, Rule};
use oss_upload::{CancelToken, Error, Progress, ProgressEvent, Uploaded, progress, routines};

use super::{
    KEEP_POLICIES, KeepPolicy, SILENT_SERVER_LIMIT, SIZE, assert_cancelled, harness, unavailable,
};
use crate::harness::{Harness, PART, for_each_case_parallel};

use Operation::*;

/// Calls `stop` in the first event of an upload, then in the second event of another one, and so
/// on.
fn at_every_event(
    policy: KeepPolicy,
    size: u64,
    stop: impl Fn(&CancelToken),
    check: impl Fn(&Harness, thread::Result<Result<Uploaded, Error>>, &[ProgressEvent], usize),
) {
    for n in 1.. {
        let t = Harness::with_file(size);
        let token = CancelToken::new();
        let events = RefCell::new(Vec::new());
        let remember = |progress: &Progress| {
            events.borrow_mut().push(progress.event);
            if events.borrow().len() == n {
                stop(&token);
            }
        };
        let options = policy
            .options(&token)
            .into_iter()
            .chain([progress(remember)]);
        let result = catch_unwind(AssertUnwindSafe(|| t.upload(options)));
        let events = events.into_inner();
        if events.len() < n {
            assert!(n > 2, "too few events");
            return;
        }
        check(&t, result, &events, n);
    }
}

#[test]
#[ignore = "slow: several seconds"]
fn cancel_from_any_progress_event() {
    for (policy, size) in KEEP_POLICIES
        .into_iter()
        .flat_map(|policy| [(policy, SIZE), (policy, PART)])
    {
        at_every_event(policy, size, CancelToken::cancel, |t, result, events, n| {
            let result = result.unwrap();
            if events[n - 1] == ProgressEvent::Completed {
                result.unwrap();
                t.assert_nothing_left(&["f"]);
                return;
            }
            assert_cancelled(result);
            // Parts that were acknowledged before the cancelling are still reported; then comes the
            // end.
            let (last, between) = events[n..].split_last().unwrap();
            assert_eq!(*last, ProgressEvent::Failed);
            assert!(
                between
                    .iter()
                    .all(|event| *event == ProgressEvent::Transferred),
                "{between:?}"
            );
            assert_eq!(t.requests(CompleteMultipartUpload).len(), 0);
            assert!(t.server.object("examplebucket", "o").is_none());
            if size > PART {
                policy.check(t)
            } else {
                policy.finish(t)
            }
        });
    }
}

#[test]
#[ignore = "slow: several seconds"]
fn progress_callback_panic_in_any_event_keeps_checkpoint() {
    for (policy, size) in KEEP_POLICIES
        .into_iter()
        .flat_map(|policy| [(policy, SIZE), (policy, PART)])
    {
        let stop = |_: &CancelToken| panic!("the callback panicked");
        at_every_event(policy, size, stop, |t, result, events, n| {
            let panic = result.unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"the callback panicked"));
            assert_eq!(events.len(), n, "called again after its panic");
            if events[n - 1] == ProgressEvent::Completed {
                t.assert_stored("o", &t.path("f"));
                t.assert_nothing_left(&["f"]);
                return;
            }
            assert!(t.server.object("examplebucket", "o").is_none());
            // It is like cancelling with `delete_upload_on_cancelling(false)`.
            let kept = if policy == KeepPolicy::NoCheckpoint {
                policy
            } else {
                KeepPolicy::Kept
            };
            if size > PART {
                kept.check(t)
            } else {
                kept.finish(t)
            }
        });
    }
}

/// The callback panics while workers wait for the server.
#[test]
fn progress_callback_panic_stops_waiting_workers() {
    for_each_case_parallel([KeepPolicy::Deleted, KeepPolicy::NoCheckpoint], |policy| {
        let t = harness();
        t.server
            .inject(Rule::new(Fault::Stall).on(UploadPart).nth(2).forever());
        let panicking =
            |progress: &Progress| assert!(progress.parts_done == 0, "callback panicked");
        let token = CancelToken::new();
        let options = policy
            .options(&token)
            .into_iter()
            .chain([routines(3), progress(panicking)]);
        let started = Instant::now();
        catch_unwind(AssertUnwindSafe(|| t.upload(options))).unwrap_err();
        assert!(
            started.elapsed() < SILENT_SERVER_LIMIT,
            "{:?}",
            started.elapsed()
        );
        match policy {
            KeepPolicy::NoCheckpoint => policy.check(&t),
            _ => KeepPolicy::Kept.check(&t),
        }
    });
}

/// In the event that reports the first retry of each kind of request.
#[test]
#[ignore = "slow: several seconds"]
fn cancel_or_panic_in_retrying_event_ends_retries() {
    for operation in [
        InitiateMultipartUpload,
        UploadPart,
        CompleteMultipartUpload,
        PutObject,
    ] {
        for (policy, panics) in KEEP_POLICIES
            .into_iter()
            .flat_map(|policy| [(policy, false), (policy, true)])
        {
            let t = Harness::new();
            t.file("f", if operation == PutObject { PART } else { SIZE });
            t.inject_always(operation, unavailable());
            let token = CancelToken::new();
            let stop = |progress: &Progress| {
                if progress.event == ProgressEvent::Retrying {
                    assert!(!panics, "callback panicked");
                    token.cancel();
                }
            };
            let options = policy.options(&token).into_iter().chain([progress(stop)]);
            let started = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| t.upload(options)));
            assert!(
                started.elapsed() < SILENT_SERVER_LIMIT,
                "{operation:?}: {:?}",
                started.elapsed()
            );
            assert_eq!(t.requests(operation).len(), 1);
            if panics {
                result.unwrap_err();
            } else {
                let sent = matches!(operation, CompleteMultipartUpload | PutObject);
                assert_eq!(assert_cancelled(result.unwrap()), sent);
            }
            let kept = if panics && policy == KeepPolicy::Deleted {
                KeepPolicy::Kept
            } else {
                policy
            };
            match operation {
                InitiateMultipartUpload | PutObject => {
                    t.assert_nothing_left(&["f"]);
                    kept.finish(&t);
                }
                _ => kept.check(&t),
            }
        }
    }
}

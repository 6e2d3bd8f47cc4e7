//! Stopped from within the progress callback, by a token or by a panic.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use local_oss::{Fault, Operation, Rule};
use oss_upload::{CancelToken, Error, Progress, ProgressEvent, Uploaded, progress, routines};

use super::{LEAVE, Leave, SIZE, SOON, busy, cancelled, house, upload};
use crate::faults::each;
use crate::house::{House, PART};

use Operation::*;

/// In the first event, in the second, … : what `stop` does in the callback.
fn at_every_event(
    leave: Leave,
    size: u64,
    stop: impl Fn(&CancelToken),
    check: impl Fn(&House, thread::Result<Result<Uploaded, Error>>, &[ProgressEvent], usize),
) {
    for n in 1.. {
        let house = House::new();
        house.file("f", size);
        let token = CancelToken::new();
        let events = RefCell::new(Vec::new());
        let tell = |progress: &Progress| {
            events.borrow_mut().push(progress.event);
            if events.borrow().len() == n {
                stop(&token);
            }
        };
        let options = leave.options(&token).into_iter().chain([progress(tell)]);
        let result = catch_unwind(AssertUnwindSafe(|| upload(&house, options)));
        let events = events.into_inner();
        if events.len() < n {
            assert!(n > 2, "too few events");
            return;
        }
        check(&house, result, &events, n);
    }
}

#[test]
fn cancelled_in_any_event() {
    for (leave, size) in LEAVE
        .into_iter()
        .flat_map(|leave| [(leave, SIZE), (leave, PART)])
    {
        at_every_event(
            leave,
            size,
            CancelToken::cancel,
            |house, result, events, n| {
                let result = result.unwrap();
                if events[n - 1] == ProgressEvent::Completed {
                    result.unwrap();
                    house.assert_nothing_left(&["f"]);
                    return;
                }
                cancelled(result);
                // What was acknowledged before the news came is told; then comes the end.
                let (last, between) = events[n..].split_last().unwrap();
                assert_eq!(*last, ProgressEvent::Failed);
                assert!(
                    between
                        .iter()
                        .all(|event| *event == ProgressEvent::Transferred),
                    "{between:?}"
                );
                assert_eq!(house.requests(CompleteMultipartUpload).len(), 0);
                assert!(house.server.object("examplebucket", "o").is_none());
                if size > PART {
                    leave.check(house)
                } else {
                    leave.finish(house)
                }
            },
        );
    }
}

#[test]
fn a_callback_that_panics_in_any_event() {
    for (leave, size) in LEAVE
        .into_iter()
        .flat_map(|leave| [(leave, SIZE), (leave, PART)])
    {
        let stop = |_: &CancelToken| panic!("the callback is tired");
        at_every_event(leave, size, stop, |house, result, events, n| {
            let panic = result.unwrap_err();
            assert_eq!(panic.downcast_ref(), Some(&"the callback is tired"));
            assert_eq!(events.len(), n, "called again after its panic");
            if events[n - 1] == ProgressEvent::Completed {
                house.assert_stored("o", &house.path("f"));
                house.assert_nothing_left(&["f"]);
                return;
            }
            assert!(house.server.object("examplebucket", "o").is_none());
            // As a cancelling that keeps the upload.
            let kept = if leave == Leave::NoRecord {
                leave
            } else {
                Leave::Record
            };
            if size > PART {
                kept.check(house)
            } else {
                kept.finish(house)
            }
        });
    }
}

/// The callback panics while workers wait for the server.
#[test]
fn a_panic_stops_workers_that_wait() {
    each([Leave::Nothing, Leave::NoRecord], |leave| {
        let house = house();
        house
            .server
            .inject(Rule::new(Fault::Stall).on(UploadPart).nth(2).forever());
        let tired = |progress: &Progress| assert!(progress.parts_done == 0, "tired");
        let token = CancelToken::new();
        let options = leave
            .options(&token)
            .into_iter()
            .chain([routines(3), progress(tired)]);
        let started = Instant::now();
        catch_unwind(AssertUnwindSafe(|| upload(&house, options))).unwrap_err();
        assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
        match leave {
            Leave::NoRecord => leave.check(&house),
            _ => Leave::Record.check(&house),
        }
    });
}

/// Stopped in the event that tells of a retry: of the beginning, of a part, of the end.
#[test]
fn stopped_in_a_retry() {
    for operation in [
        InitiateMultipartUpload,
        UploadPart,
        CompleteMultipartUpload,
        PutObject,
    ] {
        for (leave, panics) in LEAVE
            .into_iter()
            .flat_map(|leave| [(leave, false), (leave, true)])
        {
            let house = House::new();
            house.file("f", if operation == PutObject { PART } else { SIZE });
            house
                .server
                .inject(Rule::new(busy()).on(operation).forever());
            let token = CancelToken::new();
            let stop = |progress: &Progress| {
                if progress.event == ProgressEvent::Retrying {
                    assert!(!panics, "tired");
                    token.cancel();
                }
            };
            let options = leave.options(&token).into_iter().chain([progress(stop)]);
            let started = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| upload(&house, options)));
            assert!(
                started.elapsed() < SOON,
                "{operation:?}: {:?}",
                started.elapsed()
            );
            assert_eq!(house.requests(operation).len(), 1);
            if panics {
                result.unwrap_err();
            } else {
                let sent = matches!(operation, CompleteMultipartUpload | PutObject);
                assert_eq!(cancelled(result.unwrap()), sent);
            }
            let kept = if panics && leave == Leave::Nothing {
                Leave::Record
            } else {
                leave
            };
            match operation {
                InitiateMultipartUpload | PutObject => {
                    house.assert_nothing_left(&["f"]);
                    kept.finish(&house);
                }
                _ => kept.check(&house),
            }
        }
    }
}

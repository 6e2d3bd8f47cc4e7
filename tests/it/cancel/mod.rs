//! Stopping: from anywhere, at any time, at once, and with nothing left that was not asked for.

mod events;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, RecordedRequest, Rule};
use oss_upload::{
    CancelToken, Error, Progress, ProgressEvent, UploadOption, Uploaded, adopt_unfinished,
    bandwidth_limit, cancel, checkpoint, delete_upload_on_cancelling, multipart_threshold,
    progress, routines,
};

use crate::faults::each;
use crate::house::{House, PART, content};

use Operation::*;

const SIZE: u64 = 3 * PART + 7;
/// What a call may take that is cancelled while the server is silent, even to the abort.
const SOON: Duration = Duration::from_secs(2);
/// The same while the server answers.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the caller wants to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// A record is kept, and goes when the call is cancelled.
    Nothing,
    /// A record is kept, and stays.
    Record,
    /// There is no record.
    NoRecord,
}

const LEAVE: [Leave; 3] = [Leave::Nothing, Leave::Record, Leave::NoRecord];

impl Leave {
    fn options(self, token: &CancelToken) -> [UploadOption<'static>; 3] {
        [
            checkpoint(self != Leave::NoRecord, ""),
            delete_upload_on_cancelling(self != Leave::Record),
            cancel(token),
        ]
    }

    /// A call that knew an upload id was cancelled: is there what was asked for, and does the next call finish?
    #[track_caller]
    fn check(self, house: &House) {
        match self {
            Leave::Record => {
                house.assert_files(&["f", "f.cp"]);
                assert_eq!(house.server.uploads().len(), 1);
            }
            _ => house.assert_nothing_left(&["f"]),
        }
        self.finish(house);
    }

    #[track_caller]
    fn finish(self, house: &House) {
        house.server.clear_faults();
        let before = house.requests(UploadPart);
        let options = self.options(&CancelToken::new());
        house
            .bucket
            .upload_file("o", house.path("f"), PART, options)
            .unwrap();
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        if self == Leave::Record {
            assert_nothing_sent_again(house, &before);
        }
    }
}

/// Of what had been acknowledged by then. The server may still take what was in flight.
#[track_caller]
fn assert_nothing_sent_again(house: &House, before: &[RecordedRequest]) {
    let acknowledged: HashSet<_> = before
        .iter()
        .filter(|part| part.status == Some(200))
        .map(|part| part.part_number)
        .collect();
    for part in &house.requests(UploadPart)[before.len()..] {
        assert!(
            !acknowledged.contains(&part.part_number),
            "{:?} was sent again",
            part.part_number
        );
    }
}

fn house() -> House {
    let house = House::new();
    house.file("f", SIZE);
    house
}

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

/// Whether the object may exist.
#[track_caller]
fn cancelled(result: Result<Uploaded, Error>) -> bool {
    match result {
        Err(Error::Cancelled {
            object_may_exist, ..
        }) => object_may_exist,
        other => panic!("{other:?}"),
    }
}

/// Runs the call, cancels it from another thread when it is time, and tells how long it took from then on.
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

fn cancel_when_struck<T>(
    house: &House,
    token: &CancelToken,
    call: impl FnOnce() -> T,
) -> (T, Duration) {
    let fired = house.server.faults_fired();
    cancel_when(token, || house.server.faults_fired() > fired, call)
}

/// Three parts of four are on the server, and the record knows.
fn begun(house: &House) {
    house.refuse_part(3);
    upload(house, [checkpoint(true, "")]).unwrap_err();
    house.server.clear_faults();
}

fn busy() -> Fault {
    Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: Some(60),
    }
}

/// In the silence after a request, and in the sleep before it is tried again.
#[test]
fn silence_and_sleep_are_left_at_once() {
    let operations = [InitiateMultipartUpload, UploadPart, CompleteMultipartUpload];
    let mut cases = Vec::new();
    for fault in [
        Fault::Stall,
        Fault::StallMidBody,
        Fault::StallBeforeResponse,
        busy(),
    ] {
        for leave in LEAVE {
            cases.extend(operations.map(|operation| (fault.clone(), operation, leave)));
        }
    }
    each(cases, |(fault, operation, leave)| {
        let house = house();
        let rule = Rule::new(fault).on(operation).forever();
        house.server.inject(if operation == UploadPart {
            rule.part(2)
        } else {
            rule
        });
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_struck(&house, &token, || upload(&house, leave.options(&token)));
        assert_eq!(cancelled(result), operation == CompleteMultipartUpload);
        assert!(took < AT_ONCE, "{took:?}");
        assert!(house.server.object("examplebucket", "o").is_none());
        match operation {
            // No id is known yet.
            InitiateMultipartUpload => {
                house.assert_nothing_left(&["f"]);
                leave.finish(&house);
            }
            _ => leave.check(&house),
        }
    });
}

#[test]
fn a_put_object_is_left_at_once() {
    each(
        [
            Fault::Stall,
            Fault::StallMidBody,
            Fault::StallBeforeResponse,
            busy(),
        ],
        |fault| {
            for leave in LEAVE {
                let house = House::new();
                house.file("f", PART);
                house
                    .server
                    .inject(Rule::new(fault.clone()).on(PutObject).forever());
                let token = CancelToken::new();
                let (result, took) =
                    cancel_when_struck(&house, &token, || upload(&house, leave.options(&token)));
                assert!(cancelled(result), "it may have arrived");
                assert!(took < AT_ONCE, "{took:?}");
                house.assert_nothing_left(&["f"]);
                leave.finish(&house);
            }
        },
    );
}

/// Asking what is there already, and clearing away what is of no use any more.
#[test]
fn a_call_that_resumes_is_left_at_once() {
    let mut cases = Vec::new();
    for leave in [Leave::Nothing, Leave::Record] {
        for fault in [Fault::Stall, busy()] {
            for operation in [
                ListParts,
                AbortMultipartUpload,
                InitiateMultipartUpload,
                PutObject,
            ] {
                cases.push((fault.clone(), operation, leave));
            }
        }
    }
    each(cases, |(fault, operation, leave)| {
        let house = house();
        begun(&house);
        if operation != ListParts {
            let size = if operation == PutObject { PART } else { SIZE };
            fs::write(house.path("f"), content("another", size)).unwrap();
            house.server.clear_requests();
        }
        // The abort that follows the cancelling is heard.
        let rule = Rule::new(fault).on(operation);
        house.server.inject(if operation == AbortMultipartUpload {
            rule
        } else {
            rule.forever()
        });
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_struck(&house, &token, || upload(&house, leave.options(&token)));
        assert_eq!(cancelled(result), operation == PutObject);
        assert!(took < AT_ONCE, "{took:?}");
        if leave == Leave::Nothing {
            house.assert_nothing_left(&["f"]);
        }
        leave.finish(&house);
    });
}

/// The second Initiate of a call whose first upload was lost.
#[test]
fn a_call_that_starts_over_is_left_at_once() {
    each(LEAVE, |leave| {
        let house = house();
        house
            .server
            .inject(Rule::new(Fault::ExpireUpload).on(UploadPart).part(2));
        let token = CancelToken::new();
        let stalled = Cell::new(false);
        let stall = |progress: &Progress| {
            if progress.parts_done == 1 && !stalled.replace(true) {
                house.server.inject(
                    Rule::new(Fault::Stall)
                        .on(InitiateMultipartUpload)
                        .forever(),
                );
            }
        };
        let options = leave.options(&token).into_iter().chain([progress(stall)]);
        let again = || house.requests(InitiateMultipartUpload).len() == 2;
        let (result, took) = cancel_when(&token, again, || upload(&house, options));
        assert!(!cancelled(result));
        assert!(took < AT_ONCE, "{took:?}");
        if leave != Leave::Record {
            house.assert_nothing_left(&["f"]);
        }
        house.server.clear_requests();
        leave.finish(&house);
    });
}

/// Not even the abort is answered: one second for it, no more.
#[test]
fn a_server_that_is_silent_for_good_is_left_soon() {
    each(LEAVE, |leave| {
        let house = house();
        house
            .server
            .inject(Rule::new(Fault::Stall).nth(3).forever());
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_struck(&house, &token, || upload(&house, leave.options(&token)));
        assert!(!cancelled(result));
        assert!(took < SOON, "{took:?}");
        if leave == Leave::Record {
            leave.check(&house);
        }
    });
}

/// The call has failed already and only tidies up.
#[test]
fn tidying_up_after_a_failure_is_left_soon() {
    each([Fault::Stall, busy()], |fault| {
        let house = house();
        house.refuse_part(2);
        house
            .server
            .inject(Rule::new(fault).on(AbortMultipartUpload).forever());
        let token = CancelToken::new();
        let aborting = || !house.requests(AbortMultipartUpload).is_empty();
        let (result, took) = cancel_when(&token, aborting, || upload(&house, [cancel(&token)]));
        result.unwrap_err();
        assert!(took < SOON, "{took:?}");
    });
}

/// A large part on a slow line, and a line that this side makes slow.
#[test]
fn moving_bytes_are_stopped_at_once() {
    let size = 4 * 1024 * 1024;
    let mut cases = Vec::new();
    for threshold in [0, 2 * size] {
        for limit in [None, Some(256 * 1024)] {
            cases.extend(LEAVE.map(|leave| (threshold, limit, leave)));
        }
    }
    each(cases, |(threshold, limit, leave)| {
        let house = House::new();
        let path = house.file("f", size);
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
        house.server.inject(Rule::new(fault).on(operation));
        let token = CancelToken::new();
        let options = leave
            .options(&token)
            .into_iter()
            .chain([multipart_threshold(threshold)]);
        let options = options.chain(limit.map(bandwidth_limit));
        let (result, took) = cancel_when_struck(&house, &token, || {
            house.bucket.upload_file("o", &path, size, options)
        });
        cancelled(result);
        assert!(took < AT_ONCE, "{took:?}");
        assert!(house.server.object("examplebucket", "o").is_none());
        if threshold > 0 || leave != Leave::Record {
            house.assert_nothing_left(&["f"]);
        } else {
            house.assert_files(&["f", "f.cp"]);
        }
    });
}

/// Complete was sent and is being carried out: the object may exist, and does.
#[test]
fn a_complete_that_was_sent_may_have_worked() {
    each(LEAVE, |leave| {
        let house = house();
        let late = Fault::Delay(Duration::from_secs(3));
        house
            .server
            .inject(Rule::new(late).on(CompleteMultipartUpload));
        let token = CancelToken::new();
        let (result, took) =
            cancel_when_struck(&house, &token, || upload(&house, leave.options(&token)));
        assert!(cancelled(result));
        assert!(took < AT_ONCE, "{took:?}");
        house.assert_stored("o", &house.path("f"));
        assert_eq!(house.server.uploads().len(), 0);
        leave.finish(&house);
    });
}

/// One part was refused, another one is waited for.
#[test]
fn waiting_for_the_last_parts_is_left_at_once() {
    let house = house();
    house
        .server
        .inject(Rule::new(Fault::Stall).on(UploadPart).part(1));
    house.refuse_part(2);
    let token = CancelToken::new();
    let both = || house.requests(UploadPart).len() == 2;
    let options = || [routines(2), checkpoint(true, ""), cancel(&token)];
    let (result, took) = cancel_when(&token, both, || upload(&house, options()));
    result.unwrap_err();
    assert!(took < AT_ONCE, "{took:?}");
}

/// What another machine began is not this call's to delete.
#[test]
fn an_upload_that_was_adopted_outlives_the_cancelling() {
    for leave in LEAVE {
        let house = house();
        house.refuse_part(3);
        upload(&house, [adopt_unfinished(true)]).unwrap_err();
        let token = CancelToken::new();
        let stop = |progress: &Progress| {
            if progress.parts_done == 3 {
                token.cancel();
            }
        };
        let options = || {
            leave
                .options(&token)
                .into_iter()
                .chain([adopt_unfinished(true)])
        };
        assert!(!cancelled(upload(
            &house,
            options().chain([progress(stop)])
        )));
        assert_eq!(house.server.uploads().len(), 1);
        house.assert_files(if leave == Leave::Record {
            &["f", "f.cp"]
        } else {
            &["f"]
        });
        let before = house.requests(UploadPart);
        let options = leave
            .options(&CancelToken::new())
            .into_iter()
            .chain([adopt_unfinished(true)]);
        upload(&house, options).unwrap();
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        assert_nothing_sent_again(&house, &before);
    }
}

#[test]
fn a_token_that_is_cancelled_already_sends_nothing() {
    for (leave, size) in LEAVE
        .into_iter()
        .flat_map(|leave| [(leave, SIZE), (leave, PART), (leave, 0)])
    {
        let house = House::new();
        house.file("f", size);
        let token = CancelToken::new();
        token.cancel();
        assert!(!cancelled(upload(&house, leave.options(&token))));
        assert_eq!(house.server.requests().len(), 0);
        house.assert_files(&["f"]);
    }
}

/// With a record the call has something to delete, or to keep.
#[test]
fn a_token_that_is_cancelled_already_still_decides_about_the_record() {
    for leave in [Leave::Nothing, Leave::Record] {
        let house = house();
        begun(&house);
        let token = CancelToken::new();
        token.cancel();
        assert!(!cancelled(upload(&house, leave.options(&token))));
        leave.check(&house);
    }
}

#[test]
fn another_upload_of_the_same_client_goes_on() {
    let house = House::with(
        LocalOss::builder()
            .latency(Duration::from_millis(5))
            .start()
            .unwrap(),
    );
    let size = 12 * PART;
    let (path, other) = (house.file("f", size), house.file("g", size));
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
                cancelled(house.bucket.upload_file("cancelled", &other, PART, options));
            }
        });
        let count = |progress: &Progress| {
            *retried.borrow_mut() += usize::from(progress.event == ProgressEvent::Retrying);
        };
        for _ in 0..4 {
            house
                .bucket
                .upload_file("o", &path, PART, [routines(2), progress(count)])
                .unwrap();
        }
    });
    assert_eq!(retried.into_inner(), 0);
    let parts = house
        .requests(UploadPart)
        .into_iter()
        .filter(|part| part.key == "o");
    assert_eq!(parts.count(), 4 * 12);
    house.assert_stored("o", &path);
    assert_eq!(house.server.uploads().len(), 0);
}

#[test]
fn one_token_stops_all_uploads_that_have_it() {
    let house = house();
    house
        .server
        .inject(Rule::new(Fault::Stall).on(UploadPart).forever());
    let token = CancelToken::new();
    thread::scope(|scope| {
        for key in ["a", "b", "c"] {
            let (bucket, path, token) = (house.bucket.clone(), house.path("f"), token.clone());
            scope.spawn(move || cancelled(bucket.upload_file(key, path, PART, [cancel(&token)])));
        }
        while house.requests(UploadPart).len() < 3 {
            thread::sleep(Duration::from_millis(2));
        }
        token.cancel();
    });
    house.assert_nothing_left(&["f"]);
    // The client is as good as new.
    house.server.clear_faults();
    upload(&house, []).unwrap();
}

/// However a call ends, its threads have ended before.
#[test]
#[cfg(target_os = "linux")]
fn no_thread_outlives_a_call() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    if !crate::house::alone("cancel::no_thread_outlives_a_call") {
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
    let house = House::new();
    let path = house.file("f", 12 * PART);
    let seen = Cell::new(0);
    let look = |_: &Progress| seen.set(seen.get().max(threads()));
    let run = |fault: Option<Fault>, stop: &dyn Fn(&CancelToken)| {
        house.server.inject(
            Rule::new(Fault::Delay(Duration::from_millis(20)))
                .on(UploadPart)
                .times(8),
        );
        house.server.inject(
            Rule::new(fault.unwrap_or(Fault::NoCrc))
                .on(UploadPart)
                .nth(9)
                .forever(),
        );
        let token = CancelToken::new();
        let tell = |progress: &Progress| {
            look(progress);
            if progress.parts_done == 4 {
                stop(&token);
            }
        };
        let options = [routines(8), cancel(&token), progress(tell)];
        let result = catch_unwind(AssertUnwindSafe(|| {
            house.bucket.upload_file("o", &path, PART, options)
        }));
        assert_eq!(threads(), 0, "after {result:?}");
        house.server.clear_faults();
        result
    };
    run(None, &|_| {}).unwrap().unwrap();
    let refused = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    run(Some(refused), &|_| {}).unwrap().unwrap_err();
    cancelled(run(Some(Fault::Stall), &CancelToken::cancel).unwrap());
    run(Some(Fault::Stall), &|_| panic!("tired")).unwrap_err();
    assert!(seen.get() >= 8, "no thread was ever seen");
}

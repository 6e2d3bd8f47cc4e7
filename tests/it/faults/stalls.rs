//! Stalls, slow transfers, and responses without end.

use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{Error, RetryPolicy, checkpoint, multipart_threshold, routines};

use super::scenario::{FaultRun, Scenario};
use crate::harness::{
    Harness, PART, client, for_each_case_parallel, peak_memory, run_in_subprocess,
};

use Fault::*;
use Operation::*;

#[test]
fn stall_at_any_request_is_retried() {
    stall_at_any_request(false);
}

#[test]
#[ignore = "slow: waits for many timeouts"]
fn stall_at_any_request_forever_is_an_error() {
    stall_at_any_request(true);
}

fn stall_at_any_request(forever: bool) {
    // A request without a body can stall only before or after it is applied.
    let all = &[Stall, StallMidBody, StallBeforeResponse, StallAfterApply][..];
    let two = &[Stall, StallAfterApply][..];
    let table = [
        (Scenario::Put, PutObject, all),
        (Scenario::Parts, UploadPart, all),
        (Scenario::Parts, CompleteMultipartUpload, all),
        (Scenario::Parts, InitiateMultipartUpload, two),
        (Scenario::Resumed, ListParts, two),
        (Scenario::Completing, HeadObject, two),
        (Scenario::Superseded, AbortMultipartUpload, two),
        (Scenario::Adopted, ListMultipartUploads, two),
    ];
    let mut cases = Vec::new();
    for (scenario, operation, faults) in table {
        cases.extend(
            faults
                .iter()
                .map(|fault| (fault.clone(), scenario, operation)),
        );
    }
    for_each_case_parallel(cases, |(fault, scenario, operation)| {
        let rule = Rule::new(fault.clone()).on(operation);
        let rule = if operation == UploadPart {
            rule.part(3)
        } else {
            rule
        };
        let rule = if forever { rule.forever() } else { rule };
        let with_checkpoint = !matches!(scenario, Scenario::Put | Scenario::Adopted);
        let run = FaultRun::new(fault, scenario, with_checkpoint);
        assert!(run.run_with_fault(rule, forever), "no such request");
    });
}

/// The size of a part does not delay it.
#[test]
#[ignore = "slow: waits for stalls"]
fn stall_in_a_large_part_is_noticed_as_soon() {
    for_each_case_parallel(
        [Stall, StallMidBody, StallBeforeResponse, StallAfterApply],
        |fault| {
            let started = Instant::now();
            let rule = Rule::new(fault.clone()).on(UploadPart).part(1);
            assert!(FaultRun::new(fault, Scenario::Parts, true).run_with_fault(rule, false));
            assert!(started.elapsed().as_secs() < 12, "{:?}", started.elapsed());
        },
    );
}

/// Combining 10,000 parts takes a while: the timeout is five times as long.
#[test]
fn complete_has_a_longer_timeout() {
    let t = impatient();
    t.file("f", PART + 7);
    t.inject(CompleteMultipartUpload, Delay(Duration::from_millis(1200)));
    t.upload([]).unwrap();
    assert_eq!(t.requests(CompleteMultipartUpload).len(), 1);
}

/// A harness whose client has a stall timeout of half a second.
fn impatient() -> Harness {
    let server = LocalOss::start();
    let client = client(&server).stall_timeout(Duration::from_millis(500));
    Harness::with_client(server, client)
}

/// Part 2 fails while part 1 is in flight. Part 1 is slow and gets the time to end.
#[test]
fn part_failure_waits_for_slow_parts_in_flight() {
    fail_part_2_while_part_1_is_in_flight(
        Slow {
            bytes_per_second: 100 * 1024,
        },
        1,
    );
}

/// Part 2 fails while part 1 is in flight. Part 1 has stalled and is aborted after five seconds.
#[test]
#[ignore = "slow: waits for five seconds"]
fn part_failure_waits_five_seconds_for_stalled_parts_in_flight() {
    let took = fail_part_2_while_part_1_is_in_flight(Stall, 0);
    assert!((5..40).contains(&took.as_secs()), "{took:?}");
}

/// Returns how long the call took that failed.
fn fail_part_2_while_part_1_is_in_flight(fault: Fault, acknowledged: usize) -> Duration {
    let t = Harness::with_file(4 * PART);
    t.inject_part(1, fault);
    t.refuse_part(2);
    let options = || [routines(2), checkpoint(true, "")];
    let started = Instant::now();
    let error = t.upload(options()).unwrap_err();
    let took = started.elapsed();
    assert!(
        matches!(&error, Error::Service(service) if service.part == Some(2)),
        "{error}"
    );
    let uploaded = t.upload(options()).unwrap();
    assert_eq!(uploaded.parts_resumed, acknowledged);
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
    took
}

/// The client waits as long as the server asks for, but not longer than `max_delay`.
#[test]
fn retry_after_is_honored_up_to_max_delay() {
    for_each_case_parallel(
        [(1, 20_000, 1000), (60, 300, 300)],
        |(asked, max_delay, waited)| {
            let server = LocalOss::start();
            let policy = RetryPolicy::default()
                .base_delay(Duration::from_millis(1))
                .max_delay(Duration::from_millis(max_delay));
            let client = client(&server).retry(policy);
            let t = Harness::with_client(server, client);
            t.file("f", PART);
            let code = "ServiceUnavailable".into();
            t.inject(
                PutObject,
                Status {
                    status: 503,
                    code,
                    retry_after: Some(asked),
                },
            );
            let started = Instant::now();
            t.upload([]).unwrap();
            let took = started.elapsed();
            assert_eq!(t.requests(PutObject).len(), 2);
            assert!(
                took >= Duration::from_millis(waited),
                "{took:?} for a Retry-After of {asked} s"
            );
            assert!(
                took < Duration::from_secs(15),
                "{took:?} for a Retry-After of {asked} s"
            );
        },
    );
}

/// An error response that is sent before the body was read may be lost with the connection. A retry
/// with `Expect: 100-continue` receives it.
#[test]
fn early_error_response_is_found_with_expect_continue() {
    let size = 8 * 1024 * 1024;
    for_each_case_parallel(
        [(UploadPart, 0), (PutObject, 2 * size)],
        |(operation, threshold)| {
            let t = Harness::new();
            let path = t.file("f", size);
            let early = EarlyStatus {
                status: 403,
                code: "AccessDenied".into(),
            };
            t.inject_always(operation, early);
            let options = [multipart_threshold(threshold), checkpoint(true, "")];
            let error = t
                .bucket
                .upload_file("o", &path, size / 2, options)
                .unwrap_err();
            assert!(
                matches!(&error, Error::Service(service) if service.status == 403),
                "{error}"
            );
            let attempts = t.requests(operation);
            let last = attempts.last().unwrap();
            assert!(
                last.header("expect").is_some() || attempts.len() == 1,
                "{} attempts",
                attempts.len()
            );
            assert!(
                attempts.first().unwrap().header("expect").is_none(),
                "sent Expect without need"
            );
        },
    );
}

/// A response of a gigabyte is given up after a few megabytes.
#[test]
fn response_without_end_takes_no_memory() {
    if !run_in_subprocess("faults::stalls::response_without_end_takes_no_memory") {
        return;
    }
    let t = Harness::new();
    t.file("f", 2 * PART + 7);
    for operation in [InitiateMultipartUpload, UploadPart, CompleteMultipartUpload] {
        t.inject_always(operation, HugeResponse(1 << 30));
        let before = peak_memory();
        let error = t.upload([checkpoint(true, "")]).unwrap_err();
        assert!(
            error.to_string().contains("response is larger than"),
            "{error}"
        );
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            let grown = after.saturating_sub(before);
            assert!(grown < 64 * 1024, "{grown} KiB for {operation:?}");
        }
        t.server.clear_faults();
    }
}

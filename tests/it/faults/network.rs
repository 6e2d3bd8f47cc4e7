//! Fault sweeps: the same upload again and again, with a fault in its first request, then in its
//! second one, and so on. After each run three things are asserted: the result, the bytes on the
//! server, and what was *not* sent again.
//!
//! The quick sweeps inject each fault once, in the common scenarios. The whole ones, which are
//! slow, inject it in all scenarios, once, and into a request and all later ones.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use local_oss::{Fault, LocalOss, Rule};
use oss_upload::{Error, checkpoint, content_md5, routines};

use super::scenario::{FaultRun, Scenario};
use crate::harness::{
    Harness, PART, RecordedRequest, access_denied, for_each_case_parallel, service_unavailable,
    status,
};

use local_oss::Fault::*;
use local_oss::Operation::*;

/// Each scenario, without and with a checkpoint where both are possible.
const ALL_SCENARIOS: &[(Scenario, bool)] = &[
    (Scenario::Put, false),
    (Scenario::Put, true),
    (Scenario::Parts, false),
    (Scenario::Parts, true),
    (Scenario::Resumed, true),
    (Scenario::Completing, true),
    (Scenario::Superseded, true),
    (Scenario::Shrunk, true),
    (Scenario::Adopted, false),
];

/// The scenarios of the quick tests. Faults of the other requests have quick tests of their own.
const COMMON_SCENARIOS: &[(Scenario, bool)] = &[(Scenario::Put, true), (Scenario::Parts, true)];

/// How often a fault is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Once,
    Forever,
}

/// Injects each fault once into every request of the common scenarios in turn.
fn sweep(faults: Vec<Fault>) {
    sweep_scenarios(COMMON_SCENARIOS, &[Times::Once], faults);
}

/// Injects each fault into every request of all scenarios in turn, once, and then into that request
/// and all later ones.
fn sweep_all(faults: Vec<Fault>) {
    sweep_scenarios(ALL_SCENARIOS, &[Times::Once, Times::Forever], faults);
}

fn sweep_scenarios(scenarios: &[(Scenario, bool)], times: &[Times], faults: Vec<Fault>) {
    let requests = |(scenario, with)| FaultRun::requests_without_fault(scenario, with);
    let requests: Vec<usize> = scenarios.iter().copied().map(requests).collect();
    for_each_case_parallel(faults, |fault| {
        for (&(scenario, with_checkpoint), &requests) in scenarios.iter().zip(&requests) {
            for &times in times {
                let fires =
                    |n: &usize| run_in_named_thread(&fault, times, *n, scenario, with_checkpoint);
                let fired = (1..).take_while(fires).count();
                assert!(
                    fired >= requests,
                    "{scenario:?} has {requests} requests, {fault:?} fired {fired} times"
                );
            }
        }
    });
}

/// Runs a scenario with a fault in its n-th request, in a thread whose name says so in a panic.
/// Returns whether the fault fired.
fn run_in_named_thread(
    fault: &Fault,
    times: Times,
    n: usize,
    scenario: Scenario,
    with_checkpoint: bool,
) -> bool {
    let with = if with_checkpoint { "with" } else { "without" };
    let name = format!("{fault:?} {times:?} at request {n} of {scenario:?} {with} a checkpoint");
    let fired = AtomicBool::new(false);
    for_each_case_parallel([name], |_| {
        let rule = Rule::new(fault.clone()).nth(n);
        let forever = times == Times::Forever;
        let rule = if forever { rule.forever() } else { rule };
        let run = FaultRun::new(fault.clone(), scenario, with_checkpoint);
        fired.store(run.run_with_fault(rule, forever), Ordering::Relaxed);
    });
    fired.into_inner()
}

fn broken_connections() -> Vec<Fault> {
    vec![
        Reset,
        ResetMidBody,
        ResetAfterApply,
        CloseAfterApply,
        CloseBeforeResponse,
        InvalidHttp,
    ]
}

#[test]
fn sweep_broken_connections() {
    sweep(broken_connections());
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_broken_connections_in_all_scenarios() {
    sweep_all(broken_connections());
}

fn transient_statuses() -> Vec<Fault> {
    let busy = |code: &str, seconds| Status {
        status: 503,
        code: code.into(),
        retry_after: Some(seconds),
    };
    vec![
        status(408, "RequestTimeout"),
        status(429, ""),
        status(500, "InternalError"),
        status(500, ""),
        busy("ServiceUnavailable", 0),
        busy("", 1),
    ]
}

#[test]
fn sweep_transient_statuses() {
    sweep(transient_statuses());
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_transient_statuses_in_all_scenarios() {
    sweep_all(transient_statuses());
}

fn sweep_permanent(sweep: fn(Vec<Fault>)) {
    let elsewhere = LocalOss::start();
    let location = format!("{}/examplebucket/o", elsewhere.endpoint());
    sweep(vec![
        access_denied(),
        status(403, ""),
        EarlyStatus {
            status: 403,
            code: "AccessDenied".into(),
        },
        Redirect {
            status: 301,
            location: location.clone(),
        },
        Redirect {
            status: 307,
            location,
        },
    ]);
    assert_eq!(elsewhere.requests().len(), 0, "a redirect was followed");
}

#[test]
fn sweep_permanent_statuses() {
    sweep_permanent(sweep);
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_permanent_statuses_in_all_scenarios() {
    sweep_permanent(sweep_all);
}

fn unreadable_responses() -> Vec<Fault> {
    let code = "InternalError".to_owned();
    vec![
        TruncateResponse,
        TruncateXml,
        Html,
        HugeResponse(1 << 30),
        ErrorInside200 { code },
    ]
}

#[test]
fn sweep_unreadable_responses() {
    sweep(unreadable_responses());
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_unreadable_responses_in_all_scenarios() {
    sweep_all(unreadable_responses());
}

fn wrong_checksums() -> Vec<Fault> {
    vec![NoEtag, WrongEtag, NoCrc, WrongCrc, CorruptBody]
}

#[test]
fn sweep_wrong_checksums() {
    sweep(wrong_checksums());
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_wrong_checksums_in_all_scenarios() {
    sweep_all(wrong_checksums());
}

fn expiry_skew_slow() -> Vec<Fault> {
    let slow = Slow {
        bytes_per_second: 4 << 20,
    };
    vec![
        ExpireUpload,
        ExpireToken,
        SkewClock(3600),
        SkewClock(-3600),
        slow,
    ]
}

#[test]
fn sweep_expiry_skew_slow() {
    sweep(expiry_skew_slow());
}

#[test]
#[ignore = "slow: hundreds of uploads"]
fn sweep_expiry_skew_slow_in_all_scenarios() {
    sweep_all(expiry_skew_slow());
}

/// OSS compares the checksum before it stores a body. A corrupted body is sent again.
#[test]
fn content_md5_prevents_storing_a_corrupted_body() {
    for (size, operation) in [(2 * PART + 7, UploadPart), (PART, PutObject)] {
        let t = Harness::new();
        let path = t.file("f", size);
        let options = || [content_md5(true), checkpoint(true, "")];
        t.inject_always(operation, CorruptBody);
        t.upload(options()).unwrap_err();
        assert!(
            t.server.object("examplebucket", "o").is_none(),
            "{operation:?}"
        );
        t.server.clear_faults();
        t.inject(operation, CorruptBody);
        t.upload(options()).unwrap();
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
    }
}

/// Several parts are in flight when one fails permanently.
#[test]
fn part_failure_starts_no_further_part_and_loses_none() {
    let server = LocalOss::builder()
        .latency(Duration::from_millis(20))
        .start()
        .unwrap();
    let t = Harness::with_server(server);
    let path = t.file("f", 12 * PART);
    let options = || [routines(3), checkpoint(true, "")];
    t.refuse_part(2);
    let error = t.upload(options()).unwrap_err();
    assert!(
        matches!(&error, Error::Service(service) if service.part == Some(2)),
        "{error}"
    );
    let first = t.parts_sent();
    assert!(
        first.len() <= 6,
        "parts were started after the failure: {first:?}"
    );
    let uploaded = t.upload(options()).unwrap();
    assert_eq!(uploaded.parts_resumed, first.len() - 1, "all but part 2");
    assert_eq!(t.parts_sent().len(), 13, "every part once, part 2 twice");
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

/// Every other request fails, in any way, and the call is repeated until it succeeds.
#[test]
fn resume_after_random_fault_sequence() {
    for_each_case_parallel(0..60, |seed: u64| {
        let run = FaultRun::new(Reset, Scenario::Parts, true);
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = [
            Reset,
            ResetMidBody,
            ResetAfterApply,
            CloseAfterApply,
            CloseBeforeResponse,
            service_unavailable(),
            access_denied(),
            EarlyStatus {
                status: 403,
                code: "AccessDenied".into(),
            },
            TruncateResponse,
            TruncateXml,
            Html,
            InvalidHttp,
            NoEtag,
            WrongCrc,
            CorruptBody,
            ExpireUpload,
            ExpireToken,
            SkewClock(7200),
        ];
        let server = &run.t.server;
        for n in 1..200 {
            let fault = random.choice(&faults).unwrap().clone();
            if random.bool() {
                server.inject(Rule::new(fault).nth(n));
            }
        }
        (1..60)
            .find(|_| run.upload().is_ok())
            .expect("one of 60 calls succeeds");
        run.t.assert_stored("o", &run.path);
        run.t.assert_files(&["f"]);
        let requests = server.requests();
        let faulted = requests.iter().filter(|request| request.fault.is_some());
        let excused = faulted
            .filter(|request| {
                matches!(
                    request.operation,
                    InitiateMultipartUpload | AbortMultipartUpload
                )
            })
            .count();
        assert!(server.uploads().len() <= excused, "{:?}", server.uploads());
        // The checkpoint of an upload that has vanished may be old: it is not written when the
        // restart fails.
        let expires = |request: &&RecordedRequest| request.fault.as_deref() == Some("ExpireUpload");
        let expired: HashSet<_> = requests
            .iter()
            .filter(expires)
            .map(|request| &request.upload_id)
            .collect();
        let mut acknowledged = HashSet::new();
        for request in requests
            .iter()
            .filter(|request| request.operation == UploadPart)
        {
            let part = (&request.upload_id, request.part_number);
            let again = acknowledged.contains(&part) && !expired.contains(part.0);
            assert!(!again, "{part:?} was sent again");
            if request.status == Some(200) && request.fault.is_none() {
                acknowledged.insert(part);
            }
        }
    });
}

//! Silence, slowness, and answers without end.

use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{Error, RetryPolicy, checkpoint, multipart_threshold, routines};

use super::bench::{Bench, Story};
use super::each;
use crate::house::{House, PART, alone, client};

use Fault::*;
use Operation::*;

/// Wherever the server falls silent, the call notices: a request is tried again, and the silence that never ends is
/// an error.
#[test]
fn a_server_that_falls_silent() {
    // Where there is no body to read, silence is silence.
    let all = &[Stall, StallMidBody, StallBeforeAnswer, StallAfterApply][..];
    let two = &[Stall, StallAfterApply][..];
    let table = [
        (Story::Put, PutObject, all),
        (Story::Parts, UploadPart, all),
        (Story::Parts, CompleteMultipartUpload, all),
        (Story::Parts, InitiateMultipartUpload, two),
        (Story::Resumed, ListParts, two),
        (Story::Completing, HeadObject, two),
        (Story::Superseded, AbortMultipartUpload, two),
        (Story::Adopted, ListMultipartUploads, two),
    ];
    let mut cases = Vec::new();
    for (story, operation, faults) in table {
        for fault in faults {
            cases.extend([false, true].map(|forever| (fault.clone(), story, operation, forever)));
        }
    }
    each(cases, |(fault, story, operation, forever)| {
        let rule = Rule::new(fault.clone()).on(operation);
        let rule = if operation == UploadPart {
            rule.part(3)
        } else {
            rule
        };
        let rule = if forever { rule.forever() } else { rule };
        let recorded = !matches!(story, Story::Put | Story::Adopted);
        let started = Instant::now();
        assert!(
            Bench::new(fault, story, recorded).strike(rule, forever),
            "no such request"
        );
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{:?}",
            started.elapsed()
        );
    });
}

/// The size of a part does not delay it.
#[test]
fn stall_in_a_large_part_is_noticed_as_soon() {
    each(
        [Stall, StallMidBody, StallBeforeAnswer, StallAfterApply],
        |fault| {
            let started = Instant::now();
            let rule = Rule::new(fault.clone()).on(UploadPart).part(1);
            assert!(Bench::new(fault, Story::Parts, true).strike(rule, false));
            assert!(started.elapsed().as_secs() < 6, "{:?}", started.elapsed());
        },
    );
}

/// Putting 10,000 parts together takes a while: five times the patience.
#[test]
fn complete_may_take_its_time() {
    let house = impatient(LocalOss::start());
    let path = house.file("f", PART + 7);
    house
        .server
        .inject(Rule::new(Delay(Duration::from_millis(1200))).on(CompleteMultipartUpload));
    house.bucket.upload_file("o", &path, PART, []).unwrap();
    assert_eq!(house.requests(CompleteMultipartUpload).len(), 1);
}

fn impatient(server: LocalOss) -> House {
    let client = client(&server)
        .stall_timeout(Duration::from_millis(500))
        .build()
        .unwrap();
    let mut house = House::with(server);
    house.bucket = client.bucket("examplebucket").unwrap();
    house
}

/// Part 2 is refused while part 1 is on its way: slowly, or in silence.
#[test]
fn parts_on_their_way_get_five_seconds_when_another_fails() {
    let slow = Slow {
        bytes_per_second: 100 * 1024,
    };
    each(
        [(slow, 0..4, 1), (Stall, 5..8, 0)],
        |(fault, seconds, acknowledged)| {
            let house = House::new();
            let path = house.file("f", 4 * PART);
            house.server.inject(Rule::new(fault).on(UploadPart).part(1));
            house.refuse_part(2);
            let options = || [routines(2), checkpoint(true, "")];
            let started = Instant::now();
            let error = house
                .bucket
                .upload_file("o", &path, PART, options())
                .unwrap_err();
            assert!(
                matches!(&error, Error::Service(service) if service.part == Some(2)),
                "{error}"
            );
            assert!(
                seconds.contains(&started.elapsed().as_secs()),
                "{:?}",
                started.elapsed()
            );
            let uploaded = house
                .bucket
                .upload_file("o", &path, PART, options())
                .unwrap();
            assert_eq!(uploaded.parts_resumed, acknowledged);
            house.assert_stored("o", &path);
            house.assert_nothing_left(&["f"]);
        },
    );
}

#[test]
fn the_server_says_when_to_come_back() {
    each(
        [(1, 20_000, 1000), (30, 300, 300)],
        |(asked, max_delay, waited)| {
            let server = LocalOss::start();
            let policy = RetryPolicy::default()
                .base_delay(Duration::from_millis(1))
                .max_delay(Duration::from_millis(max_delay));
            let client = client(&server).retry(policy).build().unwrap();
            let mut house = House::with(server);
            house.bucket = client.bucket("examplebucket").unwrap();
            let path = house.file("f", PART);
            house.server.inject(Rule::new(Status {
                status: 503,
                code: "ServiceUnavailable".into(),
                retry_after: Some(asked),
            }));
            let started = Instant::now();
            house.bucket.upload_file("o", &path, PART, []).unwrap();
            let took = started.elapsed().as_millis();
            assert!(
                (waited..waited + 900).contains(&took),
                "{took} ms for a Retry-After of {asked} s"
            );
        },
    );
}

/// A refusal before the body was read is lost with the connection; asking first brings it to light.
#[test]
fn the_reason_of_an_early_refusal_is_found_out() {
    let size = 8 * 1024 * 1024;
    each(
        [(UploadPart, 0), (PutObject, 2 * size)],
        |(operation, threshold)| {
            let house = House::new();
            let path = house.file("f", size);
            let early = EarlyStatus {
                status: 403,
                code: "AccessDenied".into(),
            };
            house
                .server
                .inject(Rule::new(early).on(operation).forever());
            let options = [multipart_threshold(threshold), checkpoint(true, "")];
            let error = house
                .bucket
                .upload_file("o", &path, size / 2, options)
                .unwrap_err();
            assert!(
                matches!(&error, Error::Service(service) if service.status == 403),
                "{error}"
            );
            let asked = house.requests(operation);
            let last = asked.last().unwrap();
            assert!(
                last.header("expect").is_some() || asked.len() == 1,
                "{} attempts",
                asked.len()
            );
            assert!(
                asked.first().unwrap().header("expect").is_none(),
                "asked without need"
            );
        },
    );
}

/// An answer of a gigabyte is given up after a few megabytes.
#[test]
fn an_answer_without_end_takes_no_memory() {
    if !alone("faults::stalls::an_answer_without_end_takes_no_memory") {
        return;
    }
    let house = House::new();
    let path = house.file("f", 2 * PART + 7);
    for operation in [InitiateMultipartUpload, UploadPart, CompleteMultipartUpload] {
        house
            .server
            .inject(Rule::new(HugeAnswer(1 << 30)).on(operation).forever());
        let (before, started) = (peak_memory(), Instant::now());
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap_err();
        assert!(
            error.to_string().contains("response is larger than"),
            "{error}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
        if let (Some(before), Some(after)) = (before, peak_memory()) {
            let grown = after.saturating_sub(before);
            assert!(grown < 64 * 1024, "{grown} KiB for {operation:?}");
        }
        house.server.clear_faults();
    }
}

/// In KiB, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

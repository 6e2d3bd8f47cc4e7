//! Faults by the number: one upload again and again, the first request failing, then the second, until there is
//! none left to fail. Each time three things are asserted: the result, the bytes on the server, and what was *not*
//! sent again.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use local_oss::{Fault, LocalOss, RecordedRequest, Rule};
use oss_upload::{Error, checkpoint, content_md5, routines};

use super::bench::{Bench, Story, status};
use super::each;
use crate::house::{House, PART};

use local_oss::Fault::*;
use local_oss::Operation::*;

const STORIES: [(Story, bool); 9] = [
    (Story::Put, false),
    (Story::Put, true),
    (Story::Parts, false),
    (Story::Parts, true),
    (Story::Resumed, true),
    (Story::Completing, true),
    (Story::Superseded, true),
    (Story::Shrunk, true),
    (Story::Adopted, false),
];

/// Strikes every request of every story, once and for ever.
fn sweep(faults: impl IntoIterator<Item = Fault>) {
    each(faults, |fault| {
        for ((story, recorded), forever) in STORIES
            .into_iter()
            .flat_map(|story| [(story, false), (story, true)])
        {
            let mut n = 0;
            let mut fires = true;
            while fires {
                n += 1;
                let rule = Rule::new(fault.clone()).nth(n);
                let rule = if forever { rule.forever() } else { rule };
                let times = if forever { "from" } else { "at" };
                let record = if recorded { "with" } else { "without" };
                let name = format!("{fault:?} {times} request {n} of {story:?} {record} a record");
                let fired = AtomicUsize::new(0);
                each([name], |_| {
                    let bench = Bench::new(fault.clone(), story, recorded);
                    fired.store(
                        bench.strike(rule.clone(), forever).into(),
                        Ordering::Relaxed,
                    );
                });
                fires = fired.into_inner() == 1;
            }
            println!(
                "{fault:?}: {story:?}, record {recorded}, for ever {forever}: fired at 1..={}",
                n - 1
            );
            assert!(
                n > story.requests(),
                "{story:?} has {} requests, {n} were struck",
                story.requests()
            );
        }
    });
}

#[test]
fn connections_that_break() {
    sweep([
        Reset,
        ResetMidBody,
        ResetAfterApply,
        CloseAfterApply,
        CloseBeforeResponse,
        InvalidHttp,
    ]);
}

#[test]
fn servers_in_trouble() {
    let busy = |status, code: &str, retry_after| Status {
        status,
        code: code.into(),
        retry_after,
    };
    sweep([
        status(408, "RequestTimeout"),
        status(429, ""),
        status(500, "InternalError"),
        status(500, ""),
        busy(503, "ServiceUnavailable", Some(0)),
        busy(503, "", Some(1)),
    ]);
}

#[test]
fn refusals() {
    let code = "AccessDenied".to_owned();
    let elsewhere = LocalOss::start();
    let location = format!("{}/examplebucket/o", elsewhere.endpoint());
    sweep([
        status(403, "AccessDenied"),
        status(403, ""),
        EarlyStatus { status: 403, code },
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
fn answers_that_cannot_be_read() {
    let code = "InternalError".to_owned();
    sweep([
        TruncateResponse,
        TruncateXml,
        Html,
        HugeResponse(1 << 30),
        ErrorInside200 { code },
    ]);
}

#[test]
fn answers_that_are_not_true() {
    sweep([NoEtag, WrongEtag, NoCrc, WrongCrc, CorruptBody]);
}

#[test]
fn what_expires_and_what_is_slow() {
    sweep([
        ExpireUpload,
        ExpireToken,
        SkewClock(3600),
        SkewClock(-3600),
        Slow {
            bytes_per_second: 4 << 20,
        },
    ]);
}

/// OSS compares before it stores. A bit that flipped on the way is no reason to give up.
#[test]
fn with_content_md5_no_corrupted_body_is_ever_stored() {
    for (size, operation) in [(2 * PART + 7, UploadPart), (PART, PutObject)] {
        let house = House::new();
        let path = house.file("f", size);
        let options = || [content_md5(true), checkpoint(true, "")];
        house
            .server
            .inject(Rule::new(CorruptBody).on(operation).forever());
        house
            .bucket
            .upload_file("o", &path, PART, options())
            .unwrap_err();
        assert!(
            house.server.object("examplebucket", "o").is_none(),
            "{operation:?}"
        );
        house.server.clear_faults();
        house.server.inject(Rule::new(CorruptBody).on(operation));
        house
            .bucket
            .upload_file("o", &path, PART, options())
            .unwrap();
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
    }
}

/// Of many parts at the same time, one fails for good.
#[test]
fn after_a_failure_no_part_begins_and_none_is_lost() {
    let server = LocalOss::builder()
        .latency(Duration::from_millis(20))
        .start()
        .unwrap();
    let house = House::with(server);
    let path = house.file("f", 12 * PART);
    let options = || [routines(3), checkpoint(true, "")];
    house.refuse_part(2);
    let error = house
        .bucket
        .upload_file("o", &path, PART, options())
        .unwrap_err();
    assert!(
        matches!(&error, Error::Service(service) if service.part == Some(2)),
        "{error}"
    );
    let first = house.parts_sent();
    assert!(
        first.len() <= 6,
        "parts were begun after the failure: {first:?}"
    );
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, options())
        .unwrap();
    assert_eq!(uploaded.parts_resumed, first.len() - 1, "but part 2");
    assert_eq!(
        house.parts_sent().len(),
        13,
        "every part once, part 2 twice"
    );
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
}

/// Every other request goes wrong, in any way, and the call is repeated until it succeeds.
#[test]
fn whatever_goes_wrong_in_whatever_order() {
    each(0..60, |seed: u64| {
        let bench = Bench::new(Reset, Story::Parts, true);
        let mut random = fastrand::Rng::with_seed(seed);
        let faults = [
            Reset,
            ResetMidBody,
            ResetAfterApply,
            CloseAfterApply,
            CloseBeforeResponse,
            status(503, "ServiceUnavailable"),
            status(403, "AccessDenied"),
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
        let server = &bench.house.server;
        for n in 1..200 {
            let fault = random.choice(&faults).unwrap().clone();
            if random.bool() {
                server.inject(Rule::new(fault).nth(n));
            }
        }
        let calls = (1..60)
            .find(|_| bench.upload().is_ok())
            .expect("no end of it");
        bench.house.assert_stored("o", &bench.path);
        bench.house.assert_files(&["f"]);
        let requests = server.requests();
        let struck = requests.iter().filter(|logged| logged.fault.is_some());
        let excused = struck
            .filter(|logged| {
                matches!(
                    logged.operation,
                    InitiateMultipartUpload | AbortMultipartUpload
                )
            })
            .count();
        assert!(server.uploads().len() <= excused, "{:?}", server.uploads());
        // Of an upload that was lost the record may be old: nothing was written when starting over failed.
        let expires = |logged: &&RecordedRequest| logged.fault.as_deref() == Some("ExpireUpload");
        let expired: HashSet<_> = requests
            .iter()
            .filter(expires)
            .map(|logged| &logged.upload_id)
            .collect();
        let mut acknowledged = HashSet::new();
        for logged in requests
            .iter()
            .filter(|logged| logged.operation == UploadPart)
        {
            let part = (&logged.upload_id, logged.part_number);
            let again = acknowledged.contains(&part) && !expired.contains(part.0);
            assert!(!again, "{part:?} was sent again");
            if logged.status == Some(200) && logged.fault.is_none() {
                acknowledged.insert(part);
            }
        }
        println!("seed {seed}: {calls} calls, {} requests", requests.len());
    });
}

//! Defects in how an upload continues and how it ends.

use std::cell::RefCell;
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Callback, Error, Progress, ProgressEvent, RetryPolicy, callback, checkpoint, progress, routines,
};

use crate::harness::{CallbackServer, Harness, PART, client, service_unavailable, status};

/// An upload whose parts are all stored, and whose CompleteMultipartUpload failed.
fn all_but_complete(size: u64) -> Harness {
    let t = Harness::new();
    let path = t.file("f", size);
    t.deny(Operation::CompleteMultipartUpload);
    t.bucket
        .upload_file("o", path, PART, [checkpoint(true, "")])
        .unwrap_err();
    t.server.clear_requests();
    t
}

/// The C# SDK does not compare the checksum of the whole object after resuming.
#[test]
fn resume_of_all_parts_compares_object_crc64() {
    let t = all_but_complete(2 * PART + 7);
    let path = t.path("f");
    t.inject(Operation::CompleteMultipartUpload, Fault::WrongCrc);
    let error = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(
        matches!(error, Error::Response { .. }) && error.to_string().contains("CRC-64"),
        "{error}"
    );
    assert_eq!(t.parts_sent(), []);
    // The object exists and is wrong: the next call restarts.
    let uploaded = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

/// The Go SDK v2 compares with 0, after completing the object, if nothing was left to send.
#[test]
fn resume_with_nothing_left_to_send_is_no_crc64_mismatch() {
    for size in [3 * PART, 3 * PART + 7] {
        let t = all_but_complete(size);
        let path = t.path("f");
        let uploaded = t
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap();
        assert_eq!(
            uploaded.crc64,
            Some(t.server.object("examplebucket", "o").unwrap().crc64)
        );
        assert_eq!(t.server.requests().len(), 2, "ListParts and Complete");
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
    }
}

/// The iOS SDK omits the part, and completes an object of the others.
#[test]
fn part_rejected_with_409_fails_upload() {
    for code in ["PartAlreadyExist", "OperationAborted", ""] {
        let t = Harness::new();
        let path = t.file("f", 4 * PART);
        let upload = || t.upload([routines(2), checkpoint(true, "")]);
        t.inject_part_always(2, status(409, code));
        let error = upload().unwrap_err();
        assert!(
            matches!(&error, Error::Service(service) if service.status == 409),
            "{error}"
        );
        assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
        t.server.clear_faults();
        upload().unwrap();
        t.assert_stored("o", &path);
    }
}

/// The Java, Go and Python SDKs report completion before CompleteMultipartUpload is sent.
#[test]
fn progress_completed_comes_after_object_exists() {
    let t = Harness::new();
    t.file("f", 2 * PART);
    let events = RefCell::new(Vec::new());
    let upload = || {
        let look = |p: &Progress| {
            let there = t.server.object("examplebucket", "o").is_some();
            events.borrow_mut().push((p.event, there));
        };
        t.upload([checkpoint(true, ""), progress(look)])
    };
    t.deny(Operation::CompleteMultipartUpload);
    upload().unwrap_err();
    assert_eq!(
        events.borrow().last(),
        Some(&(ProgressEvent::Failed, false))
    );
    assert!(
        events
            .borrow()
            .iter()
            .all(|(event, _)| *event != ProgressEvent::Completed)
    );
    upload().unwrap();
    assert_eq!(
        events.borrow().last(),
        Some(&(ProgressEvent::Completed, true))
    );
    assert_eq!(
        events.borrow().iter().filter(|(_, there)| *there).count(),
        1
    );
}

/// The Go SDK v1 resumes nothing with a callback, or crashes.
#[test]
fn callback_upload_resumes() {
    let (t, app) = (Harness::new(), CallbackServer::start(200, "{}"));
    t.file("f", 3 * PART);
    let upload = || {
        let call = callback(Callback::new(app.url("/"), "object=${object}"));
        t.upload([checkpoint(true, ""), call])
    };
    t.refuse_part(3);
    upload().unwrap_err();
    let uploaded = upload().unwrap();
    assert_eq!(
        (uploaded.parts_resumed, uploaded.callback_body.as_deref()),
        (2, Some(&b"{}"[..]))
    );
    assert_eq!(t.parts_sent(), [1, 2, 3, 3]);
    t.assert_nothing_left(&["f"]);
}

/// In the Go SDK v1 the abort overtakes parts in flight, and parts that arrive after it are billed
/// forever.
#[test]
fn abort_waits_for_parts_in_flight() {
    let t = Harness::new();
    t.file("f", 4 * PART);
    t.inject_part(
        1,
        Fault::Slow {
            bytes_per_second: 4 * PART,
        },
    );
    t.refuse_part(2);
    t.upload([routines(2)]).unwrap_err();
    let requests = t.server.requests();
    assert_eq!(
        requests.last().unwrap().operation,
        Operation::AbortMultipartUpload
    );
    let slow = requests
        .iter()
        .find(|request| request.part_number == Some(1))
        .unwrap();
    assert_eq!(
        slow.status,
        Some(200),
        "it was in flight when part 2 failed"
    );
    t.assert_nothing_left(&["f"]);
}

/// The Go SDK v1 rejects exactly 10,000 parts.
#[test]
fn plan_accepts_exactly_ten_thousand_parts() {
    let t = Harness::new();
    let path = t.sparse_file(10_000 * PART).unwrap();
    t.deny(Operation::InitiateMultipartUpload);
    let mut parts = 0;
    let count = progress(|p| parts = p.parts_total);
    let error = t.bucket.upload_file("o", &path, PART, [count]).unwrap_err();
    assert_eq!(
        (error.service_code(), parts),
        (Some("AccessDenied"), 10_000),
        "{error}"
    );
}

/// In the JavaScript SDK all parts share one retry counter.
#[test]
fn retry_attempts_are_counted_per_part() {
    let server = LocalOss::start();
    let policy = RetryPolicy::default()
        .max_attempts(3)
        .base_delay(Duration::from_millis(2));
    let client = client(&server).retry(policy);
    let t = Harness::with_client(server, client);
    t.file("f", 6 * PART);
    let upload = || t.upload([routines(3), checkpoint(true, "")]);
    let busy = |part| {
        Rule::new(service_unavailable())
            .on(Operation::UploadPart)
            .part(part)
    };
    for part in 1..=6 {
        t.server.inject(busy(part).times(2));
    }
    upload().unwrap();
    assert_eq!(t.parts_sent().len(), 18, "three attempts for each");
    t.server.clear_faults();
    t.server.clear_requests();
    t.server.inject(busy(2).forever());
    let error = upload().unwrap_err();
    assert!(
        matches!(&error, Error::Service(service) if service.attempts == 3),
        "{error}"
    );
    assert_eq!(t.parts_sent().iter().filter(|part| **part == 2).count(), 3);
}

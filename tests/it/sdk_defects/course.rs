//! How an upload goes on and how it ends.

use std::cell::RefCell;
use std::fs::File;
use std::time::Duration;

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    Callback, Error, Progress, ProgressEvent, RetryPolicy, callback, checkpoint, progress, routines,
};

use crate::callback::App;
use crate::house::{House, PART, client};

fn refused(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

/// A file whose parts are all stored, and whose Complete was refused.
fn all_but_complete(size: u64) -> House {
    let house = House::new();
    let path = house.file("f", size);
    house
        .server
        .inject(Rule::new(refused(403, "AccessDenied")).on(Operation::CompleteMultipartUpload));
    house
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.clear_requests();
    house
}

/// C# skips the comparison once an upload was resumed.
#[test]
fn the_whole_object_is_compared_when_all_parts_were_resumed() {
    let house = all_but_complete(2 * PART + 7);
    let path = house.path("f");
    house
        .server
        .inject(Rule::new(Fault::WrongCrc).on(Operation::CompleteMultipartUpload));
    let error = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(
        matches!(error, Error::Response { .. }) && error.to_string().contains("CRC-64"),
        "{error}"
    );
    assert_eq!(house.parts_sent(), []);
    // The object is made and wrong: the next run begins anew.
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
}

/// Go compares with 0, once the object is complete, where the size is a multiple of the part size.
#[test]
fn nothing_left_to_send_is_no_mismatch() {
    for size in [3 * PART, 3 * PART + 7] {
        let house = all_but_complete(size);
        let path = house.path("f");
        let uploaded = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap();
        assert_eq!(
            uploaded.crc64,
            Some(house.server.object("examplebucket", "o").unwrap().crc64)
        );
        assert_eq!(house.server.requests().len(), 2, "ListParts and Complete");
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
    }
}

/// iOS leaves the part out, and makes an object of the others.
#[test]
fn a_part_that_is_refused_with_409_is_a_failure() {
    for code in ["PartAlreadyExist", "OperationAborted", ""] {
        let house = House::new();
        let path = house.file("f", 4 * PART);
        let upload = || {
            house
                .bucket
                .upload_file("o", &path, PART, [routines(2), checkpoint(true, "")])
        };
        house.server.inject(
            Rule::new(refused(409, code))
                .on(Operation::UploadPart)
                .part(2)
                .forever(),
        );
        let error = upload().unwrap_err();
        assert!(
            matches!(&error, Error::Service(service) if service.status == 409),
            "{error}"
        );
        assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 0);
        house.server.clear_faults();
        upload().unwrap();
        house.assert_stored("o", &path);
    }
}

/// Java, Go and Python tell the end before Complete is even sent.
#[test]
fn completed_is_told_when_the_object_is_there_and_not_before() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
    let events = RefCell::new(Vec::new());
    let upload = || {
        let look = |p: &Progress| {
            let there = house.server.object("examplebucket", "o").is_some();
            events.borrow_mut().push((p.event, there));
        };
        house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, ""), progress(look)])
    };
    house
        .server
        .inject(Rule::new(refused(403, "AccessDenied")).on(Operation::CompleteMultipartUpload));
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

/// Go compares the callback's answer the wrong way round.
#[test]
fn an_upload_with_a_callback_resumes() {
    let (house, app) = (House::new(), App::start(200, "{}"));
    let path = house.file("f", 3 * PART);
    let upload = || {
        let call = callback(Callback::new(app.url("/"), "object=${object}"));
        house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, ""), call])
    };
    house.refuse_part(3);
    upload().unwrap_err();
    let uploaded = upload().unwrap();
    assert_eq!(
        (uploaded.parts_resumed, uploaded.callback_body.as_deref()),
        (2, Some(&b"{}"[..]))
    );
    assert_eq!(house.parts_sent(), [1, 2, 3, 3]);
    house.assert_nothing_left(&["f"]);
}

/// In Go the abort overtakes parts in flight, and what arrives after it is billed for ever.
#[test]
fn an_upload_is_aborted_when_its_last_part_was_answered() {
    let house = House::new();
    let path = house.file("f", 4 * PART);
    house.server.inject(
        Rule::new(Fault::Slow {
            bytes_per_second: 4 * PART,
        })
        .on(Operation::UploadPart)
        .part(1),
    );
    house.refuse_part(2);
    house
        .bucket
        .upload_file("o", &path, PART, [routines(2)])
        .unwrap_err();
    let requests = house.server.requests();
    assert_eq!(
        requests.last().unwrap().operation,
        Operation::AbortMultipartUpload
    );
    let slow = requests
        .iter()
        .find(|logged| logged.part_number == Some(1))
        .unwrap();
    assert_eq!(
        slow.status,
        Some(200),
        "it was under way when part 2 was refused"
    );
    house.assert_nothing_left(&["f"]);
}

/// Go refuses exactly 10,000.
#[test]
fn ten_thousand_whole_parts_are_taken() {
    let house = House::new();
    let path = house.path("sparse");
    File::create(&path).unwrap().set_len(10_000 * PART).unwrap();
    house
        .server
        .inject(Rule::new(refused(403, "AccessDenied")).on(Operation::InitiateMultipartUpload));
    let mut parts = 0;
    let count = progress(|p| parts = p.parts_total);
    let error = house
        .bucket
        .upload_file("o", &path, PART, [count])
        .unwrap_err();
    assert_eq!(
        (error.service_code(), parts),
        (Some("AccessDenied"), 10_000),
        "{error}"
    );
}

/// In JavaScript one part's success gives another one more tries, and its failure takes them away.
#[test]
fn each_part_has_its_own_attempts() {
    let mut house = House::new();
    let policy = RetryPolicy::default()
        .max_attempts(3)
        .base_delay(Duration::from_millis(2));
    let client = client(&house.server).retry(policy).build().unwrap();
    house.bucket = client.bucket("examplebucket").unwrap();
    let path = house.file("f", 6 * PART);
    let upload = || {
        house
            .bucket
            .upload_file("o", &path, PART, [routines(3), checkpoint(true, "")])
    };
    let busy = |part| {
        Rule::new(refused(503, "ServiceUnavailable"))
            .on(Operation::UploadPart)
            .part(part)
    };
    for part in 1..=6 {
        house.server.inject(busy(part).times(2));
    }
    upload().unwrap();
    assert_eq!(house.parts_sent().len(), 18, "three attempts for each");
    house.server.clear_faults();
    house.server.clear_requests();
    house.server.inject(busy(2).forever());
    let error = upload().unwrap_err();
    assert!(
        matches!(&error, Error::Service(service) if service.attempts == 3),
        "{error}"
    );
    assert_eq!(
        house.parts_sent().iter().filter(|part| **part == 2).count(),
        3
    );
}

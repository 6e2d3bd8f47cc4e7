//! Unfinished uploads: what is listed, aborted, taken over and left alone.

use std::cell::RefCell;
use std::io;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, CheckpointStore, Error, ProgressEvent, RestartReason, UploadOption,
    Uploaded, adopt_unfinished, cancel, checkpoint, checkpoint_store, meta, multipart_threshold,
    progress, routines,
};

use crate::house::{House, PART, client};

/// Keys that only survive an answer whose keys are encoded.
const ODD_KEYS: [&str; 6] = [
    "a b+%/中",
    "a&b<c>\"'",
    "a//./../b",
    "a\u{1}\n\t\u{7f}b",
    "a%2Fb",
    "a😀",
];

/// A store that is forgotten at the end of the call.
#[derive(Default)]
struct Nowhere;

impl CheckpointStore for Nowhere {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(None)
    }
    fn save(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins an upload of the file `f`, and leaves it with its first parts.
fn leave(house: &House, key: &str, size: u64, parts: u32) -> String {
    let path = house.path("f");
    if !path.exists() {
        house.file("f", size);
    }
    house.refuse_part(parts + 1);
    let options = [checkpoint_store(Nowhere), multipart_threshold(0)];
    house
        .bucket
        .upload_file(key, path, PART, options)
        .unwrap_err();
    house.server.clear_requests();
    house.server.uploads().last().unwrap().upload_id.clone()
}

fn keys(bucket: &Bucket, prefix: &str) -> Vec<String> {
    bucket
        .multipart_uploads(prefix)
        .map(|upload| upload.unwrap().key)
        .collect()
}

#[test]
fn unfinished_uploads_are_listed_and_aborted_whatever_their_keys() {
    let house = House::new();
    assert_eq!(keys(&house.bucket, ""), Vec::<String>::new());
    let mut left: Vec<_> = ODD_KEYS
        .iter()
        .map(|key| (key.to_string(), leave(&house, key, 1, 0)))
        .collect();
    left.sort();
    let before = SystemTime::now() - Duration::from_secs(60);
    let listed = house
        .bucket
        .multipart_uploads("")
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert!(
        listed
            .iter()
            .all(|upload| upload.initiated > before && upload.initiated <= SystemTime::now())
    );
    let listed: Vec<_> = listed
        .into_iter()
        .map(|upload| (upload.key, upload.upload_id))
        .collect();
    assert_eq!(listed, left);
    for (key, upload_id) in &left {
        assert_eq!(keys(&house.bucket, key), [key.as_str()]);
        house.bucket.abort_multipart_upload(key, upload_id).unwrap();
        assert_eq!(keys(&house.bucket, key), Vec::<String>::new());
    }
    assert_eq!(house.server.uploads().len(), 0);
}

#[test]
fn more_than_a_thousand_uploads_come_in_pages() {
    let house = House::new();
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::UploadPart).forever());
    let path = house.file("f", 1);
    // The page ends within the uploads of one odd key.
    let all: Vec<_> = (0..990)
        .map(|n| format!("a{n:04}"))
        .chain((0..20).map(|_| "c +%\u{1}中".to_owned()))
        .collect();
    for key in &all {
        let options = [checkpoint_store(Nowhere), multipart_threshold(0)];
        house
            .bucket
            .upload_file(key, &path, PART, options)
            .unwrap_err();
    }
    house.server.clear_requests();
    let listed = house
        .bucket
        .multipart_uploads("")
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert!(listed.iter().map(|upload| &upload.key).eq(&all));
    let mut ids: Vec<_> = listed.into_iter().map(|upload| upload.upload_id).collect();
    ids.sort();
    let mut there: Vec<_> = house
        .server
        .uploads()
        .into_iter()
        .map(|upload| upload.upload_id)
        .collect();
    there.sort();
    assert!(ids == there, "each upload once");
    assert_eq!(house.requests(Operation::ListMultipartUploads).len(), 2);
    assert_eq!(keys(&house.bucket, "c +").len(), 20);
    assert_eq!(keys(&house.bucket, "c+"), Vec::<String>::new());
}

#[test]
fn an_upload_that_is_gone_already_is_aborted() {
    let house = House::new();
    let upload_id = leave(&house, "o", 1, 0);
    for _ in 0..2 {
        house
            .bucket
            .abort_multipart_upload("o", &upload_id)
            .unwrap();
    }
    house
        .bucket
        .abort_multipart_upload("o", "nobody's & +%")
        .unwrap();
    assert_eq!(house.server.uploads().len(), 0);
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::AbortMultipartUpload));
    let error = house
        .bucket
        .abort_multipart_upload("o", &upload_id)
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"));
    let requests = house.server.requests().len();
    for (key, upload_id) in [("", "id"), ("o", ""), ("/o", "id")] {
        let error = house
            .bucket
            .abort_multipart_upload(key, upload_id)
            .unwrap_err();
        assert!(matches!(error, Error::InvalidOption { .. }), "{error:?}");
    }
    assert_eq!(house.server.requests().len(), requests);
}

/// What the call that follows an interrupted one did.
struct Second {
    old: String,
    event: ProgressEvent,
    uploaded: Uploaded,
}

/// Interrupts an upload of `f` to `o`, then makes `change` and runs `second`.
fn after_an_interruption(
    house: &House,
    change: impl FnOnce(),
    (key, part_size): (&str, u64),
    options: Vec<UploadOption<'static>>,
) -> Second {
    let path = house.file("f", 3 * PART);
    house.refuse_part(3);
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    let old = house.server.uploads()[0].upload_id.clone();
    house.server.clear_requests();
    change();
    let events = RefCell::new(Vec::new());
    let more = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    let options = options.into_iter().chain(more);
    let uploaded = house
        .bucket
        .upload_file(key, &path, part_size, options)
        .unwrap();
    house.assert_stored(key, &path);
    let event = events.borrow()[0];
    Second {
        old,
        event,
        uploaded,
    }
}

#[test]
fn a_superseded_upload_is_aborted_before_the_new_one_begins() {
    type Change = (RestartReason, &'static str, u64, fn(&House));
    let touch = |house: &House| {
        let file = std::fs::File::options()
            .write(true)
            .open(house.path("f"))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(5))
            .unwrap();
    };
    let grow =
        |house: &House| std::fs::write(house.path("f"), vec![7; 3 * PART as usize + 1]).unwrap();
    let shrink = |house: &House| std::fs::write(house.path("f"), b"one part").unwrap();
    let changes: [Change; 5] = [
        (RestartReason::SourceChanged, "o", PART, touch),
        (RestartReason::SourceChanged, "o", PART, grow),
        (RestartReason::SourceChanged, "o", PART, shrink),
        (RestartReason::PartSizeChanged, "o", PART + 1, |_| ()),
        (RestartReason::TargetChanged, "other", PART, |_| ()),
    ];
    for (reason, key, part_size, change) in changes {
        let house = House::new();
        let second = after_an_interruption(&house, || change(&house), (key, part_size), vec![]);
        house.assert_nothing_left(&["f"]);
        assert_eq!(second.uploaded.parts_resumed, 0);
        let requests = house.server.requests();
        assert_eq!(
            requests[0].operation,
            Operation::AbortMultipartUpload,
            "{reason}"
        );
        assert_eq!(
            (requests[0].key.as_str(), requests[0].upload_id.as_ref()),
            ("o", Some(&second.old))
        );
        if second.uploaded.upload_id.is_some() {
            assert_eq!(second.event, ProgressEvent::Restarted(reason));
        }
    }
}

#[test]
fn an_upload_that_can_not_be_aborted_holds_nobody_up() {
    let house = House::new();
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::AbortMultipartUpload));
    let second = after_an_interruption(&house, || (), ("o", PART), vec![meta("a", "b")]);
    assert_eq!(
        second.event,
        ProgressEvent::Restarted(RestartReason::OptionsChanged)
    );
    assert_eq!(house.server.uploads()[0].upload_id, second.old);
    house.assert_files(&["f"]);
}

#[test]
fn a_record_of_another_endpoint_sends_no_request_there_and_aborts_nothing() {
    let (house, elsewhere) = (House::new(), LocalOss::start());
    let path = house.file("f", 3 * PART);
    house.refuse_part(2);
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.clear_requests();
    let events = RefCell::new(Vec::new());
    let bucket = client(&elsewhere)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let options = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    bucket.upload_file("o", &path, PART, options).unwrap();
    assert_eq!(
        events.borrow()[0],
        ProgressEvent::Restarted(RestartReason::TargetChanged)
    );
    assert_eq!(house.server.requests().len(), 0);
    assert_eq!(house.server.uploads().len(), 1);
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|logged| logged.operation != Operation::AbortMultipartUpload)
    );
    assert!(elsewhere.object("examplebucket", "o").is_some());
    house.assert_files(&["f"]);
}

/// Between fork and exec, a child has a copy of every open file.
#[cfg(unix)]
#[test]
fn a_process_that_is_started_meanwhile_keeps_no_record_locked() {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    let house = House::new();
    let path = house.file("f", 2 * PART);
    let done = AtomicBool::new(false);
    let start_processes = || {
        while !done.load(Ordering::Relaxed) {
            Command::new("true").status().unwrap();
        }
    };
    let call = |_| {
        house.refuse_part(1);
        house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap_err()
    };
    let errors = std::thread::scope(|scope| {
        scope.spawn(start_processes);
        scope.spawn(start_processes);
        let errors: Vec<_> = (0..100).map(call).collect();
        done.store(true, Ordering::Relaxed);
        errors
    });
    for error in errors {
        assert_eq!(error.service_code(), Some("AccessDenied"), "{error:?}");
    }
}

#[test]
fn without_a_record_a_failed_upload_is_aborted() {
    let refused = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    for operation in [Operation::UploadPart, Operation::CompleteMultipartUpload] {
        let house = House::new();
        house
            .server
            .inject(Rule::new(refused.clone()).on(operation));
        let path = house.file("f", 6 * PART);
        let error = house
            .bucket
            .upload_file("o", &path, PART, [routines(3)])
            .unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"));
        house.assert_nothing_left(&["f"]);
        let requests = house.server.requests();
        assert_eq!(
            requests.last().unwrap().operation,
            Operation::AbortMultipartUpload
        );
        assert!(house.server.object("examplebucket", "o").is_none());
    }
}

fn adopt(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'static>>,
) -> oss_upload::Result<Uploaded> {
    let options = options.into_iter().chain([adopt_unfinished(true)]);
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

#[test]
fn a_fresh_machine_carries_on_what_another_one_left() {
    for server in [
        LocalOss::start(),
        LocalOss::builder().part_crc_in_list(false).start().unwrap(),
    ] {
        let house = House::with(server);
        let path = house.file("f", 4 * PART + 7);
        house.refuse_part(3);
        adopt(&house, []).unwrap_err();
        let left = house.server.uploads()[0].upload_id.clone();
        house.server.clear_requests();
        let events = RefCell::new(Vec::new());
        let options = [
            adopt_unfinished(true),
            progress(|progress| events.borrow_mut().push(progress.clone())),
        ];
        let uploaded = house.bucket.upload_file("o", &path, PART, options).unwrap();
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
        assert_eq!(
            (uploaded.parts_resumed, uploaded.upload_id),
            (2, Some(left))
        );
        assert_eq!(house.parts_sent(), [3, 4, 5]);
        assert_eq!(events.borrow()[0].event, ProgressEvent::Resumed);
        assert_eq!(
            (
                events.borrow()[0].parts_done,
                events.borrow()[0].transferred
            ),
            (2, 2 * PART)
        );
    }
}

#[test]
fn only_the_newest_upload_of_exactly_this_key_is_adopted() {
    let house = House::new();
    let mut left = Vec::new();
    for (age, key, parts) in [
        (300, "o", 3),
        (100, "o", 2),
        (200, "o", 1),
        (0, "o2", 3),
        (0, "o/", 3),
    ] {
        house.server.set_clock_skew(-age);
        left.push(leave(&house, key, 4 * PART, parts));
    }
    house.server.set_clock_skew(0);
    let uploaded = adopt(&house, []).unwrap();
    house.assert_stored("o", &house.path("f"));
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id.as_ref()),
        (2, Some(&left[1]))
    );
    assert_eq!(house.parts_sent(), [3, 4]);
    let mut untouched: Vec<_> = house
        .server
        .uploads()
        .into_iter()
        .map(|upload| upload.upload_id)
        .collect();
    untouched.sort();
    left.remove(1);
    left.sort();
    assert_eq!(untouched, left);
    assert_eq!(house.requests(Operation::AbortMultipartUpload).len(), 0);
}

#[test]
fn a_part_with_other_content_is_not_taken_over() {
    for server in [
        LocalOss::start(),
        LocalOss::builder().part_crc_in_list(false).start().unwrap(),
    ] {
        let house = House::with(server);
        let left = leave(&house, "o", 4 * PART, 3);
        house.server.corrupt_part(&left, 2);
        let uploaded = adopt(&house, []).unwrap();
        house.assert_stored("o", &house.path("f"));
        assert_eq!(
            (uploaded.parts_resumed, uploaded.upload_id),
            (2, Some(left))
        );
        assert_eq!(house.parts_sent(), [2, 4]);
    }
}

#[test]
fn parts_of_another_size_are_not_taken_over() {
    let house = House::new();
    leave(&house, "o", 6 * PART, 3);
    let options = [adopt_unfinished(true)];
    let uploaded = house
        .bucket
        .upload_file("o", house.path("f"), 2 * PART, options)
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn with_nothing_to_adopt_an_upload_begins() {
    let house = House::new();
    house.file("f", 2 * PART);
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::ListMultipartUploads).nth(2));
    for _ in ["an empty list", "no right to ask"] {
        assert_eq!(adopt(&house, []).unwrap().parts_resumed, 0);
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
    }
    assert_eq!(house.requests(Operation::ListMultipartUploads).len(), 2);
}

#[test]
fn a_record_comes_before_what_the_server_has() {
    let house = House::new();
    house.file("f", 4 * PART);
    house.refuse_part(2);
    adopt(&house, [checkpoint(true, "")]).unwrap_err();
    let recorded = house.server.uploads()[0].upload_id.clone();
    let newer = leave(&house, "o", 4 * PART, 3);
    let uploaded = adopt(&house, [checkpoint(true, "")]).unwrap();
    house.assert_stored("o", &house.path("f"));
    house.assert_files(&["f"]);
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id),
        (1, Some(recorded))
    );
    assert_eq!(house.requests(Operation::ListMultipartUploads).len(), 0);
    assert_eq!(house.server.uploads()[0].upload_id, newer);
}

#[test]
fn what_is_adopted_is_recorded() {
    let house = House::new();
    let left = leave(&house, "o", 4 * PART, 1);
    house.refuse_part(3);
    adopt(&house, [checkpoint(true, "")]).unwrap_err();
    house.assert_files(&["f", "f.cp"]);
    let recorded = [checkpoint(true, "")];
    let uploaded = house
        .bucket
        .upload_file("o", house.path("f"), PART, recorded)
        .unwrap();
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id),
        (2, Some(left))
    );
    assert_eq!(house.parts_sent(), [2, 3, 3, 4]);
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn what_vanishes_before_it_is_adopted_is_not_missed() {
    let house = House::new();
    let left = leave(&house, "o", 4 * PART, 2);
    house
        .server
        .inject(Rule::new(Fault::ExpireUpload).on(Operation::ListParts));
    let uploaded = adopt(&house, []).unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    assert_ne!(uploaded.upload_id, Some(left));
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn a_failure_leaves_the_upload_for_the_next_machine() {
    let house = House::new();
    house.file("f", 4 * PART);
    for resumed in [1, 2] {
        house.refuse_part(resumed + 1);
        let error = adopt(&house, []).unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"));
        assert_eq!(house.server.uploads().len(), 1);
        assert_eq!(house.server.uploads()[0].parts.len(), resumed as usize);
    }
    assert_eq!(adopt(&house, []).unwrap().parts_resumed, 2);
    house.assert_nothing_left(&["f"]);
}

#[test]
fn cancelling_aborts_what_this_call_began_and_nothing_else() {
    let cancelled = |house: &House, record: UploadOption<'_>| {
        let token = CancelToken::new();
        let stop = |progress: &oss_upload::Progress| {
            if progress.event == ProgressEvent::Transferred {
                token.cancel();
            }
        };
        let options = [
            record,
            cancel(&token),
            adopt_unfinished(true),
            progress(stop),
        ];
        let error = house
            .bucket
            .upload_file("o", house.path("f"), PART, options)
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Cancelled {
                    object_may_exist: false,
                    ..
                }
            ),
            "{error:?}"
        );
    };
    for recorded in [false, true] {
        let house = House::new();
        house.file("f", 20 * PART);
        cancelled(&house, checkpoint(recorded, ""));
        house.assert_nothing_left(&["f"]);
        // Adopted, without and with a record of it.
        let left = leave(&house, "o", 20 * PART, 2);
        if recorded {
            house.refuse_part(3);
            adopt(&house, [checkpoint(true, "")]).unwrap_err();
        }
        cancelled(&house, checkpoint(recorded, ""));
        assert_eq!(house.server.uploads()[0].upload_id, left);
        assert!(
            adopt(&house, [checkpoint(recorded, "")])
                .unwrap()
                .parts_resumed
                >= 2
        );
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
    }
}

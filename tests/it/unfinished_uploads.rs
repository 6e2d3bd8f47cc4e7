//! Unfinished uploads: which are listed, aborted, adopted and not touched.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CancelToken, Error, ProgressEvent, RestartReason, UploadOption, Uploaded, adopt_unfinished,
    cancel, checkpoint, checkpoint_store, meta, multipart_threshold, progress, routines,
};

use crate::harness::{Harness, NullStore, PART, access_denied, bucket, client};

/// Keys that are correct only in a response with encoded keys.
const ODD_KEYS: [&str; 6] = [
    "a b+%/中",
    "a&b<c>\"'",
    "a//./../b",
    "a\u{1}\n\t\u{7f}b",
    "a%2Fb",
    "a😀",
];

/// Initiates an upload of the file `f`, and leaves it unfinished with this many parts. Returns its
/// id.
fn leave_unfinished(t: &Harness, key: &str, size: u64, parts: u32) -> String {
    let path = t.path("f");
    if !path.exists() {
        t.file("f", size);
    }
    t.refuse_part(parts + 1);
    let options = [checkpoint_store(NullStore), multipart_threshold(0)];
    t.bucket.upload_file(key, path, PART, options).unwrap_err();
    t.server.clear_requests();
    t.server.uploads().last().unwrap().upload_id.clone()
}

/// The keys of the unfinished uploads with this prefix.
fn keys(t: &Harness, prefix: &str) -> Vec<String> {
    t.unfinished_uploads(prefix)
        .into_iter()
        .map(|upload| upload.key)
        .collect()
}

#[test]
fn unfinished_uploads_are_listed_and_aborted_whatever_their_keys() {
    let t = Harness::new();
    assert_eq!(keys(&t, ""), Vec::<String>::new());
    let mut left: Vec<_> = ODD_KEYS
        .iter()
        .map(|key| (key.to_string(), leave_unfinished(&t, key, 1, 0)))
        .collect();
    left.sort();
    let before = SystemTime::now() - Duration::from_secs(60);
    let listed = t.unfinished_uploads("");
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
        assert_eq!(keys(&t, key), [key.as_str()]);
        t.bucket.abort_multipart_upload(key, upload_id).unwrap();
        assert_eq!(keys(&t, key), Vec::<String>::new());
    }
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
#[ignore = "slow: a thousand uploads"]
fn unfinished_uploads_are_listed_in_pages() {
    let t = Harness::new();
    t.deny_always(Operation::UploadPart);
    let path = t.file("f", 1);
    // The page ends within the uploads of one odd key.
    let all: Vec<_> = (0..990)
        .map(|n| format!("a{n:04}"))
        .chain((0..20).map(|_| "c +%\u{1}中".to_owned()))
        .collect();
    for key in &all {
        let options = [checkpoint_store(NullStore), multipart_threshold(0)];
        t.bucket.upload_file(key, &path, PART, options).unwrap_err();
    }
    t.server.clear_requests();
    let listed = t.unfinished_uploads("");
    assert!(listed.iter().map(|upload| &upload.key).eq(&all));
    let mut ids: Vec<_> = listed.into_iter().map(|upload| upload.upload_id).collect();
    ids.sort();
    let mut there: Vec<_> = t
        .server
        .uploads()
        .into_iter()
        .map(|upload| upload.upload_id)
        .collect();
    there.sort();
    assert!(ids == there, "each upload once");
    assert_eq!(t.requests(Operation::ListMultipartUploads).len(), 2);
    assert_eq!(keys(&t, "c +").len(), 20);
    assert_eq!(keys(&t, "c+"), Vec::<String>::new());
}

#[test]
fn abort_of_a_missing_upload_succeeds() {
    let t = Harness::new();
    let upload_id = leave_unfinished(&t, "o", 1, 0);
    for _ in 0..2 {
        t.bucket.abort_multipart_upload("o", &upload_id).unwrap();
    }
    t.bucket
        .abort_multipart_upload("o", "unknown & +%")
        .unwrap();
    assert_eq!(t.server.uploads().len(), 0);
    t.deny(Operation::AbortMultipartUpload);
    let error = t
        .bucket
        .abort_multipart_upload("o", &upload_id)
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"));
    let requests = t.server.requests().len();
    for (key, upload_id) in [("", "id"), ("o", ""), ("/o", "id")] {
        let error = t.bucket.abort_multipart_upload(key, upload_id).unwrap_err();
        assert!(matches!(error, Error::InvalidOption { .. }), "{error:?}");
    }
    assert_eq!(t.server.requests().len(), requests);
}

/// What the call did that followed an interrupted one.
struct Second {
    old: String,
    event: ProgressEvent,
    uploaded: Uploaded,
}

/// Interrupts an upload of `f` to `o`, calls `change`, and uploads again with these arguments.
fn after_an_interruption(
    t: &Harness,
    change: impl FnOnce(),
    (key, part_size): (&str, u64),
    options: Vec<UploadOption<'static>>,
) -> Second {
    let path = t.file("f", 3 * PART);
    t.refuse_part(3);
    t.upload([checkpoint(true, "")]).unwrap_err();
    let old = t.server.uploads()[0].upload_id.clone();
    t.server.clear_requests();
    change();
    let events = RefCell::new(Vec::new());
    let more = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    let options = options.into_iter().chain(more);
    let uploaded = t
        .bucket
        .upload_file(key, &path, part_size, options)
        .unwrap();
    t.assert_stored(key, &path);
    let event = events.borrow()[0];
    Second {
        old,
        event,
        uploaded,
    }
}

#[test]
fn restart_aborts_superseded_upload_first() {
    type Change = (RestartReason, &'static str, u64, fn(&Harness));
    let touch = |t: &Harness| {
        let file = std::fs::File::options()
            .write(true)
            .open(t.path("f"))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(5))
            .unwrap();
    };
    let grow = |t: &Harness| std::fs::write(t.path("f"), vec![7; 3 * PART as usize + 1]).unwrap();
    let shrink = |t: &Harness| std::fs::write(t.path("f"), b"one part").unwrap();
    let changes: [Change; 5] = [
        (RestartReason::SourceChanged, "o", PART, touch),
        (RestartReason::SourceChanged, "o", PART, grow),
        (RestartReason::SourceChanged, "o", PART, shrink),
        (RestartReason::PartSizeChanged, "o", PART + 1, |_| ()),
        (RestartReason::TargetChanged, "other", PART, |_| ()),
    ];
    for (reason, key, part_size, change) in changes {
        let t = Harness::new();
        let second = after_an_interruption(&t, || change(&t), (key, part_size), vec![]);
        t.assert_nothing_left(&["f"]);
        assert_eq!(second.uploaded.parts_resumed, 0);
        let requests = t.server.requests();
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
fn restart_continues_if_abort_is_denied() {
    let t = Harness::new();
    t.deny(Operation::AbortMultipartUpload);
    let second = after_an_interruption(&t, || (), ("o", PART), vec![meta("a", "b")]);
    assert_eq!(
        second.event,
        ProgressEvent::Restarted(RestartReason::OptionsChanged)
    );
    assert_eq!(t.server.uploads()[0].upload_id, second.old);
    t.assert_files(&["f"]);
}

#[test]
fn checkpoint_of_another_endpoint_sends_no_request_there() {
    let (t, elsewhere) = (Harness::new(), LocalOss::start());
    let path = t.file("f", 3 * PART);
    t.refuse_part(2);
    t.upload([checkpoint(true, "")]).unwrap_err();
    t.server.clear_requests();
    let events = RefCell::new(Vec::new());
    let bucket = bucket(client(&elsewhere));
    let options = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    bucket.upload_file("o", &path, PART, options).unwrap();
    assert_eq!(
        events.borrow()[0],
        ProgressEvent::Restarted(RestartReason::TargetChanged)
    );
    assert_eq!(t.server.requests().len(), 0);
    assert_eq!(t.server.uploads().len(), 1);
    assert!(
        elsewhere
            .requests()
            .iter()
            .all(|request| request.operation != Operation::AbortMultipartUpload)
    );
    assert!(elsewhere.object("examplebucket", "o").is_some());
    t.assert_files(&["f"]);
}

/// Between fork and exec, a child process has a copy of every open file.
#[cfg(unix)]
#[test]
#[ignore = "slow: starts processes all the time"]
fn checkpoint_lock_is_not_inherited_by_child_processes() {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    let t = Harness::new();
    t.file("f", 2 * PART);
    let done = AtomicBool::new(false);
    let start_processes = || {
        while !done.load(Ordering::Relaxed) {
            Command::new("true").status().unwrap();
        }
    };
    let call = |_| {
        t.refuse_part(1);
        t.upload([checkpoint(true, "")]).unwrap_err()
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
fn failure_without_checkpoint_aborts_upload() {
    for operation in [Operation::UploadPart, Operation::CompleteMultipartUpload] {
        let t = Harness::new();
        t.deny(operation);
        t.file("f", 6 * PART);
        let error = t.upload([routines(3)]).unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"));
        t.assert_nothing_left(&["f"]);
        let requests = t.server.requests();
        assert_eq!(
            requests.last().unwrap().operation,
            Operation::AbortMultipartUpload
        );
        assert!(t.server.object("examplebucket", "o").is_none());
    }
}

fn adopt(
    t: &Harness,
    options: impl IntoIterator<Item = UploadOption<'static>>,
) -> oss_upload::Result<Uploaded> {
    let options = options.into_iter().chain([adopt_unfinished(true)]);
    t.bucket.upload_file("o", t.path("f"), PART, options)
}

#[test]
fn adopt_resumes_upload_of_another_machine() {
    for server in [
        LocalOss::start(),
        LocalOss::builder().part_crc_in_list(false).start().unwrap(),
    ] {
        let t = Harness::with_server(server);
        let path = t.file("f", 4 * PART + 7);
        t.refuse_part(3);
        adopt(&t, []).unwrap_err();
        let left = t.server.uploads()[0].upload_id.clone();
        t.server.clear_requests();
        let events = RefCell::new(Vec::new());
        let options = [
            adopt_unfinished(true),
            progress(|progress| events.borrow_mut().push(progress.clone())),
        ];
        let uploaded = t.upload(options).unwrap();
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
        assert_eq!(
            (uploaded.parts_resumed, uploaded.upload_id),
            (2, Some(left))
        );
        assert_eq!(t.parts_sent(), [3, 4, 5]);
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
fn adopt_takes_newest_upload_of_exactly_this_key() {
    let t = Harness::new();
    let mut left = Vec::new();
    for (age, key, parts) in [
        (300, "o", 3),
        (100, "o", 2),
        (200, "o", 1),
        (0, "o2", 3),
        (0, "o/", 3),
    ] {
        t.server.set_clock_skew(-age);
        left.push(leave_unfinished(&t, key, 4 * PART, parts));
    }
    t.server.set_clock_skew(0);
    let uploaded = adopt(&t, []).unwrap();
    t.assert_stored("o", &t.path("f"));
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id.as_ref()),
        (2, Some(&left[1]))
    );
    assert_eq!(t.parts_sent(), [3, 4]);
    let mut untouched: Vec<_> = t
        .server
        .uploads()
        .into_iter()
        .map(|upload| upload.upload_id)
        .collect();
    untouched.sort();
    left.remove(1);
    left.sort();
    assert_eq!(untouched, left);
    assert_eq!(t.requests(Operation::AbortMultipartUpload).len(), 0);
}

#[test]
fn adopt_rejects_parts_with_other_content() {
    for server in [
        LocalOss::start(),
        LocalOss::builder().part_crc_in_list(false).start().unwrap(),
    ] {
        let t = Harness::with_server(server);
        let left = leave_unfinished(&t, "o", 4 * PART, 3);
        t.server.corrupt_part(&left, 2);
        let uploaded = adopt(&t, []).unwrap();
        t.assert_stored("o", &t.path("f"));
        assert_eq!(
            (uploaded.parts_resumed, uploaded.upload_id),
            (2, Some(left))
        );
        assert_eq!(t.parts_sent(), [2, 4]);
    }
}

#[test]
fn adopt_rejects_parts_of_another_size() {
    let t = Harness::new();
    leave_unfinished(&t, "o", 6 * PART, 3);
    let options = [adopt_unfinished(true)];
    let uploaded = t
        .bucket
        .upload_file("o", t.path("f"), 2 * PART, options)
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn adopt_initiates_if_nothing_is_found() {
    let t = Harness::new();
    t.file("f", 2 * PART);
    t.server.inject(
        Rule::new(access_denied())
            .on(Operation::ListMultipartUploads)
            .nth(2),
    );
    for _ in ["an empty list", "no right to ask"] {
        assert_eq!(adopt(&t, []).unwrap().parts_resumed, 0);
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    }
    assert_eq!(t.requests(Operation::ListMultipartUploads).len(), 2);
}

#[test]
fn adopt_prefers_the_checkpoint() {
    let t = Harness::new();
    t.file("f", 4 * PART);
    t.refuse_part(2);
    adopt(&t, [checkpoint(true, "")]).unwrap_err();
    let recorded = t.server.uploads()[0].upload_id.clone();
    let newer = leave_unfinished(&t, "o", 4 * PART, 3);
    let uploaded = adopt(&t, [checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_files(&["f"]);
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id),
        (1, Some(recorded))
    );
    assert_eq!(t.requests(Operation::ListMultipartUploads).len(), 0);
    assert_eq!(t.server.uploads()[0].upload_id, newer);
}

#[test]
fn adopt_saves_a_checkpoint() {
    let t = Harness::new();
    let left = leave_unfinished(&t, "o", 4 * PART, 1);
    t.refuse_part(3);
    adopt(&t, [checkpoint(true, "")]).unwrap_err();
    t.assert_files(&["f", "f.cp"]);
    let recorded = [checkpoint(true, "")];
    let uploaded = t
        .bucket
        .upload_file("o", t.path("f"), PART, recorded)
        .unwrap();
    assert_eq!(
        (uploaded.parts_resumed, uploaded.upload_id),
        (2, Some(left))
    );
    assert_eq!(t.parts_sent(), [2, 3, 3, 4]);
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn adopt_initiates_if_the_upload_vanishes() {
    let t = Harness::new();
    let left = leave_unfinished(&t, "o", 4 * PART, 2);
    t.inject(Operation::ListParts, Fault::ExpireUpload);
    let uploaded = adopt(&t, []).unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    assert_ne!(uploaded.upload_id, Some(left));
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn adopt_failure_keeps_the_upload() {
    let t = Harness::new();
    t.file("f", 4 * PART);
    for resumed in [1, 2] {
        t.refuse_part(resumed + 1);
        let error = adopt(&t, []).unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"));
        assert_eq!(t.server.uploads().len(), 1);
        assert_eq!(t.server.uploads()[0].parts.len(), resumed as usize);
    }
    assert_eq!(adopt(&t, []).unwrap().parts_resumed, 2);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn cancel_aborts_only_what_this_call_initiated() {
    let cancelled = |t: &Harness, with_checkpoint: UploadOption<'_>| {
        let token = CancelToken::new();
        let stop = |progress: &oss_upload::Progress| {
            if progress.event == ProgressEvent::Transferred {
                token.cancel();
            }
        };
        let options = [
            with_checkpoint,
            cancel(&token),
            adopt_unfinished(true),
            progress(stop),
        ];
        let error = t
            .bucket
            .upload_file("o", t.path("f"), PART, options)
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
        let t = Harness::new();
        t.file("f", 20 * PART);
        cancelled(&t, checkpoint(recorded, ""));
        t.assert_nothing_left(&["f"]);
        // An adopted upload, without and with a checkpoint.
        let left = leave_unfinished(&t, "o", 20 * PART, 2);
        if recorded {
            t.refuse_part(3);
            adopt(&t, [checkpoint(true, "")]).unwrap_err();
        }
        cancelled(&t, checkpoint(recorded, ""));
        assert_eq!(t.server.uploads()[0].upload_id, left);
        assert!(adopt(&t, [checkpoint(recorded, "")]).unwrap().parts_resumed >= 2);
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    }
}

//! The resumable uploads of the official SDKs, each as `docs::coming_from` translates it, with the
//! differences named there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    Callback, CancelToken, Error, ObjectAcl, ProgressEvent, RestartReason, UploadOption, Uploaded,
    adopt_unfinished, callback, cancel, checkpoint, checkpoint_dir, checkpoint_store, content_md5,
    content_type, delete_upload_on_cancelling, expires, forbid_overwrite, meta,
    multipart_threshold, object_acl, progress, request_payer, routines, sequential, tag,
    traffic_limit,
};

use crate::harness::{CallbackServer, Harness, MemoryStore, PART, access_denied};

const MIB: u64 = 1024 * 1024;
const KEY: &str = "exampledir/exampleobject.txt";

/// The first call fails at a part. The second call completes the upload and sends no stored part
/// again.
#[track_caller]
fn fails_then_resumes(
    t: &Harness,
    part: u32,
    call: impl Fn() -> oss_upload::Result<Uploaded>,
) -> Uploaded {
    t.refuse_part(part);
    assert_eq!(call().unwrap_err().service_code(), Some("AccessDenied"));
    let uploaded = call().unwrap();
    assert!(uploaded.parts_resumed > 0);
    assert_nothing_sent_twice(t);
    uploaded
}

#[track_caller]
fn assert_nothing_sent_twice(t: &Harness) {
    let mut stored = BTreeMap::new();
    for part in t
        .requests(Operation::UploadPart)
        .iter()
        .filter(|part| part.status == Some(200))
    {
        *stored
            .entry((part.upload_id.clone(), part.part_number))
            .or_insert(0) += 1;
    }
    assert!(stored.values().all(|times| *times == 1), "{stored:?}");
}

#[track_caller]
fn assert_rejected(t: &Harness, part_size: u64, option: UploadOption<'_>) {
    let path = t.file("rejected", 1);
    let result = t.bucket.upload_file(KEY, &path, part_size, [option]);
    assert!(
        matches!(result, Err(Error::InvalidOption { .. })),
        "{result:?}"
    );
    assert_eq!(t.server.requests().len(), 0);
    fs::remove_file(path).unwrap();
}

/// `uploadFile`: five tasks, parts of 1 MiB, a checkpoint file of one's own, a content type.
#[test]
fn java_upload_file_resumes() {
    let t = Harness::new();
    assert_rejected(&t, MIB, routines(0));
    assert_rejected(&t, MIB, routines(1000));
    assert_rejected(&t, PART - 1, routines(5));

    let (path, checkpoint_path) = (
        t.file("examplefile.txt", 5 * MIB + 7),
        t.path("yourCheckpointFile"),
    );
    let call = || {
        let options = [
            routines(5),
            checkpoint(true, &checkpoint_path),
            content_type("text/plain"),
        ];
        t.bucket
            .upload_file("exampleobject.txt", &path, MIB, options)
    };
    let uploaded = fails_then_resumes(&t, 6, call);
    t.assert_stored("exampleobject.txt", &path);
    t.assert_nothing_left(&["examplefile.txt"]);
    assert_eq!((uploaded.parts, uploaded.size), (6, 5 * MIB + 7));
    let object = t
        .server
        .object("examplebucket", "exampleobject.txt")
        .unwrap();
    assert!(
        object
            .headers
            .contains(&("content-type".into(), "text/plain".into()))
    );
}

/// The Java, Python and JavaScript SDKs, among others, make parts larger when 10,000 do not
/// suffice.
#[test]
fn part_size_is_not_grown() {
    let t = Harness::new();
    let path = t.sparse_file(10_000 * PART + 1).unwrap();
    let error = t.bucket.upload_file(KEY, &path, PART, []).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("smallest part size that fits is 102401"),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
}

/// `UploadFile(key, path, 100*1024, oss.Routines(3), oss.Checkpoint(true, ""))`: the checkpoint
/// file is `<file>.cp`.
#[test]
fn go_upload_file_resumes() {
    let t = Harness::new();
    let path = t.file("examplefile.txt", 8 * PART + 7);
    let call = || {
        t.bucket
            .upload_file(KEY, &path, 100 * 1024, [routines(3), checkpoint(true, "")])
    };
    t.refuse_part(5);
    call().unwrap_err();
    t.assert_files(&["examplefile.txt", "examplefile.txt.cp"]);
    assert!(call().unwrap().parts_resumed > 0);
    assert_nothing_sent_twice(&t);
    t.assert_stored(KEY, &path);
    t.assert_nothing_left(&["examplefile.txt"]);
}

/// The checkpoint files of other programs, here of the Go SDK, are not modified. The upload itself
/// can be adopted.
#[test]
fn checkpoint_files_of_sdks_are_not_modified() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    t.refuse_part(3);
    t.bucket
        .upload_file(KEY, &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    let theirs =
        r#"{"Magic":"FE8BB4EA-B593-4FAC-AD7A-2459A36E2E62","MD5":"MQlyEzN+LcH+uMV84kQAYQ=="}"#;
    fs::write(t.path("f.cp"), theirs).unwrap();
    t.server.clear_requests();
    let error = t
        .bucket
        .upload_file(KEY, &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
    assert_eq!(t.server.requests().len(), 0);
    let uploaded = t
        .bucket
        .upload_file(KEY, &path, PART, [adopt_unfinished(true)])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 2);
    t.assert_stored(KEY, &path);
    assert_eq!(fs::read_to_string(t.path("f.cp")).unwrap(), theirs);
    t.assert_nothing_left(&["f", "f.cp"]);
}

#[test]
fn checkpoint_for_two_keys_at_once_needs_two_paths() {
    let t = Harness::new();
    let (path, dir) = (t.file("f", 3 * PART), t.path("checkpoints"));
    for in_dir in [false, true] {
        let location = || {
            if in_dir {
                checkpoint_dir(true, &dir)
            } else {
                checkpoint(true, "")
            }
        };
        let mut second = None;
        let both = progress(|p| {
            if p.parts_done == 1 {
                second = Some(t.bucket.upload_file("second", &path, PART, [location()]));
            }
        });
        t.bucket
            .upload_file("first", &path, PART, [location(), both])
            .unwrap();
        match second.unwrap() {
            Err(Error::CheckpointInUse { .. }) => assert!(!in_dir),
            result => assert!(in_dir && result.is_ok(), "{result:?}"),
        }
    }
    t.assert_stored("first", &path);
    t.assert_stored("second", &path);
    t.assert_nothing_left(&["checkpoints", "f"]);
}

/// The checkpoint includes the headers, so an upload with a time computed from now never resumes.
#[test]
fn expires_computed_from_now_restarts() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    let seen = RefCell::new(Vec::new());
    let call = |days: u64| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days);
        let options = [
            checkpoint(true, ""),
            expires(at),
            progress(|p| seen.borrow_mut().push(p.event)),
        ];
        t.bucket.upload_file(KEY, &path, PART, options)
    };
    t.refuse_part(3);
    call(0).unwrap_err();
    seen.borrow_mut().clear();
    assert_eq!(call(1).unwrap().parts_resumed, 0);
    assert_eq!(
        seen.borrow()[0],
        ProgressEvent::Restarted(RestartReason::OptionsChanged)
    );
    t.assert_nothing_left(&["f"]);
}

/// `Uploader.UploadFile` of the second generation: three workers, a directory, and what a failure
/// leaves without one.
#[test]
fn go_v2_upload_file_resumes() {
    let t = Harness::new();
    let (path, dir) = (t.file("examplefile.txt", 9 * MIB), t.path("checkpoints"));
    let call = || {
        t.bucket.upload_file(
            KEY,
            &path,
            6 * MIB,
            [routines(3), checkpoint_dir(true, &dir)],
        )
    };
    fails_then_resumes(&t, 2, call);
    t.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    // LeavePartsOnError is off, and there is no checkpoint.
    t.refuse_part(2);
    t.bucket
        .upload_file(KEY, &path, 6 * MIB, [routines(3)])
        .unwrap_err();
    t.assert_nothing_left(&["checkpoints", "examplefile.txt"]);
}

/// `resumable_upload` with `ResumableStore`, a threshold, four threads and a `percentage`.
#[test]
fn python_resumable_upload_resumes() {
    let t = Harness::new();
    let (path, root) = (t.file("yourLocalFile", 9 * PART + 7), t.path("tmp"));
    let percents = RefCell::new(Vec::new());
    let caller = thread::current().id();
    let percentage = |consumed: u64, total: u64| {
        assert_eq!(thread::current().id(), caller);
        percents.borrow_mut().push(100 * consumed / total.max(1));
    };
    let call = || {
        let options = [
            checkpoint_dir(true, &root),
            multipart_threshold(100 * 1024),
            progress(|p| percentage(p.transferred, p.total)),
            routines(4),
            // headers=: all of them arrive, also with parts.
            meta("author", "li"),
            forbid_overwrite(true),
            traffic_limit(838_860_800),
            request_payer(true),
        ];
        t.bucket.upload_file(KEY, &path, 100 * 1024, options)
    };
    fails_then_resumes(&t, 8, call);
    t.assert_stored(KEY, &path);
    assert_eq!(percents.borrow().last(), Some(&100));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    for part in t.requests(Operation::UploadPart) {
        assert_eq!(part.header("x-oss-traffic-limit"), Some("838860800"));
        assert_eq!(part.header("x-oss-request-payer"), Some("requester"));
    }
    // As long as the threshold: parts. Shorter: one PutObject.
    for (size, parts) in [(100 * 1024, 1), (100 * 1024 - 1, 0)] {
        let small = t.file("small", size);
        let threshold = [multipart_threshold(100 * 1024)];
        t.bucket
            .upload_file("small", &small, 100 * 1024, threshold)
            .unwrap();
        assert_eq!(
            t.server.object("examplebucket", "small").unwrap().parts,
            parts
        );
    }
}

/// `multipartUpload`: up to five tries with one checkpoint in memory. The first two fail.
#[test]
fn javascript_multipart_upload_resumes() {
    let t = Harness::new();
    let path = t.file("filePath", 8 * MIB + 7);
    t.server.inject(
        Rule::new(access_denied())
            .on(Operation::UploadPart)
            .part(2)
            .times(2),
    );
    let (mut memory, mut percentage, mut tries) = (MemoryStore::default(), 0.0, 0);
    let mut result = None;
    for _ in 0..5 {
        tries += 1;
        let options = [
            routines(5),
            checkpoint_store(&mut memory),
            progress(|p| percentage = p.transferred as f64 / p.total as f64),
            meta("year", "2026"),
        ];
        match t.bucket.upload_file("object-name", &path, MIB, options) {
            Ok(uploaded) => {
                result = Some(uploaded);
                break;
            }
            Err(_) => assert!(memory.text.is_some()),
        }
    }
    assert_eq!(tries, 3);
    assert!(result.unwrap().parts_resumed > 0);
    assert_eq!((percentage, memory.text), (1.0, None));
    assert_nothing_sent_twice(&t);
    t.assert_stored("object-name", &path);
    t.assert_nothing_left(&["filePath"]);
}

/// The JavaScript and C# SDKs resume a file that was changed.
#[test]
fn source_change_between_tries_restarts() {
    let t = Harness::new();
    let path = t.file("f", 4 * PART);
    let mut memory = MemoryStore::default();
    t.refuse_part(4);
    t.bucket
        .upload_file(KEY, &path, PART, [checkpoint_store(&mut memory)])
        .unwrap_err();
    fs::write(&path, vec![7; 4 * PART as usize]).unwrap();
    let mut first = None;
    let options = [
        checkpoint_store(&mut memory),
        progress(|p| first = first.or(Some(p.event))),
    ];
    assert_eq!(
        t.bucket
            .upload_file(KEY, &path, PART, options)
            .unwrap()
            .parts_resumed,
        0
    );
    assert_eq!(
        first,
        Some(ProgressEvent::Restarted(RestartReason::SourceChanged))
    );
    t.assert_stored(KEY, &path);
    t.assert_nothing_left(&["f"]);
}

/// `ResumableUploadObject`: 8 MiB, three threads, a checkpoint directory. Each key has a checkpoint
/// of its own.
#[test]
fn c_sharp_resumable_upload_object_resumes() {
    let t = Harness::new();
    let (path, dir) = (
        t.file("examplefile.txt", 9 * MIB),
        t.path("yourCheckpointDir"),
    );
    let moved = RefCell::new(Vec::new());
    let call = |key| {
        let options = [
            routines(3),
            checkpoint_dir(true, &dir),
            progress(|p| moved.borrow_mut().push((p.transferred, p.total))),
        ];
        t.bucket.upload_file(key, &path, 8 * MIB, options)
    };
    for key in [KEY, "another"] {
        t.refuse_part(2);
        call(key).unwrap_err();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    for key in [KEY, "another"] {
        assert_eq!(call(key).unwrap().parts_resumed, 1);
        t.assert_stored(key, &path);
    }
    assert!(
        moved
            .borrow()
            .iter()
            .all(|(transferred, total)| transferred <= total)
    );
    assert_nothing_sent_twice(&t);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    t.assert_nothing_left(&["examplefile.txt", "yourCheckpointDir"]);
}

/// `resumableUpload`: a checkpoint directory, `setDeleteUploadOnCancelling(false)`, cancelled and
/// run again.
#[test]
fn android_resumable_upload_resumes_after_cancel() {
    let t = Harness::new();
    let (path, dir) = (
        t.file("examplefile.txt", 10 * 256 * 1024),
        t.path("oss_record"),
    );
    let token = CancelToken::new();
    let call = |token: &CancelToken, stop_after: usize| {
        let stop = token.clone();
        let options = [
            checkpoint_dir(true, &dir),
            delete_upload_on_cancelling(false),
            routines(2),
            content_md5(true),
            cancel(token),
            progress(move |p| {
                if p.parts_done >= stop_after {
                    stop.cancel();
                }
            }),
        ];
        t.bucket.upload_file(KEY, &path, 256 * 1024, options)
    };
    assert!(matches!(
        call(&token, 4),
        Err(Error::Cancelled {
            object_may_exist: false,
            ..
        })
    ));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert!(call(&CancelToken::new(), usize::MAX).unwrap().parts_resumed >= 4);
    t.assert_stored(KEY, &path);
    assert!(
        t.requests(Operation::UploadPart)
            .iter()
            .all(|part| part.header("content-md5").is_some())
    );
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    t.assert_nothing_left(&["examplefile.txt", "oss_record"]);
}

/// `asyncResumableUpload`, cancelled: by default nothing is left, neither on disk nor on the
/// server.
#[test]
fn android_async_resumable_upload_cancel_leaves_nothing() {
    let t = Harness::new();
    let (path, dir) = (
        t.file("examplefile.txt", 10 * 256 * 1024),
        t.path("oss_record"),
    );
    let start = |token: &CancelToken| {
        let (sender, progress_of_it) = mpsc::channel();
        let (bucket, path, dir, token) =
            (t.bucket.clone(), path.clone(), dir.clone(), token.clone());
        let task = thread::spawn(move || {
            let options = [
                checkpoint_dir(true, dir),
                cancel(&token),
                progress(|p| {
                    let _ = sender.send((p.parts_done, p.transferred, p.total));
                }),
            ];
            bucket.upload_file(KEY, path, 256 * 1024, options)
        });
        (task, progress_of_it)
    };
    let token = CancelToken::new();
    // Leaves time to cancel.
    t.inject_part(3, Fault::Delay(Duration::from_secs(5)));
    let (task, progress_of_it) = start(&token);
    progress_of_it
        .iter()
        .find(|(parts, ..)| *parts == 2)
        .unwrap();
    token.cancel();
    assert!(matches!(task.join().unwrap(), Err(Error::Cancelled { .. })));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    t.assert_nothing_left(&["examplefile.txt", "oss_record"]);

    t.server.clear_faults();
    let (task, progress_of_it) = start(&CancelToken::new());
    let (_, current, total) = progress_of_it.iter().last().unwrap();
    task.join().unwrap().unwrap();
    assert_eq!((current, total), (10 * 256 * 1024, 10 * 256 * 1024));
    t.assert_stored(KEY, &path);
}

/// A `Uri` is an open file: it has no name, and can have a checkpoint.
#[test]
fn android_uri_upload_resumes() {
    let t = Harness::new();
    let (path, dir) = (
        t.file("examplefile.txt", 6 * 256 * 1024),
        t.path("oss_record"),
    );
    let call = || {
        let file = File::open(&path).unwrap();
        t.bucket
            .upload_open_file(KEY, file, 256 * 1024, [checkpoint_dir(true, &dir)])
    };
    fails_then_resumes(&t, 5, call);
    t.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// Without a checkpoint directory a failure leaves nothing, and the next call restarts.
#[test]
fn android_without_checkpoint_restarts() {
    let t = Harness::new();
    let path = t.file("examplefile.txt", 4 * 256 * 1024);
    let call = || t.bucket.upload_file(KEY, &path, 256 * 1024, []);
    t.refuse_part(3);
    call().unwrap_err();
    t.assert_nothing_left(&["examplefile.txt"]);
    assert_eq!(call().unwrap().parts_resumed, 0);
    t.assert_stored(KEY, &path);
    t.assert_nothing_left(&["examplefile.txt"]);
}

/// `sequenceUpload`: parts in their order, and an object with a Content-MD5.
#[test]
fn android_sequence_upload_keeps_order_and_content_md5() {
    let t = Harness::new();
    let (path, dir) = (
        t.file("examplefile.txt", 5 * 256 * 1024 + 7),
        t.path("oss_record"),
    );
    let call = || {
        t.bucket.upload_file(
            KEY,
            &path,
            256 * 1024,
            [checkpoint_dir(true, &dir), sequential(true)],
        )
    };
    // The response to a part is lost. The retry gets 409 PartAlreadyExist, which means success.
    t.inject_part(2, Fault::ResetAfterApply);
    let uploaded = fails_then_resumes(&t, 4, call);
    t.assert_stored(KEY, &path);
    assert_eq!(uploaded.parts, 6);
    let object = t.server.object("examplebucket", KEY).unwrap();
    let md5 = STANDARD.encode(md5::compute(fs::read(&path).unwrap()).0);
    assert_eq!(object.content_md5, Some(md5));
}

/// `resumableUpload` of iOS: a failure keeps the checkpoint, and an upload that is gone is
/// restarted instead of `CannotResumeUpload`.
#[test]
fn ios_resumable_upload_restarts_if_upload_is_gone() {
    let t = Harness::new();
    let (path, caches) = (t.file("examplefile.txt", 5 * MIB), t.path("Caches"));
    let events = RefCell::new(Vec::new());
    let call = || {
        let options = [
            checkpoint_dir(true, &caches),
            delete_upload_on_cancelling(false),
            routines(5),
            content_md5(true),
            progress(|p| events.borrow_mut().push(p.event)),
        ];
        t.bucket.upload_file(KEY, &path, MIB, options)
    };
    t.refuse_part(5);
    call().unwrap_err();
    assert_eq!(fs::read_dir(&caches).unwrap().count(), 1);
    t.server.expire_upload(&t.server.uploads()[0].upload_id);
    events.borrow_mut().clear();
    assert_eq!(call().unwrap().parts_resumed, 0);
    assert_eq!(
        events.borrow()[0],
        ProgressEvent::Restarted(RestartReason::UploadNotFound)
    );
    t.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&caches).unwrap().count(), 0);
    t.assert_nothing_left(&["Caches", "examplefile.txt"]);
}

/// `UploadObjectRequest(bucket, key, path, checkpointDir)`: 8 MiB, three threads; up to a part it
/// is one PutObject.
#[test]
fn cpp_resumable_upload_object_resumes() {
    let t = Harness::new();
    let dir = t.path("yourCheckpointFilepath");
    let call = |path: &std::path::Path| {
        let options = [
            checkpoint_dir(true, &dir),
            routines(3),
            object_acl(ObjectAcl::PublicRead),
            traffic_limit(838_860_800),
            tag("project", "a"),
        ];
        t.bucket.upload_file(KEY, path, 8 * MIB, options)
    };
    for size in [8 * MIB + 7, 8 * MIB] {
        let path = t.file("examplefile.txt", size);
        match size > 8 * MIB {
            true => drop(fails_then_resumes(&t, 2, || call(&path))),
            false => drop(call(&path).unwrap()),
        }
        t.assert_stored(KEY, &path);
        let object = t.server.object("examplebucket", KEY).unwrap();
        assert_eq!(object.parts, if size > 8 * MIB { 2 } else { 0 });
        assert_eq!(
            (object.acl.as_deref(), object.tagging.as_deref()),
            (Some("public-read"), Some("project=a"))
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}

/// `oss_resumable_upload_file`: 100 KiB, three threads, a checkpoint. The checkpoint survives a
/// CompleteMultipartUpload that failed.
#[test]
fn c_resumable_upload_file_keeps_checkpoint_if_complete_fails() {
    let t = Harness::new();
    let path = t.file("yourLocalFilename", 6 * PART + 7);
    let call = || {
        t.bucket
            .upload_file(KEY, &path, 1024 * 100, [routines(3), checkpoint(true, "")])
    };
    t.deny(Operation::CompleteMultipartUpload);
    call().unwrap_err();
    t.assert_files(&["yourLocalFilename", "yourLocalFilename.cp"]);
    let uploaded = call().unwrap();
    assert_eq!((uploaded.parts_resumed, uploaded.bytes_sent), (7, 0));
    t.assert_stored(KEY, &path);
    t.assert_nothing_left(&["yourLocalFilename"]);
}

/// `resumable_upload` with a callback that has a query; rejected by the application, it is a
/// `CallbackError`.
#[test]
fn ruby_resumable_upload_reports_callback_failure() {
    for (status, accepted) in [(200, true), (500, false)] {
        let (t, app) = (Harness::new(), CallbackServer::start(status, "{}"));
        let path = t.file("x", 10 * MIB + 7);
        let call = Callback::new(app.url("/callback"), "bucket=${bucket}&object=${object}")
            .query("user", "put_object");
        let options = [routines(10), checkpoint(true, ""), callback(call)];
        match t
            .bucket
            .upload_file("files/hello", &path, 10 * MIB, options)
        {
            Ok(uploaded) => {
                assert!(accepted);
                assert_eq!(uploaded.callback_body.as_deref(), Some(&b"{}"[..]));
            }
            Err(Error::Callback {
                uploaded, service, ..
            }) => {
                assert!(!accepted);
                assert_eq!((uploaded.size, service.status), (10 * MIB + 7, 203));
            }
            Err(error) => panic!("{error}"),
        }
        t.assert_stored("files/hello", &path);
        t.assert_nothing_left(&["x"]);
        assert_eq!(
            app.requests()[0].first_line,
            "POST /callback?user=put_object HTTP/1.1"
        );
        assert_eq!(
            app.requests()[0].body,
            "bucket=examplebucket&object=files%2Fhello"
        );
    }
}

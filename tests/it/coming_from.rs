//! The official SDKs' resumable uploads, each as `docs::coming_from` translates it, with what it says is different.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    Callback, CancelToken, CheckpointStore, Error, ObjectAcl, ProgressEvent, RestartReason,
    UploadOption, Uploaded, adopt_unfinished, callback, cancel, checkpoint, checkpoint_dir,
    checkpoint_store, content_md5, content_type, delete_upload_on_cancelling, expires,
    forbid_overwrite, meta, multipart_threshold, object_acl, progress, request_payer, routines,
    sequential, tag, traffic_limit,
};

use crate::callback::App;
use crate::house::{House, PART};

const MIB: u64 = 1024 * 1024;
const KEY: &str = "exampledir/exampleobject.txt";

/// The call fails at a part that OSS refuses once; the second time it finishes, and no stored part was sent again.
#[track_caller]
fn fails_then_resumes(
    house: &House,
    part: u32,
    call: impl Fn() -> oss_upload::Result<Uploaded>,
) -> Uploaded {
    house.refuse_part(part);
    assert_eq!(call().unwrap_err().service_code(), Some("AccessDenied"));
    let uploaded = call().unwrap();
    assert!(uploaded.parts_resumed > 0);
    assert_nothing_sent_twice(house);
    uploaded
}

#[track_caller]
fn assert_nothing_sent_twice(house: &House) {
    let mut stored = BTreeMap::new();
    for part in house
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
fn assert_refused(house: &House, part_size: u64, option: UploadOption<'_>) {
    let path = house.file("refused", 1);
    let result = house.bucket.upload_file(KEY, &path, part_size, [option]);
    assert!(
        matches!(result, Err(Error::InvalidOption { .. })),
        "{result:?}"
    );
    assert_eq!(house.server.requests().len(), 0);
    fs::remove_file(path).unwrap();
}

/// `uploadFile`: five tasks, parts of 1 MiB, a checkpoint file of one's own, a content type.
#[test]
fn java() {
    let house = House::new();
    assert_refused(&house, MIB, routines(0));
    assert_refused(&house, MIB, routines(1000));
    assert_refused(&house, PART - 1, routines(5));

    let (path, record) = (
        house.file("examplefile.txt", 5 * MIB + 7),
        house.path("yourCheckpointFile"),
    );
    let call = || {
        let options = [
            routines(5),
            checkpoint(true, &record),
            content_type("text/plain"),
        ];
        house
            .bucket
            .upload_file("exampleobject.txt", &path, MIB, options)
    };
    let uploaded = fails_then_resumes(&house, 6, call);
    house.assert_stored("exampleobject.txt", &path);
    house.assert_nothing_left(&["examplefile.txt"]);
    assert_eq!((uploaded.parts, uploaded.size), (6, 5 * MIB + 7));
    let object = house
        .server
        .object("examplebucket", "exampleobject.txt")
        .unwrap();
    assert!(
        object
            .headers
            .contains(&("content-type".into(), "text/plain".into()))
    );
}

/// Java, Python, JavaScript … make parts larger when 10,000 do not suffice.
#[test]
fn a_part_size_is_not_grown() {
    let house = House::new();
    let path = house.path("sparse");
    File::create(&path)
        .unwrap()
        .set_len(10_000 * PART + 1)
        .unwrap();
    let error = house.bucket.upload_file(KEY, &path, PART, []).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("smallest part size that fits is 102401"),
        "{error}"
    );
    assert_eq!(house.server.requests().len(), 0);
}

/// `UploadFile(key, path, 100*1024, oss.Routines(3), oss.Checkpoint(true, ""))`: the record is `<file>.cp`, really.
#[test]
fn go() {
    let house = House::new();
    let path = house.file("examplefile.txt", 8 * PART + 7);
    let call = || {
        house
            .bucket
            .upload_file(KEY, &path, 100 * 1024, [routines(3), checkpoint(true, "")])
    };
    house.refuse_part(5);
    call().unwrap_err();
    house.assert_files(&["examplefile.txt", "examplefile.txt.cp"]);
    assert!(call().unwrap().parts_resumed > 0);
    assert_nothing_sent_twice(&house);
    house.assert_stored(KEY, &path);
    house.assert_nothing_left(&["examplefile.txt"]);
}

/// The records of other programs, Go's here, stay as they are. The upload itself can be taken over.
#[test]
fn checkpoint_files_of_the_sdks_are_left_alone() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    house.refuse_part(3);
    house
        .bucket
        .upload_file(KEY, &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    let theirs =
        r#"{"Magic":"FE8BB4EA-B593-4FAC-AD7A-2459A36E2E62","MD5":"MQlyEzN+LcH+uMV84kQAYQ=="}"#;
    fs::write(house.path("f.cp"), theirs).unwrap();
    house.server.clear_requests();
    let error = house
        .bucket
        .upload_file(KEY, &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
    assert_eq!(house.server.requests().len(), 0);
    let uploaded = house
        .bucket
        .upload_file(KEY, &path, PART, [adopt_unfinished(true)])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 2);
    house.assert_stored(KEY, &path);
    assert_eq!(fs::read_to_string(house.path("f.cp")).unwrap(), theirs);
    house.assert_nothing_left(&["f", "f.cp"]);
}

#[test]
fn one_file_to_two_keys_at_once_needs_two_records() {
    let house = House::new();
    let (path, dir) = (house.file("f", 3 * PART), house.path("records"));
    for in_dir in [false, true] {
        let record = || {
            if in_dir {
                checkpoint_dir(true, &dir)
            } else {
                checkpoint(true, "")
            }
        };
        let mut second = None;
        let both = progress(|p| {
            if p.parts_done == 1 {
                second = Some(house.bucket.upload_file("second", &path, PART, [record()]));
            }
        });
        house
            .bucket
            .upload_file("first", &path, PART, [record(), both])
            .unwrap();
        match second.unwrap() {
            Err(Error::CheckpointInUse { .. }) => assert!(!in_dir),
            result => assert!(in_dir && result.is_ok(), "{result:?}"),
        }
    }
    house.assert_stored("first", &path);
    house.assert_stored("second", &path);
    house.assert_nothing_left(&["f", "records"]);
}

/// Headers are part of what a record remembers, so a time that is computed from now never resumes.
#[test]
fn expires_computed_from_now_starts_over() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let seen = RefCell::new(Vec::new());
    let call = |days: u64| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + days);
        let options = [
            checkpoint(true, ""),
            expires(at),
            progress(|p| seen.borrow_mut().push(p.event)),
        ];
        house.bucket.upload_file(KEY, &path, PART, options)
    };
    house.refuse_part(3);
    call(0).unwrap_err();
    seen.borrow_mut().clear();
    assert_eq!(call(1).unwrap().parts_resumed, 0);
    assert_eq!(
        seen.borrow()[0],
        ProgressEvent::Restarted(RestartReason::OptionsChanged)
    );
    house.assert_nothing_left(&["f"]);
}

/// `Uploader.UploadFile` of the second generation: three workers, a directory, and what a failure leaves without one.
#[test]
fn go_v2() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 9 * MIB),
        house.path("checkpoints"),
    );
    let call = || {
        house.bucket.upload_file(
            KEY,
            &path,
            6 * MIB,
            [routines(3), checkpoint_dir(true, &dir)],
        )
    };
    fails_then_resumes(&house, 2, call);
    house.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    // LeavePartsOnError is off, and there is no checkpoint.
    house.refuse_part(2);
    house
        .bucket
        .upload_file(KEY, &path, 6 * MIB, [routines(3)])
        .unwrap_err();
    house.assert_nothing_left(&["checkpoints", "examplefile.txt"]);
}

/// `resumable_upload` with `ResumableStore`, a threshold, four threads and a `percentage`.
#[test]
fn python() {
    let house = House::new();
    let (path, root) = (house.file("yourLocalFile", 9 * PART + 7), house.path("tmp"));
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
        house.bucket.upload_file(KEY, &path, 100 * 1024, options)
    };
    fails_then_resumes(&house, 8, call);
    house.assert_stored(KEY, &path);
    assert_eq!(percents.borrow().last(), Some(&100));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    for part in house.requests(Operation::UploadPart) {
        assert_eq!(part.header("x-oss-traffic-limit"), Some("838860800"));
        assert_eq!(part.header("x-oss-request-payer"), Some("requester"));
    }
    // As long as the threshold: parts. Shorter: one PutObject.
    for (size, parts) in [(100 * 1024, 1), (100 * 1024 - 1, 0)] {
        let small = house.file("small", size);
        let threshold = [multipart_threshold(100 * 1024)];
        house
            .bucket
            .upload_file("small", &small, 100 * 1024, threshold)
            .unwrap();
        assert_eq!(
            house.server.object("examplebucket", "small").unwrap().parts,
            parts
        );
    }
}

/// JavaScript's `checkpoint` object.
#[derive(Default)]
struct Memory(Option<String>);

impl CheckpointStore for Memory {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(self.0.clone())
    }
    fn save(&mut self, text: &str) -> io::Result<()> {
        self.0 = Some(text.to_owned());
        Ok(())
    }
    fn remove(&mut self) -> io::Result<()> {
        self.0 = None;
        Ok(())
    }
}

/// `multipartUpload`: up to five tries with one checkpoint in memory. The first two fail.
#[test]
fn javascript() {
    let house = House::new();
    let path = house.file("filePath", 8 * MIB + 7);
    let refusal = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house.server.inject(
        Rule::new(refusal)
            .on(Operation::UploadPart)
            .part(2)
            .times(2),
    );
    let (mut memory, mut percentage, mut tries) = (Memory::default(), 0.0, 0);
    let mut result = None;
    for _ in 0..5 {
        tries += 1;
        let options = [
            routines(5),
            checkpoint_store(&mut memory),
            progress(|p| percentage = p.transferred as f64 / p.total as f64),
            meta("year", "2026"),
        ];
        match house.bucket.upload_file("object-name", &path, MIB, options) {
            Ok(uploaded) => {
                result = Some(uploaded);
                break;
            }
            Err(_) => assert!(memory.0.is_some()),
        }
    }
    assert_eq!(tries, 3);
    assert!(result.unwrap().parts_resumed > 0);
    assert_eq!((percentage, memory.0), (1.0, None));
    assert_nothing_sent_twice(&house);
    house.assert_stored("object-name", &path);
    house.assert_nothing_left(&["filePath"]);
}

/// In JavaScript and C# a file that was changed goes on where the old one stopped.
#[test]
fn a_file_that_changed_between_two_tries_starts_over() {
    let house = House::new();
    let path = house.file("f", 4 * PART);
    let mut memory = Memory::default();
    house.refuse_part(4);
    house
        .bucket
        .upload_file(KEY, &path, PART, [checkpoint_store(&mut memory)])
        .unwrap_err();
    fs::write(&path, vec![7; 4 * PART as usize]).unwrap();
    let mut first = None;
    let options = [
        checkpoint_store(&mut memory),
        progress(|p| first = first.or(Some(p.event))),
    ];
    assert_eq!(
        house
            .bucket
            .upload_file(KEY, &path, PART, options)
            .unwrap()
            .parts_resumed,
        0
    );
    assert_eq!(
        first,
        Some(ProgressEvent::Restarted(RestartReason::SourceChanged))
    );
    house.assert_stored(KEY, &path);
    house.assert_nothing_left(&["f"]);
}

/// `ResumableUploadObject`: 8 MiB, three threads, a checkpoint directory. Two keys, and two files, have their own records.
#[test]
fn c_sharp() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 9 * MIB),
        house.path("yourCheckpointDir"),
    );
    let moved = RefCell::new(Vec::new());
    let call = |key| {
        let options = [
            routines(3),
            checkpoint_dir(true, &dir),
            progress(|p| moved.borrow_mut().push((p.transferred, p.total))),
        ];
        house.bucket.upload_file(key, &path, 8 * MIB, options)
    };
    for key in [KEY, "another"] {
        house.refuse_part(2);
        call(key).unwrap_err();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    for key in [KEY, "another"] {
        assert_eq!(call(key).unwrap().parts_resumed, 1);
        house.assert_stored(key, &path);
    }
    assert!(
        moved
            .borrow()
            .iter()
            .all(|(transferred, total)| transferred <= total)
    );
    assert_nothing_sent_twice(&house);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    house.assert_nothing_left(&["examplefile.txt", "yourCheckpointDir"]);
}

/// `resumableUpload`: a record directory, `setDeleteUploadOnCancelling(false)`, cancelled and run again.
#[test]
fn android() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 10 * 256 * 1024),
        house.path("oss_record"),
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
        house.bucket.upload_file(KEY, &path, 256 * 1024, options)
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
    house.assert_stored(KEY, &path);
    assert!(
        house
            .requests(Operation::UploadPart)
            .iter()
            .all(|part| part.header("content-md5").is_some())
    );
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    house.assert_nothing_left(&["examplefile.txt", "oss_record"]);
}

/// `asyncResumableUpload`, cancelled: by default nothing stays, neither here nor on the server.
#[test]
fn android_async() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 10 * 256 * 1024),
        house.path("oss_record"),
    );
    let start = |token: &CancelToken| {
        let (sender, progress_of_it) = mpsc::channel();
        let (bucket, path, dir, token) = (
            house.bucket.clone(),
            path.clone(),
            dir.clone(),
            token.clone(),
        );
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
    // So that there is time to cancel.
    house.server.inject(
        Rule::new(Fault::Delay(Duration::from_secs(5)))
            .on(Operation::UploadPart)
            .part(3),
    );
    let (task, progress_of_it) = start(&token);
    progress_of_it
        .iter()
        .find(|(parts, ..)| *parts == 2)
        .unwrap();
    token.cancel();
    assert!(matches!(task.join().unwrap(), Err(Error::Cancelled { .. })));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    house.assert_nothing_left(&["examplefile.txt", "oss_record"]);

    house.server.clear_faults();
    let (task, progress_of_it) = start(&CancelToken::new());
    let (_, current, total) = progress_of_it.iter().last().unwrap();
    task.join().unwrap().unwrap();
    assert_eq!((current, total), (10 * 256 * 1024, 10 * 256 * 1024));
    house.assert_stored(KEY, &path);
}

/// A `Uri` is an open file: no name, and a record all the same.
#[test]
fn android_uri() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 6 * 256 * 1024),
        house.path("oss_record"),
    );
    let call = || {
        let file = File::open(&path).unwrap();
        house
            .bucket
            .upload_open_file(KEY, file, 256 * 1024, [checkpoint_dir(true, &dir)])
    };
    fails_then_resumes(&house, 5, call);
    house.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

/// Without a record directory a failure leaves nothing, and the next call begins anew.
#[test]
fn android_without_a_record() {
    let house = House::new();
    let path = house.file("examplefile.txt", 4 * 256 * 1024);
    let call = || house.bucket.upload_file(KEY, &path, 256 * 1024, []);
    house.refuse_part(3);
    call().unwrap_err();
    house.assert_nothing_left(&["examplefile.txt"]);
    assert_eq!(call().unwrap().parts_resumed, 0);
    house.assert_stored(KEY, &path);
    house.assert_nothing_left(&["examplefile.txt"]);
}

/// `sequenceUpload`: parts in their order, and an ETag that is the file's MD5.
#[test]
fn android_sequence() {
    let house = House::new();
    let (path, dir) = (
        house.file("examplefile.txt", 5 * 256 * 1024 + 7),
        house.path("oss_record"),
    );
    let call = || {
        house.bucket.upload_file(
            KEY,
            &path,
            256 * 1024,
            [checkpoint_dir(true, &dir), sequential(true)],
        )
    };
    // The answer to a part is lost: sent again, it is met with 409 PartAlreadyExist, which is its success.
    house.server.inject(
        Rule::new(Fault::ResetAfterApply)
            .on(Operation::UploadPart)
            .part(2),
    );
    let uploaded = fails_then_resumes(&house, 4, call);
    house.assert_stored(KEY, &path);
    let md5 = format!("{:x}", md5::compute(fs::read(&path).unwrap()));
    assert_eq!(uploaded.etag.to_lowercase(), md5);
}

/// `resumableUpload` of iOS: a failure keeps the record, and an upload that is gone is begun anew instead of
/// `CannotResumeUpload`.
#[test]
fn ios() {
    let house = House::new();
    let (path, caches) = (house.file("examplefile.txt", 5 * MIB), house.path("Caches"));
    let events = RefCell::new(Vec::new());
    let call = || {
        let options = [
            checkpoint_dir(true, &caches),
            delete_upload_on_cancelling(false),
            routines(5),
            content_md5(true),
            progress(|p| events.borrow_mut().push(p.event)),
        ];
        house.bucket.upload_file(KEY, &path, MIB, options)
    };
    house.refuse_part(5);
    call().unwrap_err();
    assert_eq!(fs::read_dir(&caches).unwrap().count(), 1);
    house
        .server
        .expire_upload(&house.server.uploads()[0].upload_id);
    events.borrow_mut().clear();
    assert_eq!(call().unwrap().parts_resumed, 0);
    assert_eq!(
        events.borrow()[0],
        ProgressEvent::Restarted(RestartReason::UploadNotFound)
    );
    house.assert_stored(KEY, &path);
    assert_eq!(fs::read_dir(&caches).unwrap().count(), 0);
    house.assert_nothing_left(&["Caches", "examplefile.txt"]);
}

/// `UploadObjectRequest(bucket, key, path, checkpointDir)`: 8 MiB, three threads; up to a part it is one PutObject.
#[test]
fn cpp() {
    let house = House::new();
    let dir = house.path("yourCheckpointFilepath");
    let call = |path: &std::path::Path| {
        let options = [
            checkpoint_dir(true, &dir),
            routines(3),
            object_acl(ObjectAcl::PublicRead),
            traffic_limit(838_860_800),
            tag("project", "a"),
        ];
        house.bucket.upload_file(KEY, path, 8 * MIB, options)
    };
    for size in [8 * MIB + 7, 8 * MIB] {
        let path = house.file("examplefile.txt", size);
        match size > 8 * MIB {
            true => drop(fails_then_resumes(&house, 2, || call(&path))),
            false => drop(call(&path).unwrap()),
        }
        house.assert_stored(KEY, &path);
        let object = house.server.object("examplebucket", KEY).unwrap();
        assert_eq!(object.parts, if size > 8 * MIB { 2 } else { 0 });
        assert_eq!(
            (object.acl.as_deref(), object.tagging.as_deref()),
            (Some("public-read"), Some("project=a"))
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    }
}

/// `oss_resumable_upload_file`: 100 KiB, three threads, a checkpoint. A Complete that failed does not cost the record.
#[test]
fn c() {
    let house = House::new();
    let path = house.file("yourLocalFilename", 6 * PART + 7);
    let call = || {
        house
            .bucket
            .upload_file(KEY, &path, 1024 * 100, [routines(3), checkpoint(true, "")])
    };
    let refusal = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(refusal).on(Operation::CompleteMultipartUpload));
    call().unwrap_err();
    house.assert_files(&["yourLocalFilename", "yourLocalFilename.cp"]);
    let uploaded = call().unwrap();
    assert_eq!((uploaded.parts_resumed, uploaded.bytes_sent), (7, 0));
    house.assert_stored(KEY, &path);
    house.assert_nothing_left(&["yourLocalFilename"]);
}

/// `resumable_upload` with a callback that has a query; refused by the application, it is a `CallbackError`.
#[test]
fn ruby() {
    for (status, accepted) in [(200, true), (500, false)] {
        let (house, app) = (House::new(), App::start(status, "{}"));
        let path = house.file("x", 10 * MIB + 7);
        let call = Callback::new(app.url("/callback"), "bucket=${bucket}&object=${object}")
            .query("user", "put_object");
        let options = [routines(10), checkpoint(true, ""), callback(call)];
        match house
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
        house.assert_stored("files/hello", &path);
        house.assert_nothing_left(&["x"]);
        assert_eq!(
            app.heard()[0].line,
            "POST /callback?user=put_object HTTP/1.1"
        );
        assert_eq!(
            app.heard()[0].body,
            "bucket=examplebucket&object=files%2Fhello"
        );
    }
}

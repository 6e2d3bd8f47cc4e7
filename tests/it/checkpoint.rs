//! The record on disk: damaged, foreign, shared, moved. Never a panic, never a wrong object, never somebody else's file.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, CheckpointStore, Error, ProgressEvent, RestartReason, cancel, checkpoint,
    checkpoint_dir, checkpoint_store, delete_upload_on_cancelling, progress, routines,
};

use crate::house::{House, Memory, PART};

const SIZE: u64 = 3 * PART + 1;
const FIRST_LINES: [&str; 2] = ["oss-upload checkpoint 1\n", "oss-upload checkpoint 2\n"];

/// Three of four parts are stored and recorded; gives file and record.
fn interrupted(house: &House) -> (PathBuf, PathBuf) {
    let path = house.file("f", SIZE);
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::UploadPart).part(4).forever());
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.clear_faults();
    house.server.clear_requests();
    (path, house.path("f.cp"))
}

fn finish(house: &House, path: &Path) -> (ProgressEvent, oss_upload::Uploaded) {
    let first = RefCell::new(None);
    let remember = progress(|p| {
        first.borrow_mut().get_or_insert(p.event);
    });
    let uploaded = house
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, ""), remember])
        .unwrap();
    house.assert_stored("o", path);
    (first.into_inner().unwrap(), uploaded)
}

/// Every byte of a real record changed, and every length of it.
#[test]
fn every_damage_leads_to_the_right_object_or_a_clear_refusal() {
    const SHARES: usize = 4;
    thread::scope(|scope| {
        for share in 0..SHARES {
            scope.spawn(move || {
                let house = House::new();
                let (path, record_path) = interrupted(&house);
                let record = fs::read(&record_path).unwrap();
                for at in (share..record.len()).step_by(SHARES) {
                    let mut changed = record.clone();
                    changed[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
                    assert_harmless(&house, &path, &record_path, &changed);
                    assert_harmless(&house, &path, &record_path, &record[..at]);
                }
            });
        }
    });
}

fn assert_harmless(house: &House, path: &Path, record_path: &Path, damaged: &[u8]) {
    house.server.remove_object("examplebucket", "o");
    fs::write(record_path, damaged).unwrap();
    let start = |line: &str| damaged[..damaged.len().min(line.len())].to_vec();
    let ours = FIRST_LINES
        .iter()
        .any(|line| line.as_bytes().starts_with(&start(line)));
    match house
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, "")])
    {
        Ok(uploaded) => {
            assert!(ours);
            assert_eq!(uploaded.parts_resumed, 0);
            house.assert_stored("o", path);
            // An empty file may be anybody's: it stays.
            house.assert_files(if damaged.is_empty() {
                &["f", "f.cp"]
            } else {
                &["f"]
            });
            assert!(fs::read(record_path).unwrap_or_default().is_empty());
        }
        Err(Error::NotACheckpoint { path, .. }) => {
            assert!(!ours);
            assert_eq!(path, record_path);
            assert_eq!(
                fs::read(record_path).unwrap(),
                damaged,
                "the file was touched"
            );
            fs::remove_file(record_path).unwrap();
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_damaged_record_says_so() {
    let house = House::new();
    let (path, record) = interrupted(&house);
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("part 2", "part 3")).unwrap();
    let (event, uploaded) = finish(&house, &path);
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::CheckpointDamaged)
    );
    assert_eq!(uploaded.parts_resumed, 0);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let go = r#"{"Magic":"FE8BB4EA-B593-4FAC-AD7A-2459A36E2E62","MD5":"x","FilePath":"f"}"#;
    for foreign in [
        "a letter to my aunt",
        go,
        "oss-upload checkpoint 3\n",
        "oss-upload checkpoint 10\n",
        "\n",
        "O",
    ] {
        let house = House::new();
        let path = house.file("f", SIZE);
        let record = house.path("f.cp");
        fs::write(&record, foreign).unwrap();
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if *path == record),
            "{error}"
        );
        assert!(!error.is_resumable());
        assert_eq!(fs::read_to_string(&record).unwrap(), foreign);
        assert_eq!(house.server.requests().len(), 0);
        // Nor is a file in the way of the temporary one.
        fs::remove_file(&record).unwrap();
        fs::write(house.path("f.cp.oss-upload-tmp"), foreign).unwrap();
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if path.ends_with("f.cp.oss-upload-tmp")),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(house.path("f.cp.oss-upload-tmp")).unwrap(),
            foreign
        );
        house.assert_files(&["f", "f.cp.oss-upload-tmp"]);
    }
}

#[test]
fn what_a_crash_left_is_cleared_away() {
    let house = House::new();
    let (path, record) = interrupted(&house);
    let text = fs::read_to_string(&record).unwrap();
    fs::write(house.path("f.cp.oss-upload-tmp"), &text[..text.len() / 2]).unwrap();
    let (event, uploaded) = finish(&house, &path);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 3));
    house.assert_nothing_left(&["f"]);
}

#[cfg(unix)]
#[test]
fn the_record_is_private_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::with(
        LocalOss::builder()
            .credentials("my-id", "my-secret")
            .token("my-token")
            .start()
            .unwrap(),
    );
    let credentials =
        oss_upload::Credentials::new("my-id", "my-secret").with_security_token("my-token");
    let bucket = crate::house::client(&house.server)
        .credentials(credentials)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let path = house.file("f", SIZE);
    let modes = RefCell::new(Vec::new());
    let look = progress(|_| {
        let record = house.path("f.cp");
        if let Ok(text) = fs::read_to_string(&record) {
            assert!(!text.contains("my-"), "{text}");
            modes
                .borrow_mut()
                .push(fs::metadata(&record).unwrap().permissions().mode() & 0o777);
        }
    });
    bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), look])
        .unwrap();
    let modes = modes.into_inner();
    assert!(
        !modes.is_empty() && modes.iter().all(|mode| *mode == 0o600),
        "{modes:?}"
    );
}

/// The bucket, seen from another thread while an upload of it is stopped in its middle.
fn while_it_runs(
    house: &House,
    options: impl Fn() -> Vec<oss_upload::UploadOption<'static>> + Sync,
    look: impl FnOnce(&Bucket),
) {
    let path = house.file("f", SIZE);
    let token = CancelToken::new();
    house
        .server
        .inject(Rule::new(Fault::Stall).on(Operation::UploadPart).forever());
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let stop = [cancel(&token), delete_upload_on_cancelling(false)];
            house
                .bucket
                .upload_file("o", &path, PART, options().into_iter().chain(stop))
                .unwrap_err()
        });
        while house.parts_sent().is_empty() {
            thread::yield_now();
        }
        look(&house.bucket);
        token.cancel();
        assert!(matches!(running.join().unwrap(), Error::Cancelled { .. }));
    });
    house.server.clear_faults();
}

#[test]
fn two_calls_with_one_record_do_not_meet() {
    let house = House::new();
    let record = house.path("f.cp");
    while_it_runs(
        &house,
        || vec![checkpoint(true, "")],
        |bucket| {
            let before = house.server.requests().len();
            let error = bucket
                .upload_file("o", house.path("f"), PART, [checkpoint(true, "")])
                .unwrap_err();
            assert!(
                matches!(&error, Error::CheckpointInUse { path, .. } if *path == record),
                "{error}"
            );
            assert!(error.is_resumable());
            assert_eq!(house.server.requests().len(), before);
            // Two records, two uploads.
            house.server.clear_faults();
            bucket
                .upload_file(
                    "o2",
                    house.path("f"),
                    PART,
                    [checkpoint_dir(true, house.path("d"))],
                )
                .unwrap();
            house.assert_stored("o2", &house.path("f"));
        },
    );
    finish(&house, &house.path("f"));
    house.assert_files(&["d", "f"]);
}

/// However many begin at once, one at a time holds the record, and the object is right.
#[test]
fn a_crowd_at_one_record() {
    let house = House::new();
    let path = house.file("f", SIZE);
    for _ in 0..20 {
        let start = Barrier::new(8);
        let results: Vec<_> = thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        house.bucket.upload_file(
                            "o",
                            &path,
                            PART,
                            [checkpoint(true, ""), routines(2)],
                        )
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert!(results.iter().any(Result::is_ok));
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error, Error::CheckpointInUse { .. }), "{error}");
        }
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn checkpoint_moved_with_its_file_resumes() {
    let house = House::new();
    let (path, record) = interrupted(&house);
    let (moved, moved_record) = (house.path("g"), house.path("g.cp"));
    fs::rename(&path, &moved).unwrap();
    fs::rename(&record, &moved_record).unwrap();
    let (event, uploaded) = finish(&house, &moved);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 3));
    house.assert_nothing_left(&["g"]);
}

#[test]
fn a_record_never_names_the_host_of_a_signed_request() {
    let elsewhere = House::new();
    let (_, record) = interrupted(&elsewhere);
    let house = House::new();
    let path = house.file("f", SIZE);
    fs::copy(&record, house.path("f.cp")).unwrap();
    let (event, _) = finish(&house, &path);
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::TargetChanged)
    );
    assert_eq!(elsewhere.server.requests().len(), 0);
    assert_eq!(house.requests(Operation::AbortMultipartUpload).len(), 0);
}

#[test]
fn a_store_of_the_callers_resumes() {
    let house = House::new();
    let path = house.file("f", SIZE);
    let mut memory = Memory::default();
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::UploadPart).part(4).forever());
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint_store(&mut memory)])
        .unwrap_err();
    assert!(memory.text.as_ref().unwrap().contains("\npart 3 "));
    house.server.clear_faults();
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint_store(&mut memory)])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 3);
    assert_eq!(memory.text, None);
    house.assert_nothing_left(&["f"]);
}

/// Its cost must not grow with the square of the parts.
#[test]
fn few_saves_for_many_parts() {
    let house = House::with(LocalOss::builder().discard(true).start().unwrap());
    let path = house.path("sparse");
    fs::File::create(&path)
        .unwrap()
        .set_len(300 * PART)
        .unwrap();
    let mut memory = Memory::default();
    let started = std::time::Instant::now();
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint_store(&mut memory)])
        .unwrap();
    let seconds = started.elapsed().as_secs() as usize;
    assert!(
        memory.saves <= 3 + seconds,
        "{} saves in {seconds} s",
        memory.saves
    );
}

struct Broken(&'static str);

impl CheckpointStore for Broken {
    fn load(&mut self) -> io::Result<Option<String>> {
        if self.0 == "load" {
            Err(io::Error::other("no load"))
        } else {
            Ok(None)
        }
    }
    fn save(&mut self, _: &str) -> io::Result<()> {
        if self.0 == "save" {
            Err(io::Error::other("no save"))
        } else {
            Ok(())
        }
    }
    fn remove(&mut self) -> io::Result<()> {
        Err(io::Error::other("no remove"))
    }
}

#[test]
fn a_record_that_fails_is_a_failure_until_the_object_is_complete() {
    let house = House::new();
    let path = house.file("f", SIZE);
    for broken in ["load", "save"] {
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint_store(Broken(broken))])
            .unwrap_err();
        assert!(
            matches!(error, Error::Checkpoint { path: None, .. }),
            "{error}"
        );
        assert!(error.to_string().contains(broken), "{error}");
        house.assert_nothing_left(&["f"]);
    }
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint_store(Broken("remove"))])
        .unwrap();
    house.assert_stored("o", &path);
}

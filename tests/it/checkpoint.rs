//! The checkpoint file: damaged, foreign, shared or moved. It never leads to a panic or a wrong
//! object, and a foreign file is never modified.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use local_oss::{Fault, LocalOss, Operation};
use oss_upload::{
    Bucket, CancelToken, Error, ProgressEvent, RestartReason, cancel, checkpoint, checkpoint_dir,
    checkpoint_store, delete_upload_on_cancelling, progress, routines,
};

use crate::harness::{FailingStore, Harness, MemoryStore, PART, StoreFailure, bucket, client};

const SIZE: u64 = 3 * PART + 1;
const FIRST_LINES: [&str; 2] = ["oss-upload checkpoint 1\n", "oss-upload checkpoint 2\n"];

/// Three of four parts are stored and saved. Returns the paths of the file and of its checkpoint.
fn interrupted(t: &Harness) -> (PathBuf, PathBuf) {
    let path = t.file("f", SIZE);
    t.interrupt_after(3);
    t.server.clear_requests();
    (path, t.path("f.cp"))
}

/// Resumes the upload. Returns its first event and its result.
fn finish(t: &Harness, path: &Path) -> (ProgressEvent, oss_upload::Uploaded) {
    let first = RefCell::new(None);
    let remember = progress(|p| {
        first.borrow_mut().get_or_insert(p.event);
    });
    let uploaded = t
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, ""), remember])
        .unwrap();
    t.assert_stored("o", path);
    (first.into_inner().unwrap(), uploaded)
}

#[test]
fn checkpoint_damage_restarts_or_is_rejected() {
    damage_every_nth_byte(13);
}

#[test]
#[ignore = "slow: more than a thousand uploads"]
fn checkpoint_damage_at_any_byte_restarts_or_is_rejected() {
    damage_every_nth_byte(1);
}

/// Changes every n-th byte of a real checkpoint, one at a time, and cuts it off there.
fn damage_every_nth_byte(n: usize) {
    const THREADS: usize = 4;
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                let t = Harness::new();
                let (path, checkpoint_path) = interrupted(&t);
                let text = fs::read(&checkpoint_path).unwrap();
                for at in (first * n..text.len()).step_by(THREADS * n) {
                    let mut changed = text.clone();
                    changed[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
                    assert_harmless(&t, &path, &checkpoint_path, &changed);
                    assert_harmless(&t, &path, &checkpoint_path, &text[..at]);
                }
            });
        }
    });
}

fn assert_harmless(t: &Harness, path: &Path, checkpoint_path: &Path, damaged: &[u8]) {
    t.server.remove_object("examplebucket", "o");
    fs::write(checkpoint_path, damaged).unwrap();
    let start = |line: &str| damaged[..damaged.len().min(line.len())].to_vec();
    let ours = FIRST_LINES
        .iter()
        .any(|line| line.as_bytes().starts_with(&start(line)));
    match t
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, "")])
    {
        Ok(uploaded) => {
            assert!(ours);
            assert_eq!(uploaded.parts_resumed, 0);
            t.assert_stored("o", path);
            // An empty file may be anybody's: it stays.
            t.assert_files(if damaged.is_empty() {
                &["f", "f.cp"]
            } else {
                &["f"]
            });
            assert!(fs::read(checkpoint_path).unwrap_or_default().is_empty());
        }
        Err(Error::NotACheckpoint { path, .. }) => {
            assert!(!ours);
            assert_eq!(path, checkpoint_path);
            assert_eq!(
                fs::read(checkpoint_path).unwrap(),
                damaged,
                "the file was modified"
            );
            fs::remove_file(checkpoint_path).unwrap();
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn checkpoint_damage_is_the_reported_restart_reason() {
    let t = Harness::new();
    let (path, checkpoint_path) = interrupted(&t);
    let text = fs::read_to_string(&checkpoint_path).unwrap();
    fs::write(&checkpoint_path, text.replace("part 2", "part 3")).unwrap();
    let (event, uploaded) = finish(&t, &path);
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::CheckpointDamaged)
    );
    assert_eq!(uploaded.parts_resumed, 0);
}

#[test]
fn checkpoint_path_with_foreign_file_is_not_modified() {
    let go = r#"{"Magic":"FE8BB4EA-B593-4FAC-AD7A-2459A36E2E62","MD5":"x","FilePath":"f"}"#;
    for foreign in [
        "not a checkpoint",
        go,
        "oss-upload checkpoint 3\n",
        "oss-upload checkpoint 10\n",
        "\n",
        "O",
    ] {
        let t = Harness::new();
        t.file("f", SIZE);
        let checkpoint_path = t.path("f.cp");
        fs::write(&checkpoint_path, foreign).unwrap();
        let error = t.upload([checkpoint(true, "")]).unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if *path == checkpoint_path),
            "{error}"
        );
        assert!(!error.is_resumable());
        assert_eq!(fs::read_to_string(&checkpoint_path).unwrap(), foreign);
        assert_eq!(t.server.requests().len(), 0);
        // The same holds for a file at the path of the temporary file.
        fs::remove_file(&checkpoint_path).unwrap();
        fs::write(t.path("f.cp.oss-upload-tmp"), foreign).unwrap();
        let error = t.upload([checkpoint(true, "")]).unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if path.ends_with("f.cp.oss-upload-tmp")),
            "{error}"
        );
        assert_eq!(
            fs::read_to_string(t.path("f.cp.oss-upload-tmp")).unwrap(),
            foreign
        );
        t.assert_files(&["f", "f.cp.oss-upload-tmp"]);
    }
}

#[test]
fn checkpoint_temporary_file_of_a_crash_is_removed() {
    let t = Harness::new();
    let (path, checkpoint_path) = interrupted(&t);
    let text = fs::read_to_string(&checkpoint_path).unwrap();
    fs::write(t.path("f.cp.oss-upload-tmp"), &text[..text.len() / 2]).unwrap();
    let (event, uploaded) = finish(&t, &path);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 3));
    t.assert_nothing_left(&["f"]);
}

#[cfg(unix)]
#[test]
fn checkpoint_file_is_private_and_holds_no_secret() {
    use std::os::unix::fs::PermissionsExt;
    let t = Harness::with_server(
        LocalOss::builder()
            .credentials("my-id", "my-secret")
            .token("my-token")
            .start()
            .unwrap(),
    );
    let credentials =
        oss_upload::Credentials::new("my-id", "my-secret").with_security_token("my-token");
    let bucket = bucket(client(&t.server).credentials(credentials));
    let path = t.file("f", SIZE);
    let modes = RefCell::new(Vec::new());
    let look = progress(|_| {
        let checkpoint_path = t.path("f.cp");
        if let Ok(text) = fs::read_to_string(&checkpoint_path) {
            assert!(!text.contains("my-"), "{text}");
            modes
                .borrow_mut()
                .push(fs::metadata(&checkpoint_path).unwrap().permissions().mode() & 0o777);
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

/// Calls `look` while an upload of another thread has stalled in the middle.
fn while_it_runs(
    t: &Harness,
    options: impl Fn() -> Vec<oss_upload::UploadOption<'static>> + Sync,
    look: impl FnOnce(&Bucket),
) {
    t.file("f", SIZE);
    let token = CancelToken::new();
    t.inject_always(Operation::UploadPart, Fault::Stall);
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let stop = [cancel(&token), delete_upload_on_cancelling(false)];
            t.upload(options().into_iter().chain(stop)).unwrap_err()
        });
        while t.parts_sent().is_empty() {
            thread::yield_now();
        }
        look(&t.bucket);
        token.cancel();
        assert!(matches!(running.join().unwrap(), Error::Cancelled { .. }));
    });
    t.server.clear_faults();
}

#[test]
fn checkpoint_in_use_is_an_error_in_second_call() {
    let t = Harness::new();
    let checkpoint_path = t.path("f.cp");
    while_it_runs(
        &t,
        || vec![checkpoint(true, "")],
        |bucket| {
            let before = t.server.requests().len();
            let error = bucket
                .upload_file("o", t.path("f"), PART, [checkpoint(true, "")])
                .unwrap_err();
            assert!(
                matches!(&error, Error::CheckpointInUse { path, .. } if *path == checkpoint_path),
                "{error}"
            );
            assert!(error.is_resumable());
            assert_eq!(t.server.requests().len(), before);
            // With a checkpoint of its own it works.
            t.server.clear_faults();
            bucket
                .upload_file("o2", t.path("f"), PART, [checkpoint_dir(true, t.path("d"))])
                .unwrap();
            t.assert_stored("o2", &t.path("f"));
        },
    );
    finish(&t, &t.path("f"));
    t.assert_files(&["d", "f"]);
}

/// However many calls start at once, one at a time holds the checkpoint, and the object is right.
#[test]
fn checkpoint_lock_under_contention() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    for _ in 0..20 {
        let start = Barrier::new(8);
        let results: Vec<_> = thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        t.upload([checkpoint(true, ""), routines(2)])
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert!(results.iter().any(Result::is_ok), "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error, Error::CheckpointInUse { .. }), "{error}");
        }
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn checkpoint_moved_with_its_file_resumes() {
    let t = Harness::new();
    let (path, checkpoint_path) = interrupted(&t);
    let (moved, moved_checkpoint) = (t.path("g"), t.path("g.cp"));
    fs::rename(&path, &moved).unwrap();
    fs::rename(&checkpoint_path, &moved_checkpoint).unwrap();
    let (event, uploaded) = finish(&t, &moved);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 3));
    t.assert_nothing_left(&["g"]);
}

#[test]
fn checkpoint_never_names_the_host_of_a_signed_request() {
    let elsewhere = Harness::new();
    let (_, checkpoint_path) = interrupted(&elsewhere);
    let t = Harness::new();
    let path = t.file("f", SIZE);
    fs::copy(&checkpoint_path, t.path("f.cp")).unwrap();
    let (event, _) = finish(&t, &path);
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::TargetChanged)
    );
    assert_eq!(elsewhere.server.requests().len(), 0);
    assert_eq!(t.requests(Operation::AbortMultipartUpload).len(), 0);
}

#[test]
fn checkpoint_store_of_the_caller_resumes() {
    let t = Harness::new();
    t.file("f", SIZE);
    let mut memory = MemoryStore::default();
    t.refuse_part(4);
    t.upload([checkpoint_store(&mut memory)]).unwrap_err();
    assert!(memory.text.as_ref().unwrap().contains("\npart 3 "));
    let uploaded = t.upload([checkpoint_store(&mut memory)]).unwrap();
    assert_eq!(uploaded.parts_resumed, 3);
    assert_eq!(memory.text, None);
    t.assert_nothing_left(&["f"]);
}

/// The cost of saving must not grow with the square of the number of parts.
#[test]
fn checkpoint_is_saved_by_time_not_by_part() {
    let t = Harness::discarding();
    let path = t.sparse_file(300 * PART).unwrap();
    let mut memory = MemoryStore::default();
    let started = std::time::Instant::now();
    t.bucket
        .upload_file("o", &path, PART, [checkpoint_store(&mut memory)])
        .unwrap();
    let seconds = started.elapsed().as_secs() as usize;
    assert!(
        memory.saves <= 3 + seconds,
        "{} saves in {seconds} s",
        memory.saves
    );
}

#[test]
fn checkpoint_store_error_fails_upload_until_object_is_complete() {
    let t = Harness::new();
    t.file("f", SIZE);
    for fails in [StoreFailure::Of(&["load"]), StoreFailure::Of(&["save"])] {
        let store = FailingStore::new(fails, "no disk");
        let error = t.upload([checkpoint_store(store)]).unwrap_err();
        assert!(
            matches!(error, Error::Checkpoint { path: None, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("no disk"), "{error}");
        t.assert_nothing_left(&["f"]);
    }
    let store = FailingStore::new(StoreFailure::Of(&["remove"]), "no disk");
    t.upload([checkpoint_store(store)]).unwrap();
    t.assert_stored("o", &t.path("f"));
}

/// The store reports an error and has saved all the same. The upload is aborted, so nothing may name
/// it.
#[test]
fn checkpoint_store_names_no_aborted_upload_after_a_save_that_failed() {
    let t = Harness::with_file(3 * PART);
    let mut store = FailingStore::new(StoreFailure::At(2), "the connection was lost");
    store.fails_after_effect = true;
    let error = t.upload([checkpoint_store(&mut store)]).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error:?}");
    assert_eq!(store.failed, ["save"]);
    assert_eq!(store.memory.text, None);
    t.assert_nothing_left(&["f"]);
}

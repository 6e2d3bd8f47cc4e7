//! A checkpoint that cannot be created, written, replaced or removed.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use local_oss::Operation;
use oss_upload::{
    Error, Progress, Uploaded, checkpoint, checkpoint_dir, checkpoint_store, progress,
};

use crate::harness::{FailingStore, Harness, PART, StoreFailure, file_names, report_skipped};

const SIZE: u64 = 5 * PART + 7;

/// Calls `meddle` once, as soon as two parts are stored.
fn upload_meddled_with(
    t: &Harness,
    checkpoint_path: &Path,
    meddle: impl Fn(),
) -> Result<Uploaded, Error> {
    let done = Cell::new(false);
    let meddle = |progress: &Progress| {
        if progress.parts_done >= 2 && !done.replace(true) {
            meddle();
        }
    };
    t.upload([checkpoint(true, checkpoint_path), progress(meddle)])
}

fn harness() -> Harness {
    Harness::with_file(SIZE)
}

#[track_caller]
fn assert_names(error: &Error, checkpoint_path: &Path) {
    assert!(
        matches!(error, Error::Checkpoint { path: Some(path), .. } if path == checkpoint_path),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&checkpoint_path.display().to_string()) && !text.contains('\n'),
        "{text}"
    );
}

/// Asserts that the upload stopped at the checkpoint's failure and was not completed.
#[track_caller]
fn assert_stopped(t: &Harness, result: Result<Uploaded, Error>, checkpoint_path: &Path) {
    assert_names(&result.unwrap_err(), checkpoint_path);
    assert!(t.server.object("examplebucket", "o").is_none());
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
}

/// The same call again completes the upload, and sends no part again.
#[track_caller]
fn assert_resumes(t: &Harness, checkpoint_path: &Path) {
    let uploaded = t.upload([checkpoint(true, checkpoint_path)]).unwrap();
    t.assert_stored("o", &t.path("f"));
    assert!(!checkpoint_path.exists() && t.server.uploads().is_empty());
    assert!(uploaded.parts_resumed >= 2);
    assert_eq!(t.parts_sent(), [1, 2, 3, 4, 5, 6]);
}

/// A file system of four pages. Only root can mount it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let disk = SmallDisk(path);
        let mounted = disk.run("mount", &["-t", "tmpfs", "-o", "size=16k", "tmpfs"]);
        if !mounted {
            report_skipped("a small disk cannot be mounted here");
        }
        mounted.then_some(disk)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let output = Command::new(program).args(arguments).arg(&self.0).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn fill(&self) {
        fs::write(self.0.join("filler"), [0; 64 * 1024]).unwrap_err();
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn forbid_writing(&self) {
        assert!(self.run("mount", &["-o", "remount,ro"]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

#[test]
fn checkpoint_path_that_cannot_be_created_fails_before_any_request() {
    let t = harness();
    let missing = t.path("missing/f.cp");
    let error = t.upload([checkpoint(true, &missing)]).unwrap_err();
    assert_names(&error, &missing);
    assert!(
        !error.is_resumable(),
        "the same call would fail the same way"
    );
    let in_a_file = t.path("f/dir");
    assert_names(
        &t.upload([checkpoint_dir(true, &in_a_file)]).unwrap_err(),
        &in_a_file,
    );
    assert_eq!(t.server.requests().len(), 0);
    t.assert_files(&["f"]);
}

#[test]
fn checkpoint_in_read_only_directory_fails_before_any_request() {
    let t = harness();
    let Some(disk) = SmallDisk::mount(t.path("disk")) else {
        return;
    };
    disk.forbid_writing();
    let checkpoint_path = t.path("disk/f.cp");
    let error = t.upload([checkpoint(true, &checkpoint_path)]).unwrap_err();
    assert_names(&error, &checkpoint_path);
    assert!(error.to_string().contains("checkpoint_dir"), "{error}");
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
#[cfg(unix)]
fn checkpoint_directory_without_permission_fails_before_any_request() {
    use std::os::unix::fs::PermissionsExt;
    let t = harness();
    let dir = t.path("dir");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    let checkpoint_path = dir.join("f.cp");
    let result = t.upload([checkpoint(true, &checkpoint_path)]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    if result.is_ok() {
        report_skipped("root may write everywhere");
        return;
    }
    let error = result.unwrap_err();
    assert_names(&error, &checkpoint_path);
    assert!(error.to_string().contains("checkpoint_dir"), "{error}");
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
fn checkpoint_on_full_disk_leaves_no_unknown_upload() {
    let t = harness();
    let Some(disk) = SmallDisk::mount(t.path("disk")) else {
        return;
    };
    disk.fill();
    let checkpoint_path = t.path("disk/f.cp");
    let error = t.upload([checkpoint(true, &checkpoint_path)]).unwrap_err();
    assert_names(&error, &checkpoint_path);
    assert!(error.is_resumable(), "there may be room the next time");
    assert_eq!(
        t.server.uploads().len(),
        0,
        "an upload that no checkpoint knows"
    );
    assert_eq!(t.parts_sent(), []);
    assert_eq!(file_names(&disk.0), ["filler"]);
    disk.free();
    t.upload([checkpoint(true, &checkpoint_path)]).unwrap();
    t.assert_stored("o", &t.path("f"));
    assert_eq!(file_names(&disk.0), [""; 0]);
}

#[test]
fn checkpoint_disk_full_during_upload_keeps_last_checkpoint() {
    let t = harness();
    let Some(disk) = SmallDisk::mount(t.path("disk")) else {
        return;
    };
    let checkpoint_path = t.path("disk/f.cp");
    assert_stopped(
        &t,
        upload_meddled_with(&t, &checkpoint_path, || disk.fill()),
        &checkpoint_path,
    );
    assert_eq!(file_names(&disk.0), ["f.cp", "filler"]);
    disk.free();
    assert_resumes(&t, &checkpoint_path);
}

#[test]
fn checkpoint_temporary_path_blocked_by_directory_stops_upload() {
    let t = harness();
    let (checkpoint_path, temporary) = (t.path("f.cp"), t.path("f.cp.oss-upload-tmp"));
    let result = upload_meddled_with(&t, &checkpoint_path, || fs::create_dir(&temporary).unwrap());
    assert_stopped(&t, result, &checkpoint_path);
    let requests = t.server.requests().len();
    let error = t.upload([checkpoint(true, &checkpoint_path)]).unwrap_err();
    assert!(
        matches!(&error, Error::NotACheckpoint { path, .. } if *path == temporary),
        "{error:?}"
    );
    assert_eq!(t.server.requests().len(), requests);
    fs::remove_dir(&temporary).unwrap();
    assert_resumes(&t, &checkpoint_path);
}

/// Windows removes no directory that has an open file in it.
#[cfg(unix)]
#[test]
fn checkpoint_directory_removed_during_upload_stops_it() {
    let t = harness();
    let dir = t.path("dir");
    let checkpoint_path = dir.join("f.cp");
    fs::create_dir(&dir).unwrap();
    let result = upload_meddled_with(&t, &checkpoint_path, || fs::remove_dir_all(&dir).unwrap());
    assert_stopped(&t, result, &checkpoint_path);
    assert_names(
        &t.upload([checkpoint(true, &checkpoint_path)]).unwrap_err(),
        &checkpoint_path,
    );
    fs::create_dir(&dir).unwrap();
    t.upload([checkpoint(true, &checkpoint_path)]).unwrap();
    t.assert_stored("o", &t.path("f"));
}

#[test]
fn checkpoint_removed_during_upload_is_written_again() {
    let t = harness();
    let checkpoint_path = t.path("f.cp");
    upload_meddled_with(&t, &checkpoint_path, || {
        fs::remove_file(&checkpoint_path).unwrap()
    })
    .unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

/// Whatever takes the place of the checkpoint during the upload is not overwritten.
#[test]
#[cfg(unix)]
fn checkpoint_replaced_during_upload_is_not_overwritten() {
    type Take = fn(&Path);
    let table: [(&str, Take); 3] = [
        ("a file", |checkpoint_path| {
            fs::write(checkpoint_path, "precious").unwrap()
        }),
        ("a link", |checkpoint_path| {
            let precious = checkpoint_path.with_extension("precious");
            fs::write(&precious, "precious").unwrap();
            std::os::unix::fs::symlink(precious, checkpoint_path).unwrap();
        }),
        ("a directory", |checkpoint_path| {
            fs::create_dir(checkpoint_path).unwrap();
            fs::write(checkpoint_path.join("file"), "precious").unwrap();
        }),
    ];
    for (what, take) in table {
        let t = harness();
        let checkpoint_path = t.path("f.cp");
        let result = upload_meddled_with(&t, &checkpoint_path, || {
            fs::remove_file(&checkpoint_path).unwrap();
            take(&checkpoint_path);
        });
        let left = if checkpoint_path.is_dir() {
            checkpoint_path.join("file")
        } else {
            checkpoint_path.clone()
        };
        assert_eq!(
            fs::read_to_string(left).unwrap_or_default(),
            "precious",
            "{what}: {result:?}"
        );
        assert_eq!(checkpoint_path.is_symlink(), what == "a link");
        assert_stopped(&t, result, &checkpoint_path);
        let error = t.upload([checkpoint(true, &checkpoint_path)]).unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if *path == checkpoint_path),
            "{error:?}"
        );
    }
}

/// One load, two saves and one remove: each fails in turn, once or with all later calls, with and
/// without effect.
#[test]
#[ignore = "slow: several seconds"]
fn checkpoint_store_failing_at_any_call_resumes() {
    for (for_good, fails_after_effect) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let mut functions = Vec::new();
        for at in 1.. {
            let t = harness();
            let fails = if for_good {
                StoreFailure::From(at)
            } else {
                StoreFailure::At(at)
            };
            let mut store = FailingStore::new(fails, "the disk is on fire");
            store.fails_after_effect = fails_after_effect;
            let result = t.upload([checkpoint_store(&mut store)]);
            let Some(what) = store.failed.first().copied() else {
                break;
            };
            functions.push(what);
            match &result {
                // The object is complete; a checkpoint that stays does no harm.
                Ok(_) => assert_eq!(what, "remove"),
                Err(Error::Checkpoint { path: None, .. }) => {
                    let text = result.as_ref().unwrap_err().to_string();
                    assert!(
                        text.contains("checkpoint") && text.contains("on fire"),
                        "{text}"
                    );
                    assert!(t.server.object("examplebucket", "o").is_none());
                    let initiated = functions.iter().filter(|what| **what == "save").count() > 1;
                    assert_eq!(t.server.uploads().len(), initiated.into(), "{what} {at}");
                    assert_eq!(
                        t.parts_sent().len(),
                        if initiated { 6 } else { 0 },
                        "{what} {at}"
                    );
                }
                Err(other) => panic!("{other:?}"),
            }
            if result.is_ok() && fails_after_effect {
                continue;
            }
            store.fails = StoreFailure::Never;
            let again = t.upload([checkpoint_store(&mut store)]).unwrap();
            t.assert_stored("o", &t.path("f"));
            t.assert_nothing_left(&["f"]);
            assert_eq!(store.memory.text, None);
            assert_eq!(t.parts_sent(), [1, 2, 3, 4, 5, 6], "{what} {at}");
            assert!(again.parts_resumed == 6 || again.bytes_sent == SIZE);
        }
        assert_eq!(functions, ["load", "save", "save", "remove"]);
    }
}

//! The file and its checkpoint on disk.

use std::cell::Cell;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use local_oss::{Fault, Operation};
use oss_upload::{
    CancelToken, Progress, cancel, checkpoint, checkpoint_dir, checkpoint_store, progress,
};

use super::{MessageSnapshot, harness, upload_error};
use crate::harness::{FailingStore, Harness, PART, StoreFailure};

const FIRST_LINE: &str = "oss-upload checkpoint 1\n";

pub fn all(snapshot: &mut MessageSnapshot) {
    sources(snapshot);
    changes(snapshot);
    foreign_checkpoints(snapshot);
    checkpoints_that_fail(snapshot);
    stores(snapshot);
    cancelled(snapshot);
}

fn sources(snapshot: &mut MessageSnapshot) {
    let t = harness();
    snapshot.hide(&t);
    let refused = |path: &Path| t.bucket.upload_file("o", path, PART, []).unwrap_err();
    snapshot.add("the file does not exist", refused(&t.path("missing")));
    snapshot.add(
        "the file does not exist, by a relative path",
        refused(Path::new("no/such/file.bin")),
    );
    snapshot.add("the file's path is empty", refused(Path::new("")));
    snapshot.add(
        "the file's name has a line end",
        refused(&t.path("missing\nfile")),
    );
    fs::create_dir(t.path("dir")).unwrap();
    snapshot.add("the file is a directory", refused(&t.path("dir")));
    let below_a_file = t.file("f", 1).join("g");
    snapshot.add("the file's directory is a file", refused(&below_a_file));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let device = t.path("device");
        symlink("/dev/null", &device).unwrap();
        snapshot.add("the file is a device", refused(&device));
        fs::set_permissions(t.path("f"), fs::Permissions::from_mode(0o000)).unwrap();
        match File::open(t.path("f")) {
            Err(_) => snapshot.add("the file may not be read", refused(&t.path("f"))),
            Ok(_) => snapshot.skip("the file may not be read"),
        }
    }
    assert_eq!(t.server.requests().len(), 0);
}

fn changes(snapshot: &mut MessageSnapshot) {
    let meddled = |snapshot: &mut MessageSnapshot, mistake: &str, meddle: &dyn Fn(&Path)| {
        let t = harness();
        snapshot.hide(&t);
        let (path, done) = (t.file("f", 3 * PART), Cell::new(false));
        let meddle = |progress: &Progress| {
            if progress.parts_done >= 1 && !done.replace(true) {
                meddle(&path);
            }
        };
        snapshot.add(
            mistake,
            upload_error(&t, [checkpoint(true, ""), progress(meddle)]),
        );
    };
    meddled(
        snapshot,
        "the file is rewritten during the upload",
        &|path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.reverse();
            fs::write(path, bytes).unwrap();
        },
    );
    meddled(snapshot, "the file grows during the upload", &|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(4 * PART)
            .unwrap();
    });
    meddled(
        snapshot,
        "the file is truncated during the upload",
        &|path| {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(PART)
                .unwrap();
        },
    );
    meddled(snapshot, "the file is renamed during the upload", &|path| {
        fs::rename(path, path.with_extension("old")).unwrap();
    });
    let t = harness();
    let path = t.file("f", 3 * PART);
    let file = File::open(&path).unwrap();
    let grow = |progress: &Progress| {
        if progress.parts_done == 1 {
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(4 * PART)
                .unwrap();
        }
    };
    let error = t
        .bucket
        .upload_open_file("o", file, PART, [progress(grow)])
        .unwrap_err();
    snapshot.add("an open file grows during the upload", error);
}

fn foreign_checkpoints(snapshot: &mut MessageSnapshot) {
    let t = harness();
    snapshot.hide(&t);
    t.file("f", 3 * PART);
    let dir = t.path("a directory");
    fs::create_dir(&dir).unwrap();
    snapshot.add(
        "the checkpoint is a directory",
        upload_error(&t, [checkpoint(true, &dir)]),
    );
    let foreign = t.path("notes.txt");
    fs::write(&foreign, "my notes").unwrap();
    snapshot.add(
        "the checkpoint is a foreign file",
        upload_error(&t, [checkpoint(true, &foreign)]),
    );
    let locked = t.path("f.cp");
    fs::write(&locked, FIRST_LINE).unwrap();
    let held = File::open(&locked).unwrap();
    held.lock().unwrap();
    snapshot.add(
        "the checkpoint is in use",
        upload_error(&t, [checkpoint(true, &locked)]),
    );
    drop(held);
    fs::remove_file(&locked).unwrap();
    let temporary = t.path("f.cp.oss-upload-tmp");
    fs::create_dir(&temporary).unwrap();
    snapshot.add(
        "a directory is at the path of the temporary checkpoint",
        upload_error(&t, [checkpoint(true, "")]),
    );
    fs::remove_dir(&temporary).unwrap();
    let replaced = Cell::new(false);
    let replace = |progress: &Progress| {
        if progress.parts_done == 2 && !replaced.replace(true) {
            fs::remove_file(&locked).unwrap();
            fs::write(&locked, "my notes").unwrap();
        }
    };
    if cfg!(unix) {
        let error = upload_error(&t, [checkpoint(true, ""), progress(replace)]);
        snapshot.add("the checkpoint is replaced while it is in use", error);
    }
}

fn checkpoints_that_fail(snapshot: &mut MessageSnapshot) {
    let t = harness();
    snapshot.hide(&t);
    t.file("f", 3 * PART);
    let missing = t.path("no/such/directory/f.cp");
    snapshot.add(
        "the checkpoint's directory does not exist",
        upload_error(&t, [checkpoint(true, missing)]),
    );
    snapshot.add(
        "checkpoint_dir is a file",
        upload_error(&t, [checkpoint_dir(true, t.path("f"))]),
    );
    let below_a_file = t.path("f").join("f.cp");
    snapshot.add(
        "the checkpoint's directory is a file",
        upload_error(&t, [checkpoint(true, below_a_file)]),
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let dir = t.path("theirs");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
        let mistake = "the checkpoint's directory may not be written to";
        match File::create(dir.join("try")) {
            Err(_) => snapshot.add(
                mistake,
                upload_error(&t, [checkpoint(true, dir.join("f.cp"))]),
            ),
            Ok(_) => snapshot.skip(mistake),
        }
    }
    disks(snapshot, &t);
}

/// Only root has a small disk to give.
fn disks(snapshot: &mut MessageSnapshot, t: &Harness) {
    let disk = t.path("disk");
    fs::create_dir(&disk).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(&disk).output();
        output.is_ok_and(|output| output.status.success())
    };
    let (full, read_only) = (
        "the checkpoint's disk is full",
        "the checkpoint's disk is read-only",
    );
    if !run("mount", &["-t", "tmpfs", "-o", "size=16k", "tmpfs"]) {
        snapshot.skip(full);
        snapshot.skip(read_only);
        return;
    }
    fs::write(disk.join("filler"), [0; 64 * 1024]).unwrap_err();
    let on_full = upload_error(t, [checkpoint(true, disk.join("f.cp"))]);
    assert!(run("mount", &["-o", "remount,ro"]));
    let on_read_only = upload_error(t, [checkpoint(true, disk.join("f.cp"))]);
    run("umount", &["-l"]);
    snapshot.add(full, on_full);
    snapshot.add(read_only, on_read_only);
}

fn stores(snapshot: &mut MessageSnapshot) {
    let t = harness();
    t.file("f", 3 * PART);
    let cannot_load = FailingStore::new(StoreFailure::Of(&["load"]), "the table uploads is locked");
    let cannot_save = FailingStore::new(
        StoreFailure::Of(&["save"]),
        "the table uploads is read-only\nsee the log",
    );
    snapshot.add(
        "a checkpoint store cannot load",
        upload_error(&t, [checkpoint_store(cannot_load)]),
    );
    snapshot.add(
        "a checkpoint store cannot save",
        upload_error(&t, [checkpoint_store(cannot_save)]),
    );
}

fn cancelled(snapshot: &mut MessageSnapshot) {
    let t = harness();
    t.file("f", 3 * PART);
    let token = CancelToken::new();
    let stop = |progress: &Progress| {
        if progress.parts_done == 1 {
            token.cancel();
        }
    };
    snapshot.add(
        "the upload is cancelled",
        upload_error(&t, [cancel(&token), progress(stop)]),
    );
    t.inject(Operation::CompleteMultipartUpload, Fault::StallAfterApply);
    let token = CancelToken::new();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while t.requests(Operation::CompleteMultipartUpload).is_empty() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            token.cancel();
        });
        upload_error(&t, [cancel(&token)])
    });
    snapshot.add("the upload is cancelled while it is being completed", error);
    let panics = |_: &Progress| panic!("the progress bar broke");
    let panic =
        catch_unwind(AssertUnwindSafe(|| upload_error(&t, [progress(panics)]))).unwrap_err();
    assert_eq!(
        panic.downcast_ref(),
        Some(&"the progress bar broke"),
        "the caller's own words"
    );
}

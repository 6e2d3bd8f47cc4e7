//! The file and its record on disk.

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    CancelToken, CheckpointStore, Error, Progress, UploadOption, cancel, checkpoint,
    checkpoint_dir, checkpoint_store, progress,
};

use super::{Book, house};
use crate::house::{House, PART};

const FIRST_LINE: &str = "oss-upload checkpoint 1\n";

pub fn all(book: &mut Book) {
    sources(book);
    changes(book);
    foreign_records(book);
    records_that_fail(book);
    stores(book);
    cancelled(book);
}

fn upload<'a>(house: &House, options: impl IntoIterator<Item = UploadOption<'a>>) -> Error {
    house
        .bucket
        .upload_file("dir/object.bin", house.path("f"), PART, options)
        .unwrap_err()
}

fn sources(book: &mut Book) {
    let house = house();
    book.hide(&house);
    let refused = |path: &Path| house.bucket.upload_file("o", path, PART, []).unwrap_err();
    book.add("the file is not there", refused(&house.path("missing")));
    book.add(
        "the file is not there, by a relative path",
        refused(Path::new("no/such/file.bin")),
    );
    book.add("the file's path is empty", refused(Path::new("")));
    book.add(
        "the file's name has a line end",
        refused(&house.path("missing\nfile")),
    );
    fs::create_dir(house.path("dir")).unwrap();
    book.add("the file is a directory", refused(&house.path("dir")));
    let below_a_file = house.file("f", 1).join("g");
    book.add("the file's directory is a file", refused(&below_a_file));
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let device = house.path("device");
        symlink("/dev/null", &device).unwrap();
        book.add("the file is a device", refused(&device));
        fs::set_permissions(house.path("f"), fs::Permissions::from_mode(0o000)).unwrap();
        match File::open(house.path("f")) {
            Err(_) => book.add("the file may not be read", refused(&house.path("f"))),
            Ok(_) => book.skip("the file may not be read"),
        }
    }
    assert_eq!(house.server.requests().len(), 0);
}

fn changes(book: &mut Book) {
    let meddled = |book: &mut Book, mistake: &str, meddle: &dyn Fn(&Path)| {
        let house = house();
        book.hide(&house);
        let (path, done) = (house.file("f", 3 * PART), Cell::new(false));
        let meddle = |progress: &Progress| {
            if progress.parts_done >= 1 && !done.replace(true) {
                meddle(&path);
            }
        };
        book.add(
            mistake,
            upload(&house, [checkpoint(true, ""), progress(meddle)]),
        );
    };
    meddled(book, "the file is rewritten while it goes up", &|path| {
        let mut bytes = fs::read(path).unwrap();
        bytes.reverse();
        fs::write(path, bytes).unwrap();
    });
    meddled(book, "the file grows while it goes up", &|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(4 * PART)
            .unwrap();
    });
    meddled(book, "the file is cut while it goes up", &|path| {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(PART)
            .unwrap();
    });
    meddled(book, "the file is renamed while it goes up", &|path| {
        fs::rename(path, path.with_extension("old")).unwrap();
    });
    let house = house();
    let path = house.file("f", 3 * PART);
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
    let error = house
        .bucket
        .upload_open_file("o", file, PART, [progress(grow)])
        .unwrap_err();
    book.add("an open file grows while it goes up", error);
}

fn foreign_records(book: &mut Book) {
    let house = house();
    book.hide(&house);
    house.file("f", 3 * PART);
    let dir = house.path("a directory");
    fs::create_dir(&dir).unwrap();
    book.add(
        "the checkpoint is a directory",
        upload(&house, [checkpoint(true, &dir)]),
    );
    let foreign = house.path("notes.txt");
    fs::write(&foreign, "my notes").unwrap();
    book.add(
        "the checkpoint is somebody else's file",
        upload(&house, [checkpoint(true, &foreign)]),
    );
    let locked = house.path("f.cp");
    fs::write(&locked, FIRST_LINE).unwrap();
    let held = File::open(&locked).unwrap();
    held.lock().unwrap();
    book.add(
        "the checkpoint is in use",
        upload(&house, [checkpoint(true, &locked)]),
    );
    drop(held);
    fs::remove_file(&locked).unwrap();
    let temporary = house.path("f.cp.oss-upload-tmp");
    fs::create_dir(&temporary).unwrap();
    book.add(
        "a directory is where the next record goes",
        upload(&house, [checkpoint(true, "")]),
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
        let error = upload(&house, [checkpoint(true, ""), progress(replace)]);
        book.add("the checkpoint is replaced while it is in use", error);
    }
}

fn records_that_fail(book: &mut Book) {
    let house = house();
    book.hide(&house);
    house.file("f", 3 * PART);
    let missing = house.path("no/such/directory/f.cp");
    book.add(
        "the checkpoint's directory is not there",
        upload(&house, [checkpoint(true, missing)]),
    );
    book.add(
        "checkpoint_dir is a file",
        upload(&house, [checkpoint_dir(true, house.path("f"))]),
    );
    let below_a_file = house.path("f").join("f.cp");
    book.add(
        "the checkpoint's directory is a file",
        upload(&house, [checkpoint(true, below_a_file)]),
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let dir = house.path("theirs");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
        let mistake = "the checkpoint's directory may not be written to";
        match File::create(dir.join("try")) {
            Err(_) => book.add(
                mistake,
                upload(&house, [checkpoint(true, dir.join("f.cp"))]),
            ),
            Ok(_) => book.skip(mistake),
        }
    }
    disks(book, &house);
}

/// Only root has a small disk to give.
fn disks(book: &mut Book, house: &House) {
    let disk = house.path("disk");
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
        book.skip(full);
        book.skip(read_only);
        return;
    }
    fs::write(disk.join("filler"), [0; 64 * 1024]).unwrap_err();
    let on_full = upload(house, [checkpoint(true, disk.join("f.cp"))]);
    assert!(run("mount", &["-o", "remount,ro"]));
    let on_read_only = upload(house, [checkpoint(true, disk.join("f.cp"))]);
    run("umount", &["-l"]);
    book.add(full, on_full);
    book.add(read_only, on_read_only);
}

/// Fails to save, or already to load.
struct Broken(bool);

impl CheckpointStore for Broken {
    fn load(&mut self) -> io::Result<Option<String>> {
        if self.0 {
            Ok(None)
        } else {
            Err(io::Error::other("the table uploads is locked"))
        }
    }
    fn save(&mut self, _: &str) -> io::Result<()> {
        Err(io::Error::other(
            "the table uploads is read-only\nsee the log",
        ))
    }
    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stores(book: &mut Book) {
    let house = house();
    house.file("f", 3 * PART);
    book.add(
        "a checkpoint store can't load",
        upload(&house, [checkpoint_store(Broken(false))]),
    );
    book.add(
        "a checkpoint store can't save",
        upload(&house, [checkpoint_store(Broken(true))]),
    );
}

fn cancelled(book: &mut Book) {
    let house = house();
    house.file("f", 3 * PART);
    let token = CancelToken::new();
    let stop = |progress: &Progress| {
        if progress.parts_done == 1 {
            token.cancel();
        }
    };
    book.add(
        "the upload is cancelled",
        upload(&house, [cancel(&token), progress(stop)]),
    );
    house
        .server
        .inject(Rule::new(Fault::StallAfterApply).on(Operation::CompleteMultipartUpload));
    let token = CancelToken::new();
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            while house
                .requests(Operation::CompleteMultipartUpload)
                .is_empty()
            {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            token.cancel();
        });
        upload(&house, [cancel(&token)])
    });
    book.add("the upload is cancelled while it is being completed", error);
    let panics = |_: &Progress| panic!("the progress bar broke");
    let panic = catch_unwind(AssertUnwindSafe(|| upload(&house, [progress(panics)]))).unwrap_err();
    assert_eq!(
        panic.downcast_ref(),
        Some(&"the progress bar broke"),
        "the caller's own words"
    );
}

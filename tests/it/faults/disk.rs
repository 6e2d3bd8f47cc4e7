//! A record that can't be made, written, replaced or removed.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use local_oss::Operation;
use oss_upload::{
    CheckpointStore, Error, Progress, UploadOption, Uploaded, checkpoint, checkpoint_dir,
    checkpoint_store, progress,
};

use crate::house::{House, PART};

const SIZE: u64 = 5 * PART + 7;

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

/// Meddles once, as soon as two parts are there.
fn upload_meddled_with(house: &House, record: &Path, meddle: impl Fn()) -> Result<Uploaded, Error> {
    let done = Cell::new(false);
    let meddle = |progress: &Progress| {
        if progress.parts_done >= 2 && !done.replace(true) {
            meddle();
        }
    };
    upload(house, [checkpoint(true, record), progress(meddle)])
}

fn house() -> House {
    let house = House::new();
    house.file("f", SIZE);
    house
}

#[track_caller]
fn assert_names(error: &Error, record: &Path) {
    assert!(
        matches!(error, Error::Checkpoint { path: Some(path), .. } if path == record),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&record.display().to_string()) && !text.contains('\n'),
        "{text}"
    );
}

/// Once the record fails no object is made, and what is recorded stays good.
#[track_caller]
fn assert_stopped(house: &House, result: Result<Uploaded, Error>, record: &Path) {
    assert_names(&result.unwrap_err(), record);
    assert!(house.server.object("examplebucket", "o").is_none());
    assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 0);
}

/// The same call again finishes, and sends nothing that is there already.
#[track_caller]
fn assert_carries_on(house: &House, record: &Path) {
    let uploaded = upload(house, [checkpoint(true, record)]).unwrap();
    house.assert_stored("o", &house.path("f"));
    assert!(!record.exists() && house.server.uploads().is_empty());
    assert!(uploaded.parts_resumed >= 2);
    assert_eq!(house.parts_sent(), [1, 2, 3, 4, 5, 6]);
}

/// A disk of four pages. Only root has one to give.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir(&path).unwrap();
        let disk = SmallDisk(path);
        let mounted = disk.run("mount", &["-t", "tmpfs", "-o", "size=16k", "tmpfs"]);
        if !mounted {
            eprintln!("skipped: a small disk can't be mounted here");
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
fn a_place_that_takes_no_record_is_noticed_before_any_request() {
    let house = house();
    let missing = house.path("missing/f.cp");
    let error = upload(&house, [checkpoint(true, &missing)]).unwrap_err();
    assert_names(&error, &missing);
    assert!(
        !error.is_resumable(),
        "the same call would fail the same way"
    );
    let in_a_file = house.path("f/dir");
    assert_names(
        &upload(&house, [checkpoint_dir(true, &in_a_file)]).unwrap_err(),
        &in_a_file,
    );
    assert_eq!(house.server.requests().len(), 0);
    house.assert_files(&["f"]);
}

#[test]
fn a_read_only_directory_is_noticed_before_any_request_and_a_way_out_is_told() {
    let house = house();
    let Some(disk) = SmallDisk::mount(house.path("disk")) else {
        return;
    };
    disk.forbid_writing();
    let record = house.path("disk/f.cp");
    let error = upload(&house, [checkpoint(true, &record)]).unwrap_err();
    assert_names(&error, &record);
    assert!(error.to_string().contains("checkpoint_dir"), "{error}");
    assert_eq!(house.server.requests().len(), 0);
}

#[test]
#[cfg(unix)]
fn a_directory_without_permission_is_noticed_before_any_request() {
    use std::os::unix::fs::PermissionsExt;
    let house = house();
    let dir = house.path("dir");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    let record = dir.join("f.cp");
    let result = upload(&house, [checkpoint(true, &record)]);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    if result.is_ok() {
        eprintln!("skipped: root may write everywhere");
        return;
    }
    let error = result.unwrap_err();
    assert_names(&error, &record);
    assert!(error.to_string().contains("checkpoint_dir"), "{error}");
    assert_eq!(house.server.requests().len(), 0);
}

#[test]
fn on_a_full_disk_nothing_is_begun_that_would_be_forgotten() {
    let house = house();
    let Some(disk) = SmallDisk::mount(house.path("disk")) else {
        return;
    };
    disk.fill();
    let record = house.path("disk/f.cp");
    let error = upload(&house, [checkpoint(true, &record)]).unwrap_err();
    assert_names(&error, &record);
    assert!(error.is_resumable(), "there may be room the next time");
    assert_eq!(
        house.server.uploads().len(),
        0,
        "an upload that nobody knows of"
    );
    assert_eq!(house.parts_sent(), []);
    assert_eq!(entries(&disk.0), ["filler"]);
    disk.free();
    upload(&house, [checkpoint(true, &record)]).unwrap();
    house.assert_stored("o", &house.path("f"));
    assert_eq!(entries(&disk.0), [""; 0]);
}

#[test]
fn a_disk_that_fills_up_on_the_way_stops_the_upload_and_keeps_the_last_record() {
    let house = house();
    let Some(disk) = SmallDisk::mount(house.path("disk")) else {
        return;
    };
    let record = house.path("disk/f.cp");
    assert_stopped(
        &house,
        upload_meddled_with(&house, &record, || disk.fill()),
        &record,
    );
    assert_eq!(entries(&disk.0), ["f.cp", "filler"]);
    disk.free();
    assert_carries_on(&house, &record);
}

#[test]
fn a_directory_in_the_way_of_the_next_record_stops_the_upload() {
    let house = house();
    let (record, temporary) = (house.path("f.cp"), house.path("f.cp.oss-upload-tmp"));
    let result = upload_meddled_with(&house, &record, || fs::create_dir(&temporary).unwrap());
    assert_stopped(&house, result, &record);
    let requests = house.server.requests().len();
    let error = upload(&house, [checkpoint(true, &record)]).unwrap_err();
    assert!(
        matches!(&error, Error::NotACheckpoint { path, .. } if *path == temporary),
        "{error:?}"
    );
    assert_eq!(house.server.requests().len(), requests);
    fs::remove_dir(&temporary).unwrap();
    assert_carries_on(&house, &record);
}

/// Windows removes no directory that has an open file in it.
#[cfg(unix)]
#[test]
fn a_directory_that_is_removed_on_the_way_stops_the_upload() {
    let house = house();
    let dir = house.path("dir");
    let record = dir.join("f.cp");
    fs::create_dir(&dir).unwrap();
    let result = upload_meddled_with(&house, &record, || fs::remove_dir_all(&dir).unwrap());
    assert_stopped(&house, result, &record);
    assert_names(
        &upload(&house, [checkpoint(true, &record)]).unwrap_err(),
        &record,
    );
    fs::create_dir(&dir).unwrap();
    upload(&house, [checkpoint(true, &record)]).unwrap();
    house.assert_stored("o", &house.path("f"));
}

#[test]
fn a_record_that_vanishes_on_the_way_is_written_again() {
    let house = house();
    let record = house.path("f.cp");
    upload_meddled_with(&house, &record, || fs::remove_file(&record).unwrap()).unwrap();
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

/// Whatever takes the record's place on the way is not ours to overwrite.
#[test]
#[cfg(unix)]
fn what_takes_the_place_of_the_record_is_left_alone() {
    type Take = fn(&Path);
    let table: [(&str, Take); 3] = [
        ("a file", |record| fs::write(record, "precious").unwrap()),
        ("a link", |record| {
            let precious = record.with_extension("precious");
            fs::write(&precious, "precious").unwrap();
            std::os::unix::fs::symlink(precious, record).unwrap();
        }),
        ("a directory", |record| {
            fs::create_dir(record).unwrap();
            fs::write(record.join("file"), "precious").unwrap();
        }),
    ];
    for (what, take) in table {
        let house = house();
        let record = house.path("f.cp");
        let result = upload_meddled_with(&house, &record, || {
            fs::remove_file(&record).unwrap();
            take(&record);
        });
        let left = if record.is_dir() {
            record.join("file")
        } else {
            record.clone()
        };
        assert_eq!(
            fs::read_to_string(left).unwrap_or_default(),
            "precious",
            "{what}: {result:?}"
        );
        assert_eq!(record.is_symlink(), what == "a link");
        assert_stopped(&house, result, &record);
        let error = upload(&house, [checkpoint(true, &record)]).unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path, .. } if *path == record),
            "{error:?}"
        );
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    entries.sort();
    entries
}

/// A store that fails at the given call, and from then on if it is broken for good.
#[derive(Default)]
struct Failing {
    text: Option<String>,
    calls: usize,
    at: usize,
    for_good: bool,
    /// It does what it is told, then says that it could not.
    lies: bool,
    fired: Option<&'static str>,
}

impl Failing {
    fn call(
        &mut self,
        what: &'static str,
        apply: impl FnOnce(&mut Option<String>),
    ) -> io::Result<()> {
        self.calls += 1;
        let fails = self.calls == self.at || (self.for_good && self.calls > self.at);
        if !fails || self.lies {
            apply(&mut self.text);
        }
        if !fails {
            return Ok(());
        }
        self.fired.get_or_insert(what);
        Err(io::Error::other("the store is on fire"))
    }
}

impl CheckpointStore for Failing {
    fn load(&mut self) -> io::Result<Option<String>> {
        self.call("load", |_| {})?;
        Ok(self.text.clone())
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.call("save", |place| *place = Some(text.to_owned()))
    }

    fn remove(&mut self) -> io::Result<()> {
        self.call("remove", |place| *place = None)
    }
}

/// Load, two saves and a remove: each fails in turn.
#[test]
fn a_store_that_fails_at_any_call() {
    for (for_good, lies) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut fired = Vec::new();
        for at in 1.. {
            let house = house();
            let mut store = Failing {
                at,
                for_good,
                lies,
                ..Failing::default()
            };
            let result = upload(&house, [checkpoint_store(&mut store)]);
            let Some(what) = store.fired else { break };
            fired.push(what);
            match &result {
                // Nobody is hurt by a record that stays.
                Ok(_) => assert_eq!(what, "remove"),
                Err(Error::Checkpoint { path: None, .. }) => {
                    let text = result.as_ref().unwrap_err().to_string();
                    assert!(
                        text.contains("checkpoint") && text.contains("on fire"),
                        "{text}"
                    );
                    assert!(house.server.object("examplebucket", "o").is_none());
                    let begun = fired.iter().filter(|what| **what == "save").count() > 1;
                    assert_eq!(house.server.uploads().len(), begun.into(), "{what} {at}");
                    assert_eq!(
                        house.parts_sent().len(),
                        if begun { 6 } else { 0 },
                        "{what} {at}"
                    );
                }
                Err(other) => panic!("{other:?}"),
            }
            if result.is_ok() && lies {
                continue;
            }
            (store.at, store.for_good) = (0, false);
            let again = upload(&house, [checkpoint_store(&mut store)]).unwrap();
            house.assert_stored("o", &house.path("f"));
            house.assert_nothing_left(&["f"]);
            assert_eq!(store.text, None);
            assert_eq!(house.parts_sent(), [1, 2, 3, 4, 5, 6], "{what} {at}");
            assert!(again.parts_resumed == 6 || again.bytes_sent == SIZE);
        }
        assert_eq!(fired, ["load", "save", "save", "remove"]);
    }
}

//! The checkpoint file: existing files at its path, foreign files, and reasons why it cannot be
//! written.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    CancelToken, Client, Credentials, Error, Progress, ProgressEvent, UploadOption, Uploaded,
    cancel, checkpoint, checkpoint_dir, checkpoint_store, delete_upload_on_cancelling, progress,
};

use crate::harness::{Harness, MemoryStore, PART, run_in_subprocess};

const SIZE: u64 = 5 * PART + 7;

fn upload<'a>(
    t: &Harness,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    t.bucket.upload_file("o", t.path("f"), PART, options)
}

/// Leaves three of six parts behind, and a checkpoint.
fn interrupted(t: &Harness) {
    t.file("f", SIZE);
    t.refuse_part(4);
    upload(t, [checkpoint(true, "")]).unwrap_err();
    t.server.clear_requests();
}

/// A checkpoint with other lines and a checksum that fits.
fn rewrite(text: &str, change: impl Fn(&str) -> Option<String>) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("md5 "));
    let text: String = lines.filter_map(change).map(|line| line + "\n").collect();
    format!("{text}md5 {:x}\n", md5::compute(&text))
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap()
        .trim()
}

#[test]
fn checkpoint_of_version_1_resumes() {
    let t = Harness::new();
    interrupted(&t);
    let text = fs::read_to_string(t.path("f.cp")).unwrap();
    let old = rewrite(&text, |line| match line.split_once(' ').unwrap() {
        ("oss-upload", _) => Some("oss-upload checkpoint 1".into()),
        ("boot-id" | "doubtful", _) => None,
        _ => Some(line.into()),
    });
    fs::write(t.path("f.cp"), old).unwrap();
    let uploaded = upload(&t, [checkpoint(true, "")]).unwrap();
    assert_eq!(uploaded.parts_resumed, 3);
    assert_eq!(t.parts_sent(), [4, 5, 6]);
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

/// Another release, or another program, put it there.
#[test]
fn checkpoint_of_a_newer_version_is_an_error_that_names_it() {
    let newer = "oss-upload checkpoint 7\nendpoint x\n";
    let t = Harness::new();
    t.file("f", SIZE);
    fs::write(t.path("f.cp"), newer).unwrap();
    let error = upload(&t, [checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(error, Error::NotACheckpoint { .. }) && !error.is_resumable(),
        "{error}"
    );
    assert!(error.to_string().contains("version 7"), "{error}");
    assert_eq!(fs::read_to_string(t.path("f.cp")).unwrap(), newer);

    for (text, says) in [
        (newer, "version 7"),
        ("a letter to my aunt", "not an oss-upload checkpoint"),
    ] {
        for size in [8, SIZE] {
            t.file("f", size);
            let mut store = MemoryStore {
                text: Some(text.into()),
                ..MemoryStore::default()
            };
            let error = upload(&t, [checkpoint_store(&mut store)]).unwrap_err();
            assert!(
                matches!(error, Error::NotACheckpoint { .. }) && !error.is_resumable(),
                "{error}"
            );
            assert!(
                error.to_string().contains(says) && error.to_string().contains("store"),
                "{error}"
            );
            assert_eq!((store.text.as_deref(), store.saves), (Some(text), 0));
        }
    }
    assert_eq!(t.server.requests().len(), 0);
}

/// Its checksum can be made by anybody.
#[test]
fn checkpoint_with_values_that_no_call_takes_is_damaged() {
    let long = format!("upload-id {}", "U".repeat(100_000));
    for planted in ["key ", "key %2Fk", "upload-id ", "upload-id a%20b", &long] {
        let t = Harness::new();
        interrupted(&t);
        let text = fs::read_to_string(t.path("f.cp")).unwrap();
        let name = planted.split_once(' ').unwrap().0.to_owned() + " ";
        let text = rewrite(&text, |line| {
            Some(
                if line.starts_with(&name) {
                    planted
                } else {
                    line
                }
                .into(),
            )
        });
        fs::write(t.path("f.cp"), text).unwrap();
        upload(&t, [checkpoint(true, "")]).unwrap();
        t.assert_stored("o", &t.path("f"));
        assert_eq!(
            t.requests(Operation::AbortMultipartUpload).len(),
            0,
            "{name}"
        );
        t.assert_files(&["f"]);
    }
}

/// An empty file may belong to another program.
#[test]
fn checkpoint_in_an_empty_file_leaves_an_empty_file() {
    for size in [8, SIZE] {
        for fails in ["", "before", "cancelled"] {
            let t = Harness::new();
            t.file("f", size);
            File::create(t.path("f.cp")).unwrap();
            let token = CancelToken::new();
            if fails == "before" {
                let fault = Fault::Status {
                    status: 403,
                    code: "AccessDenied".into(),
                    retry_after: None,
                };
                t.server.inject(Rule::new(fault).forever());
            }
            let stop = |progress: &Progress| {
                if fails == "cancelled" && progress.event != ProgressEvent::Failed {
                    token.cancel();
                }
            };
            let result = upload(&t, [checkpoint(true, ""), cancel(&token), progress(stop)]);
            assert_eq!(result.is_ok(), fails.is_empty(), "{result:?}");
            t.assert_nothing_left(&["f", "f.cp"]);
            assert_eq!(fs::read(t.path("f.cp")).unwrap(), b"", "{size} {fails}");
        }
    }
}

/// The first one is kept, and can be resumed.
#[test]
fn checkpoint_in_an_empty_file_resumes() {
    let t = Harness::new();
    File::create(t.path("f.cp")).unwrap();
    interrupted(&t);
    assert_eq!(upload(&t, [checkpoint(true, "")]).unwrap().parts_resumed, 3);
    t.assert_stored("o", &t.path("f"));
}

/// A crash leaves this file before there is an upload.
#[test]
fn checkpoint_without_an_upload_is_used_and_removed() {
    for left in ["oss-upload checkpoint 1\n", "oss-upload checkpoint 2\n"] {
        let t = Harness::new();
        t.file("f", SIZE);
        fs::write(t.path("f.cp"), left).unwrap();
        let first = Cell::new(None);
        let remember = |progress: &Progress| first.set(first.get().or(Some(progress.event)));
        upload(&t, [checkpoint(true, ""), progress(remember)]).unwrap();
        assert_eq!(first.get(), Some(ProgressEvent::Started));
        t.assert_nothing_left(&["f"]);
    }
}

#[cfg(unix)]
#[test]
fn put_object_touches_no_checkpoint() {
    use std::os::unix::fs::MetadataExt;
    let t = Harness::new();
    t.file("f", 3);
    let stamp = || {
        fs::metadata(t.path(""))
            .map(|dir| (dir.mtime(), dir.mtime_nsec()))
            .unwrap()
    };
    let before = stamp();
    for place in [checkpoint(true, ""), checkpoint_dir(true, t.path("d"))] {
        upload(&t, [place]).unwrap();
    }
    assert_eq!(
        stamp(),
        before,
        "something was created or removed beside the file"
    );

    // Where nothing can be created, nothing has to be.
    let dir = t.path("read-only");
    fs::create_dir(&dir).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "tmpfs"])
        .arg(&dir)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no tmpfs can be mounted here");
        return;
    }
    fs::write(dir.join("f"), "abc").unwrap();
    let read_only = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&dir)
        .output();
    let result = t
        .bucket
        .upload_file("p", dir.join("f"), PART, [checkpoint(true, "")]);
    let _ = Command::new("umount").arg("-l").arg(&dir).output();
    assert!(read_only.unwrap().status.success());
    result.unwrap();
}

/// An unfinished upload that it replaces is aborted.
#[test]
fn put_object_removes_the_checkpoint_that_is_there() {
    let t = Harness::new();
    interrupted(&t);
    t.file("f", 3);
    upload(&t, [checkpoint(true, "")]).unwrap();
    assert_eq!(t.requests(Operation::AbortMultipartUpload).len(), 1);
    t.assert_nothing_left(&["f"]);
}

#[cfg(unix)]
#[test]
fn checkpoint_path_that_is_no_file_says_what_it_is() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let t = Harness::new();
    t.file("f", SIZE);
    fs::create_dir(t.path("dir")).unwrap();
    fs::write(t.path("target"), "").unwrap();
    symlink(t.path("target"), t.path("link")).unwrap();
    symlink(t.path("nowhere"), t.path("dangling")).unwrap();
    let _listener = UnixListener::bind(t.path("socket")).unwrap();
    let _ = Command::new("mkfifo").arg(t.path("pipe")).status();
    for (path, says) in [
        (
            t.path("dir"),
            "is a directory; to keep checkpoints in it, use checkpoint_dir",
        ),
        ("/dev/null".into(), "is a device; "),
        (t.path("link"), "is a symbolic link; "),
        (t.path("dangling"), "is a symbolic link; "),
        (t.path("socket"), "is a socket; "),
        (t.path("pipe"), "is a named pipe; "),
    ] {
        let error = upload(&t, [checkpoint(true, &path)]).unwrap_err();
        assert!(
            matches!(&error, Error::NotACheckpoint { path: named, .. } if *named == path),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.to_string().contains("delete"), "{error}");
    }
    // The same for the temporary file.
    let temp = t.path("f.cp.oss-upload-tmp");
    assert!(
        Command::new("mkfifo")
            .arg(&temp)
            .status()
            .unwrap()
            .success()
    );
    let error = upload(&t, [checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(&error, Error::NotACheckpoint { path, .. } if *path == temp),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
    assert!(!t.path("f.cp").exists() && !t.path("nowhere").exists());
}

/// A checkpoint may have any name that users come up with.
#[test]
fn checkpoint_named_like_a_temporary_file_is_left_alone() {
    let t = Harness::new();
    t.file("f", SIZE);
    t.refuse_part(4);
    upload(&t, [checkpoint(true, t.path("x.tmp"))]).unwrap_err();
    t.bucket
        .upload_file("other", t.path("f"), PART, [checkpoint(true, t.path("x"))])
        .unwrap();
    assert_eq!(
        upload(&t, [checkpoint(true, t.path("x.tmp"))])
            .unwrap()
            .parts_resumed,
        3
    );
    t.assert_nothing_left(&["f"]);

    let requests = t.server.requests().len();
    let error = upload(&t, [checkpoint(true, t.path("x.oss-upload-tmp"))]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "checkpoint",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), requests);
}

#[cfg(target_os = "linux")]
#[test]
fn checkpoint_of_a_long_file_name_is_kept_or_shown_a_place() {
    for (bytes, fits) in [
        (236, true),
        (238, true),
        (252, true),
        (253, false),
        (255, false),
    ] {
        let t = Harness::new();
        let name = "n".repeat(bytes);
        let path = t.file(&name, SIZE);
        let upload = |place| t.bucket.upload_file("o", &path, PART, [place]);
        t.refuse_part(4);
        match fits {
            true => {
                upload(checkpoint(true, "")).unwrap_err();
                assert_eq!(upload(checkpoint(true, "")).unwrap().parts_resumed, 3);
                t.assert_nothing_left(&[&name]);
            }
            false => {
                let error = upload(checkpoint(true, "")).unwrap_err();
                assert!(
                    matches!(error, Error::Checkpoint { .. }) && !error.is_resumable(),
                    "{error}"
                );
                assert!(error.to_string().contains("checkpoint_dir"), "{error}");
                assert_eq!(t.server.requests().len(), 0);
                upload(checkpoint_dir(true, t.path("d"))).unwrap_err();
                assert_eq!(
                    upload(checkpoint_dir(true, t.path("d")))
                        .unwrap()
                        .parts_resumed,
                    3
                );
            }
        }
    }
}

/// Locks do not stop a program that does not ask for them.
#[cfg(unix)]
#[test]
fn checkpoint_that_something_else_wrote_into_is_left_as_it_is() {
    for (fails, when) in [(true, 2), (false, 6)] {
        let t = Harness::new();
        t.file("f", SIZE);
        let done = Cell::new(false);
        let meddle = |progress: &Progress| {
            let now = match progress.event {
                ProgressEvent::Completed => false,
                _ => progress.parts_done >= when,
            };
            if now && !done.replace(true) {
                let mut file = File::options().append(true).open(t.path("f.cp")).unwrap();
                file.write_all(b"precious").unwrap();
            }
        };
        let error = upload(&t, [checkpoint(true, ""), progress(meddle)]).unwrap_err();
        assert!(
            matches!(error, Error::Checkpoint { .. }),
            "{fails}: {error}"
        );
        assert!(
            error.to_string().contains("something else wrote into it"),
            "{error}"
        );
        assert!(
            fs::read_to_string(t.path("f.cp"))
                .unwrap()
                .ends_with("precious")
        );
        assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
    }
}

/// Also while it is still without an upload.
#[cfg(unix)]
#[test]
fn checkpoint_that_is_written_into_before_there_is_an_upload_is_left_as_it_is() {
    let t = Harness::new();
    t.file("f", SIZE);
    let path = t.path("f.cp");
    let provider = move || -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        fs::write(&path, "precious")?;
        Err("no credentials".into())
    };
    let client = crate::harness::client(&t.server)
        .credentials(provider)
        .build()
        .unwrap();
    let bucket = client.bucket("examplebucket").unwrap();
    bucket
        .upload_file("o", t.path("f"), PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(fs::read_to_string(t.path("f.cp")).unwrap(), "precious");
    t.assert_files(&["f", "f.cp"]);
}

/// Its directory can be written to, but the file itself can't be replaced.
#[cfg(target_os = "linux")]
#[test]
fn checkpoint_that_cannot_be_replaced_is_noticed_before_any_request() {
    let t = Harness::new();
    interrupted(&t);
    let path = t.path("f.cp");
    let before = fs::read_to_string(&path).unwrap();
    let mount = Command::new("mount")
        .arg("--bind")
        .arg(&path)
        .arg(&path)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nothing can be bind-mounted here");
        return;
    }
    let result = upload(&t, [checkpoint(true, "")]);
    assert!(
        Command::new("umount")
            .arg("-l")
            .arg(&path)
            .output()
            .unwrap()
            .status
            .success()
    );
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::Checkpoint { path: Some(named), .. } if *named == path),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    t.assert_files(&["f", "f.cp"]);
    assert_eq!(upload(&t, [checkpoint(true, "")]).unwrap().parts_resumed, 3);
}

/// The working directory belongs to the whole process.
#[test]
fn checkpoint_with_a_relative_path_stays_where_it_was() {
    if !run_in_subprocess("checkpoint_file::checkpoint_with_a_relative_path_stays_where_it_was") {
        return;
    }
    for dir in [false, true] {
        let t = Harness::new();
        t.file("f", SIZE);
        let elsewhere = t.path("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::env::set_current_dir(t.path("")).unwrap();
        let place = if dir {
            checkpoint_dir(true, "d")
        } else {
            checkpoint(true, "c")
        };
        let leave = |progress: &Progress| {
            if progress.parts_done == 2 {
                std::env::set_current_dir(&elsewhere).unwrap();
            }
        };
        t.bucket
            .upload_file("o", "f", PART, [place, progress(leave)])
            .unwrap();
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        let left = if dir {
            fs::read_dir(t.path("d")).unwrap().count()
        } else {
            0
        };
        assert_eq!(left, 0);
        t.assert_nothing_left(if dir {
            &["d", "elsewhere", "f"]
        } else {
            &["elsewhere", "f"]
        });
        std::env::set_current_dir("/").unwrap();
    }
}

const HOGGING: &str = "OSS_UPLOAD_TEST_HOGGING";

/// Not a test of its own: uploads, and takes all descriptors that are left in the middle of it.
#[cfg(unix)]
#[test]
fn hogging_child() {
    let Ok(task) = std::env::var(HOGGING) else {
        return;
    };
    let (endpoint, path) = task.split_once('|').unwrap();
    let client = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy();
    let bucket = client.build().unwrap().bucket("examplebucket").unwrap();
    let hogged = std::cell::RefCell::new(Vec::new());
    let hog = |progress: &Progress| {
        if progress.parts_done == 2 && hogged.borrow().is_empty() {
            while let Ok(file) = File::open("/dev/null") {
                hogged.borrow_mut().push(file);
            }
            assert!(hogged.borrow().len() < 1_000, "there is a limit");
        }
    };
    bucket
        .upload_file("o", path, PART, [checkpoint(true, ""), progress(hog)])
        .unwrap();
}

/// A descriptor is reserved for it.
#[cfg(unix)]
#[test]
fn checkpoint_is_saved_when_no_descriptor_is_left() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "checkpoint_file::hogging_child",
            "--exact",
            "--test-threads=1",
            "--nocapture",
        ])
        .env(
            HOGGING,
            format!("{}|{}", t.server.endpoint(), path.display()),
        )
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

/// Its upload can be resumed; nothing of it is lost by looking.
#[test]
fn checkpoint_that_is_resumed_names_the_same_upload() {
    let t = Harness::new();
    interrupted(&t);
    let text = fs::read_to_string(t.path("f.cp")).unwrap();
    assert!(text.starts_with("oss-upload checkpoint 2\n"));
    let token = CancelToken::new();
    let stop = |progress: &Progress| {
        if progress.event == ProgressEvent::Resumed {
            token.cancel();
        }
    };
    let keep = delete_upload_on_cancelling(false);
    upload(
        &t,
        [checkpoint(true, ""), cancel(&token), progress(stop), keep],
    )
    .unwrap_err();
    let after = fs::read_to_string(t.path("f.cp")).unwrap();
    assert_eq!(field(&after, "upload-id "), field(&text, "upload-id "));
    assert_eq!(after.matches("\npart ").count(), 3);
}

#[cfg(target_os = "linux")]
const FAULTY: &str = "OSS_UPLOAD_TEST_FAULTY";

/// Not a test of its own: uploads, and says what came of it.
#[cfg(target_os = "linux")]
#[test]
fn faulty_child() {
    let Ok(task) = std::env::var(FAULTY) else {
        return;
    };
    let (endpoint, path) = task.split_once('|').unwrap();
    let client = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy();
    let bucket = client.build().unwrap().bucket("examplebucket").unwrap();
    let result = match bucket.upload_file("o", path, PART, [checkpoint(true, "")]) {
        Ok(_) => "Ok".to_owned(),
        Err(Error::Source { source, .. }) => format!("Source {source}"),
        Err(Error::Checkpoint { source, .. }) => format!("Checkpoint {source}"),
        Err(other) => other.to_string(),
    };
    println!("RESULT {result}");
}

/// Runs the upload with system calls that fail. Returns what came of it; `None` if it was killed.
#[cfg(target_os = "linux")]
fn with_failing_calls(t: &Harness, inject: &[&str]) -> Option<String> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    for fault in inject {
        strace.args(["-e", &format!("inject={fault}")]);
    }
    let output = strace
        .arg(std::env::current_exe().unwrap())
        .args([
            "checkpoint_file::faulty_child",
            "--exact",
            "--test-threads=1",
            "--nocapture",
        ])
        .env(
            FAULTY,
            format!("{}|{}", t.server.endpoint(), t.path("f").display()),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines()
        .find_map(|line| line.split_once("RESULT "))
        .map(|(_, result)| result.to_owned())
}

#[cfg(target_os = "linux")]
fn can_trace() -> bool {
    let works = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: there is no strace, or it may not be used");
    }
    works
}

/// Whatever a crash leaves, the same call finishes the upload and clears it away.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: several seconds"]
fn checkpoint_survives_a_kill_at_each_of_its_system_calls() {
    if !can_trace() {
        return;
    }
    for calls in ["fsync", "flock", "rename,renameat2", "unlink,unlinkat"] {
        for n in 1.. {
            let t = Harness::new();
            t.file("f", SIZE);
            let ended = with_failing_calls(&t, &[&format!("{calls}:signal=KILL:when={n}")]);
            if ended.is_some() {
                assert!(n > 1, "{calls}: nothing was killed");
                break;
            }
            // An upload id that was not saved yet is lost.
            let text = fs::read_to_string(t.path("f.cp")).unwrap_or_default();
            for upload in t.server.uploads() {
                if !text.contains(&upload.upload_id) {
                    t.bucket
                        .abort_multipart_upload("o", &upload.upload_id)
                        .unwrap();
                }
            }
            upload(&t, [checkpoint(true, "")])
                .unwrap_or_else(|error| panic!("{calls} {n}: {error}"));
            t.assert_stored("o", &t.path("f"));
            t.assert_nothing_left(&["f"]);
        }
    }
}

/// The errors of file systems, and which of them mean that bytes are lost.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: several seconds"]
fn checkpoint_on_a_faulty_file_system() {
    if !can_trace() {
        return;
    }
    let table: [(&[&str], &str); 19] = [
        // What can't be synced, locked or linked there.
        (&["fsync,fdatasync:error=EINVAL"], "Ok"),
        (&["fsync,fdatasync:error=EOPNOTSUPP"], "Ok"),
        (&["fsync,fdatasync:error=ENOSYS"], "Ok"),
        (&["flock:error=ENOLCK"], "Ok"),
        (&["flock:error=EOPNOTSUPP"], "Ok"),
        (&["renameat2:error=EINVAL"], "Ok"),
        (&["renameat2:error=EINVAL", "link,linkat:error=EPERM"], "Ok"),
        (
            &["renameat2:error=EINVAL", "link,linkat:error=EOPNOTSUPP"],
            "Ok",
        ),
        // SMB replaces no file that is open.
        (&["rename:error=EACCES:when=1+2"], "Ok"),
        (&["rename:error=EBUSY:when=1+2"], "Ok"),
        (&["rename:error=ETXTBSY:when=1+2"], "Ok"),
        // Bytes are lost.
        (&["fdatasync:error=EIO"], "Source Input/output error"),
        (&["fdatasync:error=ENOSPC"], "Source No space"),
        (&["fsync:error=EIO:when=1"], "Checkpoint Input/output error"),
        (&["fsync:error=EIO:when=2"], "Checkpoint Input/output error"),
        (&["fsync:error=EIO:when=4"], "Checkpoint Input/output error"),
        // Nothing is known.
        (&["flock:error=EIO:when=1"], "Checkpoint Input/output error"),
        (
            &["rename:error=EPERM:when=1"],
            "Checkpoint Operation not permitted",
        ),
        (&["renameat2:error=EIO"], "Checkpoint Input/output error"),
    ];
    for (inject, wanted) in table {
        let t = Harness::new();
        t.file("f", SIZE);
        let result =
            with_failing_calls(&t, inject).unwrap_or_else(|| panic!("{inject:?}: no result"));
        assert!(result.starts_with(wanted), "{inject:?}: {result}");
        if wanted == "Ok" {
            t.assert_stored("o", &t.path("f"));
        } else {
            assert_eq!(t.parts_sent().len(), 0, "{inject:?}");
        }
        println!("{inject:?}: {result}");
        t.assert_nothing_left(&["f"]);
    }
}

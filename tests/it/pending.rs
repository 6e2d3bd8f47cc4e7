//! The unfinished uploads of a directory of checkpoints: listed, and discarded.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Error, PendingUpload, ProgressEvent, checkpoint, checkpoint_dir, pending_uploads, progress,
};

use crate::harness::{Harness, PART, client};

fn dir(t: &Harness) -> PathBuf {
    t.path("checkpoints")
}

/// Leaves an unfinished upload of the file, with two of three parts done.
fn interrupt(t: &Harness, key: &str, path: &Path) {
    t.refuse_part(3);
    let options = [checkpoint_dir(true, dir(t))];
    t.bucket.upload_file(key, path, PART, options).unwrap_err();
}

/// Leaves one unfinished upload and returns it.
fn one_pending(t: &Harness) -> PendingUpload {
    let path = t.file("f", 3 * PART);
    interrupt(t, "o", &path);
    t.server.clear_requests();
    let [pending] = pending_uploads(dir(t)).unwrap().try_into().unwrap();
    pending
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn pending_uploads_are_listed_by_their_checkpoints() {
    let t = Harness::new();
    assert_eq!(pending_uploads(dir(&t)).unwrap(), []);
    let keys = ["a", "dir/b 中", "c"];
    let paths = ["a", "b", "c"].map(|name| t.file(name, 2 * PART + 7));
    for (key, path) in keys.iter().zip(&paths) {
        interrupt(&t, key, path);
    }
    t.server.clear_requests();
    let before = names(&dir(&t));

    let pending = pending_uploads(dir(&t)).unwrap();
    assert_eq!(t.server.requests().len(), 0);
    assert_eq!(names(&dir(&t)), before);
    assert!(pending.is_sorted_by_key(|pending| pending.checkpoint.clone()));
    assert_eq!(pending.len(), 3);
    for upload in t.server.uploads() {
        let found = pending
            .iter()
            .find(|pending| pending.upload_id == upload.upload_id)
            .unwrap();
        let number = keys.iter().position(|key| *key == upload.key).unwrap();
        assert_eq!(found.key, keys[number]);
        assert_eq!(found.source.as_ref(), Some(&paths[number]));
        assert_eq!(found.bucket, "examplebucket");
        assert_eq!(found.endpoint, t.server.endpoint());
        assert_eq!((found.parts_done, found.bytes_done), (2, 2 * PART));
        assert_eq!(found.bytes_total, 2 * PART + 7);
        assert!(found.checkpoint.is_file());
    }

    // The same calls resume them, and nothing is pending any more.
    for (key, path) in keys.iter().zip(&paths) {
        let options = [checkpoint_dir(true, dir(&t))];
        let uploaded = t.bucket.upload_file(key, path, PART, options).unwrap();
        assert_eq!(uploaded.parts_resumed, 2);
    }
    assert_eq!(pending_uploads(dir(&t)).unwrap(), []);
}

#[test]
fn pending_upload_of_an_open_file_has_no_source() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    t.refuse_part(3);
    let file = fs::File::open(path).unwrap();
    let options = [checkpoint_dir(true, dir(&t))];
    t.bucket
        .upload_open_file("o", file, PART, options)
        .unwrap_err();
    let pending = pending_uploads(dir(&t)).unwrap();
    assert_eq!((pending.len(), &pending[0].source), (1, &None));
}

#[test]
fn pending_uploads_ignore_what_is_no_whole_checkpoint() {
    let t = Harness::new();
    let pending = one_pending(&t);
    let text = fs::read_to_string(&pending.checkpoint).unwrap();
    let dir = dir(&t);
    fs::write(dir.join("foreign.cp"), "something else").unwrap();
    fs::write(dir.join("empty.cp"), "").unwrap();
    fs::write(dir.join("blank.cp"), text.lines().next().unwrap()).unwrap();
    fs::write(dir.join("damaged.cp"), text.replace("size", "seize")).unwrap();
    fs::write(dir.join("binary.cp"), [text.as_bytes(), b"\xff"].concat()).unwrap();
    fs::write(dir.join("half.cp"), &text[..text.len() / 2]).unwrap();
    fs::write(dir.join("newer.cp"), "oss-upload checkpoint 99\nx\n").unwrap();
    fs::write(dir.join("x.oss-upload-tmp"), &text).unwrap();
    fs::create_dir(dir.join("sub.cp")).unwrap();
    fs::write(dir.join("sub.cp").join("copy.cp"), &text).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(&pending.checkpoint, dir.join("link.cp")).unwrap();
    // A pipe nobody writes to must not be waited for.
    #[cfg(unix)]
    std::process::Command::new("mkfifo")
        .arg(dir.join("pipe.cp"))
        .status()
        .unwrap();
    let before = names(&dir);
    assert_eq!(pending_uploads(&dir).unwrap(), [pending]);
    assert_eq!(names(&dir), before);
}

#[test]
fn pending_discard_aborts_and_then_removes() {
    let t = Harness::new();
    let pending = one_pending(&t);
    // What a crash while it was saved may have left.
    let mut orphan = pending.checkpoint.clone().into_os_string();
    orphan.push(".oss-upload-tmp");
    fs::copy(&pending.checkpoint, orphan).unwrap();

    pending.discard(&t.bucket).unwrap();
    let requests = t.server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].operation, Operation::AbortMultipartUpload);
    assert_eq!(requests[0].upload_id.as_ref(), Some(&pending.upload_id));
    assert_eq!(t.server.uploads().len(), 0);
    assert_eq!(names(&dir(&t)), [""; 0]);
    assert!(t.server.object("examplebucket", "o").is_none());
    assert!(t.path("f").exists());

    // Once more does no harm.
    pending.discard(&t.bucket).unwrap();
    assert_eq!(names(&dir(&t)), [""; 0]);
}

#[test]
fn pending_discard_of_an_upload_that_oss_has_deleted_removes_the_checkpoint() {
    let t = Harness::new();
    let pending = one_pending(&t);
    t.server.expire_upload(&pending.upload_id);
    pending.discard(&t.bucket).unwrap();
    assert_eq!(names(&dir(&t)), [""; 0]);
}

#[test]
fn pending_discard_that_fails_keeps_the_checkpoint() {
    let t = Harness::new();
    let pending = one_pending(&t);
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    t.server
        .inject(Rule::new(denied).on(Operation::AbortMultipartUpload));
    let error = pending.discard(&t.bucket).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"));
    assert_eq!(t.server.uploads().len(), 1);
    assert_eq!(
        pending_uploads(dir(&t)).unwrap(),
        std::slice::from_ref(&pending)
    );
    pending.discard(&t.bucket).unwrap();
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn pending_discard_refuses_another_bucket_and_another_endpoint() {
    let t = Harness::with_server(LocalOss::builder().bucket("otherbucket").start().unwrap());
    let pending = one_pending(&t);
    let elsewhere = LocalOss::start();
    let other_bucket = client(&t.server)
        .build()
        .unwrap()
        .bucket("otherbucket")
        .unwrap();
    let other_endpoint = client(&elsewhere)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    for (bucket, named) in [
        (other_bucket, "otherbucket".to_owned()),
        (other_endpoint, elsewhere.endpoint()),
    ] {
        let error = pending.discard(&bucket).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidOption { option: "bucket", reason, .. }
                if reason.contains(&named)
                    && reason.contains("examplebucket")
                    && reason.contains(&t.server.endpoint())),
            "{error}"
        );
    }
    assert_eq!(t.server.requests().len(), 0);
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!(pending_uploads(dir(&t)).unwrap(), [pending]);
}

#[test]
fn pending_discard_refuses_an_upload_that_is_running() {
    let t = Harness::new();
    let pending = one_pending(&t);
    let refused = RefCell::new(None);
    let discard = |event| {
        if event == ProgressEvent::Resumed {
            *refused.borrow_mut() = Some(pending.discard(&t.bucket));
        }
    };
    let options = [
        checkpoint_dir(true, dir(&t)),
        progress(|progress| discard(progress.event)),
    ];
    let path = t.path("f");
    let uploaded = t.bucket.upload_file("o", &path, PART, options).unwrap();
    assert_eq!(uploaded.parts_resumed, 2);
    let refused = refused.into_inner().unwrap().unwrap_err();
    assert!(
        matches!(&refused, Error::CheckpointInUse { path, .. } if *path == pending.checkpoint),
        "{refused}"
    );
    assert_eq!(t.requests(Operation::AbortMultipartUpload).len(), 0);
    t.assert_stored("o", &path);
}

#[test]
fn pending_discard_leaves_alone_what_has_taken_the_checkpoints_place() {
    let t = Harness::new();
    let pending = one_pending(&t);
    let text = fs::read_to_string(&pending.checkpoint).unwrap();
    // Another upload of the same file, after this one was listed.
    fs::remove_file(&pending.checkpoint).unwrap();
    interrupt(&t, "o", &t.path("f"));
    let other = fs::read_to_string(&pending.checkpoint).unwrap();
    t.server.clear_requests();
    for content in [
        "something else",
        "oss-upload checkpoint 99\nx\n",
        &text.replace("size", "seize"),
        &other,
    ] {
        fs::write(&pending.checkpoint, content).unwrap();
        let error = pending.discard(&t.bucket).unwrap_err();
        let is_ours = content.starts_with("oss-upload checkpoint 2");
        match is_ours {
            true => assert!(matches!(error, Error::Checkpoint { .. }), "{error}"),
            false => assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}"),
        }
        assert_eq!(fs::read_to_string(&pending.checkpoint).unwrap(), content);
    }
    assert_eq!(t.server.requests().len(), 0);
    assert_eq!(t.server.uploads().len(), 2);
    // An empty file may be anybody's. The upload is deleted all the same.
    fs::write(&pending.checkpoint, "").unwrap();
    pending.discard(&t.bucket).unwrap();
    assert!(pending.checkpoint.exists());
    assert_eq!(t.server.uploads().len(), 1);
}

#[test]
fn pending_uploads_find_checkpoints_of_any_name() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    t.refuse_part(3);
    t.bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    let parent = path.parent().unwrap();
    let [pending] = pending_uploads(parent).unwrap().try_into().unwrap();
    assert_eq!(pending.checkpoint, t.path("f.cp"));
    pending.discard(&t.bucket).unwrap();
    t.assert_nothing_left(&["f"]);
    assert_eq!(pending_uploads(parent).unwrap(), []);
}

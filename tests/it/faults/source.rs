//! A file that changes, between two calls or during one.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, Operation};
use oss_upload::{Error, Progress, ProgressEvent, RestartReason, Uploaded, checkpoint, progress};

use crate::harness::{Harness, PART, content, service_unavailable};

const SIZE: u64 = 5 * PART + 7;

/// A harness whose file has an old modification time, so that every change of the file shows in its
/// times.
fn harness(size: u64) -> Harness {
    let t = Harness::with_file(size);
    set_mtime(&t.path("f"), an_hour_ago());
    t
}

fn an_hour_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn set_mtime(path: &Path, mtime: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(mtime)
        .unwrap();
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Changes bytes and keeps the mtime. Only the ctime, which advances every few milliseconds,
/// reveals it.
fn edit_with_same_mtime(path: &Path, offset: u64) {
    thread::sleep(Duration::from_millis(20));
    write_at(path, offset, b"edited");
    set_mtime(path, an_hour_ago());
}

/// Calls `meddle` once, as soon as this many parts are stored.
fn upload_meddled_with(
    t: &Harness,
    with_checkpoint: bool,
    parts: usize,
    meddle: &dyn Fn(&Harness),
) -> Result<Uploaded, Error> {
    let done = Cell::new(false);
    let meddle = |progress: &Progress| {
        if progress.parts_done >= parts && !done.replace(true) {
            meddle(t);
        }
    };
    t.upload([checkpoint(with_checkpoint, ""), progress(meddle)])
}

/// Uploads, and returns the first event as well.
fn first_event(t: &Harness) -> (Result<Uploaded, Error>, ProgressEvent) {
    let first = RefCell::new(None);
    let remember = |progress: &Progress| {
        first.borrow_mut().get_or_insert(progress.event);
    };
    let result = t.upload([checkpoint(true, ""), progress(remember)]);
    (result, first.into_inner().unwrap())
}

/// Leaves a checkpoint with three of six parts.
fn interrupt(t: &Harness) {
    t.interrupt_after(3);
    t.server.clear_requests();
}

#[track_caller]
fn assert_changed(t: &Harness, result: Result<Uploaded, Error>) {
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::SourceChanged { path, .. } if *path == t.path("f")),
        "{error:?}"
    );
    assert!(error.is_resumable());
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
    assert!(t.server.object("examplebucket", "o").is_none());
}

#[track_caller]
fn assert_done(t: &Harness, result: Result<Uploaded, Error>) {
    let uploaded = result.unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
    assert_eq!(uploaded.size, std::fs::metadata(t.path("f")).unwrap().len());
}

type Meddle<'a> = (&'a str, &'a dyn Fn(&Harness));

/// Changes of the size or the mtime.
const OPEN_CHANGES: [Meddle<'_>; 6] = [
    ("cut short", &|t| truncate(t, SIZE / 2)),
    ("shorter by a byte", &|t| truncate(t, SIZE - 1)),
    ("longer by a byte", &|t| write_at(&t.path("f"), SIZE, b"x")),
    ("touched", &|t| set_mtime(&t.path("f"), SystemTime::now())),
    ("rewritten", &|t| {
        std::fs::write(t.path("f"), content("other", SIZE)).unwrap()
    }),
    ("replaced", &|t| replace(t, SystemTime::now())),
];

/// Most file systems of Windows do not let a file be renamed over one that is open.
fn possible((what, _): &Meddle<'_>) -> bool {
    cfg!(unix) || *what != "replaced"
}

fn truncate(t: &Harness, size: u64) {
    File::options()
        .write(true)
        .open(t.path("f"))
        .unwrap()
        .set_len(size)
        .unwrap();
}

/// Replaces the file by another one of the same size.
fn replace(t: &Harness, mtime: SystemTime) {
    let other = t.path("g");
    std::fs::write(
        &other,
        content("other", std::fs::metadata(t.path("f")).unwrap().len()),
    )
    .unwrap();
    set_mtime(&other, mtime);
    std::fs::rename(other, t.path("f")).unwrap();
}

#[test]
#[ignore = "slow: several seconds"]
fn source_change_during_upload_makes_no_object() {
    for (what, meddle) in OPEN_CHANGES.into_iter().filter(possible) {
        for parts in [0, 2, 6] {
            for with_checkpoint in [true, false] {
                let t = harness(SIZE);
                assert_changed(&t, upload_meddled_with(&t, with_checkpoint, parts, meddle));
                if !with_checkpoint {
                    t.assert_nothing_left(&["f"]);
                    continue;
                }
                // Nothing can be resumed of a file that no longer exists.
                let expected = if what == "replaced" {
                    t.assert_nothing_left(&["f"]);
                    ProgressEvent::Started
                } else {
                    t.assert_files(&["f", "f.cp"]);
                    ProgressEvent::Restarted(RestartReason::SourceChanged)
                };
                let (result, event) = first_event(&t);
                assert_eq!(event, expected, "{what}");
                assert_eq!(
                    t.requests(Operation::AbortMultipartUpload).len(),
                    1,
                    "{what}"
                );
                assert_done(&t, result);
            }
        }
    }
}

#[test]
fn source_change_during_put_object_makes_no_object() {
    let size = PART / 2;
    let table: [Meddle<'_>; 5] = [
        ("cut short", &|t| truncate(t, 10)),
        ("longer", &|t| write_at(&t.path("f"), PART / 2, b"x")),
        ("touched", &|t| set_mtime(&t.path("f"), SystemTime::now())),
        ("rewritten", &|t| {
            std::fs::write(t.path("f"), content("other", PART / 2)).unwrap()
        }),
        ("replaced", &|t| replace(t, an_hour_ago())),
    ];
    for (what, meddle) in table.into_iter().filter(possible) {
        for with_checkpoint in [true, false] {
            let t = harness(size);
            assert_changed(&t, upload_meddled_with(&t, with_checkpoint, 0, meddle));
            t.assert_nothing_left(&["f"]);
            assert_done(&t, t.upload([checkpoint(with_checkpoint, "")]));
            assert!(t.requests(Operation::PutObject).len() <= 2, "{what}");
        }
    }
}

/// The bytes change, size and mtime do not. Where files have no ctime, this is not detected.
#[cfg(unix)]
#[test]
fn source_edit_with_same_mtime_fails_upload() {
    let table: [Meddle<'_>; 2] = [
        ("edited", &|t| edit_with_same_mtime(&t.path("f"), PART)),
        ("replaced", &|t| replace(t, an_hour_ago())),
    ];
    for (what, meddle) in table {
        for with_checkpoint in [true, false] {
            let t = harness(SIZE);
            assert_changed(&t, upload_meddled_with(&t, with_checkpoint, 6, meddle));
            if !with_checkpoint {
                t.assert_nothing_left(&["f"]);
                continue;
            }
            // Nothing can be resumed of a file that no longer exists.
            let (expected, sent) = if what == "edited" {
                (ProgressEvent::Resumed, vec![2])
            } else {
                t.assert_nothing_left(&["f"]);
                (ProgressEvent::Started, vec![1, 2, 3, 4, 5, 6])
            };
            t.server.clear_requests();
            let (result, event) = first_event(&t);
            assert_eq!(event, expected, "{what}");
            assert_done(&t, result);
            assert_eq!(t.parts_sent(), sent, "{what}");
        }
    }
}

/// If the content stays the same, the upload continues.
#[test]
#[cfg(unix)]
fn source_metadata_change_is_tolerated() {
    use std::os::unix::fs::PermissionsExt;
    let table: [Meddle<'_>; 3] = [
        ("chmod", &|t| {
            std::fs::set_permissions(t.path("f"), std::fs::Permissions::from_mode(0o640)).unwrap();
        }),
        ("hard link", &|t| {
            std::fs::hard_link(t.path("f"), t.path("g")).unwrap();
            std::fs::remove_file(t.path("g")).unwrap();
        }),
        ("same bytes, same mtime", &|t| {
            write_at(&t.path("f"), 0, &content("f", SIZE)[..100]);
            set_mtime(&t.path("f"), an_hour_ago());
        }),
    ];
    for (what, meddle) in table {
        let meddle = |t: &Harness| {
            thread::sleep(Duration::from_millis(20));
            meddle(t);
        };
        let during = harness(SIZE);
        assert_done(&during, upload_meddled_with(&during, true, 3, &meddle));
        assert_eq!(during.parts_sent(), [1, 2, 3, 4, 5, 6], "{what}");

        let between = harness(SIZE);
        interrupt(&between);
        meddle(&between);
        let (result, event) = first_event(&between);
        assert_eq!(event, ProgressEvent::Resumed, "{what}");
        assert_eq!(result.as_ref().unwrap().parts_resumed, 3, "{what}");
        assert_done(&between, result);
        assert_eq!(between.parts_sent(), [4, 5, 6], "{what}");
    }
}

#[test]
fn source_change_between_calls_restarts() {
    for (what, meddle) in OPEN_CHANGES {
        let t = harness(SIZE);
        interrupt(&t);
        meddle(&t);
        let (result, event) = first_event(&t);
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::SourceChanged),
            "{what}"
        );
        assert_eq!(
            t.requests(Operation::AbortMultipartUpload).len(),
            1,
            "{what}"
        );
        assert_done(&t, result);
    }
}

#[test]
fn source_edit_with_same_mtime_resends_only_changed_parts() {
    // The part that is edited, and the parts that are sent then.
    for (part, sent) in [(1, &[1, 4, 5, 6][..]), (3, &[3, 4, 5, 6]), (5, &[4, 5, 6])] {
        for denied in [false, true] {
            let t = harness(SIZE);
            interrupt(&t);
            edit_with_same_mtime(&t.path("f"), (part - 1) * PART + 10);
            if denied {
                t.deny(Operation::ListParts);
            }
            let (result, event) = first_event(&t);
            assert_eq!(event, ProgressEvent::Resumed);
            assert_done(&t, result);
            assert_eq!(
                t.parts_sent(),
                sent,
                "part {part}, ListParts denied: {denied}"
            );
        }
    }
}

/// All parts were stored, and only CompleteMultipartUpload was missing, or its response.
#[test]
fn source_edit_with_same_mtime_is_found_before_complete() {
    for (fault, sent) in [
        (service_unavailable(), &[3][..]),
        (Fault::CloseAfterApply, &[1, 2, 3, 4, 5, 6]),
    ] {
        let t = harness(SIZE);
        t.inject_always(Operation::CompleteMultipartUpload, fault.clone());
        t.upload([checkpoint(true, "")]).unwrap_err();
        t.server.clear_faults();
        t.server.clear_requests();
        edit_with_same_mtime(&t.path("f"), 2 * PART);
        assert_done(&t, t.upload([checkpoint(true, "")]));
        assert_eq!(t.parts_sent(), sent, "{fault:?}");
    }
}

#[test]
fn source_removed_fails_before_any_request() {
    let t = harness(SIZE);
    let removed = upload_meddled_with(&t, true, 2, &|t| {
        std::fs::rename(t.path("f"), t.path("g")).unwrap();
    });
    assert_changed(&t, removed);
    t.server.clear_requests();
    let error = t.upload([checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(&error, Error::Source { path, .. } if *path == t.path("f")),
        "{error:?}"
    );
    assert_eq!(t.server.requests().len(), 0);
    std::fs::rename(t.path("g"), t.path("f")).unwrap();
    assert_done(&t, t.upload([checkpoint(true, "")]));
    assert!(
        t.parts_sent().len() <= 4,
        "an unchanged part was sent again: {:?}",
        t.parts_sent()
    );
}

#[test]
fn source_handle_change_during_upload_makes_no_object() {
    for (what, meddle) in OPEN_CHANGES.iter().filter(|(what, _)| *what != "replaced") {
        let t = harness(SIZE);
        let file = File::open(t.path("f")).unwrap();
        let edit = |progress: &Progress| {
            if progress.parts_done == 2 {
                meddle(&t);
            }
        };
        let error = t
            .bucket
            .upload_open_file("o", file, PART, [progress(edit)])
            .unwrap_err();
        assert!(
            matches!(&error, Error::SourceChanged { .. }),
            "{what}: {error:?}"
        );
        assert!(t.server.object("examplebucket", "o").is_none());
        t.assert_nothing_left(&["f"]);
    }
}

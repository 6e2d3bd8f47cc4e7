//! A file that does not keep still.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    Error, Progress, ProgressEvent, RestartReason, UploadOption, Uploaded, checkpoint, progress,
};

use crate::house::{House, PART, content};

const SIZE: u64 = 5 * PART + 7;

/// A house whose file is an hour old, so that every change of it shows in its times.
fn house(size: u64) -> House {
    let house = House::new();
    house.file("f", size);
    set_mtime(&house.path("f"), an_hour_ago());
    house
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

/// Other bytes, the old mtime. Only the ctime, which ticks every few milliseconds, tells.
fn edit_in_secret(path: &Path, offset: u64) {
    thread::sleep(Duration::from_millis(20));
    write_at(path, offset, b"edited");
    set_mtime(path, an_hour_ago());
}

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

/// Meddles with the file once, as soon as so many parts are there.
fn upload_meddled_with(
    house: &House,
    recorded: bool,
    parts: usize,
    meddle: &dyn Fn(&House),
) -> Result<Uploaded, Error> {
    let done = Cell::new(false);
    let meddle = |progress: &Progress| {
        if progress.parts_done >= parts && !done.replace(true) {
            meddle(house);
        }
    };
    upload(house, [checkpoint(recorded, ""), progress(meddle)])
}

/// What the call begins with.
fn first_event(house: &House) -> (Result<Uploaded, Error>, ProgressEvent) {
    let first = RefCell::new(None);
    let tell = |progress: &Progress| {
        first.borrow_mut().get_or_insert(progress.event);
    };
    let result = upload(house, [checkpoint(true, ""), progress(tell)]);
    (result, first.into_inner().unwrap())
}

/// Three of six parts are there and on record.
fn begun(house: &House) {
    house.refuse_part(4);
    upload(house, [checkpoint(true, "")]).unwrap_err();
    house.server.clear_requests();
}

#[track_caller]
fn assert_changed(house: &House, result: Result<Uploaded, Error>) {
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::SourceChanged { path, .. } if *path == house.path("f")),
        "{error:?}"
    );
    assert!(error.is_resumable());
    assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 0);
    assert!(house.server.object("examplebucket", "o").is_none());
}

#[track_caller]
fn assert_done(house: &House, result: Result<Uploaded, Error>) {
    let uploaded = result.unwrap();
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
    assert_eq!(
        uploaded.size,
        std::fs::metadata(house.path("f")).unwrap().len()
    );
}

type Meddle<'a> = (&'a str, &'a dyn Fn(&House));

/// What changes size or mtime.
const OPEN_CHANGES: [Meddle<'_>; 6] = [
    ("cut short", &|house| truncate(house, SIZE / 2)),
    ("shorter by a byte", &|house| truncate(house, SIZE - 1)),
    ("longer by a byte", &|house| {
        write_at(&house.path("f"), SIZE, b"x")
    }),
    ("touched", &|house| {
        set_mtime(&house.path("f"), SystemTime::now())
    }),
    ("rewritten", &|house| {
        std::fs::write(house.path("f"), content("other", SIZE)).unwrap()
    }),
    ("replaced", &|house| replace(house, SystemTime::now())),
];

/// Windows lets nobody rename a file over one that is open, in most of its file systems.
fn possible((what, _): &Meddle<'_>) -> bool {
    cfg!(unix) || *what != "replaced"
}

fn truncate(house: &House, size: u64) {
    File::options()
        .write(true)
        .open(house.path("f"))
        .unwrap()
        .set_len(size)
        .unwrap();
}

/// By another file of the same size.
fn replace(house: &House, mtime: SystemTime) {
    let other = house.path("g");
    std::fs::write(
        &other,
        content("other", std::fs::metadata(house.path("f")).unwrap().len()),
    )
    .unwrap();
    set_mtime(&other, mtime);
    std::fs::rename(other, house.path("f")).unwrap();
}

#[test]
fn no_object_is_made_of_a_file_that_changes_on_the_way() {
    for (what, meddle) in OPEN_CHANGES.into_iter().filter(possible) {
        for parts in [0, 2, 6] {
            for recorded in [true, false] {
                let house = house(SIZE);
                assert_changed(&house, upload_meddled_with(&house, recorded, parts, meddle));
                if !recorded {
                    house.assert_nothing_left(&["f"]);
                    continue;
                }
                house.assert_files(&["f", "f.cp"]);
                let (result, event) = first_event(&house);
                assert_eq!(
                    event,
                    ProgressEvent::Restarted(RestartReason::SourceChanged),
                    "{what}"
                );
                assert_eq!(
                    house.requests(Operation::AbortMultipartUpload).len(),
                    1,
                    "{what}"
                );
                assert_done(&house, result);
            }
        }
    }
}

#[test]
fn a_put_object_of_a_file_that_changes_is_not_finished() {
    let size = PART / 2;
    let table: [Meddle<'_>; 5] = [
        ("cut short", &|house| truncate(house, 10)),
        ("longer", &|house| {
            write_at(&house.path("f"), PART / 2, b"x")
        }),
        ("touched", &|house| {
            set_mtime(&house.path("f"), SystemTime::now())
        }),
        ("rewritten", &|house| {
            std::fs::write(house.path("f"), content("other", PART / 2)).unwrap()
        }),
        ("replaced", &|house| replace(house, an_hour_ago())),
    ];
    for (what, meddle) in table.into_iter().filter(possible) {
        for recorded in [true, false] {
            let house = house(size);
            assert_changed(&house, upload_meddled_with(&house, recorded, 0, meddle));
            house.assert_nothing_left(&["f"]);
            assert_done(&house, upload(&house, [checkpoint(recorded, "")]));
            assert!(house.requests(Operation::PutObject).len() <= 2, "{what}");
        }
    }
}

/// Size and mtime stay; the bytes do not. Where files have no ctime, nothing tells of it.
#[cfg(unix)]
#[test]
fn a_secret_edit_on_the_way_is_found_out() {
    let table: [Meddle<'_>; 2] = [
        ("edited", &|house| edit_in_secret(&house.path("f"), PART)),
        ("replaced", &|house| replace(house, an_hour_ago())),
    ];
    for (what, meddle) in table {
        for recorded in [true, false] {
            let house = house(SIZE);
            assert_changed(&house, upload_meddled_with(&house, recorded, 6, meddle));
            if !recorded {
                house.assert_nothing_left(&["f"]);
                continue;
            }
            house.server.clear_requests();
            let (result, event) = first_event(&house);
            assert_eq!(event, ProgressEvent::Resumed, "{what}");
            assert_done(&house, result);
            let sent = if what == "edited" {
                vec![2]
            } else {
                vec![1, 2, 3, 4, 5, 6]
            };
            assert_eq!(house.parts_sent(), sent, "{what}");
        }
    }
}

/// Where the content stays, the upload goes on.
#[test]
#[cfg(unix)]
fn what_leaves_the_bytes_alone_does_no_harm() {
    use std::os::unix::fs::PermissionsExt;
    let table: [Meddle<'_>; 3] = [
        ("chmod", &|house| {
            std::fs::set_permissions(house.path("f"), std::fs::Permissions::from_mode(0o640))
                .unwrap();
        }),
        ("hard link", &|house| {
            std::fs::hard_link(house.path("f"), house.path("g")).unwrap();
            std::fs::remove_file(house.path("g")).unwrap();
        }),
        ("same bytes, same mtime", &|house| {
            write_at(&house.path("f"), 0, &content("f", SIZE)[..100]);
            set_mtime(&house.path("f"), an_hour_ago());
        }),
    ];
    for (what, meddle) in table {
        let meddle = |house: &House| {
            thread::sleep(Duration::from_millis(20));
            meddle(house);
        };
        let on_the_way = house(SIZE);
        assert_done(
            &on_the_way,
            upload_meddled_with(&on_the_way, true, 3, &meddle),
        );
        assert_eq!(on_the_way.parts_sent(), [1, 2, 3, 4, 5, 6], "{what}");

        let between = house(SIZE);
        begun(&between);
        meddle(&between);
        let (result, event) = first_event(&between);
        assert_eq!(event, ProgressEvent::Resumed, "{what}");
        assert_eq!(result.as_ref().unwrap().parts_resumed, 3, "{what}");
        assert_done(&between, result);
        assert_eq!(between.parts_sent(), [4, 5, 6], "{what}");
    }
}

#[test]
fn an_edit_between_two_calls_is_in_the_object() {
    for (what, meddle) in OPEN_CHANGES {
        let house = house(SIZE);
        begun(&house);
        meddle(&house);
        let (result, event) = first_event(&house);
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::SourceChanged),
            "{what}"
        );
        assert_eq!(
            house.requests(Operation::AbortMultipartUpload).len(),
            1,
            "{what}"
        );
        assert_done(&house, result);
    }
}

#[test]
fn after_a_secret_edit_only_the_parts_that_differ_are_sent_again() {
    // Where the file is edited, and what is sent then.
    for (part, sent) in [(1, &[1, 4, 5, 6][..]), (3, &[3, 4, 5, 6]), (5, &[4, 5, 6])] {
        for denied in [false, true] {
            let house = house(SIZE);
            begun(&house);
            edit_in_secret(&house.path("f"), (part - 1) * PART + 10);
            if denied {
                let fault = Fault::Status {
                    status: 403,
                    code: "AccessDenied".into(),
                    retry_after: None,
                };
                house
                    .server
                    .inject(Rule::new(fault).on(Operation::ListParts));
            }
            let (result, event) = first_event(&house);
            assert_eq!(event, ProgressEvent::Resumed);
            assert_done(&house, result);
            assert_eq!(
                house.parts_sent(),
                sent,
                "part {part}, ListParts denied: {denied}"
            );
        }
    }
}

/// All parts were there, and only Complete was missing, or its answer.
#[test]
fn a_secret_edit_is_noticed_even_at_the_end() {
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    for (fault, sent) in [
        (busy, &[3][..]),
        (Fault::CloseAfterApply, &[1, 2, 3, 4, 5, 6]),
    ] {
        let house = house(SIZE);
        house.server.inject(
            Rule::new(fault.clone())
                .on(Operation::CompleteMultipartUpload)
                .forever(),
        );
        upload(&house, [checkpoint(true, "")]).unwrap_err();
        house.server.clear_faults();
        house.server.clear_requests();
        edit_in_secret(&house.path("f"), 2 * PART);
        assert_done(&house, upload(&house, [checkpoint(true, "")]));
        assert_eq!(house.parts_sent(), sent, "{fault:?}");
    }
}

#[test]
fn a_file_that_is_gone_is_an_error_before_any_request() {
    let house = house(SIZE);
    let removed = upload_meddled_with(&house, true, 2, &|house| {
        std::fs::rename(house.path("f"), house.path("g")).unwrap();
    });
    assert_changed(&house, removed);
    house.server.clear_requests();
    let error = upload(&house, [checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(&error, Error::Source { path, .. } if *path == house.path("f")),
        "{error:?}"
    );
    assert_eq!(house.server.requests().len(), 0);
    std::fs::rename(house.path("g"), house.path("f")).unwrap();
    assert_done(&house, upload(&house, [checkpoint(true, "")]));
    assert!(
        house.parts_sent().len() <= 4,
        "what is the same was sent again: {:?}",
        house.parts_sent()
    );
}

#[test]
fn an_open_file_that_changes_is_noticed_by_its_handle() {
    for (what, meddle) in OPEN_CHANGES.iter().filter(|(what, _)| *what != "replaced") {
        let house = house(SIZE);
        let file = File::open(house.path("f")).unwrap();
        let edit = |progress: &Progress| {
            if progress.parts_done == 2 {
                meddle(&house);
            }
        };
        let error = house
            .bucket
            .upload_open_file("o", file, PART, [progress(edit)])
            .unwrap_err();
        assert!(
            matches!(&error, Error::SourceChanged { .. }),
            "{what}: {error:?}"
        );
        assert!(house.server.object("examplebucket", "o").is_none());
        house.assert_nothing_left(&["f"]);
    }
}

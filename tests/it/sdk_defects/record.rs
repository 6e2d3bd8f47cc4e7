//! What a record says, and for whom.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Error, ProgressEvent, RestartReason, UploadOption, Uploaded, checkpoint, checkpoint_dir,
    progress,
};

use crate::house::{House, PART, client, content};

const SIZE: u64 = 2 * PART + 7;

/// Two of three parts are stored and on record.
fn interrupted(house: &House) {
    house.file("f", SIZE);
    house.refuse_part(3);
    upload(house, [checkpoint(true, "")]).unwrap_err();
    house.server.clear_requests();
}

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

/// Uploads a file with this record; gives what was told first, and what came of it.
fn finish(house: &House, name: &str, record: &str) -> (ProgressEvent, Uploaded) {
    let first = Cell::new(None);
    let options = [
        checkpoint(true, record),
        progress(|p| first.set(first.get().or(Some(p.event)))),
    ];
    let path = house.path(name);
    let uploaded = house.bucket.upload_file("o", &path, PART, options).unwrap();
    house.assert_stored("o", &path);
    (first.get().unwrap(), uploaded)
}

/// Changes the record as somebody does who knows about its checksum.
fn forge(record: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(record).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(lines.pop().unwrap().starts_with("md5 "));
    change(&mut lines);
    let body = lines.join("\n") + "\n";
    fs::write(record, format!("{body}md5 {:x}\n", md5::compute(&body))).unwrap();
}

/// C# resumes it, since bucket and key are the same. Size and mtime are, too; so the bytes decide.
#[test]
fn checkpoint_of_another_file_resumes_none_of_its_parts() {
    let house = House::new();
    let record = house.path("record").to_str().unwrap().to_owned();
    for name in ["f", "g"] {
        let file = File::options()
            .write(true)
            .open(house.file(name, SIZE))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .unwrap();
    }
    house.refuse_part(3);
    upload(&house, [checkpoint(true, &record)]).unwrap_err();
    let (event, uploaded) = finish(&house, "g", &record);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 0));
    house.assert_stored("o", &house.path("g"));
    house.assert_nothing_left(&["f", "g"]);
}

/// Go completes the old key, and Java sends parts to an upload id of another bucket.
#[test]
fn another_bucket_with_the_same_record_gets_its_own_object() {
    let house = House::with(LocalOss::builder().bucket("otherbucket").start().unwrap());
    interrupted(&house);
    let other = client(&house.server)
        .build()
        .unwrap()
        .bucket("otherbucket")
        .unwrap();
    let uploaded = other
        .upload_file("o", house.path("f"), PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    assert!(house.server.object("otherbucket", "o").unwrap().bytes == content("f", SIZE));
    assert!(house.server.object("examplebucket", "o").is_none());
    house.assert_nothing_left(&["f"]);
}

/// C uses them as indices.
#[test]
fn part_numbers_of_a_record_are_checked() {
    for number in ["-1", "0", "10000", "10001", "4294967297"] {
        for denied in [false, true] {
            let house = House::new();
            interrupted(&house);
            forge(&house.path("f.cp"), |lines| {
                let part = lines
                    .last()
                    .unwrap()
                    .replacen("part 2 ", &format!("part {number} "), 1);
                lines.push(part);
            });
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
            let (event, uploaded) = finish(&house, "f", "");
            // A number that another file could have says nothing about this one.
            let (wanted, resumed) = match number {
                "10000" => (ProgressEvent::Resumed, 2),
                _ => (
                    ProgressEvent::Restarted(RestartReason::CheckpointDamaged),
                    0,
                ),
            };
            assert_eq!(
                (event, uploaded.parts_resumed),
                (wanted, resumed),
                "{number}"
            );
            house.assert_files(&["f"]);
        }
    }
}

/// In C it is a null pointer.
#[test]
fn a_record_that_lacks_a_line_is_a_damaged_one() {
    for at in 1.. {
        let house = House::new();
        interrupted(&house);
        let mut missing = None;
        forge(&house.path("f.cp"), |lines| {
            missing = (at < lines.len()).then(|| lines.remove(at))
        });
        let Some(missing) = missing else {
            assert!(at > 10, "a record has more lines");
            return;
        };
        let (event, uploaded) = finish(&house, "f", "");
        // A part that was not recorded is known to the server all the same.
        let (wanted, resumed) = match missing.starts_with("part ") {
            true => (ProgressEvent::Resumed, 2),
            false => (
                ProgressEvent::Restarted(RestartReason::CheckpointDamaged),
                0,
            ),
        };
        assert_eq!(
            (event, uploaded.parts_resumed),
            (wanted, resumed),
            "{missing}"
        );
    }
}

/// C# goes on with what it had read until then.
#[test]
fn nothing_of_a_damaged_record_is_used() {
    let house = House::new();
    interrupted(&house);
    let old = house.server.uploads()[0].upload_id.clone();
    let record = house.path("f.cp");
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.find(&old) < text.find("\npart 2 "));
    fs::write(&record, text.replace("\npart 2 ", "\npart x ")).unwrap();
    let (event, uploaded) = finish(&house, "f", "");
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::CheckpointDamaged)
    );
    assert_ne!(uploaded.upload_id.as_ref(), Some(&old));
    assert!(
        house
            .server
            .requests()
            .iter()
            .all(|logged| logged.upload_id.as_ref() != Some(&old))
    );
}

/// C++ takes it from the record, and divides by it.
#[test]
fn the_part_size_is_the_calls_and_never_the_records() {
    for forged in [0, 1, PART + 1, u64::MAX] {
        let house = House::new();
        interrupted(&house);
        forge(&house.path("f.cp"), |lines| {
            let line = lines
                .iter_mut()
                .find(|line| line.starts_with("part-size "))
                .unwrap();
            *line = format!("part-size {forged}");
        });
        let (event, uploaded) = finish(&house, "f", "");
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::PartSizeChanged)
        );
        assert_eq!(uploaded.parts, 3);
        let sizes = house
            .requests(Operation::UploadPart)
            .into_iter()
            .map(|part| part.body_bytes);
        assert_eq!(sizes.collect::<Vec<_>>(), [PART, PART, 7]);
        house.assert_nothing_left(&["f"]);
    }
}

/// iOS writes it over the longer one, whose end stays.
#[test]
fn a_record_that_gets_shorter_is_whole() {
    let house = House::new();
    interrupted(&house);
    let length = || fs::metadata(house.path("f.cp")).unwrap().len();
    let before = length();
    house
        .server
        .expire_upload(&house.server.uploads()[0].upload_id);
    house.refuse_part(1);
    upload(&house, [checkpoint(true, "")]).unwrap_err();
    assert!(length() < before);
    let id = house.server.uploads()[0].upload_id.clone();
    let (event, uploaded) = finish(&house, "f", "");
    assert_eq!(
        (event, uploaded.upload_id),
        (ProgressEvent::Resumed, Some(id))
    );
    house.assert_nothing_left(&["f"]);
}

/// Python raises an exception.
#[test]
fn a_record_that_vanished_is_no_error_at_the_end() {
    let house = House::new();
    house.file("f", SIZE);
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(busy).on(Operation::CompleteMultipartUpload));
    let removed = Cell::new(false);
    let remove = progress(|p| {
        if p.event == ProgressEvent::Retrying {
            fs::remove_file(house.path("f.cp")).unwrap();
            removed.set(true);
        }
    });
    upload(&house, [checkpoint(true, ""), remove]).unwrap();
    assert!(removed.get());
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

/// Go writes the time of day, and starts over when the clocks change.
#[test]
fn the_record_knows_an_instant_and_no_time_zone() {
    let house = House::new();
    interrupted(&house);
    let mtime = fs::metadata(house.path("f")).unwrap().modified().unwrap();
    let nanoseconds = mtime
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let record = fs::read_to_string(house.path("f.cp")).unwrap();
    assert!(
        record.contains(&format!("\nmtime {nanoseconds}\n")),
        "{record}"
    );
}

/// C++ looks at whole seconds.
#[test]
fn an_edit_within_the_same_second_is_found() {
    let house = House::new();
    let set_time = |milliseconds| {
        let file = File::options().write(true).open(house.path("f")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
            .unwrap();
    };
    house.file("f", SIZE);
    set_time(1_700_000_000_000);
    house.refuse_part(3);
    upload(&house, [checkpoint(true, "")]).unwrap_err();
    fs::write(house.path("f"), content("edited", SIZE)).unwrap();
    set_time(1_700_000_000_001);
    let (event, _) = finish(&house, "f", "");
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::SourceChanged)
    );
    house.assert_nothing_left(&["f"]);
}

/// Android names a record by file, bucket and key with nothing in between.
#[test]
fn names_that_run_together_do_not_meet() {
    let house = House::with(
        LocalOss::builder()
            .bucket("examplebuckets")
            .start()
            .unwrap(),
    );
    let client = client(&house.server).build().unwrap();
    let uploads = [
        ("f", "examplebucket", "so"),
        ("f", "examplebuckets", "o"),
        ("fs", "examplebucket", "o"),
        ("f", "examplebucket", "s/o"),
    ];
    let upload = |(name, bucket, key): (&str, &str, &str)| {
        let (path, bucket) = (house.path(name), client.bucket(bucket).unwrap());
        bucket.upload_file(
            key,
            path,
            PART,
            [checkpoint_dir(true, house.path("records"))],
        )
    };
    ["f", "fs"]
        .iter()
        .for_each(|name| drop(house.file(name, SIZE)));
    for it in uploads {
        house.refuse_part(3);
        upload(it).unwrap_err();
    }
    assert_eq!(
        fs::read_dir(house.path("records")).unwrap().count(),
        uploads.len()
    );
    for it in uploads {
        assert_eq!(upload(it).unwrap().parts_resumed, 2);
        assert!(house.server.object(it.1, it.2).unwrap().bytes == content(it.0, SIZE));
    }
    house.assert_nothing_left(&["f", "fs", "records"]);
}

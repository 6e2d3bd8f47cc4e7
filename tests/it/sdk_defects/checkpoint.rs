//! Defects in what a checkpoint contains and to which upload it belongs.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use local_oss::{LocalOss, Operation};
use oss_upload::{ProgressEvent, RestartReason, Uploaded, checkpoint, checkpoint_dir, progress};

use crate::harness::{Harness, PART, client, content, service_unavailable};

const SIZE: u64 = 2 * PART + 7;

/// Leaves a checkpoint with two of three parts.
fn interrupt(t: &Harness) {
    t.file("f", SIZE);
    t.interrupt_after(2);
    t.server.clear_requests();
}

/// Uploads a file with this checkpoint. Returns the first event and the result.
fn finish(t: &Harness, name: &str, checkpoint_path: &str) -> (ProgressEvent, Uploaded) {
    let first = Cell::new(None);
    let options = [
        checkpoint(true, checkpoint_path),
        progress(|p| first.set(first.get().or(Some(p.event)))),
    ];
    let path = t.path(name);
    let uploaded = t.bucket.upload_file("o", &path, PART, options).unwrap();
    t.assert_stored("o", &path);
    (first.get().unwrap(), uploaded)
}

/// Changes a checkpoint and corrects its checksum.
fn forge(checkpoint_path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(checkpoint_path).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert!(lines.pop().unwrap().starts_with("md5 "));
    change(&mut lines);
    let body = lines.join("\n") + "\n";
    fs::write(
        checkpoint_path,
        format!("{body}md5 {:x}\n", md5::compute(&body)),
    )
    .unwrap();
}

/// The C# SDK finds a checkpoint by bucket and key, and resumes another file. Size and
/// mtime are equal, too, so the bytes decide.
#[test]
fn checkpoint_of_another_file_resumes_none_of_its_parts() {
    let t = Harness::new();
    let shared = t.path("shared").to_str().unwrap().to_owned();
    for name in ["f", "g"] {
        let file = File::options()
            .write(true)
            .open(t.file(name, SIZE))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
            .unwrap();
    }
    t.refuse_part(3);
    t.upload([checkpoint(true, &shared)]).unwrap_err();
    let (event, uploaded) = finish(&t, "g", &shared);
    assert_eq!((event, uploaded.parts_resumed), (ProgressEvent::Resumed, 0));
    t.assert_stored("o", &t.path("g"));
    t.assert_nothing_left(&["f", "g"]);
}

/// The Go SDK v1 completes the old object, and the Java SDK sends parts to an upload of another
/// bucket.
#[test]
fn checkpoint_of_another_bucket_restarts() {
    let t = Harness::with_server(LocalOss::builder().bucket("otherbucket").start().unwrap());
    interrupt(&t);
    let other = client(&t.server)
        .build()
        .unwrap()
        .bucket("otherbucket")
        .unwrap();
    let uploaded = other
        .upload_file("o", t.path("f"), PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    assert!(t.server.object("otherbucket", "o").unwrap().bytes == content("f", SIZE));
    assert!(t.server.object("examplebucket", "o").is_none());
    t.assert_nothing_left(&["f"]);
}

/// The C SDK uses part numbers as array indices without a check.
#[test]
fn checkpoint_part_numbers_are_validated() {
    for number in ["-1", "0", "10000", "10001", "4294967297"] {
        for denied in [false, true] {
            let t = Harness::new();
            interrupt(&t);
            forge(&t.path("f.cp"), |lines| {
                let part = lines
                    .last()
                    .unwrap()
                    .replacen("part 2 ", &format!("part {number} "), 1);
                lines.push(part);
            });
            if denied {
                t.deny(Operation::ListParts);
            }
            let (event, uploaded) = finish(&t, "f", "");
            // A number that is valid, but not for this file, is ignored.
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
            t.assert_files(&["f"]);
        }
    }
}

/// In the C SDK a missing node is a null pointer.
#[test]
fn checkpoint_without_a_line_is_damaged() {
    for at in 1.. {
        let t = Harness::new();
        interrupt(&t);
        let mut missing = None;
        forge(&t.path("f.cp"), |lines| {
            missing = (at < lines.len()).then(|| lines.remove(at))
        });
        let Some(missing) = missing else {
            assert!(at > 10, "a checkpoint has more lines");
            return;
        };
        let (event, uploaded) = finish(&t, "f", "");
        // The server knows a part that is not in the checkpoint.
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

/// The C# SDK uses the upload id that it read before the damage.
#[test]
fn checkpoint_that_is_damaged_is_not_used_at_all() {
    let t = Harness::new();
    interrupt(&t);
    let old = t.server.uploads()[0].upload_id.clone();
    let checkpoint_path = t.path("f.cp");
    let text = fs::read_to_string(&checkpoint_path).unwrap();
    assert!(text.find(&old) < text.find("\npart 2 "));
    fs::write(&checkpoint_path, text.replace("\npart 2 ", "\npart x ")).unwrap();
    let (event, uploaded) = finish(&t, "f", "");
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::CheckpointDamaged)
    );
    assert_ne!(uploaded.upload_id.as_ref(), Some(&old));
    assert!(
        t.server
            .requests()
            .iter()
            .all(|request| request.upload_id.as_ref() != Some(&old))
    );
}

/// The C++ SDK takes the part size from the checkpoint, and divides by it.
#[test]
fn checkpoint_part_size_never_replaces_the_argument() {
    for forged in [0, 1, PART + 1, u64::MAX] {
        let t = Harness::new();
        interrupt(&t);
        forge(&t.path("f.cp"), |lines| {
            let line = lines
                .iter_mut()
                .find(|line| line.starts_with("part-size "))
                .unwrap();
            *line = format!("part-size {forged}");
        });
        let (event, uploaded) = finish(&t, "f", "");
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::PartSizeChanged)
        );
        assert_eq!(uploaded.parts, 3);
        let sizes = t
            .requests(Operation::UploadPart)
            .into_iter()
            .map(|part| part.body_bytes);
        assert_eq!(sizes.collect::<Vec<_>>(), [PART, PART, 7]);
        t.assert_nothing_left(&["f"]);
    }
}

/// The iOS SDK overwrites the longer checkpoint, and its end stays.
#[test]
fn checkpoint_that_gets_shorter_has_no_old_tail() {
    let t = Harness::new();
    interrupt(&t);
    let length = || fs::metadata(t.path("f.cp")).unwrap().len();
    let before = length();
    t.server.expire_upload(&t.server.uploads()[0].upload_id);
    t.refuse_part(1);
    t.upload([checkpoint(true, "")]).unwrap_err();
    assert!(length() < before);
    let id = t.server.uploads()[0].upload_id.clone();
    let (event, uploaded) = finish(&t, "f", "");
    assert_eq!(
        (event, uploaded.upload_id),
        (ProgressEvent::Resumed, Some(id))
    );
    t.assert_nothing_left(&["f"]);
}

/// The Python SDK raises an exception.
#[test]
fn checkpoint_removed_before_complete_is_no_error() {
    let t = Harness::new();
    t.file("f", SIZE);
    t.inject(Operation::CompleteMultipartUpload, service_unavailable());
    let removed = Cell::new(false);
    let remove = progress(|p| {
        if p.event == ProgressEvent::Retrying {
            fs::remove_file(t.path("f.cp")).unwrap();
            removed.set(true);
        }
    });
    t.upload([checkpoint(true, ""), remove]).unwrap();
    assert!(removed.get());
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

/// The Go SDK v2 saves local time, and restarts when the time zone changes.
#[test]
fn checkpoint_mtime_is_independent_of_time_zone() {
    let t = Harness::new();
    interrupt(&t);
    let mtime = fs::metadata(t.path("f")).unwrap().modified().unwrap();
    let nanoseconds = mtime
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let text = fs::read_to_string(t.path("f.cp")).unwrap();
    assert!(text.contains(&format!("\nmtime {nanoseconds}\n")), "{text}");
}

/// The C++ SDK compares whole seconds.
#[test]
fn checkpoint_mtime_has_subsecond_precision() {
    let t = Harness::new();
    let set_time = |milliseconds| {
        let file = File::options().write(true).open(t.path("f")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds))
            .unwrap();
    };
    t.file("f", SIZE);
    set_time(1_700_000_000_000);
    t.refuse_part(3);
    t.upload([checkpoint(true, "")]).unwrap_err();
    fs::write(t.path("f"), content("edited", SIZE)).unwrap();
    set_time(1_700_000_000_001);
    let (event, _) = finish(&t, "f", "");
    assert_eq!(
        event,
        ProgressEvent::Restarted(RestartReason::SourceChanged)
    );
    t.assert_nothing_left(&["f"]);
}

/// The Android SDK names a checkpoint by file, bucket and key with no separator.
#[test]
fn checkpoint_dir_names_do_not_collide() {
    let t = Harness::with_server(
        LocalOss::builder()
            .bucket("examplebuckets")
            .start()
            .unwrap(),
    );
    let client = client(&t.server).build().unwrap();
    let uploads = [
        ("f", "examplebucket", "so"),
        ("f", "examplebuckets", "o"),
        ("fs", "examplebucket", "o"),
        ("f", "examplebucket", "s/o"),
    ];
    let upload = |(name, bucket, key): (&str, &str, &str)| {
        let (path, bucket) = (t.path(name), client.bucket(bucket).unwrap());
        bucket.upload_file(
            key,
            path,
            PART,
            [checkpoint_dir(true, t.path("checkpoints"))],
        )
    };
    ["f", "fs"].iter().for_each(|name| drop(t.file(name, SIZE)));
    for it in uploads {
        t.refuse_part(3);
        upload(it).unwrap_err();
    }
    assert_eq!(
        fs::read_dir(t.path("checkpoints")).unwrap().count(),
        uploads.len()
    );
    for it in uploads {
        assert_eq!(upload(it).unwrap().parts_resumed, 2);
        assert!(t.server.object(it.1, it.2).unwrap().bytes == content(it.0, SIZE));
    }
    t.assert_nothing_left(&["checkpoints", "f", "fs"]);
}

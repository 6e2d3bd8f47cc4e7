//! An interrupted upload is resumed: no part that OSS has acknowledged is sent again.

use std::cell::RefCell;
use std::path::Path;

use local_oss::{Fault, LocalOss, Operation};
use oss_upload::{
    Error, Progress, ProgressEvent, RestartReason, UploadOption, Uploaded, checkpoint,
    checkpoint_dir, meta, progress, routines, verify_on_resume,
};

use crate::harness::{Harness, PART, access_denied, content, status};

const SIZE: u64 = 8 * PART + 5;

/// Leaves a checkpoint with four of nine parts. Returns the path of the file.
fn interrupted(t: &Harness) -> std::path::PathBuf {
    let path = t.file("f", SIZE);
    t.interrupt_after(4);
    assert_eq!(t.parts_sent(), [1, 2, 3, 4, 5]);
    t.assert_files(&["f", "f.cp"]);
    t.server.clear_requests();
    path
}

/// Makes the call again. Returns its first event and its result.
fn resume(
    t: &Harness,
    path: &Path,
    options: impl IntoIterator<Item = UploadOption<'static>>,
) -> (Progress, Uploaded) {
    let first = RefCell::new(None);
    let remember = progress(|p: &Progress| {
        first.borrow_mut().get_or_insert_with(|| p.clone());
    });
    let mut all: Vec<UploadOption> = options.into_iter().collect();
    all.extend([routines(2), checkpoint(true, ""), remember]);
    let uploaded = t.bucket.upload_file("o", path, PART, all).unwrap();
    t.assert_stored("o", path);
    (first.into_inner().unwrap(), uploaded)
}

#[test]
fn resume_sends_only_missing_parts() {
    let t = Harness::new();
    let path = interrupted(&t);
    let (first, uploaded) = resume(&t, &path, []);
    assert_eq!(first.event, ProgressEvent::Resumed);
    assert_eq!((first.parts_done, first.transferred), (4, 4 * PART));
    assert_eq!((uploaded.parts, uploaded.parts_resumed), (9, 4));
    assert_eq!(uploaded.bytes_sent, SIZE - 4 * PART);
    assert_eq!(t.parts_sent(), [5, 6, 7, 8, 9]);
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 0);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn resume_verifies_parts_that_only_the_server_knows() {
    for crc_in_list in [true, false] {
        let t = Harness::with_server(
            LocalOss::builder()
                .part_crc_in_list(crc_in_list)
                .start()
                .unwrap(),
        );
        let path = t.file("f", SIZE);
        // The responses are lost: no part is saved in the checkpoint, though all are stored.
        t.inject_always(Operation::UploadPart, Fault::ResetAfterApply);
        t.upload([checkpoint(true, ""), routines(4)]).unwrap_err();
        let arrived = t.server.uploads()[0].parts.len();
        assert!(arrived >= 1);
        t.server.clear_faults();
        t.server.clear_requests();
        let (_, uploaded) = resume(&t, &path, []);
        assert_eq!(uploaded.parts_resumed, arrived);
        assert_eq!(t.parts_sent().len(), 9 - arrived);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn resume_resends_part_that_is_corrupt_on_server() {
    for crc_in_list in [true, false] {
        let t = Harness::with_server(
            LocalOss::builder()
                .part_crc_in_list(crc_in_list)
                .start()
                .unwrap(),
        );
        let path = t.file("f", SIZE);
        t.inject_part_always(3, Fault::CorruptBody);
        let error = t.upload([checkpoint(true, "")]).unwrap_err();
        assert!(matches!(error, Error::Response { .. }), "{error}");
        assert!(
            error
                .to_string()
                .starts_with("UploadPart 3 of oss://examplebucket/o: "),
            "{error}"
        );
        assert!(
            error.to_string().contains("CRC-64") && error.is_resumable(),
            "{error}"
        );
        t.server.clear_faults();
        t.server.clear_requests();
        resume(&t, &path, []);
        assert_eq!(t.parts_sent(), [3, 4, 5, 6, 7, 8, 9]);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn resume_resends_part_that_changed_on_server() {
    let t = Harness::new();
    let path = interrupted(&t);
    t.server.corrupt_part(&t.server.uploads()[0].upload_id, 2);
    resume(&t, &path, []);
    assert_eq!(t.parts_sent(), [2, 5, 6, 7, 8, 9]);
}

#[test]
fn resume_of_expired_upload_restarts() {
    let t = Harness::new();
    let path = interrupted(&t);
    t.server.expire_upload(&t.server.uploads()[0].upload_id);
    let (first, uploaded) = resume(&t, &path, []);
    assert_eq!(
        first.event,
        ProgressEvent::Restarted(RestartReason::UploadNotFound)
    );
    assert_eq!(uploaded.parts_resumed, 0);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn restart_after_expiry_during_upload_happens_once() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.inject_part(4, Fault::ExpireUpload);
    let (_, uploaded) = resume(&t, &path, []);
    assert_eq!(uploaded.parts, 9);
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 2);
    t.assert_nothing_left(&["f"]);
    t.inject_part_always(4, Fault::ExpireUpload);
    let error = t
        .bucket
        .upload_file("o2", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("NoSuchUpload"));
}

#[test]
fn resume_without_list_permission_trusts_checkpoint() {
    let t = Harness::new();
    let path = interrupted(&t);
    t.deny_always(Operation::ListParts);
    resume(&t, &path, []);
    assert_eq!(t.parts_sent(), [5, 6, 7, 8, 9]);
    assert_eq!(t.requests(Operation::ListParts).len(), 1);
}

#[test]
fn resume_keeps_upload_if_listing_fails() {
    let t = Harness::new();
    let path = interrupted(&t);
    let upload_id = t.server.uploads()[0].upload_id.clone();
    t.inject_always(Operation::ListParts, status(500, "InternalError"));
    let error = t.upload([checkpoint(true, "")]).unwrap_err();
    assert_eq!(error.service_code(), Some("InternalError"));
    assert_eq!(t.requests(Operation::ListParts).len(), 5);
    assert_eq!(t.server.uploads()[0].upload_id, upload_id);
    t.server.clear_faults();
    let (_, uploaded) = resume(&t, &path, []);
    assert_eq!(
        (uploaded.upload_id, uploaded.parts_resumed),
        (Some(upload_id), 4)
    );
}

#[test]
fn resume_with_any_difference_restarts_and_aborts_old_upload() {
    type Change = fn(&Harness) -> (u64, Vec<UploadOption<'static>>);
    let changes: [(RestartReason, Change); 4] = [
        (RestartReason::SourceChanged, |t| {
            std::fs::write(t.path("f"), content("other", SIZE)).unwrap();
            (PART, vec![])
        }),
        (RestartReason::SourceChanged, |t| {
            t.file("f", SIZE + 1);
            (PART, vec![])
        }),
        (RestartReason::PartSizeChanged, |_| (PART + 1, vec![])),
        (RestartReason::OptionsChanged, |_| {
            (PART, vec![meta("a", "b")])
        }),
    ];
    for (reason, change) in changes {
        let t = Harness::new();
        let path = interrupted(&t);
        let old = t.server.uploads()[0].upload_id.clone();
        let (part_size, options) = change(&t);
        let first = RefCell::new(None);
        let remember = progress(|p: &Progress| {
            first.borrow_mut().get_or_insert(p.event);
        });
        let mut all: Vec<UploadOption> = options;
        all.extend([checkpoint(true, ""), remember]);
        t.bucket.upload_file("o", &path, part_size, all).unwrap();
        assert_eq!(first.into_inner(), Some(ProgressEvent::Restarted(reason)));
        t.assert_stored("o", &path);
        let aborts = t.requests(Operation::AbortMultipartUpload);
        assert_eq!(aborts.len(), 1);
        assert_eq!(aborts[0].upload_id, Some(old));
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn resume_with_another_key_restarts() {
    let t = Harness::new();
    let path = interrupted(&t);
    t.bucket
        .upload_file("other", &path, PART, [checkpoint(true, "")])
        .unwrap();
    t.assert_stored("other", &path);
    assert!(t.server.object("examplebucket", "o").is_none());
    t.assert_nothing_left(&["f"]);
}

#[test]
fn resume_finds_edit_with_same_size_and_mtime() {
    let t = Harness::new();
    let path = interrupted(&t);
    let mtime = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[PART as usize + 1] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(mtime)
        .unwrap();
    let (_, uploaded) = resume(&t, &path, []);
    assert_eq!(t.parts_sent(), [2, 5, 6, 7, 8, 9]);
    assert_eq!(uploaded.parts_resumed, 3);
}

#[test]
fn resume_with_verify_on_resume_keeps_matching_parts() {
    let t = Harness::new();
    let path = interrupted(&t);
    resume(&t, &path, [verify_on_resume(true)]);
    assert_eq!(t.parts_sent(), [5, 6, 7, 8, 9]);
}

#[test]
fn resume_with_all_parts_uploaded_only_completes() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.deny_always(Operation::CompleteMultipartUpload);
    t.upload([checkpoint(true, "")]).unwrap_err();
    t.server.clear_faults();
    t.server.clear_requests();
    let (first, uploaded) = resume(&t, &path, []);
    assert_eq!((first.parts_done, first.transferred), (9, SIZE));
    assert_eq!((uploaded.parts_resumed, uploaded.bytes_sent), (9, 0));
    assert_eq!(t.server.requests().len(), 2);
}

#[test]
fn resume_finds_object_of_lost_complete() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.inject_always(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    t.inject_always(Operation::HeadObject, Fault::Reset);
    t.upload([checkpoint(true, "")]).unwrap_err();
    t.assert_files(&["f", "f.cp"]);
    t.server.clear_faults();
    t.server.clear_requests();
    let uploaded = t.upload([checkpoint(true, "")]).unwrap();
    assert_eq!(
        (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
        (9, 9, 0)
    );
    assert!(uploaded.crc64.is_some() && !uploaded.etag.is_empty());
    assert_eq!(t.parts_sent(), []);
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn checkpoint_dir_holds_checkpoints_of_many_uploads() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    let dir = t.path("checkpoints/of/mine");
    t.inject_part_always(5, access_denied());
    for key in ["a", "b", "目录/c"] {
        t.bucket
            .upload_file(key, &path, PART, [checkpoint_dir(true, &dir)])
            .unwrap_err();
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3);
    t.server.clear_faults();
    t.server.clear_requests();
    for key in ["a", "b", "目录/c"] {
        let uploaded = t
            .bucket
            .upload_file(key, &path, PART, [checkpoint_dir(true, &dir)])
            .unwrap();
        assert_eq!(uploaded.parts_resumed, 4);
        t.assert_stored(key, &path);
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
#[ignore = "slow: thousands of parts"]
fn resume_reads_many_pages_of_parts() {
    let t = Harness::discarding();
    let path = t.sparse_file(2_500 * PART).unwrap();
    t.inject_part_always(2_400, access_denied());
    t.bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap_err();
    t.server.clear_faults();
    t.server.clear_requests();
    let uploaded = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap();
    assert!(
        uploaded.parts_resumed >= 2_398,
        "{}",
        uploaded.parts_resumed
    );
    assert_eq!(t.requests(Operation::ListParts).len(), 3);
    assert_eq!(t.parts_sent().len(), 2_500 - uploaded.parts_resumed);
}

#[test]
fn checkpoint_includes_parts_in_flight_when_another_fails() {
    let t = Harness::new();
    t.file("f", SIZE);
    t.inject_part(
        1,
        Fault::Slow {
            bytes_per_second: 2 * PART,
        },
    );
    t.inject_part_always(2, access_denied());
    let error = t.upload([checkpoint(true, ""), routines(2)]).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(t.parts_sent(), [1, 2]);
    let text = std::fs::read_to_string(t.path("f.cp")).unwrap();
    assert!(text.contains("\npart 1 "), "{text}");
}

#[test]
#[ignore = "slow: waits for five seconds"]
fn restart_aborts_part_that_does_not_end_in_time() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.inject_part(1, Fault::Stall);
    t.inject_part(2, Fault::ExpireUpload);
    let uploaded = t.upload([checkpoint(true, ""), routines(2)]).unwrap();
    assert_eq!(uploaded.parts, 9);
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

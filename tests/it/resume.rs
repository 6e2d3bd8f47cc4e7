//! An upload that was interrupted is carried on: nothing that OSS has acknowledged is sent again.

use std::cell::RefCell;
use std::path::Path;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Error, Progress, ProgressEvent, RestartReason, UploadOption, Uploaded, checkpoint,
    checkpoint_dir, meta, progress, routines, verify_on_resume,
};

use crate::house::{House, PART};

const SIZE: u64 = 8 * PART + 5;

/// Parts 5 and 6 fail for good, the others arrive.
fn interrupted(house: &House) -> std::path::PathBuf {
    let path = house.file("f", SIZE);
    let fault = || Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house.server.inject(
        Rule::new(fault())
            .on(Operation::UploadPart)
            .part(5)
            .forever(),
    );
    let error = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"));
    assert_eq!(house.parts_sent(), [1, 2, 3, 4, 5]);
    house.assert_files(&["f", "f.cp"]);
    house.server.clear_faults();
    house.server.clear_requests();
    path
}

/// What the call reports first, and its result.
fn again(
    house: &House,
    path: &Path,
    options: impl IntoIterator<Item = UploadOption<'static>>,
) -> (Progress, Uploaded) {
    let first = RefCell::new(None);
    let remember = progress(|p: &Progress| {
        first.borrow_mut().get_or_insert_with(|| p.clone());
    });
    let mut all: Vec<UploadOption> = options.into_iter().collect();
    all.extend([routines(2), checkpoint(true, ""), remember]);
    let uploaded = house.bucket.upload_file("o", path, PART, all).unwrap();
    house.assert_stored("o", path);
    (first.into_inner().unwrap(), uploaded)
}

#[test]
fn only_what_is_missing_is_sent() {
    let house = House::new();
    let path = interrupted(&house);
    let (first, uploaded) = again(&house, &path, []);
    assert_eq!(first.event, ProgressEvent::Resumed);
    assert_eq!((first.parts_done, first.transferred), (4, 4 * PART));
    assert_eq!((uploaded.parts, uploaded.parts_resumed), (9, 4));
    assert_eq!(uploaded.bytes_sent, SIZE - 4 * PART);
    assert_eq!(house.parts_sent(), [5, 6, 7, 8, 9]);
    assert_eq!(house.requests(Operation::InitiateMultipartUpload).len(), 0);
    house.assert_nothing_left(&["f"]);
}

#[test]
fn a_part_that_only_the_server_knows_is_proven_by_its_content() {
    for crc_in_list in [true, false] {
        let house = House::with(
            LocalOss::builder()
                .part_crc_in_list(crc_in_list)
                .start()
                .unwrap(),
        );
        let path = house.file("f", SIZE);
        // The answers are lost: no part is ever recorded, though all arrive.
        house.server.inject(
            Rule::new(Fault::ResetAfterApply)
                .on(Operation::UploadPart)
                .forever(),
        );
        house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, ""), routines(4)])
            .unwrap_err();
        let arrived = house.server.uploads()[0].parts.len();
        assert!(arrived >= 1);
        house.server.clear_faults();
        house.server.clear_requests();
        let (_, uploaded) = again(&house, &path, []);
        assert_eq!(uploaded.parts_resumed, arrived);
        assert_eq!(house.parts_sent().len(), 9 - arrived);
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn a_part_that_the_server_holds_broken_is_sent_again() {
    for crc_in_list in [true, false] {
        let house = House::with(
            LocalOss::builder()
                .part_crc_in_list(crc_in_list)
                .start()
                .unwrap(),
        );
        let path = house.file("f", SIZE);
        house.server.inject(
            Rule::new(Fault::CorruptBody)
                .on(Operation::UploadPart)
                .part(3)
                .forever(),
        );
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap_err();
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
        house.server.clear_faults();
        house.server.clear_requests();
        again(&house, &path, []);
        assert_eq!(house.parts_sent(), [3, 4, 5, 6, 7, 8, 9]);
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn a_part_that_changed_on_the_server_is_sent_again() {
    let house = House::new();
    let path = interrupted(&house);
    house
        .server
        .corrupt_part(&house.server.uploads()[0].upload_id, 2);
    again(&house, &path, []);
    assert_eq!(house.parts_sent(), [2, 5, 6, 7, 8, 9]);
}

#[test]
fn an_upload_that_expired_starts_over_once_by_itself() {
    let house = House::new();
    let path = interrupted(&house);
    house
        .server
        .expire_upload(&house.server.uploads()[0].upload_id);
    let (first, uploaded) = again(&house, &path, []);
    assert_eq!(
        first.event,
        ProgressEvent::Restarted(RestartReason::UploadNotFound)
    );
    assert_eq!(uploaded.parts_resumed, 0);
    house.assert_nothing_left(&["f"]);
}

#[test]
fn an_upload_that_expires_in_the_middle_starts_over_once_by_itself() {
    let house = House::new();
    let path = house.file("f", SIZE);
    house.server.inject(
        Rule::new(Fault::ExpireUpload)
            .on(Operation::UploadPart)
            .part(4),
    );
    let (_, uploaded) = again(&house, &path, []);
    assert_eq!(uploaded.parts, 9);
    assert_eq!(house.requests(Operation::InitiateMultipartUpload).len(), 2);
    house.assert_nothing_left(&["f"]);
    house.server.inject(
        Rule::new(Fault::ExpireUpload)
            .on(Operation::UploadPart)
            .part(4)
            .forever(),
    );
    let error = house
        .bucket
        .upload_file("o2", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("NoSuchUpload"));
}

#[test]
fn without_the_right_to_list_the_record_is_trusted() {
    let house = House::new();
    let path = interrupted(&house);
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(denied).on(Operation::ListParts).forever());
    again(&house, &path, []);
    assert_eq!(house.parts_sent(), [5, 6, 7, 8, 9]);
    assert_eq!(house.requests(Operation::ListParts).len(), 1);
}

#[test]
fn any_other_trouble_with_listing_keeps_the_upload() {
    let house = House::new();
    let path = interrupted(&house);
    let upload_id = house.server.uploads()[0].upload_id.clone();
    let trouble = Fault::Status {
        status: 500,
        code: "InternalError".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(trouble).on(Operation::ListParts).forever());
    let error = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("InternalError"));
    assert_eq!(house.requests(Operation::ListParts).len(), 5);
    assert_eq!(house.server.uploads()[0].upload_id, upload_id);
    house.server.clear_faults();
    let (_, uploaded) = again(&house, &path, []);
    assert_eq!(
        (uploaded.upload_id, uploaded.parts_resumed),
        (Some(upload_id), 4)
    );
}

#[test]
fn whatever_differs_starts_over_and_deletes_the_old_upload() {
    type Change = fn(&House) -> (u64, Vec<UploadOption<'static>>);
    let changes: [(RestartReason, Change); 4] = [
        (RestartReason::SourceChanged, |house| {
            std::fs::write(house.path("f"), crate::house::content("other", SIZE)).unwrap();
            (PART, vec![])
        }),
        (RestartReason::SourceChanged, |house| {
            house.file("f", SIZE + 1);
            (PART, vec![])
        }),
        (RestartReason::PartSizeChanged, |_| (PART + 1, vec![])),
        (RestartReason::OptionsChanged, |_| {
            (PART, vec![meta("a", "b")])
        }),
    ];
    for (reason, change) in changes {
        let house = House::new();
        let path = interrupted(&house);
        let old = house.server.uploads()[0].upload_id.clone();
        let (part_size, options) = change(&house);
        let first = RefCell::new(None);
        let remember = progress(|p: &Progress| {
            first.borrow_mut().get_or_insert(p.event);
        });
        let mut all: Vec<UploadOption> = options;
        all.extend([checkpoint(true, ""), remember]);
        house
            .bucket
            .upload_file("o", &path, part_size, all)
            .unwrap();
        assert_eq!(first.into_inner(), Some(ProgressEvent::Restarted(reason)));
        house.assert_stored("o", &path);
        let aborts = house.requests(Operation::AbortMultipartUpload);
        assert_eq!(aborts.len(), 1);
        assert_eq!(aborts[0].upload_id, Some(old));
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn another_key_with_the_same_record_starts_over() {
    let house = House::new();
    let path = interrupted(&house);
    house
        .bucket
        .upload_file("other", &path, PART, [checkpoint(true, "")])
        .unwrap();
    house.assert_stored("other", &path);
    assert!(house.server.object("examplebucket", "o").is_none());
    house.assert_nothing_left(&["f"]);
}

#[test]
fn an_edit_that_keeps_size_and_mtime_is_found() {
    let house = House::new();
    let path = interrupted(&house);
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
    let (_, uploaded) = again(&house, &path, []);
    assert_eq!(house.parts_sent(), [2, 5, 6, 7, 8, 9]);
    assert_eq!(uploaded.parts_resumed, 3);
}

#[test]
fn verify_on_resume_reads_what_was_recorded() {
    let house = House::new();
    let path = interrupted(&house);
    again(&house, &path, [verify_on_resume(true)]);
    assert_eq!(house.parts_sent(), [5, 6, 7, 8, 9]);
}

#[test]
fn all_parts_there_and_only_complete_missing() {
    let house = House::new();
    let path = house.file("f", SIZE);
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house.server.inject(
        Rule::new(fault)
            .on(Operation::CompleteMultipartUpload)
            .forever(),
    );
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.clear_faults();
    house.server.clear_requests();
    let (first, uploaded) = again(&house, &path, []);
    assert_eq!((first.parts_done, first.transferred), (9, SIZE));
    assert_eq!((uploaded.parts_resumed, uploaded.bytes_sent), (9, 0));
    assert_eq!(house.server.requests().len(), 2);
}

#[test]
fn a_lost_complete_is_found_by_the_next_run() {
    let house = House::new();
    let path = house.file("f", SIZE);
    house.server.inject(
        Rule::new(Fault::ResetAfterApply)
            .on(Operation::CompleteMultipartUpload)
            .forever(),
    );
    house
        .server
        .inject(Rule::new(Fault::Reset).on(Operation::HeadObject).forever());
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.assert_files(&["f", "f.cp"]);
    house.server.clear_faults();
    house.server.clear_requests();
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(
        (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
        (9, 9, 0)
    );
    assert!(uploaded.crc64.is_some() && !uploaded.etag.is_empty());
    assert_eq!(house.parts_sent(), []);
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
}

#[test]
fn a_directory_holds_the_records_of_many_uploads() {
    let house = House::new();
    let path = house.file("f", SIZE);
    let dir = house.path("records/of/mine");
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::UploadPart).part(5).forever());
    for key in ["a", "b", "目录/c"] {
        house
            .bucket
            .upload_file(key, &path, PART, [checkpoint_dir(true, &dir)])
            .unwrap_err();
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3);
    house.server.clear_faults();
    house.server.clear_requests();
    for key in ["a", "b", "目录/c"] {
        let uploaded = house
            .bucket
            .upload_file(key, &path, PART, [checkpoint_dir(true, &dir)])
            .unwrap();
        assert_eq!(uploaded.parts_resumed, 4);
        house.assert_stored(key, &path);
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
    assert_eq!(house.server.uploads().len(), 0);
}

#[test]
fn many_pages_of_parts_are_read() {
    let house = House::with(LocalOss::builder().discard(true).start().unwrap());
    let path = house.path("sparse");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(2_500 * PART)
        .unwrap();
    let fault = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house.server.inject(
        Rule::new(fault)
            .on(Operation::UploadPart)
            .part(2_400)
            .forever(),
    );
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap_err();
    house.server.clear_faults();
    house.server.clear_requests();
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap();
    assert!(
        uploaded.parts_resumed >= 2_398,
        "{}",
        uploaded.parts_resumed
    );
    assert_eq!(house.requests(Operation::ListParts).len(), 3);
    assert_eq!(house.parts_sent().len(), 2_500 - uploaded.parts_resumed);
}

#[test]
fn parts_in_flight_are_recorded_when_another_one_fails() {
    let house = House::new();
    let path = house.file("f", SIZE);
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house.server.inject(
        Rule::new(Fault::Slow {
            bytes_per_second: 2 * PART,
        })
        .on(Operation::UploadPart)
        .part(1),
    );
    house.server.inject(
        Rule::new(denied)
            .on(Operation::UploadPart)
            .part(2)
            .forever(),
    );
    let error = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(house.parts_sent(), [1, 2]);
    let record = std::fs::read_to_string(house.path("f.cp")).unwrap();
    assert!(record.contains("\npart 1 "), "{record}");
}

#[test]
fn a_part_that_does_not_end_in_time_is_cut_off_and_the_upload_starts_over_all_the_same() {
    let house = House::new();
    let path = house.file("f", SIZE);
    house
        .server
        .inject(Rule::new(Fault::Stall).on(Operation::UploadPart).part(1));
    house.server.inject(
        Rule::new(Fault::ExpireUpload)
            .on(Operation::UploadPart)
            .part(2),
    );
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, ""), routines(2)])
        .unwrap();
    assert_eq!(uploaded.parts, 9);
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
}

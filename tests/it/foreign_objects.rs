//! Objects, checkpoints and responses that could be taken for those of this upload.

use std::fs;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Error, UploadOption, cache_control, checkpoint, content_type, forbid_overwrite, meta,
    storage_class,
};

use crate::harness::{Harness, PART, access_denied, client, content, crc64};

const SIZE: u64 = 3 * PART + 7;

/// The first CompleteMultipartUpload is not applied and gets no response, and then the upload is
/// gone.
fn lose_upload_at_complete(t: &Harness) {
    let complete = |fault| Rule::new(fault).on(Operation::CompleteMultipartUpload);
    t.server.inject(complete(Fault::CloseBeforeResponse));
    t.server.inject(complete(Fault::ExpireUpload));
}

fn headers_of_object(t: &Harness) -> Vec<(String, String)> {
    t.server.object("examplebucket", "o").unwrap().headers
}

/// Somebody stored the same bytes an hour ago.
#[test]
fn older_object_with_equal_bytes_is_not_taken_for_ours() {
    for with_checkpoint in [true, false] {
        let t = Harness::with_file(SIZE);
        t.server
            .put_object("examplebucket", "o", &content("f", SIZE));
        lose_upload_at_complete(&t);
        t.inject_always(Operation::HeadObject, Fault::ShiftLastModified(-3600));
        let uploaded = t.upload([checkpoint(with_checkpoint, "")]).unwrap();
        assert_eq!(t.requests(Operation::HeadObject).len(), 1);
        assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 2);
        assert_eq!(t.parts_sent(), [1, 1, 2, 2, 3, 3, 4, 4]);
        let object = t.server.object("examplebucket", "o").unwrap();
        assert_eq!(object.parts, 4, "it is still the older object");
        assert_eq!(uploaded.parts, 4);
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    }
}

/// Somebody stored the same bytes meanwhile, but without what this call sets.
#[test]
fn object_with_equal_bytes_and_other_headers_is_not_taken_for_ours() {
    type Set = (&'static str, fn() -> UploadOption<'static>, &'static str);
    let table: [Set; 4] = [
        ("x-oss-meta-author", || meta("author", "li"), "li"),
        ("cache-control", || cache_control("no-cache"), "no-cache"),
        ("content-type", || content_type("text/plain"), "text/plain"),
        (
            "x-oss-storage-class",
            || storage_class(oss_upload::StorageClass::InfrequentAccess),
            "IA",
        ),
    ];
    for (name, option, value) in table {
        let t = Harness::with_file(SIZE);
        lose_upload_at_complete(&t);
        let mut appeared = false;
        let appear = |progress: &oss_upload::Progress| {
            if progress.parts_done == 4 && !std::mem::replace(&mut appeared, true) {
                t.server
                    .put_object("examplebucket", "o", &content("f", SIZE));
            }
        };
        t.upload([option(), oss_upload::progress(appear)]).unwrap();
        let headers = headers_of_object(&t);
        assert!(
            headers.contains(&(name.into(), value.into())),
            "{name}: {headers:?}"
        );
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    }
}

/// `forbid_overwrite` is used as a lock: an object that was there before is never ours.
#[test]
fn older_object_with_equal_bytes_holds_the_lock_of_forbid_overwrite() {
    let t = Harness::with_file(SIZE);
    t.inject(
        Operation::CompleteMultipartUpload,
        Fault::CloseBeforeResponse,
    );
    t.inject_always(Operation::HeadObject, Fault::ShiftLastModified(-3600));
    let appear = |progress: &oss_upload::Progress| {
        if progress.parts_done == 4 {
            t.server
                .put_object("examplebucket", "o", &content("f", SIZE));
        }
    };
    let error = t
        .upload([forbid_overwrite(true), oss_upload::progress(appear)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("FileAlreadyExists"), "{error}");
    assert!(!error.is_resumable());
    t.assert_nothing_left(&["f"]);
}

/// Replaces the lines of a checkpoint after `before_end`, and its checksum.
fn forge(checkpoint: &str, line: &str) -> String {
    let mut lines: Vec<&str> = checkpoint
        .lines()
        .filter(|line| !line.starts_with("md5 ") && !line.starts_with("completing "))
        .collect();
    lines.push(line);
    let text = lines.join("\n") + "\n";
    format!("{text}md5 {:x}\n", md5::compute(&text))
}

/// Whoever can write beside the file can claim that yesterday's object of the same length is the
/// result of this upload.
#[test]
fn planted_completing_checkpoint_is_not_believed() {
    let yesterday = content("yesterday", SIZE);
    let planted = crc64(&yesterday);
    // The upload that the checkpoint names is gone, or still there.
    for is_gone in [true, false] {
        let t = Harness::with_file(SIZE);
        t.inject(Operation::CompleteMultipartUpload, access_denied());
        t.upload([checkpoint(true, "")]).unwrap_err();
        let text = fs::read_to_string(t.path("f.cp")).unwrap();
        let forged = forge(&text, &format!("completing {planted}"));
        assert_ne!(forged, text);
        fs::write(t.path("f.cp"), forged).unwrap();
        if is_gone {
            t.server.expire_upload(&t.server.uploads()[0].upload_id);
        }
        t.server.put_object("examplebucket", "o", &yesterday);
        t.server.clear_requests();

        t.upload([checkpoint(true, "")]).unwrap();
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        let heads = t.requests(Operation::HeadObject).len();
        assert_eq!(heads, usize::from(is_gone), "the claim was looked at");
        assert_eq!(
            t.parts_sent().len(),
            if is_gone { 4 } else { 0 },
            "is gone: {is_gone}"
        );
    }
}

/// The checksums in it are consistent with each other, and with an object, but not with the file.
#[test]
fn planted_checkpoint_with_consistent_parts_is_not_believed() {
    let yesterday = content("yesterday", SIZE);
    let t = Harness::with_file(SIZE);
    t.inject(Operation::CompleteMultipartUpload, access_denied());
    t.upload([checkpoint(true, "")]).unwrap_err();
    let text = fs::read_to_string(t.path("f.cp")).unwrap();
    let mut chunks = yesterday.chunks(PART as usize);
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("part ") {
            Some(part) => {
                let bytes = chunks.next().unwrap();
                let number = part.split(' ').next().unwrap();
                let (etag, crc64) = (md5::compute(bytes), crc64(bytes));
                format!("part {number} {etag:X} {crc64}")
            }
            None => line.to_owned(),
        })
        .collect();
    assert!(chunks.next().is_none(), "{text}");
    let completing = format!("completing {}", crc64(&yesterday));
    fs::write(t.path("f.cp"), forge(&lines.join("\n"), &completing)).unwrap();
    t.server.expire_upload(&t.server.uploads()[0].upload_id);
    t.server.put_object("examplebucket", "o", &yesterday);

    t.upload([checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

/// A proxy removes the CRC-64 from all responses, and a bit of the body flips on its way.
fn harness_without_crc64() -> Harness {
    let server = LocalOss::builder()
        .send_crc_header(false)
        .part_crc_in_list(false)
        .start()
        .unwrap();
    let client = client(&server);
    let t = Harness::with_client(server, client);
    t.file("f", SIZE);
    t.file("small", PART);
    t
}

#[test]
fn response_without_crc64_and_flipped_bit_is_an_error() {
    for (operation, file) in [
        (Operation::UploadPart, "f"),
        (Operation::PutObject, "small"),
    ] {
        let t = harness_without_crc64();
        t.inject_always(operation, Fault::CorruptBody);
        let error = t
            .bucket
            .upload_file("o", t.path(file), 2 * PART, [])
            .unwrap_err();
        let Error::Response { reason, .. } = &error else {
            panic!("{operation:?}: {error:?}")
        };
        assert!(reason.contains("MD5"), "{reason}");
        assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
        assert!(t.server.uploads().is_empty());
    }
}

/// Once is enough for an error, and the same call then makes the right object.
#[test]
fn response_without_crc64_and_one_flipped_bit_is_made_good_by_the_next_call() {
    for (operation, file) in [
        (Operation::UploadPart, "f"),
        (Operation::PutObject, "small"),
    ] {
        let t = harness_without_crc64();
        t.inject(operation, Fault::CorruptBody);
        let path = t.path(file);
        let upload = || t.bucket.upload_file("o", &path, 2 * PART, []);
        let error = upload().unwrap_err();
        assert!(error.is_resumable(), "{error}");
        let uploaded = upload().unwrap();
        assert_eq!(uploaded.crc64, None);
        t.assert_stored("o", &path);
        assert!(t.server.uploads().is_empty());
    }
}

/// Neither do parts count that an earlier call has sent, if OSS holds other bytes.
#[test]
fn resume_without_crc64_finds_a_corrupted_part() {
    let t = harness_without_crc64();
    t.interrupt_after(2);
    t.server.corrupt_part(&t.server.uploads()[0].upload_id, 1);
    t.server.clear_requests();
    let uploaded = t.upload([checkpoint(true, "")]).unwrap();
    assert_eq!(uploaded.parts_resumed, 1);
    assert_eq!(t.parts_sent(), [1, 3, 4]);
    t.assert_stored("o", &t.path("f"));
}

//! Uploads of bytes in memory.

use local_oss::{Fault, Operation};
use oss_upload::{
    Error, Progress, ProgressEvent, RestartReason, UploadOption, Uploaded, checkpoint,
    checkpoint_dir, checkpoint_store, content_md5, multipart_threshold, progress, routines,
};

use crate::harness::{Harness, MemoryStore, PART, access_denied, content, service_unavailable};

fn upload<'a>(
    t: &Harness,
    bytes: &[u8],
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    t.bucket.upload_bytes("o", bytes, PART, options)
}

#[track_caller]
fn assert_stored(t: &Harness, bytes: &[u8]) {
    let object = t.server.object("examplebucket", "o").unwrap();
    assert!(object.bytes == bytes, "the object is not these bytes");
}

#[test]
fn bytes_of_several_parts_are_uploaded_in_parts() {
    let t = Harness::new();
    let bytes = content("b", 3 * PART + 7);
    let uploaded = upload(&t, &bytes, [routines(3), content_md5(true)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [1, 2, 3, 4]);
    assert_eq!(
        (
            uploaded.parts,
            uploaded.parts_resumed,
            uploaded.size,
            uploaded.bytes_sent
        ),
        (4, 0, 3 * PART + 7, 3 * PART + 7)
    );
    let object = t.server.object("examplebucket", "o").unwrap();
    assert_eq!(uploaded.crc64, Some(object.crc64));
    t.assert_nothing_left(&[]);
}

#[test]
fn bytes_of_one_part_are_one_put_object() {
    for size in [0, 1, PART] {
        let t = Harness::new();
        let bytes = content("b", size);
        let cp = t.path("cp");
        let uploaded = upload(&t, &bytes, [checkpoint(true, &cp)]).unwrap();
        assert_stored(&t, &bytes);
        assert_eq!(t.server.requests().len(), 1, "{size}");
        assert_eq!(t.requests(Operation::PutObject).len(), 1, "{size}");
        assert_eq!((uploaded.parts, uploaded.upload_id), (1, None));
        t.assert_nothing_left(&[]);
    }
}

#[test]
fn bytes_obey_the_multipart_threshold() {
    let t = Harness::new();
    let bytes = content("b", 3 * PART);
    upload(&t, &bytes, [multipart_threshold(4 * PART)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.requests(Operation::PutObject).len(), 1);
    assert_eq!(t.server.requests().len(), 1);
}

#[test]
fn bytes_have_the_content_type_of_the_key() {
    let t = Harness::new();
    for (key, size) in [("a.json", 10), ("b.json", PART + 1)] {
        let bytes = content("b", size);
        t.bucket.upload_bytes(key, &bytes, PART, []).unwrap();
        let object = t.server.object("examplebucket", key).unwrap();
        let content_type = ("content-type".to_owned(), "application/json".to_owned());
        assert!(
            object.headers.contains(&content_type),
            "{:?}",
            object.headers
        );
    }
}

/// A retry reads the bytes again from the beginning.
#[test]
fn bytes_are_retried() {
    let t = Harness::new();
    let bytes = content("b", 2 * PART);
    t.inject_part(1, Fault::ResetMidBody);
    t.inject_part(2, Fault::CorruptBody);
    let uploaded = upload(&t, &bytes, []).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [1, 1, 2, 2]);
    assert!(uploaded.bytes_sent > 2 * PART);
}

#[test]
fn bytes_resume_and_send_only_what_is_missing() {
    for at in ["path", "dir", "store"] {
        let t = Harness::new();
        let bytes = content("b", 4 * PART);
        let mut store = MemoryStore::default();
        let mut upload_again = |bytes: &[u8]| {
            let option = match at {
                "path" => checkpoint(true, t.path("cp")),
                "dir" => checkpoint_dir(true, t.path("dir")),
                _ => checkpoint_store(&mut store),
            };
            upload(&t, bytes, [option])
        };
        t.inject_part(3, access_denied());
        let error = upload_again(&bytes).unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
        t.server.clear_requests();
        // The second part has other bytes of the same size this time.
        let mut changed = bytes.clone();
        changed[PART as usize + 5] ^= 1;
        let uploaded = upload_again(&changed).unwrap();
        assert_stored(&t, &changed);
        assert_eq!(t.parts_sent(), [2, 3, 4], "{at}");
        assert_eq!((uploaded.parts_resumed, uploaded.bytes_sent), (1, 3 * PART));
        assert_eq!(t.server.uploads().len(), 0);
        assert!(store.text.is_none());
    }
}

/// The lost response of CompleteMultipartUpload is looked for by the next call.
#[test]
fn bytes_that_are_complete_already_are_not_sent_again() {
    let t = Harness::new();
    let bytes = content("b", 3 * PART);
    let mut store = MemoryStore::default();
    t.inject(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    t.inject_always(Operation::HeadObject, service_unavailable());
    upload(&t, &bytes, [checkpoint_store(&mut store)]).unwrap_err();
    t.server.clear_faults();
    t.server.clear_requests();
    let uploaded = upload(&t, &bytes, [checkpoint_store(&mut store)]).unwrap();
    assert_eq!((uploaded.bytes_sent, uploaded.parts_resumed), (0, 3));
    assert_eq!(t.requests(Operation::HeadObject).len(), 1);
    assert_eq!(t.parts_sent(), [0; 0]);
    t.assert_nothing_left(&[]);
    assert_stored(&t, &bytes);
}

#[test]
fn bytes_have_no_path_to_put_a_checkpoint_beside() {
    let t = Harness::new();
    let error = upload(&t, &content("b", 2 * PART), [checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::InvalidOption {
                option: "checkpoint",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
fn bytes_do_not_resume_the_checkpoint_of_a_file() {
    let t = Harness::with_file(3 * PART);
    let mut store = MemoryStore::default();
    t.refuse_part(2);
    t.upload([checkpoint_store(&mut store)]).unwrap_err();
    let bytes = content("f", 3 * PART);
    let mut first = None;
    let seen = progress(|p: &Progress| {
        first.get_or_insert(p.event);
    });
    upload(&t, &bytes, [checkpoint_store(&mut store), seen]).unwrap();
    let restarted = ProgressEvent::Restarted(RestartReason::SourceChanged);
    assert_eq!(first, Some(restarted));
    assert_stored(&t, &bytes);
    t.assert_nothing_left(&["f"]);
}

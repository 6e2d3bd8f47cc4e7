//! Objects that already are the file are not sent again.

use std::cell::RefCell;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CancelToken, Error, ObjectAcl, ProgressEvent, ServerSideEncryption, StorageClass, UploadOption,
    Uploaded, cache_control, callback, cancel, checkpoint, content_type, forbid_overwrite, meta,
    multipart_threshold, object_acl, progress, routines, server_side_encryption, skip_unchanged,
    storage_class, tag,
};

use crate::house::{House, PART};

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> oss_upload::Result<Uploaded> {
    let options = options.into_iter().chain([skip_unchanged(true)]);
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

fn operations(house: &House) -> Vec<Operation> {
    let requests = house.server.requests();
    requests.iter().map(|request| request.operation).collect()
}

/// Uploads the file once more and asserts that nothing of it was sent.
#[track_caller]
fn assert_skipped<'a>(house: &House, options: impl IntoIterator<Item = UploadOption<'a>>) {
    house.server.clear_requests();
    let uploaded = upload(house, options).unwrap();
    assert!(uploaded.skipped);
    assert_eq!((uploaded.bytes_sent, uploaded.parts), (0, 0));
    assert_eq!(operations(house), [Operation::HeadObject]);
    house.assert_stored("o", &house.path("f"));
}

/// Uploads the file once more and asserts that it was sent.
#[track_caller]
fn assert_sent<'a>(house: &House, options: impl IntoIterator<Item = UploadOption<'a>>) {
    let size = fs::metadata(house.path("f")).unwrap().len();
    let uploaded = upload(house, options).unwrap();
    assert!(!uploaded.skipped);
    assert_eq!(uploaded.bytes_sent, size);
    house.assert_stored("o", &house.path("f"));
}

/// Makes the file older than what counts as just changed.
fn settle(house: &House) {
    let file = fs::File::options()
        .write(true)
        .open(house.path("f"))
        .unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
}

#[test]
fn unchanged_file_is_not_sent_again() {
    for (size, threshold) in [
        (0, None),
        (1, None),
        (PART, None),
        (3 * PART + 7, None),
        // One PutObject that is read in four ranges.
        (3 * PART + 7, Some(1 << 30)),
    ] {
        for settled in [false, true] {
            let house = House::new();
            house.file("f", size);
            if settled {
                settle(&house);
            }
            let options = || {
                let threshold = threshold.map(multipart_threshold);
                [routines(3), checkpoint(true, "")]
                    .into_iter()
                    .chain(threshold)
            };
            let first = upload(&house, options()).unwrap();
            assert!(!first.skipped);
            assert_eq!(first.bytes_sent, size);

            house.server.clear_requests();
            let events = RefCell::new(Vec::new());
            let log = progress(|progress| events.borrow_mut().push(progress.clone()));
            let second = upload(&house, options().chain([log])).unwrap();
            assert!(second.skipped);
            assert_eq!((second.bytes_sent, second.size), (0, size));
            assert_eq!((&second.key, &second.etag), (&first.key, &first.etag));
            assert_eq!((second.crc64, second.url()), (first.crc64, first.url()));
            assert!(second.request_id.is_some() && second.upload_id.is_none());
            assert_eq!(operations(&house), [Operation::HeadObject]);
            let events = events.into_inner();
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!(events[0].event, ProgressEvent::Completed);
            assert_eq!(events[0].transferred, size);
            house.assert_stored("o", &house.path("f"));
            house.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn unchanged_objects_are_sent_again_without_the_option() {
    let house = House::new();
    let path = house.file("f", 3);
    for _ in 0..2 {
        let uploaded = house.bucket.upload_file("o", &path, PART, []).unwrap();
        assert_eq!((uploaded.skipped, uploaded.bytes_sent), (false, 3));
    }
    assert_eq!(house.requests(Operation::HeadObject).len(), 0);
}

#[test]
fn unchanged_size_with_other_content_is_sent() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
    assert_sent(&house, []);
    let mut bytes = fs::read(&path).unwrap();
    bytes[PART as usize] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_sent(&house, []);
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert_sent(&house, []);
    assert_skipped(&house, []);
}

/// A file of 1 TiB, which takes no space and minutes to read.
#[test]
fn unchanged_file_is_read_only_if_all_else_is_equal() {
    let house = House::new();
    let path = house.path("f");
    let file = fs::File::create(&path).unwrap();
    if file.set_len(1 << 40).is_err() {
        // A file system without such files.
        return;
    }
    house.server.put_object("examplebucket", "o", b"old");
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(denied).on(Operation::InitiateMultipartUpload));
    let token = CancelToken::new();
    let done = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..600 {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            token.cancel();
        });
        let options = [skip_unchanged(true), cancel(&token)];
        let error = house.bucket.upload_file("o", &path, 1 << 30, options);
        done.store(true, Ordering::Relaxed);
        error.unwrap_err()
    });
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    let expected = [Operation::HeadObject, Operation::InitiateMultipartUpload];
    assert_eq!(operations(&house), expected);
}

#[test]
fn unchanged_content_with_other_properties_is_sent() {
    type Options = fn() -> Vec<UploadOption<'static>>;
    let properties: [Options; 6] = [
        || vec![content_type("a/b")],
        || vec![cache_control("no-cache")],
        || vec![meta("a", "b")],
        || vec![meta("a", "李 %"), meta("b", "c")],
        || vec![storage_class(StorageClass::InfrequentAccess)],
        || vec![server_side_encryption(ServerSideEncryption::Aes256)],
    ];
    for size in [3, PART + 1] {
        for (number, options) in properties.into_iter().enumerate() {
            let house = House::new();
            house.file("f", size);
            assert_sent(&house, []);
            house.server.clear_requests();
            assert_sent(&house, options());
            let first = operations(&house)[0];
            assert_eq!(first, Operation::HeadObject, "property {number}");
            assert_skipped(&house, options());
        }
    }
}

#[test]
fn unchanged_object_with_hidden_properties_is_sent_without_a_look() {
    type Options = fn() -> Vec<UploadOption<'static>>;
    let properties: [Options; 2] = [
        || vec![object_acl(ObjectAcl::Private)],
        || vec![tag("a", "b")],
    ];
    let house = House::new();
    house.file("f", 3);
    assert_sent(&house, []);
    for options in properties {
        house.server.clear_requests();
        assert_sent(&house, options());
        assert_eq!(operations(&house), [Operation::PutObject]);
    }
    // The callback's server does not exist; what counts is that the file was sent.
    house.server.clear_requests();
    let unreachable = oss_upload::Callback::new("http://127.0.0.1:1/", "b");
    let error = upload(&house, [callback(unreachable)]).unwrap_err();
    assert!(matches!(error, Error::Callback { .. }), "{error}");
    assert_eq!(operations(&house), [Operation::PutObject]);
}

#[test]
fn unchanged_object_that_cannot_be_looked_at_is_sent() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidArgument"), (405, "")] {
        let house = House::new();
        house.file("f", 3);
        assert_sent(&house, []);
        house.server.clear_requests();
        let fault = Fault::Status {
            status,
            code: code.into(),
            retry_after: None,
        };
        house
            .server
            .inject(Rule::new(fault).on(Operation::HeadObject));
        assert_sent(&house, []);
        let expected = [Operation::HeadObject, Operation::PutObject];
        assert_eq!(operations(&house), expected);
    }
}

#[test]
fn unchanged_object_without_a_crc64_is_sent() {
    let server = LocalOss::builder().send_crc_header(false).start().unwrap();
    let house = House::with(server);
    house.file("f", 3);
    assert_sent(&house, []);
    assert_sent(&house, []);
}

#[test]
fn unchanged_look_is_retried() {
    let house = House::new();
    house.file("f", 3);
    assert_sent(&house, []);
    house.server.clear_requests();
    let fault = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(fault).on(Operation::HeadObject));
    assert!(upload(&house, []).unwrap().skipped);
    assert_eq!(operations(&house), [Operation::HeadObject; 2]);
}

#[test]
fn unchanged_object_cleans_up_what_an_earlier_call_left() {
    for size in [PART / 2, 3 * PART] {
        let house = House::new();
        let path = house.file("f", 3 * PART);
        house.refuse_part(2);
        upload(&house, [checkpoint(true, "")]).unwrap_err();
        let left = house.server.uploads()[0].upload_id.clone();
        house.assert_files(&["f", "f.cp"]);
        // Meanwhile somebody else has uploaded the file, which may have become a smaller one.
        let bytes = &fs::read(&path).unwrap()[..size as usize];
        fs::write(&path, bytes).unwrap();
        house.bucket.upload_file("o", &path, PART, []).unwrap();

        house.server.clear_requests();
        let uploaded = upload(&house, [checkpoint(true, "")]).unwrap();
        assert_eq!((uploaded.skipped, uploaded.bytes_sent), (true, 0));
        let expected = [Operation::HeadObject, Operation::AbortMultipartUpload];
        assert_eq!(operations(&house), expected);
        let aborted = &house.requests(Operation::AbortMultipartUpload)[0];
        assert_eq!(aborted.upload_id.as_ref(), Some(&left));
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn unchanged_look_does_not_keep_a_changed_object_from_being_resumed() {
    let house = House::new();
    house.file("f", 3 * PART);
    house.refuse_part(2);
    upload(&house, [checkpoint(true, "")]).unwrap_err();
    // An older object of the same size.
    house
        .server
        .put_object("examplebucket", "o", &vec![7; 3 * PART as usize]);
    let events = RefCell::new(Vec::new());
    let log = progress(|progress| events.borrow_mut().push(progress.event));
    let uploaded = upload(&house, [checkpoint(true, ""), log]).unwrap();
    assert_eq!((uploaded.skipped, uploaded.parts_resumed), (false, 1));
    assert_eq!(events.borrow()[0], ProgressEvent::Resumed);
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn unchanged_object_satisfies_forbid_overwrite() {
    let house = House::new();
    let path = house.file("f", 3);
    assert_sent(&house, [forbid_overwrite(true)]);
    assert_skipped(&house, [forbid_overwrite(true)]);
    fs::write(&path, "new").unwrap();
    let error = upload(&house, [forbid_overwrite(true)]).unwrap_err();
    assert_eq!(error.service_code(), Some("FileAlreadyExists"));
}

#[test]
fn unchanged_source_must_not_change_while_it_is_compared() {
    let house = House::new();
    let path = house.file("f", 3);
    settle(&house);
    assert_sent(&house, []);
    // The response comes when the file is another one, of the same content.
    let delay = Fault::Delay(Duration::from_millis(500));
    house
        .server
        .inject(Rule::new(delay).on(Operation::HeadObject));
    let error = std::thread::scope(|scope| {
        let upload = scope.spawn(|| upload(&house, []));
        while house.requests(Operation::HeadObject).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        settle(&house);
        upload.join().unwrap().unwrap_err()
    });
    assert!(matches!(&error, Error::SourceChanged { path: named, .. } if *named == path));
    assert_eq!(house.requests(Operation::PutObject).len(), 1);
}

#[test]
fn unchanged_look_can_be_cancelled() {
    let house = House::new();
    house.file("f", 3);
    assert_sent(&house, []);
    house
        .server
        .inject(Rule::new(Fault::Stall).on(Operation::HeadObject));
    let token = CancelToken::new();
    let error = std::thread::scope(|scope| {
        let upload = scope.spawn(|| upload(&house, [cancel(&token)]));
        while house.requests(Operation::HeadObject).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        token.cancel();
        upload.join().unwrap().unwrap_err()
    });
    assert!(
        matches!(
            error,
            Error::Cancelled {
                object_may_exist: false,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(house.requests(Operation::PutObject).len(), 1);
}

#[test]
fn unchanged_part_size_does_not_matter() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    assert_sent(&house, []);
    let options = [skip_unchanged(true)];
    let uploaded = house
        .bucket
        .upload_file("o", path, 2 * PART, options)
        .unwrap();
    assert!(uploaded.skipped);
}

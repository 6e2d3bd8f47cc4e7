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

use crate::harness::{Harness, PART};

fn upload<'a>(
    t: &Harness,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> oss_upload::Result<Uploaded> {
    let options = options.into_iter().chain([skip_unchanged(true)]);
    t.bucket.upload_file("o", t.path("f"), PART, options)
}

fn operations(t: &Harness) -> Vec<Operation> {
    let requests = t.server.requests();
    requests.iter().map(|request| request.operation).collect()
}

/// Uploads the file once more and asserts that nothing of it was sent.
#[track_caller]
fn assert_skipped<'a>(t: &Harness, options: impl IntoIterator<Item = UploadOption<'a>>) {
    t.server.clear_requests();
    let uploaded = upload(t, options).unwrap();
    assert!(uploaded.skipped);
    assert_eq!((uploaded.bytes_sent, uploaded.parts), (0, 0));
    assert_eq!(operations(t), [Operation::HeadObject]);
    t.assert_stored("o", &t.path("f"));
}

/// Uploads the file once more and asserts that it was sent.
#[track_caller]
fn assert_sent<'a>(t: &Harness, options: impl IntoIterator<Item = UploadOption<'a>>) {
    let size = fs::metadata(t.path("f")).unwrap().len();
    let uploaded = upload(t, options).unwrap();
    assert!(!uploaded.skipped);
    assert_eq!(uploaded.bytes_sent, size);
    t.assert_stored("o", &t.path("f"));
}

/// Makes the file older than what counts as just changed.
fn settle(t: &Harness) {
    let file = fs::File::options().write(true).open(t.path("f")).unwrap();
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
            let t = Harness::new();
            t.file("f", size);
            if settled {
                settle(&t);
            }
            let options = || {
                let threshold = threshold.map(multipart_threshold);
                [routines(3), checkpoint(true, "")]
                    .into_iter()
                    .chain(threshold)
            };
            let first = upload(&t, options()).unwrap();
            assert!(!first.skipped);
            assert_eq!(first.bytes_sent, size);

            t.server.clear_requests();
            let events = RefCell::new(Vec::new());
            let log = progress(|progress| events.borrow_mut().push(progress.clone()));
            let second = upload(&t, options().chain([log])).unwrap();
            assert!(second.skipped);
            assert_eq!((second.bytes_sent, second.size), (0, size));
            assert_eq!((&second.key, &second.etag), (&first.key, &first.etag));
            assert_eq!((second.crc64, second.url()), (first.crc64, first.url()));
            assert!(second.request_id.is_some() && second.upload_id.is_none());
            assert_eq!(operations(&t), [Operation::HeadObject]);
            let events = events.into_inner();
            assert_eq!(events.len(), 1, "{events:?}");
            assert_eq!(events[0].event, ProgressEvent::Completed);
            assert_eq!(events[0].transferred, size);
            t.assert_stored("o", &t.path("f"));
            t.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn unchanged_objects_are_sent_again_without_the_option() {
    let t = Harness::new();
    let path = t.file("f", 3);
    for _ in 0..2 {
        let uploaded = t.bucket.upload_file("o", &path, PART, []).unwrap();
        assert_eq!((uploaded.skipped, uploaded.bytes_sent), (false, 3));
    }
    assert_eq!(t.requests(Operation::HeadObject).len(), 0);
}

#[test]
fn unchanged_size_with_other_content_is_sent() {
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    assert_sent(&t, []);
    let mut bytes = fs::read(&path).unwrap();
    bytes[PART as usize] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_sent(&t, []);
    bytes.push(0);
    fs::write(&path, &bytes).unwrap();
    assert_sent(&t, []);
    assert_skipped(&t, []);
}

/// A file of 1 TiB, which takes no space and minutes to read.
#[test]
fn unchanged_file_is_read_only_if_all_else_is_equal() {
    let t = Harness::new();
    let path = t.path("f");
    let file = fs::File::create(&path).unwrap();
    if file.set_len(1 << 40).is_err() {
        // A file system without such files.
        return;
    }
    t.server.put_object("examplebucket", "o", b"old");
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    t.server
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
        let error = t.bucket.upload_file("o", &path, 1 << 30, options);
        done.store(true, Ordering::Relaxed);
        error.unwrap_err()
    });
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    let expected = [Operation::HeadObject, Operation::InitiateMultipartUpload];
    assert_eq!(operations(&t), expected);
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
            let t = Harness::new();
            t.file("f", size);
            assert_sent(&t, []);
            t.server.clear_requests();
            assert_sent(&t, options());
            let first = operations(&t)[0];
            assert_eq!(first, Operation::HeadObject, "property {number}");
            assert_skipped(&t, options());
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
    let t = Harness::new();
    t.file("f", 3);
    assert_sent(&t, []);
    for options in properties {
        t.server.clear_requests();
        assert_sent(&t, options());
        assert_eq!(operations(&t), [Operation::PutObject]);
    }
    // The callback's server does not exist; what counts is that the file was sent.
    t.server.clear_requests();
    let unreachable = oss_upload::Callback::new("http://127.0.0.1:1/", "b");
    let error = upload(&t, [callback(unreachable)]).unwrap_err();
    assert!(matches!(error, Error::Callback { .. }), "{error}");
    assert_eq!(operations(&t), [Operation::PutObject]);
}

#[test]
fn unchanged_object_that_cannot_be_looked_at_is_sent() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidArgument"), (405, "")] {
        let t = Harness::new();
        t.file("f", 3);
        assert_sent(&t, []);
        t.server.clear_requests();
        let fault = Fault::Status {
            status,
            code: code.into(),
            retry_after: None,
        };
        t.server.inject(Rule::new(fault).on(Operation::HeadObject));
        assert_sent(&t, []);
        let expected = [Operation::HeadObject, Operation::PutObject];
        assert_eq!(operations(&t), expected);
    }
}

#[test]
fn unchanged_object_without_a_crc64_is_sent() {
    let server = LocalOss::builder().send_crc_header(false).start().unwrap();
    let t = Harness::with_server(server);
    t.file("f", 3);
    assert_sent(&t, []);
    assert_sent(&t, []);
}

#[test]
fn unchanged_look_is_retried() {
    let t = Harness::new();
    t.file("f", 3);
    assert_sent(&t, []);
    t.server.clear_requests();
    let fault = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    t.server.inject(Rule::new(fault).on(Operation::HeadObject));
    assert!(upload(&t, []).unwrap().skipped);
    assert_eq!(operations(&t), [Operation::HeadObject; 2]);
}

#[test]
fn unchanged_object_cleans_up_what_an_earlier_call_left() {
    for size in [PART / 2, 3 * PART] {
        let t = Harness::new();
        let path = t.file("f", 3 * PART);
        t.refuse_part(2);
        upload(&t, [checkpoint(true, "")]).unwrap_err();
        let left = t.server.uploads()[0].upload_id.clone();
        t.assert_files(&["f", "f.cp"]);
        // Meanwhile somebody else has uploaded the file, which may have become a smaller one.
        let bytes = &fs::read(&path).unwrap()[..size as usize];
        fs::write(&path, bytes).unwrap();
        t.bucket.upload_file("o", &path, PART, []).unwrap();

        t.server.clear_requests();
        let uploaded = upload(&t, [checkpoint(true, "")]).unwrap();
        assert_eq!((uploaded.skipped, uploaded.bytes_sent), (true, 0));
        let expected = [Operation::HeadObject, Operation::AbortMultipartUpload];
        assert_eq!(operations(&t), expected);
        let aborted = &t.requests(Operation::AbortMultipartUpload)[0];
        assert_eq!(aborted.upload_id.as_ref(), Some(&left));
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn unchanged_look_does_not_keep_a_changed_object_from_being_resumed() {
    let t = Harness::new();
    t.file("f", 3 * PART);
    t.refuse_part(2);
    upload(&t, [checkpoint(true, "")]).unwrap_err();
    // An older object of the same size.
    t.server
        .put_object("examplebucket", "o", &vec![7; 3 * PART as usize]);
    let events = RefCell::new(Vec::new());
    let log = progress(|progress| events.borrow_mut().push(progress.event));
    let uploaded = upload(&t, [checkpoint(true, ""), log]).unwrap();
    assert_eq!((uploaded.skipped, uploaded.parts_resumed), (false, 1));
    assert_eq!(events.borrow()[0], ProgressEvent::Resumed);
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn unchanged_object_satisfies_forbid_overwrite() {
    let t = Harness::new();
    let path = t.file("f", 3);
    assert_sent(&t, [forbid_overwrite(true)]);
    assert_skipped(&t, [forbid_overwrite(true)]);
    fs::write(&path, "new").unwrap();
    let error = upload(&t, [forbid_overwrite(true)]).unwrap_err();
    assert_eq!(error.service_code(), Some("FileAlreadyExists"));
}

#[test]
fn unchanged_source_must_not_change_while_it_is_compared() {
    let t = Harness::new();
    let path = t.file("f", 3);
    settle(&t);
    assert_sent(&t, []);
    // The response comes when the file is another one, of the same content.
    let delay = Fault::Delay(Duration::from_millis(500));
    t.server.inject(Rule::new(delay).on(Operation::HeadObject));
    let error = std::thread::scope(|scope| {
        let upload = scope.spawn(|| upload(&t, []));
        while t.requests(Operation::HeadObject).len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        settle(&t);
        upload.join().unwrap().unwrap_err()
    });
    assert!(matches!(&error, Error::SourceChanged { path: named, .. } if *named == path));
    assert_eq!(t.requests(Operation::PutObject).len(), 1);
}

#[test]
fn unchanged_look_can_be_cancelled() {
    let t = Harness::new();
    t.file("f", 3);
    assert_sent(&t, []);
    t.server
        .inject(Rule::new(Fault::Stall).on(Operation::HeadObject));
    let token = CancelToken::new();
    let error = std::thread::scope(|scope| {
        let upload = scope.spawn(|| upload(&t, [cancel(&token)]));
        while t.requests(Operation::HeadObject).len() < 2 {
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
    assert_eq!(t.requests(Operation::PutObject).len(), 1);
}

#[test]
fn unchanged_part_size_does_not_matter() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    assert_sent(&t, []);
    let options = [skip_unchanged(true)];
    let uploaded = t.bucket.upload_file("o", path, 2 * PART, options).unwrap();
    assert!(uploaded.skipped);
}

//! What callers do with the public types besides uploading: conversions, hints, `Debug`, and
//! catching panics.

use std::error::Error as _;
use std::io;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::path::PathBuf;

use local_oss::Operation;
use oss_upload::{
    Bucket, CancelToken, Client, Credentials, Error, RetryPolicy, cancel, checkpoint, progress,
    routines,
};

use crate::harness::{Harness, PART, access_denied, bucket, client, status};

/// Errors as calls return them, and the kind that each has as an `io::Error`.
fn errors() -> Vec<(Error, io::ErrorKind)> {
    let service = |code, status_code| {
        let t = Harness::with_file(1);
        t.inject_always(Operation::PutObject, status(status_code, code));
        t.upload([]).unwrap_err()
    };
    let t = Harness::with_file(2 * PART);
    let token = CancelToken::new();
    token.cancel();
    let unreachable = bucket(
        Client::builder("http://127.0.0.1:1")
            .credentials(Credentials::new("ak", "sk"))
            .region("cn-hangzhou")
            .no_proxy()
            .retry(RetryPolicy::default().max_attempts(1)),
    );
    let broken = bucket(client(&t.server).credentials(Credentials::new("ak", "")));
    std::fs::write(t.path("notes"), "not a checkpoint").unwrap();
    let missing: PathBuf = t.path("missing");
    let upload = |bucket: &Bucket| bucket.upload_file("o", t.path("f"), PART, []).unwrap_err();
    vec![
        (
            t.upload([routines(0)]).unwrap_err(),
            io::ErrorKind::InvalidInput,
        ),
        (
            t.bucket.upload_file("o", missing, PART, []).unwrap_err(),
            io::ErrorKind::NotFound,
        ),
        (
            t.upload([checkpoint(true, t.path("notes"))]).unwrap_err(),
            io::ErrorKind::AlreadyExists,
        ),
        (
            t.upload([checkpoint(true, t.path("missing").join("f.cp"))])
                .unwrap_err(),
            io::ErrorKind::NotFound,
        ),
        (
            t.upload([cancel(&token)]).unwrap_err(),
            io::ErrorKind::Interrupted,
        ),
        (upload(&unreachable), io::ErrorKind::ConnectionRefused),
        (upload(&broken), io::ErrorKind::PermissionDenied),
        (
            service("AccessDenied", 403),
            io::ErrorKind::PermissionDenied,
        ),
        (service("NoSuchBucket", 404), io::ErrorKind::NotFound),
        (service("EntityTooLarge", 400), io::ErrorKind::Other),
    ]
}

#[test]
fn error_converts_to_io_error_of_a_fitting_kind_and_back() {
    for (error, kind) in errors() {
        let text = error.to_string();
        let code = error.service_code().map(str::to_owned);
        let converted = io::Error::from(error);
        assert_eq!(converted.kind(), kind, "{text}");
        assert_eq!(converted.to_string(), text);
        let back = converted.into_inner().unwrap().downcast::<Error>().unwrap();
        assert_eq!(back.service_code(), code.as_deref());
        assert_eq!(back.to_string(), text);
    }
}

/// So that `?` works in a function that returns `io::Result`.
#[test]
fn error_converts_by_the_question_mark() {
    fn upload(t: &Harness) -> io::Result<u64> {
        Ok(t.upload([])?.size)
    }
    let t = Harness::with_file(1);
    assert_eq!(upload(&t).unwrap(), 1);
    t.deny(Operation::PutObject);
    let error = upload(&t).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

/// The hint is a part of the message, and a hint alone names no failure.
#[test]
fn error_hint_is_the_end_of_the_message() {
    let mut with_hint = 0;
    for (error, _) in errors() {
        let text = error.to_string();
        assert_eq!(format!("{error:?}"), text);
        assert!(!text.contains('\n'), "{text}");
        let Some(hint) = error.hint() else { continue };
        with_hint += 1;
        assert!(!hint.is_empty());
        assert_eq!(text.matches(hint).count(), 1, "{text}");
        let after = text.split(hint).nth(1).unwrap();
        assert!(
            after.is_empty() || after.starts_with(" (request id"),
            "{text}"
        );
        let (failure, _) = text.split_once(&format!("; {hint}")).unwrap();
        assert!(!failure.is_empty());
    }
    assert!(with_hint >= 4, "only {with_hint} errors have a hint");
}

/// An error chain is printed by many programs: no cause may appear in it twice.
#[test]
fn error_chain_shows_each_cause_once() {
    for (error, _) in errors() {
        let text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            assert!(!text.contains(&cause.to_string()), "{text}: {cause}");
            source = cause.source();
        }
    }
}

#[test]
fn client_and_bucket_survive_a_caught_panic() {
    fn is_unwind_safe<T: UnwindSafe + RefUnwindSafe + Send + Sync + Clone + 'static>(_: &T) {}
    let t = Harness::with_file(3 * PART);
    let client: Client = client(&t.server).build().unwrap();
    let bucket: Bucket = client.bucket("examplebucket").unwrap();
    is_unwind_safe(&client);
    is_unwind_safe(&bucket);

    // No `AssertUnwindSafe`: the bucket is captured by reference.
    let path = t.path("f");
    let result = catch_unwind(|| {
        let panics = |_: &oss_upload::Progress| std::panic::resume_unwind(Box::new("a bug"));
        bucket.upload_file("o", &path, PART, [progress(panics)])
    });
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"a bug"));
    t.assert_nothing_left(&["f"]);
    bucket.upload_file("o", &path, PART, []).unwrap();
    t.assert_stored("o", &path);
}

#[test]
fn client_and_bucket_debug_shows_the_target_and_no_secret() {
    let credentials = Credentials::new("hush-id", "hush-secret").with_security_token("hush-token");
    let builder = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
        .credentials(credentials.clone())
        .proxy("http://user:hush-password@proxy.example:3128");
    let shown_builder = format!("{builder:?}");
    let client = builder.build().unwrap();
    let bucket = client.bucket("examplebucket").unwrap();
    let (shown_client, shown_bucket) = (format!("{client:?}"), format!("{bucket:?}"));
    for shown in [&shown_client, &shown_bucket] {
        assert!(shown.contains("oss-cn-hangzhou.aliyuncs.com"), "{shown}");
        assert!(shown.contains("cn-hangzhou\""), "{shown}");
    }
    assert!(shown_bucket.contains("\"examplebucket\""), "{shown_bucket}");
    let shown_credentials = format!("{credentials:?}");
    for shown in [
        shown_builder,
        shown_client,
        shown_bucket,
        format!("{:?}", [checkpoint(true, "")]),
        shown_credentials.replace("hush-id", ""),
    ] {
        assert!(!shown.contains("hush"), "{shown}");
    }
}

/// `access_denied` is permanent: the message names what is refused, for whom to ask.
#[test]
fn error_of_service_names_operation_and_object() {
    let t = Harness::with_file(2 * PART);
    t.inject_part_always(1, access_denied());
    let error = t.upload([]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("UploadPart 1 of oss://examplebucket/o"),
        "{text}"
    );
    assert!(
        error.request_id().is_some_and(|id| text.contains(id)),
        "{text}"
    );
    let converted = io::Error::from(error);
    assert_eq!(converted.kind(), io::ErrorKind::PermissionDenied);
}

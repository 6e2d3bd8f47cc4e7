//! Providers of credentials that fail, or panic, in mid-upload.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_oss::Operation;
use oss_upload::{Credentials, Error, ProgressEvent, RetryPolicy, progress, routines};

use crate::harness::{Harness, PART, bucket, client};

const SIZE: u64 = 6 * PART;

#[test]
fn credentials_provider_that_fails_once_is_retried() {
    let t = Harness::with_file(SIZE);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let provider = move || match counter.fetch_add(1, Ordering::SeqCst) {
        3 => Err("the metadata service answered 500".into()),
        _ => Ok(Credentials::new("ak", "sk")),
    };
    let bucket = bucket(client(&t.server).credentials(provider));
    let mut retries = 0;
    let count = |progress: &oss_upload::Progress| {
        retries += usize::from(progress.event == ProgressEvent::Retrying);
    };
    bucket
        .upload_file("o", t.path("f"), PART, [progress(count)])
        .unwrap();
    assert_eq!(retries, 1);
    t.assert_stored("o", &t.path("f"));
    // Nothing was sent in vain: the failure was not that of a request.
    assert_eq!(t.parts_sent(), [1, 2, 3, 4, 5, 6]);
    // Initiate, six parts, Complete, and the call that failed.
    assert_eq!(asked.load(Ordering::SeqCst), 9);
    t.assert_nothing_left(&["f"]);
}

/// The policy applies to the provider as to requests.
#[test]
fn credentials_provider_that_goes_on_failing_ends_the_upload() {
    let t = Harness::with_file(SIZE);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let provider = move || match counter.fetch_add(1, Ordering::SeqCst) {
        3..6 => Err("the metadata service answered 500".into()),
        _ => Ok(Credentials::new("ak", "sk")),
    };
    let retry = RetryPolicy::default()
        .max_attempts(3)
        .base_delay(std::time::Duration::from_millis(1));
    let bucket = bucket(client(&t.server).credentials(provider).retry(retry));
    let error = bucket.upload_file("o", t.path("f"), PART, []).unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    assert!(error.is_resumable());
    assert_eq!(t.parts_sent(), [1, 2]);
    t.assert_nothing_left(&["f"]);
}

/// Without a checkpoint nobody could resume the upload: it is aborted before the panic is resumed.
#[test]
fn credentials_provider_panic_leaves_no_upload_without_a_checkpoint() {
    // The first call signs Initiate, the next ones sign parts.
    for (number, threads) in [(1, 1), (3, 1), (3, 3), (6, 2)] {
        let t = Harness::with_file(SIZE);
        let asked = AtomicUsize::new(0);
        let provider = move || {
            if asked.fetch_add(1, Ordering::SeqCst) == number {
                // Without the panic hook, which would print it.
                resume_unwind(Box::new("the provider panicked"));
            }
            Ok(Credentials::new("ak", "sk"))
        };
        let bucket = bucket(client(&t.server).credentials(provider));
        let call =
            AssertUnwindSafe(|| bucket.upload_file("o", t.path("f"), PART, [routines(threads)]));
        let panic = catch_unwind(call).unwrap_err();
        assert_eq!(
            panic.downcast_ref::<&str>(),
            Some(&"the provider panicked"),
            "call {number}, {threads} threads"
        );
        t.assert_nothing_left(&["f"]);
        assert_eq!(t.requests(Operation::AbortMultipartUpload).len(), 1);
        assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);

        // The client can be used again.
        bucket.upload_file("o", t.path("f"), PART, []).unwrap();
        t.assert_stored("o", &t.path("f"));
    }
}

//! Checkpoints, responses, names and settings that are malicious, or extreme.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use local_oss::{Fault, Operation};
use oss_upload::{
    Client, ClientBuilder, Credentials, Error, ProgressEvent, RetryPolicy, checkpoint, progress,
    routines,
};

use crate::harness::{Harness, PART, RawServer, bucket, client, http_response};

fn client_of(endpoint: &str) -> ClientBuilder {
    Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk").with_security_token("token"))
        .region("cn-hangzhou")
        .no_proxy()
        .stall_timeout(Duration::from_secs(1))
        .retry(
            RetryPolicy::default()
                .max_attempts(2)
                .base_delay(Duration::from_millis(1)),
        )
}

/// Anyone can write a checkpoint with a valid checksum, and the bucket becomes part of the request
/// host.
#[test]
fn checkpoint_with_forged_bucket_gets_no_signed_request() {
    let attacker = RawServer::responding("HTTP/1.1 204 No Content\r\n\r\n");
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    let text = format!(
        "oss-upload checkpoint 1\nendpoint http%3A%2F%2Foss-cn-hangzhou.invalid\nbucket {}%2F\nkey k\npath %2Fx\nsize 1\n\
         mtime 1\nidentity -\npart-size 102400\nheaders 00\nupload-id U\ninitiated 1\n",
        attacker.address,
    );
    std::fs::write(
        t.path("f.cp"),
        format!("{text}md5 {:x}\n", md5::compute(&text)),
    )
    .unwrap();
    let bucket = bucket(client_of("http://oss-cn-hangzhou.invalid"));
    bucket
        .upload_file("k", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(attacker.requests().len(), 0);
}

#[test]
fn response_before_the_body_is_no_success() {
    for body in [400_000, 40_000_000] {
        // The first attempt gets no response, so the second one sends `Expect: 100-continue`, and
        // gets a 200 at once.
        let server = RawServer::responding_before_the_body(|n| match n {
            1 => String::new(),
            _ => "HTTP/1.1 200 OK\r\nETag: \"AB\"\r\nContent-Length: 0\r\n\r\n".into(),
        });
        let t = Harness::new();
        let path = t.file("f", body);
        let bucket = bucket(client_of(&server.url("")));
        let error = bucket.upload_file("k", &path, body, []).unwrap_err();
        assert!(
            matches!(error, Error::Response { .. } | Error::Transport { .. }),
            "{error}"
        );
    }
}

#[test]
fn timeouts_of_maximum_duration_work() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    let forever = client(&t.server)
        .stall_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX);
    let retry = RetryPolicy::default()
        .base_delay(Duration::MAX)
        .max_delay(Duration::MAX);
    let bucket = forever
        .retry(retry)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    bucket.upload_file("o", &path, PART, []).unwrap();
    t.assert_stored("o", &path);
}

#[test]
fn proxy_of_unsupported_scheme_is_rejected() {
    for proxy in [
        "socks5://127.0.0.1:1",
        "socks4://127.0.0.1:1",
        "socks4a://127.0.0.1:1",
        "socks://127.0.0.1:1",
    ] {
        let error = Client::builder("http://127.0.0.1:1")
            .credentials(Credentials::new("ak", "sk"))
            .region("cn-hangzhou")
            .proxy(proxy)
            .build()
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidOption {
                    option: "proxy",
                    ..
                }
            ),
            "{proxy}: {error}"
        );
    }
}

#[test]
fn source_that_was_empty_and_grows_has_changed() {
    let t = Harness::new();
    let path = t.file("f", 0);
    let grow = progress(|p| {
        if p.event == ProgressEvent::Started {
            std::fs::write(&path, "no longer empty").unwrap();
        }
    });
    let error = t.upload([grow]).unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
    assert!(t.server.object("examplebucket", "o").is_none());
}

#[test]
fn error_is_one_line_whatever_it_quotes() {
    let xml = "<Error><Code>Access\nDenied\u{1b}[31m</Code><RequestId>a\nb</RequestId><EC>1\n2</EC><Endpoint>x\ny</Endpoint></Error>";
    let server = RawServer::responding_before_the_body(move |_| http_response(403, "", xml));
    let t = Harness::new();
    let path = t.file(if cfg!(windows) { "a b" } else { "a\nb" }, 8);
    let bucket = bucket(client_of(&server.url("")));
    t.deny(Operation::PutObject);
    for error in [
        bucket.upload_file("k", &path, PART, []).unwrap_err(),
        t.bucket
            .upload_file("k", &path, PART, [checkpoint(true, &path)])
            .unwrap_err(),
        t.bucket
            .upload_file("a\u{2028}b\u{202e}c", &path, PART, [])
            .unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            !text.contains(['\n', '\u{1b}', '\u{2028}', '\u{202e}']),
            "{text:?}"
        );
    }
}

#[test]
fn source_errors_that_persist_are_not_resumable() {
    let t = Harness::new();
    for path in [t.path(""), t.path("missing"), "/dev/null".into()] {
        let error = t.bucket.upload_file("k", &path, PART, []).unwrap_err();
        assert!(
            matches!(error, Error::Source { .. }) && !error.is_resumable(),
            "{error}"
        );
    }
}

/// The upload stops soon, instead of sending all remaining parts, and can be resumed.
#[test]
fn credentials_provider_panic_stops_the_upload() {
    let t = Harness::new();
    let path = t.file("f", 40 * PART);
    let calls = AtomicUsize::new(0);
    let provider = move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 3 {
            // Without the panic hook, which takes time to print the location.
            resume_unwind(Box::new("the provider panicked"));
        }
        Ok(Credentials::new("ak", "sk"))
    };
    let bucket = client(&t.server)
        .credentials(provider)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let call = AssertUnwindSafe(|| {
        bucket.upload_file("o", &path, PART, [routines(2), checkpoint(true, "")])
    });
    catch_unwind(call).unwrap_err();
    assert!(t.parts_sent().len() < 8, "{:?}", t.parts_sent());
    t.upload([checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

/// A stalled part delays the panic no longer than it delays any other failure.
#[test]
#[ignore = "slow: waits for five seconds"]
fn credentials_provider_panic_does_not_wait_for_a_stalled_part() {
    let t = Harness::new();
    let path = t.file("f", 4 * PART);
    t.inject_part(1, Fault::Stall);
    let calls = AtomicUsize::new(0);
    let provider = move || match calls.fetch_add(1, Ordering::SeqCst) {
        3 => panic!("the provider panicked"),
        _ => Ok(Credentials::new("ak", "sk")),
    };
    let patient = client(&t.server)
        .stall_timeout(Duration::from_secs(60))
        .credentials(provider);
    let bucket = patient.build().unwrap().bucket("examplebucket").unwrap();
    let started = Instant::now();
    let upload = || bucket.upload_file("o", &path, PART, [routines(2), checkpoint(true, "")]);
    catch_unwind(AssertUnwindSafe(upload)).unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
    t.server.clear_faults();
    t.upload([checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &path);
}

/// The clock of a device without a battery starts in 1970.
#[test]
fn clock_at_1970_costs_one_request() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    t.server.set_clock_skew(56 * 365 * 24 * 3600);
    t.upload([]).unwrap();
    t.assert_stored("o", &path);
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 2);
    assert_eq!(t.parts_sent().len(), 3);
}

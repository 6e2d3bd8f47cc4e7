//! Records, answers, names and settings that somebody made to do harm, or that nobody thought of.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, Operation, Rule};
use oss_upload::{
    Client, ClientBuilder, Credentials, Error, ProgressEvent, RetryPolicy, checkpoint, progress,
    routines,
};

use crate::house::{House, PART, client};

/// Answers the n-th connection as `answer` says, once the request's head is there; the body is not read. Counts them.
fn answering(answer: impl Fn(usize) -> String + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (
        listener.local_addr().unwrap(),
        Arc::new(AtomicUsize::new(0)),
    );
    let counted = count.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1)
            {
                head.push(byte[0]);
            }
            let _ = stream.write_all(answer(n).as_bytes());
        }
    });
    (address, count)
}

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

/// The record's author can make its checksum, and the bucket's name becomes part of a host.
#[test]
fn a_record_does_not_tell_whom_to_send_signed_requests_to() {
    let (stranger, asked) = answering(|_| "HTTP/1.1 204 No Content\r\n\r\n".into());
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let record = format!(
        "oss-upload checkpoint 1\nendpoint http%3A%2F%2Foss-cn-hangzhou.invalid\nbucket {stranger}%2F\nkey k\npath %2Fx\nsize 1\n\
         mtime 1\nidentity -\npart-size 102400\nheaders 00\nupload-id U\ninitiated 1\n"
    );
    std::fs::write(
        house.path("f.cp"),
        format!("{record}md5 {:x}\n", md5::compute(&record)),
    )
    .unwrap();
    let bucket = client_of("http://oss-cn-hangzhou.invalid")
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    bucket
        .upload_file("k", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn an_answer_that_comes_before_the_bytes_is_no_upload() {
    for body in [400_000, 40_000_000] {
        // The first attempt is cut off, so the second one asks before it sends; and is told that all is well.
        let (address, _) = answering(|n| match n {
            1 => String::new(),
            _ => "HTTP/1.1 200 OK\r\nETag: \"AB\"\r\nContent-Length: 0\r\n\r\n".into(),
        });
        let house = House::new();
        let path = house.file("f", body);
        let bucket = client_of(&format!("http://{address}"))
            .build()
            .unwrap()
            .bucket("examplebucket")
            .unwrap();
        let error = bucket.upload_file("k", &path, body, []).unwrap_err();
        assert!(
            matches!(error, Error::Response { .. } | Error::Transport { .. }),
            "{error}"
        );
    }
}

#[test]
fn timeouts_without_end() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let forever = client(&house.server)
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
    house.assert_stored("o", &path);
}

#[test]
fn a_proxy_that_can_not_be_used_is_refused_not_bypassed() {
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
fn an_empty_file_that_grows_has_changed() {
    let house = House::new();
    let path = house.file("f", 0);
    let grow = progress(|p| {
        if p.event == ProgressEvent::Started {
            std::fs::write(&path, "no longer empty").unwrap();
        }
    });
    let error = house
        .bucket
        .upload_file("o", &path, PART, [grow])
        .unwrap_err();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error}");
    assert!(house.server.object("examplebucket", "o").is_none());
}

#[test]
fn an_error_is_one_line_whatever_it_quotes() {
    let xml = "<Error><Code>Access\nDenied\u{1b}[31m</Code><RequestId>a\nb</RequestId><EC>1\n2</EC><Endpoint>x\ny</Endpoint></Error>";
    let (address, _) = answering(move |_| {
        format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{xml}",
            xml.len()
        )
    });
    let house = House::new();
    let path = house.file(if cfg!(windows) { "a b" } else { "a\nb" }, 8);
    let bucket = client_of(&format!("http://{address}"))
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    house.server.inject(Rule::new(Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    }));
    for error in [
        bucket.upload_file("k", &path, PART, []).unwrap_err(),
        house
            .bucket
            .upload_file("k", &path, PART, [checkpoint(true, &path)])
            .unwrap_err(),
        house
            .bucket
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
fn what_will_not_get_better_is_not_worth_running_again() {
    let house = House::new();
    for path in [house.path(""), house.path("missing"), "/dev/null".into()] {
        let error = house.bucket.upload_file("k", &path, PART, []).unwrap_err();
        assert!(
            matches!(error, Error::Source { .. }) && !error.is_resumable(),
            "{error}"
        );
    }
}

/// As a crash does, but not by sending all that is left.
#[test]
fn a_provider_that_panics_stops_the_others() {
    let house = House::new();
    let path = house.file("f", 40 * PART);
    let calls = AtomicUsize::new(0);
    let provider = move || {
        if calls.fetch_add(1, Ordering::SeqCst) == 3 {
            // Without the hook, which takes its time to print where it happened.
            resume_unwind(Box::new("no more keys"));
        }
        Ok(Credentials::new("ak", "sk"))
    };
    let bucket = client(&house.server)
        .credentials(provider)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let call = AssertUnwindSafe(|| {
        bucket.upload_file("o", &path, PART, [routines(2), checkpoint(true, "")])
    });
    catch_unwind(call).unwrap_err();
    assert!(house.parts_sent().len() < 8, "{:?}", house.parts_sent());
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
}

/// A part that is stalled does not hold the panic back for longer than any other failure would be.
#[test]
fn a_panic_on_a_worker_does_not_wait_for_a_silent_server() {
    let house = House::new();
    let path = house.file("f", 4 * PART);
    house
        .server
        .inject(Rule::new(Fault::Stall).on(Operation::UploadPart).part(1));
    let asked = AtomicUsize::new(0);
    let provider = move || match asked.fetch_add(1, Ordering::SeqCst) {
        3 => panic!("the vault is empty"),
        _ => Ok(Credentials::new("ak", "sk")),
    };
    let patient = client(&house.server)
        .stall_timeout(Duration::from_secs(60))
        .credentials(provider);
    let bucket = patient.build().unwrap().bucket("examplebucket").unwrap();
    let started = Instant::now();
    let upload = || bucket.upload_file("o", &path, PART, [routines(2), checkpoint(true, "")]);
    catch_unwind(AssertUnwindSafe(upload)).unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    house.server.clear_faults();
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    house.assert_stored("o", &path);
}

/// A device without a clock of its own begins in 1970.
#[test]
fn a_clock_that_stands_at_1970_costs_one_request() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    house.server.set_clock_skew(56 * 365 * 24 * 3600);
    house.bucket.upload_file("o", &path, PART, []).unwrap();
    house.assert_stored("o", &path);
    assert_eq!(house.requests(Operation::InitiateMultipartUpload).len(), 2);
    assert_eq!(house.parts_sent().len(), 3);
}

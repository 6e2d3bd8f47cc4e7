//! The effect of each fault on a client.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::client::Client;
use crate::{noise, wait_until};

/// Larger than the socket buffers between client and server.
const LARGE: usize = 16 << 20;

fn put(server: &LocalOss, fault: Fault, body: &[u8]) -> std::io::Result<crate::client::Response> {
    server.inject(Rule::new(fault).on(Operation::PutObject));
    Client::of(server).send("PUT", "key", &[], body)
}

fn stored(server: &LocalOss) -> bool {
    server.object("examplebucket", "key").is_some()
}

#[test]
fn fault_breaks_the_connection() {
    let (small, large) = (noise(1000), noise(LARGE));
    for (fault, body, applied, received) in [
        (Fault::Reset, &large, false, 0..=0),
        (
            Fault::ResetMidBody,
            &large,
            false,
            LARGE as u64 / 2..=LARGE as u64 - 1,
        ),
        (Fault::ResetAfterApply, &small, true, 1000..=1000),
        (Fault::CloseAfterApply, &small, true, 1000..=1000),
        (Fault::CloseBeforeResponse, &small, false, 1000..=1000),
        (Fault::InvalidHttp, &small, false, 1000..=1000),
    ] {
        let server = LocalOss::start();
        let name = format!("{fault:?}");
        let resets = name.starts_with("Reset");
        let error = put(&server, fault, body).expect_err("no response");
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert_eq!(kinds.contains(&error.kind()), resets, "{name}: {error}");
        assert_eq!(stored(&server), applied, "{name}");
        let request = &server.requests()[0];
        assert_eq!(
            (request.status, request.fault.as_deref()),
            (None, Some(name.as_str()))
        );
        assert!(
            received.contains(&request.body_bytes),
            "{name}: {}",
            request.body_bytes
        );
        assert_eq!(server.faults_fired(), 1);
    }
}

#[test]
fn fault_stalls_until_the_client_disconnects() {
    for (fault, applied) in [
        (Fault::Stall, false),
        (Fault::StallMidBody, false),
        (Fault::StallBeforeResponse, false),
        (Fault::StallAfterApply, true),
    ] {
        let server = LocalOss::start();
        server.inject(Rule::new(fault.clone()));
        let mut client = Client::of(&server);
        client.timeout = Duration::from_millis(200);
        let error = client
            .send("PUT", "key", &[], &noise(1000))
            .expect_err("no response");
        assert!(
            [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
            "{fault:?}: {error}"
        );
        assert_eq!(stored(&server), applied, "{fault:?}");
        assert_eq!(server.requests()[0].status, None);
    }
}

#[test]
fn stop_does_not_wait_for_stalled_connections() {
    let server = LocalOss::start();
    server.inject(Rule::new(Fault::Stall).forever());
    let client = Client::of(&server);
    let mut stream = client.connect().expect("a connection");
    stream
        .write_all(&client.head("PUT", "key", &[], LARGE))
        .expect("written");
    wait_until("the request", || server.faults_fired() == 1);
    let (start, address) = (Instant::now(), server.address());
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the port is free"
    );
}

#[test]
fn fault_falsifies_the_response() {
    let server = LocalOss::start();
    let body = noise(1000);
    let good = Client::of(&server)
        .send("PUT", "key", &[], &body)
        .expect("a response");
    let (etag, crc) = (good.header("etag"), good.header("x-oss-hash-crc64ecma"));
    let etag_and_crc = |fault| {
        let response = put(&server, fault, &body).expect("a response");
        assert_eq!(response.status, 200);
        let header = |name| response.header(name).map(str::to_owned);
        (header("etag"), header("x-oss-hash-crc64ecma"))
    };
    assert_eq!(etag_and_crc(Fault::NoEtag).0, None);
    assert_eq!(etag_and_crc(Fault::NoCrc).1, None);
    assert_ne!(etag_and_crc(Fault::WrongEtag).0.as_deref(), etag);
    assert_ne!(etag_and_crc(Fault::WrongCrc).1.as_deref(), crc);
    let (flipped_etag, flipped_crc) = etag_and_crc(Fault::CorruptBody);
    assert_ne!(flipped_etag.as_deref(), etag);
    assert_ne!(flipped_crc.as_deref(), crc);
    let object = server.object("examplebucket", "key").expect("stored");
    assert_eq!(
        object
            .bytes
            .iter()
            .zip(&body)
            .filter(|(left, right)| left != right)
            .count(),
        1
    );
    assert_eq!(Some(object.etag), flipped_etag);
}

#[test]
fn fault_replaces_the_response() {
    let server = LocalOss::start();
    let body = noise(1000);
    let status = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
        retry_after: Some(7),
    };
    let response = put(&server, status, &body).expect("a response");
    assert_eq!(
        (response.status, response.header("retry-after")),
        (503, Some("7"))
    );
    assert_eq!(response.element("Code"), "ServiceUnavailable");
    let bare = Fault::Status {
        status: 500,
        code: String::new(),
        retry_after: None,
    };
    assert!(
        put(&server, bare, &body)
            .expect("a response")
            .body
            .is_empty()
    );
    let redirect = Fault::Redirect {
        status: 307,
        location: "http://127.0.0.1:1/".to_owned(),
    };
    let response = put(&server, redirect, &body).expect("a response");
    assert_eq!(
        (response.status, response.header("location")),
        (307, Some("http://127.0.0.1:1/"))
    );
    let response = put(&server, Fault::Html, &body).expect("a response");
    assert_eq!(
        (response.status, response.header("content-type")),
        (200, Some("text/html"))
    );
    let response = put(&server, Fault::HugeResponse(3 << 20), &body).expect("a response");
    assert_eq!((response.status, response.body.len()), (200, 3 << 20));
    let inside = Fault::ErrorInside200 {
        code: "InternalError".to_owned(),
    };
    let response = put(&server, inside, &body).expect("a response");
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (200, "InternalError")
    );
    let response = put(&server, Fault::ExpireToken, &body).expect("a response");
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (403, "SecurityTokenExpired")
    );
    assert!(!stored(&server));
    let response = put(&server, Fault::SkewClock(3600), &body).expect("a response");
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (403, "RequestTimeTooSkewed")
    );
    assert!(!response.element("ServerTime").is_empty());
}

#[test]
fn fault_truncates_the_response() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    server.inject(Rule::new(Fault::TruncateResponse).on(Operation::InitiateMultipartUpload));
    client
        .send("POST", "key?uploads", &[], b"")
        .expect_err("half a response");
    assert_eq!(server.requests()[0].status, Some(200));
    server.inject(Rule::new(Fault::TruncateXml).on(Operation::InitiateMultipartUpload));
    let response = client
        .send("POST", "key?uploads", &[], b"")
        .expect("a response");
    assert!(!response.text().contains("</InitiateMultipartUploadResult>"));
    assert_eq!(server.uploads().len(), 2, "both requests were applied");
}

#[test]
fn fault_responds_before_the_body() {
    let server = LocalOss::start();
    let early = || Fault::EarlyStatus {
        status: 403,
        code: "AccessDenied".to_owned(),
    };
    assert_eq!(put(&server, early(), b"").expect("a response").status, 403);
    server.clear_requests();
    // The response may be lost in the reset, but the body is never read.
    if let Ok(response) = put(&server, early(), &noise(LARGE)) {
        assert_eq!(response.status, 403);
    }
    assert_eq!(server.requests()[0].body_bytes, 0);
    assert!(!stored(&server));
    let refuse = Fault::StatusBeforeContinue {
        status: 403,
        code: "AccessDenied".to_owned(),
    };
    server.inject(Rule::new(refuse));
    let client = Client::of(&server);
    let mut stream = client.connect().expect("a connection");
    stream
        .write_all(&client.head("PUT", "key", &[("expect", "100-continue")], 1000))
        .expect("written");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 403"), "{response}");
}

#[test]
fn fault_delays_the_response() {
    let server = LocalOss::start();
    let start = Instant::now();
    put(&server, Fault::Delay(Duration::from_millis(150)), b"x").expect("a response");
    assert!(start.elapsed() >= Duration::from_millis(150));
    let start = Instant::now();
    put(
        &server,
        Fault::Slow {
            bytes_per_second: 10_000,
        },
        &noise(2000),
    )
    .expect("a response");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn rule_selects_requests() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("key");
    let fault = || Fault::Status {
        status: 500,
        code: "InternalError".to_owned(),
        retry_after: None,
    };
    server.inject(Rule::new(fault()).part(2).nth(2).times(2));
    let mut statuses = |number| {
        client
            .part("key", &id, number, b"x")
            .expect("a response")
            .status
    };
    let seen: Vec<u16> = [1, 2, 1, 2, 2, 2].into_iter().map(&mut statuses).collect();
    assert_eq!(seen, [200, 200, 200, 500, 500, 200]);
    server.inject(Rule::new(Fault::ExpireUpload).on(Operation::UploadPart));
    assert_eq!(statuses(1), 404);
    assert!(server.uploads().is_empty());
    server.inject(Rule::new(fault()).forever());
    server.clear_faults();
    assert_eq!(
        client
            .send("PUT", "other", &[], b"")
            .expect("a response")
            .status,
        200
    );
    assert_eq!(server.faults_fired(), 3);
}

//! The protocol without faults.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{LocalOss, Operation};

use crate::client::Client;
use crate::noise;

const PART: usize = 100 * 1024;

/// Returns the status and the error code of a response.
fn outcome(response: std::io::Result<crate::client::Response>) -> (u16, String) {
    let response = response.expect("a response");
    (response.status, response.element("Code"))
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn multipart_upload_makes_an_object() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let headers = [
        ("content-type", "text/plain"),
        ("x-oss-meta-author", "alice"),
        ("x-oss-tagging", "a=b&c=d"),
        ("x-oss-storage-class", "IA"),
    ];
    let id = client
        .send("POST", "key?uploads", &headers, b"")
        .expect("a response")
        .element("UploadId");
    let data = noise(2 * PART + 10);
    let mut etags = Vec::new();
    for (index, chunk) in data.chunks(PART).enumerate() {
        let response = client
            .part("key", &id, index as u32 + 1, chunk)
            .expect("a response");
        etags.push(response.header("etag").expect("an ETag").to_owned());
    }
    let page = client
        .send("GET", &format!("key?uploadId={id}&max-parts=2"), &[], b"")
        .expect("a response");
    assert_eq!(
        (
            page.element("IsTruncated").as_str(),
            page.element("NextPartNumberMarker").as_str()
        ),
        ("true", "2")
    );
    let page = client
        .send(
            "GET",
            &format!("key?uploadId={id}&part-number-marker=2"),
            &[],
            b"",
        )
        .expect("a response");
    assert_eq!(
        (
            page.element("IsTruncated").as_str(),
            page.element("Size").as_str()
        ),
        ("false", "10")
    );
    let parts: Vec<(u32, &str)> = (1..).zip(etags.iter().map(String::as_str)).collect();
    let response = client
        .complete("key", &id, &parts, &[("x-oss-object-acl", "private")])
        .expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    let object = server.object("examplebucket", "key").expect("stored");
    assert_eq!((object.bytes, object.parts), (data, 3));
    assert_eq!(response.header("etag"), Some(object.etag.as_str()));
    assert_eq!(
        response.header("x-oss-hash-crc64ecma"),
        Some(object.crc64.to_string().as_str())
    );
    assert_eq!(
        (object.tagging.as_deref(), object.acl.as_deref()),
        (Some("a=b&c=d"), Some("private"))
    );
    let head = client.send("HEAD", "key", &[], b"").expect("a response");
    assert_eq!(head.header("etag"), Some(object.etag.as_str()));
    assert_eq!(
        outcome(client.complete("key", &id, &parts, &[])),
        error(404, "NoSuchUpload")
    );
    let operations: Vec<Operation> = server
        .requests()
        .iter()
        .map(|request| request.operation)
        .collect();
    assert_eq!(operations[0], Operation::InitiateMultipartUpload);
    assert_eq!(operations[6], Operation::CompleteMultipartUpload);
    assert!(
        server.requests()[6]
            .body
            .starts_with(b"<CompleteMultipartUpload>")
    );
}

#[test]
fn complete_checks_the_parts() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("key");
    let put = |number, body: &[u8]| {
        let response = client.part("key", &id, number, body).expect("a response");
        response.header("etag").expect("an ETag").to_owned()
    };
    let (small, large, last) = (put(1, b"small"), put(2, &noise(PART)), put(3, b"last"));
    let complete = |parts: &[(u32, &str)]| outcome(client.complete("key", &id, parts, &[]));
    assert_eq!(
        complete(&[(3, &last), (2, &large)]),
        error(400, "InvalidPartOrder")
    );
    assert_eq!(complete(&[(2, &small)]), error(400, "InvalidPart"));
    assert_eq!(complete(&[(4, &small)]), error(400, "InvalidPart"));
    assert_eq!(
        complete(&[(1, &small), (2, &large)]),
        error(400, "EntityTooSmall")
    );
    assert_eq!(
        server.uploads()[0].parts.len(),
        3,
        "a failed completion changes nothing"
    );
    server.put_object("examplebucket", "key", b"old");
    let forbid = [("x-oss-forbid-overwrite", "true")];
    assert_eq!(
        outcome(client.complete("key", &id, &[(2, &large)], &forbid)),
        error(409, "FileAlreadyExists")
    );
    server.corrupt_part(&id, 2);
    assert_eq!(complete(&[(2, &large)]), error(400, "InvalidPart"));
    let all = [("x-oss-complete-all", "yes")];
    assert_eq!(
        outcome(client.complete("key", &id, &[(2, &large)], &all)),
        error(400, "InvalidArgument")
    );
    assert_eq!(complete(&[(3, &last)]).0, 200);
}

#[test]
fn header_in_the_wrong_request_is_rejected() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("key");
    let invalid = error(400, "InvalidArgument");
    for header in [
        "x-oss-callback",
        "x-oss-meta-a",
        "x-oss-storage-class",
        "x-oss-tagging",
    ] {
        let target = format!("key?partNumber=1&uploadId={id}");
        assert_eq!(
            outcome(client.send("PUT", &target, &[(header, "IA")], b"x")),
            invalid,
            "{header}"
        );
    }
    assert_eq!(
        outcome(client.send("POST", "key?uploads", &[("x-oss-callback", "e30=")], b"")),
        invalid
    );
    assert_eq!(
        outcome(client.complete("key", &id, &[(1, "x")], &[("x-oss-meta-a", "b")])),
        invalid
    );
    assert_eq!(
        outcome(client.send("PUT", "key", &[("x-oss-traffic-limit", "1")], b"")),
        invalid
    );
    assert_eq!(outcome(client.part("key", &id, 10_001, b"")), invalid);
    let digest = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    assert_eq!(
        outcome(client.send("PUT", "key", &digest, b"not empty")),
        error(400, "InvalidDigest")
    );
    assert_eq!(outcome(client.send("PUT", "key", &digest, b"")).0, 200);
    assert_eq!(
        outcome(client.send("PUT", "/key", &[], b"")),
        error(400, "InvalidObjectName")
    );
}

#[test]
fn signature_is_verified() {
    let server = LocalOss::builder().token("tok").start().expect("a server");
    let mut client = Client::of(&server);
    let token = [("x-oss-security-token", "tok")];
    let put = |client: &Client, headers: &[(&str, &str)]| {
        outcome(client.send("PUT", "key", headers, b""))
    };
    assert_eq!(put(&client, &token).0, 200);
    assert_eq!(put(&client, &[]), error(403, "InvalidSecurityToken"));
    client.secret = "wrong".to_owned();
    let response = client.send("PUT", "key", &token, b"").expect("a response");
    assert_eq!(response.element("Code"), "SignatureDoesNotMatch");
    assert!(
        response
            .element("StringToSign")
            .ends_with("x-oss-security-token:tok\n/examplebucket/key")
    );
    client.id = "nobody".to_owned();
    assert_eq!(put(&client, &token), error(403, "InvalidAccessKeyId"));
    server.add_credentials("nobody", "wrong", None);
    assert_eq!(put(&client, &[]).0, 200);
    server.expire_credentials("nobody");
    assert_eq!(put(&client, &[]), error(403, "SecurityTokenExpired"));
    let client = Client::of(&server);
    let old = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(1000));
    let old_headers = [("date", old.as_str()), token[0]];
    assert_eq!(
        put(&client, &old_headers),
        error(403, "RequestTimeTooSkewed")
    );
    server.set_clock_skew(-1000);
    assert_eq!(put(&client, &old_headers).0, 200);
    let server = LocalOss::builder()
        .allow_v1(false)
        .start()
        .expect("a server");
    assert_eq!(put(&Client::of(&server), &[]), error(403, "AccessDenied"));
}

#[test]
fn connection_is_kept_alive() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let mut stream = client.connect().expect("a connection");
    for _ in 0..3 {
        stream
            .write_all(&client.head("PUT", "key", &[("connection", "keep-alive")], 0))
            .expect("written");
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).expect("a response");
        assert!(buffer[..count].starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(server.connections(), 1);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.connection == 1 && request.status == Some(200))
    );
}

#[test]
fn host_selects_the_bucket() {
    let server = LocalOss::builder()
        .bucket("other")
        .cname("files.example", "other")
        .start()
        .expect("a server");
    let client = Client::of(&server);
    let head = String::from_utf8(client.head("PUT", "key", &[], 0)).expect("text");
    let address = server.address().to_string();
    for (host, path, status) in [
        ("examplebucket.oss.example", "/key", "200"),
        ("examplebucket.localhost:80", "/key", "200"),
        ("LOCALHOST", "/examplebucket/key", "200"),
        ("files.example", "/key", "403"),
        ("nobody.oss.example", "/key", "404"),
    ] {
        let head = head
            .replace(&address, host)
            .replace("/examplebucket/key", path);
        let mut stream = client.connect().expect("a connection");
        stream.write_all(head.as_bytes()).expect("written");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {response}"
        );
    }
    assert_eq!(server.requests()[3].bucket, "other");
}

#[test]
fn sequential_upload_requires_order() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client
        .send("POST", "key?sequential&uploads", &[], b"")
        .expect("a response")
        .element("UploadId");
    let first = noise(PART);
    assert_eq!(
        outcome(client.part("key", &id, 2, b"x")),
        error(400, "PartNotSequential")
    );
    assert_eq!(outcome(client.part("key", &id, 1, &first)).0, 200);
    let again = client.part("key", &id, 1, b"other").expect("a response");
    assert_eq!(
        (again.status, again.element("PartNumber").as_str()),
        (409, "1")
    );
    let etag = again.element("PartEtag").replace("&quot;", "\"");
    assert_eq!(etag, server.uploads()[0].parts[0].2);
    assert_eq!(
        outcome(client.complete("key", &id, &[(1, &etag)], &[])).0,
        200
    );
    let object = client.send("HEAD", "key", &[], b"").expect("a response");
    let md5 = STANDARD.encode(md5::compute(&first).0);
    assert_eq!(object.header("content-md5"), Some(md5.as_str()));
}

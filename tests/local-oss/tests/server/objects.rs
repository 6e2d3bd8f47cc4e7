//! Keys, and reading objects.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::LocalOss;

use crate::client::{Client, Response};
use crate::noise;

fn send(client: &Client, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
    let response = client.send(method, target, headers, b"");
    response.expect("a response")
}

#[test]
fn content_md5_is_there_for_put_object_and_sequential_uploads() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let body = noise(1000);
    let md5 = STANDARD.encode(md5::compute(&body).0);
    client.send("PUT", "put", &[], &body).expect("a response");
    for (key, query, expected) in [
        ("ordered", "sequential&uploads", Some(md5.as_str())),
        ("plain", "uploads", None),
    ] {
        let target = format!("{key}?{query}");
        let id = send(&client, "POST", &target, &[]).element("UploadId");
        let part = client.part(key, &id, 1, &body).expect("a response");
        let etag = part.header("etag").expect("an ETag");
        let complete = client.complete(key, &id, &[(1, etag)], &[]);
        let complete = complete.expect("a response");
        assert_eq!(complete.status, 200);
        assert!(complete.header("etag").expect("an ETag").ends_with("-1\""));
        for method in ["HEAD", "GET"] {
            let response = send(&client, method, key, &[]);
            assert_eq!(response.header("content-md5"), expected, "{method} {key}");
        }
    }
    for method in ["HEAD", "GET"] {
        let response = send(&client, method, "put", &[]);
        assert_eq!(response.header("content-md5"), Some(md5.as_str()));
    }
}

#[test]
fn content_md5_outlives_the_server() {
    let dir = std::env::temp_dir().join(format!("local-oss-md5-{}", std::process::id()));
    let start = || LocalOss::builder().dir(&dir).start().expect("a server");
    let server = start();
    let client = Client::of(&server);
    client.send("PUT", "key", &[], b"body").expect("a response");
    let before = send(&client, "HEAD", "key", &[]);
    server.stop();
    let server = start();
    let after = send(&Client::of(&server), "HEAD", "key", &[]);
    server.stop();
    std::fs::remove_dir_all(&dir).expect("removed");
    assert!(after.header("content-md5").is_some());
    for name in ["content-md5", "x-oss-object-type", "etag"] {
        assert_eq!(after.header(name), before.header(name), "{name}");
    }
}

#[test]
fn complete_with_an_empty_list_makes_an_empty_object() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("key");
    client.part("key", &id, 1, b"unused").expect("a response");
    let response = client.complete("key", &id, &[], &[]).expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-oss-hash-crc64ecma"), Some("0"));
    let object = server.object("examplebucket", "key").expect("stored");
    assert_eq!(object.size, 0);
    assert!(server.uploads().is_empty());
    let id = client.initiate("key");
    let target = format!("key?uploadId={id}");
    let response = send(&client, "POST", &target, &[]);
    assert_eq!(
        response.element("Code"),
        "MalformedXML",
        "no document at all"
    );
    assert_eq!(server.uploads().len(), 1);
}

#[test]
fn key_with_control_characters_survives_an_upload() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let key: String = ('\u{1}'..='\u{1f}').collect();
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let target = format!("{encoded}?uploads&encoding-type=url");
    let response = send(&client, "POST", &target, &[]);
    assert_eq!(response.element("Key"), encoded);
    assert_eq!(response.element("EncodingType"), "url");
    let id = response.element("UploadId");
    let part = client.part(&encoded, &id, 1, b"x").expect("a response");
    let etag = part.header("etag").expect("an ETag");
    let list = send(&client, "GET", "?uploads&encoding-type=url", &[]);
    assert_eq!(list.element("Key"), encoded);
    let target = format!("{encoded}?uploadId={id}&encoding-type=url");
    assert_eq!(send(&client, "GET", &target, &[]).element("Key"), encoded);
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let response = client.send("POST", &target, &[], document.as_bytes());
    let response = response.expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.element("Key"), encoded);
    assert_eq!(response.element("EncodingType"), "url");
    assert!(server.object("examplebucket", &key).is_some());
}

#[test]
fn encoding_type_that_is_unknown_changes_nothing() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let response = send(&client, "POST", "key?uploads&encoding-type=xml", &[]);
    assert_eq!(response.element("Code"), "InvalidArgument");
    assert!(server.uploads().is_empty());
    let id = client.initiate("key");
    let part = client.part("key", &id, 1, b"x").expect("a response");
    let etag = part.header("etag").expect("an ETag");
    let target = format!("key?encoding-type=xml&uploadId={id}");
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let response = client.send("POST", &target, &[], document.as_bytes());
    let response = response.expect("a response");
    assert_eq!(response.element("Code"), "InvalidArgument");
    assert_eq!(server.uploads().len(), 1);
    assert!(server.object("examplebucket", "key").is_none());
}

#[test]
fn key_validation() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for key in ["%5Ckey", "/key", "a%00b", &"k".repeat(1024)] {
        let response = send(&client, "PUT", key, &[]);
        assert_eq!(response.element("Code"), "InvalidObjectName", "{key}");
    }
    assert_eq!(send(&client, "PUT", "a+b%2Bc", &[]).status, 200);
    assert!(server.object("examplebucket", "a b+c").is_some());
}

#[test]
fn conditions_on_get_and_head() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    server.put_object("examplebucket", "key", b"body");
    let etag = server.object("examplebucket", "key").expect("stored").etag;
    let bare = etag.trim_matches('"').to_ascii_lowercase();
    let other = "\"0123\"";
    let hour = Duration::from_secs(3600);
    let earlier = httpdate::fmt_http_date(SystemTime::now() - hour);
    let later = httpdate::fmt_http_date(SystemTime::now() + hour);
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", &bare, 200),
        ("if-match", "*", 200),
        ("if-match", other, 412),
        ("if-none-match", &etag, 304),
        ("if-none-match", other, 200),
        ("if-modified-since", &earlier, 200),
        ("if-modified-since", &later, 304),
        ("if-unmodified-since", &later, 200),
        ("if-unmodified-since", &earlier, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let response = send(&client, method, "key", &[(name, value)]);
            assert_eq!(response.status, status, "{method} {name}: {value}");
            if status == 304 {
                assert_eq!(response.header("etag"), Some(etag.as_str()));
                assert!(response.body.is_empty());
            }
        }
    }
    let response = send(&client, "GET", "key", &[("if-match", other)]);
    assert_eq!(response.element("Code"), "PreconditionFailed");
}

#[test]
fn range_behavior() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    server.put_object("examplebucket", "key", b"0123456789");
    let standard = ("x-oss-range-behavior", "standard");
    for (range, standard_behavior, status, body) in [
        ("bytes=2-4", false, 206, "234"),
        ("bytes=5-20", false, 200, "0123456789"),
        ("bytes=5-20", true, 206, "56789"),
        ("bytes=10-", false, 200, "0123456789"),
    ] {
        let mut headers = vec![("range", range)];
        headers.extend(standard_behavior.then_some(standard));
        let response = send(&client, "GET", "key", &headers);
        assert_eq!(
            (response.status, response.text()),
            (status, body.to_owned())
        );
    }
    let response = send(&client, "GET", "key", &[("range", "bytes=10-"), standard]);
    assert_eq!(response.status, 416);
    assert_eq!(response.element("Code"), "InvalidRange");
}

#[test]
fn get_with_response_header_parameter() {
    let server = LocalOss::start();
    server.put_object("examplebucket", "key", b"x");
    let target = "key?response-content-type=text/csv";
    let response = send(&Client::of(&server), "GET", target, &[]);
    assert_eq!(response.header("content-type"), Some("text/csv"));
}

#[test]
fn body_that_is_announced_and_never_sent_delays_no_get_or_delete() {
    let server = LocalOss::start();
    server.put_object("examplebucket", "key", b"x");
    let mut client = Client::of(&server);
    client.timeout = Duration::from_secs(30);
    for target in ["key", "none", "?uploads"] {
        let head = client.head("GET", target, &[], 5);
        let response = client.send_raw(&head, b"").expect("a response");
        let status = if target == "none" { 404 } else { 200 };
        assert_eq!(response.status, status);
    }
    let head = client.head("DELETE", "key", &[], 5);
    let response = client.send_raw(&head, b"").expect("a response");
    assert_eq!(response.status, 204);
}

#[test]
fn bucket_documents() {
    let server = LocalOss::builder()
        .bucket("other")
        .start()
        .expect("a server");
    let client = Client::of(&server);
    let acl = send(&client, "GET", "?acl", &[]);
    assert_eq!(acl.element("Grant"), "private");
    let info = send(&client, "GET", "?bucketInfo", &[]);
    for name in ["Name", "CreationDate", "IntranetEndpoint", "ID", "Grant"] {
        assert!(!info.element(name).is_empty(), "{name}");
    }
    let head = client.bucket_head("newbucket", "PUT", "", &[], 0);
    let created = client.send_raw(&head, b"").expect("a response");
    assert_eq!(created.header("location"), Some("/newbucket"));
    assert_eq!(send(&client, "HEAD", "", &[]).status, 200);
}

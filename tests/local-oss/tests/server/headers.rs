//! Headers of requests, and faults in the headers of responses.

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::client::{Client, Response};

const REQUEST_ID: &str = "x-oss-request-id";
const CRC64: &str = "x-oss-hash-crc64ecma";
const KMS_KEY: &str = "x-oss-server-side-encryption-key-id";

fn put(client: &Client, headers: &[(&str, &str)]) -> Response {
    let response = client.send("PUT", "key", headers, b"body");
    response.expect("a response")
}

fn error(status: u16, code: &str, ec: &str) -> (u16, String, String) {
    (status, code.to_owned(), ec.to_owned())
}

#[test]
fn metadata_name_or_value_that_is_lost_breaks_the_signature() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let response = put(&client, &[("x-oss-meta-a_b", "c")]);
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (403, "SignatureDoesNotMatch")
    );
    assert_eq!(server.requests()[0].header("x-oss-meta-a_b"), Some("c"));
    for value in ["", " "] {
        let response = put(&client, &[("x-oss-meta-a", value)]);
        let expected = error(403, "SignatureDoesNotMatch", "0002-00000201");
        assert_eq!(response.error(), expected, "{value:?}");
    }
    let response = put(&client, &[("x-oss-meta-a.b", "c")]);
    let expected = error(400, "InvalidArgument", "0011-00000004");
    assert_eq!(response.error(), expected);
    assert_eq!(put(&client, &[("x-oss-meta-a-1", "c")]).status, 200);
}

#[test]
fn metadata_of_8_kb_is_rejected() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for (size, status) in [(8191, 200), (8192, 400)] {
        let value = "v".repeat(size - "x-oss-meta-a".len());
        let response = put(&client, &[("x-oss-meta-a", &value)]);
        assert_eq!(response.status, status, "{size} bytes");
    }
}

#[test]
fn traffic_limit_has_bounds() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for (limit, status) in [
        ("819199", 400),
        ("819200", 200),
        ("838860800", 200),
        ("838860801", 400),
    ] {
        let response = put(&client, &[("x-oss-traffic-limit", limit)]);
        assert_eq!(response.status, status, "{limit}");
        if status == 400 {
            assert_eq!(
                response.error(),
                error(400, "InvalidArgument", "0004-00000502")
            );
        }
    }
}

#[test]
fn tagging_accepts_what_the_service_accepts() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let tags = |count: usize| -> String {
        let tags: Vec<String> = (0..count).map(|index| format!("k{index}=v")).collect();
        tags.join("&")
    };
    for (tagging, status) in [
        ("a=", 200),
        ("\u{4e2d}=\u{6587}", 200),
        ("a= + ", 200),
        ("a=b/c", 200),
        (&tags(10), 200),
        (&tags(11), 400),
        ("a=1&a=2", 400),
    ] {
        let response = put(&client, &[("x-oss-tagging", tagging)]);
        assert_eq!(response.status, status, "{tagging}");
    }
}

#[test]
fn encryption_headers_belong_to_the_beginning_of_an_upload() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let kms = [("x-oss-server-side-encryption", "KMS")];
    let response = client.send("POST", "key?uploads", &kms, b"");
    let response = response.expect("a response");
    let id = response.element("UploadId");
    let key = response.header(KMS_KEY).expect("a key ID").to_owned();
    let target = format!("key?partNumber=1&uploadId={id}");
    let part = client.part("key", &id, 1, b"x").expect("a response");
    assert_eq!(part.header(KMS_KEY), Some(key.as_str()));
    let etag = part.header("etag").expect("an ETag");
    for refused in [
        client.send("PUT", &target, &kms, b"x"),
        client.complete("key", &id, &[(1, etag)], &kms),
    ] {
        assert_eq!(refused.expect("a response").error().1, "InvalidArgument");
    }
    // The metadata of encrypting clients is allowed on parts.
    let metadata = [("x-oss-meta-client-side-encryption-key", "k")];
    let response = client.send("PUT", &target, &metadata, b"x");
    let response = response.expect("a response");
    assert_eq!(response.status, 200);
    let etag = response.header("etag").expect("an ETag");
    let complete = client.complete("key", &id, &[(1, etag)], &[]);
    let complete = complete.expect("a response");
    assert_eq!(complete.status, 200, "the upload has survived");
    assert_eq!(complete.header(KMS_KEY), Some(key.as_str()));

    let sm4 = ("x-oss-server-side-data-encryption", "SM4");
    let alone = put(&client, &[sm4]);
    assert_eq!((alone.status, alone.header(sm4.0)), (200, None));
    let head = client.send("HEAD", "key", &[], b"").expect("a response");
    assert_eq!(head.header(sm4.0), None);
    put(&client, &kms);
    let head = client.send("HEAD", "key", &[], b"").expect("a response");
    assert_eq!(head.header(KMS_KEY), Some(key.as_str()));
    let with_kms = put(&client, &[kms[0], (KMS_KEY, "mine"), sm4]);
    assert_eq!(with_kms.header(sm4.0), Some("SM4"));
    assert_eq!(with_kms.header(KMS_KEY), Some("mine"));
}

#[test]
fn if_modified_since_is_rejected_by_put_object() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let since = [("if-modified-since", "Wed, 28 Dec 2022 10:27:41 GMT")];
    assert_eq!(
        put(&client, &since).error(),
        error(400, "NotImplemented", "")
    );
    let response = client.send("POST", "key?uploads", &since, b"");
    assert_eq!(response.expect("a response").status, 200);
}

#[test]
fn request_id_is_in_every_response() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("upload");
    let part = client.part("upload", &id, 1, b"x").expect("a response");
    let etag = part.header("etag").expect("an ETag").to_owned();
    let mut responses = vec![part, put(&client, &[])];
    for (method, target) in [
        ("GET", "upload?uploadId="),
        ("GET", "key"),
        ("HEAD", "key"),
        ("HEAD", "none"),
        ("GET", "?uploads"),
        ("GET", ""),
        ("DELETE", "key"),
    ] {
        let target = if target.ends_with('=') {
            format!("{target}{id}")
        } else {
            target.to_owned()
        };
        responses.push(client.send(method, &target, &[], b"").expect("a response"));
    }
    let complete = client.complete("upload", &id, &[(1, &etag)], &[]);
    responses.push(complete.expect("a response"));
    server.inject(Rule::new(Fault::status(503, "")));
    responses.push(put(&client, &[]));
    for response in responses {
        let id = response.header(REQUEST_ID).unwrap_or_default();
        assert_eq!(id.len(), 24, "{}", response.head);
    }
}

#[test]
fn fault_html_has_no_header_of_the_service() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    server.inject(Rule::new(Fault::Html));
    let response = put(&client, &[]);
    assert_eq!(response.status, 200);
    for name in [REQUEST_ID, CRC64, "etag", "server"] {
        assert_eq!(response.header(name), None, "{name}");
    }
}

#[test]
fn fault_changes_the_headers_of_one_response() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let inject = |fault| server.inject(Rule::new(fault));
    inject(Fault::without_headers([REQUEST_ID, CRC64]));
    let response = put(&client, &[]);
    assert_eq!(
        (response.header(REQUEST_ID), response.header(CRC64)),
        (None, None)
    );
    inject(Fault::WeakEtag);
    let etag = put(&client, &[]).header("etag").map(str::to_owned);
    let strong = server.object("examplebucket", "key").expect("stored").etag;
    assert_eq!(etag, Some(format!("W/{strong}")));
    inject(Fault::extra_headers([
        ("x-oss-new", "1"),
        ("x-oss-new", "2"),
    ]));
    let response = put(&client, &[]);
    assert_eq!(response.head.matches("x-oss-new: ").count(), 2);
    let throttled = Fault::Throttled {
        status: 503,
        code: "DownloadTrafficRateLimitExceeded".to_owned(),
        delay_ms: 1500,
    };
    inject(throttled);
    let response = put(&client, &[]);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("x-oss-qos-delay-time"), Some("1500"));
    let head = || client.send("HEAD", "key", &[], b"").expect("a response");
    let modified = |response: &Response| {
        let date = response.header("last-modified").expect("a date");
        httpdate::parse_http_date(date).expect("an HTTP date")
    };
    let before = modified(&head());
    inject(Fault::ShiftLastModified(-3600));
    let shifted = modified(&head());
    assert_eq!(
        before.duration_since(shifted).expect("earlier").as_secs(),
        3600
    );
    inject(Fault::without_headers(["Content-Length", "ETag"]));
    let response = head();
    assert_eq!(response.status, 200);
    assert_eq!(
        (response.header("content-length"), response.header("etag")),
        (None, None)
    );
    assert_eq!(head().header("content-length"), Some("4"));
}

#[test]
fn builder_changes_the_headers_of_all_responses() {
    let server = LocalOss::builder()
        .weak_etags(true)
        .omit_response_header(REQUEST_ID)
        .omit_response_header(CRC64)
        .extra_response_header("x-oss-qos-delay-time", "20")
        .start()
        .expect("a server");
    let client = Client::of(&server);
    server.inject(Rule::new(Fault::status(500, "InternalError")).on(Operation::GetObject));
    for (method, status) in [("PUT", 200), ("HEAD", 200), ("GET", 500), ("GET", 200)] {
        let response = client.send(method, "key", &[], b"").expect("a response");
        assert_eq!(response.status, status);
        assert_eq!(
            (response.header(REQUEST_ID), response.header(CRC64)),
            (None, None)
        );
        assert_eq!(response.header("x-oss-qos-delay-time"), Some("20"));
        let etag = response.header("etag");
        assert!(status == 500 || etag.expect("an ETag").starts_with("W/\""));
    }
}

//! Error codes, and the numbers (EC) that go with them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, LocalOss, Rule};

use crate::client::{Client, Response, V4};

fn error(status: u16, code: &str, ec: &str) -> (u16, String, String) {
    (status, code.to_owned(), ec.to_owned())
}

fn send(client: &Client, method: &str, target: &str) -> Response {
    let response = client.send(method, target, &[], b"");
    response.expect("a response")
}

#[test]
fn error_numbers_of_signatures() {
    let server = LocalOss::builder().token("t").start().expect("a server");
    let client = Client::of(&server);
    let expected = error(403, "InvalidSecurityToken", "0002-00000006");
    assert_eq!(send(&client, "PUT", "key").error(), expected);
    server.expire_credentials("ak");
    let expected = error(403, "SecurityTokenExpired", "0002-00000007");
    assert_eq!(send(&client, "PUT", "key").error(), expected);

    let server = LocalOss::start();
    let mut client = Client::of(&server);
    client.secret = "wrong".to_owned();
    let expected = error(403, "SignatureDoesNotMatch", "0002-00000040");
    assert_eq!(send(&client, "PUT", "key").error(), expected);
    let scope = V4 {
        region: "cn-hangzhou",
        product: "oss",
        http_date: false,
    };
    let response = client.send_v4("PUT", "key", &scope).expect("a response");
    let expected = error(403, "SignatureDoesNotMatch", "0002-00000201");
    assert_eq!(response.error(), expected);
}

#[test]
fn error_numbers_of_scopes() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for (region, product, what, ec) in [
        ("cn-beijing", "oss", "region", "0002-00000226"),
        ("cn-hangzhou", "oss-cloudbox", "product", "0002-00000227"),
    ] {
        let scope = V4 {
            region,
            product,
            http_date: false,
        };
        let response = client.send_v4("PUT", "key", &scope).expect("a response");
        assert_eq!(response.error(), error(400, "InvalidArgument", ec));
        let message = format!("Invalid signing {what} in Authorization header.");
        assert_eq!(response.element("Message"), message);
        assert!(response.element("Authorization").starts_with("OSS4-"));
    }
    let query = "x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20231216T162057Z&x-oss-signature=0\
                 &x-oss-expires=9&x-oss-credential=ak/20231216/cn-beijing/oss/aliyun_v4_request";
    let head = format!(
        "GET /examplebucket/key?{query} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    );
    let response = client.send_raw(head.as_bytes(), b"").expect("a response");
    assert_eq!(
        response.error(),
        error(400, "InvalidArgument", "0002-00000226")
    );
    let message = "The signing region in credential is invalid.";
    assert_eq!(response.element("Message"), message);
}

#[test]
fn signature_v4_accepts_date_without_x_oss_date() {
    let server = LocalOss::start();
    let scope = V4 {
        region: "cn-hangzhou",
        product: "oss",
        http_date: true,
    };
    let response = Client::of(&server).send_v4("PUT", "key", &scope);
    let response = response.expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn error_numbers_of_uploads() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for (method, target, ec) in [
        ("PUT", "key?partNumber=1&uploadId=none", "0042-00000104"),
        ("POST", "key?uploadId=none", "0042-00000203"),
        ("DELETE", "key?uploadId=none", "0042-00000002"),
        ("GET", "key?uploadId=none", "0042-00000002"),
    ] {
        let response = send(&client, method, target);
        let expected = error(404, "NoSuchUpload", ec);
        assert_eq!(response.error(), expected, "{method} {target}");
    }
    let id = client.initiate("key");
    for number in ["0", "10001", "x"] {
        let target = format!("key?partNumber={number}&uploadId={id}");
        let expected = error(400, "InvalidArgument", "0017-00000220");
        assert_eq!(send(&client, "PUT", &target).error(), expected, "{number}");
    }
    let part = client.part("key", &id, 1, b"x").expect("a response");
    let etag = part.header("etag").expect("an ETag");
    server.put_object("examplebucket", "key", b"old");
    let forbid = [("x-oss-forbid-overwrite", "true")];
    for (method, target) in [("PUT", "key"), ("POST", "key?uploads")] {
        let response = client.send(method, target, &forbid, b"");
        let expected = error(409, "FileAlreadyExists", "0026-00000002");
        assert_eq!(response.expect("a response").error(), expected, "{target}");
    }
    let response = client.complete("key", &id, &[(1, etag)], &forbid);
    let expected = error(409, "FileAlreadyExists", "0042-00000214");
    assert_eq!(response.expect("a response").error(), expected);
    assert_eq!(server.uploads().len(), 1, "only the first upload exists");
}

#[test]
fn bucket_is_looked_up_before_the_access_key() {
    let server = LocalOss::start();
    let mut client = Client::of(&server);
    client.id = "nobody".to_owned();
    let missing = client.bucket_head("nosuchbucket", "POST", "key?uploads", &[], 0);
    let response = client.send_raw(&missing, b"").expect("a response");
    assert_eq!(
        response.error(),
        error(404, "NoSuchBucket", "0015-00000101")
    );
    let response = send(&client, "POST", "key?uploads");
    assert_eq!(
        response.error(),
        error(403, "InvalidAccessKeyId", "0002-00000902")
    );
    // A request without a valid signature creates no bucket.
    let server = LocalOss::builder()
        .any_bucket(true)
        .start()
        .expect("a server");
    let mut client = Client::of(&server);
    let head = |client: &Client| client.bucket_head("newbucket", "PUT", "key", &[], 0);
    client.secret = "wrong".to_owned();
    let response = client.send_raw(&head(&client), b"").expect("a response");
    assert_eq!(response.status, 403);
    client.secret = "sk".to_owned();
    let response = client.send_raw(&head(&client), b"").expect("a response");
    assert_eq!(response.status, 200);
    assert!(server.object("newbucket", "key").is_some());
}

#[test]
fn error_without_body_is_in_the_headers() {
    let server = LocalOss::start();
    let response = send(&Client::of(&server), "HEAD", "none");
    assert_eq!((response.status, response.body.len()), (404, 0));
    assert_eq!(response.header("x-oss-ec"), Some("0026-00000001"));
    let document = response.header("x-oss-err").expect("an error document");
    let document = STANDARD.decode(document).expect("Base64");
    assert!(String::from_utf8_lossy(&document).contains("<Code>NoSuchKey</Code>"));
}

#[test]
fn error_request_timeout_is_a_400() {
    let server = LocalOss::start();
    server.inject(Rule::new(Fault::request_timeout()));
    let response = send(&Client::of(&server), "PUT", "key");
    assert_eq!(response.error(), error(400, "RequestTimeout", ""));
}

#[test]
fn request_that_is_not_implemented_is_a_501() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let id = client.initiate("key");
    server.put_object("examplebucket", "key", b"x");
    for (method, target) in [
        ("GET", "?stat"),
        ("GET", "?versions"),
        ("GET", "?regions"),
        ("GET", "?nonsense"),
        ("PUT", "?acl"),
        ("GET", "key?versionId=1"),
        ("GET", "key?symlink"),
        ("GET", "key?x-oss-process=image"),
        ("PUT", "key?tagging"),
        ("POST", "key?append&position=0"),
    ] {
        let response = send(&client, method, target);
        let expected = error(501, "NotImplemented", "");
        assert_eq!(response.error(), expected, "{method} {target}");
    }
    let target = format!("key?partNumber=1&uploadId={id}");
    let source = [("x-oss-copy-source", "/examplebucket/key")];
    let response = client.send("PUT", &target, &source, b"");
    let expected = error(501, "NotImplemented", "");
    assert_eq!(response.expect("a response").error(), expected);
    assert!(server.uploads()[0].parts.is_empty());
    // A parameter that is not a sub-resource is ignored.
    assert_eq!(send(&client, "GET", "key?color=red").status, 200);
}

//! HTTP: endpoints, keys, signatures, proxies, connections, and responses of all kinds.

use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Client, ClientBuilder, Credentials, Error, RetryPolicy, ServiceError, SignatureVersion,
    checkpoint, request_payer, routines,
};

use crate::harness::{
    Harness, PART, Proxy, RawServer, bucket, client, list_uploads, service_unavailable, status,
};

const SIGNATURES: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];
/// The small file is uploaded with PutObject, the large one in parts.
const SIZES: [u64; 2] = [1, 2 * PART];

#[test]
fn key_is_sent_byte_for_byte() {
    let (long, longest) = ("中".repeat(341), "k/".repeat(511) + "k");
    assert_eq!((long.len(), longest.len()), (1023, 1023));
    for signature in SIGNATURES {
        let t = Harness::new();
        let bucket = bucket(client(&t.server).signature(signature));
        for (key, path) in [
            ("a//b", "a//b"),
            ("./a", "./a"),
            ("a/../b", "a/../b"),
            ("a/./b/.", "a/./b/."),
            ("..", ".."),
            (".", "."),
            ("../../a", "../../a"),
            ("a+b", "a%2Bb"),
            ("a%2Fb", "a%252Fb"),
            ("a b", "a%20b"),
            (" ", "%20"),
            ("中文", "%E4%B8%AD%E6%96%87"),
            ("a?b#c", "a%3Fb%23c"),
            ("a&b=c", "a%26b%3Dc"),
            ("a\\b", "a%5Cb"),
            ("a/", "a/"),
            (
                "-._~!*'();:@$,[]\"<>^`{|}",
                "-._~%21%2A%27%28%29%3B%3A%40%24%2C%5B%5D%22%3C%3E%5E%60%7B%7C%7D",
            ),
            ("\u{1}\r\n\t\u{7f}😀", "%01%0D%0A%09%7F%F0%9F%98%80"),
            (&longest, &longest),
            (&long, &"%E4%B8%AD".repeat(341)),
        ] {
            for size in SIZES {
                let file = t.file("f", size);
                t.server.clear_requests();
                let uploaded = bucket.upload_file(key, &file, PART, []).unwrap();
                assert_eq!(uploaded.key, key);
                t.assert_stored(key, &file);
                let requests = t.server.requests();
                assert_eq!(requests.len(), if size == 1 { 1 } else { 4 });
                assert!(
                    requests
                        .iter()
                        .all(|request| request.path == format!("/examplebucket/{path}")),
                    "{key:?}"
                );
            }
        }
    }
}

#[test]
fn endpoint_with_ip_address_or_localhost_uses_path_style() {
    let t = Harness::new();
    let path = t.file("f", 1);
    for host in ["127.0.0.1", "localhost"] {
        let authority = format!("{host}:{}", t.server.address().port());
        let client = Client::builder(&format!("http://{authority}/"))
            .credentials(Credentials::new("ak", "sk"))
            .region("oss-cn-hangzhou")
            .no_proxy();
        t.server.clear_requests();
        bucket(client)
            .upload_file("dir/o", &path, PART, [])
            .unwrap();
        let requests = t.server.requests();
        assert_eq!(requests[0].path, "/examplebucket/dir/o");
        assert_eq!(requests[0].header("host"), Some(authority.as_str()));
    }
}

#[test]
fn endpoint_with_ipv6_address_keeps_brackets() {
    // Not every machine has IPv6.
    let Ok(server) = LocalOss::builder().address("[::1]:0").start() else {
        return;
    };
    let t = Harness::with_server(server);
    let path = t.file("f", 2 * PART);
    t.upload([]).unwrap();
    t.assert_stored("o", &path);
    let host = format!("[::1]:{}", t.server.address().port());
    assert!(
        t.server
            .requests()
            .iter()
            .all(|request| request.header("host") == Some(&host))
    );
}

#[test]
fn endpoint_with_cname_has_bucket_only_in_signature() {
    for signature in SIGNATURES {
        let t = Harness::with_server(
            LocalOss::builder()
                .cname("127.0.0.1", "examplebucket")
                .start()
                .unwrap(),
        );
        let bucket = bucket(client(&t.server).cname(true).signature(signature));
        let path = t.file("f", 2 * PART);
        bucket.upload_file("dir/o", &path, PART, []).unwrap();
        t.assert_stored("dir/o", &path);
        assert!(
            t.server
                .requests()
                .iter()
                .all(|request| request.path == "/dir/o")
        );
        assert_eq!(list_uploads(&bucket, "dir/").unwrap(), []);
        assert_eq!(t.requests(Operation::ListMultipartUploads)[0].path, "/");
    }
}

#[test]
fn proxy_sees_bucket_in_host() {
    for signature in SIGNATURES {
        let t = Harness::new();
        let proxy = Proxy::start(t.server.address());
        // No region: the endpoint names it.
        let client = Client::builder("http://oss-cn-hangzhou.aliyuncs.com")
            .credentials(Credentials::new("ak", "sk"))
            .signature(signature)
            .proxy(format!("http://user:pass%40word@{}", proxy.address));
        let path = t.file("f", 3 * PART);
        bucket(client)
            .upload_file("dir/a b", &path, PART, [routines(2)])
            .unwrap();
        t.assert_stored("dir/a b", &path);
        let requests = t.server.requests();
        assert_eq!(requests.len(), 5);
        for request in requests {
            assert_eq!(
                request.header("host"),
                Some("examplebucket.oss-cn-hangzhou.aliyuncs.com")
            );
            assert_eq!(request.path, "/dir/a%20b");
            assert_eq!(request.header("proxy-authorization"), None);
        }
        let heads = proxy.heads();
        assert!((1..=2).contains(&heads.len()), "{heads:?}");
        for head in heads {
            assert_eq!(
                head[0],
                "CONNECT examplebucket.oss-cn-hangzhou.aliyuncs.com:80 HTTP/1.1"
            );
            let authorization = head
                .iter()
                .find(|line| line.to_lowercase().starts_with("proxy-authorization:"));
            assert!(
                authorization.is_some_and(|line| line.ends_with("dXNlcjpwYXNzQHdvcmQ=")),
                "{head:?}"
            );
        }
    }
}

#[test]
fn proxy_works_with_cname() {
    let server = LocalOss::builder()
        .cname("files.example.com", "examplebucket")
        .start()
        .unwrap();
    let t = Harness::with_server(server);
    let proxy = Proxy::start(t.server.address());
    let client = Client::builder("http://files.example.com:8080")
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .cname(true)
        .proxy(format!("http://{}", proxy.address));
    let path = t.file("f", 1);
    bucket(client).upload_file("o", &path, PART, []).unwrap();
    t.assert_stored("o", &path);
    assert_eq!(
        t.server.requests()[0].header("host"),
        Some("files.example.com:8080")
    );
    assert_eq!(
        proxy.heads()[0][0],
        "CONNECT files.example.com:8080 HTTP/1.1"
    );
}

#[test]
fn proxy_that_hangs_up_is_a_transport_error() {
    let t = Harness::new();
    let proxy = RawServer::hanging_up();
    let bucket = bucket(client(&t.server).proxy(format!("http://user:hush@{}", proxy.address)));
    let error = bucket
        .upload_file("o", t.file("f", 1), PART, [])
        .unwrap_err();
    assert!(
        matches!(error, Error::Transport { attempts: 5, .. }),
        "{error:?}"
    );
    assert!(error.is_resumable() && !format!("{error} {error:?}").contains("hush"));
    assert_eq!(t.server.requests().len(), 0);
}

fn service(error: Error) -> ServiceError {
    match error {
        Error::Service(service) => *service,
        other => panic!("{other:?}"),
    }
}

#[test]
fn error_response_is_reported_in_full_and_not_retried() {
    let rejects =
        |name: &str, wanted: (u16, &str, &str), change: fn(ClientBuilder) -> ClientBuilder| {
            for signature in SIGNATURES {
                if wanted.2.contains("region") && signature == SignatureVersion::V1 {
                    continue;
                }
                for size in SIZES {
                    let t = Harness::new();
                    let client = change(client(&t.server).signature(signature))
                        .build()
                        .unwrap();
                    let path = t.file("f", size);
                    let options = [checkpoint(true, "")];
                    let error = client
                        .bucket(name)
                        .unwrap()
                        .upload_file("dir/o", &path, PART, options)
                        .unwrap_err();
                    let operation = if size == 1 {
                        "PutObject"
                    } else {
                        "InitiateMultipartUpload"
                    };
                    let text = error.to_string();
                    for part in [
                        operation,
                        &format!("oss://{name}/dir/o"),
                        &wanted.0.to_string(),
                        wanted.1,
                        wanted.2,
                    ] {
                        assert!(text.contains(part), "{part} is missing in {text}");
                    }
                    let request_id = error.request_id().expect("a request id").to_owned();
                    assert!(text.contains(&request_id) && !text.contains('\n'), "{text}");
                    assert!(!error.is_resumable());
                    assert_eq!(error.service_code(), Some(wanted.1));
                    let service = service(error);
                    assert_eq!((service.status, service.attempts), (wanted.0, 1));
                    assert!(service.ec.is_some() || service.code == "NoSuchBucket");
                    assert_eq!(t.server.requests().len(), 1);
                    t.assert_nothing_left(&["f"]);
                }
            }
        };
    rejects(
        "examplebucket",
        (403, "SignatureDoesNotMatch", "Check your key"),
        |builder| builder.credentials(Credentials::new("ak", "wrong")),
    );
    rejects(
        "examplebucket",
        (403, "InvalidAccessKeyId", "does not exist"),
        |builder| builder.credentials(Credentials::new("nobody", "sk")),
    );
    rejects(
        "examplebucket",
        (400, "InvalidArgument", "signing region"),
        |builder| builder.region("cn-shanghai"),
    );
    rejects("nosuchbucket", (404, "NoSuchBucket", "bucket"), |builder| {
        builder
    });
}

#[test]
fn error_is_one_line_whatever_the_key() {
    let key = "a\r\nERROR b\u{1b}[31m中";
    for size in SIZES {
        let t = Harness::new();
        let path = t.file("f", size);
        let wrong = bucket(client(&t.server).credentials(Credentials::new("ak", "wrong")));
        let refused = wrong.upload_file(key, &path, PART, []).unwrap_err();
        t.server.inject(Rule::new(Fault::Html).forever());
        let untrusted = t.bucket.upload_file(key, &path, PART, []).unwrap_err();
        t.server.clear_faults();
        t.server.inject(Rule::new(Fault::Reset).forever());
        let broken = t.bucket.upload_file(key, &path, PART, []).unwrap_err();
        let too_long = t
            .bucket
            .upload_file(&key.repeat(100), &path, PART, [])
            .unwrap_err();
        for error in [refused, untrusted, broken, too_long] {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }
}

#[test]
fn clock_skew_costs_one_request() {
    for (signature, skew) in SIGNATURES
        .into_iter()
        .flat_map(|signature| [(signature, 3600), (signature, -86_400)])
    {
        let t = Harness::new();
        let path = t.file("f", 3 * PART);
        t.server.set_clock_skew(skew);
        let bucket = bucket(client(&t.server).signature(signature));
        bucket.upload_file("o", &path, PART, []).unwrap();
        t.assert_stored("o", &path);
        assert_eq!(t.parts_sent(), [1, 2, 3]);
        assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 2);
        assert_eq!(t.server.requests().len(), 6);
        bucket.upload_file("o2", &path, PART, []).unwrap();
        assert_eq!(
            t.server.requests().len(),
            11,
            "the client did not keep the corrected time"
        );
    }
}

#[test]
fn clock_jump_during_upload_costs_one_request() {
    let t = Harness::new();
    let path = t.file("f", 4 * PART);
    t.inject_part(3, Fault::SkewClock(7200));
    let uploaded = t.upload([]).unwrap();
    t.assert_stored("o", &path);
    assert_eq!(t.parts_sent(), [1, 2, 3, 3, 4]);
    assert_eq!(t.server.requests().len(), 7);
    assert!(
        t.server.requests()[1..]
            .iter()
            .all(|request| request.upload_id == uploaded.upload_id)
    );
}

#[test]
fn clock_skew_that_persists_fails_after_one_retry() {
    let t = Harness::new();
    t.server
        .inject(Rule::new(status(403, "RequestTimeTooSkewed")).forever());
    let error = t
        .bucket
        .upload_file("o", t.file("f", 1), PART, [])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("RequestTimeTooSkewed"));
    assert_eq!(t.server.requests().len(), 2);
}

#[test]
fn redirect_is_not_followed() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
    ] {
        for code in [301, 302, 307, 308] {
            let (t, elsewhere) = (Harness::new(), LocalOss::start());
            let location = format!("{}/examplebucket/o", elsewhere.endpoint());
            t.inject_always(
                operation,
                Fault::Redirect {
                    status: code,
                    location,
                },
            );
            t.file(
                "f",
                if operation == Operation::PutObject {
                    1
                } else {
                    2 * PART
                },
            );
            let error = t.upload([]).unwrap_err();
            assert!(!error.is_resumable());
            assert_eq!(service(error).status, code);
            assert_eq!(t.requests(operation).len(), 1);
            assert_eq!(elsewhere.connections(), 0);
            t.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn response_of_a_gigabyte_is_not_read() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::PutObject,
    ] {
        let t = Harness::new();
        t.inject_always(operation, Fault::HugeResponse(1 << 30));
        let bucket = bucket(client(&t.server).retry(RetryPolicy::default().max_attempts(1)));
        let size = if operation == Operation::PutObject {
            1
        } else {
            2 * PART
        };
        let started = Instant::now();
        let error = bucket
            .upload_file("o", t.file("f", size), PART, [])
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("response") && text.contains("larger than"),
            "{text}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{:?}",
            started.elapsed()
        );
        assert!(t.server.object("examplebucket", "o").is_none());
    }
}

#[test]
fn response_that_is_not_from_oss_is_reported_as_such() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
        Operation::ListMultipartUploads,
    ] {
        let t = Harness::new();
        t.inject_always(operation, Fault::Html);
        t.file(
            "f",
            if operation == Operation::PutObject {
                1
            } else {
                2 * PART
            },
        );
        let error = match operation {
            Operation::ListMultipartUploads => list_uploads(&t.bucket, "").unwrap_err(),
            _ => t.upload([]).unwrap_err(),
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!("{operation:?}")) && text.contains("response"),
            "{text}"
        );
        let Error::Response { request_id, .. } = error else {
            panic!("{operation:?}: {error:?}")
        };
        assert_eq!(request_id, None, "{text}");
        assert!(text.contains("not from OSS"), "{text}");
        assert_eq!(t.requests(operation).len(), 5);
        assert_eq!(t.server.uploads().len(), 0);
    }
}

#[test]
fn user_agent_is_ours_or_the_callers() {
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    t.upload([]).unwrap();
    let ours = concat!("oss-upload/", env!("CARGO_PKG_VERSION"));
    let agents = || -> Vec<_> {
        t.server
            .requests()
            .iter()
            .map(|request| request.header("user-agent").unwrap().to_owned())
            .collect()
    };
    assert_eq!(agents(), [ours; 4]);
    t.server.clear_requests();
    bucket(client(&t.server).user_agent("backup/2 (li)"))
        .upload_file("o", &path, PART, [])
        .unwrap();
    assert_eq!(agents(), ["backup/2 (li)"; 4]);
}

#[test]
fn request_has_content_length_and_is_never_chunked() {
    let t = Harness::new();
    for size in [0, 1] {
        t.bucket
            .upload_file("small", t.file("g", size), PART, [request_payer(true)])
            .unwrap();
    }
    t.file("f", 2 * PART + 7);
    t.refuse_part(2);
    t.upload([checkpoint(true, "")]).unwrap_err();
    t.inject_part(3, service_unavailable());
    t.upload([checkpoint(true, "")]).unwrap();
    t.unfinished_uploads("");
    t.bucket.abort_multipart_upload("o", "gone").unwrap();
    for request in t.server.requests() {
        assert_eq!(request.header("transfer-encoding"), None, "{request:?}");
        assert_eq!(request.header("expect"), None, "{request:?}");
        let encoding = request.header("accept-encoding");
        assert_eq!(encoding, Some("identity"), "{request:?}");
        let length = request
            .header("content-length")
            .map(|length| length.parse::<u64>().unwrap());
        match request.method.as_str() {
            "PUT" | "POST" => assert_eq!(length, Some(request.body_bytes), "{request:?}"),
            _ => assert_eq!(length.unwrap_or_default(), 0, "{request:?}"),
        }
    }
}

/// A body that does not fit into socket buffers.
const LARGE: u64 = 16 << 20;

fn expectations(t: &Harness, operation: Operation) -> Vec<bool> {
    t.requests(operation)
        .iter()
        .map(|request| request.header("expect") == Some("100-continue"))
        .collect()
}

#[test]
fn retry_after_reset_in_body_uses_expect_continue() {
    for (operation, part_size) in [
        (Operation::UploadPart, LARGE / 2),
        (Operation::PutObject, LARGE),
    ] {
        let t = Harness::new();
        let path = t.file("f", LARGE);
        t.inject(operation, Fault::ResetMidBody);
        t.bucket.upload_file("o", &path, part_size, []).unwrap();
        t.assert_stored("o", &path);
        let wanted: &[bool] = if operation == Operation::PutObject {
            &[false, true]
        } else {
            &[false, true, false]
        };
        assert_eq!(expectations(&t, operation), wanted);
    }
}

#[test]
fn early_error_response_is_reported_despite_reset() {
    let rejections: [fn(u16, String) -> Fault; 2] = [
        |status, code| Fault::EarlyStatus { status, code },
        |status, code| Fault::StatusBeforeContinue { status, code },
    ];
    for (operation, part_size) in [
        (Operation::UploadPart, LARGE / 2),
        (Operation::PutObject, LARGE),
    ] {
        for rejection in rejections {
            let t = Harness::new();
            let path = t.file("f", LARGE);
            t.inject_always(operation, rejection(403, "AccessDenied".into()));
            let error = t.bucket.upload_file("o", &path, part_size, []).unwrap_err();
            assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
            assert!(error.request_id().is_some());
            let expected = expectations(&t, operation);
            assert!(!expected[0] && expected.len() <= 2, "{expected:?}");
            t.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn connections_never_exceed_routines() {
    for threads in [1, 3, 16] {
        let t = Harness::new();
        t.file("f", 64 * PART);
        t.upload([routines(threads)]).unwrap();
        assert!(
            (1..=threads).contains(&t.server.connections()),
            "{}",
            t.server.connections()
        );
    }
}

#[test]
fn connections_one_for_consecutive_uploads() {
    let t = Harness::new();
    let small = t.file("f", 1);
    for n in 0..50 {
        t.bucket
            .upload_file(&n.to_string(), &small, PART, [])
            .unwrap();
    }
    t.bucket
        .upload_file("large", t.file("g", 5 * PART), PART, [])
        .unwrap();
    t.unfinished_uploads("");
    assert_eq!(t.server.connections(), 1);
}

#[test]
fn connections_are_shared_by_clones() {
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    let client = client(&t.server).build().unwrap();
    let buckets = [client.clone(), client].map(|client| client.bucket("examplebucket").unwrap());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bucket, path) = (buckets[thread % 2].clone(), &path);
            scope.spawn(move || {
                for n in 0..10 {
                    bucket
                        .upload_file(&format!("{thread}/{n}"), path, PART, [])
                        .unwrap();
                }
            });
        }
    });
    assert!(
        (1..=4).contains(&t.server.connections()),
        "{}",
        t.server.connections()
    );
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 40);
}

#[test]
fn unknown_host_is_reported_in_plain_words() {
    let t = Harness::new();
    let path = t.file("f", 1);
    let client = Client::builder("http://oss-nowhere.invalid")
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(
            RetryPolicy::default()
                .max_attempts(2)
                .base_delay(Duration::from_millis(1)),
        );
    let error = bucket(client)
        .upload_file("o", &path, PART, [])
        .unwrap_err();
    assert!(
        matches!(error, Error::Transport { attempts: 2, .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("cannot look up examplebucket.oss-nowhere.invalid: "),
        "{error}"
    );
}

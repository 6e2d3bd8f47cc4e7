//! What goes over the wire, and what comes back: endpoints, keys, signatures, proxies, connections.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, Client, ClientBuilder, Credentials, Error, RetryPolicy, ServiceError, SignatureVersion,
    checkpoint, request_payer, routines,
};

use crate::house::{House, PART, client};

const SIGNATURES: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];
/// One byte goes up in a PutObject, the rest in parts.
const SIZES: [u64; 2] = [1, 2 * PART];

fn bucket(builder: ClientBuilder) -> Bucket {
    builder.build().unwrap().bucket("examplebucket").unwrap()
}

fn status(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

#[test]
fn keys_arrive_byte_for_byte() {
    let (long, longest) = ("中".repeat(341), "k/".repeat(511) + "k");
    assert_eq!((long.len(), longest.len()), (1023, 1023));
    for signature in SIGNATURES {
        let house = House::new();
        let bucket = bucket(client(&house.server).signature(signature));
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
                let file = house.file("f", size);
                house.server.clear_requests();
                let uploaded = bucket.upload_file(key, &file, PART, []).unwrap();
                assert_eq!(uploaded.key, key);
                house.assert_stored(key, &file);
                let requests = house.server.requests();
                assert_eq!(requests.len(), if size == 1 { 1 } else { 4 });
                assert!(
                    requests
                        .iter()
                        .all(|logged| logged.path == format!("/examplebucket/{path}")),
                    "{key:?}"
                );
            }
        }
    }
}

#[test]
fn an_address_and_localhost_have_the_bucket_in_the_path() {
    let house = House::new();
    let path = house.file("f", 1);
    for host in ["127.0.0.1", "localhost"] {
        let authority = format!("{host}:{}", house.server.address().port());
        let client = Client::builder(&format!("http://{authority}/ignored?query"))
            .credentials(Credentials::new("ak", "sk"))
            .region("oss-cn-hangzhou")
            .no_proxy();
        house.server.clear_requests();
        bucket(client)
            .upload_file("dir/o", &path, PART, [])
            .unwrap();
        let requests = house.server.requests();
        assert_eq!(requests[0].path, "/examplebucket/dir/o");
        assert_eq!(requests[0].header("host"), Some(authority.as_str()));
    }
}

#[test]
fn an_ipv6_address_keeps_its_brackets() {
    // Not every machine has IPv6.
    let Ok(server) = LocalOss::builder().address("[::1]:0").start() else {
        return;
    };
    let house = House::with(server);
    let path = house.file("f", 2 * PART);
    house.bucket.upload_file("o", &path, PART, []).unwrap();
    house.assert_stored("o", &path);
    let host = format!("[::1]:{}", house.server.address().port());
    assert!(
        house
            .server
            .requests()
            .iter()
            .all(|logged| logged.header("host") == Some(&host))
    );
}

#[test]
fn a_cname_has_the_bucket_nowhere_but_in_the_signature() {
    for signature in SIGNATURES {
        let house = House::with(
            LocalOss::builder()
                .cname("127.0.0.1", "examplebucket")
                .start()
                .unwrap(),
        );
        let bucket = bucket(client(&house.server).cname(true).signature(signature));
        let path = house.file("f", 2 * PART);
        bucket.upload_file("dir/o", &path, PART, []).unwrap();
        house.assert_stored("dir/o", &path);
        assert!(
            house
                .server
                .requests()
                .iter()
                .all(|logged| logged.path == "/dir/o")
        );
        assert_eq!(
            bucket
                .multipart_uploads("dir/")
                .collect::<Result<Vec<_>, _>>()
                .unwrap(),
            []
        );
        assert_eq!(house.requests(Operation::ListMultipartUploads)[0].path, "/");
    }
}

/// An HTTP proxy that leads every request to one server, wherever it was meant to go.
pub struct Proxy {
    pub address: SocketAddr,
    /// First line and headers of what it was asked.
    heads: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
        };
        let heads = Arc::clone(&proxy.heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let heads = Arc::clone(&heads);
                std::thread::spawn(move || Proxy::serve(stream.unwrap(), server, &heads));
            }
        });
        proxy
    }

    fn serve(mut stream: TcpStream, server: SocketAddr, heads: &Mutex<Vec<Vec<String>>>) {
        let reader = BufReader::with_capacity(1, stream.try_clone().unwrap());
        let head = reader
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        heads.lock().unwrap().push(head);
        let mut there = TcpStream::connect(server).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
        let (mut from, mut to) = (stream.try_clone().unwrap(), there.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
        let _ = std::io::copy(&mut there, &mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    pub fn heads(&self) -> Vec<Vec<String>> {
        self.heads.lock().unwrap().clone()
    }
}

#[test]
fn through_a_proxy_the_bucket_is_in_the_host() {
    for signature in SIGNATURES {
        let house = House::new();
        let proxy = Proxy::start(house.server.address());
        // No region: the endpoint names it.
        let client = Client::builder("http://oss-cn-hangzhou.aliyuncs.com")
            .credentials(Credentials::new("ak", "sk"))
            .signature(signature)
            .proxy(format!("http://user:pass%40word@{}", proxy.address));
        let path = house.file("f", 3 * PART);
        bucket(client)
            .upload_file("dir/a b", &path, PART, [routines(2)])
            .unwrap();
        house.assert_stored("dir/a b", &path);
        let requests = house.server.requests();
        assert_eq!(requests.len(), 5);
        for logged in requests {
            assert_eq!(
                logged.header("host"),
                Some("examplebucket.oss-cn-hangzhou.aliyuncs.com")
            );
            assert_eq!(logged.path, "/dir/a%20b");
            assert_eq!(logged.header("proxy-authorization"), None);
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
fn a_cname_through_a_proxy() {
    let server = LocalOss::builder()
        .cname("files.example.com", "examplebucket")
        .start()
        .unwrap();
    let house = House::with(server);
    let proxy = Proxy::start(house.server.address());
    let client = Client::builder("http://files.example.com:8080")
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .cname(true)
        .proxy(format!("http://{}", proxy.address));
    let path = house.file("f", 1);
    bucket(client).upload_file("o", &path, PART, []).unwrap();
    house.assert_stored("o", &path);
    assert_eq!(
        house.server.requests()[0].header("host"),
        Some("files.example.com:8080")
    );
    assert_eq!(
        proxy.heads()[0][0],
        "CONNECT files.example.com:8080 HTTP/1.1"
    );
}

#[test]
fn a_proxy_that_hangs_up_is_a_transport_error() {
    let house = House::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let bucket = bucket(client(&house.server).proxy(format!("http://user:hush@{address}")));
    let error = bucket
        .upload_file("o", house.file("f", 1), PART, [])
        .unwrap_err();
    assert!(
        matches!(error, Error::Transport { attempts: 5, .. }),
        "{error:?}"
    );
    assert!(error.is_resumable() && !format!("{error} {error:?}").contains("hush"));
    assert_eq!(house.server.requests().len(), 0);
}

fn service(error: Error) -> ServiceError {
    match error {
        Error::Service(service) => *service,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_refusal_is_told_in_full_and_not_repeated() {
    let refused =
        |name: &str, refusal: (u16, &str, &str), change: fn(ClientBuilder) -> ClientBuilder| {
            for signature in SIGNATURES {
                if refusal.2.contains("region") && signature == SignatureVersion::V1 {
                    continue;
                }
                for size in SIZES {
                    let house = House::new();
                    let client = change(client(&house.server).signature(signature))
                        .build()
                        .unwrap();
                    let path = house.file("f", size);
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
                        &refusal.0.to_string(),
                        refusal.1,
                        refusal.2,
                    ] {
                        assert!(text.contains(part), "{part} is missing in {text}");
                    }
                    let request_id = error.request_id().expect("a request id").to_owned();
                    assert!(text.contains(&request_id) && !text.contains('\n'), "{text}");
                    assert!(!error.is_resumable());
                    assert_eq!(error.service_code(), Some(refusal.1));
                    let service = service(error);
                    assert_eq!((service.status, service.attempts), (refusal.0, 1));
                    assert!(service.ec.is_some() || service.code == "NoSuchBucket");
                    assert_eq!(house.server.requests().len(), 1);
                    house.assert_nothing_left(&["f"]);
                }
            }
        };
    refused(
        "examplebucket",
        (403, "SignatureDoesNotMatch", "Check your key"),
        |builder| builder.credentials(Credentials::new("ak", "wrong")),
    );
    refused(
        "examplebucket",
        (403, "InvalidAccessKeyId", "does not exist"),
        |builder| builder.credentials(Credentials::new("nobody", "sk")),
    );
    refused(
        "examplebucket",
        (400, "InvalidArgument", "signing region"),
        |builder| builder.region("cn-shanghai"),
    );
    refused("nosuchbucket", (404, "NoSuchBucket", "bucket"), |builder| {
        builder
    });
}

#[test]
fn an_error_is_one_line_whatever_the_key() {
    let key = "a\r\nERROR b\u{1b}[31m中";
    for size in SIZES {
        let house = House::new();
        let path = house.file("f", size);
        let wrong = bucket(client(&house.server).credentials(Credentials::new("ak", "wrong")));
        let refused = wrong.upload_file(key, &path, PART, []).unwrap_err();
        house.server.inject(Rule::new(Fault::Html).forever());
        let untrusted = house.bucket.upload_file(key, &path, PART, []).unwrap_err();
        house.server.clear_faults();
        house.server.inject(Rule::new(Fault::Reset).forever());
        let broken = house.bucket.upload_file(key, &path, PART, []).unwrap_err();
        let too_long = house
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
fn a_wrong_clock_costs_one_request() {
    for (signature, skew) in SIGNATURES
        .into_iter()
        .flat_map(|signature| [(signature, 3600), (signature, -86_400)])
    {
        let house = House::new();
        let path = house.file("f", 3 * PART);
        house.server.set_clock_skew(skew);
        let bucket = bucket(client(&house.server).signature(signature));
        bucket.upload_file("o", &path, PART, []).unwrap();
        house.assert_stored("o", &path);
        assert_eq!(house.parts_sent(), [1, 2, 3]);
        assert_eq!(house.requests(Operation::InitiateMultipartUpload).len(), 2);
        assert_eq!(house.server.requests().len(), 6);
        bucket.upload_file("o2", &path, PART, []).unwrap();
        assert_eq!(
            house.server.requests().len(),
            11,
            "the client has learnt the time"
        );
    }
}

#[test]
fn a_clock_that_jumps_half_way_costs_one_request() {
    let house = House::new();
    let path = house.file("f", 4 * PART);
    house.server.inject(
        Rule::new(Fault::SkewClock(7200))
            .on(Operation::UploadPart)
            .part(3),
    );
    let uploaded = house.bucket.upload_file("o", &path, PART, []).unwrap();
    house.assert_stored("o", &path);
    assert_eq!(house.parts_sent(), [1, 2, 3, 3, 4]);
    assert_eq!(house.server.requests().len(), 7);
    assert!(
        house.server.requests()[1..]
            .iter()
            .all(|logged| logged.upload_id == uploaded.upload_id)
    );
}

#[test]
fn a_clock_that_nothing_corrects_is_no_endless_loop() {
    let house = House::new();
    house
        .server
        .inject(Rule::new(status(403, "RequestTimeTooSkewed")).forever());
    let error = house
        .bucket
        .upload_file("o", house.file("f", 1), PART, [])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("RequestTimeTooSkewed"));
    assert_eq!(house.server.requests().len(), 2);
}

#[test]
fn redirects_are_not_followed() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
    ] {
        for code in [301, 302, 307, 308] {
            let (house, elsewhere) = (House::new(), LocalOss::start());
            let location = format!("{}/examplebucket/o", elsewhere.endpoint());
            house.server.inject(
                Rule::new(Fault::Redirect {
                    status: code,
                    location,
                })
                .on(operation)
                .forever(),
            );
            let path = house.file(
                "f",
                if operation == Operation::PutObject {
                    1
                } else {
                    2 * PART
                },
            );
            let error = house.bucket.upload_file("o", &path, PART, []).unwrap_err();
            assert!(!error.is_resumable());
            assert_eq!(service(error).status, code);
            assert_eq!(house.requests(operation).len(), 1);
            assert_eq!(elsewhere.connections(), 0);
            house.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn a_gigabyte_of_answer_is_not_read() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::PutObject,
    ] {
        let house = House::new();
        house.server.inject(
            Rule::new(Fault::HugeResponse(1 << 30))
                .on(operation)
                .forever(),
        );
        let bucket = bucket(client(&house.server).retry(RetryPolicy::default().max_attempts(1)));
        let size = if operation == Operation::PutObject {
            1
        } else {
            2 * PART
        };
        let started = Instant::now();
        let error = bucket
            .upload_file("o", house.file("f", size), PART, [])
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("response") && text.contains("larger than"),
            "{text}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
        assert!(house.server.object("examplebucket", "o").is_none());
    }
}

#[test]
fn what_is_not_the_answer_of_oss_is_named_as_such() {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::PutObject,
        Operation::ListMultipartUploads,
    ] {
        let house = House::new();
        house
            .server
            .inject(Rule::new(Fault::Html).on(operation).forever());
        let path = house.file(
            "f",
            if operation == Operation::PutObject {
                1
            } else {
                2 * PART
            },
        );
        let error = match operation {
            Operation::ListMultipartUploads => house
                .bucket
                .multipart_uploads("")
                .next()
                .unwrap()
                .unwrap_err(),
            _ => house.bucket.upload_file("o", &path, PART, []).unwrap_err(),
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!("{operation:?}")) && text.contains("response"),
            "{text}"
        );
        let Error::Response { request_id, .. } = error else {
            panic!("{operation:?}: {error:?}")
        };
        assert!(text.contains(&*request_id.unwrap()), "{text}");
        assert_eq!(house.requests(operation).len(), 5);
        assert_eq!(house.server.uploads().len(), 0);
    }
}

#[test]
fn the_user_agent_is_ours_or_the_callers() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
    house.bucket.upload_file("o", &path, PART, []).unwrap();
    let ours = concat!("oss-upload/", env!("CARGO_PKG_VERSION"));
    let agents = || -> Vec<_> {
        house
            .server
            .requests()
            .iter()
            .map(|logged| logged.header("user-agent").unwrap().to_owned())
            .collect()
    };
    assert_eq!(agents(), [ours; 4]);
    house.server.clear_requests();
    bucket(client(&house.server).user_agent("backup/2 (li)"))
        .upload_file("o", &path, PART, [])
        .unwrap();
    assert_eq!(agents(), ["backup/2 (li)"; 4]);
}

#[test]
fn every_length_is_told_and_no_body_is_chunked() {
    let house = House::new();
    for size in [0, 1] {
        house
            .bucket
            .upload_file("small", house.file("g", size), PART, [request_payer(true)])
            .unwrap();
    }
    let path = house.file("f", 2 * PART + 7);
    house.refuse_part(2);
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.inject(
        Rule::new(status(503, "ServiceUnavailable"))
            .on(Operation::UploadPart)
            .part(3),
    );
    house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    house
        .bucket
        .multipart_uploads("")
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    house.bucket.abort_multipart_upload("o", "gone").unwrap();
    for logged in house.server.requests() {
        assert_eq!(logged.header("transfer-encoding"), None, "{logged:?}");
        assert_eq!(logged.header("expect"), None, "{logged:?}");
        assert_eq!(
            logged.header("accept-encoding"),
            Some("identity"),
            "{logged:?}"
        );
        let length = logged
            .header("content-length")
            .map(|length| length.parse::<u64>().unwrap());
        match logged.method.as_str() {
            "PUT" | "POST" => assert_eq!(length, Some(logged.body_bytes), "{logged:?}"),
            _ => assert_eq!(length.unwrap_or_default(), 0, "{logged:?}"),
        }
    }
}

/// Large enough for a server that does not read it to be noticed.
const LARGE: u64 = 16 << 20;

fn expectations(house: &House, operation: Operation) -> Vec<bool> {
    house
        .requests(operation)
        .iter()
        .map(|logged| logged.header("expect") == Some("100-continue"))
        .collect()
}

#[test]
fn after_a_reset_in_mid_body_the_next_attempt_asks_first() {
    for (operation, part_size) in [
        (Operation::UploadPart, LARGE / 2),
        (Operation::PutObject, LARGE),
    ] {
        let house = House::new();
        let path = house.file("f", LARGE);
        house
            .server
            .inject(Rule::new(Fault::ResetMidBody).on(operation));
        house.bucket.upload_file("o", &path, part_size, []).unwrap();
        house.assert_stored("o", &path);
        let wanted: &[bool] = if operation == Operation::PutObject {
            &[false, true]
        } else {
            &[false, true, false]
        };
        assert_eq!(expectations(&house, operation), wanted);
    }
}

#[test]
fn an_early_refusal_is_told_though_the_connection_was_reset() {
    let refusals: [fn(u16, String) -> Fault; 2] = [
        |status, code| Fault::EarlyStatus { status, code },
        |status, code| Fault::StatusBeforeContinue { status, code },
    ];
    for (operation, part_size) in [
        (Operation::UploadPart, LARGE / 2),
        (Operation::PutObject, LARGE),
    ] {
        for refusal in refusals {
            let house = House::new();
            let path = house.file("f", LARGE);
            house.server.inject(
                Rule::new(refusal(403, "AccessDenied".into()))
                    .on(operation)
                    .forever(),
            );
            let error = house
                .bucket
                .upload_file("o", &path, part_size, [])
                .unwrap_err();
            assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
            assert!(error.request_id().is_some());
            let asked = expectations(&house, operation);
            assert!(!asked[0] && asked.len() <= 2, "{asked:?}");
            house.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn an_upload_has_no_more_connections_than_threads() {
    for threads in [1, 3, 16] {
        let house = House::new();
        let path = house.file("f", 64 * PART);
        house
            .bucket
            .upload_file("o", &path, PART, [routines(threads)])
            .unwrap();
        assert!(
            (1..=threads).contains(&house.server.connections()),
            "{}",
            house.server.connections()
        );
    }
}

#[test]
fn one_file_after_another_goes_over_one_connection() {
    let house = House::new();
    let small = house.file("f", 1);
    for n in 0..50 {
        house
            .bucket
            .upload_file(&n.to_string(), &small, PART, [])
            .unwrap();
    }
    house
        .bucket
        .upload_file("large", house.file("g", 5 * PART), PART, [])
        .unwrap();
    house
        .bucket
        .multipart_uploads("")
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    assert_eq!(house.server.connections(), 1);
}

#[test]
fn clones_share_their_connections() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
    let client = client(&house.server).build().unwrap();
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
        (1..=4).contains(&house.server.connections()),
        "{}",
        house.server.connections()
    );
    assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 40);
}

#[test]
fn a_host_that_is_not_known_is_told_in_plain_words_and_was_never_asked() {
    let house = House::new();
    let path = house.file("f", 1);
    let bucket = Client::builder("http://oss-nowhere.invalid")
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(
            RetryPolicy::default()
                .max_attempts(2)
                .base_delay(Duration::from_millis(1)),
        )
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let error = bucket.upload_file("o", &path, PART, []).unwrap_err();
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

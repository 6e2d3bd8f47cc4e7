//! Upload callbacks.

use std::io::{Read, Write};
use std::net::TcpListener;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::LocalOss;

use crate::client::{Client, Response};

/// Starts an application server that sends one response, and returns the request.
fn application(response: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!(
        "http://{}/callback",
        listener.local_addr().expect("an address")
    );
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut received = String::new();
        while !received.contains("\r\n\r\nsize=") {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).expect("a request");
            received += &String::from_utf8_lossy(&buffer[..count]);
        }
        stream.write_all(response.as_bytes()).expect("written");
        received
    });
    (url, thread)
}

#[test]
fn callback_is_posted() {
    let good = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"ok\":true}";
    let bad = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for (response, status, body) in [(good, 200, "{\"ok\":true}"), (bad, 203, "CallbackFailed")] {
        let server = LocalOss::start();
        let (url, thread) = application(response);
        // Nothing listens at the first address.
        let callback = format!(
            r#"{{"callbackUrl":"http://127.0.0.1:1/;{url}","callbackHost":"app.example","callbackBody":"size=${{size}}&who=${{x:who}}"}}"#
        );
        let (callback, variables) = (
            STANDARD.encode(callback),
            STANDARD.encode(r#"{"x:who":"a b"}"#),
        );
        let headers = [
            ("x-oss-callback", callback.as_str()),
            ("x-oss-callback-var", variables.as_str()),
        ];
        let response = Client::of(&server)
            .send("PUT", "key", &headers, b"12345")
            .expect("a response");
        assert_eq!(response.status, status);
        assert!(response.text().contains(body), "{}", response.text());
        assert!(
            response.header("etag").is_some() && response.header("x-oss-hash-crc64ecma").is_some()
        );
        assert!(server.object("examplebucket", "key").is_some());
        let received = thread.join().expect("the application");
        assert!(received.ends_with("size=5&who=a%20b"), "{received}");
        assert!(
            received.to_lowercase().contains("host: app.example\r\n"),
            "{received}"
        );
    }
}

/// Puts `key` with this callback and these variables.
fn put(server: &LocalOss, callback: &str, variables: &str) -> Response {
    let (callback, variables) = (STANDARD.encode(callback), STANDARD.encode(variables));
    let headers = [
        ("x-oss-callback", callback.as_str()),
        ("x-oss-callback-var", variables.as_str()),
    ];
    Client::of(server)
        .send("PUT", "key", &headers, b"12345")
        .expect("a response")
}

fn failed(ec: &str) -> (u16, String, String) {
    (203, "CallbackFailed".to_owned(), ec.to_owned())
}

#[test]
fn callback_redirect_is_a_failure() {
    let server = LocalOss::start();
    let (url, thread) = application(
        "HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let callback = format!(r#"{{"callbackUrl":"{url}","callbackBody":"size=${{size}}"}}"#);
    let response = put(&server, &callback, "{}");
    assert_eq!(response.error(), failed("0007-00000203"));
    assert_eq!(response.element("Message"), "Error status : 301.");
    assert!(response.header("etag").is_some());
    thread.join().expect("the application");
}

#[test]
fn callback_without_scheme_or_prefix_fails_after_the_upload() {
    let good = r#"{"callbackUrl":"http://127.0.0.1:1/","callbackBody":"b"}"#;
    let bare = r#"{"callbackUrl":"app.example/path","callbackBody":"b"}"#;
    for (callback, variables) in [(bare, "{}"), (good, r#"{"who":"a"}"#)] {
        let server = LocalOss::start();
        let response = put(&server, callback, variables);
        assert_eq!(response.error(), failed("0007-00000203"), "{callback}");
        assert!(server.object("examplebucket", "key").is_some());
    }
}

#[test]
fn callback_header_over_5_kb_is_rejected() {
    let invalid = |ec: &str| (400, "InvalidArgument".to_owned(), ec.to_owned());
    let filled = |text: &str, size: usize| {
        // Base64 of `size` bytes: four characters for three bytes.
        text.replace('*', &"a".repeat(size / 4 * 3 + 1 - text.len()))
    };
    let callback = r#"{"callbackUrl":"http://127.0.0.1:1/","callbackBody":"*"}"#;
    let variables = r#"{"x:who":"*"}"#;
    for (callback_size, variables_size, expected) in [
        (5120, 5120, failed("0007-00000203")),
        (5124, 5120, invalid("0007-00000001")),
        (5120, 5124, invalid("0007-00000101")),
    ] {
        let server = LocalOss::start();
        let callback = filled(callback, callback_size);
        let variables = filled(variables, variables_size);
        let response = put(&server, &callback, &variables);
        assert_eq!(response.error(), expected);
        let stored = server.object("examplebucket", "key").is_some();
        assert_eq!(stored, expected.0 == 203);
    }
}

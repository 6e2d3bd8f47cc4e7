//! The URL of an uploaded object.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use local_oss::LocalOss;
use oss_upload::{Client, Credentials, multipart_threshold};

use crate::harness::{Harness, PART, client};

const KEY: &str = "dir//a b+c%/中.bin";
const ENCODED: &str = "dir//a%20b%2Bc%25/%E4%B8%AD.bin";

#[test]
fn url_is_that_of_the_request_for_both_kinds_of_upload() {
    let t = Harness::new();
    let path = t.file("f", PART + 1);
    let expected = format!("{}/examplebucket/{ENCODED}", t.server.endpoint());
    for threshold in [0, u64::from(u32::MAX)] {
        let options = [multipart_threshold(threshold)];
        let uploaded = t.bucket.upload_file(KEY, &path, PART, options).unwrap();
        assert_eq!(uploaded.upload_id.is_some(), threshold == 0);
        assert_eq!(uploaded.url(), expected);
        t.assert_stored(KEY, &path);
    }
    let paths: Vec<String> = t
        .server
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        paths
            .iter()
            .all(|path| *path == format!("/examplebucket/{ENCODED}")),
        "{paths:?}"
    );
}

#[test]
fn url_of_a_region_has_the_bucket_in_its_host() {
    let t = Harness::new();
    let path = t.file("f", 3);
    let proxy = tunnel_to(t.server.address());
    let bucket = Client::builder("http://oss-cn-hangzhou.aliyuncs.com")
        .credentials(Credentials::new("ak", "sk"))
        .proxy(proxy)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let uploaded = bucket.upload_file(KEY, &path, PART, []).unwrap();
    let expected = format!("http://examplebucket.oss-cn-hangzhou.aliyuncs.com/{ENCODED}");
    assert_eq!(uploaded.url(), expected);
    let request = &t.server.requests()[0];
    assert_eq!(request.path, format!("/{ENCODED}"));
    let host = (
        "host".into(),
        "examplebucket.oss-cn-hangzhou.aliyuncs.com".into(),
    );
    assert!(request.headers.contains(&host), "{:?}", request.headers);
    t.assert_stored(KEY, &path);
}

/// Returns the URL of a proxy that connects the first client with the server, whatever it asks for.
fn tunnel_to(server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || io::copy(&mut from, &mut to));
        let _ = io::copy(&mut server, &mut client);
    });
    url
}

#[test]
fn url_of_a_cname_has_no_bucket() {
    let server = LocalOss::builder()
        .cname("127.0.0.1", "examplebucket")
        .start()
        .unwrap();
    let t = Harness::with_server(server);
    let path = t.file("f", 3);
    let bucket = client(&t.server)
        .cname(true)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let uploaded = bucket.upload_file(KEY, &path, PART, []).unwrap();
    let expected = format!("{}/{ENCODED}", t.server.endpoint());
    assert_eq!(uploaded.url(), expected);
    t.assert_stored(KEY, &path);
}

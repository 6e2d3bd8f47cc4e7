//! A region in place of an endpoint.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use oss_upload::{Client, Credentials, Error, RetryPolicy};

use crate::harness::{Harness, PART};

#[test]
fn region_as_the_endpoint_is_where_requests_go() {
    let t = Harness::new();
    let path = t.file("f", 3);
    for (region, host) in [
        ("cn-hangzhou", "oss-cn-hangzhou.aliyuncs.com"),
        ("oss-cn-hangzhou", "oss-cn-hangzhou.aliyuncs.com"),
        (
            "cn-hangzhou-internal",
            "oss-cn-hangzhou-internal.aliyuncs.com",
        ),
    ] {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::builder(region)
            .credentials(Credentials::new("ak", "sk"))
            .proxy(format!("http://{}", proxy.local_addr().unwrap()))
            .retry(RetryPolicy::default().max_attempts(1))
            .build()
            .unwrap();
        assert_eq!(client.endpoint(), format!("https://{host}"));
        let refusing = std::thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut head = [0; 1024];
            let length = stream.read(&mut head).unwrap();
            stream
                .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        let bucket = client.bucket("examplebucket").unwrap();
        bucket.upload_file("o", &path, PART, []).unwrap_err();
        let head = refusing.join().unwrap();
        let expected = format!("CONNECT examplebucket.{host}:443 ");
        assert!(head.starts_with(&expected), "{head}");
    }
}

#[test]
fn region_endpoint_mistakes_are_refused() {
    let error = |endpoint: &str, cname| {
        let client = Client::builder(endpoint)
            .credentials(Credentials::new("ak", "sk"))
            .cname(cname)
            .build();
        match client.unwrap_err() {
            Error::InvalidOption { option, reason, .. } => {
                assert_eq!(option, "endpoint");
                reason
            }
            error => panic!("{error:?}"),
        }
    };
    assert!(error("minio", false).contains("is neither a region"));
    assert!(error("cn-hangzhou", true).contains("cname(true)"));
}

const CHILD: &str = "OSS_UPLOAD_TEST_REGION_CHILD";

/// Not a test of its own: what `region_in_the_environment_is_enough` runs.
#[test]
fn region_child() {
    if std::env::var_os(CHILD).is_some() {
        println!("client: {:?}", Client::from_env());
    }
}

#[test]
fn region_in_the_environment_is_enough() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["regions::region_child", "--exact", "--nocapture"]);
        for name in ["OSS_ENDPOINT", "OSS_REGION", "OSS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command
            .env(CHILD, "1")
            .env("OSS_ACCESS_KEY_ID", "ak")
            .env("OSS_ACCESS_KEY_SECRET", "sk")
            .envs(variables.iter().copied());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    for (region, endpoint, id) in [
        ("cn-hangzhou", "oss-cn-hangzhou", "cn-hangzhou"),
        ("oss-cn-hangzhou", "oss-cn-hangzhou", "cn-hangzhou"),
        (
            "cn-beijing-internal",
            "oss-cn-beijing-internal",
            "cn-beijing",
        ),
    ] {
        let output = run(&[("OSS_REGION", region)]);
        let endpoint = format!("endpoint: \"https://{endpoint}.aliyuncs.com\"");
        let id = format!("region: Some(\"{id}\")");
        assert!(
            output.contains(&endpoint) && output.contains(&id),
            "{output}"
        );
    }
    let both = [
        ("OSS_REGION", "cn-hangzhou"),
        ("OSS_ENDPOINT", "https://files.example.com"),
    ];
    assert!(run(&both).contains("https://files.example.com"));
    let wrong = run(&[("OSS_REGION", "files.example.com")]);
    assert!(wrong.contains("invalid region: OSS_REGION is"), "{wrong}");
    let none = run(&[]);
    assert!(
        none.contains("OSS_ENDPOINT is not set") && none.contains("OSS_REGION"),
        "{none}"
    );
}

//! What is wrong with the endpoint, the credentials and the client's other settings. Nothing is
//! sent.

use std::time::Duration;

use oss_upload::{Client, Credentials, RetryPolicy};

use crate::harness::list_uploads;

use super::{ID, MessageSnapshot, SECRET, TOKEN};

pub fn all(snapshot: &mut MessageSnapshot) {
    endpoints(snapshot);
    regions(snapshot);
    others(snapshot);
    credentials(snapshot);
    buckets(snapshot);
}

fn builder(endpoint: &str) -> oss_upload::ClientBuilder {
    Client::builder(endpoint)
        .credentials(Credentials::new(ID, SECRET))
        .no_proxy()
}

fn endpoints(snapshot: &mut MessageSnapshot) {
    for (mistake, endpoint) in [
        ("the endpoint is empty", ""),
        ("the endpoint is only a scheme", "https://"),
        (
            "the endpoint has an unsupported scheme",
            "ftp://oss-cn-hangzhou.aliyuncs.com",
        ),
        ("the endpoint is an oss:// address", "oss://examplebucket"),
        (
            "the endpoint has an invalid port",
            "http://oss-cn-hangzhou.aliyuncs.com:99999",
        ),
        (
            "the endpoint has a space",
            "http://oss cn-hangzhou.aliyuncs.com",
        ),
        (
            "the endpoint has a line end",
            "http://oss-cn-hangzhou.aliyuncs.com\n",
        ),
        (
            "the endpoint has a password",
            "http://me:hush@oss-cn-hangzhou.aliyuncs.com",
        ),
        (
            "the endpoint is a bucket's own domain",
            "http://otherbucket.oss-cn-hangzhou.aliyuncs.com",
        ),
    ] {
        snapshot.add(mistake, builder(endpoint).build().unwrap_err());
    }
    let with_region = builder("http://examplebucket.oss-cn-hangzhou.aliyuncs.com")
        .region("cn-hangzhou")
        .build();
    let error = with_region
        .and_then(|client| client.bucket("examplebucket"))
        .unwrap_err();
    snapshot.add("the endpoint is the bucket's own domain", error);
    let both = builder("http://files.example.com")
        .region("cn-hangzhou")
        .cname(true)
        .path_style(true);
    snapshot.add("a CNAME endpoint and path style", both.build().unwrap_err());
    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    snapshot.add(
        "https without TLS",
        builder("oss-cn-hangzhou.aliyuncs.com").build().unwrap_err(),
    );
    match std::env::var_os("OSS_ENDPOINT") {
        None => snapshot.add("OSS_ENDPOINT is not set", Client::from_env().unwrap_err()),
        Some(_) => snapshot.skip("OSS_ENDPOINT is not set"),
    }
}

fn regions(snapshot: &mut MessageSnapshot) {
    for (mistake, endpoint) in [
        (
            "no region for a domain of one's own",
            "http://files.example.com",
        ),
        ("no region for an address", "http://127.0.0.1:9000"),
        (
            "no region for the accelerate endpoint",
            "http://oss-accelerate.aliyuncs.com",
        ),
    ] {
        snapshot.add(mistake, builder(endpoint).build().unwrap_err());
    }
    for (mistake, region) in [
        ("the region is empty", ""),
        ("the region has a space", "cn hangzhou"),
        ("the region has capitals", "CN-Hangzhou"),
        ("the region is an endpoint", "oss-cn-hangzhou.aliyuncs.com"),
    ] {
        snapshot.add(
            mistake,
            builder("http://files.example.com")
                .region(region)
                .build()
                .unwrap_err(),
        );
    }
}

fn others(snapshot: &mut MessageSnapshot) {
    let builder = || builder("http://oss-cn-hangzhou.aliyuncs.com");
    snapshot.add(
        "connect_timeout is zero",
        builder()
            .connect_timeout(Duration::ZERO)
            .build()
            .unwrap_err(),
    );
    snapshot.add(
        "stall_timeout is zero",
        builder().stall_timeout(Duration::ZERO).build().unwrap_err(),
    );
    let never = RetryPolicy::default().max_attempts(0);
    snapshot.add(
        "no attempt is allowed",
        builder().retry(never).build().unwrap_err(),
    );
    snapshot.add(
        "the user agent has a line end",
        builder().user_agent("mine/1\nx: y").build().unwrap_err(),
    );
    for (mistake, proxy) in [
        ("the proxy is not a URL", "::"),
        (
            "the proxy is an unknown scheme's",
            "gopher://me:hush@127.0.0.1:3128",
        ),
        (
            "the proxy is a SOCKS proxy",
            "socks5://me:hush@127.0.0.1:1080",
        ),
        ("the proxy is empty", ""),
    ] {
        snapshot.add(mistake, builder().proxy(proxy).build().unwrap_err());
    }
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    for (mistake, pem) in [
        ("root certificates: empty", ""),
        ("root certificates: not PEM", "0\u{82}\u{3}"),
        (
            "root certificates: broken",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        ),
    ] {
        snapshot.add(
            mistake,
            builder().root_certificates_pem(pem).build().unwrap_err(),
        );
    }
}

fn credentials(snapshot: &mut MessageSnapshot) {
    let endpoint = "http://oss-cn-hangzhou.aliyuncs.com";
    snapshot.add(
        "no credentials",
        Client::builder(endpoint).no_proxy().build().unwrap_err(),
    );
    for (mistake, id, secret) in [
        ("the AccessKey id is empty", "", SECRET),
        ("the AccessKey secret is empty", ID, ""),
        ("the AccessKey id has a line end", "AKIDexample\n", SECRET),
        ("the AccessKey secret has a line end", ID, "hush-secret\n"),
        (
            "the AccessKey secret is in quotes and has a space",
            ID,
            "\"hush secret\"",
        ),
    ] {
        snapshot.add(mistake, Client::new(endpoint, id, secret).unwrap_err());
    }
    for (mistake, token) in [
        ("the security token is empty", ""),
        ("the security token has a line end", "hush\r\n"),
    ] {
        let sts = Credentials::new(ID, SECRET).with_security_token(token);
        let bucket = builder(endpoint)
            .credentials(sts)
            .build()
            .unwrap()
            .bucket("examplebucket")
            .unwrap();
        snapshot.add(mistake, list_uploads(&bucket, "").unwrap_err());
    }
    match std::env::var_os("OSS_ACCESS_KEY_ID") {
        None => snapshot.add(
            "OSS_ACCESS_KEY_ID is not set",
            Credentials::from_env().unwrap_err(),
        ),
        Some(_) => snapshot.skip("OSS_ACCESS_KEY_ID is not set"),
    }
    let fails = || Err(format!("the vault is sealed\n(asked for {ID})").into());
    let bucket = builder(endpoint)
        .credentials(fails)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    snapshot.add(
        "the provider of credentials fails",
        list_uploads(&bucket, "").unwrap_err(),
    );
    let gives_none = || Ok(Credentials::new("", "").with_security_token(TOKEN));
    let bucket = builder(endpoint)
        .credentials(gives_none)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    snapshot.add(
        "the provider gives empty credentials",
        list_uploads(&bucket, "").unwrap_err(),
    );
}

fn buckets(snapshot: &mut MessageSnapshot) {
    let client = builder("http://oss-cn-hangzhou.aliyuncs.com")
        .build()
        .unwrap();
    for (mistake, name) in [
        ("the bucket's name is empty", ""),
        ("the bucket's name is too short", "ab"),
        ("the bucket's name is too long", &"a".repeat(64)),
        ("the bucket's name has capitals", "ExampleBucket"),
        ("the bucket's name has an underline", "example_bucket"),
        ("the bucket's name has a dot", "example.bucket"),
        ("the bucket's name ends with a hyphen", "examplebucket-"),
        (
            "the bucket's name is an oss:// address",
            "oss://examplebucket/dir",
        ),
        ("the bucket's name is very long", &"bucket/".repeat(1000)),
    ] {
        snapshot.add(mistake, client.bucket(name).unwrap_err());
    }
}

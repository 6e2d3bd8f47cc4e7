//! Validation: invalid arguments are rejected by name, before any request, and nothing on disk is
//! modified.

use std::fs;

use oss_upload::{
    Bucket, CancelToken, Client, Credentials, Error, UploadOption, cancel, checkpoint,
    checkpoint_dir, routines,
};

use crate::harness::{Harness, PART};

/// Asserts that no request was sent. Returns the text of the error.
#[track_caller]
fn rejection(t: &Harness, result: Result<oss_upload::Uploaded, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(
        t.server.requests().len(),
        0,
        "a request was made before {error}"
    );
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[track_caller]
fn rejected_option(t: &Harness, option: UploadOption<'static>) -> String {
    t.file("f", 1);
    let result = t.upload([option]);
    assert!(
        matches!(result, Err(Error::InvalidOption { .. })),
        "{result:?}"
    );
    rejection(t, result)
}

#[test]
fn validation_rejects_routines_outside_1_to_100() {
    let t = Harness::new();
    for n in [0, 101, usize::MAX] {
        let text = rejected_option(&t, routines(n));
        assert!(
            text.contains("routines") && text.contains(&n.to_string()),
            "{text}"
        );
    }
}

#[test]
fn validation_rejects_part_sizes_outside_100_kib_to_5_gib() {
    let t = Harness::new();
    let path = t.file("f", 1);
    for part_size in [0, 1, PART - 1, 5 * 1024 * 1024 * 1024 + 1, u64::MAX] {
        let text = rejection(&t, t.bucket.upload_file("o", &path, part_size, []));
        assert!(
            text.contains("part_size") && text.contains(&part_size.to_string()),
            "{text}"
        );
    }
}

#[test]
fn validation_rejects_more_than_ten_thousand_parts() {
    let t = Harness::new();
    let path = t.sparse_file(10_000 * PART + 1).unwrap();
    let text = rejection(&t, t.bucket.upload_file("o", &path, PART, []));
    assert!(text.contains("10001") && text.contains("102401"), "{text}");
}

#[test]
fn validation_rejects_invalid_keys() {
    let t = Harness::new();
    let path = t.file("f", 1);
    let long = "é".repeat(512);
    for key in ["", "/k", "\\k", &long] {
        let text = rejection(&t, t.bucket.upload_file(key, &path, PART, []));
        assert!(text.starts_with("invalid key: "), "{text}");
    }
    t.bucket
        .upload_file(&"k".repeat(1023), &path, PART, [])
        .unwrap();
}

#[test]
fn validation_rejects_invalid_bucket_names() {
    let client = Client::new("http://oss-cn-hangzhou.aliyuncs.com", "ak", "sk").unwrap();
    for name in [
        "",
        "ab",
        "Abc",
        "a_b",
        "-abc",
        "abc-",
        "a.b",
        "中文桶",
        &"a".repeat(64),
        "a/b",
    ] {
        let error = client.bucket(name).unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidOption {
                    option: "bucket",
                    ..
                }
            ),
            "{name}: {error}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
    for name in ["abc", "a-b", "1a1", &"a".repeat(63)] {
        client.bucket(name).unwrap();
    }
}

#[test]
fn validation_rejects_bucket_domain_as_endpoint() {
    let client = Client::new(
        "http://examplebucket.oss-cn-hangzhou.aliyuncs.com",
        "ak",
        "sk",
    );
    let text = match client {
        Ok(client) => client.bucket("examplebucket").unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(
        text.contains("oss-cn-hangzhou") && !text.contains('\n'),
        "{text}"
    );
}

#[test]
fn validation_rejects_sources_that_are_not_files() {
    let t = Harness::new();
    let missing = if cfg!(windows) {
        "os error 2"
    } else {
        "No such file"
    };
    let device = cfg!(unix).then(|| ("/dev/null".into(), "not a regular file"));
    let paths = [(t.path(""), "directory"), (t.path("missing"), missing)];
    for (path, reason) in paths.into_iter().chain(device) {
        let text = rejection(
            &t,
            t.bucket
                .upload_file("o", &path, PART, [checkpoint(true, t.path("c"))]),
        );
        assert!(
            text.contains(&*path.to_string_lossy()) && text.contains(reason),
            "{text}"
        );
    }
    t.assert_files(&[]);
}

#[cfg(unix)]
#[test]
fn validation_rejects_pipe_without_waiting_for_a_writer() {
    let t = Harness::new();
    let pipe = t.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let text = rejection(&t, t.bucket.upload_file("o", &pipe, PART, []));
    assert!(
        text.contains("pipe") && text.contains("not a regular file"),
        "{text}"
    );
}

#[test]
fn validation_rejects_source_as_checkpoint() {
    let t = Harness::new();
    let path = t.file("f", 0);
    let link = t.path("link");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let link = link.exists().then_some(link);
    for checkpoint_path in [path.clone(), t.path("./f")].into_iter().chain(link) {
        let result = t.upload([checkpoint(true, &checkpoint_path)]);
        assert!(
            matches!(
                result,
                Err(Error::InvalidOption {
                    option: "checkpoint",
                    ..
                })
            ),
            "{result:?}"
        );
        rejection(&t, result);
    }
    assert!(path.exists());
}

#[test]
fn validation_rejects_directory_as_checkpoint() {
    let t = Harness::new();
    t.file("f", 3 * PART);
    let dir = t.path("");
    let result = t.upload([checkpoint(true, &dir)]);
    assert!(
        matches!(&result, Err(Error::NotACheckpoint { path, .. }) if *path == dir),
        "{result:?}"
    );
    rejection(&t, result);
    t.assert_files(&["f"]);
}

#[cfg(unix)]
#[test]
fn validation_rejects_links_and_devices_as_checkpoint() {
    let t = Harness::new();
    t.file("f", 3 * PART);
    let target = t.file("somebody's", 10);
    let link = t.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let dangling = t.path("dangling");
    std::os::unix::fs::symlink(t.path("nowhere"), &dangling).unwrap();
    for odd in [link, dangling, "/dev/full".into()] {
        let result = t.upload([checkpoint(true, &odd)]);
        assert!(
            matches!(&result, Err(Error::NotACheckpoint { path, .. }) if *path == odd),
            "{result:?}"
        );
        rejection(&t, result);
    }
    t.assert_files(&["dangling", "f", "link", "somebody's"]);
    assert_eq!(fs::read(&target).unwrap().len(), 10);
}

#[test]
fn validation_rejects_checkpoint_that_cannot_be_created() {
    let t = Harness::new();
    let path = t.file("f", 3 * PART);
    let missing = t.path("no/such/dir/c");
    let result = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, &missing)]);
    assert!(
        matches!(&result, Err(Error::Checkpoint { path: Some(path), .. }) if *path == missing),
        "{result:?}"
    );
    rejection(&t, result);
    let result = t
        .bucket
        .upload_file("o", &path, PART, [checkpoint_dir(true, &path)]);
    assert!(
        matches!(result, Err(Error::Checkpoint { .. })),
        "{result:?}"
    );
    rejection(&t, result);
    let text = rejected_option(&t, checkpoint_dir(true, ""));
    assert!(text.contains("checkpoint_dir"), "{text}");
}

#[test]
fn validation_rejects_default_checkpoint_for_open_file() {
    let t = Harness::new();
    let file = fs::File::open(t.file("f", PART)).unwrap();
    let text = rejection(
        &t,
        t.bucket
            .upload_open_file("o", file, PART, [checkpoint(true, "")]),
    );
    assert!(text.contains("checkpoint_dir"), "{text}");
}

#[test]
fn validation_rejects_invalid_client_settings() {
    let builder =
        |endpoint: &str| Client::builder(endpoint).credentials(Credentials::new("ak", "sk"));
    let text = builder("http://files.example.com")
        .build()
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("region") && text.contains("files.example.com"),
        "{text}"
    );
    for wrong in ["ftp://x", "", "https://u:p@host"] {
        let error = builder(wrong).region("cn-x").build().unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidOption {
                    option: "endpoint",
                    ..
                }
            ),
            "{error}"
        );
    }
    let error = builder("http://x")
        .region("cn hangzhou")
        .build()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "region",
                ..
            }
        ),
        "{error}"
    );
    let error = builder("http://x")
        .region("r")
        .proxy("::")
        .build()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "proxy",
                ..
            }
        ),
        "{error}"
    );
    let error = builder("http://x")
        .region("r")
        .connect_timeout(std::time::Duration::ZERO)
        .build()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "connect_timeout",
                ..
            }
        ),
        "{error}"
    );
    let error = Client::builder("http://x").region("r").build().unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    let error = Client::new("http://oss-cn-hangzhou.aliyuncs.com", "ak", "").unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    builder("http://oss-accelerate.aliyuncs.com")
        .build()
        .unwrap_err();
    builder("http://oss-accelerate.aliyuncs.com")
        .region("oss-cn-hangzhou")
        .build()
        .unwrap();
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn validation_rejects_invalid_root_certificates() {
    for pem in [
        "",
        "no pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    ] {
        let error = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
            .credentials(Credentials::new("ak", "sk"))
            .root_certificates_pem(pem)
            .build()
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::InvalidOption {
                    option: "root_certificates_pem",
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
#[test]
fn validation_rejects_https_without_tls() {
    let text = Client::new("oss-cn-hangzhou.aliyuncs.com", "ak", "sk")
        .unwrap_err()
        .to_string();
    assert!(text.contains("https") && text.contains("rustls"), "{text}");
}

#[test]
fn cancel_before_start_creates_no_checkpoint() {
    let t = Harness::new();
    t.file("f", 3 * PART);
    let token = CancelToken::new();
    token.cancel();
    let result = t.upload([cancel(&token), checkpoint(true, "")]);
    assert!(
        matches!(
            result,
            Err(Error::Cancelled {
                object_may_exist: false,
                ..
            })
        ),
        "{result:?}"
    );
    rejection(&t, result);
    t.assert_files(&["f"]);
}

#[test]
fn public_handles_are_send_sync_and_clone() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Client>();
    shared::<Bucket>();
    shared::<CancelToken>();
    shared::<Credentials>();
    fn sent<T: Send + Sync>() {}
    sent::<Error>();
}

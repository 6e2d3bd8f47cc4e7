//! What is wrong is refused by its name, before any request, and nothing on disk is touched.

use std::fs;

use oss_upload::{
    Bucket, CancelToken, Client, Credentials, Error, UploadOption, cancel, checkpoint,
    checkpoint_dir, routines,
};

use crate::house::{House, PART};

/// The error's text, once it is sure that no request was made.
#[track_caller]
fn refusal(house: &House, result: Result<oss_upload::Uploaded, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(
        house.server.requests().len(),
        0,
        "a request was made before {error}"
    );
    let text = error.to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[track_caller]
fn refused_option(house: &House, option: UploadOption<'static>) -> String {
    let path = house.file("f", 1);
    let result = house.bucket.upload_file("o", &path, PART, [option]);
    assert!(
        matches!(result, Err(Error::InvalidOption { .. })),
        "{result:?}"
    );
    refusal(house, result)
}

#[test]
fn routines_outside_1_to_100() {
    let house = House::new();
    for n in [0, 101, usize::MAX] {
        let text = refused_option(&house, routines(n));
        assert!(
            text.contains("routines") && text.contains(&n.to_string()),
            "{text}"
        );
    }
}

#[test]
fn part_sizes_outside_100_kib_to_5_gib() {
    let house = House::new();
    let path = house.file("f", 1);
    for part_size in [0, 1, PART - 1, 5 * 1024 * 1024 * 1024 + 1, u64::MAX] {
        let text = refusal(&house, house.bucket.upload_file("o", &path, part_size, []));
        assert!(
            text.contains("part_size") && text.contains(&part_size.to_string()),
            "{text}"
        );
    }
}

#[test]
fn more_than_ten_thousand_parts() {
    let house = House::new();
    let path = house.path("sparse");
    fs::File::create(&path)
        .unwrap()
        .set_len(10_000 * PART + 1)
        .unwrap();
    let text = refusal(&house, house.bucket.upload_file("o", &path, PART, []));
    assert!(text.contains("10001") && text.contains("102401"), "{text}");
}

#[test]
fn keys_that_oss_does_not_take() {
    let house = House::new();
    let path = house.file("f", 1);
    let long = "é".repeat(512);
    for key in ["", "/k", "\\k", &long] {
        let text = refusal(&house, house.bucket.upload_file(key, &path, PART, []));
        assert!(text.starts_with("invalid key: "), "{text}");
    }
    house
        .bucket
        .upload_file(&"k".repeat(1023), &path, PART, [])
        .unwrap();
}

#[test]
fn bucket_names_against_the_rules() {
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
fn a_bucket_domain_where_the_endpoint_belongs() {
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
fn sources_that_are_no_files() {
    let house = House::new();
    let missing = if cfg!(windows) {
        "os error 2"
    } else {
        "No such file"
    };
    let device = cfg!(unix).then(|| ("/dev/null".into(), "not a regular file"));
    let paths = [
        (house.path(""), "directory"),
        (house.path("missing"), missing),
    ];
    for (path, reason) in paths.into_iter().chain(device) {
        let text = refusal(
            &house,
            house
                .bucket
                .upload_file("o", &path, PART, [checkpoint(true, house.path("c"))]),
        );
        assert!(
            text.contains(&*path.to_string_lossy()) && text.contains(reason),
            "{text}"
        );
    }
    house.assert_files(&[]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_without_waiting_for_a_writer() {
    let house = House::new();
    let pipe = house.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let text = refusal(&house, house.bucket.upload_file("o", &pipe, PART, []));
    assert!(
        text.contains("pipe") && text.contains("not a regular file"),
        "{text}"
    );
}

#[test]
fn a_checkpoint_that_is_the_source() {
    let house = House::new();
    let path = house.file("f", 0);
    let link = house.path("link");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let link = link.exists().then_some(link);
    for checkpoint_path in [path.clone(), house.path("./f")].into_iter().chain(link) {
        let result =
            house
                .bucket
                .upload_file("o", &path, PART, [checkpoint(true, &checkpoint_path)]);
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
        refusal(&house, result);
    }
    assert!(path.exists());
}

#[test]
fn a_checkpoint_that_is_a_directory() {
    let house = House::new();
    let (path, dir) = (house.file("f", 3 * PART), house.path(""));
    let result = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, &dir)]);
    assert!(
        matches!(&result, Err(Error::NotACheckpoint { path, .. }) if *path == dir),
        "{result:?}"
    );
    refusal(&house, result);
    house.assert_files(&["f"]);
}

#[cfg(unix)]
#[test]
fn checkpoint_paths_that_are_no_files() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let target = house.file("somebody's", 10);
    let link = house.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let dangling = house.path("dangling");
    std::os::unix::fs::symlink(house.path("nowhere"), &dangling).unwrap();
    for odd in [link, dangling, "/dev/full".into()] {
        let result = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, &odd)]);
        assert!(
            matches!(&result, Err(Error::NotACheckpoint { path, .. }) if *path == odd),
            "{result:?}"
        );
        refusal(&house, result);
    }
    house.assert_files(&["dangling", "f", "link", "somebody's"]);
    assert_eq!(fs::read(&target).unwrap().len(), 10);
}

#[test]
fn a_checkpoint_that_cannot_be_made() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let missing = house.path("no/such/dir/c");
    let result = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, &missing)]);
    assert!(
        matches!(&result, Err(Error::Checkpoint { path: Some(path), .. }) if *path == missing),
        "{result:?}"
    );
    refusal(&house, result);
    let result = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint_dir(true, &path)]);
    assert!(
        matches!(result, Err(Error::Checkpoint { .. })),
        "{result:?}"
    );
    refusal(&house, result);
    let text = refused_option(&house, checkpoint_dir(true, ""));
    assert!(text.contains("checkpoint_dir"), "{text}");
}

#[test]
fn an_open_file_has_no_place_beside_it() {
    let house = House::new();
    let file = fs::File::open(house.file("f", PART)).unwrap();
    let text = refusal(
        &house,
        house
            .bucket
            .upload_open_file("o", file, PART, [checkpoint(true, "")]),
    );
    assert!(text.contains("checkpoint_dir"), "{text}");
}

#[test]
fn client_settings_that_make_no_sense() {
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
fn root_certificates_that_are_none() {
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
fn https_without_tls() {
    let text = Client::new("oss-cn-hangzhou.aliyuncs.com", "ak", "sk")
        .unwrap_err()
        .to_string();
    assert!(text.contains("https") && text.contains("rustls"), "{text}");
}

#[test]
fn a_token_that_is_cancelled_already() {
    let house = House::new();
    let path = house.file("f", 3 * PART);
    let token = CancelToken::new();
    token.cancel();
    let result = house
        .bucket
        .upload_file("o", &path, PART, [cancel(&token), checkpoint(true, "")]);
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
    refusal(&house, result);
    house.assert_files(&["f"]);
}

#[test]
fn public_handles_are_shared_among_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Client>();
    shared::<Bucket>();
    shared::<CancelToken>();
    shared::<Credentials>();
    fn sent<T: Send + Sync>() {}
    sent::<Error>();
}

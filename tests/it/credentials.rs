//! Who signs, for how long, and that nobody else learns of it.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_oss::{Fault, LocalOss, Operation, RecordedRequest, Rule};
use oss_upload::{
    Bucket, Client, Credentials, Error, ProvideCredentials, SignatureVersion, checkpoint,
    content_type,
};

use crate::house::{House, PART, client};
use crate::wire::Proxy;

const SECRET: &str = "hush-secret-0123456789";
const TOKEN: &str = "hush-token-0123456789";

fn sts_house() -> House {
    House::with(
        LocalOss::builder()
            .credentials("sts-id", SECRET)
            .token(TOKEN)
            .start()
            .unwrap(),
    )
}

fn sts() -> Credentials {
    Credentials::new("sts-id", SECRET).with_security_token(TOKEN)
}

fn bucket(house: &House, provider: impl ProvideCredentials + 'static) -> Bucket {
    client(&house.server)
        .credentials(provider)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap()
}

fn access_key_id(logged: &RecordedRequest) -> &str {
    let authorization = logged.header("authorization").unwrap();
    authorization
        .split("Credential=")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
}

#[test]
fn a_security_token_goes_with_every_request() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        let house = sts_house();
        let client = client(&house.server)
            .credentials(sts())
            .signature(signature)
            .build()
            .unwrap();
        let path = house.file("f", 2 * PART);
        let bucket = client.bucket("examplebucket").unwrap();
        bucket.upload_file("o", &path, PART, []).unwrap();
        bucket
            .upload_file("small", house.file("g", 1), PART, [])
            .unwrap();
        house.assert_stored("o", &path);
        let requests = house.server.requests();
        assert_eq!(requests.len(), 5);
        assert!(
            requests
                .iter()
                .all(|logged| logged.header("x-oss-security-token") == Some(TOKEN))
        );
        let authorization = if signature == SignatureVersion::V1 {
            "OSS "
        } else {
            "OSS4-HMAC-SHA256 "
        };
        assert!(requests.iter().all(|logged| {
            logged
                .header("authorization")
                .unwrap()
                .starts_with(authorization)
        }));
    }
}

#[test]
fn a_provider_is_asked_before_every_request() {
    let house = House::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let bucket = bucket(&house, move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Credentials::new("ak", "sk"))
    });
    house.server.inject(
        Rule::new(Fault::Status {
            status: 503,
            code: "ServiceUnavailable".into(),
            retry_after: None,
        })
        .on(Operation::UploadPart),
    );
    bucket
        .upload_file("o", house.file("f", 3 * PART), PART, [])
        .unwrap();
    assert_eq!(house.server.requests().len(), 6);
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[test]
fn a_provider_may_be_shared() {
    struct Vault(&'static str);
    impl ProvideCredentials for Vault {
        fn credentials(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Credentials::new("ak", self.0))
        }
    }
    let house = House::new();
    let vault = Arc::new(Vault("sk"));
    bucket(&house, Arc::clone(&vault))
        .upload_file("o", house.file("f", 1), PART, [])
        .unwrap();
    let dynamic: Arc<dyn ProvideCredentials> = vault;
    bucket(&house, dynamic)
        .upload_file("o", house.path("f"), PART, [])
        .unwrap();
    house.assert_stored("o", &house.path("f"));
}

#[test]
fn a_token_that_expires_half_way_is_renewed_and_the_upload_goes_on() {
    for code in ["SecurityTokenExpired", "InvalidSecurityToken"] {
        let house = House::with(
            LocalOss::builder()
                .credentials("old", "1")
                .token("t1")
                .start()
                .unwrap(),
        );
        house.server.add_credentials("new", "2", Some("t2"));
        let fault = Fault::Status {
            status: 403,
            code: code.into(),
            retry_after: None,
        };
        house
            .server
            .inject(Rule::new(fault).on(Operation::UploadPart).part(3));
        let asked = AtomicUsize::new(0);
        // Initiate and three parts with the old one.
        let provider = move || {
            Ok(match asked.fetch_add(1, Ordering::Relaxed) {
                ..4 => Credentials::new("old", "1").with_security_token("t1"),
                _ => Credentials::new("new", "2").with_security_token("t2"),
            })
        };
        let path = house.file("f", 5 * PART);
        let uploaded = bucket(&house, provider)
            .upload_file("o", &path, PART, [])
            .unwrap();
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
        assert_eq!(house.parts_sent(), [1, 2, 3, 3, 4, 5]);
        let requests = house.server.requests();
        let ids: Vec<_> = requests.iter().map(access_key_id).collect();
        assert_eq!(
            ids,
            ["old", "old", "old", "old", "new", "new", "new", "new"]
        );
        assert_eq!(requests[3].error_code.as_deref(), Some(code));
        assert!(
            requests[1..]
                .iter()
                .all(|logged| logged.upload_id == uploaded.upload_id)
        );
    }
}

#[test]
fn an_expired_token_that_nobody_renews_fails_at_once_and_keeps_the_record() {
    let house = sts_house();
    let path = house.file("f", 4 * PART);
    house.refuse_part(3);
    bucket(&house, sts())
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    house.server.expire_credentials("sts-id");
    house.server.clear_requests();
    let error = bucket(&house, sts())
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(error.is_resumable());
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(
        (1..=2).contains(&house.server.requests().len()),
        "{:?}",
        house.server.requests()
    );
    assert_eq!(house.server.uploads()[0].parts.len(), 2);
    house.assert_files(&["f", "f.cp"]);
    house.server.clear_requests();
    house.server.add_credentials("fresh", "secret", None);
    let fresh = bucket(&house, Credentials::new("fresh", "secret"));
    let uploaded = fresh
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
    assert_eq!(
        (uploaded.parts_resumed, house.parts_sent()),
        (2, vec![3, 4])
    );
}

#[test]
fn a_refused_token_is_told_in_the_words_of_oss() {
    let house = sts_house();
    let path = house.file("f", 1);
    for (credentials, code) in [
        (sts().with_security_token("other"), "InvalidSecurityToken"),
        (sts(), "SecurityTokenExpired"),
    ] {
        if code == "SecurityTokenExpired" {
            house.server.expire_credentials("sts-id");
        }
        house.server.clear_requests();
        let error = bucket(&house, credentials)
            .upload_file("o", &path, PART, [])
            .unwrap_err();
        assert!((1..=2).contains(&house.server.requests().len()));
        assert_eq!(error.service_code(), Some(code), "{error}");
        assert!(
            error.request_id().is_some() && error.is_resumable(),
            "{error}"
        );
    }
}

#[test]
fn what_a_provider_says_is_the_source_of_the_error() {
    let house = House::new();
    let fails = bucket(&house, || Err("the vault is sealed".into()));
    let error = fails
        .upload_file("o", house.file("f", 2 * PART), PART, [checkpoint(true, "")])
        .unwrap_err();
    let Error::Credentials { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(source.to_string(), "the vault is sealed");
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "the vault is sealed"
    );
    assert!(error.to_string().contains("the vault is sealed") && error.is_resumable());
    assert_eq!(house.server.requests().len(), 0);
    house.assert_nothing_left(&["f"]);
    let fails = bucket(&house, || Err("two\nlines".into()));
    let error = fails
        .upload_file("o", house.path("f"), PART, [])
        .unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_provider_that_fails_half_way_loses_nothing() {
    let house = House::new();
    let path = house.file("f", 4 * PART);
    let asked = AtomicUsize::new(0);
    let fails = bucket(&house, move || {
        match asked.fetch_add(1, Ordering::Relaxed) {
            ..3 => Ok(Credentials::new("ak", "sk")),
            _ => Err("the vault is sealed".into()),
        }
    });
    let error = fails
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    assert_eq!(house.parts_sent(), [1, 2]);
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    assert_eq!(
        (uploaded.parts_resumed, house.parts_sent()),
        (2, vec![1, 2, 3, 4])
    );
    house.assert_stored("o", &path);
}

#[test]
fn a_key_that_no_header_can_hold_is_refused_by_name() {
    let house = House::new();
    let path = house.file("f", 1);
    for (credentials, name) in [
        (Credentials::new("ak\n", SECRET), "AccessKey id"),
        (Credentials::new("", SECRET), "AccessKey id"),
        (
            Credentials::new("ak", format!("{SECRET}\r\n")),
            "AccessKey secret",
        ),
        (Credentials::new("ak", ""), "AccessKey secret"),
        (
            Credentials::new("ak", SECRET).with_security_token(format!("{TOKEN}\n")),
            "security token",
        ),
        (
            Credentials::new("ak", SECRET).with_security_token("中"),
            "security token",
        ),
    ] {
        let error = bucket(&house, credentials)
            .upload_file("o", &path, PART, [])
            .unwrap_err();
        assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(
                text.contains(name) && !text.contains("hush") && !text.contains('\n'),
                "{text}"
            );
        }
    }
    assert_eq!(house.server.requests().len(), 0);
    let error = Client::new(
        "http://oss-cn-hangzhou.aliyuncs.com",
        "ak",
        format!("{SECRET}\n"),
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::Credentials { .. }) && !format!("{error}{error:?}").contains("hush")
    );
    let error = Client::builder(&house.server.endpoint())
        .region("cn-hangzhou")
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
}

/// The file that a child process is to upload.
const UPLOAD: &str = "CHILD_UPLOADS";

/// Set in the processes that run the tests named `child_…`.
const CHILD: &str = "OSS_UPLOAD_TEST_CHILD";

/// Runs one of the tests below in a process of its own, with these variables and no others that matter.
fn child(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("credentials::{test}"), "--exact", "--nocapture"]);
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("OSS_") || upper.contains("PROXY") {
            command.env_remove(name);
        }
    }
    let output = command
        .envs(variables.iter().copied())
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Not a test of its own: what `from_env` runs.
#[test]
fn child_from_env() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    if let Err(error) = Credentials::from_env() {
        println!("credentials: {error}");
    }
    match Client::from_env() {
        Err(error) => println!("client: {error}"),
        Ok(client) => {
            println!("client: {client:?}");
            if let Ok(path) = std::env::var(UPLOAD) {
                client
                    .bucket("examplebucket")
                    .unwrap()
                    .upload_file("o", path, PART, [])
                    .unwrap();
            }
        }
    }
}

#[test]
fn a_client_from_the_environment() {
    let house = sts_house();
    let (endpoint, path) = (house.server.endpoint(), house.file("f", 2 * PART));
    let endpoint = ("OSS_ENDPOINT", endpoint.as_str());
    let (id, secret) = (
        ("OSS_ACCESS_KEY_ID", "sts-id"),
        ("OSS_ACCESS_KEY_SECRET", SECRET),
    );
    let (region, token) = (
        ("OSS_REGION", "oss-cn-hangzhou"),
        ("OSS_SESSION_TOKEN", TOKEN),
    );
    let upload = (UPLOAD, path.to_str().unwrap());
    let said = child(
        "child_from_env",
        &[endpoint, region, id, secret, token, upload],
    );
    house.assert_stored("o", &path);
    assert!(!said.contains("hush"), "{said}");

    let requests = house.server.requests().len();
    let line_end = format!("{SECRET}\n");
    let oss = (
        "OSS_ENDPOINT",
        "http://oss-cn-hangzhou-internal.aliyuncs.com",
    );
    for (variables, wanted) in [
        (
            vec![id, secret],
            "client: invalid endpoint: OSS_ENDPOINT",
        ),
        (
            vec![endpoint, region, secret],
            "credentials: no credentials: OSS_ACCESS_KEY_ID",
        ),
        (
            vec![endpoint, region, secret],
            "client: no credentials: OSS_ACCESS_KEY_ID",
        ),
        (
            vec![endpoint, region, id],
            "client: no credentials: OSS_ACCESS_KEY_SECRET",
        ),
        (
            vec![endpoint, region, id, ("OSS_ACCESS_KEY_SECRET", "")],
            "client: no credentials: OSS_ACCESS_KEY_SECRET",
        ),
        (
            vec![endpoint, region, id, ("OSS_ACCESS_KEY_SECRET", &line_end)],
            "secret has a space, a line end",
        ),
        (vec![endpoint, id, secret], "client: invalid region: "),
        (
            vec![
                oss,
                id,
                secret,
                ("OSS_SESSION_TOKEN", ""),
                ("OSS_REGION", ""),
            ],
            "client: Client",
        ),
        (vec![oss, id, secret, token, region], "client: Client"),
    ] {
        let said = child("child_from_env", &variables);
        assert!(said.contains(wanted), "{variables:?}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
    assert_eq!(house.server.requests().len(), requests);
}

#[test]
fn the_environments_proxy_is_used_where_it_applies() {
    let house = House::new();
    let proxy = Proxy::start(house.server.address());
    let (proxy_url, path) = (format!("http://{}", proxy.address), house.file("f", 1));
    let endpoint = house.server.endpoint();
    let run = |endpoint, name, value| {
        let variables = [
            ("OSS_ENDPOINT", endpoint),
            ("OSS_REGION", "cn-hangzhou"),
            ("OSS_ACCESS_KEY_ID", "ak"),
            ("OSS_ACCESS_KEY_SECRET", "sk"),
            (UPLOAD, path.to_str().unwrap()),
            ("HTTP_PROXY", &proxy_url),
            (name, value),
        ];
        child("child_from_env", &variables);
        house.assert_stored("o", &path);
        house.server.remove_object("examplebucket", "o");
        proxy.heads().len()
    };
    assert_eq!(
        run(
            "http://oss-cn-hangzhou.aliyuncs.com",
            "NO_PROXY",
            "example.com"
        ),
        1
    );
    assert_eq!(run(&endpoint, "NO_PROXY", "127.0.0.1"), 1);
    assert_eq!(run(&endpoint, "NO_PROXY", "example.com"), 2);
}

/// Prints everything that anybody logs, but for the dump of the wire that only `ureq_proto=trace` gives.
struct Talk;

impl log::Log for Talk {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() != "ureq_proto::util" || metadata.level() < log::Level::Trace
    }
    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        println!("{} {}: {}", record.level(), record.target(), record.args());
    }
    fn flush(&self) {}
}

/// Not a test of its own: what `nothing_tells_the_secret` runs.
#[test]
fn child_that_tells_all() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let Ok(path) = std::env::var(UPLOAD) else {
        return;
    };
    log::set_logger(&Talk).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let endpoint = std::env::var("OSS_ENDPOINT").unwrap();
    let right = Credentials::from_env().unwrap();
    let wrong = Credentials::new("sts-id", "hush-wrong").with_security_token(TOKEN);
    let other = Credentials::new("sts-id", SECRET).with_security_token("hush-other");
    let controls = Credentials::new("sts-id", format!("{SECRET}\t"));
    println!("{right:?} {:?}", content_type("a/b"));
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        for credentials in [&right, &right, &wrong, &other, &controls] {
            let builder = Client::builder(&endpoint)
                .region("cn-hangzhou")
                .credentials(credentials.clone());
            let builder = builder
                .signature(signature)
                .proxy("http://hush-user:hush-password@127.0.0.1:1")
                .no_proxy();
            println!("{builder:?}");
            let client = builder.build().unwrap();
            let bucket = client.bucket("examplebucket").unwrap();
            println!("{client:?} {bucket:?}");
            match bucket.upload_file("o\nFORGED", &path, PART, [checkpoint(true, "")]) {
                Ok(uploaded) => println!("uploaded: {uploaded:?}"),
                Err(error) => println!(
                    "error: {error} {error:?} {:?}",
                    std::error::Error::source(&error)
                ),
            }
            println!(
                "record: {:?}",
                std::fs::read_to_string(format!("{path}.cp")).unwrap_or_default()
            );
        }
    }
    for proxy in [
        "http://hush-user:hush-password@127.0.0.1:1",
        "hush://hush-user:hush-password@",
    ] {
        let builder = Client::builder(&endpoint)
            .region("cn-hangzhou")
            .credentials(right.clone())
            .proxy(proxy);
        let builder = builder.retry(oss_upload::RetryPolicy::default().max_attempts(2));
        match builder.build() {
            Ok(client) => {
                let bucket = client.bucket("examplebucket").unwrap();
                let error = bucket.upload_file("o", &path, PART, []).unwrap_err();
                println!("{client:?} {error} {error:?}");
            }
            Err(error) => println!("{error} {error:?}"),
        }
    }
}

#[test]
fn nothing_tells_the_secret() {
    let house = sts_house();
    let (endpoint, path) = (house.server.endpoint(), house.file("f", 2 * PART));
    for _ in [SignatureVersion::V1, SignatureVersion::V4] {
        house.refuse_part(2);
    }
    let said = child(
        "child_that_tells_all",
        &[
            ("OSS_ENDPOINT", &endpoint),
            ("OSS_ACCESS_KEY_ID", "sts-id"),
            ("OSS_ACCESS_KEY_SECRET", SECRET),
            ("OSS_SESSION_TOKEN", TOKEN),
            (UPLOAD, path.to_str().unwrap()),
        ],
    );
    for heard in [
        "DEBUG oss_upload",
        "DEBUG ureq",
        "uploaded: Uploaded",
        "SignatureDoesNotMatch",
        "oss-upload checkpoint 2",
    ] {
        assert!(said.contains(heard), "{heard} is missing in {said}");
    }
    for hushed in ["hush", "Signature=", "OSS sts-id:"] {
        let line = said.lines().find(|line| line.contains(hushed));
        assert_eq!(line, None);
    }
    let forged = said.lines().find(|line| line.starts_with("FORGED"));
    assert_eq!(forged, None, "a key must not begin a line of the log");
}

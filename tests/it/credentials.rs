//! Credentials: where they come from, when they are refreshed, and that they are never printed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use local_oss::{LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, Client, Credentials, Error, ProvideCredentials, SignatureVersion, checkpoint,
    content_type,
};

use crate::harness::{Harness, PART, Proxy, RecordedRequest, client, service_unavailable, status};

const SECRET: &str = "hush-secret-0123456789";
const TOKEN: &str = "hush-token-0123456789";

fn sts_harness() -> Harness {
    Harness::with_server(
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

fn bucket(t: &Harness, provider: impl ProvideCredentials + 'static) -> Bucket {
    client(&t.server)
        .credentials(provider)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap()
}

fn access_key_id(request: &RecordedRequest) -> &str {
    let authorization = request.header("authorization").unwrap();
    authorization
        .split("Credential=")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap()
}

#[test]
fn credentials_token_is_sent_with_every_request() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        let t = sts_harness();
        let client = client(&t.server)
            .credentials(sts())
            .signature(signature)
            .build()
            .unwrap();
        let path = t.file("f", 2 * PART);
        let bucket = client.bucket("examplebucket").unwrap();
        bucket.upload_file("o", &path, PART, []).unwrap();
        bucket
            .upload_file("small", t.file("g", 1), PART, [])
            .unwrap();
        t.assert_stored("o", &path);
        let requests = t.server.requests();
        assert_eq!(requests.len(), 5);
        assert!(
            requests
                .iter()
                .all(|request| request.header("x-oss-security-token") == Some(TOKEN))
        );
        let authorization = if signature == SignatureVersion::V1 {
            "OSS "
        } else {
            "OSS4-HMAC-SHA256 "
        };
        assert!(requests.iter().all(|request| {
            request
                .header("authorization")
                .unwrap()
                .starts_with(authorization)
        }));
    }
}

#[test]
fn credentials_provider_is_called_before_every_request() {
    let t = Harness::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let bucket = bucket(&t, move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Credentials::new("ak", "sk"))
    });
    t.server
        .inject(Rule::new(service_unavailable()).on(Operation::UploadPart));
    bucket
        .upload_file("o", t.file("f", 3 * PART), PART, [])
        .unwrap();
    assert_eq!(t.server.requests().len(), 6);
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[test]
fn credentials_provider_can_be_shared() {
    struct SharedProvider(&'static str);
    impl ProvideCredentials for SharedProvider {
        fn credentials(&self) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
            Ok(Credentials::new("ak", self.0))
        }
    }
    let t = Harness::new();
    let provider = Arc::new(SharedProvider("sk"));
    bucket(&t, Arc::clone(&provider))
        .upload_file("o", t.file("f", 1), PART, [])
        .unwrap();
    let dynamic: Arc<dyn ProvideCredentials> = provider;
    bucket(&t, dynamic)
        .upload_file("o", t.path("f"), PART, [])
        .unwrap();
    t.assert_stored("o", &t.path("f"));
}

#[test]
fn credentials_expiring_during_upload_are_refreshed() {
    for code in ["SecurityTokenExpired", "InvalidSecurityToken"] {
        let t = Harness::with_server(
            LocalOss::builder()
                .credentials("old", "1")
                .token("t1")
                .start()
                .unwrap(),
        );
        t.server.add_credentials("new", "2", Some("t2"));
        t.inject_part(3, status(403, code));
        let asked = AtomicUsize::new(0);
        // InitiateMultipartUpload and three parts have the old credentials.
        let provider = move || {
            Ok(match asked.fetch_add(1, Ordering::Relaxed) {
                ..4 => Credentials::new("old", "1").with_security_token("t1"),
                _ => Credentials::new("new", "2").with_security_token("t2"),
            })
        };
        let path = t.file("f", 5 * PART);
        let uploaded = bucket(&t, provider)
            .upload_file("o", &path, PART, [])
            .unwrap();
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
        assert_eq!(t.parts_sent(), [1, 2, 3, 3, 4, 5]);
        let requests = t.server.requests();
        let ids: Vec<_> = requests.iter().map(access_key_id).collect();
        assert_eq!(
            ids,
            ["old", "old", "old", "old", "new", "new", "new", "new"]
        );
        assert_eq!(requests[3].error_code.as_deref(), Some(code));
        assert!(
            requests[1..]
                .iter()
                .all(|request| request.upload_id == uploaded.upload_id)
        );
    }
}

#[test]
fn credentials_expired_without_refresh_fail_and_keep_checkpoint() {
    let t = sts_harness();
    let path = t.file("f", 4 * PART);
    t.refuse_part(3);
    bucket(&t, sts())
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    t.server.expire_credentials("sts-id");
    t.server.clear_requests();
    let error = bucket(&t, sts())
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(error.is_resumable());
    assert!(error.to_string().contains("expired"), "{error}");
    assert!(
        (1..=2).contains(&t.server.requests().len()),
        "{:?}",
        t.server.requests()
    );
    assert_eq!(t.server.uploads()[0].parts.len(), 2);
    t.assert_files(&["f", "f.cp"]);
    t.server.clear_requests();
    t.server.add_credentials("fresh", "secret", None);
    let fresh = bucket(&t, Credentials::new("fresh", "secret"));
    let uploaded = fresh
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
    assert_eq!((uploaded.parts_resumed, t.parts_sent()), (2, vec![3, 4]));
}

#[test]
fn credentials_error_has_the_code_of_oss() {
    let t = sts_harness();
    let path = t.file("f", 1);
    for (credentials, code) in [
        (sts().with_security_token("other"), "InvalidSecurityToken"),
        (sts(), "SecurityTokenExpired"),
    ] {
        if code == "SecurityTokenExpired" {
            t.server.expire_credentials("sts-id");
        }
        t.server.clear_requests();
        let error = bucket(&t, credentials)
            .upload_file("o", &path, PART, [])
            .unwrap_err();
        assert!((1..=2).contains(&t.server.requests().len()));
        assert_eq!(error.service_code(), Some(code), "{error}");
        assert!(
            error.request_id().is_some() && error.is_resumable(),
            "{error}"
        );
    }
}

#[test]
fn credentials_provider_error_is_shown_once() {
    let t = Harness::new();
    let fails = bucket(&t, || Err("the key service is down".into()));
    let error = fails
        .upload_file("o", t.file("f", 2 * PART), PART, [checkpoint(true, "")])
        .unwrap_err();
    let Error::Credentials { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(source.to_string(), "the key service is down");
    // The message holds the cause, so `source()` does not repeat it.
    assert!(std::error::Error::source(&error).is_none());
    let text = error.to_string();
    assert_eq!(text.matches("the key service is down").count(), 1, "{text}");
    assert!(error.is_resumable());
    assert_eq!(t.server.requests().len(), 0);
    t.assert_nothing_left(&["f"]);
    let fails = bucket(&t, || Err("two\nlines".into()));
    let error = fails.upload_file("o", t.path("f"), PART, []).unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn credentials_provider_failing_during_upload_loses_no_part() {
    let t = Harness::new();
    let path = t.file("f", 4 * PART);
    let asked = AtomicUsize::new(0);
    let fails = bucket(&t, move || match asked.fetch_add(1, Ordering::Relaxed) {
        ..3 => Ok(Credentials::new("ak", "sk")),
        _ => Err("the key service is down".into()),
    });
    let error = fails
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    assert_eq!(t.parts_sent(), [1, 2]);
    let uploaded = t.upload([checkpoint(true, "")]).unwrap();
    assert_eq!(
        (uploaded.parts_resumed, t.parts_sent()),
        (2, vec![1, 2, 3, 4])
    );
    t.assert_stored("o", &path);
}

#[test]
fn credentials_unfit_for_headers_are_rejected_by_name() {
    let t = Harness::new();
    let path = t.file("f", 1);
    for (credentials, name) in [
        (Credentials::new("ak\n", SECRET), "AccessKey ID"),
        (Credentials::new("", SECRET), "AccessKey ID"),
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
        let error = bucket(&t, credentials)
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
    assert_eq!(t.server.requests().len(), 0);
    let error = Client::new(
        "http://oss-cn-hangzhou.aliyuncs.com",
        "ak",
        format!("{SECRET}\n"),
    )
    .unwrap_err();
    assert!(
        matches!(error, Error::Credentials { .. }) && !format!("{error}{error:?}").contains("hush")
    );
    let error = Client::builder(&t.server.endpoint())
        .region("cn-hangzhou")
        .build()
        .unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
}

/// The variable with the file that a child process uploads.
const UPLOAD: &str = "CHILD_UPLOADS";

/// The variable that is set in child processes.
const CHILD: &str = "OSS_UPLOAD_TEST_CHILD";

/// Runs one of the tests below in a process of its own, with these variables of ours and no others.
/// Returns what it printed.
fn child(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        &format!("credentials::{test}"),
        "--exact",
        "--nocapture",
        "--include-ignored",
    ]);
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
    let printed =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

/// What `credentials_and_client_from_environment` runs.
#[test]
#[ignore = "not a test: other tests of this module run it in a process of its own"]
fn credentials_child_from_env() {
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
fn credentials_and_client_from_environment() {
    let t = sts_harness();
    let (endpoint, path) = (t.server.endpoint(), t.file("f", 2 * PART));
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
    let output = child(
        "credentials_child_from_env",
        &[endpoint, region, id, secret, token, upload],
    );
    t.assert_stored("o", &path);
    assert!(!output.contains("hush"), "{output}");

    let requests = t.server.requests().len();
    let line_end = format!("{SECRET}\n");
    let oss = (
        "OSS_ENDPOINT",
        "http://oss-cn-hangzhou-internal.aliyuncs.com",
    );
    for (variables, wanted) in [
        (vec![id, secret], "client: invalid endpoint: OSS_ENDPOINT"),
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
            "secret ends with whitespace",
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
        let output = child("credentials_child_from_env", &variables);
        assert!(output.contains(wanted), "{variables:?}: {output}");
        assert!(!output.contains("hush"), "{output}");
    }
    assert_eq!(t.server.requests().len(), requests);
}

#[test]
fn proxy_from_environment_is_used_where_it_applies() {
    let t = Harness::new();
    let proxy = Proxy::start(t.server.address());
    let (proxy_url, path) = (format!("http://{}", proxy.address), t.file("f", 1));
    let endpoint = t.server.endpoint();
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
        child("credentials_child_from_env", &variables);
        t.assert_stored("o", &path);
        t.server.remove_object("examplebucket", "o");
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

/// Prints every log record, except the dump of the protocol that only `ureq_proto=trace` enables.
struct PrintingLogger;

impl log::Log for PrintingLogger {
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

/// What `credentials_secrets_are_never_printed` runs.
#[test]
#[ignore = "not a test: other tests of this module run it in a process of its own"]
fn credentials_child_that_prints_everything() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let Ok(path) = std::env::var(UPLOAD) else {
        return;
    };
    log::set_logger(&PrintingLogger).unwrap();
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
                "checkpoint: {:?}",
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
fn credentials_secrets_are_never_printed() {
    let t = sts_harness();
    let (endpoint, path) = (t.server.endpoint(), t.file("f", 2 * PART));
    for _ in [SignatureVersion::V1, SignatureVersion::V4] {
        t.refuse_part(2);
    }
    let output = child(
        "credentials_child_that_prints_everything",
        &[
            ("OSS_ENDPOINT", &endpoint),
            ("OSS_ACCESS_KEY_ID", "sts-id"),
            ("OSS_ACCESS_KEY_SECRET", SECRET),
            ("OSS_SESSION_TOKEN", TOKEN),
            (UPLOAD, path.to_str().unwrap()),
        ],
    );
    for expected in [
        "DEBUG oss_upload",
        "DEBUG ureq",
        "uploaded: Uploaded",
        "SignatureDoesNotMatch",
        "oss-upload checkpoint 2",
    ] {
        assert!(
            output.contains(expected),
            "{expected} is missing in {output}"
        );
    }
    for secret in ["hush", "Signature=", "OSS sts-id:"] {
        let line = output.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    let forged = output.lines().find(|line| line.starts_with("FORGED"));
    assert_eq!(forged, None, "a key must not start a line of the log");
}

//! Credentials that are fetched: through the public API, in uploads, and from the environment of a process.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::credentials::{
    CredentialsUri, DefaultChain, EcsRamRole, OidcRole, Process, Profile,
};
use oss_upload::{Client, Error, ProvideCredentials, RetryPolicy, routines};

const SECRET: &str = "hush-secret-0123456789";
const TOKEN: &str = "hush-token-0123456789";
const PART: u64 = 100 * 1024;

/// Responds to everything by a function of the request line and of how many came before.
struct Service {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Service {
    fn start(handler: impl Fn(&str, usize) -> (u16, String) + Send + Sync + 'static) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Service {
            address: listener.local_addr().unwrap(),
            lines: Arc::default(),
            is_over: Arc::default(),
        };
        let (lines, is_over) = (Arc::clone(&service.lines), Arc::clone(&service.is_over));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                respond(stream.unwrap(), &lines, &handler);
            }
        });
        service
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// One request for each connection.
fn respond(
    mut stream: TcpStream,
    lines: &Mutex<Vec<String>>,
    handler: &dyn Fn(&str, usize) -> (u16, String),
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
    let before = {
        let mut lines = lines.lock().unwrap();
        lines.push(line.clone());
        lines.len() - 1
    };
    let (status, body) = handler(&line, before);
    let length = body.len();
    let response = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(response.as_bytes());
}

/// Credentials of the local OSS server.
fn credentials() -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"sts-id","AccessKeySecret":"{SECRET}",
            "SecurityToken":"{TOKEN}","Expiration":"2099-12-31T23:59:59Z"}}"#
    )
}

/// The metadata service of an instance that has a role.
fn metadata() -> Service {
    Service::start(|line, _| match line {
        "PUT /latest/api/token" => (200, "hush-metadata".into()),
        line if line.ends_with("/security-credentials/") => (200, "upload-role".into()),
        _ => (200, credentials()),
    })
}

fn server() -> LocalOss {
    let builder = LocalOss::builder().credentials("sts-id", SECRET);
    builder.token(TOKEN).start().unwrap()
}

fn client(server: &LocalOss, provider: impl ProvideCredentials + 'static) -> Client {
    Client::builder(&server.endpoint())
        .credentials(provider)
        .region("cn-hangzhou")
        .no_proxy()
        .retry(RetryPolicy::default().base_delay(Duration::from_millis(2)))
        .build()
        .unwrap()
}

/// Uploads a file of so many parts, by four threads.
fn upload(client: &Client, parts: usize) -> Result<(), Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; parts * PART as usize]).unwrap();
    let bucket = client.bucket("examplebucket").unwrap();
    bucket
        .upload_file("object", file.path(), PART, [routines(4)])
        .map(drop)
}

#[test]
fn provider_ecs_role_signs_an_upload_with_one_fetch() {
    let (server, metadata) = (server(), metadata());
    let client = client(&server, EcsRamRole::new().endpoint(metadata.url()));
    upload(&client, 12).unwrap();
    let bucket = client.bucket("examplebucket").unwrap();
    thread::scope(|scope| {
        for thread in 0..8 {
            let bucket = &bucket;
            let file = tempfile::NamedTempFile::new().unwrap();
            scope.spawn(move || {
                let key = format!("small-{thread}");
                bucket.upload_file(&key, file.path(), PART, []).unwrap();
            });
        }
    });
    assert_eq!(metadata.lines().len(), 3);
    assert!(server.requests().len() >= 12 + 2 + 8);
    let requests = server.requests();
    let has_token = |index: usize| requests[index].header("x-oss-security-token") == Some(TOKEN);
    assert!((0..requests.len()).all(has_token));
}

#[test]
fn provider_outage_is_retried_by_the_retry_policy() {
    let server = server();
    let uri = Service::start(|_, before| match before {
        0 | 1 => (503, "hush".into()),
        _ => (200, credentials()),
    });
    let provider = CredentialsUri::new(format!("{}/?key=hush", uri.url()));
    upload(&client(&server, provider), 1).unwrap();
    assert_eq!(uri.lines(), vec!["GET /?key=hush"; 3]);
}

#[test]
fn provider_failure_that_is_final_is_not_retried() {
    let server = server();
    for (status, fetches, is_resumable) in [(404, 1, false), (503, 5, true)] {
        let uri = Service::start(move |_, _| (status, "hush".into()));
        let provider = CredentialsUri::new(uri.url());
        let error = upload(&client(&server, provider), 1).unwrap_err();
        assert!(matches!(error, Error::Credentials { .. }), "{error}");
        assert_eq!(error.is_resumable(), is_resumable, "{error}");
        let message = error.to_string();
        assert!(
            message.starts_with("no credentials: credentials URI: GET http"),
            "{message}"
        );
        assert!(!message.contains("hush"), "{message}");
        assert_eq!(uri.lines().len(), fetches, "{message}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn provider_fetches_again_when_the_credentials_are_refused() {
    let server = server();
    let uri = Service::start(|_, before| match before {
        0 => (200, credentials().replace(TOKEN, "hush-revoked")),
        _ => (200, credentials()),
    });
    let fault = Fault::Status {
        status: 403,
        code: "SecurityTokenExpired".into(),
        retry_after: None,
    };
    server.inject(
        Rule::new(fault)
            .on(Operation::InitiateMultipartUpload)
            .times(1),
    );
    upload(&client(&server, CredentialsUri::new(uri.url())), 3).unwrap();
    assert_eq!(uri.lines().len(), 2);
}

#[test]
fn provider_debug_shows_no_secret() {
    let all = [
        format!(
            "{:?}",
            CredentialsUri::new("http://127.0.0.1/path?key=hush")
        ),
        format!("{:?}", CredentialsUri::new("http://hush@127.0.0.1/")),
        format!("{:?}", Process::new("/bin/issue --key hush")),
        format!("{:?}", EcsRamRole::new().role("upload-role")),
        format!("{:?}", Profile::new().path("/c.json").name("uploads")),
        format!("{:?}", DefaultChain::new()),
    ];
    assert!(all.iter().all(|debug| !debug.contains("hush")), "{all:?}");
    assert!(all[0].contains("http://127.0.0.1/path") && all[2].contains("/bin/issue"));
    assert!(
        all[3].contains("upload-role") && all[4].contains("uploads"),
        "{all:?}"
    );
}

#[test]
fn provider_profile_at_a_path_is_read_in_either_format() {
    let dir = tempfile::tempdir().unwrap();
    let json = format!(
        r#"{{"profiles": [{{"name": "p", "mode": "StsToken", "access_key_id": "sts-id",
            "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}"}}]}}"#
    );
    let ini = format!(
        "[p]\ntype = sts\naccess_key_id = sts-id\naccess_key_secret = {SECRET}\n\
         security_token = {TOKEN}\n"
    );
    let server = server();
    for (name, text) in [
        ("c.json", &json),
        ("c", &json),
        ("c.ini", &ini),
        ("d", &ini),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        upload(&client(&server, Profile::new().path(&path).name("p")), 1).unwrap();
    }
    let missing = Profile::new().path(dir.path().join("none")).name("p");
    let error = upload(&client(&server, missing), 1).unwrap_err();
    assert!(
        error.to_string().contains("cannot read") && !error.is_resumable(),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn provider_process_signs_an_upload() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials.json");
    let json = format!(
        r#"{{"mode": "StsToken", "access_key_id": "sts-id", "access_key_secret": "{SECRET}",
            "sts_token": "{TOKEN}"}}"#
    );
    std::fs::write(&path, json).unwrap();
    let server = server();
    let command = format!("/bin/cat '{}'", path.display());
    upload(&client(&server, Process::new(command)), 3).unwrap();
    let failing = Process::new("/bin/sh -c 'echo session is over >&2; exit 7' hush");
    let error = upload(&client(&server, failing), 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no credentials: process: \"/bin/sh\" failed: exit code 7: session is over"
    );
    assert!(error.is_resumable());
}

/// Runs the test of this name once more, in a process whose environment has no variable of Alibaba
/// Cloud but these. Returns `true` in that process, which then does the test.
fn with_environment(test: &str, variables: &[(&str, &str)]) -> bool {
    const MARK: &str = "OSS_UPLOAD_TEST_PROVIDERS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if ["ALIBABA_CLOUD_", "OSS_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    let home = tempfile::tempdir().unwrap();
    let output = command
        .args([&format!("providers::{test}"), "--exact", "--nocapture"])
        .env(MARK, "1")
        .env("HOME", home.path())
        .env("USERPROFILE", home.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn provider_chain_reads_the_variables_of_the_process() {
    let variables = [
        ("OSS_ACCESS_KEY_ID", "sts-id"),
        ("OSS_ACCESS_KEY_SECRET", SECRET),
        ("OSS_SESSION_TOKEN", TOKEN),
    ];
    if with_environment(
        "provider_chain_reads_the_variables_of_the_process",
        &variables,
    ) {
        let server = server();
        upload(&client(&server, DefaultChain::new()), 2).unwrap();
    }
}

#[test]
fn provider_chain_asks_the_uri_of_the_environment() {
    let uri = Service::start(|_, _| (200, credentials()));
    let url = uri.url();
    let variables = [
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ("ALIBABA_CLOUD_CREDENTIALS_URI", url.as_str()),
        // A proxy would not be asked for a loopback address.
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
    ];
    if with_environment("provider_chain_asks_the_uri_of_the_environment", &variables) {
        let server = server();
        upload(&client(&server, DefaultChain::new()), 2).unwrap();
    } else {
        assert_eq!(uri.lines(), ["GET /"]);
    }
}

#[test]
fn provider_chain_without_any_source_is_final() {
    let variables = [("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")];
    if with_environment("provider_chain_without_any_source_is_final", &variables) {
        let server = server();
        let error = upload(&client(&server, DefaultChain::new()), 1).unwrap_err();
        let message = error.to_string();
        assert!(!error.is_resumable(), "{message}");
        for expected in [
            "no source of credentials is configured",
            "OSS_ACCESS_KEY_ID",
            "~/.aliyun/config.json does not exist",
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED is true",
        ] {
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }
}

#[test]
fn provider_ecs_role_uses_no_proxy_of_the_environment() {
    let metadata = metadata();
    let url = metadata.url();
    let variables = [
        ("TEST_METADATA", url.as_str()),
        ("ALIBABA_CLOUD_ECS_METADATA", "upload-role"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    if with_environment(
        "provider_ecs_role_uses_no_proxy_of_the_environment",
        &variables,
    ) {
        let provider = EcsRamRole::new().endpoint(std::env::var("TEST_METADATA").unwrap());
        assert!(provider.credentials().is_ok());
    } else {
        assert_eq!(metadata.lines().len(), 2);
    }
}

#[test]
fn provider_oidc_role_reads_the_environment() {
    let sts = Service::start(|_, _| (200, format!(r#"{{"Credentials":{}}}"#, credentials())));
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "hush-oidc").unwrap();
    let url = sts.url();
    let variables = [
        ("TEST_STS", url.as_str()),
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/upload"),
        (
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "acs:ram::1:oidc-provider/ack",
        ),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
    ];
    if with_environment("provider_oidc_role_reads_the_environment", &variables) {
        let provider = OidcRole::from_env().unwrap();
        let provider = provider.sts_endpoint(std::env::var("TEST_STS").unwrap());
        let debug = format!("{provider:?}");
        assert!(
            debug.contains("acs:ram::1:role/upload") && !debug.contains("hush"),
            "{debug}"
        );
        let server = server();
        upload(&client(&server, provider), 2).unwrap();
    } else {
        let lines = sts.lines();
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("POST /?Action=AssumeRoleWithOIDC&"),
            "{lines:?}"
        );
    }
}

#[test]
fn provider_oidc_role_without_its_variables_says_which() {
    if with_environment("provider_oidc_role_without_its_variables_says_which", &[]) {
        let error = OidcRole::from_env().unwrap_err();
        assert_eq!(
            error.to_string(),
            "no credentials: OIDC role: neither ALIBABA_CLOUD_OIDC_TOKEN_FILE nor \
             ALIBABA_CLOUD_OIDC_PROVIDER_ARN is set"
        );
        assert!(!error.is_resumable());
    }
}

//! STS credentials that are fetched over HTTP and renewed during an upload.
//!
//! For the usual sources nothing has to be written: with the feature `credential-providers`,
//! `oss_upload::credentials` has providers for the role of an ECS instance, OIDC, a URI, a profile,
//! a command, and the default chain of these. This example is for a service of your own.
//!
//! [`StsCredentials`] is the part to copy. The rest is a local OSS server, and a stand-in for
//! the service that issues the credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use local_oss::{LocalOss, Operation};
use oss_upload::{Client, Credentials, ProvideCredentials, bandwidth_limit, routines};
use tinyjson::JsonValue;

type BoxError = Box<dyn Error + Send + Sync>;

/// Credentials from a URL that responds with JSON. It may be the one that
/// `ALIBABA_CLOUD_CREDENTIALS_URI` names. On an ECS instance with a role it may be
/// `http://100.100.100.200/latest/meta-data/ram/security-credentials/<role>`, in normal mode;
/// in hardened mode the instance requires a token.
struct StsCredentials {
    url: String,
    agent: ureq::Agent,
    /// How long before their expiration the credentials are renewed.
    margin: Duration,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    credentials: Credentials,
    expiration: SystemTime,
}

impl StsCredentials {
    fn new(url: impl Into<String>, margin: Duration) -> StsCredentials {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .proxy(None);
        StsCredentials {
            url: url.into(),
            agent: config.build().new_agent(),
            margin,
            cached: Mutex::default(),
        }
    }

    fn fetch(&self) -> Result<Cached, BoxError> {
        let text = self
            .agent
            .get(&self.url)
            .call()?
            .body_mut()
            .read_to_string()?;
        let json: JsonValue = text.parse()?;
        let JsonValue::Object(fields) = &json else {
            return Err("the response is not a JSON object".into());
        };
        let field = |name: &str| {
            let value = fields.get(name).and_then(|value| value.get::<String>());
            value.ok_or_else(|| format!("the response has no {name}"))
        };
        let credentials = Credentials::new(field("AccessKeyId")?, field("AccessKeySecret")?)
            .with_security_token(field("SecurityToken")?);
        Ok(Cached {
            credentials,
            expiration: humantime::parse_rfc3339(field("Expiration")?)?,
        })
    }
}

impl ProvideCredentials for StsCredentials {
    /// Called before every request, on every thread of the upload.
    fn credentials(&self) -> Result<Credentials, BoxError> {
        // Locked while they are fetched, so that only one thread fetches them.
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let old = cached.as_ref().filter(|old| old.expiration > now);
        if let Some(old) = old.filter(|old| old.expiration > now + self.margin) {
            return Ok(old.credentials.clone());
        }
        match (self.fetch(), old) {
            (Ok(new), _) => Ok(cached.insert(new).credentials.clone()),
            // Not renewed, but still valid. The next request tries to renew them again.
            (Err(_), Some(old)) => Ok(old.credentials.clone()),
            (Err(error), None) => Err(format!("{}: {error}", self.url).into()),
        }
    }
}

const SIZE: usize = 64 << 20;
const PART_SIZE: u64 = 8 << 20;
/// Bytes per second, so that the upload takes longer than the first token is valid.
const LIMIT: u64 = 16 << 20;
const FIRST_TOKEN_LIFETIME: Duration = Duration::from_secs(3);
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn Error>> {
    let server = Arc::new(LocalOss::start());
    // Real tokens are valid for an hour. For them, five minutes are usual.
    let credentials = StsCredentials::new(start_issuer(server.clone())?, Duration::from_secs(1));
    let client = Client::builder(&server.endpoint())
        .credentials(credentials)
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("examplefile.bin");
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&file, &bytes)?;

    let bucket = client.bucket("examplebucket")?;
    let options = [routines(2), bandwidth_limit(LIMIT)];
    let uploaded = bucket.upload_file("examplefile.bin", &file, PART_SIZE, options)?;
    println!(
        "{} is complete: {} bytes, {} parts",
        uploaded.key, uploaded.size, uploaded.parts
    );
    check(&server)
}

/// Prints which tokens the parts were sent with, and checks that the token was renewed once,
/// during a single upload.
fn check(server: &LocalOss) -> Result<(), Box<dyn Error>> {
    let (mut tokens, mut upload_ids) = (BTreeMap::new(), BTreeSet::new());
    for request in server
        .requests()
        .iter()
        .filter(|request| request.operation == Operation::UploadPart)
    {
        let token = request
            .header("x-oss-security-token")
            .unwrap_or("none")
            .to_owned();
        *tokens.entry(token).or_insert(0) += 1;
        upload_ids.extend(request.upload_id.clone());
    }
    for (token, parts) in &tokens {
        println!("{parts} parts were sent with {token}");
    }
    println!("upload ids: {}", upload_ids.len());
    match (tokens.len(), upload_ids.len()) {
        (2, 1) => Ok(()),
        _ => Err("the token was not renewed once, during a single upload".into()),
    }
}

/// Starts a service that issues credentials which the server accepts. Returns its URL. Each time,
/// the credentials that it issued before expire at once, which real ones do not.
fn start_issuer(server: Arc<LocalOss>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/credentials", listener.local_addr()?);
    thread::spawn(move || {
        for (index, connection) in listener.incoming().enumerate() {
            let id = format!("STS.{index}");
            let secret = format!("secret-{index}");
            let token = format!("token-{index}");
            server.add_credentials(&id, &secret, Some(&token));
            if let Some(previous) = index.checked_sub(1) {
                server.expire_credentials(&format!("STS.{previous}"));
            }
            let lifetime = if index == 0 {
                FIRST_TOKEN_LIFETIME
            } else {
                TOKEN_LIFETIME
            };
            let expiration = humantime::format_rfc3339_seconds(SystemTime::now() + lifetime);
            println!("issuer: {token}, valid until {expiration}");
            let body = format!(
                r#"{{
                    "Code": "Success",
                    "AccessKeyId": "{id}",
                    "AccessKeySecret": "{secret}",
                    "SecurityToken": "{token}",
                    "Expiration": "{expiration}"
                }}"#
            );
            if let Err(error) = connection.and_then(|stream| respond(&stream, &body)) {
                eprintln!("issuer: {error}");
            }
        }
    });
    Ok(url)
}

fn respond(mut stream: &TcpStream, body: &str) -> io::Result<()> {
    let mut head = BufReader::new(stream).lines();
    while head
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

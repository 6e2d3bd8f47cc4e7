//! A local stand-in for Alibaba Cloud OSS, for development without an account.
#![forbid(unsafe_code)]

mod signals;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};
use local_oss::{LocalOss, Rule};

/// The time that running requests have to finish when the program stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const HELP: &str = "\
local-oss: a strict local stand-in for Alibaba Cloud OSS

Usage: local-oss [OPTIONS]

  --host HOST              the address to listen on [127.0.0.1]
  --port PORT              the port to listen on; 0 for a free one [9000]
  --dir DIR                keep objects and unfinished uploads in this directory [in memory]
  --bucket NAME            a bucket besides examplebucket; may be given again
  --any-bucket             create a bucket when it is first used
  --access-key-id ID       the credentials to accept [ak]
  --access-key-secret KEY  [sk]
  --security-token TOKEN   the STS token that must come with them [none]
  --region REGION          the region that V4 signatures must name [cn-hangzhou]
  --no-v1                  reject V1 signatures
  --fault RULE             a fault to inject, for example ResetAfterApply,on=UploadPart,part=2 or
                           Status,status=503,code=SlowDown,times=3; may be given again
  --quiet                  do not print each request
  --help                   print this text
";

/// The command-line arguments.
struct Arguments {
    host: String,
    port: u16,
    dir: Option<PathBuf>,
    buckets: Vec<String>,
    any_bucket: bool,
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    region: String,
    allow_v1: bool,
    faults: Vec<Rule>,
    quiet: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("local-oss: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let Some(arguments) = parse().map_err(|error| format!("{error}; see --help"))? else {
        print!("{HELP}");
        return Ok(());
    };
    let mut signals =
        signals::Signals::listen().map_err(|error| format!("cannot handle signals: {error}"))?;
    let server = start(&arguments)?;
    for rule in &arguments.faults {
        server.inject(rule.clone());
    }
    describe(&arguments, &server);
    signals.wait();
    // A second signal stops the program immediately.
    std::thread::spawn(move || {
        signals.wait();
        std::process::exit(1);
    });
    server.shut_down(STOP_TIMEOUT);
    Ok(())
}

fn parse() -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments {
        host: "127.0.0.1".to_owned(),
        port: 9000,
        dir: None,
        buckets: Vec::new(),
        any_bucket: false,
        access_key_id: "ak".to_owned(),
        access_key_secret: "sk".to_owned(),
        security_token: None,
        region: "cn-hangzhou".to_owned(),
        allow_v1: true,
        faults: Vec::new(),
        quiet: false,
    };
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("host") => arguments.host = parser.value()?.string()?,
            Arg::Long("port") => arguments.port = parsed(&mut parser, "port")?,
            Arg::Long("dir") => arguments.dir = Some(parser.value()?.into()),
            Arg::Long("bucket") => arguments.buckets.push(parser.value()?.string()?),
            Arg::Long("any-bucket") => arguments.any_bucket = true,
            Arg::Long("access-key-id") => arguments.access_key_id = parser.value()?.string()?,
            Arg::Long("access-key-secret") => {
                arguments.access_key_secret = parser.value()?.string()?
            }
            Arg::Long("security-token") => {
                arguments.security_token = Some(parser.value()?.string()?)
            }
            Arg::Long("region") => arguments.region = parser.value()?.string()?,
            Arg::Long("no-v1") => arguments.allow_v1 = false,
            Arg::Long("fault") => arguments.faults.push(parsed(&mut parser, "fault")?),
            Arg::Long("quiet") => arguments.quiet = true,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(arguments))
}

fn parsed<T: FromStr<Err: Display>>(parser: &mut Parser, option: &str) -> Result<T, lexopt::Error> {
    let text = parser.value()?.string()?;
    text.parse()
        .map_err(|error| format!("--{option} {text:?}: {error}").into())
}

fn start(arguments: &Arguments) -> Result<LocalOss, String> {
    let host = &arguments.host;
    let bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if bare_ipv6 {
        format!("[{host}]")
    } else {
        host.clone()
    };
    let address = format!("{host}:{}", arguments.port);
    let mut builder = LocalOss::builder()
        .address(&address)
        .any_bucket(arguments.any_bucket)
        .credentials(&arguments.access_key_id, &arguments.access_key_secret)
        .region(&arguments.region)
        .allow_v1(arguments.allow_v1)
        .log(!arguments.quiet);
    for bucket in &arguments.buckets {
        builder = builder.bucket(bucket);
    }
    if let Some(dir) = &arguments.dir {
        builder = builder.dir(dir);
    }
    if let Some(token) = &arguments.security_token {
        builder = builder.token(token);
    }
    builder.start().map_err(|error| error.to_string())
}

/// Prints the settings that a client needs, and a line for the shell. The secret is printed only if
/// it is the default.
fn describe(arguments: &Arguments, server: &LocalOss) {
    let given = |secret: bool| if secret { "(as given)" } else { "none" };
    let mut buckets = vec!["examplebucket"];
    buckets.extend(arguments.buckets.iter().map(String::as_str));
    buckets.extend(arguments.any_bucket.then_some("any other"));
    let secret = if arguments.access_key_secret == "sk" {
        "sk"
    } else {
        given(true)
    };
    let store = arguments
        .dir
        .as_ref()
        .map_or("memory".to_owned(), |dir| dir.display().to_string());
    let mut text = String::new();
    for (name, value) in [
        ("endpoint", server.endpoint()),
        ("region", arguments.region.clone()),
        ("buckets", buckets.join(", ")),
        ("access key ID", arguments.access_key_id.clone()),
        ("access key secret", secret.to_owned()),
        (
            "security token",
            given(arguments.security_token.is_some()).to_owned(),
        ),
        (
            "signatures",
            if arguments.allow_v1 { "V4, V1" } else { "V4" }.to_owned(),
        ),
        ("store", store),
    ] {
        text.push_str(&format!("{name:<19}{value}\n"));
    }
    let mut export = "export".to_owned();
    for (name, value) in [
        ("OSS_ENDPOINT", server.endpoint()),
        ("OSS_REGION", arguments.region.clone()),
        ("OSS_ACCESS_KEY_ID", arguments.access_key_id.clone()),
    ] {
        export.push_str(&format!(" {name}={}", quoted(&value)));
    }
    if secret == "sk" {
        export.push_str(" OSS_ACCESS_KEY_SECRET=sk");
    }
    // The reader of standard output may be gone; the server runs on.
    let _ = writeln!(
        std::io::stdout(),
        "{text}{export}\nCtrl-C stops the server."
    );
}

/// Quotes a value for a POSIX shell.
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    match value.chars().all(is_plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', r"'\''")),
    }
}

//! The sources against real servers and files, and the cache against a virtual clock.

mod cache;
mod chain;
mod ecs;
mod oidc;
#[cfg(unix)]
mod process;
mod profile;
mod server;
mod uri;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Fetch;
use super::cache::Cache;
use super::failure::{Failure, Kind};
use crate::client::{Clock, VirtualClock};
use crate::credentials::{Credentials, InvalidCredentials};
use crate::time;

/// A provider with a clock of its own.
struct Provider<S> {
    source: S,
    cache: Cache,
    clock: Arc<VirtualClock>,
}

impl<S: Fetch> Provider<S> {
    fn new(source: S) -> Provider<S> {
        let clock = Arc::new(VirtualClock::new());
        Provider {
            source,
            cache: Cache::with_clock(Box::new(Arc::clone(&clock))),
            clock,
        }
    }

    /// Returns the AccessKey ID, or the error's message and whether it is worth a retry.
    fn id(&self) -> Result<String, (String, bool)> {
        match self.cache.get(&self.source) {
            Ok(credentials) => Ok(credentials.id().to_owned()),
            Err(error) => Err((error.to_string(), !error.is::<InvalidCredentials>())),
        }
    }

    fn final_failure(&self) -> String {
        let (message, is_transient) = self.id().unwrap_err();
        assert!(!is_transient, "{message}");
        assert_shows_no_secret(&message);
        message
    }

    fn transient_failure(&self) -> String {
        let (message, is_transient) = self.id().unwrap_err();
        assert!(is_transient, "{message}");
        assert_shows_no_secret(&message);
        message
    }

    fn advance(&self, seconds: u64) {
        self.clock.wait(Duration::from_secs(seconds));
    }
}

#[track_caller]
fn assert_shows_no_secret(message: &str) {
    assert!(!message.contains("hush"), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

/// What a service responds with: credentials that are valid for so many seconds after `clock`.
fn credentials_json(clock: &dyn Clock, id: &str, seconds: u64) -> String {
    let expiration = clock.now() + Duration::from_secs(seconds);
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{id}","AccessKeySecret":"hush-secret",
            "SecurityToken":"hush-token","Expiration":"{}"}}"#,
        time::format_rfc3339(expiration)
    )
}

/// What must not be taken for credentials, and what the message says of it.
fn wrong_responses() -> Vec<(String, &'static str)> {
    let good = credentials_json(&VirtualClock::new(), "id", 3600);
    let mut wrong = vec![
        (String::new(), "is empty"),
        ("<html><body>hush</body></html>".into(), "is not valid JSON"),
        (good[..good.len() / 2].into(), "is not valid JSON"),
        ("[]".into(), "is not a JSON object"),
        ("[".repeat(60_000), "is nested too deeply"),
        (" ".repeat(70_000), "larger than 65536 bytes"),
        (good.replace("Success", "Failed"), "code \"Failed\""),
        (good.replace("hush-secret", "hush secret"), "whitespace"),
        (
            good.replace("\"hush-secret\"", "null"),
            "has no AccessKeySecret",
        ),
        (
            good.replace("\"hush-token\"", "\"\""),
            "has no SecurityToken",
        ),
    ];
    for field in [
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ] {
        let expected = match field {
            "AccessKeyId" => "has no AccessKeyId",
            "AccessKeySecret" => "has no AccessKeySecret",
            "SecurityToken" => "has no SecurityToken",
            _ => "has no Expiration",
        };
        wrong.push((good.replace(&format!("\"{field}\""), "\"Other\""), expected));
    }
    let start = good.find("Expiration\":\"").unwrap() + "Expiration\":\"".len();
    let not_a_time = format!("{}tomorrow\"}}", &good[..start]);
    wrong.push((not_a_time, "Expiration that is not a time"));
    wrong
}

/// 1.5 seconds are long where many tests share two cores.
const PATIENT: super::http::Timeouts = super::http::Timeouts {
    connect: Duration::from_secs(30),
    response: Duration::from_secs(30),
};

/// A port without a listener.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn failure_escapes_what_others_wrote() {
    let failure = Failure::permanent("a\nb\u{202e}").context("c");
    assert_eq!(failure.message, "c: a\\nb\\u{202e}");
    assert_eq!(failure.kind, Kind::Final);
}

#[test]
fn lifetime_is_measured_by_the_clock_of_the_issuer() {
    let credentials = Credentials::new("id", "secret");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let lifetime = |expiration| {
        super::Fetched::new("test", credentials.clone(), Some(expiration), now).lifetime
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(lifetime(now + hour), Some(hour));
    // They may be valid though the local clock says otherwise.
    assert_eq!(lifetime(now - hour), None);
    assert_eq!(lifetime(now), None);
}

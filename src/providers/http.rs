//! One exchange with a service that issues credentials.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use super::Fetched;
use super::failure::{Failure, Kind};
use super::json::Object;
use crate::client::Clock;
use crate::credentials::Credentials;
use crate::error::FailureKind;
use crate::protocol::request::{Header, Method, Response};
use crate::time;
use crate::transport::{
    HAS_TLS, HttpRequest, ProxyChoice, Transport, TransportConfig, TransportFactory,
};

/// Credentials have a few kilobytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// The address of the metadata service in every instance.
pub(super) const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// Of the thread that watches an exchange.
const STACK_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    /// From the request to the first byte of the response, and between two of its bytes.
    pub(super) response: Duration,
}

impl Timeouts {
    /// The longest that an exchange may take. Nobody can cancel it, so it must not go on for as
    /// long as somebody sends a byte now and then.
    fn total(self) -> Duration {
        self.connect + self.response * 2
    }
}

/// A service at one origin.
pub(super) struct Service {
    factory: TransportFactory,
    timeouts: Timeouts,
}

/// Why a request got no response that can be read.
pub(super) struct NoResponse {
    /// Names the peer.
    pub(super) reason: String,
    /// No connection could be made.
    pub(super) is_connect: bool,
    kind: Kind,
}

impl NoResponse {
    pub(super) fn into_failure(self, hint: &str) -> Failure {
        Failure::new(self.kind, format!("{}; {hint}", self.reason))
    }
}

impl Service {
    /// Link-local and loopback hosts are never behind a proxy; other ones use the environment's.
    pub(super) fn new(url: &Url, timeouts: Timeouts) -> Result<Service, Failure> {
        let proxy = match url.is_local() {
            true => ProxyChoice::None,
            false => ProxyChoice::Environment,
        };
        let config = TransportConfig {
            user_agent: concat!("oss-upload/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy,
            root_certificates: None,
        };
        let factory = TransportFactory::new(&config, &url.origin)
            .map_err(|error| Failure::permanent(error.to_string()))?;
        Ok(Service { factory, timeouts })
    }

    /// Sends one request and reads its response, whose status may be any.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        body: &str,
    ) -> Result<Response, NoResponse> {
        let request = HttpRequest {
            method,
            url,
            headers,
            body: &mut io::Cursor::new(body.as_bytes()),
            length: body.len() as u64,
            expect_continue: false,
            stall_timeout: self.timeouts.response,
            response_timeout: self.timeouts.response,
            connect_timeout: self.timeouts.connect,
        };
        let transport: Arc<dyn Transport> = Arc::new(self.factory.transport());
        let total = self.timeouts.total();
        let watchdog = watch(Arc::clone(&transport), total);
        let result = transport.send(request);
        drop(watchdog);
        let response = result.map_err(|error| match error.kind {
            FailureKind::Aborted => NoResponse {
                reason: format!("the response was not complete within {} s", total.as_secs()),
                is_connect: false,
                kind: Kind::Transient,
            },
            kind => NoResponse {
                reason: error.source.to_string(),
                is_connect: error.is_connect,
                kind: match kind.is_permanent() {
                    true => Kind::Final,
                    false => Kind::Transient,
                },
            },
        })?;
        if response.body.len() > BODY_BYTES_MAX {
            return Err(NoResponse {
                reason: format!("the response is larger than {BODY_BYTES_MAX} bytes"),
                is_connect: false,
                kind: Kind::Transient,
            });
        }
        Ok(response)
    }
}

/// Shuts the transport down after `limit`, unless what is returned was dropped before.
fn watch(transport: Arc<dyn Transport>, limit: Duration) -> Option<Sender<()>> {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        if receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            transport.shutdown();
        }
    };
    let builder = thread::Builder::new()
        .name("oss-upload-credentials".into())
        .stack_size(STACK_BYTES);
    // Without a thread the limits on silence still hold.
    builder.spawn(wait).is_ok().then_some(sender)
}

/// A URL that was checked enough to be sent and shown.
#[derive(Clone)]
pub(super) struct Url {
    /// `http://host:port`
    origin: String,
    host: String,
    /// Begins with a slash.
    path: String,
    /// Begins with a question mark, or is empty. It may hold a secret.
    query: String,
}

impl Url {
    /// Returns what is wrong with it; the reason follows the name of what it is.
    pub(super) fn parse(text: &str) -> Result<Url, &'static str> {
        let not_a_url = "is not a URL of the form http://host[:port]/path";
        let (scheme, rest) = text.split_once("://").ok_or(not_a_url)?;
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "http" => {}
            "https" if HAS_TLS => {}
            "https" => {
                return Err(
                    "uses https, but this build has no TLS; enable the feature rustls or native-tls",
                );
            }
            _ => return Err(not_a_url),
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("contains whitespace or a character that must be percent-encoded");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("contains a user name or a password, which is not supported");
        }
        let bracket = authority.find(']').map_or(0, |bracket| bracket + 1);
        let colon = authority[bracket..].find(':').map(|colon| bracket + colon);
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        let is_port = |port: &str| port[1..].parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || !(port.is_empty() || is_port(port)) {
            return Err(not_a_url);
        }
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        Ok(Url {
            origin: format!("{scheme}://{authority}"),
            host: host.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            query: query.to_owned(),
        })
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns all of it, to send.
    pub(super) fn full(&self) -> String {
        format!("{}{}{}", self.origin, self.path, self.query)
    }

    /// Returns it without its query, to show.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                address.is_loopback() || address.is_link_local() || address == METADATA_ADDRESS
            }
            Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// Reads temporary credentials from the JSON of the metadata service, of STS or of a URI.
pub(super) fn read_credentials(
    name: &str,
    object: &Object,
    response: &Response,
    clock: &dyn Clock,
) -> Result<Fetched, String> {
    let field = |field: &str| {
        let value = object.text(field);
        value.ok_or_else(|| format!("has no {field}"))
    };
    let credentials = Credentials::new(field("AccessKeyId")?, field("AccessKeySecret")?)
        .with_security_token(field("SecurityToken")?);
    credentials
        .check()
        .map_err(|problem| format!("cannot be used: {problem}"))?;
    let expiration = field("Expiration")?;
    let expiration = time::parse_rfc3339(expiration)
        .ok_or("has an Expiration that is not a time such as 2026-12-02T09:00:00Z")?;
    let now: SystemTime = response.date().unwrap_or_else(|| clock.now());
    Ok(Fetched::new(name, credentials, Some(expiration), now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_is_split_and_shown_without_its_query() {
        let url = Url::parse("HTTP://127.0.0.1:8080/a/b?token=hush#c").unwrap();
        assert_eq!(url.full(), "http://127.0.0.1:8080/a/b?token=hush");
        assert_eq!(url.shown(), "http://127.0.0.1:8080/a/b");
        assert_eq!(Url::parse("http://h?x").unwrap().full(), "http://h/?x");
        assert_eq!(
            Url::parse("http://[::1]:80").unwrap().shown(),
            "http://[::1]:80/"
        );
    }

    #[test]
    fn url_that_cannot_be_sent_is_refused() {
        for url in [
            "",
            "h",
            "ftp://h",
            "http://",
            "http:///p",
            "http://h:0",
            "http://h:x",
            "http://h:",
            "http://user:pw@h/",
            "http://h/a b",
            "http://h/\u{e9}",
            "http://h/\n",
        ] {
            assert!(Url::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn url_of_a_local_service_bypasses_proxies() {
        for url in [
            "http://100.100.100.200/x",
            "http://127.0.0.2:80",
            "http://169.254.170.2/v2",
            "http://[::1]/",
            "http://[fe80::1]:80/",
            "http://LOCALHOST:1",
        ] {
            assert!(Url::parse(url).unwrap().is_local(), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "http://100.100.100.201",
            "http://example.com",
        ] {
            assert!(!Url::parse(url).unwrap().is_local(), "{url}");
        }
    }
}

//! Bytes to a socket and back; the only place that names `ureq::`. Knows nothing of OSS.

mod proxy;

use std::io::{self, Read};
use std::time::Duration;

use ureq::config::{Config, ConfigBuilder};
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, SendBody, Timeout};

pub(crate) use proxy::ProxyChoice;

use crate::time;
use crate::error::{FailureKind, TransportFailure};
use crate::protocol::request::{Header, Method, Response};
use crate::{Error, Result};

/// What is kept of an answer: bytes. A page of ListParts has 250 KB; a callback's answer may have 3 MB.
const RESPONSE_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What is pulled from the body and written to the socket at a time: bytes for each connection. A part of the smallest size is
/// one write, and four of them stay in a core's cache.
const OUTPUT_BUFFER_BYTES: usize = 112 * 1024;
/// Answers are short.
const INPUT_BUFFER_BYTES: usize = 16 * 1024;
/// As many as an upload may have threads; ureq keeps 3 by itself.
const CONNECTIONS_MAX: usize = 100;
/// OSS closes a connection that was idle for a minute or so.
const IDLE_MAX: Duration = Duration::from_secs(45);

/// For timeouts that mean "never": what is longer overflows the clock.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Can HTTPS be spoken at all?
pub(crate) const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "native-tls"));

/// A signed request, ready for the wire.
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [Header],
    /// Exactly `length` bytes, or an error.
    pub(crate) body: &'a mut dyn Read,
    pub(crate) length: u64,
    /// Ask before sending the body.
    pub(crate) expect_continue: bool,
    /// The longest that one write may block, and the longest wait for the answer.
    pub(crate) stall_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct TransportError {
    pub(crate) source: io::Error,
    pub(crate) kind: FailureKind,
    pub(crate) is_connect: bool,
    pub(crate) was_reused: bool,
}

pub(crate) trait Transport: Send + Sync {
    fn send(&self, request: HttpRequest<'_>) -> Result<Response, TransportError>;
    /// Breaks what is under way, on whichever thread, and refuses all that follows.
    fn shutdown(&self);
    fn trim(&self);
}

#[derive(Clone, Debug)]
pub(crate) struct TransportConfig {
    pub(crate) user_agent: String,
    pub(crate) proxy: ProxyChoice,
    /// PEM; instead of the bundled ones.
    pub(crate) root_certificates: Option<Vec<u8>>,
}

/// Settings that have been checked; makes transports.
pub(crate) struct UreqConnector(Config);

impl UreqConnector {
    /// For the endpoint of that origin.
    pub(crate) fn new(config: &TransportConfig, origin: &str) -> Result<UreqConnector> {
        let proxy = config.proxy.resolve(origin)?;
        let base = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding("")
            .user_agent(config.user_agent.as_str())
            .proxy(proxy)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .max_idle_connections(CONNECTIONS_MAX)
            .max_idle_connections_per_host(CONNECTIONS_MAX)
            .max_idle_age(IDLE_MAX);
        Ok(UreqConnector(with_tls(base, config.root_certificates.as_deref())?.build()))
    }

    pub(crate) fn transport(&self) -> UreqTransport {
        UreqTransport(self.0.new_agent())
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn with_tls(
    config: ConfigBuilder<AgentScope>,
    root_certificates: Option<&[u8]>,
) -> Result<ConfigBuilder<AgentScope>> {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    let provider = if cfg!(feature = "rustls") { TlsProvider::Rustls } else { TlsProvider::NativeTls };
    let roots = match root_certificates {
        Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
        None if cfg!(feature = "rustls") && !cfg!(feature = "platform-verifier") => RootCerts::WebPki,
        None => RootCerts::PlatformVerifier,
    };
    Ok(config.tls_config(TlsConfig::builder().provider(provider).root_certs(roots).build()))
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn certificates(pem: &[u8]) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    use ureq::tls::{PemItem, parse_pem};
    let wrong = |why: &str| Error::option("root_certificates_pem", why);
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| {
            wrong("it is not valid PEM: between BEGIN and END CERTIFICATE there has to be base64")
        })? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        Err(wrong(
            "it holds no certificate: give PEM, which begins with -----BEGIN CERTIFICATE-----, and not DER",
        ))
    } else {
        Ok(certificates)
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
fn with_tls(
    config: ConfigBuilder<AgentScope>,
    root_certificates: Option<&[u8]>,
) -> Result<ConfigBuilder<AgentScope>> {
    match root_certificates {
        Some(_) => {
            let reason = "this build has no TLS: switch on the feature rustls or native-tls";
            Err(Error::option("root_certificates_pem", reason))
        }
        None => Ok(config),
    }
}

pub(crate) struct UreqTransport(Agent);

impl Transport for UreqTransport {
    fn send(&self, request: HttpRequest<'_>) -> Result<Response, TransportError> {
        let (url, patience) = (request.url, request.response_timeout);
        self.exchange(request).map_err(|error| failure(error, patience, || self.peer(url)))
    }

    fn shutdown(&self) {
        self.0.clone().shutdown();
    }

    fn trim(&self) {}
}

impl UreqTransport {
    /// Whom we connect to.
    fn peer(&self, url: &str) -> String {
        let Ok(uri) = url.parse::<ureq::http::Uri>() else { return url.to_owned() };
        if let Some(proxy) = self.0.config().proxy().filter(|proxy| !proxy.is_no_proxy(&uri)) {
            return format!("proxy {}:{}", proxy.host(), proxy.port());
        }
        uri.authority().map(|authority| authority.to_string()).unwrap_or_default()
    }

    fn exchange(&self, wire: HttpRequest<'_>) -> Result<Response, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(wire.method.name()).uri(wire.url);
        for (name, value) in wire.headers {
            let mut value = ureq::http::HeaderValue::from_str(value).map_err(ureq::http::Error::from)?;
            value.set_sensitive(is_secret(name));
            request = request.header(name.as_ref(), value);
        }
        if wire.expect_continue {
            // A refusal in place of the 100 is seen when the connection ends with it.
            request = request.header("expect", "100-continue").header("connection", "close");
        }
        let times = (wire.connect_timeout.min(TIMEOUT_MAX), wire.response_timeout.min(TIMEOUT_MAX));
        match wire.method {
            Method::Put | Method::Post => {
                let body = &mut { wire.body };
                let request = request.header("content-length", wire.length);
                self.run(request.body(SendBody::from_reader(body))?, times)
            }
            Method::Get | Method::Head | Method::Delete => self.run(request.body(())?, times),
        }
    }

    fn run(
        &self,
        request: ureq::http::Request<impl AsSendBody>,
        (connect_timeout, patience): (Duration, Duration),
    ) -> Result<Response, ureq::Error> {
        let request = self
            .0
            .configure_request(request)
            .timeout_connect(Some(connect_timeout))
            .timeout_per_write(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_recv_body(Some(patience))
            .build();
        let mut response = self.0.run(request)?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let body = response.body_mut().with_config().limit(RESPONSE_BODY_BYTES_MAX).read_to_vec()?;
        Ok(Response { status: response.status().as_u16(), headers, body })
    }
}

/// Kept out of ureq's own log lines.
fn is_secret(header: &str) -> bool {
    matches!(header, "authorization" | "x-oss-security-token")
}

fn failure(error: ureq::Error, patience: Duration, peer: impl Fn() -> String) -> TransportError {
    let never_sent = match &error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => true,
        ureq::Error::Io(error) => {
            is_lookup_failure(error)
                || matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused
                        | io::ErrorKind::HostUnreachable
                        | io::ErrorKind::NetworkUnreachable
                        | io::ErrorKind::AddrNotAvailable
                )
        }
        _ => false,
    };
    let permanent = match &error {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::BodyExceedsLimit(_)
        | ureq::Error::LargeResponseHeader(..) => false,
        _ => true,
    };
    let source = readable(error, patience);
    let source = match never_sent {
        true => io::Error::new(source.kind(), format!("{}: {source}", peer())),
        false => source,
    };
    let kind = if permanent { FailureKind::CertificateUntrusted } else if never_sent { FailureKind::ConnectionRefused } else { FailureKind::ConnectionClosed };
    TransportError { source: io::Error::new(source.kind(), TransportFailure::new(kind, source.to_string())), kind, is_connect: never_sent, was_reused: false }
}

/// The resolver has no kind of its own in `std`: on Unix its words, on Windows its codes tell.
fn is_lookup_failure(error: &io::Error) -> bool {
    const WINDOWS: [i32; 3] = [11_001, 11_002, 11_004];
    let by_code = cfg!(windows) && error.raw_os_error().is_some_and(|code| WINDOWS.contains(&code));
    by_code || error.to_string().starts_with("failed to lookup address information")
}

/// The error in words that a person can act on.
fn readable(error: ureq::Error, patience: Duration) -> io::Error {
    let whole = if patience.as_secs() > 0 { Duration::from_secs(patience.as_secs()) } else { patience };
    let patience = time::humanize(whole);
    let timed_out = |what: String| io::Error::new(io::ErrorKind::TimedOut, what);
    let unknown_host = || io::Error::new(io::ErrorKind::NotFound, "the host name is not known");
    match error {
        ureq::Error::Io(error) if is_lookup_failure(&error) => unknown_host(),
        ureq::Error::Io(error) => error,
        ureq::Error::Timeout(Timeout::Connect) => {
            timed_out("the connection could not be made in time".into())
        }
        ureq::Error::Timeout(Timeout::PerWrite) => {
            timed_out(format!("the server took no data for {patience}"))
        }
        ureq::Error::Timeout(_) => timed_out(format!("no answer for {patience}")),
        ureq::Error::HostNotFound => unknown_host(),
        ureq::Error::BodyExceedsLimit(limit) => {
            io::Error::new(io::ErrorKind::InvalidData, format!("the response is larger than {limit} bytes"))
        }
        ureq::Error::LargeResponseHeader(..) => {
            io::Error::new(io::ErrorKind::InvalidData, "the response's header is too large")
        }
        other => io::Error::other(other.to_string()),
    }
}

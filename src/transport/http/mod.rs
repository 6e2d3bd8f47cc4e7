//! HTTP by ureq. No other folder names ureq.
//!
//! The HTTP state machine and the TLS layers are those of ureq. Resolver, connector and sockets are
//! this crate's own; they implement the traits in [`ureq::unversioned`]. These traits may change
//! with a minor release of ureq; `tests/newest.sh` builds against the newest one. Used from there
//! are the traits `Resolver`, `Connector`, `Transport` and `Buffers`, the structs
//! `ConnectionDetails`, `NextTimeout` and `LazyBuffers`, and the TLS connectors.
//!
//! Each connection has an agent of its own, which keeps at most that one connection. So it is known
//! which connection serves a request, whether an earlier request made it, and when to close it.

mod body;
mod dial;
mod failure;
mod lease;
mod response;
mod stream;
mod tls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use body::BodyReader;
use dial::{Dialer, NoLookup, Route};
use failure::describe;
use lease::Lease;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::{Agent, AsSendBody, SendBody};

use super::abort::{AbortFlag, aborted};
use super::exchange::Exchange;
use super::lookup::NameCache;
use super::pool::{Checkout, Pool};
use super::{HttpRequest, Transport, TransportConfig, TransportError};
use crate::Result;
use crate::error::{FailureKind, TransportFailure};
use crate::protocol::request::{Header, Method, Response};

/// A page of ListParts has 250 KB; a callback's response may have 3 MB.
const RESPONSE_BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;
/// The bytes of a body that are read and written at a time, for each connection. A part of the
/// smallest size is one write, and four such buffers fit into a core's cache.
const OUTPUT_BUFFER_BYTES: usize = 112 * 1024;
const INPUT_BUFFER_BYTES: usize = 16 * 1024;
/// ureq's own limit on the age of idle connections is not used.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Makes transports from checked settings. The transports share one cache of host names.
pub(crate) struct TransportFactory {
    config: Config,
    route: Arc<Route>,
}

impl TransportFactory {
    /// `origin` is that of the endpoint.
    pub(crate) fn new(config: &TransportConfig, origin: &str) -> Result<TransportFactory> {
        let proxy = config.proxy.resolve(origin)?;
        let needs_tls =
            origin.starts_with("https:") || proxy.as_ref().is_some_and(|proxy| proxy.is_https);
        let builder = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding("identity")
            .user_agent(config.user_agent.as_str())
            .proxy(None)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .max_response_header_size(RESPONSE_HEAD_BYTES_MAX)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(NEVER);
        let builder = tls::configure(builder, config.root_certificates.as_deref(), needs_tls)?;
        let route = Route::new(NameCache::new(), proxy, config.user_agent.clone())?;
        Ok(TransportFactory {
            config: builder.build(),
            route: Arc::new(route),
        })
    }

    pub(crate) fn transport(&self) -> HttpTransport {
        HttpTransport {
            config: self.config.clone(),
            route: Arc::clone(&self.route),
            abort: Arc::default(),
            pool: Pool::new(),
            in_flight: Mutex::default(),
        }
    }
}

pub(crate) struct HttpTransport {
    config: Config,
    route: Arc<Route>,
    abort: Arc<AbortFlag>,
    pool: Pool<Connection>,
    in_flight: Mutex<Vec<Arc<Exchange>>>,
}

impl Transport for HttpTransport {
    fn send(&self, request: HttpRequest<'_>) -> Result<Response, TransportError> {
        let fail = |failure| Err(TransportError::new(failure, true, false));
        let (origin, peer) = match origin_and_peer(request.url) {
            Ok(names) => names,
            Err(failure) => return fail(failure),
        };
        let mut request = request;
        loop {
            let connection = match self.pool.checkout(&origin) {
                Checkout::Idle(connection) => connection,
                Checkout::New => self.new_connection(),
                Checkout::Closed => return fail(aborted()),
            };
            let mut lease = Lease::new(self, &origin, connection);
            let error = match lease.run(&mut request, peer.clone()) {
                Ok(response) => {
                    lease.keep();
                    return Ok(response);
                }
                Err(error) => error,
            };
            if error.kind == FailureKind::NoResources && error.is_connect && lease.starve() {
                log::debug!("{}; waiting for one of our own connections", error.source);
                continue;
            }
            drop(lease);
            if error.was_reused {
                self.pool.close_idle();
            }
            return Err(error);
        }
    }

    fn shutdown(&self) {
        self.abort.set();
        self.pool.close();
        let in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for exchange in in_flight {
            exchange.interrupt();
        }
        self.route.wake();
    }

    fn trim(&self) {
        self.pool.trim();
    }
}

impl HttpTransport {
    fn new_connection(&self) -> Connection {
        let exchange = Arc::new(Exchange::new(Arc::clone(&self.abort)));
        let dialer = Dialer {
            route: Arc::clone(&self.route),
            exchange: Arc::clone(&exchange),
        };
        let agent = Agent::with_parts(self.config.clone(), dialer, NoLookup);
        Connection { agent, exchange }
    }
}

/// An agent that keeps one connection, or none yet.
struct Connection {
    agent: Agent,
    exchange: Arc<Exchange>,
}

impl Connection {
    fn run(&self, request: &mut HttpRequest<'_>) -> Result<Response, TransportFailure> {
        let mut body = BodyReader::new(request.body, request.length, Arc::clone(&self.exchange));
        let result = self.exchange(request.method, request.url, request.headers, &mut body, {
            request.expect_continue
        });
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let failure = match body.take_failure() {
                    Some(failure) => failure,
                    None => describe(error, &self.exchange),
                };
                return Err(failure);
            }
        };
        let peer = self.exchange.peer();
        if self.exchange.is_body_abandoned() && response.status < 300 {
            let detail = format!("{peer} accepted the request before it had all of it");
            return Err(TransportFailure::new(FailureKind::ConnectionClosed, detail));
        }
        let encoding = response.header("content-encoding").unwrap_or("identity");
        // The response to HEAD has the encoding of the object.
        if request.method != Method::Head
            && !response.body.is_empty()
            && !encoding.eq_ignore_ascii_case("identity")
        {
            let detail = format!("the response of {peer} is compressed, which was not asked for");
            return Err(TransportFailure::new(FailureKind::Compressed, detail));
        }
        Ok(response)
    }

    fn exchange(
        &self,
        method: Method,
        url: &str,
        headers: &[Header],
        body: &mut BodyReader<'_>,
        expect_continue: bool,
    ) -> Result<Response, ureq::Error> {
        let length = body.length();
        let mut request = ureq::http::Request::builder()
            .method(method.name())
            .uri(url);
        for (name, value) in headers {
            let mut value =
                ureq::http::HeaderValue::from_str(value).map_err(ureq::http::Error::from)?;
            value.set_sensitive(is_secret(name));
            request = request.header(name.as_ref(), value);
        }
        if expect_continue {
            // An error response in place of the 100 is seen when the connection ends with it.
            request = request
                .header("expect", "100-continue")
                .header("connection", "close");
        }
        match method {
            Method::Put | Method::Post => {
                let request = request.header("content-length", length);
                self.receive(request.body(SendBody::from_reader(body))?)
            }
            Method::Get | Method::Head | Method::Delete => self.receive(request.body(())?),
        }
    }

    fn receive(
        &self,
        request: ureq::http::Request<impl AsSendBody>,
    ) -> Result<Response, ureq::Error> {
        let mut response = self.agent.run(request)?;
        let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        };
        let headers = response.headers().iter().map(header).collect();
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(RESPONSE_BODY_BYTES_MAX);
        Ok(Response {
            status,
            headers,
            body: body.read_to_vec()?,
        })
    }
}

/// Returns true for headers that ureq must not log.
fn is_secret(header: &str) -> bool {
    matches!(
        header,
        "authorization" | "x-oss-security-token" | "x-aliyun-ecs-metadata-token"
    )
}

/// Returns the origin, `https://h:443`, and the name of the peer in errors, `h:443`.
fn origin_and_peer(url: &str) -> Result<(String, String), TransportFailure> {
    let invalid = || {
        let detail = "the URL of the request is not valid".to_owned();
        TransportFailure::new(FailureKind::InvalidRequest, detail)
    };
    let uri = url.parse::<Uri>().map_err(|_| invalid())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid());
    };
    Ok((format!("{scheme}://{authority}"), authority.to_string()))
}

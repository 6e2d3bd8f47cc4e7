//! Sends requests over connections of its own and reads their responses. This layer does not know
//! OSS.
//!
//! `http` is the only folder that names ureq. What is below it is plain `std`: name lookups,
//! connects, sockets that distinguish a slow connection from a dead one, the pool, proxies.

mod abort;
mod connect;
mod exchange;
mod http;
mod lookup;
mod no_proxy;
mod pool;
mod proxy;
mod send_queue;
mod socket;
mod tunnel;

use std::io::{self, Read};
use std::time::Duration;

pub(crate) use http::TransportFactory;
pub(crate) use proxy::ProxyChoice;

use crate::error::{FailureKind, TransportFailure};
use crate::protocol::request::{Header, Method, Response};

/// Whether this build can speak HTTPS.
pub(crate) const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "native-tls"));

/// A signed request and how long its parts may take.
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [Header],
    /// Exactly `length` bytes, or an error.
    pub(crate) body: &'a mut dyn Read,
    pub(crate) length: u64,
    /// Ask the server before sending the body.
    pub(crate) expect_continue: bool,
    /// No byte acknowledged or received for this long is a stall. It is noticed before twice the
    /// time has passed.
    pub(crate) stall_timeout: Duration,
    /// The longest wait for the first byte of the response once the request is sent.
    pub(crate) response_timeout: Duration,
    /// The longest that name lookup, TCP connect, proxy and TLS handshake may take together.
    pub(crate) connect_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct TransportError {
    /// The message, one line. Its inner error is a [`TransportFailure`].
    pub(crate) source: io::Error,
    pub(crate) kind: FailureKind,
    /// The request cannot have reached the server: it failed before the connection was ready.
    pub(crate) is_connect: bool,
    /// It failed on a connection that had served an earlier request, before any byte of the
    /// response arrived. Idle connections have been closed since, so a retry opens a new one.
    pub(crate) was_reused: bool,
}

impl TransportError {
    fn new(failure: TransportFailure, is_connect: bool, was_reused: bool) -> TransportError {
        let kind = failure.kind;
        TransportError {
            source: failure.into_io(),
            kind,
            is_connect,
            was_reused,
        }
    }
}

pub(crate) trait Transport: Send + Sync {
    fn send(&self, request: HttpRequest<'_>) -> Result<Response, TransportError>;

    /// Aborts all requests in flight, on every thread, and rejects all later ones.
    fn shutdown(&self);

    /// Closes idle connections beyond the bound or past their age. Call it when an upload call has
    /// ended.
    fn trim(&self);
}

#[derive(Clone, Debug)]
pub(crate) struct TransportConfig {
    pub(crate) user_agent: String,
    pub(crate) proxy: ProxyChoice,
    /// In PEM. They replace the bundled ones.
    pub(crate) root_certificates: Option<Vec<u8>>,
}

/// Returns true if the system has no descriptors or memory left for another socket.
fn is_out_of_resources(error: &io::Error) -> bool {
    // EMFILE and ENFILE, WSAEMFILE and WSAENOBUFS: `std` has no kinds for them.
    let codes: &[i32] = if cfg!(windows) {
        &[10_024, 10_055]
    } else {
        &[24, 23]
    };
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
        || error.kind() == io::ErrorKind::OutOfMemory
}

//! Turns errors of ureq and of TLS into a [`TransportFailure`], by their types and by the phase of
//! the exchange.

use std::io;

use super::super::exchange::{Exchange, Phase};
use super::super::socket;
use crate::error::{FailureKind, TransportFailure};

pub(super) fn describe(error: ureq::Error, exchange: &Exchange) -> TransportFailure {
    use FailureKind as Kind;
    let peer = exchange.peer();
    if exchange.abort.is_set() {
        return super::super::abort::aborted();
    }
    let failure = |kind, detail: String| TransportFailure::new(kind, detail);
    match error {
        ureq::Error::Io(error) => describe_io(&error, exchange),
        #[cfg(feature = "rustls")]
        ureq::Error::Rustls(error) => super::tls::describe(&error, &peer),
        #[cfg(feature = "native-tls")]
        ureq::Error::NativeTls(_) if exchange.has_peer_closed() => closed(exchange),
        // The library's types say only that it rejects what the server has sent.
        #[cfg(feature = "native-tls")]
        ureq::Error::NativeTls(error) => {
            let detail = format!("no TLS connection to {peer}: {error}");
            failure(Kind::CertificateOther, detail)
        }
        ureq::Error::Tls(why) => failure(
            Kind::TlsFailed,
            format!("no TLS connection to {peer}: {why}"),
        ),
        ureq::Error::BodyExceedsLimit(limit) => failure(
            Kind::ResponseTooLarge,
            format!("the response is larger than {limit} bytes"),
        ),
        ureq::Error::LargeResponseHeader(..) => failure(
            Kind::ResponseTooLarge,
            "the response's header is too large".into(),
        ),
        ureq::Error::Http(error) => failure(
            Kind::InvalidRequest,
            format!("the request cannot be sent: {error}"),
        ),
        ureq::Error::BadUri(_) => failure(
            Kind::InvalidRequest,
            "the URL of the request is not valid".into(),
        ),
        _ if exchange.has_peer_closed() => closed(exchange),
        ureq::Error::Protocol(error) => failure(
            Kind::NotHttp,
            format!("the response of {peer} is not valid HTTP: {error}"),
        ),
        ureq::Error::Timeout(_) => exchange.no_response(),
        other => failure(
            Kind::Other,
            format!("the request to {peer} failed: {other}"),
        ),
    }
}

fn describe_io(error: &io::Error, exchange: &Exchange) -> TransportFailure {
    use io::ErrorKind as Io;
    if let Some(failure) = socket::unwrap(error) {
        return failure.clone();
    }
    let peer = exchange.peer();
    if let Some(inner) = error.get_ref() {
        #[cfg(feature = "rustls")]
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return super::tls::describe(error, &peer);
        }
        if let Some(ureq::Error::BodyExceedsLimit(limit)) = inner.downcast_ref::<ureq::Error>() {
            let detail = format!("the response is larger than {limit} bytes");
            return TransportFailure::new(FailureKind::ResponseTooLarge, detail);
        }
        if let Some(ureq::Error::Protocol(error)) = inner.downcast_ref::<ureq::Error>()
            && !exchange.has_peer_closed()
        {
            let detail = format!("the response of {peer} is not valid HTTP: {error}");
            return TransportFailure::new(FailureKind::NotHttp, detail);
        }
    }
    match error.kind() {
        Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => {
            let detail = format!("{peer} reset the connection {}", moment(exchange.phase()));
            TransportFailure::new(FailureKind::ConnectionReset, detail)
        }
        Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown => {
            let detail = format!("{peer} cannot be reached any more: {error}");
            TransportFailure::new(FailureKind::Unreachable, detail)
        }
        Io::UnexpectedEof => closed(exchange),
        _ if exchange.has_peer_closed() => closed(exchange),
        _ => {
            let detail = format!("the exchange with {peer} failed: {error}");
            TransportFailure::new(FailureKind::Other, detail)
        }
    }
}

fn closed(exchange: &Exchange) -> TransportFailure {
    let (peer, moment) = (exchange.peer(), moment(exchange.phase()));
    let detail = format!("{peer} closed the connection {moment}");
    TransportFailure::new(FailureKind::ConnectionClosed, detail)
}

fn moment(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "during the TLS handshake",
        Phase::Sending => "in mid-request",
        Phase::AwaitingResponse => "without a response",
        Phase::Receiving => "in mid-response",
    }
}

//! The reasons why a request got no response. They decide what is retried and which hint is given.

use std::fmt;
use std::io;

/// The kinds of failure between the request and its response.
// Only rustls reports what is wrong with a certificate.
#[cfg_attr(not(feature = "rustls"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FailureKind {
    /// The name lookup failed.
    HostNotFound,
    /// The name lookup took too long.
    LookupTimedOut,
    ConnectionRefused,
    /// There is no route to the address.
    Unreachable,
    ConnectTimedOut,
    /// The system gives no more file descriptors, threads or memory.
    NoResources,
    /// The peer acknowledged no byte for too long while the request was being sent.
    WriteStalled,
    /// The peer sent no byte for too long, though it should.
    NoResponse,
    ConnectionClosed,
    ConnectionReset,
    CertificateUntrusted,
    /// The server shows the certificate of a certificate authority as its own.
    CertificateIsRoot,
    CertificateWrongName,
    /// The certificate has expired or is not valid yet.
    CertificateExpired,
    CertificateOther,
    /// What arrived instead of a TLS record is something else, such as plain HTTP.
    TlsNotSpoken,
    TlsFailed,
    /// The response is not valid HTTP.
    NotHttp,
    /// The proxy requires credentials, or rejects those that it got.
    ProxyAuthRequired,
    /// The proxy did not open a tunnel.
    ProxyRefused,
    /// The proxy's response to `CONNECT` could not be understood.
    ProxyResponse,
    ResponseTooLarge,
    /// The response is compressed, which was not asked for.
    Compressed,
    /// The request cannot be expressed in HTTP.
    InvalidRequest,
    /// The transport was shut down.
    Aborted,
    Other,
}

impl FailureKind {
    /// Returns the kind of an error that a transport returned; [`FailureKind::Other`] for any other
    /// error.
    pub(crate) fn of(error: &io::Error) -> FailureKind {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<TransportFailure>());
        inner.map_or(FailureKind::Other, |failure| failure.kind)
    }

    /// Returns true if the same request fails again until somebody has acted. Everything else is
    /// worth a retry.
    pub(crate) fn is_permanent(self) -> bool {
        use FailureKind::{
            Aborted, CertificateExpired, CertificateIsRoot, CertificateOther, CertificateUntrusted,
            CertificateWrongName, InvalidRequest, ProxyAuthRequired, TlsNotSpoken,
        };
        matches!(
            self,
            Aborted
                | CertificateExpired
                | CertificateIsRoot
                | CertificateOther
                | CertificateUntrusted
                | CertificateWrongName
                | InvalidRequest
                | ProxyAuthRequired
                | TlsNotSpoken
        )
    }

    /// Returns what a person can do about it, beyond running the same call again.
    pub(crate) fn hint(self) -> Option<&'static str> {
        use FailureKind as Kind;
        let hint = match self {
            Kind::HostNotFound => "check the spelling of the endpoint, and the network",
            Kind::LookupTimedOut => "check the name servers of this machine and the network",
            Kind::ConnectionRefused => {
                "nothing is listening there; check the endpoint and the proxy"
            }
            Kind::Unreachable => "check the network and its routes",
            Kind::ConnectTimedOut => {
                "look for a firewall or a missing proxy; an -internal endpoint can only be reached from inside Alibaba Cloud"
            }
            Kind::NoResources => {
                "raise the limits of this process (ulimit -n, ulimit -u) or use fewer routines"
            }
            Kind::CertificateUntrusted => {
                "trust its root with root_certificates_pem or SSL_CERT_FILE, or the system's roots with the feature platform-verifier"
            }
            Kind::CertificateIsRoot => {
                "the server shows the certificate of an authority as its own; make a self-signed one with basicConstraints=CA:FALSE and trust that with root_certificates_pem or SSL_CERT_FILE"
            }
            Kind::CertificateWrongName => "use the name that the certificate is for",
            Kind::CertificateExpired => {
                "check this machine's clock; if it is right, the server's owner has to renew the certificate"
            }
            Kind::CertificateOther => "the server's owner has to replace the certificate",
            Kind::TlsNotSpoken => {
                "the port may speak plain HTTP; check the endpoint's scheme and port"
            }
            Kind::NotHttp => "the server may not speak HTTP; check the endpoint's scheme and port",
            Kind::ProxyAuthRequired => {
                "give the proxy's credentials with proxy(\"http://user:password@host:port\")"
            }
            Kind::ProxyRefused => {
                "ask the proxy's administrator to allow it, or bypass the proxy with no_proxy()"
            }
            Kind::ProxyResponse => {
                "check the proxy's address, scheme and port, or bypass it with no_proxy()"
            }
            Kind::ResponseTooLarge | Kind::Compressed => {
                "the response may not come from OSS; check the endpoint and any proxy in between"
            }
            Kind::WriteStalled
            | Kind::NoResponse
            | Kind::ConnectionClosed
            | Kind::ConnectionReset
            | Kind::TlsFailed
            | Kind::InvalidRequest
            | Kind::Aborted
            | Kind::Other => return None,
        };
        Some(hint)
    }

    /// Returns the closest kind of `std`, for callers that check it.
    fn io_kind(self) -> io::ErrorKind {
        use FailureKind as Kind;
        use io::ErrorKind as Io;
        match self {
            Kind::HostNotFound => Io::NotFound,
            Kind::LookupTimedOut
            | Kind::ConnectTimedOut
            | Kind::WriteStalled
            | Kind::NoResponse => Io::TimedOut,
            Kind::ConnectionRefused => Io::ConnectionRefused,
            Kind::Unreachable => Io::HostUnreachable,
            Kind::ConnectionClosed => Io::UnexpectedEof,
            Kind::ConnectionReset => Io::ConnectionReset,
            Kind::Aborted => Io::ConnectionAborted,
            Kind::InvalidRequest => Io::InvalidInput,
            Kind::CertificateUntrusted
            | Kind::CertificateIsRoot
            | Kind::CertificateWrongName
            | Kind::CertificateExpired
            | Kind::CertificateOther
            | Kind::TlsNotSpoken
            | Kind::TlsFailed
            | Kind::NotHttp
            | Kind::ProxyResponse
            | Kind::ResponseTooLarge
            | Kind::Compressed => Io::InvalidData,
            Kind::ProxyAuthRequired | Kind::ProxyRefused | Kind::NoResources | Kind::Other => {
                Io::Other
            }
        }
    }
}

/// What failed: the inner error of every [`io::Error`] that a transport returns.
#[derive(Clone, Debug)]
pub(crate) struct TransportFailure {
    pub(crate) kind: FailureKind,
    /// The message. It names the peer if that could not be reached.
    pub(crate) detail: String,
}

impl TransportFailure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> TransportFailure {
        TransportFailure {
            kind,
            detail: detail.into(),
        }
    }

    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(self.kind.io_kind(), self)
    }
}

impl fmt::Display for TransportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for TransportFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_kind_survives_in_an_io_error() {
        let failure = TransportFailure::new(FailureKind::ProxyAuthRequired, "the proxy said 407");
        let error = failure.into_io();
        assert_eq!(FailureKind::of(&error), FailureKind::ProxyAuthRequired);
        assert_eq!(error.to_string(), "the proxy said 407");
        assert_eq!(
            FailureKind::of(&io::ErrorKind::ConnectionRefused.into()),
            FailureKind::Other
        );
    }

    #[test]
    fn failure_kinds_that_are_permanent() {
        use FailureKind as Kind;
        for kind in [
            Kind::ProxyAuthRequired,
            Kind::CertificateUntrusted,
            Kind::TlsNotSpoken,
        ] {
            assert!(kind.is_permanent() && kind.hint().is_some(), "{kind:?}");
        }
        for kind in [
            Kind::HostNotFound,
            Kind::ConnectionClosed,
            Kind::ConnectionReset,
            Kind::NotHttp,
            Kind::TlsFailed,
            Kind::NoResources,
            Kind::ProxyRefused,
            Kind::Other,
        ] {
            assert!(!kind.is_permanent(), "{kind:?}");
        }
    }
}

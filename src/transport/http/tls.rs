//! TLS by rustls or by the system's library, and the roots that it trusts.

use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::unversioned::transport::{ConnectionDetails, Transport};

use crate::{Error, Result};

/// All connections share one connector, because it caches the TLS configuration.
#[derive(Debug, Default)]
pub(super) struct TlsLayer {
    #[cfg(feature = "rustls")]
    connector: ureq::unversioned::transport::RustlsConnector,
    #[cfg(all(feature = "native-tls", not(feature = "rustls")))]
    connector: ureq::unversioned::transport::NativeTlsConnector,
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
impl TlsLayer {
    pub(super) fn wrap(
        &self,
        details: &ConnectionDetails<'_>,
        transport: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, ureq::Error> {
        use ureq::unversioned::transport::Connector;
        let wrapped = self.connector.connect(details, Some(transport))?;
        Ok(Box::new(wrapped.ok_or(ureq::Error::ConnectionFailed)?))
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
impl TlsLayer {
    pub(super) fn wrap(
        &self,
        _: &ConnectionDetails<'_>,
        _: Box<dyn Transport>,
    ) -> Result<Box<dyn Transport>, ureq::Error> {
        Err(ureq::Error::TlsRequired)
    }
}

#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
pub(super) fn configure(
    builder: ConfigBuilder<AgentScope>,
    root_certificates: Option<&[u8]>,
    _: bool,
) -> Result<ConfigBuilder<AgentScope>> {
    match root_certificates {
        Some(_) => {
            let reason = "this build has no TLS; enable the feature rustls or native-tls";
            Err(Error::option("root_certificates_pem", reason))
        }
        None => Ok(builder),
    }
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
pub(super) fn configure(
    builder: ConfigBuilder<AgentScope>,
    root_certificates: Option<&[u8]>,
    is_needed: bool,
) -> Result<ConfigBuilder<AgentScope>> {
    use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
    let is_rustls = cfg!(feature = "rustls");
    let provider = if is_rustls {
        TlsProvider::Rustls
    } else {
        TlsProvider::NativeTls
    };
    let given = match root_certificates {
        Some(pem) => Some(parse_certificates(pem, "it")?),
        None if is_needed => from_environment()?,
        None => None,
    };
    let roots = match given {
        Some(certificates) => RootCerts::new_with_certs(&certificates),
        None if is_rustls && !cfg!(feature = "platform-verifier") => RootCerts::WebPki,
        None => RootCerts::PlatformVerifier,
    };
    Ok(builder.tls_config(
        TlsConfig::builder()
            .provider(provider)
            .root_certs(roots)
            .build(),
    ))
}

/// `SSL_CERT_FILE` names a file of root certificates, for programs that use OpenSSL and for curl.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn from_environment() -> Result<Option<Vec<ureq::tls::Certificate<'static>>>> {
    const VARIABLE: &str = "SSL_CERT_FILE";
    let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let pem = std::fs::read(&path).map_err(|error| {
        let reason = format!("{VARIABLE} names {path:?}, which cannot be read: {error}");
        Error::option("root_certificates_pem", reason)
    })?;
    parse_certificates(&pem, VARIABLE).map(Some)
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn parse_certificates(pem: &[u8], name: &str) -> Result<Vec<ureq::tls::Certificate<'static>>> {
    use ureq::tls::{PemItem, parse_pem};
    let wrong = |why: &str| Error::option("root_certificates_pem", format!("{name} {why}"));
    let mut certificates = Vec::new();
    let mut invalid = 0;
    for item in parse_pem(pem) {
        let item = item.map_err(|_| {
            wrong("is not valid PEM: base64 is expected between BEGIN and END CERTIFICATE")
        })?;
        match item {
            PemItem::Certificate(certificate) if is_certificate(certificate.der()) => {
                certificates.push(certificate);
            }
            PemItem::Certificate(_) => invalid += 1,
            _ => {}
        }
    }
    // A file of the system may have an invalid certificate. Certificates that the caller gives may
    // not.
    if invalid > 0 && (certificates.is_empty() || name == "it") {
        return Err(wrong("holds a certificate that is not valid X.509"));
    }
    if certificates.is_empty() {
        return Err(wrong(
            "holds no certificate; it must be PEM, which begins with -----BEGIN CERTIFICATE-----, and not DER",
        ));
    }
    Ok(certificates)
}

#[cfg(feature = "rustls")]
fn is_certificate(der: &[u8]) -> bool {
    rustls::RootCertStore::empty()
        .add(der.to_vec().into())
        .is_ok()
}

/// The library cannot check it before a connection is made. This checks that it is a DER sequence
/// of the right length that starts with another sequence.
#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
fn is_certificate(der: &[u8]) -> bool {
    let content = |der: &[u8]| -> Option<Vec<u8>> {
        let (tag, rest) = der.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
                (length.iter().fold(0, add), rest)
            }
            _ => return None,
        };
        (*tag == 0x30).then_some(rest.get(..length)?.to_vec())
    };
    content(der).is_some_and(|outer| content(&outer).is_some())
}

#[cfg(feature = "rustls")]
pub(super) fn describe(error: &rustls::Error, peer: &str) -> crate::error::TransportFailure {
    use crate::error::{FailureKind as Kind, TransportFailure};
    use rustls::{CertificateError as Certificate, InvalidMessage};
    let kind = match error {
        rustls::Error::InvalidCertificate(error) => match error {
            Certificate::UnknownIssuer => Kind::CertificateUntrusted,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                Kind::CertificateWrongName
            }
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Kind::CertificateExpired,
            Certificate::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(webpki::Error::CaUsedAsEndEntity) => Kind::CertificateIsRoot,
                _ => Kind::CertificateOther,
            },
            _ => Kind::CertificateOther,
        },
        rustls::Error::NoCertificatesPresented => Kind::CertificateOther,
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Kind::TlsNotSpoken,
        _ => Kind::TlsFailed,
    };
    TransportFailure::new(kind, format!("no TLS connection to {peer}: {error}"))
}

use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, Shared, Signer};
use crate::credentials::{Credentials, InvalidCredentials, ProvideCredentials};
use crate::endpoint::{Endpoint, is_region_id};
use crate::protocol::retry::RetryPolicy;
use crate::sign::SignatureVersion;
use crate::transport::{HAS_TLS, ProxyChoice, TransportConfig, UreqFactory};
use crate::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a [`Client`]; made by [`Client::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct ClientBuilder {
    endpoint: String,
    credentials: Option<Box<dyn ProvideCredentials>>,
    region: Option<String>,
    signature: SignatureVersion,
    cname: bool,
    path_style: bool,
    connect_timeout: Duration,
    stall_timeout: Duration,
    retry: RetryPolicy,
    transport: TransportConfig,
}

impl ClientBuilder {
    pub(super) fn new(endpoint: &str) -> ClientBuilder {
        ClientBuilder {
            endpoint: endpoint.to_owned(),
            credentials: None,
            region: None,
            signature: SignatureVersion::V4,
            cname: false,
            path_style: false,
            connect_timeout: CONNECT_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            retry: RetryPolicy::default(),
            transport: TransportConfig {
                user_agent: concat!("oss-upload/", env!("CARGO_PKG_VERSION")).to_owned(),
                proxy: ProxyChoice::Environment,
                root_certificates: None,
            },
        }
    }

    /// Endpoint, region and credentials of the environment, as in [`Client::from_env`].
    ///
    /// # Errors
    /// When `OSS_ENDPOINT` or the credentials are not set; the message names the variable.
    pub fn from_env() -> Result<ClientBuilder> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = variable("OSS_ENDPOINT").ok_or_else(|| {
            Error::option(
                "endpoint",
                "OSS_ENDPOINT is not set: give one such as https://oss-cn-hangzhou.aliyuncs.com",
            )
        })?;
        let builder = ClientBuilder::new(&endpoint).credentials(Credentials::from_env()?);
        Ok(ClientBuilder { region: variable("OSS_REGION"), ..builder })
    }

    /// Who signs: [`Credentials`], a closure, or a provider of your own. Required.
    ///
    /// Asked before every request, so a token may rotate in mid-upload. Go: `SetCredentialsProvider`; Java:
    /// `CredentialsProvider`; Python: `ProviderAuth`; JavaScript: `refreshSTSToken`.
    pub fn credentials(self, credentials: impl ProvideCredentials + 'static) -> ClientBuilder {
        ClientBuilder { credentials: Some(Box::new(credentials)), ..self }
    }

    /// The bucket's region, such as `cn-hangzhou` (`oss-cn-hangzhou` is understood). Needed for V4 signatures where
    /// the endpoint's host does not name it: a CNAME, an IP address, an accelerate endpoint. Defaults to the endpoint's.
    ///
    /// CloudBox is not supported: its signatures name another product.
    ///
    /// Limit: lower-case letters, digits and hyphens. Go: `oss.Region`; Java: `region`; Python, JavaScript: `region`. OSS
    /// documentation: "Regions and endpoints".
    pub fn region(self, region: impl Into<String>) -> ClientBuilder {
        ClientBuilder { region: Some(region.into()), ..self }
    }

    /// The signature version. Defaults to [`SignatureVersion::V4`].
    ///
    /// Go: `oss.AuthVersion`; Java: `SignVersion`; JavaScript: `authorizationV4`. OSS documentation: "Guidelines for
    /// upgrading V1 signatures to V4 signatures".
    pub fn signature(self, signature: SignatureVersion) -> ClientBuilder {
        ClientBuilder { signature, ..self }
    }

    /// The endpoint is a domain that is bound to the bucket, and the bucket's name is put neither before it nor into the
    /// path. Defaults to `false`; it is never guessed from the host.
    ///
    /// Limit: not together with [`path_style`](ClientBuilder::path_style). Go: `oss.UseCname`; Python: `is_cname`; JavaScript:
    /// `cname`; C#, C++: `IsCname`. OSS documentation: "Map custom domain names".
    pub fn cname(self, cname: bool) -> ClientBuilder {
        ClientBuilder { cname, ..self }
    }

    /// Put the bucket into the path instead of the host. IP addresses and `localhost` do so by themselves. Defaults to
    /// `false`.
    ///
    /// For servers of your own: OSS itself refuses it with `SecondLevelDomainForbidden`. Go: `oss.PathStyle`; Java:
    /// `setSLDEnabled`; Python: `is_path_style`; JavaScript: `sldEnable`.
    pub fn path_style(self, path_style: bool) -> ClientBuilder {
        ClientBuilder { path_style, ..self }
    }

    /// The longest that a TCP connect and TLS handshake may take. Limit: more than zero. Defaults to 5 s.
    ///
    /// Java, C#: `ConnectionTimeout`; Go: the first number of `oss.Timeout`; Python: `connect_timeout`.
    pub fn connect_timeout(self, connect_timeout: Duration) -> ClientBuilder {
        ClientBuilder { connect_timeout, ..self }
    }

    /// How long nothing may move before an attempt is given up. There is no limit on the whole: a slow link that moves
    /// at 16 KiB/s or more never fails. Limit: more than zero. Defaults to 60 s.
    ///
    /// A write, and the wait for an answer, may each take this long plus the time that the part, at most 4 MiB
    /// of it, takes at 16 KiB/s, since it may still be in the socket's buffers; a write of which the socket has taken
    /// some, twice that. Completing an upload may take five times as long.
    ///
    /// Java: `socketTimeout`; Go: the second number of `oss.Timeout`; JavaScript: `timeout`, which is for the whole
    /// request.
    pub fn stall_timeout(self, stall_timeout: Duration) -> ClientBuilder {
        ClientBuilder { stall_timeout, ..self }
    }

    /// How often and after what waits a request is tried again. Limit: 1 attempt at least. Defaults to
    /// [`RetryPolicy::default`].
    ///
    /// Java, C#: `maxErrorRetry`; JavaScript: `retryMax`; Go v2: `RetryMaxAttempts`.
    pub fn retry(self, retry: RetryPolicy) -> ClientBuilder {
        ClientBuilder { retry, ..self }
    }

    /// The `User-Agent`. Limit: printable ASCII. Defaults to `oss-upload/` and the version. Go: `oss.UserAgent`.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> ClientBuilder {
        self.transport.user_agent = user_agent.into();
        self
    }

    /// An HTTP proxy, `http://[user:password@]host:port`; SOCKS is not supported. Defaults to what the environment says:
    /// `HTTPS_PROXY` or `HTTP_PROXY`, as the endpoint's scheme is, else `ALL_PROXY`; `NO_PROXY` names the hosts that need none.
    ///
    /// Every connection through it is a tunnel (`CONNECT`), for http endpoints, too: the proxy must allow port 80 then. Go:
    /// `oss.Proxy`, `oss.AuthProxy`; Java, C#, C++: `proxyHost` …; Python: `proxies`.
    pub fn proxy(mut self, url: impl Into<String>) -> ClientBuilder {
        self.transport.proxy = ProxyChoice::Url(url.into());
        self
    }

    /// No proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> ClientBuilder {
        self.transport.proxy = ProxyChoice::None;
        self
    }

    /// Root certificates in PEM, instead of the bundled ones: for a private certificate authority, or a proxy that
    /// looks into TLS. Limit: one certificate at least. Defaults to the bundled ones; with the features `native-tls` and
    /// `platform-verifier` to the operating system's. C++: `caFile`.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        self.transport.root_certificates = Some(pem.into());
        self
    }

    /// Checks the settings. No request is made.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the setting that is wrong or missing: `endpoint` (not one; https without TLS in this
    /// build), `path_style` (with a CNAME), `region` (not one, or it can't be read from the endpoint), `connect_timeout` and
    /// `stall_timeout` (zero), `retry` (no attempt), `user_agent`, `proxy`, `root_certificates_pem`.
    /// [`Error::Credentials`] if none were given.
    pub fn build(self) -> Result<Client> {
        let endpoint = Endpoint::parse(&self.endpoint, self.cname, self.path_style)?;
        if endpoint.tls && !HAS_TLS {
            let reason = "https, but this build has no TLS: switch on the feature rustls or native-tls";
            return Err(Error::option("endpoint", format!("{:?} means {reason}", self.endpoint)));
        }
        let signer = match self.signature {
            SignatureVersion::V1 => Signer::V1,
            SignatureVersion::V4 => Signer::V4 { region: region(self.region.as_deref(), &endpoint)? },
        };
        for (option, timeout) in
            [("connect_timeout", self.connect_timeout), ("stall_timeout", self.stall_timeout)]
        {
            if timeout.is_zero() {
                return Err(Error::option(
                    option,
                    "it is zero, and nothing could ever succeed: leave it away for the default",
                ));
            }
        }
        if self.retry.max_attempts == 0 {
            return Err(Error::option("retry", "max_attempts is 0; it is 1 at least"));
        }
        if !self.transport.user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Error::option(
                "user_agent",
                format!(
                    "{:?} has characters that a header can't hold: give printable ASCII",
                    self.transport.user_agent
                ),
            ));
        }
        let factory = UreqFactory::new(&self.transport, &endpoint.origin())?;
        let Some(credentials) = self.credentials else {
            return Err(Error::Credentials {
                source: InvalidCredentials("none were given: ClientBuilder::credentials takes them".into()).into(),
            });
        };
        let shared = Shared {
            endpoint,
            signer,
            credentials,
            retry: self.retry,
            connect_timeout: self.connect_timeout,
            stall_timeout: self.stall_timeout,
            connect: Box::new(move || Arc::new(factory.transport())),
            idle: Mutex::default(),
            skew: AtomicI64::new(0),
        };
        Ok(Client { shared: Arc::new(shared) })
    }
}

fn region(given: Option<&str>, endpoint: &Endpoint) -> Result<String> {
    let region = match given {
        Some(region) => region.strip_prefix("oss-").unwrap_or(region),
        None => endpoint.region().ok_or_else(|| {
            let reason = "is needed for V4 signatures, and can't be read from";
            Error::option(
                "region",
                format!(
                    "it {reason} {}; give it with ClientBuilder::region or OSS_REGION, such as \"cn-hangzhou\"",
                    endpoint.origin()
                ),
            )
        })?,
    };
    if !is_region_id(region) {
        return Err(Error::option(
            "region",
            format!("{region:?} is no region's id: give one such as \"cn-hangzhou\""),
        ));
    }
    Ok(region.to_owned())
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

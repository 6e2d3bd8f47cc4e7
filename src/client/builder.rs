use std::fmt;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Client, Shared, Signer};
use crate::credentials::ProvideCredentials;
use crate::endpoint::{Endpoint, is_region};
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

    /// Who signs: [`Credentials`](crate::Credentials), a closure, or a provider of your own. Required.
    pub fn credentials(self, credentials: impl ProvideCredentials + 'static) -> ClientBuilder {
        ClientBuilder { credentials: Some(Box::new(credentials)), ..self }
    }

    /// The bucket's region, such as `cn-hangzhou` (`oss-cn-hangzhou` is understood). Needed for V4 signatures where
    /// the endpoint's host does not name it. Defaults to the endpoint's.
    pub fn region(self, region: impl Into<String>) -> ClientBuilder {
        ClientBuilder { region: Some(region.into()), ..self }
    }

    /// The signature version. Defaults to [`SignatureVersion::V4`].
    pub fn signature(self, signature: SignatureVersion) -> ClientBuilder {
        ClientBuilder { signature, ..self }
    }

    /// The endpoint is a domain that is bound to the bucket (OSS documentation, "Map custom domain names").
    /// Defaults to false.
    pub fn cname(self, cname: bool) -> ClientBuilder {
        ClientBuilder { cname, ..self }
    }

    /// Put the bucket into the path instead of the host. IP addresses and `localhost` do so by themselves.
    /// Defaults to false.
    pub fn path_style(self, path_style: bool) -> ClientBuilder {
        ClientBuilder { path_style, ..self }
    }

    /// The longest that a TCP connect and TLS handshake may take. Defaults to 5 s.
    pub fn connect_timeout(self, connect_timeout: Duration) -> ClientBuilder {
        ClientBuilder { connect_timeout, ..self }
    }

    /// How long nothing may move before an attempt is given up. There is no limit on the whole: a slow link that moves
    /// at 16 KiB/s or more never fails. Defaults to 60 s.
    ///
    /// A write, and the wait for an answer, may each take this long plus the time that the part, at most 4 MiB
    /// of it, takes at 16 KiB/s, since it may still be in the socket's buffers. Completing an upload may take five
    /// times as long.
    pub fn stall_timeout(self, stall_timeout: Duration) -> ClientBuilder {
        ClientBuilder { stall_timeout, ..self }
    }

    /// How often and after what waits a request is tried again.
    pub fn retry(self, retry: RetryPolicy) -> ClientBuilder {
        ClientBuilder { retry, ..self }
    }

    /// The `User-Agent`. Defaults to `oss-upload/` and the version.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> ClientBuilder {
        self.transport.user_agent = user_agent.into();
        self
    }

    /// An HTTP proxy, `http://[user:password@]host:port`. Defaults to what `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and
    /// `NO_PROXY` say.
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
    /// looks into TLS.
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        self.transport.root_certificates = Some(pem.into());
        self
    }

    /// Checks the settings. No request is made.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the setting that is wrong or missing; [`Error::Credentials`] if none were given.
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
                return Err(Error::option(option, "it is zero: nothing could ever succeed"));
            }
        }
        if self.retry.max_attempts == 0 {
            return Err(Error::option("retry", "max_attempts is 0; it is 1 at least"));
        }
        if !self.transport.user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Error::option("user_agent", "it has characters that a header can't hold"));
        }
        let factory = UreqFactory::new(&self.transport)?;
        let Some(credentials) = self.credentials else {
            return Err(Error::Credentials { source: "none were given to the client's builder".into() });
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
                format!("it {reason} {}; give it, such as \"cn-hangzhou\"", endpoint.origin()),
            )
        })?,
    };
    if !is_region(region) {
        return Err(Error::option("region", format!("{region:?} is not one; \"cn-hangzhou\" is")));
    }
    Ok(region.to_owned())
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").finish_non_exhaustive()
    }
}

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::{Clock, SystemClock};
use super::{Client, NewTransport, Shared, SigningMethod};
use crate::credentials::{Credentials, InvalidCredentials, ProvideCredentials};
use crate::endpoint::{Endpoint, is_region_id, is_region_name};
use crate::protocol::retry::RetryPolicy;
use crate::sign::SignatureVersion;
use crate::transport::{HAS_TLS, ProxyChoice, TransportConfig, TransportFactory};
use crate::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a [`Client`], created by [`Client::builder`].
///
/// ```
/// use std::time::Duration;
/// use oss_upload::{Client, Credentials, RetryPolicy};
///
/// let client = Client::builder("https://files.example.com")
///     .credentials(Credentials::new("<AccessKeyId>", "<AccessKeySecret>"))
///     .region("cn-hangzhou")
///     .cname(true)
///     .stall_timeout(Duration::from_secs(120))
///     .retry(RetryPolicy::default().max_attempts(10))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
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

    /// Returns a builder with the endpoint, region and credentials of the environment, as in
    /// [`Client::from_env`].
    ///
    /// # Errors
    /// If the credentials, or both `OSS_ENDPOINT` and `OSS_REGION`, are not set. The message names
    /// the variable.
    pub fn from_env() -> Result<ClientBuilder> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (endpoint, region) = match (variable("OSS_ENDPOINT"), variable("OSS_REGION")) {
            (Some(endpoint), region) => (endpoint, region),
            // The endpoint then names the region, by the ID that signatures need.
            (None, Some(region)) if is_region(&region) => (region, None),
            (None, Some(region)) => {
                let reason = format!(
                    "OSS_REGION is {region:?}; it must be a region such as cn-hangzhou \
                     where OSS_ENDPOINT is not set"
                );
                return Err(Error::option("region", reason));
            }
            (None, None) => {
                let example = "https://oss-cn-hangzhou.aliyuncs.com";
                let reason = format!(
                    "OSS_ENDPOINT is not set; use an endpoint such as {example}, \
                     or set OSS_REGION, for example to cn-hangzhou"
                );
                return Err(Error::option("endpoint", reason));
            }
        };
        let builder = ClientBuilder::new(&endpoint).credentials(Credentials::from_env()?);
        Ok(ClientBuilder { region, ..builder })
    }

    /// Sets who signs: [`Credentials`], a closure, or a provider of your own. Required.
    ///
    /// The provider is asked before every request, so a token may change during an upload.
    #[doc(alias("SetCredentialsProvider", "ProviderAuth", "refreshSTSToken"))]
    pub fn credentials(self, credentials: impl ProvideCredentials + 'static) -> ClientBuilder {
        ClientBuilder {
            credentials: Some(Box::new(credentials)),
            ..self
        }
    }

    /// Sets the region of the bucket, such as `cn-hangzhou` (`oss-cn-hangzhou` is understood).
    ///
    /// V4 signatures need it where the endpoint's host does not name it: for a CNAME, an IP
    /// address or an accelerate endpoint. Defaults to the region of the endpoint. Limit: lowercase
    /// letters, digits and hyphens. CloudBox is not supported, since its signatures name another
    /// product. OSS documentation: "Regions and endpoints".
    pub fn region(self, region: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            region: Some(region.into()),
            ..self
        }
    }

    /// Sets the signature version. Defaults to [`SignatureVersion::V4`].
    ///
    /// OSS documentation: "Guidelines for upgrading V1 signatures to V4 signatures".
    #[doc(alias("AuthVersion", "SignVersion", "authorizationV4"))]
    pub fn signature(self, signature: SignatureVersion) -> ClientBuilder {
        ClientBuilder { signature, ..self }
    }

    /// Sets whether the endpoint is a domain that is bound to the bucket, so that the name of the
    /// bucket is neither put before it nor into the path. Defaults to `false`; it is never guessed
    /// from the host.
    ///
    /// Limit: not together with [`path_style`](ClientBuilder::path_style). OSS documentation: "Map
    /// custom domain names".
    #[doc(alias("UseCname", "is_cname", "IsCname"))]
    pub fn cname(self, cname: bool) -> ClientBuilder {
        ClientBuilder { cname, ..self }
    }

    /// Sets whether the bucket is put into the path instead of the host. Defaults to `false`,
    /// except for IP addresses and `localhost`.
    ///
    /// For servers of your own: OSS itself responds with `SecondLevelDomainForbidden`.
    #[doc(alias("PathStyle", "setSLDEnabled", "is_path_style", "sldEnable"))]
    pub fn path_style(self, path_style: bool) -> ClientBuilder {
        ClientBuilder { path_style, ..self }
    }

    /// Sets how long a name lookup, a TCP connect or a TLS handshake may take. Defaults to 5 s.
    /// Limit: more than zero.
    #[doc(alias = "ConnectionTimeout")]
    pub fn connect_timeout(self, connect_timeout: Duration) -> ClientBuilder {
        ClientBuilder {
            connect_timeout,
            ..self
        }
    }

    /// Sets how long no byte may be acknowledged or received before an attempt is aborted and
    /// retried. Defaults to 60 s. Limit: more than zero.
    ///
    /// There is no limit on the whole upload: a slow connection that moves never fails. The
    /// response to CompleteMultipartUpload may take five times as long.
    #[doc(alias("socketTimeout", "timeout"))]
    pub fn stall_timeout(self, stall_timeout: Duration) -> ClientBuilder {
        ClientBuilder {
            stall_timeout,
            ..self
        }
    }

    /// Sets how often and after what delays a request is retried. Defaults to
    /// [`RetryPolicy::default`]. Limit: at least one attempt.
    #[doc(alias("maxErrorRetry", "retryMax", "RetryMaxAttempts"))]
    pub fn retry(self, retry: RetryPolicy) -> ClientBuilder {
        ClientBuilder { retry, ..self }
    }

    /// Sets the `User-Agent`. Defaults to `oss-upload/` and the version. Limit: printable ASCII.
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> ClientBuilder {
        self.transport.user_agent = user_agent.into();
        self
    }

    /// Sets an HTTP proxy, `http://[user:password@]host:port`. SOCKS is not supported.
    ///
    /// Defaults to the environment: `HTTPS_PROXY` or `HTTP_PROXY`, depending on the endpoint's
    /// scheme, or else `ALL_PROXY`; `NO_PROXY` lists the hosts that need none. Every connection
    /// through the proxy is a tunnel (`CONNECT`). For an http endpoint, the proxy must therefore
    /// allow port 80.
    #[doc(alias("AuthProxy", "proxyHost", "proxies"))]
    pub fn proxy(mut self, url: impl Into<String>) -> ClientBuilder {
        self.transport.proxy = ProxyChoice::Url(url.into());
        self
    }

    /// Uses no proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> ClientBuilder {
        self.transport.proxy = ProxyChoice::None;
        self
    }

    /// Sets the trusted root certificates, in PEM: for a private certificate authority, or for a
    /// proxy that inspects TLS. Limit: at least one certificate.
    ///
    /// Defaults to the bundled ones; with the features `native-tls` and `platform-verifier`, to
    /// those of the operating system.
    #[doc(alias = "caFile")]
    pub fn root_certificates_pem(mut self, pem: impl Into<Vec<u8>>) -> ClientBuilder {
        self.transport.root_certificates = Some(pem.into());
        self
    }

    /// Checks the settings and creates the client. No request is made.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the setting that is wrong or missing: `endpoint`,
    /// `path_style` (with a CNAME), `region` (invalid, or not given and not named by the
    /// endpoint), `connect_timeout` and `stall_timeout` (zero), `retry` (no attempt),
    /// `user_agent`, `proxy`, `root_certificates_pem`. [`Error::Credentials`] if none were given.
    pub fn build(self) -> Result<Client> {
        self.build_with(Box::new(SystemClock), |config, origin| {
            let factory = TransportFactory::new(config, origin)?;
            Ok(Box::new(move || Arc::new(factory.transport())))
        })
    }

    pub(super) fn build_with(
        self,
        clock: Box<dyn Clock>,
        connector: impl FnOnce(&TransportConfig, &str) -> Result<NewTransport>,
    ) -> Result<Client> {
        let endpoint = Endpoint::parse(&self.endpoint, self.cname, self.path_style)?;
        if endpoint.tls && !HAS_TLS {
            let reason = "uses https, but this build has no TLS; \
                          enable the feature rustls or native-tls";
            let endpoint = &self.endpoint;
            return Err(Error::option("endpoint", format!("{endpoint:?} {reason}")));
        }
        let signing_method = match self.signature {
            SignatureVersion::V1 => SigningMethod::V1,
            SignatureVersion::V4 => SigningMethod::V4 {
                region: region(self.region.as_deref(), &endpoint)?,
            },
        };
        let timeouts = [
            ("connect_timeout", self.connect_timeout),
            ("stall_timeout", self.stall_timeout),
        ];
        if let Some((option, _)) = timeouts.iter().find(|(_, timeout)| timeout.is_zero()) {
            let reason = "must be greater than zero; omit it to use the default";
            return Err(Error::option(option, reason));
        }
        if self.retry.max_attempts == 0 {
            return Err(Error::option("retry", "max_attempts must be at least 1"));
        }
        let user_agent = &self.transport.user_agent;
        if !user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            let reason = format!("{user_agent:?} must be printable ASCII");
            return Err(Error::option("user_agent", reason));
        }
        let new_transport = connector(&self.transport, &endpoint.origin())?;
        let Some(credentials) = self.credentials else {
            let reason = "none were given; use ClientBuilder::credentials";
            return Err(Error::Credentials {
                source: InvalidCredentials(reason.into()).into(),
            });
        };
        let shared = Shared {
            origin: endpoint.origin(),
            endpoint,
            signing_method,
            credentials,
            last_credentials: Mutex::default(),
            retry: self.retry,
            connect_timeout: self.connect_timeout,
            stall_timeout: self.stall_timeout,
            clock,
            new_transport,
            idle: Mutex::default(),
            clock_skew_seconds: Mutex::default(),
        };
        Ok(Client {
            shared: Arc::new(shared),
        })
    }
}

fn region(given: Option<&str>, endpoint: &Endpoint) -> Result<String> {
    let region = match given {
        Some(region) => region.strip_prefix("oss-").unwrap_or(region),
        None => endpoint.region().ok_or_else(|| {
            let origin = endpoint.origin();
            let reason = format!(
                "V4 signatures need it, and {origin} does not name it; \
                 set ClientBuilder::region or OSS_REGION, for example to \"cn-hangzhou\""
            );
            Error::option("region", reason)
        })?,
    };
    match is_region_id(region) {
        true => Ok(region.to_owned()),
        false => {
            let reason = format!("{region:?} must be a region ID such as \"cn-hangzhou\"");
            Err(Error::option("region", reason))
        }
    }
}

fn is_region(text: &str) -> bool {
    is_region_name(text.strip_prefix("oss-").unwrap_or(text))
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("signature", &self.signature)
            .field("cname", &self.cname)
            .field("path_style", &self.path_style)
            .field("connect_timeout", &self.connect_timeout)
            .field("stall_timeout", &self.stall_timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

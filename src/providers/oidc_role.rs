use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::cache::Cache;
use super::environment::{
    Environment, OIDC_PROVIDER_ARN, OIDC_TOKEN_FILE, ROLE_ARN, ROLE_SESSION_NAME, STS_REGION,
    VPC_ENDPOINT_ENABLED,
};
use super::failure::Failure;
use super::http::{BODY_BYTES_MAX, Service, Timeouts, Url, read_credentials};
use super::json::Object;
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::encoding::percent_encode;
use crate::endpoint::is_region_id;
use crate::protocol::request::{Method, Response, encode_query_pairs};
use crate::{Error, Result, time};

/// STS is on the internet, perhaps behind a proxy and on another continent.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    response: Duration::from_secs(10),
};
const SESSION_NAME: &str = "oss-upload";
/// How long the credentials shall be valid, in seconds.
const DURATION: u32 = 3600;
/// The years that the timestamp can be written for.
const LATEST_TIME: Duration = Duration::from_secs(253_402_300_799);

/// A RAM role that is assumed with an OIDC token: RRSA in an ACK cluster, or CI with OIDC.
///
/// The token is read from its file whenever credentials are fetched, since whoever issued it
/// replaces it. STS exchanges it for credentials that are valid for an hour
/// (`AssumeRoleWithOIDC`, an unsigned request). They are kept and renewed 15 minutes before they
/// expire. A connection to STS may take 5 seconds and a response 10. Alibaba Cloud documentation:
/// "Use RRSA to authorize different pods", "AssumeRoleWithOIDC".
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::OidcRole;
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(OidcRole::from_env()?)
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct OidcRole {
    source: OidcSource,
    cache: Cache,
}

impl OidcRole {
    /// Reads the settings from the environment, as the pods of an ACK cluster have them.
    ///
    /// `ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN` and
    /// `ALIBABA_CLOUD_OIDC_TOKEN_FILE` are required. `ALIBABA_CLOUD_ROLE_SESSION_NAME` defaults to
    /// `oss-upload`. `ALIBABA_CLOUD_STS_REGION` chooses `sts.<region>.aliyuncs.com` instead of
    /// `sts.aliyuncs.com`, and with `ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED=true`
    /// `sts-vpc.<region>.aliyuncs.com`.
    ///
    /// # Errors
    /// [`Error::Credentials`] names the variable that is missing or wrong.
    pub fn from_env() -> Result<OidcRole> {
        let source = OidcSource::from_environment(&Environment::of_process());
        let source = source.map_err(|failure| Error::Credentials {
            source: failure.context(NAME).into_error(),
        })?;
        Ok(OidcRole {
            source,
            cache: Cache::new(),
        })
    }

    /// Sets the endpoint of STS: a URL, or a host that is reached by https.
    ///
    /// Defaults to `https://sts.aliyuncs.com`, or to that of `ALIBABA_CLOUD_STS_REGION`. Limit: use
    /// http only for a server of your own, since the token would be readable on the way. Alibaba
    /// Cloud documentation: "STS endpoints".
    #[must_use]
    #[doc(alias = "WithSTSEndpoint")]
    pub fn sts_endpoint(mut self, url: impl Into<String>) -> OidcRole {
        self.source.endpoint = with_scheme(url.into());
        self
    }
}

impl fmt::Debug for OidcRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::parse(&self.source.endpoint);
        f.debug_struct("OidcRole")
            .field("role_arn", &self.source.role_arn)
            .field("provider_arn", &self.source.provider_arn)
            .field("token_file", &self.source.token_file)
            .field("session_name", &self.source.session_name)
            .field(
                "sts_endpoint",
                &url.map_or_else(|_| "invalid".into(), |url| url.shown()),
            )
            .finish_non_exhaustive()
    }
}

provide_from_cache!(OidcRole);

const NAME: &str = "OIDC role";

pub(super) struct OidcSource {
    pub(super) role_arn: String,
    pub(super) provider_arn: String,
    pub(super) token_file: PathBuf,
    pub(super) session_name: Option<String>,
    pub(super) duration: Option<u32>,
    pub(super) endpoint: String,
}

impl OidcSource {
    pub(super) fn from_environment(
        environment: &Environment,
    ) -> std::result::Result<OidcSource, Failure> {
        let (token_file, provider_arn) = (
            environment.get(OIDC_TOKEN_FILE),
            environment.text(OIDC_PROVIDER_ARN)?,
        );
        if token_file.is_none() && provider_arn.is_none() {
            let message = format!("neither {OIDC_TOKEN_FILE} nor {OIDC_PROVIDER_ARN} is set");
            return Err(Failure::not_configured(message));
        }
        let missing = |name: &str| Failure::permanent(format!("{name} is not set or is empty"));
        Ok(OidcSource {
            role_arn: environment
                .text(ROLE_ARN)?
                .ok_or_else(|| missing(ROLE_ARN))?,
            provider_arn: provider_arn.ok_or_else(|| missing(OIDC_PROVIDER_ARN))?,
            token_file: token_file.ok_or_else(|| missing(OIDC_TOKEN_FILE))?.into(),
            session_name: environment.text(ROLE_SESSION_NAME)?,
            duration: None,
            endpoint: OidcSource::endpoint_of(environment, None, false)?,
        })
    }

    /// Returns the endpoint of a region, which the environment may name.
    pub(super) fn endpoint_of(
        environment: &Environment,
        region: Option<&str>,
        is_vpc: bool,
    ) -> std::result::Result<String, Failure> {
        let from_environment = match region {
            Some(_) => None,
            None => environment.text(STS_REGION)?,
        };
        let Some(region) = region.or(from_environment.as_deref()) else {
            return Ok("https://sts.aliyuncs.com".into());
        };
        if !is_region_id(region) {
            let message = format!(
                "the region of STS ({STS_REGION} or sts_region), {region:?}, \
                 must be a region ID such as \"cn-hangzhou\""
            );
            return Err(Failure::permanent(message));
        }
        let is_vpc = is_vpc || environment.is_true(VPC_ENDPOINT_ENABLED);
        let host = if is_vpc { "sts-vpc" } else { "sts" };
        Ok(format!("https://{host}.{region}.aliyuncs.com"))
    }

    fn read_token(&self) -> std::result::Result<String, Failure> {
        let path = self.token_file.display();
        let hint = format!("check {OIDC_TOKEN_FILE}");
        let token = read_bounded(&self.token_file, BODY_BYTES_MAX).map_err(|error| {
            let message = format!("cannot read the OIDC token {path}: {error}; {hint}");
            match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::InvalidData => Failure::permanent(message),
                _ => Failure::transient(message),
            }
        })?;
        let token = token.trim();
        if token.is_empty() {
            // Whoever writes it may be about to.
            return Err(Failure::transient(format!(
                "the OIDC token {path} is empty; {hint}"
            )));
        }
        Ok(token.to_owned())
    }
}

pub(super) fn with_scheme(url: String) -> String {
    match url.contains("://") {
        true => url,
        false => format!("https://{url}"),
    }
}

/// Reads a small file of text.
pub(super) fn read_bounded(path: &std::path::Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(bytes_max as u64 + 1).read_to_string(&mut text)?;
    if text.len() > bytes_max {
        let message = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

impl Fetch for OidcSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn fetch(&self, clock: &dyn Clock) -> std::result::Result<Fetched, Failure> {
        let url = Url::parse(&self.endpoint)
            .map_err(|reason| Failure::permanent(format!("the endpoint of STS {reason}")))?;
        let token = self.read_token()?;
        let latest = SystemTime::UNIX_EPOCH + LATEST_TIME;
        let now = clock.now().clamp(SystemTime::UNIX_EPOCH, latest);
        let query = encode([
            ("Action", "AssumeRoleWithOIDC"),
            ("Format", "JSON"),
            ("Version", "2015-04-01"),
            ("Timestamp", &time::format_rfc3339(now)),
        ]);
        let form = encode([
            ("RoleArn", self.role_arn.as_str()),
            ("OIDCProviderArn", &self.provider_arn),
            ("OIDCToken", &token),
            (
                "RoleSessionName",
                self.session_name.as_deref().unwrap_or(SESSION_NAME),
            ),
            (
                "DurationSeconds",
                &self.duration.unwrap_or(DURATION).to_string(),
            ),
        ]);
        let content_type = (
            Cow::Borrowed("content-type"),
            "application/x-www-form-urlencoded".to_owned(),
        );
        let service = Service::new(&url, TIMEOUTS)?;
        let request = format!("{}/?{query}", url.origin());
        let response = service.send(Method::Post, &request, &[content_type], &form);
        let hint = format!("check the network and {STS_REGION}");
        let response = response.map_err(|error| error.into_failure(&hint))?;
        let peer = url.origin();
        let object = Object::parse(&response.body);
        if response.status != 200 {
            return Err(refusal(peer, &response, object.ok().as_ref()));
        }
        let wrong = |reason: String| {
            Failure::transient(format!(
                "the response of {peer} {reason}; \
                 something else than STS may have responded, such as a proxy"
            ))
        };
        let object = object.map_err(wrong)?;
        let credentials = object.object("Credentials");
        let credentials = credentials.ok_or_else(|| wrong("has no Credentials".into()))?;
        read_credentials(NAME, &credentials, &response, clock).map_err(wrong)
    }
}

fn encode<'a, const N: usize>(pairs: [(&'a str, &'a str); N]) -> String {
    encode_query_pairs(
        pairs
            .into_iter()
            .map(|(name, value)| (percent_encode(name), percent_encode(value))),
    )
}

/// Describes an error response of STS. Its message is not shown, since it may quote the token.
fn refusal(peer: &str, response: &Response, object: Option<&Object>) -> Failure {
    let field = |name| {
        object
            .and_then(|object| object.text(name))
            .unwrap_or_default()
    };
    let shown = |name| field(name).chars().take(100).collect::<String>();
    let (status, code) = (response.status, field("Code"));
    let hint = match code {
        _ if code.contains("Expired") && !code.starts_with("InvalidTimeStamp") => {
            "the OIDC token has expired; check that it is renewed"
        }
        _ if code.starts_with("InvalidTimeStamp") => "check this machine's clock",
        _ if code.contains("NoPermission") => {
            "check that the trust policy of the role allows this OIDC provider, audience and subject"
        }
        _ if code.starts_with("EntityNotExist") => {
            "check ALIBABA_CLOUD_ROLE_ARN and ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
        }
        "" => "something else than STS may have responded, such as a proxy",
        _ => {
            "check ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and \
             ALIBABA_CLOUD_OIDC_TOKEN_FILE"
        }
    };
    let mut message = format!("AssumeRoleWithOIDC at {peer} failed: {status}");
    if !code.is_empty() {
        message.push(' ');
        message.push_str(&shown("Code"));
    }
    message = format!("{message}; {hint}");
    if !field("RequestId").is_empty() {
        message = format!("{message} (request id {})", shown("RequestId"));
    }
    // The file of an expired token is read again, and a proxy's error has no code.
    let is_final = (400..500).contains(&status)
        && !matches!(status, 408 | 429)
        && !code.is_empty()
        && !code.starts_with("Throttling")
        && !code.contains("Expired");
    match is_final {
        true => Failure::permanent(message),
        false => Failure::transient(message),
    }
}

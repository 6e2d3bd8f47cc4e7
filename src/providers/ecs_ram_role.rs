use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::cache::Cache;
use super::environment::{ECS_METADATA, ECS_METADATA_DISABLED, Environment, IMDS_V1_DISABLED};
use super::failure::{Failure, Kind};
use super::http::{METADATA_ADDRESS, Service, Timeouts, Url, read_credentials};
use super::json::Object;
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::encoding::percent_encode;
use crate::protocol::request::{Method, Response};

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(1),
    response: Duration::from_secs(2),
};
const TOKEN_TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
/// The longest that the service allows.
const TOKEN_TTL_SECONDS: &str = "21600";
const TOKEN_BYTES_MAX: usize = 4096;
const ROLES_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const ROLE_BYTES_MAX: usize = 64;

/// The RAM role of the ECS instance that the program runs on.
///
/// The credentials come from the instance's metadata service, without a key on the disk. The
/// service is asked in its hardened mode (IMDSv2), and in the older one (IMDSv1) if that gives no
/// token. It is never asked through a proxy. Each connection may take 1 second and each response 2.
///
/// The credentials are kept and renewed 15 minutes before they expire. Alibaba Cloud documentation:
/// "Instance RAM roles", "Instance metadata".
///
/// The variables of Alibaba Cloud's other tools are read when credentials are fetched:
/// `ALIBABA_CLOUD_ECS_METADATA` names the role, `ALIBABA_CLOUD_IMDSV1_DISABLED=true` allows IMDSv2
/// only, and with `ALIBABA_CLOUD_ECS_METADATA_DISABLED=true` this provider fails.
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::EcsRamRole;
///
/// let client = Client::builder("https://oss-cn-hangzhou-internal.aliyuncs.com")
///     .credentials(EcsRamRole::new().role("upload-role"))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct EcsRamRole {
    source: EcsSource,
    cache: Cache,
}

impl EcsRamRole {
    /// Creates a provider that asks the metadata service which role the instance has.
    pub fn new() -> EcsRamRole {
        EcsRamRole {
            source: EcsSource::new(Environment::of_process()),
            cache: Cache::new(),
        }
    }

    /// Sets the name of the role, which saves one request.
    ///
    /// Defaults to `ALIBABA_CLOUD_ECS_METADATA`, or else to the role that is attached to the
    /// instance. Limit: one role is attached to an instance at a time. Alibaba Cloud documentation:
    /// "Instance RAM roles".
    #[must_use]
    #[doc(alias("WithRoleName", "role_name"))]
    pub fn role(mut self, name: impl Into<String>) -> EcsRamRole {
        self.source.role = Some(name.into());
        self
    }

    /// Sets where the metadata service is, for a service of your own or a test.
    ///
    /// Defaults to `http://100.100.100.200`. Limit: an http or https URL without a path; no proxy is
    /// used. Alibaba Cloud documentation: "Instance metadata".
    #[must_use]
    pub fn endpoint(mut self, url: impl Into<String>) -> EcsRamRole {
        self.source.endpoint = url.into();
        self
    }

    /// Sets whether the older mode of the service (IMDSv1) may be used where IMDSv2 gives no token.
    ///
    /// Defaults to `true`, unless `ALIBABA_CLOUD_IMDSV1_DISABLED` is `true`. Alibaba Cloud
    /// documentation: "Instance metadata", security hardening mode.
    #[must_use]
    #[doc(alias("WithDisableIMDSv1", "disable_imds_v1"))]
    pub fn imds_v1(mut self, allowed: bool) -> EcsRamRole {
        self.source.imds_v1 = Some(allowed);
        self
    }
}

impl Default for EcsRamRole {
    fn default() -> EcsRamRole {
        EcsRamRole::new()
    }
}

impl fmt::Debug for EcsRamRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EcsRamRole")
            .field("role", &self.source.role)
            .field("endpoint", &self.source.shown_endpoint())
            .field("imds_v1", &self.source.imds_v1)
            .finish_non_exhaustive()
    }
}

provide_from_cache!(EcsRamRole);

pub(super) struct EcsSource {
    pub(super) role: Option<String>,
    pub(super) endpoint: String,
    pub(super) imds_v1: Option<bool>,
    /// Nobody said that this is an instance: a service that is not there is no failure.
    pub(super) is_probe: bool,
    environment: Environment,
    pub(super) timeouts: Timeouts,
}

impl EcsSource {
    pub(super) fn new(environment: Environment) -> EcsSource {
        EcsSource {
            role: None,
            endpoint: format!("http://{METADATA_ADDRESS}"),
            imds_v1: None,
            is_probe: false,
            environment,
            timeouts: TIMEOUTS,
        }
    }

    fn shown_endpoint(&self) -> String {
        Url::parse(&self.endpoint).map_or_else(|_| "invalid".into(), |url| url.shown())
    }
}

impl Fetch for EcsSource {
    fn name(&self) -> &'static str {
        "ECS RAM role"
    }

    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure> {
        if self.environment.is_true(ECS_METADATA_DISABLED) {
            let message = format!("{ECS_METADATA_DISABLED} is true; unset it to use this provider");
            return Err(Failure::not_configured(message));
        }
        let url = Url::parse(&self.endpoint)
            .map_err(|reason| Failure::permanent(format!("the endpoint {reason}")))?;
        let role = match &self.role {
            Some(role) => Some(role.clone()),
            None => self.environment.text(ECS_METADATA)?,
        };
        let is_v1_disabled = || self.environment.is_true(IMDS_V1_DISABLED);
        let metadata = Metadata {
            service: Service::new(&url, self.timeouts)?,
            origin: url.origin(),
            is_probe: self.is_probe && role.is_none(),
            allows_v1: self.imds_v1.unwrap_or_else(|| !is_v1_disabled()),
        };
        let token = metadata.token()?;
        let role = match role {
            Some(role) => role,
            None => metadata.role(token.as_deref())?,
        };
        metadata.credentials(self.name(), &role, token.as_deref(), clock)
    }
}

const CHECK_INSTANCE: &str = "outside an ECS instance, use another provider; \
                              inside, check that the metadata service is enabled and no firewall blocks it";

/// The metadata service, while it is asked.
struct Metadata<'a> {
    service: Service,
    origin: &'a str,
    is_probe: bool,
    allows_v1: bool,
}

impl Metadata<'_> {
    /// Returns the token of IMDSv2, or `None` if IMDSv1 has to do.
    fn token(&self) -> Result<Option<String>, Failure> {
        let url = format!("{}/latest/api/token", self.origin);
        let ttl = (Cow::Borrowed(TOKEN_TTL_HEADER), TOKEN_TTL_SECONDS.into());
        let reason = match self.service.send(Method::Put, &url, &[ttl], "") {
            Ok(response) if response.status == 200 => {
                match clean_text(&response, TOKEN_BYTES_MAX) {
                    Some(token) => return Ok(Some(token.to_owned())),
                    None => Failure::transient("its response is not a token"),
                }
            }
            Ok(response) => match response.status {
                400..=499 => Failure::permanent(format!("its status is {}", response.status)),
                status => Failure::transient(format!("its status is {status}")),
            },
            Err(error) if error.is_connect => {
                let failure = error.into_failure(CHECK_INSTANCE);
                let kind = if self.is_probe {
                    Kind::NotConfigured
                } else {
                    failure.kind
                };
                let failure = Failure::new(kind, failure.message);
                return Err(failure.context("cannot reach the metadata service"));
            }
            Err(error) => error.into_failure("no token was received"),
        };
        if self.allows_v1 {
            log::debug!(
                "no IMDSv2 token of {}: {}; using IMDSv1",
                self.origin,
                reason.message
            );
            return Ok(None);
        }
        let context = format!(
            "PUT {url} gave no IMDSv2 token, and IMDSv1 is disabled \
             ({IMDS_V1_DISABLED} or imds_v1(false))"
        );
        Err(reason.context(context))
    }

    /// Returns the name of the role that is attached to the instance.
    fn role(&self, token: Option<&str>) -> Result<String, Failure> {
        let not_attached = "no RAM role is attached to this instance; attach one, \
                            or use another provider";
        let response = self.get("", token, not_attached)?;
        if response.body.trim_ascii().is_empty() {
            return Err(Failure::permanent(not_attached));
        }
        let role = clean_text(&response, ROLE_BYTES_MAX).filter(|role| is_role_name(role));
        role.map(str::to_owned).ok_or_else(|| {
            let origin = self.origin;
            Failure::transient(format!(
                "what {origin} responded is not the name of a role; \
                 something else than the metadata service may have responded"
            ))
        })
    }

    fn credentials(
        &self,
        name: &str,
        role: &str,
        token: Option<&str>,
        clock: &dyn Clock,
    ) -> Result<Fetched, Failure> {
        let not_attached = format!(
            "the role {role:?} is not attached to this instance; \
             check its name (EcsRamRole::role, {ECS_METADATA}), or omit it"
        );
        let response = self.get(&percent_encode(role), token, &not_attached)?;
        let wrong = |reason: String| {
            let origin = self.origin;
            Failure::transient(format!(
                "the response of {origin} for role {role:?} {reason}"
            ))
        };
        let object = Object::parse(&response.body).map_err(wrong)?;
        match object.text("Code") {
            None | Some("Success") => {}
            Some(code) => {
                let code: String = code.chars().take(64).collect();
                return Err(wrong(format!(
                    "has the code {code:?} instead of \"Success\""
                )));
            }
        }
        read_credentials(name, &object, &response, clock).map_err(wrong)
    }

    fn get(&self, path: &str, token: Option<&str>, not_found: &str) -> Result<Response, Failure> {
        let url = format!("{}{ROLES_PATH}{path}", self.origin);
        let token_header = token.map(|token| (Cow::Borrowed(TOKEN_HEADER), token.to_owned()));
        let headers = token_header.as_slice();
        let response = self.service.send(Method::Get, &url, headers, "");
        let response = response.map_err(|error| error.into_failure(CHECK_INSTANCE))?;
        match response.status {
            200 => Ok(response),
            404 => Err(Failure::permanent(not_found)),
            401 | 403 if token.is_none() => Err(Failure::transient(format!(
                "GET {url} has the status {}: the instance accepts IMDSv2 only, \
                 and no token was received; \
                 in a container, raise the hop limit of the instance's metadata",
                response.status
            ))),
            status => {
                let message = format!("GET {url} has the status {status}; {CHECK_INSTANCE}");
                Err(Failure::transient(message))
            }
        }
    }
}

/// Returns the body if it is visible ASCII, and not too long.
fn clean_text(response: &Response, bytes_max: usize) -> Option<&str> {
    let text = std::str::from_utf8(response.body.trim_ascii()).ok()?;
    let is_clean =
        (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_clean.then_some(text)
}

fn is_role_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte))
}

use std::fmt;
use std::time::Duration;

use super::cache::Cache;
use super::environment::CREDENTIALS_URI;
use super::failure::Failure;
use super::http::{Service, Timeouts, Url, read_credentials};
use super::json::Object;
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::protocol::request::Method;

const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    response: Duration::from_secs(10),
};

/// A service that returns temporary credentials as JSON, such as a broker of your own.
///
/// A GET request must be answered with status 200 and
///
/// ```json
/// {
///   "Code": "Success",
///   "AccessKeyId": "…",
///   "AccessKeySecret": "…",
///   "SecurityToken": "…",
///   "Expiration": "2026-12-02T09:00:00Z"
/// }
/// ```
///
/// The credentials are kept and renewed 15 minutes before they expire, or after three quarters of
/// their life if that is later. A connection may take 2 seconds and a response 10, since a broker
/// may have to ask STS first. Redirects are not followed. A proxy of the environment is used, but
/// not for a loopback or link-local host. Alibaba Cloud documentation: "Manage access credentials",
/// credentials URI.
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::CredentialsUri;
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(CredentialsUri::new("http://127.0.0.1:7002/credentials"))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct CredentialsUri {
    source: UriSource,
    cache: Cache,
}

impl CredentialsUri {
    /// Creates a provider that asks this URL. Nothing is checked before credentials are needed.
    ///
    /// Limit: http or https, without a user name. The query may hold a secret; it is never shown.
    pub fn new(url: impl Into<String>) -> CredentialsUri {
        CredentialsUri {
            source: UriSource::new(url.into()),
            cache: Cache::new(),
        }
    }
}

impl fmt::Debug for CredentialsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::parse(&self.source.url);
        f.debug_struct("CredentialsUri")
            .field(
                "url",
                &url.map_or_else(|_| "invalid".into(), |url| url.shown()),
            )
            .finish_non_exhaustive()
    }
}

provide_from_cache!(CredentialsUri);

pub(super) struct UriSource {
    url: String,
    pub(super) timeouts: Timeouts,
}

impl UriSource {
    pub(super) fn new(url: String) -> UriSource {
        UriSource {
            url,
            timeouts: TIMEOUTS,
        }
    }
}

impl Fetch for UriSource {
    fn name(&self) -> &'static str {
        "credentials URI"
    }

    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure> {
        let url = Url::parse(&self.url).map_err(|reason| {
            let what = "the URL (CredentialsUri::new,";
            Failure::permanent(format!("{what} {CREDENTIALS_URI}) {reason}"))
        })?;
        let shown = url.shown();
        let service = Service::new(&url, self.timeouts)?;
        let response = service.send(Method::Get, &url.full(), &[], "");
        let hint = format!("check the URL ({CREDENTIALS_URI}) and the service behind it");
        let response = response.map_err(|error| error.into_failure(&hint))?;
        match response.status {
            200 => {}
            status @ (400..=499) if !matches!(status, 408 | 429) => {
                let message = format!("GET {shown} has the status {status}; {hint}");
                return Err(Failure::permanent(message));
            }
            status => {
                let message = format!("GET {shown} has the status {status}; {hint}");
                return Err(Failure::transient(message));
            }
        }
        let wrong =
            |reason| Failure::transient(format!("the response of {shown} {reason}; {hint}"));
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
        read_credentials(self.name(), &object, &response, clock).map_err(wrong)
    }
}

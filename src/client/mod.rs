//! Sends one operation at a time: signs it, sends it, classifies the response, waits and retries.
//! The crate's only clock and its only sleep are here.

mod abort;
mod body;
mod builder;
mod clock;
mod dispatch;
mod interval;
mod list_uploads;
mod rate_limit;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub(crate) use abort::{AbortHandle, AbortReason};
pub(crate) use body::{RequestBody, TextBody};
pub use builder::ClientBuilder;
pub(crate) use clock::Clock;
#[cfg(feature = "credential-providers")]
pub(crate) use clock::SystemClock;
#[cfg(all(test, feature = "credential-providers"))]
pub(crate) use clock::VirtualClock;
pub(crate) use dispatch::{CallError, CleanupBudget, Dispatcher};
pub(crate) use interval::Interval;
pub(crate) use list_uploads::UploadPages;
pub use rate_limit::BandwidthLimit;

use crate::credentials::{Credentials, ProvideCredentials};
use crate::endpoint::Endpoint;
use crate::protocol::error_response::ErrorResponse;
use crate::protocol::request::{Request, Response};
use crate::protocol::retry::RetryPolicy;
use crate::sign;
use crate::time;
use crate::transport::Transport;
use crate::{Error, Result};

/// Server times that are accepted, in seconds since 1970: the years 2010 to 2100. They cannot be
/// compared with the local clock, which may be wrong by decades.
const PLAUSIBLE_SERVER_TIME: std::ops::Range<u64> = 1_262_304_000..4_102_444_800;
/// The last second of the year 9999, the last one that the signatures can write.
const LATEST_TIME: Duration = Duration::from_secs(253_402_300_799);
/// How many transports are kept for later calls, and for how long. OSS closes a connection that
/// was idle for about a minute.
const IDLE_TRANSPORTS_MAX: usize = 8;
const IDLE_AGE_MAX: Duration = Duration::from_secs(45);

/// An endpoint, credentials and settings; the start of every upload.
///
/// Cheap to clone, and clones share their connections. May be used from many threads at once.
///
/// ```
/// let client = oss_upload::Client::new(
///     "https://oss-cn-hangzhou.aliyuncs.com",
///     "<AccessKeyId>",
///     "<AccessKeySecret>",
/// )?;
/// let bucket = client.bucket("examplebucket")?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    origin: String,
    signing_method: SigningMethod,
    credentials: Box<dyn ProvideCredentials>,
    last_credentials: Mutex<Option<Credentials>>,
    retry: RetryPolicy,
    connect_timeout: Duration,
    stall_timeout: Duration,
    clock: Box<dyn Clock>,
    new_transport: NewTransport,
    /// Transports with their idle connections, and since when they are idle. Each call checks one
    /// out for itself, so that cancelling it breaks no other call's connections.
    idle: Mutex<Vec<(Arc<dyn Transport>, Instant)>>,
    /// How many seconds the server's clock is ahead of the local one.
    clock_skew_seconds: Mutex<i64>,
}

type NewTransport = Box<dyn Fn() -> Arc<dyn Transport> + Send + Sync>;

enum SigningMethod {
    V1,
    V4 { region: String },
}

impl Client {
    /// Creates a client with V4 signatures and default settings.
    ///
    /// `endpoint` is a region or a URL:
    ///
    /// * `cn-hangzhou` stands for `https://oss-cn-hangzhou.aliyuncs.com`, and
    ///   `cn-hangzhou-internal` for the endpoint within the region's network, where the traffic
    ///   costs nothing. A name without a dot, a slash and a colon is a region; only `localhost` is
    ///   a host.
    /// * `https://oss-cn-hangzhou.aliyuncs.com`; without a scheme, https is used. The region is
    ///   read from it. For a CNAME, an IP address or an accelerate endpoint, use
    ///   [`Client::builder`] and set the region.
    ///
    /// ```
    /// let client = oss_upload::Client::new("cn-hangzhou", "<AccessKeyId>", "<AccessKeySecret>")?;
    /// assert_eq!(client.endpoint(), "https://oss-cn-hangzhou.aliyuncs.com");
    /// # Ok::<(), oss_upload::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the endpoint is invalid or its region cannot be read, or if it
    /// is an https endpoint and the crate was built without TLS. [`Error::Credentials`] if the key
    /// is malformed.
    pub fn new(
        endpoint: &str,
        access_key_id: impl Into<String>,
        access_key_secret: impl Into<String>,
    ) -> Result<Client> {
        let credentials = Credentials::new(access_key_id, access_key_secret);
        credentials.check().map_err(credentials_error)?;
        Client::builder(endpoint).credentials(credentials).build()
    }

    /// Creates a client from the environment: `OSS_ENDPOINT` (optional where `OSS_REGION` is set,
    /// whose endpoint is used then), `OSS_REGION` (optional where the endpoint names it),
    /// `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN`
    /// (optional), or the variables of Alibaba Cloud's other tools ([`Credentials::from_env`]).
    /// [`ClientBuilder::from_env`] allows further settings.
    ///
    /// # Errors
    /// As [`Client::new`]. The message names the variable that is missing.
    pub fn from_env() -> Result<Client> {
        ClientBuilder::from_env()?.build()
    }

    /// Returns a builder with every setting; `endpoint` is as in [`Client::new`]. Nothing is
    /// checked before [`build`](ClientBuilder::build).
    pub fn builder(endpoint: &str) -> ClientBuilder {
        ClientBuilder::new(endpoint)
    }

    /// Returns the endpoint, as `https://host[:port]`.
    pub fn endpoint(&self) -> &str {
        &self.shared.origin
    }

    pub(crate) fn parsed_endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        Dispatcher::new(self.clone())
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    /// Returns the server's time, as far as it is known, within the years 1970 to 9999.
    pub(crate) fn now(&self) -> SystemTime {
        let skew = *lock(&self.shared.clock_skew_seconds);
        let distance = Duration::from_secs(skew.unsigned_abs());
        let local = self.clock().now();
        let latest = SystemTime::UNIX_EPOCH + LATEST_TIME;
        match skew < 0 {
            true => local
                .checked_sub(distance)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            false => local.checked_add(distance).unwrap_or(latest),
        }
        .clamp(SystemTime::UNIX_EPOCH, latest)
    }

    /// Adopts the server's time from the response's `Date`, or from its error. Returns `false` if
    /// neither is readable and plausible.
    fn sync_clock(&self, response: &Response, error: &ErrorResponse) -> bool {
        let in_error = || error.server_time.as_deref().and_then(time::parse_rfc3339);
        let Some(server_time) = response.date().or_else(in_error) else {
            return false;
        };
        let since_1970 = server_time.duration_since(SystemTime::UNIX_EPOCH);
        let is_plausible =
            since_1970.is_ok_and(|since| PLAUSIBLE_SERVER_TIME.contains(&since.as_secs()));
        if is_plausible {
            let skew = match server_time.duration_since(self.clock().now()) {
                Ok(ahead) => ahead.as_secs().cast_signed(),
                Err(behind) => -behind.duration().as_secs().cast_signed(),
            };
            *lock(&self.shared.clock_skew_seconds) = skew;
        }
        is_plausible
    }

    /// Asks the provider for credentials, and validates them.
    fn credentials(&self) -> Result<Credentials> {
        let credentials = self.shared.credentials.credentials();
        let credentials = credentials.map_err(credentials_error)?;
        credentials.check().map_err(credentials_error)?;
        let mut last = lock(&self.shared.last_credentials);
        if last.as_ref() != Some(&credentials) {
            *last = Some(credentials.clone());
        }
        Ok(credentials)
    }

    fn last_credentials(&self) -> Option<Credentials> {
        lock(&self.shared.last_credentials).clone()
    }

    fn sign(&self, request: Request, credentials: &Credentials) -> Request {
        match &self.shared.signing_method {
            SigningMethod::V1 => sign::v1::sign(request, credentials, self.now()),
            SigningMethod::V4 { region } => {
                sign::v4::sign(request, credentials, region, self.now())
            }
        }
    }

    fn url(&self, request: &Request) -> String {
        let (key, query) = (request.encoded_key(), request.encoded_query());
        self.shared.endpoint.url(&request.bucket, &key, &query)
    }

    fn checkout(&self) -> Arc<dyn Transport> {
        let now = self.clock().instant();
        let idle = {
            let mut idle = lock(&self.shared.idle);
            idle.retain(|(_, since)| now.duration_since(*since) < IDLE_AGE_MAX);
            idle.pop()
        };
        idle.map_or_else(|| (self.shared.new_transport)(), |(transport, _)| transport)
    }

    fn checkin(&self, transport: Arc<dyn Transport>) {
        transport.trim();
        let now = self.clock().instant();
        let mut idle = lock(&self.shared.idle);
        idle.retain(|(_, since)| now.duration_since(*since) < IDLE_AGE_MAX);
        if idle.len() == IDLE_TRANSPORTS_MAX {
            idle.remove(0);
        }
        idle.push((transport, now));
    }
}

fn credentials_error(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Credentials { source }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// A panic can only poison a lock, and every lock here ignores poisoning.
impl UnwindSafe for Client {}
impl RefUnwindSafe for Client {}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let region = match &self.shared.signing_method {
            SigningMethod::V1 => None,
            SigningMethod::V4 { region } => Some(region),
        };
        f.debug_struct("Client")
            .field("endpoint", &self.shared.origin)
            .field("region", &region)
            .field("connect_timeout", &self.shared.connect_timeout)
            .field("stall_timeout", &self.shared.stall_timeout)
            .field("retry", &self.shared.retry)
            .finish_non_exhaustive()
    }
}

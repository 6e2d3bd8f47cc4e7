//! One operation: sign, send, judge, wait, again. The only clock and the only sleep of the crate.

mod builder;
mod line;
mod pace;
mod payload;
mod switch;
mod ticker;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub use builder::ClientBuilder;
pub(crate) use line::{Failed, Line};
pub(crate) use pace::Pacer;
pub(crate) use payload::{Message, Payload};
pub(crate) use switch::Switch;
pub(crate) use ticker::Ticker;

use crate::credentials::{Credentials, ProvideCredentials};
use crate::dates;
use crate::endpoint::Endpoint;
use crate::protocol::failure::Failure;
use crate::protocol::request::{Request, Response};
use crate::protocol::retry::RetryPolicy;
use crate::sign;
use crate::transport::Transport;
use crate::{Error, Result};

/// A server's clock that shows another time is no clock: seconds since 1970, of the years 2010 to 2100. Ours may well stand at
/// 1970.
const BELIEVABLE: std::ops::Range<u64> = 1_262_304_000..4_102_444_800;

/// An endpoint, credentials and settings: the beginning of every upload.
///
/// Cheap to clone, and clones share their connections; may be used from many threads at once.
///
/// ```
/// let client = oss_upload::Client::new("https://oss-cn-hangzhou.aliyuncs.com", "<AccessKeyId>", "<AccessKeySecret>")?;
/// let bucket = client.bucket("examplebucket")?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    signer: Signer,
    credentials: Box<dyn ProvideCredentials>,
    retry: RetryPolicy,
    connect_timeout: Duration,
    stall_timeout: Duration,
    connect: Box<dyn Fn() -> Arc<dyn Transport> + Send + Sync>,
    /// Transports with their idle connections. An upload borrows one for itself, so that cancelling it
    /// breaks no other upload's connections.
    idle: Mutex<Vec<Arc<dyn Transport>>>,
    /// Seconds that the server's clock is ahead of ours.
    skew: AtomicI64,
}

enum Signer {
    V1,
    V4 { region: String },
}

impl Client {
    /// A client with V4 signatures and default settings.
    ///
    /// `endpoint`: such as `https://oss-cn-hangzhou.aliyuncs.com`; https where no scheme is given. The region is read
    /// from it; for a CNAME, an IP address or an accelerate endpoint use [`Client::builder`] and give it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an endpoint that is none, or whose region can't be read, and for an https
    /// endpoint when the crate was built without TLS; [`Error::Credentials`] for a key that can't be one.
    pub fn new(
        endpoint: &str,
        access_key_id: impl Into<String>,
        access_key_secret: impl Into<String>,
    ) -> Result<Client> {
        let credentials = Credentials::new(access_key_id, access_key_secret);
        credentials.check().map_err(|source| Error::Credentials { source })?;
        Client::builder(endpoint).credentials(credentials).build()
    }

    /// A client from `OSS_ENDPOINT`, `OSS_REGION` (optional where the endpoint tells it), `OSS_ACCESS_KEY_ID`,
    /// `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN` (optional). [`ClientBuilder::from_env`] sets more.
    ///
    /// # Errors
    /// As [`Client::new`]; the message names the variable that is missing.
    pub fn from_env() -> Result<Client> {
        ClientBuilder::from_env()?.build()
    }

    /// Everything that can be set; the endpoint as in [`Client::new`]. Nothing is checked before
    /// [`build`](ClientBuilder::build).
    pub fn builder(endpoint: &str) -> ClientBuilder {
        ClientBuilder::new(endpoint)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Transports, a retry policy and a way out, for one call of the user's.
    pub(crate) fn line(&self) -> Line {
        Line::new(self.clone())
    }

    /// The time of this machine, by which its files are stamped.
    pub(crate) fn local_now(&self) -> SystemTime {
        SystemTime::now()
    }

    pub(crate) fn now(&self) -> SystemTime {
        let skew = self.shared.skew.load(Ordering::Relaxed);
        let (distance, now) = (Duration::from_secs(skew.unsigned_abs()), SystemTime::now());
        if skew < 0 { now - distance } else { now + distance }
    }

    /// Sets our clock by the server's `Date`, or by what its error says. False where neither can be read.
    fn fix_clock(&self, response: &Response, failure: &Failure) -> bool {
        let in_error = || failure.server_time.as_deref().and_then(dates::parse_rfc3339);
        let Some(theirs) = response.date().or_else(in_error) else { return false };
        let skew = match theirs.duration_since(SystemTime::now()) {
            Ok(ahead) => ahead.as_secs().cast_signed(),
            Err(behind) => -behind.duration().as_secs().cast_signed(),
        };
        let since_1970 = theirs.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let believable = BELIEVABLE.contains(&since_1970.as_secs());
        if believable {
            self.shared.skew.store(skew, Ordering::Relaxed);
        }
        believable
    }

    fn credentials(&self) -> Result<Credentials> {
        let credentials =
            self.shared.credentials.credentials().map_err(|source| Error::Credentials { source })?;
        credentials.check().map_err(|source| Error::Credentials { source })?;
        Ok(credentials)
    }

    fn sign(&self, request: Request, credentials: &Credentials) -> Request {
        match &self.shared.signer {
            Signer::V1 => sign::v1::sign(request, credentials, self.now()),
            Signer::V4 { region } => sign::v4::sign(request, credentials, region, self.now()),
        }
    }

    fn lease(&self) -> Arc<dyn Transport> {
        let idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| (self.shared.connect)())
    }

    fn give_back(&self, transport: Arc<dyn Transport>) {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(transport);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.shared.endpoint.origin()).finish_non_exhaustive()
    }
}

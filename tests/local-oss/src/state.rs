//! The state that all connections of a server share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::builder::Settings;
use crate::faults::Faults;
use crate::request_log::RequestLog;
use crate::store::Store;
use crate::text::shift;

/// The secret half of a credential.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
    pub(crate) expired: bool,
}

/// The state of a server.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) faults: Faults,
    pub(crate) request_log: RequestLog,
    pub(crate) connections: AtomicUsize,
    pub(crate) started: SystemTime,
    skew_seconds: AtomicI64,
    credentials: Mutex<HashMap<String, Credential>>,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> std::io::Result<Shared> {
        let credentials =
            HashMap::from([(settings.access_key_id.clone(), settings.credential.clone())]);
        Ok(Shared {
            store: Store::open(&settings)?,
            settings,
            faults: Faults::default(),
            request_log: RequestLog::default(),
            connections: AtomicUsize::new(0),
            started: SystemTime::now(),
            skew_seconds: AtomicI64::new(0),
            credentials: Mutex::new(credentials),
        })
    }

    /// Returns the time of the server's clock.
    pub(crate) fn now(&self) -> SystemTime {
        shift(SystemTime::now(), self.skew_seconds.load(Ordering::SeqCst))
    }

    pub(crate) fn set_skew(&self, seconds: i64) {
        self.skew_seconds.store(seconds, Ordering::SeqCst);
    }

    pub(crate) fn credential(&self, id: &str) -> Option<Credential> {
        self.credentials().get(id).cloned()
    }

    pub(crate) fn add_credential(&self, id: &str, credential: Credential) {
        self.credentials().insert(id.to_owned(), credential);
    }

    pub(crate) fn expire_credential(&self, id: &str) {
        if let Some(credential) = self.credentials().get_mut(id) {
            credential.expired = true;
        }
    }

    fn credentials(&self) -> MutexGuard<'_, HashMap<String, Credential>> {
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

//! Keeps what a source returned, and renews it before it expires.

use std::error::Error;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::{Fetch, Fetched};
use crate::client::{Clock, SystemClock};
use crate::credentials::Credentials;

/// How long before they expire credentials are renewed; never more than a quarter of their life.
const RENEWAL_MARGIN: Duration = Duration::from_secs(15 * 60);
/// How long a renewal that failed is not attempted again, while the old credentials are valid.
const RENEWAL_RETRY: Duration = Duration::from_secs(30);

/// One thread at a time fetches. The others use what is kept until it has expired; only then do
/// they wait for the one that fetches, and share its result.
pub(super) struct Cache {
    clock: Box<dyn Clock>,
    state: Mutex<State>,
    /// Signalled whenever a fetch has ended.
    fetched: Condvar,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    is_fetching: bool,
    /// How many fetches have ended; wraps.
    fetches: usize,
    /// Why the latest fetch failed, if it did.
    failure: Option<Failure>,
}

struct Kept {
    credentials: Credentials,
    /// `None` if it is not known when they expire.
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl Cache {
    pub(super) fn new() -> Cache {
        Cache::with_clock(Box::new(SystemClock))
    }

    pub(super) fn with_clock(clock: Box<dyn Clock>) -> Cache {
        Cache {
            clock,
            state: Mutex::default(),
            fetched: Condvar::new(),
        }
    }

    pub(super) fn get(
        &self,
        source: &dyn Fetch,
    ) -> Result<Credentials, Box<dyn Error + Send + Sync>> {
        let result = self.get_or_fetch(source);
        result.map_err(|failure| failure.context(source.name()).into_error())
    }

    /// Drops the credentials, unless others have taken their place.
    pub(super) fn refused(&self, credentials: &Credentials) {
        let mut state = self.lock();
        if state
            .kept
            .as_ref()
            .is_some_and(|kept| kept.credentials == *credentials)
        {
            state.kept = None;
        }
    }

    fn get_or_fetch(&self, source: &dyn Fetch) -> Result<Credentials, Failure> {
        let mut state = self.lock();
        let fetches = state.fetches;
        loop {
            let now = self.clock.instant();
            if let Some(credentials) = state.usable(now) {
                return Ok(credentials);
            }
            if !state.is_fetching {
                break;
            }
            state = self
                .fetched
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if state.fetches != fetches
                && let Some(failure) = &state.failure
            {
                return Err(failure.clone());
            }
        }
        state.is_fetching = true;
        drop(state);
        // A panic in the source must not let the other threads wait for ever.
        let fetching = Fetching(self);
        let result = source.fetch(&*self.clock);
        let mut state = self.lock();
        state.fetches = state.fetches.wrapping_add(1);
        let now = self.clock.instant();
        let result = state.store(source.name(), result, now);
        drop(state);
        drop(fetching);
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Fetching<'a>(&'a Cache);

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.lock().is_fetching = false;
        self.0.fetched.notify_all();
    }
}

impl State {
    /// Returns what is kept, unless it has expired or the caller should renew it.
    fn usable(&self, now: Instant) -> Option<Credentials> {
        let kept = self.kept.as_ref()?;
        let deadline = match self.is_fetching {
            true => kept.expires_at,
            false => kept.renew_at,
        };
        let is_usable = deadline.is_none_or(|deadline| now < deadline);
        is_usable.then(|| kept.credentials.clone())
    }

    fn store(
        &mut self,
        name: &str,
        result: Result<Fetched, Failure>,
        now: Instant,
    ) -> Result<Credentials, Failure> {
        match result {
            Ok(fetched) => {
                self.failure = None;
                self.kept = Some(Kept::new(&fetched, now));
                Ok(fetched.credentials)
            }
            Err(failure) => {
                self.failure = Some(failure.clone());
                match &mut self.kept {
                    Some(kept) if kept.is_valid(now) => {
                        log::warn!(
                            "{name}: cannot renew the credentials, which are still valid: {}",
                            failure.message
                        );
                        let retry_at = now + RENEWAL_RETRY;
                        kept.renew_at = kept.expires_at.map(|expires_at| expires_at.min(retry_at));
                        Ok(kept.credentials.clone())
                    }
                    _ => {
                        self.kept = None;
                        Err(failure)
                    }
                }
            }
        }
    }
}

impl Kept {
    fn new(fetched: &Fetched, now: Instant) -> Kept {
        // What overflows the clock never expires.
        let after = |duration: Duration| now.checked_add(duration);
        let lifetime = fetched.lifetime;
        let before_renewal =
            |lifetime: Duration| lifetime.saturating_sub(RENEWAL_MARGIN.min(lifetime / 4));
        Kept {
            credentials: fetched.credentials.clone(),
            renew_at: lifetime.map(before_renewal).and_then(after),
            expires_at: lifetime.and_then(after),
        }
    }

    fn is_valid(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

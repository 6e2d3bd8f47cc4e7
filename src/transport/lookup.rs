//! Name lookups: one at a time for each name, bounded by the caller's deadline, remembered for a
//! few seconds.
//!
//! The system's resolver cannot be interrupted, so it runs on a detached thread. A lookup that
//! outlives its caller is shared by the next one. While lookups fail, the addresses of the last one
//! that succeeded are served.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::abort::AbortFlag;
use super::is_out_of_resources;
use crate::error::{FailureKind, TransportFailure};

/// Connections that are opened together share a lookup.
const FRESH: Duration = Duration::from_secs(10);
/// How long a caller that has known addresses waits for newer ones.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves host names and remembers which address worked. Clones share the cache.
#[derive(Clone)]
pub(super) struct NameCache {
    shared: Arc<Shared>,
}

struct Shared {
    names: Mutex<HashMap<(String, u16), Name>>,
    changed: Condvar,
    lookup: Box<Lookup>,
}

#[derive(Default)]
struct Name {
    /// The addresses of the last successful lookup. The one that worked comes first.
    addresses: Vec<SocketAddr>,
    /// When `addresses` were looked up; `None` if they should be looked up again.
    resolved_at: Option<Instant>,
    is_pending: bool,
    /// How many lookups have ended.
    finished: usize,
    failure: Option<TransportFailure>,
}

impl NameCache {
    pub(super) fn new() -> NameCache {
        NameCache::with_lookup(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn with_lookup(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> NameCache {
        let (names, changed) = (Mutex::default(), Condvar::new());
        NameCache {
            shared: Arc::new(Shared {
                names,
                changed,
                lookup: Box::new(lookup),
            }),
        }
    }

    /// Returns at least one address, the most promising first.
    pub(super) fn resolve(
        &self,
        host: &str,
        port: u16,
        deadline: Option<Instant>,
        abort: &AbortFlag,
    ) -> Result<Vec<SocketAddr>, TransportFailure> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let key = (host.to_owned(), port);
        let mut names = self.shared.lock();
        let name = names.entry(key.clone()).or_default();
        if name.resolved_at.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(name.addresses.clone());
        }
        let finished_before = name.finished;
        let is_known = !name.addresses.is_empty();
        if !std::mem::replace(&mut name.is_pending, true) {
            drop(names);
            Shared::start_lookup(&self.shared, &key);
            names = self.shared.lock();
        }
        let refresh = Instant::now() + REFRESH_TIMEOUT;
        let wait_until = match deadline {
            Some(deadline) if is_known => Some(deadline.min(refresh)),
            None if is_known => Some(refresh),
            deadline => deadline,
        };
        loop {
            abort.check()?;
            let Some(name) = names.get(&key) else { break };
            if name.finished != finished_before {
                return match &name.failure {
                    Some(failure) if name.addresses.is_empty() => Err(failure.clone()),
                    _ => Ok(name.addresses.clone()),
                };
            }
            let left = wait_until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                if is_known {
                    log::debug!("the lookup of {host} takes long; using its last known addresses");
                    return Ok(name.addresses.clone());
                }
                break;
            }
            let left = left.unwrap_or(Duration::from_secs(3600));
            let waited = self.shared.changed.wait_timeout(names, left);
            names = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let detail = format!("the lookup of {host} took too long");
        Err(TransportFailure::new(FailureKind::LookupTimedOut, detail))
    }

    /// Makes the next connection try this address first.
    pub(super) fn prefer(&self, host: &str, port: u16, address: SocketAddr) {
        let mut names = self.shared.lock();
        let Some(name) = names.get_mut(&(host.to_owned(), port)) else {
            return;
        };
        if let Some(index) = name.addresses.iter().position(|known| *known == address) {
            name.addresses[..=index].rotate_right(1);
        }
    }

    /// Makes the next connection look the name up again, because no address could be reached.
    pub(super) fn expire(&self, host: &str, port: u16) {
        if let Some(name) = self.shared.lock().get_mut(&(host.to_owned(), port)) {
            name.resolved_at = None;
        }
    }

    /// Wakes all waiting threads, which then check their abort flags.
    pub(super) fn wake(&self) {
        drop(self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u16), Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_lookup(shared: &Arc<Shared>, key: &(String, u16)) {
        let (on_thread, name) = (Arc::clone(shared), key.clone());
        let builder = thread::Builder::new().name("oss-upload-lookup".into());
        if builder.spawn(move || on_thread.run_lookup(&name)).is_err() {
            // Without a thread, the lookup runs here and has no time limit.
            shared.run_lookup(key);
        }
    }

    fn run_lookup(&self, key: &(String, u16)) {
        let result = (self.lookup)(&key.0, key.1);
        let mut names = self.lock();
        let name = names.entry(key.clone()).or_default();
        name.is_pending = false;
        name.finished = name.finished.wrapping_add(1);
        match result {
            Ok(addresses) if !addresses.is_empty() => {
                // The address that worked stays in front.
                let best = name.addresses.first().copied();
                name.addresses = addresses;
                if let Some(index) = name.addresses.iter().position(|known| Some(*known) == best) {
                    name.addresses[..=index].rotate_right(1);
                }
                name.resolved_at = Some(Instant::now());
                name.failure = None;
            }
            Ok(_) => name.failure = Some(not_found(&key.0, "it has no address")),
            Err(error) => {
                log::debug!("the lookup of {} failed: {error}", key.0);
                name.failure = Some(lookup_failure(&key.0, &error));
            }
        }
        drop(names);
        self.changed.notify_all();
    }
}

impl fmt::Debug for NameCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameCache").finish_non_exhaustive()
    }
}

fn lookup_failure(host: &str, error: &io::Error) -> TransportFailure {
    if is_out_of_resources(error) {
        let detail = format!("cannot look up {host}: {error}");
        return TransportFailure::new(FailureKind::NoResources, detail);
    }
    let words = error.to_string();
    not_found(
        host,
        words.trim_start_matches("failed to lookup address information: "),
    )
}

fn not_found(host: &str, why: &str) -> TransportFailure {
    TransportFailure::new(
        FailureKind::HostNotFound,
        format!("cannot look up {host}: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(20))
    }

    #[test]
    fn lookup_is_shared_by_threads_and_remembered() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let cache = NameCache::with_lookup(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(50));
            Ok(vec![address(1), address(2)])
        });
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    cache
                        .resolve("h", 80, soon(), &AbortFlag::default())
                        .unwrap()
                });
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
        cache.prefer("h", 80, address(2));
        let addresses = cache
            .resolve("h", 80, soon(), &AbortFlag::default())
            .unwrap();
        assert_eq!(addresses, [address(2), address(1)]);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        cache.expire("h", 80);
        let addresses = cache
            .resolve("h", 80, soon(), &AbortFlag::default())
            .unwrap();
        assert_eq!(
            (addresses[0], count.load(Ordering::SeqCst)),
            (address(2), 2)
        );
    }

    #[test]
    fn lookup_that_fails_leaves_the_last_known_addresses() {
        let count = AtomicUsize::new(0);
        let cache =
            NameCache::with_lookup(move |_, _| match count.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(vec![address(1)]),
                _ => Err(io::Error::other("no name server")),
            });
        for _ in 0..3 {
            let addresses = cache
                .resolve("h", 80, soon(), &AbortFlag::default())
                .unwrap();
            assert_eq!(addresses, [address(1)]);
            cache.expire("h", 80);
        }
    }

    #[test]
    fn lookup_failure_names_the_host() {
        let cache = NameCache::with_lookup(|_, _| Err(io::Error::other("Name not known")));
        let failure = cache
            .resolve("h.invalid", 80, soon(), &AbortFlag::default())
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::HostNotFound);
        assert_eq!(failure.detail, "cannot look up h.invalid: Name not known");
    }

    #[test]
    fn lookup_is_bounded_by_the_deadline_and_by_abort() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let cache = NameCache::with_lookup(move |_, _| {
            let _ = held.lock().unwrap().recv();
            Ok(vec![address(1)])
        });
        let deadline = Some(Instant::now() + Duration::from_millis(50));
        let failure = cache
            .resolve("h", 80, deadline, &AbortFlag::default())
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::LookupTimedOut);
        let abort = AbortFlag::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| cache.resolve("h", 80, None, &abort));
            thread::sleep(Duration::from_millis(50));
            abort.set();
            cache.wake();
            assert_eq!(
                waiting.join().unwrap().unwrap_err().kind,
                FailureKind::Aborted
            );
        });
        // The result of the silent lookup is used when it arrives.
        drop(release);
        let addresses = cache
            .resolve("h", 80, soon(), &AbortFlag::default())
            .unwrap();
        assert_eq!(addresses, [address(1)]);
    }

    #[test]
    fn lookup_of_an_address_is_none() {
        let cache = NameCache::with_lookup(|_, _| panic!("looked up"));
        for (host, expected) in [("127.0.0.1", "127.0.0.1:80"), ("[::1]", "[::1]:80")] {
            let addresses = cache
                .resolve(host, 80, None, &AbortFlag::default())
                .unwrap();
            assert_eq!(addresses, [expected.parse().unwrap()]);
        }
    }
}

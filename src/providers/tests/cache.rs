use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use super::super::Fetched;
use super::*;

/// Returns `id1`, `id2`, … or fails; each fetch may be held back.
#[derive(Default)]
struct Source {
    fetches: AtomicUsize,
    lifetime: Option<Duration>,
    fails: Mutex<Option<Kind>>,
    panics: Mutex<bool>,
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Source {
    fn with_lifetime(seconds: u64) -> Source {
        Source {
            lifetime: Some(Duration::from_secs(seconds)),
            ..Source::default()
        }
    }

    fn hold(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.released.notify_all();
    }

    fn fail(&self, kind: Option<Kind>) {
        *self.fails.lock().unwrap() = kind;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

impl Fetch for Source {
    fn name(&self) -> &'static str {
        "test"
    }

    fn fetch(&self, _: &dyn Clock) -> Result<Fetched, Failure> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        let is_held = self.is_held.lock().unwrap();
        drop(
            self.released
                .wait_while(is_held, |is_held| *is_held)
                .unwrap(),
        );
        assert!(
            !std::mem::take(&mut *self.panics.lock().unwrap()),
            "a panic on purpose"
        );
        if let Some(kind) = *self.fails.lock().unwrap() {
            return Err(Failure::new(kind, format!("failure {number}")));
        }
        Ok(Fetched {
            credentials: Credentials::new(format!("id{number}"), "hush"),
            lifetime: self.lifetime,
        })
    }
}

fn credentials(id: &str) -> Credentials {
    Credentials::new(id, "hush")
}

#[test]
fn cache_fetches_once_and_renews_before_the_end() {
    let provider = Provider::new(Source::with_lifetime(6 * 3600));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(6 * 3600 - 15 * 60 - 1);
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(1);
    assert_eq!(provider.id().unwrap(), "id2");
    assert_eq!(provider.source.fetches(), 2);
}

#[test]
fn cache_keeps_short_lived_credentials_for_three_quarters_of_their_life() {
    let provider = Provider::new(Source::with_lifetime(400));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(299);
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(1);
    assert_eq!(provider.id().unwrap(), "id2");
}

#[test]
fn cache_keeps_credentials_without_an_end_until_they_are_refused() {
    let provider = Provider::new(Source::default());
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(365 * 24 * 3600);
    assert_eq!(provider.id().unwrap(), "id1");
    // Others have been fetched since these were used.
    provider.cache.refused(&credentials("id0"));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.cache.refused(&credentials("id1"));
    assert_eq!(provider.id().unwrap(), "id2");
    assert_eq!(provider.source.fetches(), 2);
}

#[test]
fn cache_bears_a_life_that_overflows_the_clock() {
    let provider = Provider::new(Source {
        lifetime: Some(Duration::MAX),
        ..Source::default()
    });
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(provider.id().unwrap(), "id1");
}

#[test]
fn cache_renewal_by_one_thread_does_not_stop_the_others() {
    let provider = Provider::new(Source::with_lifetime(3600));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(3600 - 60);
    provider.source.hold(true);
    thread::scope(|scope| {
        let renewing = scope.spawn(|| provider.id().unwrap());
        while provider.source.fetches() < 2 {
            thread::yield_now();
        }
        let others: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| provider.id().unwrap()))
            .collect();
        for other in others {
            assert_eq!(other.join().unwrap(), "id1");
        }
        provider.source.hold(false);
        assert_eq!(renewing.join().unwrap(), "id2");
    });
    assert_eq!(provider.id().unwrap(), "id2");
    assert_eq!(provider.source.fetches(), 2);
}

/// Says how often it was read: every thread reads it once before it fetches or waits.
struct CountingClock(VirtualClock, AtomicUsize);

impl Clock for CountingClock {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn instant(&self) -> Instant {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.instant()
    }

    fn wait(&self, duration: Duration) -> Duration {
        self.0.wait(duration)
    }
}

/// Asks with eight threads at once, all of which have asked before the first fetch ends.
fn ask_with_eight_threads(source: &Source) -> Vec<Result<String, String>> {
    let clock = Arc::new(CountingClock(VirtualClock::new(), AtomicUsize::new(0)));
    let cache = Cache::with_clock(Box::new(Arc::clone(&clock)));
    source.hold(true);
    thread::scope(|scope| {
        let ask = || match cache.get(source) {
            Ok(credentials) => Ok(credentials.id().to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        while clock.1.load(Ordering::SeqCst) < 8 {
            thread::yield_now();
        }
        source.hold(false);
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn cache_without_valid_credentials_lets_all_threads_wait_for_one() {
    let source = Source::with_lifetime(3600);
    assert_eq!(
        ask_with_eight_threads(&source),
        vec![Ok("id1".to_owned()); 8]
    );
    assert_eq!(source.fetches(), 1);
}

#[test]
fn cache_failure_is_shared_by_the_threads_that_waited_for_it() {
    let source = Source::default();
    source.fail(Some(Kind::Transient));
    let failure = Err("test: failure 1".to_owned());
    assert_eq!(ask_with_eight_threads(&source), vec![failure; 8]);
    assert_eq!(source.fetches(), 1);
}

#[test]
fn cache_uses_the_old_credentials_while_their_renewal_fails() {
    let provider = Provider::new(Source::with_lifetime(3600));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.source.fail(Some(Kind::Final));
    provider.advance(3600 - 15 * 60);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(provider.source.fetches(), 2);
    // It is not attempted for every request.
    provider.advance(29);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(provider.source.fetches(), 2);
    provider.advance(1);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(provider.source.fetches(), 3);
    provider.advance(15 * 60);
    assert_eq!(provider.final_failure(), "test: failure 4");
    provider.source.fail(Some(Kind::Transient));
    assert_eq!(provider.transient_failure(), "test: failure 5");
    provider.source.fail(None);
    assert_eq!(provider.id().unwrap(), "id6");
}

/// Keeps the warnings of failed renewals.
struct Warnings(Mutex<Vec<String>>);

static WARNINGS: Warnings = Warnings(Mutex::new(Vec::new()));

impl log::Log for Warnings {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn cache_logs_a_renewal_that_failed() {
    log::set_logger(&WARNINGS).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let provider = Provider::new(Source::with_lifetime(3600));
    provider.id().unwrap();
    provider.source.fail(Some(Kind::Transient));
    provider.source.fetches.store(7000, Ordering::SeqCst);
    provider.advance(3000);
    provider.id().unwrap();
    let expected = "test: cannot renew the credentials, which are still valid: failure 7001";
    let warnings = WARNINGS.0.lock().unwrap();
    assert!(warnings.iter().any(|line| line == expected), "{warnings:?}");
    assert!(
        !warnings.iter().any(|line| line.contains("hush")),
        "{warnings:?}"
    );
}

#[test]
fn cache_does_not_use_refused_credentials_when_their_renewal_fails() {
    let provider = Provider::new(Source::with_lifetime(3600));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.cache.refused(&credentials("id1"));
    provider.source.fail(Some(Kind::Transient));
    assert_eq!(provider.transient_failure(), "test: failure 2");
}

#[test]
fn cache_survives_a_source_that_panics() {
    let provider = Provider::new(Source::default());
    *provider.source.panics.lock().unwrap() = true;
    assert!(catch_unwind(AssertUnwindSafe(|| provider.id())).is_err());
    assert_eq!(provider.id().unwrap(), "id2");
}

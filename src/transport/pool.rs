//! The pool of a transport's connections: which ones are idle, and how many may be open.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// OSS closes a connection that was idle for about a minute.
const IDLE_AGE_MAX: Duration = Duration::from_secs(45);
/// As many as an upload may have threads.
const IDLE_MAX: usize = 100;
/// How many stay open when no call is running.
const IDLE_MAX_BETWEEN_CALLS: usize = 10;
/// Descriptors that are left to others, such as the checkpoint, when the process has run out of
/// them.
const DESCRIPTORS_LEFT_FREE: usize = 2;

pub(super) struct Pool<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
}

struct State<C> {
    /// The most recently used one comes last.
    idle: Vec<Idle<C>>,
    busy: usize,
    /// How many may be busy. Lowered when the system cannot open another one.
    limit: usize,
    is_closed: bool,
}

struct Idle<C> {
    origin: String,
    connection: C,
    since: Instant,
}

pub(super) enum Checkout<C> {
    Idle(C),
    /// No connection to this origin is idle, but another one may be opened.
    New,
    Closed,
}

impl<C> Pool<C> {
    pub(super) fn new() -> Pool<C> {
        let state = State {
            idle: Vec::new(),
            busy: 0,
            limit: usize::MAX,
            is_closed: false,
        };
        Pool {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Takes an idle connection to the origin. Waits for one if no more may be opened. Each
    /// checkout is followed by a [`checkin`](Pool::checkin), [`discard`](Pool::discard) or
    /// [`starve`](Pool::starve).
    pub(super) fn checkout(&self, origin: &str) -> Checkout<C> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return Checkout::Closed;
            }
            let expired = state.take_expired();
            if !expired.is_empty() {
                drop(state);
                drop(expired);
                state = self.lock();
                continue;
            }
            if state.busy < state.limit {
                state.busy += 1;
                let found = state.idle.iter().rposition(|idle| idle.origin == origin);
                return match found {
                    Some(index) => Checkout::Idle(state.idle.remove(index).connection),
                    None => Checkout::New,
                };
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps the connection for the next request to the same origin.
    pub(super) fn checkin(&self, origin: &str, connection: C) {
        let mut state = self.lock();
        state.busy -= 1;
        let is_welcome = !state.is_closed
            && state.idle.len() < IDLE_MAX
            && state.busy + state.idle.len() < state.limit;
        let mut unwanted = None;
        if is_welcome {
            let since = Instant::now();
            state.idle.push(Idle {
                origin: origin.to_owned(),
                connection,
                since,
            });
        } else {
            unwanted = Some(connection);
        }
        drop(state);
        drop(unwanted);
        self.changed.notify_one();
    }

    /// Frees the place of a connection that was closed.
    pub(super) fn discard(&self) {
        self.lock().busy -= 1;
        self.changed.notify_one();
    }

    /// Frees the place of a connection that could not be opened for lack of descriptors, and lowers
    /// the limit to those that could be opened. Returns true if another one will become free.
    pub(super) fn starve(&self) -> bool {
        let mut state = self.lock();
        state.busy -= 1;
        let idle = std::mem::take(&mut state.idle);
        let others = state.busy;
        if others > 0 {
            let limit = others.saturating_sub(DESCRIPTORS_LEFT_FREE).max(1);
            state.limit = state.limit.min(limit);
        }
        drop(state);
        let had_idle = !idle.is_empty();
        drop(idle);
        self.changed.notify_one();
        others > 0 || had_idle
    }

    pub(super) fn close_idle(&self) {
        let idle = std::mem::take(&mut self.lock().idle);
        drop(idle);
    }

    /// Closes all idle connections but the newest few.
    pub(super) fn trim(&self) {
        let mut state = self.lock();
        state.limit = usize::MAX;
        let expired = state.take_expired();
        let surplus = state.idle.len().saturating_sub(IDLE_MAX_BETWEEN_CALLS);
        let surplus: Vec<Idle<C>> = state.idle.drain(..surplus).collect();
        drop(state);
        drop((expired, surplus));
        self.changed.notify_all();
    }

    /// Rejects all later checkouts.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> State<C> {
    /// Returns the connections to close. The caller closes them outside of the lock.
    fn take_expired(&mut self) -> Vec<Idle<C>> {
        let young = self
            .idle
            .iter()
            .position(|idle| idle.since.elapsed() < IDLE_AGE_MAX);
        self.idle
            .drain(..young.unwrap_or(self.idle.len()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn checkout(pool: &Pool<u32>, origin: &str) -> Option<u32> {
        match pool.checkout(origin) {
            Checkout::Idle(connection) => Some(connection),
            Checkout::New => None,
            Checkout::Closed => panic!("closed"),
        }
    }

    #[test]
    fn pool_gives_the_newest_of_the_same_origin() {
        let pool = Pool::new();
        for number in 0..4 {
            assert_eq!(checkout(&pool, "none"), None);
            pool.checkin(if number == 3 { "b" } else { "a" }, number);
        }
        assert_eq!(checkout(&pool, "a"), Some(2));
        assert_eq!(checkout(&pool, "b"), Some(3));
        assert_eq!(checkout(&pool, "b"), None);
    }

    #[test]
    fn pool_keeps_few_between_calls() {
        let pool = Pool::new();
        for _ in 0..60 {
            checkout(&pool, "none");
        }
        for number in 0..60 {
            pool.checkin("a", number);
        }
        pool.trim();
        let kept: Vec<_> = (0..60).map_while(|_| checkout(&pool, "a")).collect();
        assert_eq!(kept.len(), IDLE_MAX_BETWEEN_CALLS);
        assert_eq!(kept[0], 59);
    }

    #[test]
    fn pool_closes_what_is_too_old() {
        let pool = Pool::new();
        checkout(&pool, "a");
        pool.checkin("a", 1);
        // The clock of a machine that has just started does not go back that far.
        let Some(past) = Instant::now().checked_sub(IDLE_AGE_MAX) else {
            return;
        };
        pool.lock().idle[0].since = past;
        assert_eq!(checkout(&pool, "a"), None);
        assert!(pool.lock().idle.is_empty());
    }

    #[test]
    fn pool_waits_for_another_connection_when_descriptors_run_out() {
        let pool = Pool::new();
        checkout(&pool, "a");
        checkout(&pool, "a");
        checkout(&pool, "a");
        assert!(pool.starve(), "two others are busy");
        assert_eq!(pool.lock().limit, 1);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| checkout(&pool, "a"));
            pool.discard();
            pool.checkin("a", 7);
            assert_eq!(waiting.join().unwrap(), Some(7));
        });
        assert!(!pool.starve(), "no other connection is busy");
    }

    #[test]
    fn pool_that_is_closed_wakes_who_waits() {
        let pool: Pool<u32> = Pool::new();
        checkout(&pool, "a");
        checkout(&pool, "a");
        assert!(pool.starve());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| matches!(pool.checkout("a"), Checkout::Closed));
            thread::sleep(Duration::from_millis(20));
            pool.close();
            assert!(waiting.join().unwrap());
        });
    }
}

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Bytes per second.
const BYTES_PER_SECOND_MIN: u64 = 1024;
const CHUNK_BYTES_MIN: u64 = 1024;
/// Bytes are sent in chunks of what the limit allows in an eighth of a second, so that the flow is
/// even.
const CHUNKS_PER_SECOND: u64 = 8;
/// How long a thread sleeps before it looks whether the limit was changed.
const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Threads wake up a little late. Up to this much of the time that they lose is made up for.
const LATENESS_MAX: Duration = Duration::from_millis(100);

/// A bandwidth limit in **bytes** per second, for [`bandwidth_limit`](crate::bandwidth_limit).
///
/// A number is enough for the limit of one call. Use this type to share one limit between calls, or
/// to change it while they run. Clones are the same limit: all calls that are given one of them
/// together use no more than it allows.
///
/// The limit is kept by waiting before bytes are handed to a connection; headers and responses do
/// not count. It is divided among all connections of all calls that share it. OSS ends a connection
/// that is silent for about a minute, so leave each of them some hundred bytes per second.
///
/// ```no_run
/// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
/// use oss_upload::{BandwidthLimit, bandwidth_limit};
///
/// let limit = BandwidthLimit::new(2 << 20); // 2 MiB/s for both files together
/// std::thread::scope(|scope| {
///     let upload = |name| bucket.upload_file(name, name, 8 << 20, [bandwidth_limit(&limit)]);
///     let other = scope.spawn(move || upload("a.bin"));
///     upload("b.bin")?;
///     limit.set(20 << 20); // for what is left of `a.bin`
///     other.join().expect("it does not panic")
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct BandwidthLimit(Arc<Mutex<State>>);

struct State {
    bytes_per_second: u64,
    /// Bytes that were sent too early: the next ones wait until the time for these has passed.
    /// Negative while lateness is made up for.
    backlog: f64,
    /// When `backlog` was calculated.
    settled_at: Option<Instant>,
    /// Those that wait, in the order in which they came.
    queue: VecDeque<Waiter>,
    next_ticket: u64,
}

struct Waiter {
    ticket: u64,
    /// What it will send when its turn comes: bytes.
    bytes: usize,
}

impl BandwidthLimit {
    /// Creates a limit of that many bytes per second.
    ///
    /// Limit: at least 1,024. A smaller value is [`Error::InvalidOption`] of the call that uses it.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> BandwidthLimit {
        BandwidthLimit(Arc::new(Mutex::new(State {
            bytes_per_second,
            backlog: 0.0,
            settled_at: None,
            queue: VecDeque::new(),
            next_ticket: 0,
        })))
    }

    /// Changes the limit, also of the calls that are running. Threads that wait for a slower limit
    /// notice it within about 100 ms.
    ///
    /// Limit: at least 1,024, as in [`new`](BandwidthLimit::new). There is no value that stops the
    /// calls or lifts the limit: a smaller one, such as 0, ends the running calls that use this
    /// limit with [`Error::InvalidOption`], as it does those that start later. What they have sent
    /// can be resumed from their checkpoints. To stop a call on purpose, use
    /// [`CancelToken::pause`](crate::CancelToken::pause); to lift the limit, set a large one.
    ///
    /// ```
    /// let limit = oss_upload::BandwidthLimit::new(1 << 20);
    /// limit.set(8 << 20);
    /// # assert_eq!(format!("{limit:?}"), "BandwidthLimit { bytes_per_second: 8388608 }");
    /// ```
    pub fn set(&self, bytes_per_second: u64) {
        self.state().bytes_per_second = bytes_per_second;
    }

    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.state().bytes_per_second
    }

    /// Returns an error if the limit has a value that it must not have.
    pub(crate) fn check(&self) -> Result<u64> {
        let limit = self.bytes_per_second();
        if limit < BYTES_PER_SECOND_MIN {
            let reason = format!(
                "{limit} bytes/s is out of range; use {BYTES_PER_SECOND_MIN} or more, or omit it for no limit"
            );
            return Err(Error::option("bandwidth_limit", reason));
        }
        Ok(limit)
    }

    /// Joins the queue of those that want to send.
    pub(super) fn queue(&self, bytes: usize) -> Turn<'_> {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let bytes = bytes.min(state.chunk_size());
        state.queue.push_back(Waiter { ticket, bytes });
        Turn {
            limit: self,
            ticket,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. It is left when this is dropped.
pub(super) struct Turn<'a> {
    limit: &'a BandwidthLimit,
    ticket: u64,
}

/// What a look at the queue says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// Send that many bytes now. It may be fewer than were wanted.
    Ready(usize),
    /// Look again after this time.
    Wait(Duration),
}

impl Turn<'_> {
    /// Asks whether the turn has come.
    pub(super) fn poll(&self, now: Instant) -> Polled {
        let mut state = self.limit.state();
        state.settle(now);
        let chunk = state.chunk_size();
        let rate = state.bytes_per_second.max(1) as f64;
        let mut ahead = state.backlog;
        let mut position = 0;
        for waiter in &state.queue {
            if waiter.ticket == self.ticket {
                break;
            }
            ahead += waiter.bytes as f64;
            position += 1;
        }
        let Some(own) = state.queue.get_mut(position) else {
            return Polled::Ready(0);
        };
        // The limit may have become lower since it was queued.
        own.bytes = own.bytes.min(chunk);
        let bytes = own.bytes;
        let delay = Duration::try_from_secs_f64(ahead / rate).unwrap_or(if ahead > 0.0 {
            SLEEP_MAX
        } else {
            Duration::ZERO
        });
        if delay.is_zero() {
            state.backlog += bytes as f64;
            state.queue.remove(position);
            return Polled::Ready(bytes);
        }
        Polled::Wait(delay.min(SLEEP_MAX))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.limit.state();
        state.queue.retain(|waiter| waiter.ticket != self.ticket);
    }
}

impl State {
    fn chunk_size(&self) -> usize {
        let chunk = (self.bytes_per_second / CHUNKS_PER_SECOND).max(CHUNK_BYTES_MIN);
        usize::try_from(chunk).unwrap_or(usize::MAX)
    }

    /// Lets the time since the last look pay for what was sent.
    ///
    /// While somebody waits, the last look was at most [`SLEEP_MAX`] ago, so a limit that was
    /// changed since then makes no difference worth counting.
    fn settle(&mut self, now: Instant) {
        let elapsed = self
            .settled_at
            .map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        let rate = self.bytes_per_second as f64;
        let lateness_max = match self.settled_at {
            Some(_) => LATENESS_MAX.as_secs_f64() * rate,
            None => 0.0,
        };
        self.backlog = (self.backlog - elapsed.as_secs_f64() * rate).max(-lateness_max);
        self.settled_at = Some(self.settled_at.map_or(now, |then| then.max(now)));
    }
}

impl From<u64> for BandwidthLimit {
    fn from(bytes_per_second: u64) -> BandwidthLimit {
        BandwidthLimit::new(bytes_per_second)
    }
}

impl From<&BandwidthLimit> for BandwidthLimit {
    fn from(limit: &BandwidthLimit) -> BandwidthLimit {
        limit.clone()
    }
}

impl fmt::Debug for BandwidthLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BandwidthLimit")
            .field("bytes_per_second", &self.bytes_per_second())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1 << 20;

    /// Senders that always have bytes to send, in a world whose time is simulated. Each thread
    /// wakes up late, by up to `lateness`. `change` is called before each step.
    fn simulate(
        limit: &BandwidthLimit,
        senders: usize,
        duration: Duration,
        lateness: Duration,
        mut change: impl FnMut(Duration),
    ) -> Vec<u64> {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(7);
        let mut sent = vec![0; senders];
        let mut turns: Vec<_> = (0..senders)
            .map(|_| (Duration::ZERO, limit.queue(usize::MAX)))
            .collect();
        loop {
            let (sender, now) = turns
                .iter()
                .enumerate()
                .map(|(sender, (wake_at, _))| (sender, *wake_at))
                .min_by_key(|(_, wake_at)| *wake_at)
                .unwrap();
            if now >= duration {
                return sent;
            }
            change(now);
            let (wake_at, turn) = &mut turns[sender];
            match turn.poll(start + now) {
                Polled::Ready(bytes) => {
                    sent[sender] += bytes as u64;
                    *turn = limit.queue(100_000);
                }
                Polled::Wait(delay) => {
                    assert!(delay <= SLEEP_MAX);
                    *wake_at = now + delay + lateness.mul_f64(random.f64());
                }
            }
        }
    }

    #[test]
    fn bandwidth_limit_is_exact_and_fair_for_all_that_share_it() {
        let seconds = Duration::from_secs(10);
        for senders in [1, 4, 40] {
            for lateness in [0, 1, 20] {
                let limit = BandwidthLimit::new(RATE);
                let lateness = Duration::from_millis(lateness);
                let sent = simulate(&limit, senders, seconds, lateness, |_| ());
                let total: u64 = sent.iter().sum();
                let expected = 10 * RATE;
                assert!(
                    total.abs_diff(expected) < expected / 20,
                    "{senders} senders, {lateness:?}: {total} of {expected}"
                );
                let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
                assert!(most - least <= 300_000, "{senders}: {least} to {most}");
            }
        }
    }

    #[test]
    fn bandwidth_limit_that_changes_holds_at_once() {
        // Ten seconds at 1 MiB/s, ten at 2 KiB/s, ten at 4 MiB/s.
        let rates = [RATE, 2048, 4 * RATE];
        let limit = BandwidthLimit::new(rates[0]);
        let mut second = 0;
        let total: u64 = simulate(&limit, 4, Duration::from_secs(30), Duration::ZERO, |now| {
            let now = now.as_secs() / 10;
            if now != second {
                second = now;
                limit.set(rates[second as usize]);
            }
        })
        .iter()
        .sum();
        let expected: u64 = rates.iter().map(|rate| 10 * rate).sum();
        assert!(
            total.abs_diff(expected) < expected / 20,
            "{total} of {expected}"
        );
    }

    #[test]
    fn bandwidth_limit_that_rises_wakes_those_that_wait() {
        let limit = BandwidthLimit::new(1024);
        let now = Instant::now();
        assert_eq!(limit.queue(100_000).poll(now), Polled::Ready(1024));
        let waiting = limit.queue(100_000);
        assert_eq!(waiting.poll(now), Polled::Wait(SLEEP_MAX));
        limit.set(1 << 30);
        assert_eq!(waiting.poll(now + SLEEP_MAX), Polled::Ready(1024));
    }

    #[test]
    fn bandwidth_limit_that_falls_shrinks_what_is_queued() {
        let limit = BandwidthLimit::new(80 << 20);
        let now = Instant::now();
        assert_eq!(limit.queue(100_000).poll(now), Polled::Ready(100_000));
        let waiting = limit.queue(100_000);
        assert!(matches!(waiting.poll(now), Polled::Wait(_)));
        limit.set(100_000);
        assert_eq!(
            waiting.poll(now + Duration::from_secs(1)),
            Polled::Ready(12_500)
        );
    }

    #[test]
    fn bandwidth_limit_forgets_who_no_longer_waits() {
        let limit = BandwidthLimit::new(1024);
        let now = Instant::now();
        assert_eq!(limit.queue(1024).poll(now), Polled::Ready(1024));
        let (cancelled, waiting) = (limit.queue(1024), limit.queue(1024));
        let second = now + Duration::from_secs(1);
        assert!(matches!(waiting.poll(second), Polled::Wait(_)));
        drop(cancelled);
        assert_eq!(waiting.poll(second), Polled::Ready(1024));
        assert!(limit.state().queue.is_empty());
    }

    #[test]
    fn bandwidth_limit_saves_up_nothing_while_idle() {
        let limit = BandwidthLimit::new(80_000);
        let now = Instant::now();
        assert_eq!(limit.queue(1).poll(now), Polled::Ready(1));
        let later = now + Duration::from_secs(3600);
        let mut sent = 0;
        while let Polled::Ready(bytes) = limit.queue(usize::MAX).poll(later) {
            sent += bytes;
        }
        assert!(
            sent <= 20_000,
            "{sent} bytes, more than a quarter of a second's"
        );
        // A clock that goes back, as that of another client may.
        assert!(matches!(limit.queue(1).poll(now), Polled::Wait(_)));
    }

    #[test]
    fn bandwidth_limit_is_checked() {
        for wrong in [0, 1, 1023] {
            let error = BandwidthLimit::new(wrong).check().unwrap_err().to_string();
            assert!(error.contains(&wrong.to_string()), "{error}");
        }
        assert_eq!(BandwidthLimit::from(1024).check().unwrap(), 1024);
        let clone = BandwidthLimit::new(u64::MAX);
        clone.clone().set(5);
        assert!(clone.check().is_err());
    }
}

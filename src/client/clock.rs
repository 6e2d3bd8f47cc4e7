use std::time::{Duration, Instant, SystemTime};

/// Where a client's time comes from. Everything that reads a clock or waits goes through it, so
/// that a test can own time.
pub(crate) trait Clock: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> SystemTime;

    /// Returns the reading of a clock that never goes back.
    fn instant(&self) -> Instant;

    /// Starts a wait of `duration` and returns how long the caller has to block for it.
    fn wait(&self, duration: Duration) -> Duration;
}

#[cfg(test)]
impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }

    fn instant(&self) -> Instant {
        (**self).instant()
    }

    fn wait(&self, duration: Duration) -> Duration {
        (**self).wait(duration)
    }
}

/// The operating system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, duration: Duration) -> Duration {
        duration
    }
}

/// A clock that advances only by waits.
#[cfg(test)]
pub(crate) struct VirtualClock {
    start: Instant,
    elapsed: std::sync::Mutex<Duration>,
}

#[cfg(test)]
impl VirtualClock {
    pub(crate) fn new() -> VirtualClock {
        VirtualClock {
            start: Instant::now(),
            elapsed: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap()
    }
}

#[cfg(test)]
impl Clock for VirtualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.elapsed()
    }

    fn instant(&self) -> Instant {
        self.start + self.elapsed()
    }

    fn wait(&self, duration: Duration) -> Duration {
        *self.elapsed.lock().unwrap() += duration;
        Duration::ZERO
    }
}

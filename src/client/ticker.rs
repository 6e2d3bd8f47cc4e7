use std::time::{Duration, Instant};

/// Tells that a while has passed, again and again, to somebody who mostly waits for something else.
pub(crate) struct Ticker {
    every: Duration,
    next: Instant,
}

impl Ticker {
    pub(crate) fn new(every: Duration) -> Ticker {
        Ticker { every, next: Instant::now() + every }
    }

    /// Until when to wait for something else.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// True once for every while; ticks that were missed are not made up for.
    pub(crate) fn ticks(&mut self) -> bool {
        let now = Instant::now();
        let due = now >= self.next;
        if due {
            self.next = now + self.every;
        }
        due
    }
}

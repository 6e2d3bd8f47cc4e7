use std::time::{Duration, Instant};

/// A periodic deadline for a thread that mostly waits for something else.
pub(crate) struct Interval {
    period: Duration,
    next_deadline: Instant,
}

impl Interval {
    pub(crate) fn new(period: Duration, now: Instant) -> Interval {
        Interval {
            period,
            next_deadline: now + period,
        }
    }

    /// Returns how long to wait for something else.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.next_deadline.saturating_duration_since(now)
    }

    /// Returns `true` once per period. Periods that were missed are not made up for.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let is_due = now >= self.next_deadline;
        if is_due {
            self.next_deadline = now + self.period;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_ticks_once_per_period_and_skips_missed_ones() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut interval = Interval::new(Duration::from_millis(100), start);
        assert!(!interval.tick(at(99)));
        assert_eq!(interval.remaining(at(60)), Duration::from_millis(40));
        assert!(interval.tick(at(350)));
        assert!(!interval.tick(at(351)));
        assert_eq!(interval.remaining(at(351)), Duration::from_millis(99));
        assert_eq!(interval.remaining(at(999)), Duration::ZERO);
    }
}

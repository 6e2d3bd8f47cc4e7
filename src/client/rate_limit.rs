use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bandwidth limit that all threads of an upload share.
pub(crate) struct RateLimiter {
    bytes_per_second: u64,
    /// When everything that was reserved so far will have been sent.
    free_at: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(crate) fn new(bytes_per_second: u64) -> RateLimiter {
        RateLimiter {
            bytes_per_second,
            free_at: Mutex::new(None),
        }
    }

    /// Returns how many bytes to send at a time at most, so that the flow is even: what the limit
    /// allows in an eighth of a second.
    pub(crate) fn chunk_size(&self) -> usize {
        usize::try_from(self.bytes_per_second / 8)
            .unwrap_or(usize::MAX)
            .max(1024)
    }

    /// Reserves the time that `bytes` take and returns how long to wait before sending them.
    pub(super) fn reserve(&self, bytes: usize, now: Instant) -> Duration {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = free_at.map_or(now, |free_at| free_at.max(now));
        let duration = bytes as f64 / self.bytes_per_second as f64;
        *free_at = Some(turn + Duration::from_secs_f64(duration));
        turn - now
    }
}

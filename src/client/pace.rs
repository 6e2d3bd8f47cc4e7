use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bandwidth that all threads of a call share: each takes its turn on one line of time.
pub(crate) struct Pacer {
    bytes_per_second: u64,
    free_at: Mutex<Instant>,
}

impl Pacer {
    pub(crate) fn new(bytes_per_second: u64) -> Pacer {
        Pacer { bytes_per_second, free_at: Mutex::new(Instant::now()) }
    }

    /// At most this much should be taken at a time, so that the flow is even: an eighth of a second's worth.
    pub(crate) fn step(&self) -> usize {
        usize::try_from(self.bytes_per_second / 8).unwrap_or(usize::MAX).max(1024)
    }

    /// How long to wait before `bytes` more may go.
    pub(super) fn reserve(&self, bytes: usize) -> Duration {
        let now = Instant::now();
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free_at).max(now);
        *free_at = turn + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        turn - now
    }
}

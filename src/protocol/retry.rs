//! When to retry. Pure: time and randomness are arguments.
//!
//! What to retry is decided by the table in `error::code`.

use std::time::{Duration, SystemTime};

use super::request::Response;
use crate::time;

/// How often a failed request is retried, and how long to wait before each retry.
///
/// The wait is a random share of `base_delay` × 2ⁿ, at most `max_delay` (exponential backoff with
/// full jitter).
///
/// ```
/// use std::time::Duration;
/// use oss_upload::RetryPolicy;
///
/// let patient = RetryPolicy::default()
///     .max_attempts(20)
///     .max_delay(Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    pub(crate) max_attempts: u32,
    pub(crate) base_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) max_outage: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            base_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(20),
            max_outage: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Sets how many times a request is sent in all. Defaults to 5. Limit: at least 1.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u32) -> RetryPolicy {
        self.max_attempts = max_attempts;
        self
    }

    /// Sets the longest wait before the second attempt. Defaults to 200 ms.
    #[must_use]
    pub fn base_delay(mut self, base_delay: Duration) -> RetryPolicy {
        self.base_delay = base_delay;
        self
    }

    /// Sets the longest wait before any attempt, and the longest that a `Retry-After` is obeyed.
    /// Defaults to 20 s.
    #[must_use]
    pub fn max_delay(mut self, max_delay: Duration) -> RetryPolicy {
        self.max_delay = max_delay;
        self
    }

    /// Sets how long a network outage is waited for, from the first failed connection on. Defaults
    /// to 60 s.
    ///
    /// This applies once the call has had a response. Before that, and for all other failures,
    /// [`max_attempts`](RetryPolicy::max_attempts) counts.
    #[must_use]
    pub fn max_outage(mut self, max_outage: Duration) -> RetryPolicy {
        self.max_outage = max_outage;
        self
    }

    /// Returns the wait after attempt `attempt`, counted from 1; `random` is in 0.0..1.0.
    pub(crate) fn delay(
        &self,
        attempt: u32,
        random: f64,
        retry_after: Option<Duration>,
    ) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self
            .base_delay
            .saturating_mul(1 << doublings)
            .min(self.max_delay);
        let seconds = ceiling.as_secs_f64() * random;
        let jittered = Duration::try_from_secs_f64(seconds).unwrap_or(ceiling);
        retry_after.map_or(jittered, |wanted| wanted.min(self.max_delay).max(jittered))
    }
}

/// Returns how long the server asks to wait before a retry.
///
/// `Retry-After` is a number of seconds or a date. Throttled responses of OSS have
/// `x-oss-qos-delay-time`, in milliseconds. The longer wait of both counts.
pub(crate) fn retry_after(response: &Response, now: SystemTime) -> Option<Duration> {
    let throttled = matches!(response.status, 429 | 503);
    let delay_time = response
        .header("x-oss-qos-delay-time")
        .filter(|_| throttled);
    let delay_time = delay_time
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_millis);
    standard_retry_after(response, now).max(delay_time)
}

fn standard_retry_after(response: &Response, now: SystemTime) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => time::parse_http_date(value)?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delay_is_a_random_share_of_a_growing_ceiling() {
        let policy = RetryPolicy::default();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(policy.delay(1, 0.5, None), Duration::from_millis(100));
        assert_eq!(policy.delay(3, 0.5, None), Duration::from_millis(400));
        assert_eq!(policy.delay(60, 1.0, None), Duration::from_secs(20));
        assert_eq!(policy.delay(1, 0.0, None), Duration::ZERO);
        assert_eq!(policy.delay(1, 0.5, seconds(3)), Duration::from_secs(3));
        assert_eq!(policy.delay(1, 0.5, seconds(3600)), Duration::from_secs(20));
        assert_eq!(policy.delay(8, 1.0, seconds(3)), Duration::from_secs(20));
        let endless = policy.base_delay(Duration::MAX).max_delay(Duration::MAX);
        assert_eq!(endless.delay(60, 1.0, None), Duration::MAX);
    }

    #[test]
    fn retry_after_reads_both_headers() {
        let wait = |status, headers: &[(&str, &str)]| {
            let header = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
            let response = Response {
                status,
                headers: headers.iter().map(header).collect(),
                body: Vec::new(),
            };
            retry_after(&response, SystemTime::UNIX_EPOCH).map(|wait| wait.as_millis())
        };
        assert_eq!(wait(503, &[("retry-after", " 7 ")]), Some(7000));
        assert_eq!(
            wait(503, &[("retry-after", "Thu, 01 Jan 1970 00:00:09 GMT")]),
            Some(9000)
        );
        assert_eq!(wait(500, &[("retry-after", "7")]), Some(7000));
        assert_eq!(wait(503, &[("retry-after", "soon")]), None);
        assert_eq!(wait(503, &[]), None);
        let delay = ("x-oss-qos-delay-time", "1500");
        assert_eq!(wait(503, &[delay]), Some(1500));
        assert_eq!(wait(429, &[delay, ("retry-after", "1")]), Some(1500));
        assert_eq!(wait(429, &[delay, ("retry-after", "2")]), Some(2000));
        assert_eq!(wait(500, &[delay]), None);
        assert_eq!(wait(503, &[("x-oss-qos-delay-time", "-1")]), None);
        assert_eq!(wait(503, &[("x-oss-qos-delay-time", "x")]), None);
    }
}

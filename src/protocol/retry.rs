//! What to do after a failure: pure decisions, no clock, no dice.

use std::time::{Duration, SystemTime};

use super::failure::Failure;
use crate::dates;

/// How often a request is tried, and how long to wait in between: full-jitter exponential backoff, that is, a
/// random share of `base_delay` × 2ⁿ, at most `max_delay`.
///
/// ```
/// use std::time::Duration;
/// use oss_upload::RetryPolicy;
///
/// let patient = RetryPolicy::default().max_attempts(20).max_delay(Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a request is tried in all, 1 at least. Defaults to 5.
    pub max_attempts: u32,
    /// The longest wait before the second attempt. Defaults to 200 ms.
    pub base_delay: Duration,
    /// The longest wait before any attempt, and the most of a `Retry-After` that is honoured. Defaults to 20 s.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 5,
            base_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(20),
        }
    }
}

impl RetryPolicy {
    /// Sets [`max_attempts`](RetryPolicy::max_attempts).
    #[must_use]
    pub fn max_attempts(self, max_attempts: u32) -> RetryPolicy {
        RetryPolicy { max_attempts, ..self }
    }

    /// Sets [`base_delay`](RetryPolicy::base_delay).
    #[must_use]
    pub fn base_delay(self, base_delay: Duration) -> RetryPolicy {
        RetryPolicy { base_delay, ..self }
    }

    /// Sets [`max_delay`](RetryPolicy::max_delay).
    #[must_use]
    pub fn max_delay(self, max_delay: Duration) -> RetryPolicy {
        RetryPolicy { max_delay, ..self }
    }

    /// The wait after attempt `attempt` (1-based); `random` is in 0.0..1.0.
    pub(crate) fn delay(&self, attempt: u32, random: f64, retry_after: Option<Duration>) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let ceiling = self.base_delay.saturating_mul(1 << doublings).min(self.max_delay);
        let jittered = ceiling.mul_f64(random);
        retry_after.map_or(jittered, |wanted| wanted.min(self.max_delay).max(jittered))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server is in trouble, or busy: wait, then try again.
    Again,
    /// The clocks differ: correct ours and try again at once.
    FixClock,
    /// The token is not good any more: ask the provider and try again at once.
    RenewCredentials,
    /// It would fail again.
    Final,
}

pub(crate) fn verdict(failure: &Failure) -> Verdict {
    let service = &failure.service;
    match (service.status, service.code.as_str()) {
        (_, "RequestTimeTooSkewed") => Verdict::FixClock,
        (400, "InvalidArgument") if service.message.contains("Invalid signing date") => Verdict::FixClock,
        (_, "SecurityTokenExpired" | "InvalidSecurityToken") => Verdict::RenewCredentials,
        (_, "CallbackFailed") => Verdict::Final,
        (408 | 429, _) => Verdict::Again,
        // The body was damaged on its way; it is read anew.
        (400, "InvalidDigest") => Verdict::Again,
        // A 200 that hides an error: the code alone says what it is.
        (200, "InternalError" | "ServiceUnavailable" | "RequestTimeout") => Verdict::Again,
        // Not implemented: waiting does not help.
        (501, _) => Verdict::Final,
        (status, _) if status >= 500 => Verdict::Again,
        _ => Verdict::Final,
    }
}

/// `Retry-After`, which is either seconds or a date.
pub(crate) fn retry_after(value: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => dates::parse_http(value)?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServiceError;

    fn judged(status: u16, code: &str, message: &str) -> Verdict {
        let service =
            ServiceError { status, code: code.into(), message: message.into(), ..ServiceError::default() };
        verdict(&Failure { service, server_time: None, part_etag: None })
    }

    #[test]
    fn what_is_tried_again() {
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judged(status, "BadErrorResponse", ""), Verdict::Again, "{status}");
        }
        for status in [301, 307, 400, 401, 403, 404, 405, 409, 411, 413] {
            assert_eq!(judged(status, "Whatever", ""), Verdict::Final, "{status}");
        }
        assert_eq!(judged(400, "InvalidDigest", ""), Verdict::Again);
        assert_eq!(judged(203, "CallbackFailed", ""), Verdict::Final);
        assert_eq!(judged(200, "InternalError", ""), Verdict::Again);
        assert_eq!(judged(200, "AccessDenied", ""), Verdict::Final);
        assert_eq!(judged(403, "RequestTimeTooSkewed", ""), Verdict::FixClock);
        let message = "Invalid signing date in Authorization header.";
        assert_eq!(judged(400, "InvalidArgument", message), Verdict::FixClock);
        assert_eq!(judged(403, "SecurityTokenExpired", ""), Verdict::RenewCredentials);
        assert_eq!(judged(403, "InvalidSecurityToken", ""), Verdict::RenewCredentials);
        assert_eq!(judged(403, "SignatureDoesNotMatch", ""), Verdict::Final);
    }

    #[test]
    fn the_wait_is_a_random_share_of_a_growing_ceiling() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(1, 0.5, None), Duration::from_millis(100));
        assert_eq!(policy.delay(3, 0.5, None), Duration::from_millis(400));
        assert_eq!(policy.delay(60, 1.0, None), Duration::from_secs(20));
        assert_eq!(policy.delay(1, 0.0, None), Duration::ZERO);
        assert_eq!(policy.delay(1, 0.5, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(policy.delay(1, 0.5, Some(Duration::from_secs(3600))), Duration::from_secs(20));
        assert_eq!(policy.delay(8, 1.0, Some(Duration::from_secs(3))), Duration::from_secs(20));
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(retry_after(Some(" 7 "), now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(Some("Thu, 01 Jan 1970 00:00:09 GMT"), now), Some(Duration::from_secs(9)));
        assert_eq!(retry_after(Some("soon"), now), None);
        assert_eq!(retry_after(None, now), None);
    }
}

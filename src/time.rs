//! Date and duration formats of the protocol.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Formats a time as `Wed, 02 Dec 2026 09:00:00 GMT`.
pub(crate) fn format_http_date(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Formats a time as `20261202T090000Z`.
pub(crate) fn format_iso8601_basic(at: SystemTime) -> String {
    let rfc3339 = humantime::format_rfc3339_seconds(at).to_string();
    rfc3339
        .chars()
        .filter(|character| !matches!(character, '-' | ':'))
        .collect()
}

/// `2026-12-02T09:00:00Z`
#[cfg(feature = "credential-providers")]
pub(crate) fn format_rfc3339(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Parses a time of the XML of OSS, such as `2026-12-02T09:00:00.000Z`.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339_weak(text).ok()
}

/// Formats a duration as `1m 30s`.
pub(crate) fn humanize(duration: Duration) -> impl fmt::Display {
    humantime::format_duration(duration)
}

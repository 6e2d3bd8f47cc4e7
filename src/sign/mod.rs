//! Signatures as pure functions of a request, credentials and a time.

pub(crate) mod v1;
pub(crate) mod v4;

use crate::protocol::request::{Header, Request};

/// The version of the signature of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// HMAC-SHA1. OSS no longer accepts it from accounts and buckets made in 2025 or later.
    V1,
    /// HMAC-SHA256. Needs the region of the bucket. The default.
    #[default]
    V4,
}

/// Returns the `x-oss-*` headers and those that `also` names, sorted, as `name:value` lines.
fn canonical_headers(request: &Request, also: &[&str]) -> String {
    let mut headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value): &Header| (name.as_ref(), value.trim()))
        .filter(|(name, _)| name.starts_with("x-oss-") || also.contains(name))
        .collect();
    headers.sort_unstable();
    headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect()
}

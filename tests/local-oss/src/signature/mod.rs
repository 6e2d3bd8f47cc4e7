//! Verification of signatures.

mod v1;
mod v4;

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};

use crate::error::{OssError, Result};
use crate::request::Head;
use crate::state::{Credential, Shared};
use crate::text::{http_date, iso_date};

/// The largest difference between the date of a request and the clock of the server.
const SKEW_SECONDS_MAX: u64 = 900;

/// The signer and the signature that a request presents.
struct PresentedSignature {
    access_key_id: String,
    signature: String,
    token: Option<String>,
}

/// Verifies the signature of a request.
///
/// Metadata with an empty value never matches: somewhere in front of the service that header is
/// lost.
pub(crate) fn verify(head: &Head, shared: &Shared) -> Result<()> {
    let is_empty_metadata = |(name, value): &(String, Vec<u8>)| {
        name.starts_with("x-oss-meta-") && value.trim_ascii().is_empty()
    };
    verify_signature(head, shared)?;
    if head.headers.iter().any(is_empty_metadata) {
        return Err(mismatch("0002-00000201"));
    }
    Ok(())
}

fn verify_signature(head: &Head, shared: &Shared) -> Result<()> {
    match head.header("authorization") {
        Some(value) if value.starts_with("OSS4-HMAC-SHA256") => {
            v4::verify_header(head, value, shared)
        }
        Some(value) if value.starts_with("OSS ") => v1::verify_header(head, value, shared),
        Some(value) => Err(OssError::invalid_argument(
            "Authorization",
            value,
            "Unsupported authorization type.",
        )),
        None if head.param("x-oss-signature-version").is_some() => v4::verify_query(head, shared),
        None if head.param("Signature").is_some() => v1::verify_query(head, shared),
        None => {
            let message = "You have no right to access this object because of bucket acl.";
            Err(OssError::new(403, "AccessDenied", message).ec("0003-00000001"))
        }
    }
}

/// Looks up the credential of the signer and checks the token.
fn credential(presented: &PresentedSignature, shared: &Shared) -> Result<Credential> {
    let Some(credential) = shared.credential(&presented.access_key_id) else {
        let message = "The OSS Access Key Id you provided does not exist in our records.";
        return Err(OssError::new(403, "InvalidAccessKeyId", message)
            .ec("0002-00000902")
            .with("OSSAccessKeyId", &presented.access_key_id));
    };
    if credential.expired {
        return Err(token_expired());
    }
    if credential.token != presented.token {
        let message = "The security token you provided is invalid.";
        return Err(OssError::new(403, "InvalidSecurityToken", message).ec("0002-00000006"));
    }
    Ok(credential)
}

/// Returns the error of a request whose token has expired.
pub(crate) fn token_expired() -> OssError {
    OssError::new(
        403,
        "SecurityTokenExpired",
        "The security token you provided has expired.",
    )
    .ec("0002-00000007")
}

/// Returns a 403 `SignatureDoesNotMatch`.
fn mismatch(ec: &'static str) -> OssError {
    let message = "The request signature we calculated does not match the signature you provided. \
                   Check your key and signing method.";
    OssError::new(403, "SignatureDoesNotMatch", message).ec(ec)
}

/// Compares the signature that was presented with the expected one; `ec` is for a mismatch.
fn compare(
    presented: &PresentedSignature,
    expected: &str,
    string_to_sign: &str,
    ec: &'static str,
) -> Result<()> {
    if presented.signature == expected {
        return Ok(());
    }
    Err(mismatch(ec)
        .with("OSSAccessKeyId", &presented.access_key_id)
        .with("SignatureProvided", &presented.signature)
        .with("StringToSign", string_to_sign))
}

fn check_skew(signed_at: SystemTime, shared: &Shared) -> Result<()> {
    let now = shared.now();
    let distance = now
        .duration_since(signed_at)
        .unwrap_or_else(|error| error.duration());
    if distance.as_secs() <= SKEW_SECONDS_MAX {
        return Ok(());
    }
    let message = "The difference between the request time and the current time is too large.";
    Err(OssError::new(403, "RequestTimeTooSkewed", message)
        .ec("0002-00000504")
        .with("MaxAllowedSkewMilliseconds", "900000")
        .with("RequestTime", iso_date(signed_at))
        .with("ServerTime", iso_date(now)))
}

fn url_expired(shared: &Shared, expires: SystemTime) -> OssError {
    OssError::new(403, "AccessDenied", "Request has expired.")
        .ec("0002-00000069")
        .with("Expires", iso_date(expires))
        .with("ServerTime", http_date(shared.now()))
}

/// Returns the headers that `wanted` accepts as `name:value` lines, sorted by name. The values of
/// repeated headers are joined.
fn canonical_headers(headers: &[(String, Vec<u8>)], wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut chosen: Vec<&(String, Vec<u8>)> =
        headers.iter().filter(|(name, _)| wanted(name)).collect();
    chosen.sort_by(|left, right| left.0.cmp(&right.0));
    let mut lines: Vec<u8> = Vec::new();
    let mut previous: Option<&str> = None;
    for (name, value) in chosen {
        if previous == Some(name) {
            lines.pop();
            lines.push(b',');
        } else {
            lines.extend_from_slice(name.as_bytes());
            lines.push(b':');
        }
        lines.extend_from_slice(value.trim_ascii());
        lines.push(b'\n');
        previous = Some(name);
    }
    lines
}

fn hmac_sha1(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac =
        Hmac::<sha2::Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// Returns the bytes as text for an error document.
fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

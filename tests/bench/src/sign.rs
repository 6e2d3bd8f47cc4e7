//! Signed URLs for programs that can't sign: `curl` and `bench-floor`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::BUCKET;

/// A time in 2033, in seconds since 1970.
const EXPIRES: &str = "2000000000";

/// Returns a URL for a PUT of the object `key` without a content type.
pub fn signed_url(endpoint: &str, key: &str) -> String {
    let text = format!("PUT\n\n\n{EXPIRES}\n/{BUCKET}/{key}");
    let mut mac = Hmac::<Sha1>::new_from_slice(b"sk").expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    format!("{endpoint}/{BUCKET}/{key}?OSSAccessKeyId=ak&Expires={EXPIRES}&Signature={signature}")
}

//! Text and bytes where only some characters may stand: percent-encoding as OSS's signatures want it, and base64.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same in a path, whose slashes stay.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');
/// Nothing in ASCII: what is left are the bytes that no header value should hold.
const NON_ASCII: &AsciiSet = &AsciiSet::EMPTY;

pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

pub(crate) fn encoded_path(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED_IN_PATH).into()
}

pub(crate) fn encoded_non_ascii(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, NON_ASCII).into()
}

pub(crate) fn encoded_bytes(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

pub(crate) fn decoded_bytes(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

pub(crate) fn decoded(text: &str) -> Option<String> {
    String::from_utf8(decoded_bytes(text)).ok()
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

//! Percent-encoding as OSS's signatures require it, and Base64.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same set for paths, whose slashes are kept.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');
/// An empty set: only bytes beyond ASCII are encoded.
const NON_ASCII: &AsciiSet = &AsciiSet::EMPTY;

pub(crate) fn percent_encode(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

/// Encodes everything but unreserved characters and slashes.
pub(crate) fn percent_encode_path(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED_IN_PATH).into()
}

/// Encodes only what is not ASCII, as header values need it.
pub(crate) fn percent_encode_non_ascii(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, NON_ASCII).into()
}

pub(crate) fn percent_encode_bytes(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, RESERVED).to_string()
}

pub(crate) fn percent_decode_bytes(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode(text.as_bytes()).collect()
}

/// Returns `None` if the decoded bytes are not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    String::from_utf8(percent_decode_bytes(text)).ok()
}

pub(crate) fn base64_encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok()
}

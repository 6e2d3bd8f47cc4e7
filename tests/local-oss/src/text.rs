//! Text formats: percent-encoding, hexadecimal, Base64, dates and XML output.

use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All characters except the unreserved ones.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same without `/`.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// Percent-encodes all characters except the unreserved ones.
pub(crate) fn encode_component(text: &str) -> String {
    utf8_percent_encode(text, COMPONENT).to_string()
}

/// Percent-encodes all characters except the unreserved ones and `/`.
pub(crate) fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

/// Decodes `%XX`; returns `None` if the result is not UTF-8. A `+` is not changed.
pub(crate) fn decode(text: &str) -> Option<String> {
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn hex_upper(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02X}");
            text
        })
}

pub(crate) fn hex_lower(bytes: &[u8]) -> String {
    hex_upper(bytes).to_ascii_lowercase()
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if text.len().is_multiple_of(2) {
        text.as_bytes().chunks(2).map(pair).collect()
    } else {
        None
    }
}

/// Returns `count` upper-case hexadecimal digits that are unique across calls and processes.
pub(crate) fn unique_hex(count: usize) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let mut text = format!("{:012X}", nanos as u64 >> 16);
    while text.len() < count {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(serial);
        hasher.write_u128(nanos);
        let _ = write!(text, "{:016X}", hasher.finish());
    }
    text.truncate(count);
    text
}

/// Formats a time as `2012-02-23T07:01:34.000Z`. Some clients expect the milliseconds to be zero.
pub(crate) fn iso_date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time)
        .to_string()
        .replace('Z', ".000Z")
}

/// Formats a time as `Wed, 28 Dec 2022 10:27:41 GMT`.
pub(crate) fn http_date(time: SystemTime) -> String {
    httpdate::fmt_http_date(time)
}

pub(crate) fn parse_http_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// Parses `20231216T162057Z`.
pub(crate) fn parse_compact_date(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    let shape = bytes.len() == 16
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    let (year, month, day) = (&text[..4], &text[4..6], &text[6..8]);
    let (hour, minute, second) = (&text[9..11], &text[11..13], &text[13..15]);
    humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")).ok()
}

/// Formats a time as `20231216T162057Z`.
pub(crate) fn compact_date(time: SystemTime) -> String {
    let seconds = humantime::format_rfc3339_seconds(time).to_string();
    seconds.replace(['-', ':'], "")
}

/// Returns `time` moved by `seconds`, which may be negative.
pub(crate) fn shift(time: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 {
        time.checked_sub(distance)
    } else {
        time.checked_add(distance)
    };
    moved.unwrap_or(time)
}

/// Returns the milliseconds since 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// Converts milliseconds since 1970 into a time.
pub(crate) fn from_unix_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis.min(1 << 50))
}

/// A builder of an XML document.
pub(crate) struct Xml {
    text: String,
    root: &'static str,
}

impl Xml {
    pub(crate) fn document(root: &'static str) -> Xml {
        Xml {
            text: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>"),
            root,
        }
    }

    /// Creates a document of one element that contains only text.
    pub(crate) fn text_document(root: &'static str, text: &str) -> Xml {
        let mut xml = Xml::document(root);
        escape_into(&mut xml.text, text);
        xml
    }

    /// Adds `<name>text</name>`.
    pub(crate) fn element(&mut self, name: &str, text: &str) {
        self.open(name);
        escape_into(&mut self.text, text);
        self.close(name);
    }

    pub(crate) fn open(&mut self, name: &str) {
        let _ = write!(self.text, "<{name}>");
    }

    pub(crate) fn close(&mut self, name: &str) {
        let _ = write!(self.text, "</{name}>");
    }

    pub(crate) fn finish(mut self) -> String {
        let root = self.root;
        self.close(root);
        self.text
    }
}

fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => {
                let _ = write!(out, "&#{};", u32::from(control));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_date_round_trip() {
        let time = parse_compact_date("20231216T162057Z").expect("a date");
        assert_eq!(iso_date(time), "2023-12-16T16:20:57.000Z");
        assert_eq!(compact_date(time), "20231216T162057Z");
        for wrong in [
            "",
            "20231216T162057",
            "20231216 162057Z",
            "20231316T162057Z",
            "2023121\u{e9}T162057Z",
        ] {
            assert_eq!(parse_compact_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hex_round_trip() {
        assert_eq!(
            from_hex(&hex_lower(b"\x00a\xff")).as_deref(),
            Some(&b"\x00a\xff"[..])
        );
        assert!(
            ["1", "0g", "\u{e9}"]
                .into_iter()
                .all(|wrong| from_hex(wrong).is_none())
        );
    }

    #[test]
    fn xml_escapes_text() {
        let mut xml = Xml::document("A");
        xml.element("B", "<&\">\u{1}");
        assert!(
            xml.finish()
                .ends_with("<A><B>&lt;&amp;&quot;&gt;&#1;</B></A>")
        );
    }

    #[test]
    fn unique_hex_differs() {
        assert_ne!(unique_hex(32), unique_hex(32));
        assert_eq!(unique_hex(24).len(), 24);
    }
}

//! GetObject, HeadObject, and the tagging and the ACL of an object.

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::header_validation::{encryption_headers, parse_tagging};
use crate::request::Head;
use crate::response::{Response, ResponseBody};
use crate::store::StoredObject;
use crate::text::{Xml, http_date, parse_http_date, unix_millis};

/// The response headers that a client can set by parameters such as `response-content-type`.
const OVERRIDABLE_HEADERS: [&str; 6] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

fn find(exchange: &Exchange) -> Result<StoredObject> {
    let (bucket, key) = (&exchange.head.bucket, &exchange.head.key);
    exchange
        .shared
        .store
        .object(bucket, key)
        .ok_or_else(|| OssError::no_such_key(key))
}

fn describe(object: &StoredObject, response: &mut Response) {
    response.set("content-type", "application/octet-stream");
    for (name, value) in &object.attributes.headers {
        response.set(name, value);
    }
    for (name, value) in encryption_headers(&object.attributes) {
        response.set(&name, &value);
    }
    response.set("etag", &object.etag);
    if let Some(content_md5) = &object.content_md5 {
        response.set("content-md5", content_md5);
    }
    response.set("last-modified", &http_date(object.modified));
    response.set("accept-ranges", "bytes");
    response.set("x-oss-hash-crc64ecma", &object.crc64.to_string());
    response.set(
        "x-oss-object-type",
        if object.parts.is_none() {
            "Normal"
        } else {
            "Multipart"
        },
    );
    response.set("x-oss-storage-class", object.attributes.storage_class());
    if let Some(version) = &object.version {
        response.set("x-oss-version-id", version);
    }
    if let Some(tags) = object.attributes.tagging.as_deref().and_then(parse_tagging) {
        response.set("x-oss-tagging-count", &tags.len().to_string());
    }
}

pub(super) fn head(exchange: &Exchange) -> Result<Response> {
    let object = find(exchange)?;
    if let Some(response) = check_conditions(&exchange.head, &object)? {
        return Ok(response);
    }
    let mut response = Response::empty(200);
    describe(&object, &mut response);
    response.set("content-length", &object.size.to_string());
    Ok(response)
}

pub(super) fn get(exchange: &Exchange) -> Result<Response> {
    let object = find(exchange)?;
    let head = &exchange.head;
    if let Some(response) = check_conditions(head, &object)? {
        return Ok(response);
    }
    let range = requested_range(head, object.size)?;
    let (start, length) = range.unwrap_or((0, object.size));
    let Some(source) = object.content.open(start, length)? else {
        let message = "This server discards the content of objects.";
        return Err(OssError::new(500, "InternalError", message));
    };
    let mut response = Response::empty(if range.is_some() { 206 } else { 200 });
    describe(&object, &mut response);
    for header in OVERRIDABLE_HEADERS {
        if let Some(value) = head.param(&format!("response-{header}")) {
            response.set(header, value);
        }
    }
    if range.is_some() {
        let last = start + length - 1;
        response.set(
            "content-range",
            &format!("bytes {start}-{last}/{}", object.size),
        );
    }
    response.payload = ResponseBody::from_source(source, length);
    Ok(response)
}

/// Evaluates `If-Match` and its relatives. Returns the 304 if the client has the object already.
fn check_conditions(head: &Head, object: &StoredObject) -> Result<Option<Response>> {
    let names_etag = |list: &str| {
        list.split(',').map(str::trim).any(|etag| {
            etag == "*"
                || etag
                    .trim_matches('"')
                    .eq_ignore_ascii_case(object.etag.trim_matches('"'))
        })
    };
    // HTTP dates have no fractions of a second.
    let modified = unix_millis(object.modified) / 1000;
    let is_modified_after = |date: &str| {
        let seconds = parse_http_date(date).map(|date| unix_millis(date) / 1000);
        seconds.is_none_or(|seconds| modified > seconds)
    };
    let failed = |condition: &str| {
        let message = "At least one of the pre-conditions you specified did not hold.";
        Err(OssError::new(412, "PreconditionFailed", message).with("Condition", condition))
    };
    if head
        .header("if-match")
        .is_some_and(|list| !names_etag(list))
    {
        return failed("If-Match");
    }
    if head
        .header("if-unmodified-since")
        .is_some_and(is_modified_after)
    {
        return failed("If-Unmodified-Since");
    }
    let is_known = match (
        head.header("if-none-match"),
        head.header("if-modified-since"),
    ) {
        (Some(list), _) => names_etag(list),
        (None, Some(date)) => !is_modified_after(date),
        (None, None) => false,
    };
    if !is_known {
        return Ok(None);
    }
    let mut response = Response::empty(304);
    response.set("etag", &object.etag);
    response.set("last-modified", &http_date(object.modified));
    Ok(Some(response))
}

/// Returns the start and the length of the requested range; `None` for the whole object.
///
/// A range that does not lie within the object is ignored, except with
/// `x-oss-range-behavior: standard`.
fn requested_range(head: &Head, size: u64) -> Result<Option<(u64, u64)>> {
    let Some(range) = head.header("range") else {
        return Ok(None);
    };
    if head.header("x-oss-range-behavior") != Some("standard") {
        return Ok(parse_range(range, size));
    }
    match parse_standard_range(range, size) {
        None => Ok(None),
        Some((start, length)) if length > 0 => Ok(Some((start, length))),
        Some(_) => {
            let message = "The requested range cannot be satisfied.";
            Err(OssError::new(416, "InvalidRange", message)
                .with("ActualObjectSize", size.to_string())
                .with("RangeRequested", range))
        }
    }
}

/// Parses a range as HTTP does: its end is cut at the end of the object. The length is 0 if nothing
/// is left; the result is `None` if this is not a single range of bytes.
fn parse_standard_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", suffix) => (size.saturating_sub(suffix.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first > last {
                return None;
            }
            (first, size.min(last.saturating_add(1)))
        }
    };
    Some((first, end.saturating_sub(first)))
}

/// Parses a single range. Returns its start and its length, or `None` if it does not lie within the
/// object.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = size.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", suffix) => {
            let count = suffix.parse::<u64>().ok().filter(|count| *count > 0)?;
            (size.checked_sub(count)?, end)
        }
        (first, "") => (first.parse().ok()?, end),
        (first, last) => (first.parse().ok()?, last.parse().ok()?),
    };
    (first <= last && last <= end).then(|| (first, last - first + 1))
}

pub(super) fn tagging(exchange: &Exchange) -> Result<Response> {
    let object = find(exchange)?;
    let tags = object
        .attributes
        .tagging
        .as_deref()
        .and_then(parse_tagging)
        .unwrap_or_default();
    let mut xml = Xml::document("Tagging");
    xml.open("TagSet");
    for (key, value) in tags {
        xml.open("Tag");
        xml.element("Key", &key);
        xml.element("Value", &value);
        xml.close("Tag");
    }
    xml.close("TagSet");
    Ok(Response::xml(200, xml))
}

pub(super) fn acl(exchange: &Exchange) -> Result<Response> {
    let object = find(exchange)?;
    let mut xml = Xml::document("AccessControlPolicy");
    super::listing::owner(&mut xml);
    xml.open("AccessControlList");
    xml.element(
        "Grant",
        object.attributes.acl.as_deref().unwrap_or("default"),
    );
    xml.close("AccessControlList");
    Ok(Response::xml(200, xml))
}

#[cfg(test)]
mod tests {
    use super::{parse_range, parse_standard_range};

    #[test]
    fn ranges() {
        for (range, parsed) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=5-", Some((5, 5))),
            ("bytes=-3", Some((7, 3))),
            ("bytes=5-10", None),
            ("bytes=7-6", None),
            ("bytes=-0", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(parse_range(range, 10), parsed, "{range}");
        }
        assert_eq!(parse_range("bytes=0-0", 0), None);
    }

    #[test]
    fn standard_ranges() {
        for (range, parsed) in [
            ("bytes=0-9", Some((0, 10))),
            ("bytes=5-20", Some((5, 5))),
            ("bytes=-3", Some((7, 3))),
            ("bytes=-30", Some((0, 10))),
            ("bytes=10-", Some((10, 0))),
            ("bytes=7-6", None),
            ("lines=1-2", None),
        ] {
            assert_eq!(parse_standard_range(range, 10), parsed, "{range}");
        }
    }
}

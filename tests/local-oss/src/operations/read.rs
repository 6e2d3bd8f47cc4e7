//! Reading objects and what belongs to them.

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::header_validation::parse_tagging;
use crate::response::{Response, ResponseBody};
use crate::store::StoredObject;
use crate::text::{Xml, http_date};

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
    response.set("etag", &object.etag);
    response.set("last-modified", &http_date(object.modified));
    response.set("accept-ranges", "bytes");
    response.set("x-oss-hash-crc64ecma", &object.crc64.to_string());
    response.set(
        "x-oss-object-type",
        if object.parts == 0 {
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
    let mut response = Response::empty(200);
    describe(&object, &mut response);
    response.set("content-length", &object.size.to_string());
    Ok(response)
}

pub(super) fn get(exchange: &Exchange) -> Result<Response> {
    let object = find(exchange)?;
    let range = exchange
        .head
        .header("range")
        .and_then(|range| parse_range(range, object.size));
    let (start, length) = range.unwrap_or((0, object.size));
    let Some(source) = object.content.open(start, length)? else {
        return Err(OssError::new(
            500,
            "InternalError",
            "This server discards the content of objects.",
        ));
    };
    let mut response = Response::empty(if range.is_some() { 206 } else { 200 });
    describe(&object, &mut response);
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

/// Start and length of a single range that lies within the object; any other one is as good as none.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = size.checked_sub(1)?;
    let (first, last) = match (first, last) {
        ("", suffix) => (
            size.checked_sub(suffix.parse::<u64>().ok().filter(|count| *count > 0)?)?,
            end,
        ),
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
    use super::parse_range;

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
}

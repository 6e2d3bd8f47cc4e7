//! Lists of parts, of uploads and of objects.

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::request::Head;
use crate::response::Response;
use crate::store::{ListEntry, StoredObject, StoredUpload, common_prefix};
use crate::text::{Xml, encode_component, from_hex, hex_lower, iso_date};

const PAGE_MAX: usize = 1000;

/// Returns the encoding of keys that the client asked for, and adds it to the response.
pub(super) fn key_encoder(head: &Head, xml: &mut Xml) -> Result<fn(&str) -> String> {
    match head.param("encoding-type") {
        None | Some("") => Ok(str::to_owned),
        Some("url") => {
            xml.element("EncodingType", "url");
            Ok(encode_component)
        }
        Some(other) => Err(OssError::invalid_argument(
            "encoding-type",
            other,
            "Invalid Encoding Method in Request.",
        )),
    }
}

pub(super) fn parts(exchange: &Exchange) -> Result<Response> {
    let (head, shared) = (&exchange.head, &exchange.shared);
    let limit = head.number("max-parts", PAGE_MAX, (1, PAGE_MAX))?;
    let marker = head.number("part-number-marker", 0, (0, usize::MAX))?;
    let mut xml = Xml::document("ListPartsResult");
    let encode = key_encoder(head, &mut xml)?;
    let id = head.param("uploadId").unwrap_or_default();
    shared
        .store
        .with_upload((&head.bucket, &head.key, id), |upload| {
            let after = upload
                .parts
                .iter()
                .filter(|(number, _)| **number as usize > marker);
            let page: Vec<_> = after.clone().take(limit).collect();
            let next = page.last().map_or(marker, |(number, _)| **number as usize);
            xml.element("Bucket", &upload.bucket);
            xml.element("Key", &encode(&upload.key));
            xml.element("UploadId", &upload.id);
            xml.element("StorageClass", upload.attributes.storage_class());
            xml.element("PartNumberMarker", &marker.to_string());
            xml.element("NextPartNumberMarker", &next.to_string());
            xml.element("MaxParts", &limit.to_string());
            xml.element("IsTruncated", &(after.count() > page.len()).to_string());
            for (number, part) in page {
                xml.open("Part");
                xml.element("PartNumber", &number.to_string());
                xml.element("LastModified", &iso_date(part.modified));
                xml.element("ETag", &part.etag);
                if shared.settings.part_crc_in_list {
                    xml.element("HashCrc64ecma", &part.crc64.to_string());
                }
                xml.element("Size", &part.size.to_string());
                xml.close("Part");
            }
            Ok(())
        })?;
    Ok(Response::xml(200, xml))
}

pub(super) fn uploads(exchange: &Exchange) -> Result<Response> {
    let head = &exchange.head;
    let limit = head.number("max-uploads", PAGE_MAX, (1, PAGE_MAX))?;
    let text = |name| head.param(name).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let (key_marker, id_marker) = (text("key-marker"), text("upload-id-marker"));
    let mut uploads = exchange.shared.store.uploads();
    uploads.retain(|upload| {
        let after = match upload.key.as_str().cmp(key_marker) {
            _ if key_marker.is_empty() => true,
            std::cmp::Ordering::Equal => !id_marker.is_empty() && upload.id.as_str() > id_marker,
            order => order.is_gt(),
        };
        upload.bucket == head.bucket && upload.key.starts_with(prefix) && after
    });
    uploads.sort_by(|left, right| (&left.key, &left.id).cmp(&(&right.key, &right.id)));
    // A common prefix has no upload.
    let mut page: Vec<(&str, Option<&StoredUpload>)> = Vec::new();
    for upload in &uploads {
        match common_prefix(&upload.key, prefix, delimiter) {
            None => page.push((&upload.key, Some(upload))),
            Some(prefix) if page.last().map_or(key_marker, |(last, _)| *last) == prefix => {}
            Some(prefix) => page.push((prefix, None)),
        }
    }
    let truncated = page.len() > limit;
    page.truncate(limit);
    let mut xml = Xml::document("ListMultipartUploadsResult");
    let encode = key_encoder(head, &mut xml)?;
    // The markers of the next page are there even if there is none.
    let (next, last) = page.last().copied().unwrap_or_default();
    xml.element("Bucket", &head.bucket);
    xml.element("KeyMarker", &encode(key_marker));
    xml.element("UploadIdMarker", id_marker);
    xml.element("NextKeyMarker", &encode(next));
    xml.element("NextUploadIdMarker", last.map_or("", |upload| &upload.id));
    xml.element("Delimiter", &encode(delimiter));
    xml.element("Prefix", &encode(prefix));
    xml.element("MaxUploads", &limit.to_string());
    xml.element("IsTruncated", &truncated.to_string());
    for (name, upload) in page {
        match upload {
            Some(upload) => upload_entry(&mut xml, upload, encode),
            None => common_prefix_entry(&mut xml, &encode(name)),
        }
    }
    Ok(Response::xml(200, xml))
}

fn upload_entry(xml: &mut Xml, upload: &StoredUpload, encode: fn(&str) -> String) {
    xml.open("Upload");
    xml.element("Key", &encode(&upload.key));
    xml.element("UploadId", &upload.id);
    xml.element("StorageClass", upload.attributes.storage_class());
    xml.element("Initiated", &iso_date(upload.initiated));
    xml.close("Upload");
}

fn common_prefix_entry(xml: &mut Xml, prefix: &str) {
    xml.open("CommonPrefixes");
    xml.element("Prefix", prefix);
    xml.close("CommonPrefixes");
}

/// Lists objects, in both versions.
pub(super) fn objects(exchange: &Exchange) -> Result<Response> {
    let head = &exchange.head;
    let second = head.param("list-type") == Some("2");
    let limit = head.number("max-keys", 100, (1, PAGE_MAX))?;
    let text = |name| head.param(name).unwrap_or_default();
    let (prefix, delimiter) = (text("prefix"), text("delimiter"));
    let marker = match (second, text("continuation-token")) {
        (false, _) => text("marker").to_owned(),
        (true, "") => text("start-after").to_owned(),
        (true, token) => parse_token(token)?,
    };
    let mut page =
        exchange
            .shared
            .store
            .list(&head.bucket, (prefix, delimiter), &marker, limit + 1);
    let truncated = page.len() > limit;
    page.truncate(limit);
    let mut xml = Xml::document("ListBucketResult");
    let encode = key_encoder(head, &mut xml)?;
    xml.element("Name", &head.bucket);
    xml.element("Prefix", &encode(prefix));
    xml.element("MaxKeys", &limit.to_string());
    xml.element("Delimiter", &encode(delimiter));
    xml.element("IsTruncated", &truncated.to_string());
    let next = page
        .last()
        .filter(|_| truncated)
        .map(|(name, _)| name.as_str());
    if second {
        xml.element("StartAfter", &encode(text("start-after")));
        xml.element("ContinuationToken", text("continuation-token"));
        xml.element("KeyCount", &page.len().to_string());
        next.inspect(|next| xml.element("NextContinuationToken", &token(next)));
    } else {
        xml.element("Marker", &encode(&marker));
        next.inspect(|next| xml.element("NextMarker", &encode(next)));
    }
    let with_owner = !second || head.param("fetch-owner") == Some("true");
    for (name, listed) in &page {
        match listed {
            ListEntry::Object(object) => object_entry(&mut xml, &encode(name), object, with_owner),
            ListEntry::CommonPrefix => common_prefix_entry(&mut xml, &encode(name)),
        }
    }
    Ok(Response::xml(200, xml))
}

fn object_entry(xml: &mut Xml, key: &str, object: &StoredObject, with_owner: bool) {
    xml.open("Contents");
    xml.element("Key", key);
    xml.element("LastModified", &iso_date(object.modified));
    xml.element("ETag", &object.etag);
    xml.element(
        "Type",
        if object.parts.is_none() {
            "Normal"
        } else {
            "Multipart"
        },
    );
    xml.element("Size", &object.size.to_string());
    xml.element("StorageClass", object.attributes.storage_class());
    if with_owner {
        owner(xml);
    }
    xml.close("Contents");
}

/// Adds the owner, who owns everything.
pub(super) fn owner(xml: &mut Xml) {
    xml.open("Owner");
    xml.element("ID", "0");
    xml.element("DisplayName", "0");
    xml.close("Owner");
}

/// Returns the continuation token for the entries after this name. It is opaque to clients.
fn token(name: &str) -> String {
    hex_lower(name.as_bytes())
}

fn parse_token(token: &str) -> Result<String> {
    from_hex(token)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| {
            let message = "The continuation token provided is incorrect.";
            OssError::invalid_argument("continuation-token", token, message)
        })
}

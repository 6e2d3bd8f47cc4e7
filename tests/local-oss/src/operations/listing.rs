//! Lists of parts, uploads and objects.

use crate::answer::Answer;
use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::request::Head;
use crate::store::StoredUpload;
use crate::text::{Xml, encode_component, iso_date};

const PAGE_MAX: usize = 1000;

/// How keys are written in this answer; notes it in the answer.
pub(super) fn key_encoder(head: &Head, xml: &mut Xml) -> Result<fn(&str) -> String> {
    match head.param("encoding-type") {
        None | Some("") => Ok(str::to_owned),
        Some("url") => {
            xml.element("EncodingType", "url");
            Ok(encode_component)
        }
        Some(other) => {
            Err(OssError::invalid_argument("encoding-type", other, "Invalid Encoding Method in Request."))
        }
    }
}

pub(super) fn parts(exchange: &Exchange) -> Result<Answer> {
    let (head, shared) = (&exchange.head, &exchange.shared);
    let limit = head.number("max-parts", PAGE_MAX, (1, PAGE_MAX))?;
    let marker = head.number("part-number-marker", 0, (0, usize::MAX))?;
    let mut xml = Xml::document("ListPartsResult");
    let encode = key_encoder(head, &mut xml)?;
    let id = head.param("uploadId").unwrap_or_default();
    shared.store.with_upload((&head.bucket, &head.key, id), |upload| {
        let after = upload.parts.iter().filter(|(number, _)| **number as usize > marker);
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
    Ok(Answer::xml(200, xml))
}

pub(super) fn uploads(exchange: &Exchange) -> Result<Answer> {
    let head = &exchange.head;
    let limit = head.number("max-uploads", PAGE_MAX, (1, PAGE_MAX))?;
    let text = |name| head.param(name).unwrap_or_default();
    let (prefix, key_marker, id_marker) = (text("prefix"), text("key-marker"), text("upload-id-marker"));
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
    let truncated = uploads.len() > limit;
    uploads.truncate(limit);
    let mut xml = Xml::document("ListMultipartUploadsResult");
    let encode = key_encoder(head, &mut xml)?;
    let last = uploads.last().filter(|_| truncated);
    xml.element("Bucket", &head.bucket);
    xml.element("KeyMarker", &encode(key_marker));
    xml.element("UploadIdMarker", id_marker);
    xml.element("NextKeyMarker", &encode(last.map_or("", |upload| &upload.key)));
    xml.element("NextUploadIdMarker", last.map_or("", |upload| &upload.id));
    xml.element("Delimiter", "");
    xml.element("Prefix", &encode(prefix));
    xml.element("MaxUploads", &limit.to_string());
    xml.element("IsTruncated", &truncated.to_string());
    for upload in &uploads {
        upload_entry(&mut xml, upload, encode);
    }
    Ok(Answer::xml(200, xml))
}

fn upload_entry(xml: &mut Xml, upload: &StoredUpload, encode: fn(&str) -> String) {
    xml.open("Upload");
    xml.element("Key", &encode(&upload.key));
    xml.element("UploadId", &upload.id);
    xml.element("StorageClass", upload.attributes.storage_class());
    xml.element("Initiated", &iso_date(upload.initiated));
    xml.close("Upload");
}

/// Both versions of the list of objects, without delimiters.
pub(super) fn objects(exchange: &Exchange) -> Result<Answer> {
    let head = &exchange.head;
    let second = head.param("list-type") == Some("2");
    let limit = head.number("max-keys", 100, (1, PAGE_MAX))?;
    let text = |name| head.param(name).filter(|value| !value.is_empty());
    if let Some(delimiter) = text("delimiter") {
        let message = "This local server lists without a delimiter.";
        return Err(OssError::invalid_argument("delimiter", delimiter, message));
    }
    let prefix = text("prefix").unwrap_or_default();
    let marker =
        if second { text("continuation-token").or_else(|| text("start-after")) } else { text("marker") };
    let marker = marker.unwrap_or_default();
    let mut page = exchange.shared.store.list(&head.bucket, prefix, marker, limit + 1);
    let truncated = page.len() > limit;
    page.truncate(limit);
    let mut xml = Xml::document("ListBucketResult");
    let encode = key_encoder(head, &mut xml)?;
    xml.element("Name", &head.bucket);
    xml.element("Prefix", &encode(prefix));
    xml.element("MaxKeys", &limit.to_string());
    xml.element("IsTruncated", &truncated.to_string());
    let next = page.last().filter(|_| truncated).map(|(key, _)| key.as_str());
    if second {
        xml.element("KeyCount", &page.len().to_string());
        next.inspect(|next| xml.element("NextContinuationToken", next));
    } else {
        xml.element("Marker", &encode(marker));
        next.inspect(|next| xml.element("NextMarker", &encode(next)));
    }
    for (key, object) in &page {
        xml.open("Contents");
        xml.element("Key", &encode(key));
        xml.element("LastModified", &iso_date(object.modified));
        xml.element("ETag", &object.etag);
        xml.element("Type", if object.parts == 0 { "Normal" } else { "Multipart" });
        xml.element("Size", &object.size.to_string());
        xml.element("StorageClass", object.attributes.storage_class());
        xml.close("Contents");
    }
    Ok(Answer::xml(200, xml))
}

//! InitiateMultipartUpload, UploadPart and AbortMultipartUpload.

use std::collections::BTreeMap;

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::header_validation::{attributes, check_md5, encryption_headers};
use crate::request_body::check_length;
use crate::response::Response;
use crate::store::{StoredUpload, check_sequence};
use crate::text::{Xml, base64};

const PARTS_MAX: u32 = 10_000;

pub(super) fn initiate(exchange: &Exchange) -> Result<Response> {
    let (head, store) = (&exchange.head, &exchange.shared.store);
    store.check_overwrite(
        &head.bucket,
        &head.key,
        head.flag("x-oss-forbid-overwrite")?,
    )?;
    let mut xml = Xml::document("InitiateMultipartUploadResult");
    let encode = super::listing::key_encoder(head, &mut xml)?;
    let mut attributes = attributes(head);
    // The access control list is set when the upload is completed.
    attributes.acl = None;
    let upload = StoredUpload {
        id: String::new(),
        bucket: head.bucket.clone(),
        key: head.key.clone(),
        initiated: exchange.shared.now(),
        sequential: head.param("sequential").is_some(),
        attributes: attributes.clone(),
        parts: BTreeMap::new(),
    };
    let id = store.initiate(upload)?;
    xml.element("Bucket", &head.bucket);
    xml.element("Key", &encode(&head.key));
    xml.element("UploadId", &id);
    let mut response = Response::xml(200, xml);
    response.headers.extend(encryption_headers(&attributes));
    Ok(response)
}

pub(super) async fn upload_part(exchange: &mut Exchange) -> Result<Response> {
    let Exchange {
        shared, head, body, ..
    } = exchange;
    let (id, number) = part_of(head.param("uploadId"), head.param("partNumber"))?;
    let upload = (head.bucket.as_str(), head.key.as_str(), id);
    let attributes = shared.store.with_upload(upload, |upload| {
        check_sequence(upload, number)?;
        Ok(upload.attributes.clone())
    })?;
    check_length(
        head.content_length(),
        head.header("transfer-encoding").is_some(),
    )?;
    let mut sink = shared.store.sink(id, head.content_length())?;
    let digests = body.copy_to(&mut sink, !shared.store.discards()).await?;
    check_md5(head, &digests)?;
    let etag = shared
        .store
        .put_part(upload, number, sink, (&digests, shared.now()))?;
    let mut response = Response::empty(200);
    response.set("etag", &etag);
    response.set("x-oss-hash-crc64ecma", &digests.crc64.to_string());
    if let Some(md5) = digests.md5 {
        response.set("content-md5", &base64(md5));
    }
    response.headers.extend(encryption_headers(&attributes));
    Ok(response)
}

fn part_of<'a>(id: Option<&'a str>, number: Option<&str>) -> Result<(&'a str, u32)> {
    let id =
        id.ok_or_else(|| OssError::invalid_argument("uploadId", "", "The upload ID is missing."))?;
    let text = number.unwrap_or_default();
    match text.parse() {
        Ok(number @ 1..=PARTS_MAX) => Ok((id, number)),
        _ => {
            let message = "Part number must be an integer between 1 and 10000, inclusive.";
            Err(OssError::invalid_argument("partNumber", text, message).ec("0017-00000220"))
        }
    }
}

pub(super) fn abort(exchange: &Exchange) -> Result<Response> {
    let (head, store) = (&exchange.head, &exchange.shared.store);
    let id = head.param("uploadId").unwrap_or_default();
    let upload = store.take_upload(&head.bucket, &head.key, id)?;
    store.remove_staging(&upload.id);
    Ok(Response::empty(204))
}

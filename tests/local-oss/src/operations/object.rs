//! PutObject, the deletion of objects, and upload callbacks.

use std::collections::HashMap;

use crate::callback::Callback;
use crate::digest::Digests;
use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::header_validation::{attributes, check_md5, encryption_headers};
use crate::request_body::check_length;
use crate::response::Response;
use crate::store::{NewObject, StoredObject};
use crate::text::{Xml, base64};
use crate::xml::parse_delete;

/// What the response says about an object that was just stored.
pub(super) struct Stored {
    /// The encryption headers, which the response repeats.
    pub(super) encryption: Vec<(String, String)>,
    pub(super) etag: String,
    pub(super) crc64: u64,
    pub(super) size: u64,
    pub(super) mime_type: String,
    pub(super) version: Option<String>,
}

impl Stored {
    pub(super) fn set_headers(&self, response: &mut Response) {
        response.set("etag", &self.etag);
        response.set("x-oss-hash-crc64ecma", &self.crc64.to_string());
        if let Some(version) = &self.version {
            response.set("x-oss-version-id", version);
        }
        response.headers.extend(self.encryption.iter().cloned());
    }
}

pub(super) async fn put(exchange: &mut Exchange) -> Result<Response> {
    let staging = exchange.shared.store.new_staging()?;
    let done = put_staged(exchange, &staging).await;
    if done.is_err() {
        exchange.shared.store.remove_staging(&staging);
    }
    let (response, stored, callback) = done?;
    match callback {
        Some(callback) => call_back(exchange, callback, stored).await,
        None => Ok(response),
    }
}

async fn put_staged(
    exchange: &mut Exchange,
    staging: &str,
) -> Result<(Response, Stored, Option<Callback>)> {
    let Exchange {
        shared, head, body, ..
    } = exchange;
    let callback = Callback::of(head)?;
    let forbid_overwrite = head.flag("x-oss-forbid-overwrite")?;
    shared
        .store
        .check_overwrite(&head.bucket, &head.key, forbid_overwrite)?;
    check_length(
        head.content_length(),
        head.header("transfer-encoding").is_some(),
    )?;
    let mut sink = shared.store.sink(staging, head.content_length())?;
    let digests = body.copy_to(&mut sink, !shared.store.discards()).await?;
    check_md5(head, &digests)?;
    let attributes = attributes(head);
    let etag = digests.etag(attributes.has_opaque_etag().then_some(staging));
    let encryption = encryption_headers(&attributes);
    let mut response = Response::empty(200);
    if let Some(md5) = digests.md5 {
        response.set("content-md5", &base64(md5));
    }
    let mime_type = attributes
        .header("content-type")
        .unwrap_or_default()
        .to_owned();
    let (content, temporary) = sink.finish();
    let object = StoredObject {
        size: digests.size,
        etag: etag.clone(),
        crc64: digests.crc64,
        content_md5: digests.md5.map(base64),
        attributes,
        parts: None,
        modified: shared.now(),
        version: None,
        content,
    };
    let (bucket, key, staging) = (head.bucket.clone(), head.key.clone(), staging.to_owned());
    let version = shared.store.store_object(NewObject {
        bucket,
        key,
        object,
        forbid_overwrite,
        staging,
    })?;
    temporary.keep();
    let stored = Stored {
        etag,
        crc64: digests.crc64,
        size: digests.size,
        mime_type,
        version,
        encryption,
    };
    stored.set_headers(&mut response);
    Ok((response, stored, callback))
}

pub(super) fn delete(exchange: &Exchange) -> Result<Response> {
    exchange
        .shared
        .store
        .remove_object(&exchange.head.bucket, &exchange.head.key)?;
    Ok(Response::empty(204))
}

/// Deletes the listed objects. One that does not exist counts as deleted.
pub(super) async fn delete_many(exchange: &mut Exchange) -> Result<Response> {
    let document = exchange.body.read_document().await?;
    let Exchange { head, shared, .. } = exchange;
    if head.header("content-md5").is_none() {
        let message = "Missing Some Required Arguments.";
        return Err(
            OssError::new(400, "MissingArgument", message).with("ArgumentName", "Content-MD5")
        );
    }
    check_md5(head, &Digests::of(&document))?;
    let list = parse_delete(&document)?;
    for key in &list.keys {
        shared.store.remove_object(&head.bucket, key)?;
    }
    if list.quiet {
        return Ok(Response::empty(200));
    }
    let mut xml = Xml::document("DeleteResult");
    let encode = super::listing::key_encoder(head, &mut xml)?;
    for key in &list.keys {
        xml.open("Deleted");
        xml.element("Key", &encode(key));
        xml.close("Deleted");
    }
    Ok(Response::xml(200, xml))
}

/// Posts the callback for an object that has been stored. The object remains if the callback fails.
pub(super) async fn call_back(
    exchange: &Exchange,
    callback: Callback,
    stored: Stored,
) -> Result<Response> {
    let head = &exchange.head;
    let system = HashMap::from([
        ("bucket", head.bucket.clone()),
        ("object", head.key.clone()),
        ("etag", stored.etag.trim_matches('"').to_owned()),
        ("size", stored.size.to_string()),
        ("mimeType", stored.mime_type.clone()),
        ("crc64", stored.crc64.to_string()),
        ("reqId", exchange.request_id.clone()),
        ("clientIp", "127.0.0.1".to_owned()),
        ("operation", format!("{:?}", head.operation)),
    ]);
    let posted = tokio::task::spawn_blocking(move || callback.post(&system)).await;
    let mut response =
        match posted.unwrap_or_else(|_| Err("The callback could not be sent.".to_owned())) {
            Ok(json) => Response::with_body(200, "application/json", json),
            Err(reason) => {
                let error = OssError::new(203, "CallbackFailed", reason).ec("0007-00000203");
                let host = head.header("host").unwrap_or_default();
                Response::from_error(&error, &head.method, &exchange.request_id, host)
            }
        };
    stored.set_headers(&mut response);
    Ok(response)
}

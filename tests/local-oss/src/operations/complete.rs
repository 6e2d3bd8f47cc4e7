//! CompleteMultipartUpload.

use crate::callback::Callback;
use crate::digest::{Digests, combine_crc64, multipart_etag};
use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::header_validation::{check_md5, encryption_headers};
use crate::request::Head;
use crate::response::Response;
use crate::state::Shared;
use crate::store::{NewObject, StoredObject, StoredPart, StoredUpload};
use crate::text::{Xml, base64};
use crate::xml::parse_complete;

use super::object::{Stored, call_back};

/// The smallest part, except for the last one.
const PART_BYTES_MIN: u64 = 100 * 1024;

pub(super) async fn complete(exchange: &mut Exchange) -> Result<Response> {
    let document = exchange.body.read_document().await?;
    let (head, shared) = (&exchange.head, &exchange.shared);
    let callback = Callback::of(head)?;
    check_md5(head, &Digests::of(&document))?;
    let mut xml = Xml::document("CompleteMultipartUploadResult");
    let encode = super::listing::key_encoder(head, &mut xml)?;
    let upload = shared.store.take_upload(
        &head.bucket,
        &head.key,
        head.param("uploadId").unwrap_or_default(),
    )?;
    let stored = finish(head, shared, &upload, &document)
        .inspect_err(|_| shared.store.restore_upload(upload.clone()))?;
    if let Some(callback) = callback {
        return call_back(exchange, callback, stored).await;
    }
    let host = head.header("host").unwrap_or_default();
    xml.element("Location", &format!("http://{host}{}", head.path));
    xml.element("Bucket", &head.bucket);
    xml.element("Key", &encode(&head.key));
    xml.element("ETag", &stored.etag);
    let mut response = Response::xml(200, xml);
    stored.set_headers(&mut response);
    Ok(response)
}

/// Makes an object of the listed parts. If this fails, the upload is not changed.
fn finish(head: &Head, shared: &Shared, upload: &StoredUpload, document: &[u8]) -> Result<Stored> {
    let forbid_overwrite = head.flag("x-oss-forbid-overwrite")?;
    shared
        .store
        .check_overwrite(&upload.bucket, &upload.key, forbid_overwrite)?;
    let parts = chosen_parts(head, upload, document)?;
    let (sink, md5) = shared
        .store
        .join_parts(&upload.id, &parts, upload.sequential)?;
    let crc64 = parts
        .iter()
        .fold(0, |crc, part| combine_crc64(crc, part.crc64, part.size));
    let size = parts.iter().map(|part| part.size).sum();
    let etag = multipart_etag(parts.iter().map(|part| part.etag.as_str()));
    let mut attributes = upload.attributes.clone();
    attributes.acl = head.header("x-oss-object-acl").map(str::to_owned);
    let mime_type = attributes
        .header("content-type")
        .unwrap_or_default()
        .to_owned();
    let encryption = encryption_headers(&attributes);
    let (content, temporary) = sink.finish();
    let object = StoredObject {
        size,
        etag: etag.clone(),
        crc64,
        content_md5: md5.map(base64),
        attributes,
        parts: Some(parts.len()),
        modified: shared.now(),
        version: None,
        content,
    };
    let (bucket, key, staging) = (upload.bucket.clone(), upload.key.clone(), upload.id.clone());
    let version = shared.store.store_object(NewObject {
        bucket,
        key,
        object,
        forbid_overwrite,
        staging,
    })?;
    temporary.keep();
    Ok(Stored {
        etag,
        crc64,
        size,
        mime_type,
        version,
        encryption,
    })
}

/// Returns the parts of the object: the listed ones, or all of them with `x-oss-complete-all`. An
/// empty list makes an object without content.
fn chosen_parts<'a>(
    head: &Head,
    upload: &'a StoredUpload,
    document: &[u8],
) -> Result<Vec<&'a StoredPart>> {
    let parts = match head.header("x-oss-complete-all") {
        Some("yes") if document.is_empty() && upload.parts.is_empty() => {
            let message = "The upload has no parts.";
            return Err(OssError::new(400, "MalformedXML", message).ec("0042-00000205"));
        }
        Some("yes") if document.is_empty() => upload.parts.values().collect(),
        Some("yes") => {
            let message = "The request body must be empty when x-oss-complete-all is yes.";
            return Err(
                OssError::invalid_argument("x-oss-complete-all", "yes", message)
                    .ec("0042-00000216"),
            );
        }
        Some(other) => {
            return Err(OssError::invalid_argument(
                "x-oss-complete-all",
                other,
                "The value must be yes.",
            ));
        }
        None => listed_parts(upload, &parse_complete(document)?)?,
    };
    let too_small = parts[..parts.len().saturating_sub(1)]
        .iter()
        .find(|part| part.size < PART_BYTES_MIN);
    if let Some(part) = too_small {
        let message = "Your proposed upload smaller than the minimum allowed size.";
        return Err(OssError::new(400, "EntityTooSmall", message)
            .ec("0042-00000213")
            .with("MinSizeAllowed", PART_BYTES_MIN.to_string())
            .with("ProposedSize", part.size.to_string())
            .with("ETag", &part.etag));
    }
    Ok(parts)
}

fn listed_parts<'a>(
    upload: &'a StoredUpload,
    listed: &[(u32, String)],
) -> Result<Vec<&'a StoredPart>> {
    if !listed.is_sorted_by(|left, right| left.0 < right.0) {
        let message = "The list of parts was not in ascending order. Parts list must specified in order by part number.";
        return Err(OssError::new(400, "InvalidPartOrder", message).ec("0042-00000209"));
    }
    let find = |(number, etag): &(u32, String)| {
        let part = upload.parts.get(number);
        let equal = |part: &&StoredPart| {
            part.etag
                .trim_matches('"')
                .eq_ignore_ascii_case(etag.trim_matches('"'))
        };
        part.filter(equal).ok_or_else(|| {
            let message = "One or more of the specified parts could not be found or the specified entity tag \
                           might not have matched the part's entity tag.";
            OssError::new(400, "InvalidPart", message)
                .ec("0042-00000211")
                .with("PartNumber", number.to_string())
                .with("ETag", etag)
                .with("UploadId", &upload.id)
        })
    };
    listed.iter().map(find).collect()
}

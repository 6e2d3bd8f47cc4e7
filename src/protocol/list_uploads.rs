//! ListMultipartUploads (OSS documentation of that name).

use std::time::SystemTime;

use super::request::{Method, Request, Response};
use super::{Parsed, xml};
use crate::dates;
use crate::encoding::decoded;

/// An upload that was begun and neither completed nor aborted. Its parts are stored, and billed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartUpload {
    /// The object's key.
    pub key: String,
    /// For [`Bucket::abort_multipart_upload`](crate::Bucket::abort_multipart_upload).
    pub upload_id: String,
    /// When it was begun, by the server's clock.
    pub initiated: SystemTime,
}

/// Where a page begins: key and upload id of the last one seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) key: String,
    pub(crate) upload_id: String,
}

pub(crate) struct Page {
    pub(crate) uploads: Vec<MultipartUpload>,
    pub(crate) next: Option<Marker>,
}

pub(crate) fn request(bucket: &str, prefix: &str, marker: &Marker) -> Request {
    let mut request = Request::new("ListMultipartUploads", Method::Get, bucket, "")
        .query("uploads", "")
        .query("max-uploads", 1000)
        .query("encoding-type", "url");
    for (name, value) in
        [("prefix", prefix), ("key-marker", &marker.key), ("upload-id-marker", &marker.upload_id)]
    {
        if !value.is_empty() {
            request = request.query(name, value);
        }
    }
    request
}

pub(crate) fn parse(response: &Response, marker: &Marker) -> Parsed<Page> {
    let result = xml::parse(&response.body, "ListMultipartUploadsResult")?;
    let url_encoded = result.text("EncodingType") == Some("url");
    let key = |text: &str| match url_encoded {
        true => decoded(&text.replace('+', " ")).ok_or("a key is not percent-encoded UTF-8"),
        false => Ok(text.to_owned()),
    };
    let mut uploads = Vec::new();
    for upload in result.all("Upload") {
        let initiated = upload.text("Initiated").and_then(dates::parse_rfc3339);
        uploads.push(MultipartUpload {
            key: key(upload.text("Key").ok_or("an upload has no Key")?)?,
            upload_id: upload.text("UploadId").ok_or("an upload has no UploadId")?.to_owned(),
            initiated: initiated.ok_or("an upload has no valid Initiated")?,
        });
    }
    let next = match result.text("IsTruncated") {
        Some("true") => {
            let next = Marker {
                key: key(result.text("NextKeyMarker").unwrap_or_default())?,
                upload_id: result.text("NextUploadIdMarker").unwrap_or_default().to_owned(),
            };
            // In order, or they would turn in circles.
            if (&next.key, &next.upload_id) <= (&marker.key, &marker.upload_id) {
                return Err("it is truncated and does not say where to go on".into());
            }
            Some(next)
        }
        _ => None,
    };
    Ok(Page { uploads, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_only_when_the_answer_says_so() {
        let body = |encoding: &str| {
            format!(
                "<ListMultipartUploadsResult>{encoding}<IsTruncated>true</IsTruncated><NextKeyMarker>a%2Bb</NextKeyMarker>\
                 <NextUploadIdMarker>I1</NextUploadIdMarker><Upload><Key>demo%2Fa+b%2B.data</Key><UploadId>I1</UploadId>\
                 <Initiated>2012-02-23T04:18:23.000Z</Initiated></Upload></ListMultipartUploadsResult>"
            )
        };
        let page = |encoding: &str| {
            let response = Response { status: 200, body: body(encoding).into(), ..Response::default() };
            parse(&response, &Marker::default()).unwrap_or_else(|_| panic!("not read"))
        };
        let encoded = page("<EncodingType>url</EncodingType>");
        assert_eq!(encoded.uploads[0].key, "demo/a b+.data");
        assert_eq!(encoded.next.unwrap().key, "a+b");
        assert_eq!(page("").uploads[0].key, "demo%2Fa+b%2B.data");
        let seconds = encoded.uploads[0].initiated.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 1_329_970_703);
    }
}

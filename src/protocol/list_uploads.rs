//! ListMultipartUploads (OSS documentation of that name).

use std::time::SystemTime;

use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use super::{ParseResult, xml};
use crate::encoding::percent_decode;
use crate::error::OperationKind;
use crate::time;

/// Uploads on one page: the most that OSS gives.
const PAGE_SIZE: usize = 1000;

/// One page of the uploads that were initiated and neither completed nor aborted.
pub(crate) struct ListMultipartUploads<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) marker: &'a Marker,
    pub(crate) headers: &'a [Header],
}

/// An upload that was initiated and neither completed nor aborted. Its parts are stored and billed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartUpload {
    /// The object's key.
    pub key: String,
    /// The id that [`Bucket::abort_multipart_upload`](crate::Bucket::abort_multipart_upload) takes.
    pub upload_id: String,
    /// When it was initiated, by the clock of the server.
    pub initiated: SystemTime,
}

/// The start of a page: after this key and upload ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) key: String,
    pub(crate) upload_id: String,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) uploads: Vec<MultipartUpload>,
    pub(crate) next: Option<Marker>,
}

impl Action for ListMultipartUploads<'_> {
    type Output = Page;

    fn request(&self) -> Request {
        let kind = OperationKind::ListMultipartUploads;
        let mut request = Request::new(kind, Method::Get, self.bucket, "")
            .query("uploads", "")
            .query("max-uploads", PAGE_SIZE)
            .query("encoding-type", "url");
        let position = [
            ("prefix", self.prefix),
            ("key-marker", &self.marker.key),
            ("upload-id-marker", &self.marker.upload_id),
        ];
        for (name, value) in position {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        request.headers(self.headers)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<Page> {
        check_success(response, 200, SuccessBody::Document, sent)?;
        let result = xml::parse(&response.body, "ListMultipartUploadsResult")?;
        let url_encoded = result.text("EncodingType") == Some("url");
        let decode_key = |text: &str| match url_encoded {
            true => {
                percent_decode(&text.replace('+', " ")).ok_or("a key is not percent-encoded UTF-8")
            }
            false => Ok(text.to_owned()),
        };
        let mut uploads = Vec::new();
        for upload in result.all("Upload") {
            let initiated = upload.text("Initiated").and_then(time::parse_rfc3339);
            uploads.push(MultipartUpload {
                key: decode_key(upload.text("Key").ok_or("an upload has no Key")?)?,
                upload_id: xml::upload_id(upload)?,
                initiated: initiated.ok_or("an upload has no valid Initiated")?,
            });
        }
        let next = match result.text("IsTruncated") {
            Some("true") => {
                let next = Marker {
                    key: decode_key(result.text("NextKeyMarker").unwrap_or_default())?,
                    upload_id: result
                        .text("NextUploadIdMarker")
                        .unwrap_or_default()
                        .to_owned(),
                };
                // Markers that do not grow would make the list endless.
                let marker = self.marker;
                if (&next.key, &next.upload_id) <= (&marker.key, &marker.upload_id) {
                    return Err("it is truncated and does not say where to continue".into());
                }
                Some(next)
            }
            _ => None,
        };
        Ok(Page { uploads, next })
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn parse(response: &Response, marker: &Marker) -> Option<Page> {
        let action = ListMultipartUploads {
            bucket: "b",
            prefix: "",
            marker,
            headers: &[],
        };
        action.parse(response, &Sent::EMPTY).ok()
    }

    fn document(encoding: &str, upload_id: &str) -> String {
        format!(
            "<ListMultipartUploadsResult>{encoding}<IsTruncated>true</IsTruncated>\
             <NextKeyMarker>a%2Bb</NextKeyMarker><NextUploadIdMarker>I1</NextUploadIdMarker>\
             <Upload><Key>demo%2Fa+b%2B.data</Key><UploadId>{upload_id}</UploadId>\
             <Initiated>2012-02-23T04:18:23.000Z</Initiated></Upload></ListMultipartUploadsResult>"
        )
    }

    #[test]
    fn list_uploads_decodes_keys_only_when_the_response_says_so() {
        let page = |encoding: &str| {
            parse(
                &response(200, &[], &document(encoding, "I1")),
                &Marker::default(),
            )
            .unwrap()
        };
        let encoded = page("<EncodingType>url</EncodingType>");
        assert_eq!(encoded.uploads[0].key, "demo/a b+.data");
        assert_eq!(encoded.next.unwrap().key, "a+b");
        assert_eq!(page("").uploads[0].key, "demo%2Fa+b%2B.data");
        let since_1970 = encoded.uploads[0]
            .initiated
            .duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(since_1970.unwrap().as_secs(), 1_329_970_703);
    }

    #[test]
    fn list_uploads_ends() {
        let marker = |key: &str, upload_id: &str| Marker {
            key: key.into(),
            upload_id: upload_id.into(),
        };
        let good = response(200, &[], &document("", "I1"));
        assert!(parse(&good, &marker("a%2Bb", "I0")).is_some());
        assert!(parse(&good, &marker("a%2Bb", "I1")).is_none());
        assert!(parse(&good, &marker("b", "")).is_none());
    }

    #[test]
    fn list_uploads_is_clean_and_from_oss() {
        let marker = Marker::default();
        assert!(parse(&foreign_response(200, &[], &document("", "I1")), &marker).is_none());
        assert!(parse(&response(200, &[], &document("", "&#x9b;31m")), &marker).is_none());
    }
}

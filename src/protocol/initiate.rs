//! InitiateMultipartUpload (OSS documentation of that name).

use std::time::SystemTime;

use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use super::{ParseResult, xml};
use crate::error::OperationKind;

pub(crate) struct InitiateMultipartUpload<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) sequential: bool,
    /// The properties of the object. No other request of the upload takes these headers.
    pub(crate) headers: &'a [Header],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitiatedUpload {
    pub(crate) upload_id: String,
    /// When it was initiated, by the clock of the server.
    pub(crate) date: Option<SystemTime>,
}

impl Action for InitiateMultipartUpload<'_> {
    type Output = InitiatedUpload;

    fn request(&self) -> Request {
        let kind = OperationKind::InitiateMultipartUpload;
        let mut request = Request::new(kind, Method::Post, self.bucket, self.key)
            .query("uploads", "")
            // The response repeats the key, which may have characters that XML does not allow.
            .query("encoding-type", "url")
            .headers(self.headers);
        if self.sequential {
            request = request.query("sequential", "");
        }
        request
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<InitiatedUpload> {
        check_success(response, 200, SuccessBody::Document, sent)?;
        let result = xml::parse(&response.body, "InitiateMultipartUploadResult")?;
        Ok(InitiatedUpload {
            upload_id: xml::upload_id(&result)?,
            date: response.date(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::response;
    use super::*;

    const ACTION: InitiateMultipartUpload<'_> = InitiateMultipartUpload {
        bucket: "b",
        key: "k",
        sequential: false,
        headers: &[],
    };

    fn upload_id(body: &str) -> Option<String> {
        let initiated = ACTION.parse(&response(200, &[], body), &Sent::EMPTY).ok()?;
        Some(initiated.upload_id)
    }

    #[test]
    fn initiate_response_of_the_documentation() {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InitiateMultipartUploadResult>\
            <Bucket>oss-example</Bucket><Key>multipart.data</Key>\
            <UploadId>0004B9894A22E5B1888A1E29F8236E2D</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(
            upload_id(body).as_deref(),
            Some("0004B9894A22E5B1888A1E29F8236E2D")
        );
        assert_eq!(upload_id("<html></html>"), None);
    }

    #[test]
    fn initiate_rejects_an_invalid_upload_id() {
        let body = |id: &str| {
            format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            )
        };
        assert_eq!(upload_id(&body("I1")).as_deref(), Some("I1"));
        for wrong in ["", "a b", "&#x202e;x", "中", &"x".repeat(1025)] {
            assert_eq!(upload_id(&body(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn initiate_asks_for_an_encoded_key() {
        assert_eq!(
            ACTION.request().encoded_query(),
            "uploads&encoding-type=url"
        );
        let sequential = InitiateMultipartUpload {
            sequential: true,
            ..ACTION
        };
        assert_eq!(
            sequential.request().encoded_query(),
            "uploads&encoding-type=url&sequential"
        );
    }
}

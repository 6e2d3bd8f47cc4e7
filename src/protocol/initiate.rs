//! InitiateMultipartUpload (OSS documentation of that name).

use super::request::{Header, Method, Request, Response};
use super::{Parsed, xml};

/// `headers`: what the finished object is to have; this is the only request of the upload that takes them.
pub(crate) fn request(bucket: &str, key: &str, sequential: bool, headers: &[Header]) -> Request {
    let request = Request::new("InitiateMultipartUpload", Method::Post, bucket, key)
        .query("uploads", "")
        .headers(headers);
    if sequential { request.query("sequential", "") } else { request }
}

/// The upload id.
pub(crate) fn parse(response: &Response) -> Parsed<String> {
    let result = xml::parse(&response.body, "InitiateMultipartUploadResult")?;
    Ok(result.text("UploadId").ok_or("it has no UploadId")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_answer() {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InitiateMultipartUploadResult><Bucket>oss-example</Bucket>\
            <Key>multipart.data</Key><UploadId>0004B9894A22E5B1888A1E29F8236E2D</UploadId></InitiateMultipartUploadResult>";
        let response = Response { status: 200, body: body.into(), ..Response::default() };
        assert!(matches!(parse(&response), Ok(id) if id == "0004B9894A22E5B1888A1E29F8236E2D"));
        let response = Response { status: 200, body: b"<html></html>".to_vec(), ..Response::default() };
        assert!(parse(&response).is_err());
    }
}

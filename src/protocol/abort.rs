//! AbortMultipartUpload (OSS documentation of that name). It answers 204 and nothing else.

use super::request::{Header, Method, Request};

pub(crate) fn request(bucket: &str, key: &str, upload_id: &str, headers: &[Header]) -> Request {
    Request::new("AbortMultipartUpload", Method::Delete, bucket, key)
        .query("uploadId", upload_id)
        .headers(headers)
}

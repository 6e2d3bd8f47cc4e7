//! AbortMultipartUpload (OSS documentation of that name). It answers 204 and nothing else.

use super::ParseResult;
use super::request::{Header, Method, Request, Response};

pub(crate) fn request(bucket: &str, key: &str, upload_id: &str, headers: &[Header]) -> Request {
    Request::new("AbortMultipartUpload", Method::Delete, bucket, key)
        .query("uploadId", upload_id)
        .headers(headers)
}

/// Anything else that claims success is not OSS's answer.
pub(crate) fn parse(response: &Response) -> ParseResult<()> {
    match response.status {
        204 => Ok(()),
        other => Err(format!("its status is {other} where 204 belongs").into()),
    }
}

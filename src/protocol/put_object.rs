//! PutObject (OSS documentation of that name), for a file that needs no parts.

use super::Parsed;
use super::complete::{Completed, from_headers};
use super::request::{Header, Method, Request, Response};
use super::upload_part::check_crc64;

pub(crate) fn request(bucket: &str, key: &str, headers: &[Header]) -> Request {
    Request::new("PutObject", Method::Put, bucket, key).headers(headers)
}

pub(crate) fn parse(response: &Response, crc64_sent: u64, callback: bool) -> Parsed<Completed> {
    check_crc64(response, crc64_sent)?;
    let completed = from_headers(response)?;
    Ok(Completed { callback_body: callback.then(|| response.body.clone()), ..completed })
}

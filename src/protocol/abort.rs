//! AbortMultipartUpload (OSS documentation of that name).

use super::ParseResult;
use super::request::{Action, Header, Method, Request, Response, Sent, SuccessBody, check_success};
use crate::error::OperationKind;

pub(crate) struct AbortMultipartUpload<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) upload_id: &'a str,
    pub(crate) headers: &'a [Header],
}

impl Action for AbortMultipartUpload<'_> {
    type Output = ();

    fn request(&self) -> Request {
        Request::new(
            OperationKind::AbortMultipartUpload,
            Method::Delete,
            self.bucket,
            self.key,
        )
        .query("uploadId", self.upload_id)
        .headers(self.headers)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<()> {
        check_success(response, 204, SuccessBody::None, sent)
    }
}

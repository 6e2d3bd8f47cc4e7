use std::borrow::Borrow;

use super::{CallError, Dispatcher, TextBody};
use crate::protocol::list_uploads::{ListMultipartUploads, Marker, MultipartUpload};
use crate::protocol::request::Header;

/// An iterator over unfinished uploads, which requests one page after the other as needed.
pub(crate) struct UploadPages<D> {
    dispatcher: D,
    bucket: String,
    prefix: String,
    headers: Vec<Header>,
    page: std::vec::IntoIter<MultipartUpload>,
    /// Where the next page starts, if there is one.
    next: Option<Marker>,
}

impl<D: Borrow<Dispatcher>> UploadPages<D> {
    /// Lists the uploads whose keys start with `prefix`.
    pub(crate) fn new(dispatcher: D, bucket: &str, prefix: &str, headers: &[Header]) -> Self {
        UploadPages {
            dispatcher,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            headers: headers.to_vec(),
            page: Vec::new().into_iter(),
            next: Some(Marker::default()),
        }
    }
}

impl<D: Borrow<Dispatcher>> Iterator for UploadPages<D> {
    type Item = Result<MultipartUpload, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(upload) = self.page.next() {
                return Some(Ok(upload));
            }
            let action = ListMultipartUploads {
                bucket: &self.bucket,
                prefix: &self.prefix,
                marker: &self.next.take()?,
                headers: &self.headers,
            };
            let dispatcher = self.dispatcher.borrow();
            match dispatcher.execute(&action, &mut TextBody::empty(), &mut || ()) {
                Ok(page) => {
                    self.page = page.uploads.into_iter();
                    self.next = page.next;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

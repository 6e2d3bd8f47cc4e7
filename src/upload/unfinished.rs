//! Uploads that were begun and neither completed nor aborted.

use crate::client::{Failed, Line, Message};
use crate::protocol::list_uploads::{ListMultipartUploads, Marker, MultipartUpload};
use crate::protocol::request::Header;

/// All whose keys begin with `prefix`, page after page.
pub(crate) fn list(
    line: &Line,
    bucket: &str,
    prefix: &str,
    headers: &[Header],
) -> Result<Vec<MultipartUpload>, Failed> {
    let (mut uploads, mut marker) = (Vec::new(), Marker::default());
    loop {
        let action = ListMultipartUploads { bucket, prefix, marker: &marker, headers };
        let page = line.execute(&action, &mut Message::empty())?;
        uploads.extend(page.uploads);
        match page.next {
            Some(next) => marker = next,
            None => return Ok(uploads),
        }
    }
}

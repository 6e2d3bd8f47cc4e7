//! Uploads that were begun and neither completed nor aborted.

use crate::client::{Failed, Line, Message};
use crate::protocol::list_uploads::{self, Marker, MultipartUpload};
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
        let request = list_uploads::request(bucket, prefix, &marker).headers(headers);
        let page =
            line.call(&request, &mut Message::empty(), |response, _| list_uploads::parse(response, &marker))?;
        uploads.extend(page.uploads);
        match page.next {
            Some(next) => marker = next,
            None => return Ok(uploads),
        }
    }
}

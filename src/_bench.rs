//! What no caller sees, for the benchmark `internals`: signatures, checksums and XML.

use std::time::SystemTime;

use crate::crc64;
use crate::credentials::Credentials;
use crate::md5_digest::Md5Digest;
use crate::part::{UploadedPart, UploadedParts};
use crate::protocol::complete::CompleteMultipartUpload;
use crate::protocol::list_parts::ListParts;
use crate::protocol::request::{Action, Request, Response, Sent};
use crate::protocol::upload_part::UploadPart;
use crate::sign;

const BUCKET: &str = "examplebucket";
const KEY: &str = "dir/an object of mine.bin";
const UPLOAD_ID: &str = "0004B9895DBBB6EC98E36";
const ETAG: &str = "5D41402ABC4B2A76B9719D911017C592";

/// The request that uploads a part.
pub struct PartRequest(Request);

impl PartRequest {
    #[allow(clippy::new_without_default)]
    pub fn new() -> PartRequest {
        let action = UploadPart {
            bucket: BUCKET,
            key: KEY,
            upload_id: UPLOAD_ID,
            number: 7,
            content_md5: None,
            headers: &[],
        };
        PartRequest(action.request())
    }

    pub fn sign_v1(self, credentials: &Credentials, now: SystemTime) -> PartRequest {
        PartRequest(sign::v1::sign(self.0, credentials, now))
    }

    pub fn sign_v4(self, credentials: &Credentials, region: &str, now: SystemTime) -> PartRequest {
        PartRequest(sign::v4::sign(self.0, credentials, region, now))
    }
}

pub fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = crc64::Digest::new();
    digest.update(bytes);
    digest.finish()
}

/// Takes the CRC-64 and the length of each part.
pub fn combine_crc64(parts: impl Iterator<Item = (u64, u64)>) -> u64 {
    crc64::combine(parts)
}

pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5Digest::of(bytes).0
}

/// The parts of an upload.
pub struct PartList(UploadedParts);

impl PartList {
    pub fn new(count: u32) -> PartList {
        let part = |number| UploadedPart {
            number,
            size: 1,
            etag: ETAG.into(),
            crc64: 1,
        };
        PartList((1..=count).map(part).collect())
    }

    /// Writes the document that completes the upload. Returns its length.
    pub fn write_document(&self) -> usize {
        let action = CompleteMultipartUpload {
            bucket: BUCKET,
            key: KEY,
            upload_id: UPLOAD_ID,
            parts: &self.0,
            headers: &[],
            has_callback: false,
        };
        action.body().map(|chunk| chunk.len()).sum()
    }
}

/// A response to ListParts.
pub struct PartsPage(Response);

impl PartsPage {
    pub fn new(parts: u32) -> PartsPage {
        let part = |number| {
            format!(
                "<Part><PartNumber>{number}</PartNumber>\
                 <LastModified>2026-11-20T07:00:00.000Z</LastModified><ETag>\"{ETAG}\"</ETag>\
                 <HashCrc64ecma>{number}</HashCrc64ecma><Size>102400</Size></Part>"
            )
        };
        let parts: String = (1..=parts).map(part).collect();
        PartsPage(Response {
            status: 200,
            headers: vec![("x-oss-request-id".into(), "R".into())],
            body: format!(
                "<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>"
            )
            .into_bytes(),
        })
    }

    /// Returns how many parts it lists, or what is wrong with it.
    pub fn parse(&self) -> Result<usize, String> {
        let action = ListParts {
            bucket: BUCKET,
            key: KEY,
            upload_id: UPLOAD_ID,
            marker: 0,
            headers: &[],
        };
        let sent = Sent {
            is_complete: true,
            crc64: 0,
        };
        let page = action.parse(&self.0, &sent);
        page.map(|page| page.parts.len())
            .map_err(|invalid| invalid.reason)
    }
}

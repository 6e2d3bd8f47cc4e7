use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes in the smallest part that OSS accepts, the last one excepted: 100 KiB. OSS API: CompleteMultipartUpload.
pub const PART_SIZE_MIN: u64 = 100 * 1024;
/// Bytes in the largest part that OSS accepts, and in the largest object of one `PutObject`: 5 GiB. OSS API: UploadPart,
/// PutObject.
pub const PART_SIZE_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// How many parts an object may have. OSS API: UploadPart (`partNumber`).
pub const PARTS_MAX: u64 = 10_000;

/// A part's place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// 1-based, as OSS counts.
    pub(crate) number: u32,
    /// Bytes from the file's beginning.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl Piece {
    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.size
    }
}

/// A part that OSS has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    /// As OSS gave it, without the quotes.
    pub(crate) etag: Box<str>,
    /// Of the local bytes; OSS's own is equal whenever OSS told it.
    pub(crate) crc64: u64,
}

/// By number.
pub(crate) type Parts = BTreeMap<u32, Part>;

/// An ETag without its quotes, for comparing and for keeping.
pub(crate) fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes in the smallest part that OSS accepts, the last one excepted: 100 KiB. OSS API: CompleteMultipartUpload.
pub const PART_SIZE_MIN: u64 = 100 * 1024;
/// Bytes in the largest part that OSS accepts, and in the largest object of one `PutObject`: 5 GiB. OSS API: UploadPart,
/// PutObject.
pub const PART_SIZE_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// How many parts an object may have. OSS API: UploadPart (`partNumber`).
pub const PARTS_MAX: u64 = 10_000;

/// Bytes for each part of a file of `size` bytes: `preferred`, or as many more as it takes for the file to fit into
/// [`PARTS_MAX`] parts. Always within [`PART_SIZE_MIN`] and [`PART_SIZE_MAX`].
///
/// `upload_file` takes the part size that it is given, or refuses it: a size that grew by itself would make it start over when
/// the file grows. Python: `determine_part_size`.
#[must_use]
pub fn determine_part_size(size: u64, preferred: u64) -> u64 {
    preferred.max(size.div_ceil(PARTS_MAX)).clamp(PART_SIZE_MIN, PART_SIZE_MAX)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_size_that_fits() {
        const MIB: u64 = 1 << 20;
        assert_eq!(determine_part_size(0, 0), PART_SIZE_MIN);
        assert_eq!(determine_part_size(80_000 * MIB, 8 * MIB), 8 * MIB);
        assert_eq!(determine_part_size(80_000 * MIB + 1, 8 * MIB), 8 * MIB + 1);
        assert_eq!(determine_part_size(PARTS_MAX * PART_SIZE_MAX, 8 * MIB), PART_SIZE_MAX);
        assert_eq!(determine_part_size(u64::MAX, u64::MAX), PART_SIZE_MAX);
    }
}

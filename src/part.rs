use std::ops::Range;

use crate::crc64;

/// The smallest part that OSS accepts, except for the last one: 100 KiB, in bytes. OSS API:
/// CompleteMultipartUpload.
pub const PART_SIZE_MIN: u64 = 100 * 1024;
/// The largest part that OSS accepts, and the largest object of one `PutObject`: 5 GiB, in bytes.
/// OSS API: UploadPart, PutObject.
pub const PART_SIZE_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// The most parts that an object may have. OSS API: UploadPart (`partNumber`).
pub const PARTS_MAX: u64 = 10_000;

/// The longest text that is accepted as an ETag. Those of OSS have 32 to 40 characters.
const ETAG_BYTES_MAX: usize = 256;

/// Returns a part size for a file of `size` bytes: `preferred`, or more if the file would have more
/// than [`PARTS_MAX`] parts. The result is always within [`PART_SIZE_MIN`] and [`PART_SIZE_MAX`].
///
/// `upload_file` never changes the part size that it is given. If it did, an upload would restart
/// whenever its file grows.
///
/// ```
/// let size = 100 << 30; // 100 GiB
/// let part_size = oss_upload::determine_part_size(size, 8 << 20);
/// assert!(size.div_ceil(part_size) <= oss_upload::PARTS_MAX);
/// ```
#[must_use]
pub fn determine_part_size(size: u64, preferred: u64) -> u64 {
    preferred
        .max(size.div_ceil(PARTS_MAX))
        .clamp(PART_SIZE_MIN, PART_SIZE_MAX)
}

/// The range of the file that becomes one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartRange {
    /// 1-based, as in OSS.
    pub(crate) number: u32,
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
}

impl PartRange {
    /// Returns the range of part `number` of a file of `file_size` bytes in parts of `part_size`,
    /// or `None` if the file has no such part.
    pub(crate) fn new(number: u32, file_size: u64, part_size: u64) -> Option<PartRange> {
        let offset = u64::from(number.checked_sub(1)?).checked_mul(part_size)?;
        let left = file_size.checked_sub(offset)?;
        let size = left.min(part_size);
        (size > 0).then_some(PartRange {
            number,
            offset,
            size,
        })
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.size
    }
}

/// A part that OSS has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UploadedPart {
    pub(crate) number: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// Normalized by [`normalize_etag`].
    pub(crate) etag: Box<str>,
    /// The CRC-64 of the local bytes. That of OSS is equal if OSS has reported one.
    pub(crate) crc64: u64,
}

/// Uploaded parts, sorted by number.
///
/// A sorted list takes the least memory, and parts are acknowledged nearly in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UploadedParts(Vec<UploadedPart>);

impl UploadedParts {
    /// Adds a part, or replaces the one of the same number.
    pub(crate) fn insert(&mut self, part: UploadedPart) {
        match self.position(part.number) {
            Ok(at) => self.0[at] = part,
            Err(at) => self.0.insert(at, part),
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&UploadedPart> {
        self.position(number).ok().map(|at| &self.0[at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &UploadedPart> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the sum of the sizes of all parts.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|part| part.size).sum()
    }

    /// Returns the CRC-64 of the concatenation of all parts.
    pub(crate) fn crc64(&self) -> u64 {
        crc64::combine(self.0.iter().map(|part| (part.crc64, part.size)))
    }

    pub(crate) fn append(&mut self, others: UploadedParts) {
        others.0.into_iter().for_each(|part| self.insert(part));
    }

    fn position(&self, number: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |part| part.number)
    }
}

impl FromIterator<UploadedPart> for UploadedParts {
    fn from_iter<I: IntoIterator<Item = UploadedPart>>(parts: I) -> UploadedParts {
        let mut all = UploadedParts::default();
        parts.into_iter().for_each(|part| all.insert(part));
        all
    }
}

/// Removes the quotes around an ETag, and the mark of a weak one.
pub(crate) fn strip_quotes(etag: &str) -> &str {
    let etag = etag.trim();
    let etag = etag
        .strip_prefix("W/")
        .or_else(|| etag.strip_prefix("w/"))
        .unwrap_or(etag);
    etag.strip_prefix('"')
        .and_then(|etag| etag.strip_suffix('"'))
        .unwrap_or(etag)
}

/// Returns the form in which ETags are kept, compared and sent: without quotes and weak mark.
/// Returns `None` if it is empty, or contains anything but visible ASCII.
pub(crate) fn normalize_etag(etag: &str) -> Option<&str> {
    let etag = strip_quotes(etag);
    let valid = !etag.is_empty()
        && etag.len() <= ETAG_BYTES_MAX
        && etag.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then_some(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploaded_parts_are_sorted_and_unique() {
        let part = |number, crc64| UploadedPart {
            number,
            size: 10,
            etag: "E".into(),
            crc64,
        };
        let mut parts: UploadedParts = [2, 1, 3, 2]
            .into_iter()
            .map(|number| part(number, 0))
            .collect();
        parts.append([part(3, 9)].into_iter().collect());
        assert_eq!(
            parts
                .iter()
                .map(|part| (part.number, part.crc64))
                .collect::<Vec<_>>(),
            [(1, 0), (2, 0), (3, 9)]
        );
        assert_eq!(parts.bytes(), 30);
        assert_eq!((parts.len(), parts.get(3)), (3, Some(&part(3, 9))));
        assert_eq!(parts.get(4), None);
    }

    #[test]
    fn part_size_fits_the_file() {
        const MIB: u64 = 1 << 20;
        assert_eq!(determine_part_size(0, 0), PART_SIZE_MIN);
        assert_eq!(determine_part_size(80_000 * MIB, 8 * MIB), 8 * MIB);
        assert_eq!(determine_part_size(80_000 * MIB + 1, 8 * MIB), 8 * MIB + 1);
        assert_eq!(
            determine_part_size(PARTS_MAX * PART_SIZE_MAX, 8 * MIB),
            PART_SIZE_MAX
        );
        assert_eq!(determine_part_size(u64::MAX, u64::MAX), PART_SIZE_MAX);
    }

    #[test]
    fn part_range_stays_within_the_file() {
        let range =
            |number| PartRange::new(number, 250, 100).map(|range| (range.offset, range.size));
        assert_eq!(
            [range(1), range(2), range(3)],
            [Some((0, 100)), Some((100, 100)), Some((200, 50))]
        );
        assert_eq!([range(0), range(4), range(u32::MAX)], [None; 3]);
        assert_eq!(PartRange::new(3, 200, 100), None);
        assert_eq!(PartRange::new(1, 1, 0), None);
        assert_eq!(PartRange::new(u32::MAX, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn etag_has_one_normal_form() {
        for etag in ["AB", "\"AB\"", "W/\"AB\"", "w/\"AB\"", " \"AB\" ", "W/AB"] {
            assert_eq!(normalize_etag(etag), Some("AB"), "{etag}");
        }
        for wrong in [
            "",
            "\"\"",
            "W/\"\"",
            "a b",
            "\"a\u{202e}b\"",
            "a\nb",
            &"x".repeat(257),
        ] {
            assert_eq!(normalize_etag(wrong), None, "{wrong:?}");
        }
        assert_eq!(strip_quotes("\"AB"), "\"AB");
    }
}

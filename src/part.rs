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

/// Parts by number. A list, as small as it can be: 10,000 parts are the most that an upload has to remember. They come nearly in
/// order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(Vec<Part>);

impl Parts {
    pub(crate) fn insert(&mut self, part: Part) {
        match self.place(part.number) {
            Ok(at) => self.0[at] = part,
            Err(at) => self.0.insert(at, part),
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Part> {
        self.place(number).ok().map(|at| &self.0[at])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Part) -> bool) {
        self.0.retain(keep);
    }

    pub(crate) fn append(&mut self, others: Parts) {
        others.0.into_iter().for_each(|part| self.insert(part));
    }

    fn place(&self, number: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |part| part.number)
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Parts {
        let mut all = Parts::default();
        parts.into_iter().for_each(|part| all.insert(part));
        all
    }
}

/// An ETag without its quotes, for comparing and for keeping.
pub(crate) fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_order_and_once() {
        let part = |number, crc64| Part { number, etag: "E".into(), crc64 };
        let mut parts: Parts = [2, 1, 3, 2].into_iter().map(|number| part(number, 0)).collect();
        parts.append([part(3, 9)].into_iter().collect());
        assert_eq!(
            parts.iter().map(|part| (part.number, part.crc64)).collect::<Vec<_>>(),
            [(1, 0), (2, 0), (3, 9)]
        );
        parts.retain(|part| part.number != 2);
        assert_eq!((parts.len(), parts.get(2), parts.get(3)), (2, None, Some(&part(3, 9))));
    }

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

//! How a file is cut into parts.

use crate::part::{PART_SIZE_MAX, PART_SIZE_MIN, PARTS_MAX, PartRange};
use crate::{Error, Result};

/// A file's size and the size of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes of the file.
    pub(super) size: u64,
    /// Bytes of every part but the last.
    pub(super) part_size: u64,
    /// The whole file is one PutObject.
    pub(super) is_single: bool,
}

impl Plan {
    /// `threshold`: below it the file goes up in one PutObject; by default when it has one part. An empty file
    /// always does, since OSS completes no upload without parts.
    pub(super) fn new(size: u64, part_size: u64, threshold: Option<u64>) -> Result<Plan> {
        if !(PART_SIZE_MIN..=PART_SIZE_MAX).contains(&part_size) {
            let reason = format!(
                "{part_size} bytes is outside {PART_SIZE_MIN} (100 KiB) to {PART_SIZE_MAX} (5 GiB); 8 MiB is 8 * 1024 * 1024"
            );
            return Err(Error::option("part_size", reason));
        }
        let is_single = size == 0 || threshold.map_or(size <= part_size, |threshold| size < threshold);
        let plan = Plan {
            size,
            part_size,
            is_single,
        };
        if !is_single && size.div_ceil(part_size) > PARTS_MAX {
            let count = size.div_ceil(part_size);
            return Err(Error::option(
                "part_size",
                match size.div_ceil(PARTS_MAX) {
                    fits @ ..=PART_SIZE_MAX => format!(
                        "{size} bytes in parts of {part_size} bytes are {count} parts, more than {PARTS_MAX}; \
                     the smallest part size that fits is {fits} bytes"
                    ),
                    _ => format!(
                        "{size} bytes do not fit into {PARTS_MAX} parts of 5 GiB: OSS has no larger objects"
                    ),
                },
            ));
        }
        Ok(plan)
    }

    /// How many requests carry the file.
    pub(super) fn count(&self) -> u32 {
        let count = if self.is_single {
            1
        } else {
            self.size.div_ceil(self.part_size)
        };
        u32::try_from(count).expect("checked: no more than 10,000 parts")
    }

    /// Returns the ranges of all parts.
    pub(super) fn ranges(&self) -> impl ExactSizeIterator<Item = PartRange> + use<> {
        let plan = *self;
        (0..plan.count() as usize).filter_map(move |index| plan.range_of(index as u32 + 1)).collect::<Vec<_>>().into_iter()
    }

    /// The range of part `number`, if the plan has it.
    pub(super) fn range_of(&self, number: u32) -> Option<PartRange> {
        PartRange::new(number, self.size, self.part_size).filter(|_| !self.is_single)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = 100 * 1024;

    #[test]
    fn parts_cover_the_file_without_gap_or_overlap() {
        for size in [
            PART + 1,
            2 * PART,
            2 * PART + 1,
            9_999 * PART + 7,
            10_000 * PART,
        ] {
            let plan = Plan::new(size, PART, None).unwrap();
            let mut end = 0;
            for (index, piece) in (1..=plan.count())
                .filter_map(|number| plan.range_of(number))
                .enumerate()
            {
                assert_eq!((piece.number as usize, piece.offset), (index + 1, end));
                assert!(piece.size >= 1 && piece.size <= PART);
                end = piece.range().end;
            }
            assert_eq!(end, size);
            assert_eq!(plan.range_of(plan.count() + 1), None);
            assert_eq!(plan.range_of(0), None);
        }
    }

    #[test]
    fn what_is_one_put_object() {
        let is_single = |size, threshold| Plan::new(size, PART, threshold).unwrap().is_single;
        assert!(is_single(0, None) && is_single(0, Some(0)) && is_single(1, None) && is_single(PART, None));
        assert!(!is_single(PART + 1, None));
        assert!(!is_single(1, Some(0)) && !is_single(1, Some(1)) && is_single(1, Some(2)));
        assert!(is_single(10 * PART, Some(10 * PART + 1)) && !is_single(10 * PART, Some(10 * PART)));
        assert_eq!(Plan::new(1, PART, Some(0)).unwrap().count(), 1);
    }

    #[test]
    fn limits_are_named() {
        for part_size in [0, 1, PART - 1, PART_SIZE_MAX + 1, u64::MAX] {
            let error = Plan::new(1, part_size, None).unwrap_err().to_string();
            assert!(
                error.contains("part_size") && error.contains(&part_size.to_string()),
                "{error}"
            );
        }
        let error = Plan::new(10_000 * PART + 1, PART, None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("10001 parts") && error.contains("is 102401 bytes"),
            "{error}"
        );
        let error = Plan::new(u64::MAX, PART, None).unwrap_err().to_string();
        assert!(error.contains("no larger objects"), "{error}");
        assert_eq!(
            Plan::new(10_000 * PART_SIZE_MAX, PART_SIZE_MAX, None)
                .unwrap()
                .count(),
            10_000
        );
    }
}

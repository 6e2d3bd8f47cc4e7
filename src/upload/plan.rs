//! The plan of an upload: how a file is split into parts.

use crate::part::{PART_SIZE_MAX, PART_SIZE_MIN, PARTS_MAX, PartRange};
use crate::{Error, Result};

/// The size of what is uploaded and of its parts.
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
    /// Plans the upload of a file.
    ///
    /// A file smaller than `threshold` is one PutObject; without a threshold, a file of a single
    /// part is. An empty file is always one, because OSS completes no upload without parts.
    pub(super) fn new(size: u64, part_size: u64, threshold: Option<u64>) -> Result<Plan> {
        check_part_size(part_size)?;
        let is_single =
            size == 0 || threshold.map_or(size <= part_size, |threshold| size < threshold);
        let count = size.div_ceil(part_size);
        if !is_single && count > PARTS_MAX {
            let smallest = size.div_ceil(PARTS_MAX);
            let reason = if smallest <= PART_SIZE_MAX {
                format!(
                    "{size} bytes in parts of {part_size} bytes are {count} parts, more than {PARTS_MAX}; \
                     the smallest part size that fits is {smallest} bytes"
                )
            } else {
                format!(
                    "{size} bytes do not fit into {PARTS_MAX} parts of 5 GiB; OSS has no larger objects"
                )
            };
            return Err(Error::option("part_size", reason));
        }
        Ok(Plan {
            size,
            part_size,
            is_single,
        })
    }

    /// Plans for a stream: for as many bytes as it may give.
    pub(super) fn for_stream(part_size: u64) -> Result<Plan> {
        check_part_size(part_size)?;
        if usize::try_from(part_size).is_err() {
            let reason =
                format!("{part_size} bytes of a stream do not fit into memory; use smaller parts");
            return Err(Error::option("part_size", reason));
        }
        Ok(Plan {
            size: part_size * PARTS_MAX,
            part_size,
            is_single: false,
        })
    }

    /// Returns the number of requests that send the file: parts, or one PutObject.
    pub(super) fn count(&self) -> u32 {
        let count = if self.is_single {
            1
        } else {
            self.size.div_ceil(self.part_size)
        };
        u32::try_from(count).expect("checked: no more than 10,000 parts")
    }

    /// Returns the ranges of all parts in order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = PartRange> {
        (1..=self.count()).filter_map(|number| self.range_of(number))
    }

    /// Returns the range of part `number`, or `None` if the plan has no such part.
    pub(super) fn range_of(&self, number: u32) -> Option<PartRange> {
        PartRange::new(number, self.size, self.part_size).filter(|_| !self.is_single)
    }
}

fn check_part_size(part_size: u64) -> Result<()> {
    if (PART_SIZE_MIN..=PART_SIZE_MAX).contains(&part_size) {
        return Ok(());
    }
    let reason = format!(
        "{part_size} bytes is out of range; use {PART_SIZE_MIN} (100 KiB) to {PART_SIZE_MAX} (5 GiB), \
         such as 8 << 20 (8 MiB)"
    );
    Err(Error::option("part_size", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: u64 = 100 * 1024;

    #[test]
    fn plan_covers_the_file_without_gap_or_overlap() {
        for size in [
            PART + 1,
            2 * PART,
            2 * PART + 1,
            9_999 * PART + 7,
            10_000 * PART,
        ] {
            let plan = Plan::new(size, PART, None).unwrap();
            let mut end = 0;
            for (index, range) in (1..=plan.count())
                .filter_map(|number| plan.range_of(number))
                .enumerate()
            {
                assert_eq!((range.number as usize, range.offset), (index + 1, end));
                assert!(range.size >= 1 && range.size <= PART);
                end = range.range().end;
            }
            assert_eq!(end, size);
            assert_eq!(plan.range_of(plan.count() + 1), None);
            assert_eq!(plan.range_of(0), None);
        }
    }

    #[test]
    fn plan_uses_put_object_when() {
        let is_single = |size, threshold| Plan::new(size, PART, threshold).unwrap().is_single;
        assert!(
            is_single(0, None)
                && is_single(0, Some(0))
                && is_single(1, None)
                && is_single(PART, None)
        );
        assert!(!is_single(PART + 1, None));
        assert!(!is_single(1, Some(0)) && !is_single(1, Some(1)) && is_single(1, Some(2)));
        assert!(
            is_single(10 * PART, Some(10 * PART + 1)) && !is_single(10 * PART, Some(10 * PART))
        );
        assert_eq!(Plan::new(1, PART, Some(0)).unwrap().count(), 1);
    }

    #[test]
    fn plan_error_names_limit() {
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

//! Decides which parts of an earlier upload can be used. Pure: no request is made and no file is
//! read.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;
use super::progress::RestartReason;
use super::state::Origin;
use crate::part::{PartRange, UploadedPart, UploadedParts};
use crate::protocol::list_parts::ListedPart;

/// What OSS says about the parts of an upload.
pub(super) enum PartListing {
    Parts(Vec<ListedPart>),
    /// The credentials may not list them.
    Denied,
    NoSuchUpload,
}

/// How far the checkpoint is trusted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) origin: Origin,
    /// Read every part again before trusting it.
    pub(super) verify: bool,
    /// Parts that OSS has cannot be replaced.
    pub(super) sequential: bool,
    /// The sizes of parts are not known beforehand.
    pub(super) is_stream: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reconciliation {
    Parts {
        /// Parts that checkpoint and OSS agree on.
        confirmed: UploadedParts,
        /// Parts that count if they equal the file.
        candidates: Candidates,
        /// How many of both must be equal to the file, or else the upload restarts. In a sequential
        /// upload this is every listed part, because none can be replaced. Otherwise it is 0.
        required: usize,
    },
    /// OSS does not know the upload, which may have been completed to an object.
    MayBeComplete,
    Restart(RestartReason),
}

/// A part that OSS has, and the checksum that the file must have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) range: PartRange,
    pub(super) etag: Box<str>,
    pub(super) expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Crc64(u64),
    /// The ETag is the MD5. The ETag of an encrypted part is not, so such a part is not used.
    Md5Etag,
}

/// Candidates by part number.
pub(super) type Candidates = BTreeMap<u32, Candidate>;

/// Decides which parts of an earlier upload can be used.
pub(super) fn reconcile(
    saved: &UploadedParts,
    listing: PartListing,
    plan: &Plan,
    policy: Policy,
) -> Reconciliation {
    match (listing, policy.origin) {
        (
            PartListing::NoSuchUpload,
            Origin::Checkpoint {
                was_completing: true,
                ..
            },
        ) => Reconciliation::MayBeComplete,
        (PartListing::NoSuchUpload, _) | (PartListing::Denied, Origin::Adopted) => {
            Reconciliation::Restart(RestartReason::UploadNotFound)
        }
        (PartListing::Denied, _) if policy.verify => Reconciliation::Parts {
            confirmed: UploadedParts::default(),
            candidates: candidates(saved, plan),
            required: 0,
        },
        (PartListing::Denied, _) => {
            let in_plan = |part: &&UploadedPart| plan.range_of(part.number).is_some();
            Reconciliation::Parts {
                confirmed: saved.iter().filter(in_plan).cloned().collect(),
                candidates: Candidates::new(),
                required: 0,
            }
        }
        (PartListing::Parts(listed), _) => compare(saved, listed, plan, policy),
    }
}

/// Makes every saved part a candidate, which is compared with its saved CRC-64.
pub(super) fn candidates(saved: &UploadedParts, plan: &Plan) -> Candidates {
    let candidate = |part: &UploadedPart| {
        let candidate = Candidate {
            range: plan.range_of(part.number)?,
            etag: part.etag.clone(),
            expected: Expected::Crc64(part.crc64),
        };
        Some((part.number, candidate))
    };
    saved.iter().filter_map(candidate).collect()
}

fn compare(
    saved: &UploadedParts,
    listed: Vec<ListedPart>,
    plan: &Plan,
    policy: Policy,
) -> Reconciliation {
    let mut confirmed = UploadedParts::default();
    let mut candidates = Candidates::new();
    let numbers: BTreeSet<u32> = listed.iter().map(|part| part.number).collect();
    for part in listed {
        let has_size = |range: &PartRange| match policy.is_stream {
            true => (1..=range.size).contains(&part.size),
            false => range.size == part.size,
        };
        let Some(range) = plan.range_of(part.number).filter(has_size) else {
            continue;
        };
        let range = PartRange {
            size: part.size,
            ..range
        };
        let agreed = saved.get(part.number).filter(|saved| {
            saved.etag.eq_ignore_ascii_case(&part.etag)
                && part.crc64.is_none_or(|crc64| crc64 == saved.crc64)
        });
        match agreed {
            Some(agreed) if !policy.verify => confirmed.insert(agreed.clone()),
            _ => {
                let crc64 = part.crc64.or(agreed.map(|agreed| agreed.crc64));
                let candidate = Candidate {
                    range,
                    etag: part.etag.into(),
                    expected: crc64.map_or(Expected::Md5Etag, Expected::Crc64),
                };
                candidates.insert(part.number, candidate);
            }
        }
    }
    Reconciliation::Parts {
        confirmed,
        candidates,
        required: if policy.sequential { numbers.len() } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART_SIZE: u64 = 100 * 1024;
    const SIZE: u64 = 2 * PART_SIZE + 1;

    const FROM_CHECKPOINT: Origin = Origin::Checkpoint {
        was_completing: false,
        parts_listed: true,
    };
    const COMPLETING: Origin = Origin::Checkpoint {
        was_completing: true,
        parts_listed: true,
    };
    const TRUST: Policy = Policy {
        origin: FROM_CHECKPOINT,
        verify: false,
        sequential: false,
        is_stream: false,
    };

    fn plan() -> Plan {
        Plan::new(SIZE, PART_SIZE, None).unwrap()
    }

    /// The CRC-64 of part `number` is its number, its ETag is `E` and its number.
    fn saved(numbers: &[u32]) -> UploadedParts {
        let part = |number: &u32| UploadedPart {
            number: *number,
            size: plan()
                .range_of(*number)
                .map_or(PART_SIZE, |range| range.size),
            etag: format!("E{number}").into(),
            crc64: u64::from(*number),
        };
        numbers.iter().map(part).collect()
    }

    fn listed(number: u32) -> ListedPart {
        ListedPart {
            number,
            etag: format!("E{number}"),
            size: plan()
                .range_of(number)
                .map_or(PART_SIZE, |range| range.size),
            crc64: Some(u64::from(number)),
        }
    }

    fn list(parts: &[ListedPart]) -> PartListing {
        PartListing::Parts(parts.to_vec())
    }

    fn candidate(number: u32, expected: Expected) -> (u32, Candidate) {
        let candidate = Candidate {
            range: plan().range_of(number).unwrap(),
            etag: format!("E{number}").into(),
            expected,
        };
        (number, candidate)
    }

    /// The numbers of the confirmed parts, and the candidates with what they are compared with.
    fn parts(
        saved_numbers: &[u32],
        listing: PartListing,
        policy: Policy,
    ) -> (Vec<u32>, Vec<(u32, Expected)>, usize) {
        match reconcile(&saved(saved_numbers), listing, &plan(), policy) {
            Reconciliation::Parts {
                confirmed,
                candidates,
                required,
            } => (
                confirmed.iter().map(|part| part.number).collect(),
                candidates
                    .into_iter()
                    .map(|(number, candidate)| (number, candidate.expected))
                    .collect(),
                required,
            ),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reconcile_confirms_what_checkpoint_and_server_agree_on() {
        let listing = list(&[listed(1), listed(3)]);
        assert_eq!(parts(&[1, 2, 3], listing, TRUST), (vec![1, 3], vec![], 0));
        // OSS does not always report a CRC-64.
        let without = ListedPart {
            crc64: None,
            ..listed(1)
        };
        assert_eq!(parts(&[1], list(&[without]), TRUST), (vec![1], vec![], 0));
    }

    #[test]
    fn reconcile_verifies_what_only_the_server_knows() {
        let by_crc = Expected::Crc64(2);
        assert_eq!(
            parts(&[], list(&[listed(2)]), TRUST),
            (vec![], vec![(2, by_crc)], 0)
        );
        let without = ListedPart {
            crc64: None,
            ..listed(2)
        };
        let by_etag = Expected::Md5Etag;
        assert_eq!(
            parts(&[], list(&[without]), TRUST),
            (vec![], vec![(2, by_etag)], 0)
        );
    }

    #[test]
    fn reconcile_verifies_what_the_server_has_differently() {
        let other_etag = ListedPart {
            etag: "X".into(),
            ..listed(1)
        };
        let other_crc = ListedPart {
            crc64: Some(77),
            ..listed(2)
        };
        let expected = vec![(1, Expected::Crc64(1)), (2, Expected::Crc64(77))];
        let listing = list(&[other_etag, other_crc]);
        assert_eq!(parts(&[1, 2], listing, TRUST), (vec![], expected, 0));
    }

    #[test]
    fn reconcile_ignores_parts_that_do_not_fit_the_plan() {
        let too_short = ListedPart {
            size: 1,
            ..listed(1)
        };
        let listing = list(&[too_short, listed(4)]);
        assert_eq!(parts(&[1, 4], listing, TRUST), (vec![], vec![], 0));
    }

    #[test]
    fn reconcile_verifies_everything_if_the_policy_says_so() {
        let verify = Policy {
            verify: true,
            ..TRUST
        };
        let all = vec![(1, Expected::Crc64(1)), (2, Expected::Crc64(2))];
        let listing = list(&[listed(1), listed(2)]);
        assert_eq!(parts(&[1, 2], listing, verify), (vec![], all.clone(), 0));
        assert_eq!(
            parts(&[1, 2], PartListing::Denied, verify),
            (vec![], all, 0)
        );
        // Without a CRC-64 from OSS, the file must have the saved one.
        let without = ListedPart {
            crc64: None,
            ..listed(1)
        };
        let expected = vec![(1, Expected::Crc64(1))];
        assert_eq!(parts(&[1], list(&[without]), verify), (vec![], expected, 0));
    }

    #[test]
    fn reconcile_trusts_the_checkpoint_if_parts_cannot_be_listed() {
        let expected = (vec![1, 3], vec![], 0);
        assert_eq!(parts(&[1, 3, 9], PartListing::Denied, TRUST), expected);
    }

    #[test]
    fn reconcile_requires_every_listed_part_of_a_sequential_upload() {
        let sequential = Policy {
            sequential: true,
            ..TRUST
        };
        let wrong_size = ListedPart {
            size: 2,
            ..listed(3)
        };
        let listing = list(&[listed(1), listed(2), listed(2), wrong_size]);
        assert_eq!(parts(&[1, 2], listing, sequential), (vec![1, 2], vec![], 3));
    }

    #[test]
    fn reconcile_takes_parts_of_a_stream_of_any_size_as_candidates() {
        let policy = Policy {
            verify: true,
            is_stream: true,
            ..TRUST
        };
        let short = ListedPart {
            size: 7,
            ..listed(2)
        };
        let too_large = ListedPart {
            size: PART_SIZE + 1,
            ..listed(3)
        };
        let beyond = ListedPart {
            number: 10_001,
            size: PART_SIZE,
            ..listed(4)
        };
        let listing = list(&[listed(1), short, too_large, beyond]);
        let plan = Plan::for_stream(PART_SIZE).unwrap();
        let reconciled = reconcile(&saved(&[1]), listing, &plan, policy);
        let Reconciliation::Parts {
            confirmed,
            candidates,
            required: 0,
        } = reconciled
        else {
            panic!("{reconciled:?}");
        };
        assert_eq!(confirmed.len(), 0);
        let sizes: Vec<_> = candidates
            .values()
            .map(|candidate| (candidate.range.number, candidate.range.size))
            .collect();
        assert_eq!(sizes, [(1, PART_SIZE), (2, 7)]);
    }

    #[test]
    fn reconcile_restarts_without_an_upload_unless_it_may_be_complete() {
        let gone = Reconciliation::Restart(RestartReason::UploadNotFound);
        let decide = |listing, origin| {
            let policy = Policy { origin, ..TRUST };
            reconcile(&saved(&[1]), listing, &plan(), policy)
        };
        assert_eq!(decide(PartListing::NoSuchUpload, FROM_CHECKPOINT), gone);
        assert_eq!(decide(PartListing::NoSuchUpload, Origin::Adopted), gone);
        assert_eq!(decide(PartListing::Denied, Origin::Adopted), gone);
        let completed = decide(PartListing::NoSuchUpload, COMPLETING);
        assert_eq!(completed, Reconciliation::MayBeComplete);
    }

    #[test]
    fn candidates_are_the_recorded_parts_of_the_plan() {
        let expected = [candidate(2, Expected::Crc64(2))].into_iter().collect();
        assert_eq!(candidates(&saved(&[2, 9]), &plan()), expected);
    }
}

//! Compares parts that OSS has with the file, by reading the file.

use super::job::Job;
use super::reconcile::{Candidate, Candidates, Expected, candidates};
use super::source::Source;
use super::stop::{PartStop, Stop};
use super::workers::{Done, WorkerEvent};
use crate::part::{PartRange, UploadedPart, UploadedParts};

/// Returns the candidates that equal the file.
pub(super) fn verify_parts(
    job: &Job<'_>,
    source: &Source<'_>,
    candidates: &Candidates,
) -> Result<UploadedParts, Stop> {
    let mut verified = UploadedParts::default();
    let mut ranges = candidates.values().map(|candidate| candidate.range);
    job.pool().run(
        &mut ranges,
        &|range, _| verify_part(job, source, range, &candidates[&range.number]),
        &mut |event| {
            if let WorkerEvent::Done(Done::Part(part)) = event {
                verified.insert(part);
            }
            Ok(())
        },
    )?;
    Ok(verified)
}

/// Reads the whole file and returns its CRC-64.
pub(super) fn file_crc64(job: &Job<'_>) -> Result<u64, Stop> {
    source_crc64(job, &job.source)
}

/// Reads a whole source that has the size of the job's file, and returns its CRC-64.
pub(super) fn source_crc64(job: &Job<'_>, source: &Source) -> Result<u64, Stop> {
    let mut parts = UploadedParts::default();
    // Also the file of a PutObject is read in ranges, by several threads.
    let ranges =
        (1..).map_while(|number| PartRange::new(number, job.plan.size, job.plan.part_size));
    let ranges: Vec<PartRange> = ranges.collect();
    let abort = job.dispatcher.abort_handle();
    job.pool().run(
        &mut ranges.into_iter(),
        &|range, _| {
            let (crc64, _) = source.digest(range, false, abort)?;
            Ok(Done::Part(UploadedPart {
                number: range.number,
                size: range.size,
                etag: Box::default(),
                crc64,
            }))
        },
        &mut |event| {
            if let WorkerEvent::Done(Done::Part(part)) = event {
                parts.insert(part);
            }
            Ok(())
        },
    )?;
    Ok(parts.crc64())
}

/// Returns whether all `parts` equal the file.
pub(super) fn all_hold(
    job: &Job<'_>,
    source: &Source<'_>,
    parts: &UploadedParts,
) -> Result<bool, Stop> {
    let verified = verify_parts(job, source, &candidates(parts, &job.plan))?;
    Ok(verified.len() == parts.len())
}

/// Returns the part, or `Done::Rejected` if it does not equal this range of the source.
pub(super) fn verify_part(
    job: &Job<'_>,
    source: &Source<'_>,
    range: PartRange,
    candidate: &Candidate,
) -> Result<Done, PartStop> {
    if range.size != candidate.range.size {
        return Ok(Done::Rejected);
    }
    let needs_md5 = candidate.expected == Expected::Md5Etag;
    let (crc64, md5) = job.digest(source, range, needs_md5)?;
    let is_equal = match candidate.expected {
        Expected::Crc64(expected) => expected == crc64,
        Expected::Md5Etag => md5.is_some_and(|md5| md5.matches_etag(&candidate.etag)),
    };
    Ok(match is_equal {
        true => Done::Part(UploadedPart {
            number: range.number,
            size: range.size,
            etag: candidate.etag.clone(),
            crc64,
        }),
        false => Done::Rejected,
    })
}

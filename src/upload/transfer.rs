//! Sends the parts that are missing.

use super::checkpoint::Checkpoint;
use super::job::{Job, Target};
use super::part_body::PartBody;
use super::progress::{Events, RestartReason};
use super::reconcile::PartListing;
use super::resume::list_parts;
use super::source::Source;
use super::state::MultipartState;
use super::stop::{PartStop, Stop};
use super::workers::{Done, WorkerEvent};
use crate::Error;
use crate::client::CallError;
use crate::error::{CHECK_ENDPOINT_AND_PROXY, ErrorCode, Operation};
use crate::md5_digest::Md5Digest;
use crate::part::{PartRange, UploadedPart};
use crate::protocol::request::Action;
use crate::protocol::upload_part::UploadPart;

/// The checkpoint is written at most once a second. A tick is a tenth of a second.
pub(super) const TICKS_BETWEEN_SAVES: u32 = 10;

pub(super) fn send_missing(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    upload: &mut MultipartState,
) -> Result<(), Stop> {
    let parts = &upload.state.parts;
    let is_missing = |range: &PartRange| parts.get(range.number).is_none();
    let missing: Vec<PartRange> = job.plan.ranges().filter(is_missing).collect();
    let upload_id = upload.upload_id().to_owned();
    job.pool().run(
        &mut missing.into_iter(),
        &|range, on_retry| send_part(job, &job.source, &upload_id, range, on_retry),
        &mut |event| {
            let in_flight = job.counters.in_flight();
            match event {
                WorkerEvent::Done(Done::Part(part)) => {
                    let size = part.size;
                    upload.state.parts.insert(part);
                    checkpoint.mark_dirty();
                    events.part_acknowledged(size, in_flight);
                    if job.source.looks_grown_or_shrunk()? {
                        return Err(job.source.changed_error().into());
                    }
                }
                WorkerEvent::Done(Done::Kept(_) | Done::Object(_) | Done::Rejected) => {}
                WorkerEvent::Retrying => events.retrying(),
                WorkerEvent::Tick(ticks) => {
                    events.update_transferred(in_flight);
                    if ticks % TICKS_BETWEEN_SAVES == 0 {
                        checkpoint.flush(&upload.state)?;
                    }
                }
            }
            Ok(())
        },
    )
}

/// Sends one part, whose bytes are the range of the source.
pub(super) fn send_part(
    job: &Job<'_>,
    source: &Source<'_>,
    upload_id: &str,
    range: PartRange,
    on_retry: &mut dyn FnMut(),
) -> Result<Done, PartStop> {
    let Target { bucket, key, .. } = *job.target;
    let action = UploadPart {
        bucket,
        key,
        upload_id,
        number: range.number,
        content_md5: content_md5(job, source, range)?,
        headers: &job.config.headers.part(),
    };
    let mut body = PartBody::new(job, source, range);
    let sent = job.dispatcher.execute(&action, &mut body, on_retry);
    let crc64 = body.crc64();
    drop(body);
    let etag = match sent {
        Ok(stored) => {
            if !stored.crc64_confirmed {
                confirm_by_etag(
                    job,
                    source,
                    action.request().operation(),
                    range,
                    &stored.etag,
                )?;
            }
            stored.etag
        }
        Err(CallError::Failed {
            error,
            details: Some(details),
            ..
        }) if error.code() == Some(ErrorCode::PartAlreadyExist) => {
            let etag = details.part_etag.unwrap_or_default();
            return accept_existing_part(job, source, upload_id, range, etag, error)
                .map(Done::Part);
        }
        // Another program sends parts to the same upload, or it was initiated as a sequential one.
        Err(CallError::Failed { error, .. })
            if error.code() == Some(ErrorCode::PartNotSequential) =>
        {
            return Err(Stop::Restart(RestartReason::PartDiffers, error).into());
        }
        Err(CallError::Failed { error, .. }) if error.code() == Some(ErrorCode::InvalidDigest) => {
            // The MD5 was computed before an edit.
            source.ensure_unchanged::<Error>(|_| Ok(true))?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Done::Part(UploadedPart {
        number: range.number,
        size: range.size,
        etag: etag.into(),
        crc64,
    }))
}

/// Returns the MD5 of the range if the call asked for `Content-MD5`.
pub(super) fn content_md5(
    job: &Job<'_>,
    source: &Source<'_>,
    range: PartRange,
) -> Result<Option<Md5Digest>, Error> {
    match job.config.content_md5 {
        true => Ok(job.digest(source, range, true)?.1),
        false => Ok(None),
    }
}

/// Confirms that OSS has the bytes of the file, for a response without a CRC-64: the ETag has to be
/// their MD5.
pub(super) fn confirm_by_etag(
    job: &Job<'_>,
    source: &Source<'_>,
    operation: Operation,
    range: PartRange,
    etag: &str,
) -> Result<(), Error> {
    let (_, md5) = job.digest(source, range, true)?;
    match md5.is_some_and(|md5| md5.matches_etag(etag)) {
        true => Ok(()),
        false => Err(Error::Response {
            operation,
            reason: format!("it has no CRC-64, and its ETag {etag} is not the MD5 of the file"),
            request_id: None,
            hint: CHECK_ENDPOINT_AND_PROXY,
        }),
    }
}

/// Accepts a part that OSS has already, because a part of a sequential upload cannot be replaced.
/// It has to be equal to the file: its ETag is the MD5 of the range or, if it is encrypted,
/// ListParts reports the CRC-64 of the range.
fn accept_existing_part(
    job: &Job<'_>,
    source: &Source<'_>,
    upload_id: &str,
    range: PartRange,
    etag: String,
    error: Error,
) -> Result<UploadedPart, PartStop> {
    let (crc64, md5) = job.digest(source, range, true)?;
    let is_equal = md5.is_some_and(|md5| md5.matches_etag(&etag));
    if !etag.is_empty() && (is_equal || is_listed_with(job, upload_id, range.number, crc64)?) {
        return Ok(UploadedPart {
            number: range.number,
            size: range.size,
            etag: etag.into(),
            crc64,
        });
    }
    Err(PartStop::Stopped(Stop::Restart(
        RestartReason::PartDiffers,
        error,
    )))
}

fn is_listed_with(
    job: &Job<'_>,
    upload_id: &str,
    number: u32,
    crc64: u64,
) -> Result<bool, PartStop> {
    Ok(match list_parts(job, upload_id)? {
        PartListing::Parts(parts) => parts
            .iter()
            .any(|part| part.number == number && part.crc64 == Some(crc64)),
        PartListing::Denied | PartListing::NoSuchUpload => false,
    })
}

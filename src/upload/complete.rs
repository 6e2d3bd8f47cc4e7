//! Completes the object, and finds out whether it exists if the response is lost.

use std::time::SystemTime;

use super::checkpoint::Checkpoint;
use super::cleanup;
use super::job::{Job, Target};
use super::progress::{Events, RestartReason};
use super::state::{MultipartState, Origin};
use super::stop::Stop;
use super::verify::{all_hold, file_crc64};
use crate::Error;
use crate::client::{CallError, CleanupBudget, TextBody};
use crate::error::{ErrorCode, OBJECT_IS_WRONG, Operation};
use crate::protocol::complete::{CompleteMultipartUpload, ObjectInfo};
use crate::protocol::head_object::HeadObject;
use crate::protocol::request::{Action, Response};

pub(super) fn complete(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    upload: &mut MultipartState,
) -> Result<ObjectInfo, Stop> {
    let parts = &upload.state.parts;
    job.source
        .ensure_unchanged(|source| all_hold(job, source, parts))?;
    let crc64 = parts.crc64();
    upload.state.completing = Some(crc64);
    checkpoint.save(&upload.state)?;
    if job.is_cancelled() {
        return Err(Stop::Cancelled {
            object_may_exist: false,
        });
    }
    match send(job, events, upload) {
        Ok((operation, object)) => check_object_crc(operation, object, crc64),
        Err(error) => resolve_failure(job, checkpoint, upload, error, crc64),
    }
}

fn send(
    job: &Job<'_>,
    events: &mut Events<'_>,
    upload: &MultipartState,
) -> Result<(Operation, ObjectInfo), CallError> {
    let action = CompleteMultipartUpload {
        bucket: job.target.bucket,
        key: job.target.key,
        upload_id: upload.upload_id(),
        parts: &upload.state.parts,
        headers: &job.config.headers.complete(),
        has_callback: job.config.headers.has_callback(),
    };
    let mut body = TextBody::new(|| Box::new(action.body()));
    let object = job
        .dispatcher
        .execute(&action, &mut body, &mut || events.retrying())?;
    Ok((action.request().operation(), object))
}

/// Compares the object with the file.
fn check_object_crc(
    operation: Operation,
    object: ObjectInfo,
    crc64: u64,
) -> Result<ObjectInfo, Stop> {
    match object.crc64 {
        Some(remote) if remote != crc64 => {
            let reason =
                format!("the CRC-64 of the object is {remote}, that of the file is {crc64}");
            Err(Stop::ObjectCreated(Error::Response {
                operation,
                reason,
                request_id: object.request_id,
                hint: OBJECT_IS_WRONG,
            }))
        }
        _ => Ok(object),
    }
}

/// Handles a failure of CompleteMultipartUpload, which may have succeeded nevertheless: its
/// response may be lost.
fn resolve_failure(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    upload: &mut MultipartState,
    failure: CallError,
    crc64: u64,
) -> Result<ObjectInfo, Stop> {
    let was_completing = upload.was_completing();
    let (error, response_lost, details) = match failure {
        CallError::Failed {
            error,
            response_lost,
            details,
        } => (error, response_lost, details),
        CallError::Drained => {
            return Err(Stop::Cancelled {
                object_may_exist: was_completing,
            });
        }
        CallError::Aborted { response_lost, .. } => {
            return Err(Stop::Cancelled {
                object_may_exist: response_lost || was_completing,
            });
        }
    };
    let may_exist = response_lost || was_completing;
    if !may_exist {
        upload.state.completing = None;
        checkpoint.mark_dirty();
    }
    match (error.code(), details) {
        (Some(ErrorCode::CallbackFailed), Some(details)) => Err(callback_failed(
            job,
            error,
            &details.response,
            crc64,
            Some(upload),
        )),
        (Some(ErrorCode::NoSuchUpload), _) => {
            let found = match may_exist {
                true => find_completed(job, upload, crc64)?,
                false => None,
            };
            found.ok_or(Stop::Restart(RestartReason::UploadNotFound, error))
        }
        (Some(ErrorCode::FileAlreadyExists), _) if may_exist && job.config.forbid_overwrite => {
            let found = find_completed(job, upload, crc64)?.ok_or(Stop::Failed(error))?;
            // If another call has created the object, the parts of this upload still exist.
            cleanup::abort(job, &upload.state, CleanupBudget::FAILED);
            Ok(found)
        }
        (Some(ErrorCode::InvalidPart), _) if can_restart(upload.origin) => {
            Err(Stop::Restart(RestartReason::PartDiffers, error))
        }
        _ => Err(Stop::Failed(error)),
    }
}

/// Returns whether a new upload may succeed after `InvalidPart`. That is so if the parts were not
/// listed by OSS, or if another machine may have replaced them.
fn can_restart(origin: Origin) -> bool {
    match origin {
        Origin::New => false,
        Origin::Checkpoint { parts_listed, .. } => !parts_listed,
        Origin::Adopted => true,
    }
}

/// Looks for the object of this upload. If parts were resumed, the file is read again, because
/// their CRC-64 comes from the checkpoint. Of a stream,
/// this call has read every part.
fn find_completed(
    job: &Job<'_>,
    upload: &MultipartState,
    crc64: u64,
) -> Result<Option<ObjectInfo>, Stop> {
    let crc64 = match upload.parts_resumed {
        0 => crc64,
        _ if job.source.is_stream() => crc64,
        _ => file_crc64(job)?,
    };
    find_object(job, crc64, upload.state.initiated)
}

/// Looks for an object that equals the file, was created at `since` or later, and has the
/// properties that this call sets.
pub(super) fn find_object(
    job: &Job<'_>,
    crc64: u64,
    since: SystemTime,
) -> Result<Option<ObjectInfo>, Stop> {
    let Target { bucket, key, .. } = *job.target;
    let action = HeadObject {
        bucket,
        key,
        headers: job.config.headers.common(),
    };
    match job
        .dispatcher
        .execute(&action, &mut TextBody::empty(), &mut || ())
    {
        Ok(head) => {
            let is_ours =
                head.matches(job.size(), crc64, since) && job.config.headers.agree_with(&head);
            Ok(is_ours.then_some(head.object))
        }
        Err(CallError::Drained | CallError::Aborted { .. }) => Err(Stop::Cancelled {
            object_may_exist: true,
        }),
        // Without this permission, the upload must still be able to restart.
        Err(CallError::Failed { error, .. }) if error.is_about_request() => {
            log::warn!("cannot look for the object: {error}");
            Ok(None)
        }
        Err(CallError::Failed { error, .. }) => Err(Stop::Failed(error)),
    }
}

/// Handles status 203: the object is complete, but the application server did not accept the
/// callback.
pub(super) fn callback_failed(
    job: &Job<'_>,
    error: Error,
    response: &Response,
    crc64: u64,
    upload: Option<&MultipartState>,
) -> Stop {
    let Error::Service(service) = error else {
        return Stop::Failed(error);
    };
    let object = ObjectInfo::from_failed_callback(response);
    match check_object_crc(service.operation.clone(), object, crc64) {
        Ok(object) => Stop::ObjectCreated(Error::Callback {
            uploaded: Box::new(job.uploaded(object, upload)),
            service,
        }),
        Err(stop) => stop,
    }
}

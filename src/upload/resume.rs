//! Finds the upload of an earlier call, and those of its parts that can be used.

use super::checkpoint::{Checkpoint, CheckpointState, Loaded};
use super::cleanup::Uploads;
use super::complete::find_object;
use super::job::{Job, Target};
use super::progress::RestartReason;
use super::reconcile::{PartListing, Policy, Reconciliation, reconcile};
use super::state::{MultipartState, Origin};
use super::stop::Stop;
use super::verify::{file_crc64, verify_parts};
use crate::client::{CallError, TextBody, UploadPages};
use crate::error::ErrorCode;
use crate::part::UploadedParts;
use crate::protocol::complete::ObjectInfo;
use crate::protocol::list_parts::ListParts;

/// What an earlier call has left.
pub(super) enum Resumption {
    Nothing,
    /// There is an upload or a checkpoint, but it cannot be used.
    Unusable(RestartReason),
    /// An upload, with the parts that can be used.
    Parts(MultipartState),
    /// An earlier call has completed the object.
    Completed(ObjectInfo, MultipartState),
}

/// Looks for an upload to resume. While an upload is examined, it is the active one of `uploads`,
/// so that it is cleaned up if this fails.
pub(super) fn find(
    job: &Job<'_>,
    loaded: Loaded,
    checkpoint: &mut Checkpoint<'_>,
    uploads: &mut Uploads,
) -> Result<Resumption, Stop> {
    // A part of a stream that cannot be replaced is found to differ when it is too late to leave
    // the upload to its owner.
    let can_adopt = !(job.source.is_stream() && job.config.sequential);
    let adopts = job.config.adopt_unfinished && can_adopt;
    match loaded {
        Loaded::State(state) => resume(job, checkpoint, uploads, *state),
        Loaded::Damaged if !adopts => Ok(Resumption::Unusable(RestartReason::CheckpointDamaged)),
        Loaded::Damaged | Loaded::Nothing if adopts => adopt(job, checkpoint, uploads),
        Loaded::Damaged | Loaded::Nothing => Ok(Resumption::Nothing),
    }
}

fn resume(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    uploads: &mut Uploads,
    state: CheckpointState,
) -> Result<Resumption, Stop> {
    let identity = job.identity();
    if let Some(reason) = identity.mismatch(&state.identity) {
        uploads.superseded = Some(state);
        return Ok(Resumption::Unusable(reason));
    }
    let verify = job.config.verify_on_resume || identity.needs_verification(&state.identity);
    let origin = Origin::Checkpoint {
        was_completing: state.completing.is_some(),
        parts_listed: true,
    };
    let state = CheckpointState { identity, ..state };
    let upload = uploads.active.insert(MultipartState::new(state, origin));
    let reconciled = reconcile_with_server(job, upload, verify)?;
    checkpoint.mark_dirty();
    Ok(take_resumption(reconciled, uploads))
}

/// Takes over the newest unfinished upload of exactly this key, without a checkpoint.
fn adopt(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    uploads: &mut Uploads,
) -> Result<Resumption, Stop> {
    let Target { bucket, key, .. } = *job.target;
    let headers = job.config.headers.common();
    let mut newest = None;
    for upload in UploadPages::new(job.dispatcher, bucket, key, headers) {
        match upload {
            Ok(upload) if upload.key == key => {
                newest = newest
                    .into_iter()
                    .chain([upload])
                    .max_by_key(|upload| upload.initiated);
            }
            Ok(_) => {}
            Err(CallError::Failed { error, .. })
                if error.code() == Some(ErrorCode::AccessDenied) =>
            {
                log::warn!("cannot list unfinished uploads: {error}");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let Some(found) = newest else {
        return Ok(Resumption::Nothing);
    };
    let state = CheckpointState {
        identity: job.identity(),
        upload_id: found.upload_id,
        initiated: found.initiated,
        parts: UploadedParts::default(),
        completing: None,
    };
    let upload = uploads
        .active
        .insert(MultipartState::new(state, Origin::Adopted));
    match reconcile_with_server(job, upload, false)? {
        Reconciled::Parts => {}
        // It may be in use by another machine, so it is not aborted.
        Reconciled::Unusable(_) | Reconciled::Completed(_) => {
            uploads.active = None;
            return Ok(Resumption::Nothing);
        }
    }
    checkpoint.save(&upload.state)?;
    Ok(take_resumption(Reconciled::Parts, uploads))
}

fn take_resumption(reconciled: Reconciled, uploads: &mut Uploads) -> Resumption {
    let Some(upload) = uploads.active.take() else {
        return Resumption::Nothing;
    };
    match reconciled {
        Reconciled::Parts => Resumption::Parts(upload),
        Reconciled::Completed(object) => Resumption::Completed(object, upload),
        Reconciled::Unusable(reason) => {
            if reason != RestartReason::UploadNotFound {
                uploads.superseded = Some(upload.state);
            }
            Resumption::Unusable(reason)
        }
    }
}

enum Reconciled {
    /// The upload has only parts that can be used.
    Parts,
    Completed(ObjectInfo),
    Unusable(RestartReason),
}

/// Reduces the parts of the upload to those that OSS has and that equal the file.
fn reconcile_with_server(
    job: &Job<'_>,
    upload: &mut MultipartState,
    verify: bool,
) -> Result<Reconciled, Stop> {
    let listing = list_parts(job, upload.upload_id())?;
    if let (PartListing::Denied, Origin::Checkpoint { parts_listed, .. }) =
        (&listing, &mut upload.origin)
    {
        *parts_listed = false;
    }
    let policy = Policy {
        origin: upload.origin,
        verify: verify || job.source.is_stream(),
        sequential: job.config.sequential,
        is_stream: job.source.is_stream(),
    };
    match reconcile(&upload.state.parts, listing, &job.plan, policy) {
        Reconciliation::Restart(reason) => Ok(Reconciled::Unusable(reason)),
        // Whether the object is the stream is known only when that has been read, and then it is
        // too late to send it.
        Reconciliation::MayBeComplete if job.source.is_stream() => {
            Ok(Reconciled::Unusable(RestartReason::UploadNotFound))
        }
        Reconciliation::Parts { candidates, .. } if job.source.is_stream() => {
            upload.candidates = candidates;
            Ok(Reconciled::Parts)
        }
        Reconciliation::MayBeComplete => {
            let initiated = upload.state.initiated;
            let crc64 = file_crc64(job)?;
            Ok(match find_object(job, crc64, initiated)? {
                Some(object) => {
                    upload.parts_resumed = job.plan.count();
                    Reconciled::Completed(object)
                }
                None => Reconciled::Unusable(RestartReason::UploadNotFound),
            })
        }
        Reconciliation::Parts {
            mut confirmed,
            candidates,
            required,
        } => {
            confirmed.append(verify_parts(job, &job.source, &candidates)?);
            if confirmed.len() < required {
                return Ok(Reconciled::Unusable(RestartReason::PartDiffers));
            }
            upload.state.parts = confirmed;
            upload.parts_resumed = upload.state.parts.len() as u32;
            Ok(Reconciled::Parts)
        }
    }
}

pub(super) fn list_parts(job: &Job<'_>, upload_id: &str) -> Result<PartListing, Stop> {
    let Target { bucket, key, .. } = *job.target;
    let mut parts = Vec::new();
    let mut marker = Some(0);
    while let Some(part_number_marker) = marker {
        let action = ListParts {
            bucket,
            key,
            upload_id,
            marker: part_number_marker,
            headers: job.config.headers.common(),
        };
        match job
            .dispatcher
            .execute(&action, &mut TextBody::empty(), &mut || ())
        {
            Ok(page) => {
                parts.extend(page.parts);
                marker = page.next;
            }
            Err(CallError::Failed { error, .. }) => match error.code() {
                Some(ErrorCode::NoSuchUpload) => return Ok(PartListing::NoSuchUpload),
                Some(ErrorCode::AccessDenied) => {
                    log::warn!("cannot list parts; resuming from the checkpoint alone: {error}");
                    return Ok(PartListing::Denied);
                }
                _ => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Ok(PartListing::Parts(parts))
}

//! Finds out whether the object already is the file, so that nothing has to be sent.

use super::checkpoint::{Checkpoint, Loaded};
use super::cleanup::{self, Uploads};
use super::job::{Job, Target};
use super::progress::Events;
use super::stop::Stop;
use super::verify::{file_crc64, source_crc64};
use crate::client::{CallError, CleanupBudget, TextBody};
use crate::protocol::head_object::{Head, HeadObject};
use crate::{Error, Uploaded};

/// Returns the object if it already is what the call would make, with what an earlier call left of
/// its upload cleaned up. Returns `None` if the file has to be sent.
pub(super) fn find_unchanged(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    uploads: &mut Uploads,
) -> Result<Option<Uploaded>, Stop> {
    if !job.config.skip_unchanged || job.config.headers.has_hidden_properties() {
        return Ok(None);
    }
    let Some(head) = find_object(job, events)? else {
        return Ok(None);
    };
    // The size first: it is known without reading the file.
    let Some(remote) = head
        .object
        .crc64
        .filter(|_| has_same_properties(job, &head))
    else {
        return Ok(None);
    };
    if file_crc64(job)? != remote {
        return Ok(None);
    }
    job.source
        .ensure_unchanged(|source| Ok::<_, Stop>(source_crc64(job, source)? == remote))?;
    if job.is_cancelled() {
        return Err(Stop::Cancelled {
            object_may_exist: false,
        });
    }
    // The checkpoint itself is removed when the call ends.
    if let Loaded::State(state) = checkpoint.load()?
        && !cleanup::abort(job, &state, CleanupBudget::FAILED)
    {
        uploads.superseded = Some(*state);
    }
    Ok(Some(Uploaded {
        parts: 0,
        skipped: true,
        ..job.uploaded(head.object, None)
    }))
}

/// Whether the object has the file's size and all properties that the call sets.
fn has_same_properties(job: &Job<'_>, head: &Head) -> bool {
    head.size == Some(job.plan.size) && job.config.headers.agree_with(head)
}

fn find_object(job: &Job<'_>, events: &mut Events<'_>) -> Result<Option<Head>, Stop> {
    let Target { bucket, key, .. } = *job.target;
    let action = HeadObject {
        bucket,
        key,
        headers: job.config.headers.common(),
    };
    let mut body = TextBody::empty();
    match job
        .dispatcher
        .execute(&action, &mut body, &mut || events.retrying())
    {
        Ok(head) => Ok(Some(head)),
        Err(CallError::Failed { error, .. }) if is_not_found(&error) => Ok(None),
        // What is wrong with this request need not be wrong with those that send the file.
        Err(CallError::Failed { error, .. }) if error.is_about_request() => {
            log::warn!("cannot look at the object, so the file is sent: {error}");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Service(service) if service.status == 404)
}

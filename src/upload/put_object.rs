//! Uploads a file that needs no parts, by one PutObject. A worker sends it, like a part.

use std::iter;
use std::time::Duration;

use super::checkpoint::Loaded;
use super::cleanup::{self, Uploads};
use super::complete::{callback_failed, find_object};
use super::job::{Job, Target};
use super::part_body::PartBody;
use super::progress::{Events, ProgressEvent};
use super::source::Source;
use super::stop::{PartStop, Stop};
use super::transfer::{confirm_by_etag, content_md5};
use super::workers::{Done, WorkerEvent};
use crate::Error;
use crate::client::{CallError, CleanupBudget};
use crate::error::ErrorCode;
use crate::part::PartRange;
use crate::protocol::complete::ObjectInfo;
use crate::protocol::put_object::PutObject;
use crate::protocol::request::Action;

/// `source` is the source of the job, or all that its stream gave.
pub(super) fn put_object(
    job: &Job<'_>,
    source: &Source<'_>,
    loaded: Loaded,
    events: &mut Events<'_>,
    uploads: &mut Uploads,
) -> Result<ObjectInfo, Stop> {
    // If this fails, the clean-up tries it once more.
    if let Loaded::State(state) = loaded
        && !cleanup::abort(job, &state, CleanupBudget::FAILED)
    {
        uploads.superseded = Some(*state);
    }
    events.started(ProgressEvent::Started, None, 0, 0);
    let whole = PartRange {
        number: 1,
        offset: 0,
        size: source.fingerprint.size,
    };
    let mut object = None;
    job.pool().run(
        &mut iter::once(whole),
        &|range, on_retry| send_whole(job, source, range, on_retry),
        &mut |event| {
            match event {
                WorkerEvent::Done(Done::Object(stored)) => object = Some(*stored),
                WorkerEvent::Done(Done::Part(_) | Done::Kept(_) | Done::Rejected) => {}
                WorkerEvent::Retrying => events.retrying(),
                WorkerEvent::Tick(_) => events.update_transferred(job.counters.in_flight()),
            }
            Ok(())
        },
    )?;
    object.ok_or(Stop::Cancelled {
        object_may_exist: true,
    })
}

fn send_whole(
    job: &Job<'_>,
    source: &Source<'_>,
    range: PartRange,
    on_retry: &mut dyn FnMut(),
) -> Result<Done, PartStop> {
    let Target {
        bucket,
        key,
        client,
    } = *job.target;
    let action = PutObject {
        bucket,
        key,
        content_md5: content_md5(job, source, range)?,
        headers: &job.config.headers.put(),
        has_callback: job.config.headers.has_callback(),
    };
    let (started, started_at) = (client.clock().instant(), client.now());
    if job.is_cancelled() {
        return Err(PartStop::Stopped(Stop::Cancelled {
            object_may_exist: false,
        }));
    }
    // The body of an empty file is never read, which would detect a change.
    if range.size == 0 {
        source.ensure_unchanged::<Error>(|_| Ok(true))?;
    }
    let mut body = PartBody::of_whole_object(job, source, range);
    let sent = job.dispatcher.execute(&action, &mut body, on_retry);
    let crc64 = body.crc64();
    drop(body);
    match sent {
        Ok(object) => {
            if object.crc64.is_none() {
                confirm_by_etag(
                    job,
                    source,
                    action.request().operation(),
                    range,
                    &object.etag,
                )?;
            }
            Ok(Done::Object(Box::new(object)))
        }
        Err(CallError::Failed {
            error,
            response_lost,
            details,
        }) => match (error.code(), details) {
            (Some(ErrorCode::CallbackFailed), Some(details)) => {
                Err(callback_failed(job, error, &details.response, crc64, None).into())
            }
            (Some(ErrorCode::FileAlreadyExists), details)
                if response_lost && job.config.forbid_overwrite =>
            {
                let (crc64, _) = job.digest(source, range, false)?;
                // The time of this call's first attempt by the server's clock, rounded down to a
                // second.
                let elapsed = client.clock().instant() - started + Duration::from_secs(1);
                let date = details.and_then(|details| details.response.date());
                let since = date
                    .and_then(|now| now.checked_sub(elapsed))
                    .unwrap_or(started_at);
                let found: Option<ObjectInfo> = find_object(job, crc64, since)?;
                let object = found.ok_or(Stop::Failed(error))?;
                Ok(Done::Object(Box::new(object)))
            }
            _ => Err(Stop::Failed(error).into()),
        },
        Err(CallError::Aborted {
            response_lost: true,
            ..
        }) => Err(PartStop::Stopped(Stop::Cancelled {
            object_may_exist: true,
        })),
        Err(error) => Err(error.into()),
    }
}

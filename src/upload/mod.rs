//! The sequence of a resumable upload, as the calling thread runs it.
//!
//! A call opens the file and the checkpoint ([`upload`]). It looks for an earlier upload to resume
//! ([`resume`]) and initiates a new one if there is none. It sends the missing parts ([`transfer`])
//! and completes the object ([`complete`]). A file that needs no parts is one PutObject instead
//! ([`put_object`]), and one that is already stored need not be sent ([`unchanged`]). Streams send
//! their parts while they are read ([`stream`]); trees are many files ([`tree`]).
//!
//! However an attempt ends, [`run`] cleans up before it returns ([`cleanup`]). It is the only place
//! that restarts an upload.

pub(crate) mod checkpoint;
mod cleanup;
mod complete;
mod config;
mod content_type;
mod headers;
mod job;
pub(crate) mod options;
mod part_body;
pub(crate) mod pending;
mod plan;
mod platform;
pub(crate) mod progress;
mod put_object;
mod reconcile;
mod resume;
pub(crate) mod source;
mod state;
mod stop;
mod stream;
mod transfer;
pub(crate) mod tree;
mod unchanged;
mod verify;
mod workers;

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use checkpoint::{Checkpoint, CheckpointState, Loaded};
use cleanup::Uploads;
use config::{CallerOptions, UploadConfig};
pub(crate) use job::Target;
use job::{Job, abort_on_cancel};
use options::UploadOption;
use plan::Plan;
use progress::{Events, ProgressEvent, RestartReason};
use resume::Resumption;
use source::{Source, StreamReader};
use state::{MultipartState, Origin};
use stop::Stop;

use crate::client::{CleanupBudget, Dispatcher, TextBody};
use crate::part::UploadedParts;
use crate::protocol::initiate::InitiateMultipartUpload;
use crate::{Error, Result, Uploaded};

pub(crate) fn upload_file(
    target: &Target<'_>,
    path: &Path,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let options = UploadConfig::from_options(options)?;
    upload_source(
        target,
        Source::open(path, target.client.clock().now())?,
        part_size,
        options,
    )
}

pub(crate) fn upload_open_file(
    target: &Target<'_>,
    file: File,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let options = UploadConfig::from_options(options)?;
    upload_source(
        target,
        Source::from_file(file, target.client.clock().now())?,
        part_size,
        options,
    )
}

/// With what a call sends its requests.
#[derive(Clone, Copy)]
struct Execution<'a> {
    dispatcher: &'a Dispatcher,
    /// Uses no threads but the one that calls.
    on_this_thread: bool,
}

fn upload_source(
    target: &Target<'_>,
    source: Source<'_>,
    part_size: u64,
    options: (UploadConfig, CallerOptions<'_>),
) -> Result<Uploaded> {
    let dispatcher = target.client.dispatcher();
    let _cancelling = abort_on_cancel(&options.0, &dispatcher);
    let execution = Execution {
        dispatcher: &dispatcher,
        on_this_thread: false,
    };
    upload(target, source, part_size, options, execution)
}

pub(crate) fn upload_bytes(
    target: &Target<'_>,
    bytes: &[u8],
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let options = UploadConfig::from_options(options)?;
    upload_source(target, Source::from_bytes(bytes), part_size, options)
}

pub(crate) fn upload_reader(
    target: &Target<'_>,
    reader: &mut (dyn Read + Send),
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let (mut config, caller) = UploadConfig::from_options(options)?;
    config.check_for_stream()?;
    config.headers.guess_content_type(Path::new(""), target.key);
    let plan = Plan::for_stream(part_size)?;
    let source = Source::stream();
    // The stream may need none, but reading its first part may take long.
    let checkpoint = Checkpoint::open(caller.checkpoint, &source, target.bucket, target.key, true)?;
    let events = Events::new(caller.progress, target.key, 0, 1);
    let dispatcher = target.client.dispatcher();
    let _cancelling = abort_on_cancel(&config, &dispatcher);
    let execution = Execution {
        dispatcher: &dispatcher,
        on_this_thread: false,
    };
    let job = Job::new(target, source, plan, config, execution);
    let mut stream = StreamReader::new(&job, reader);
    run(
        &job,
        checkpoint,
        events,
        &mut |checkpoint, events, uploads, _| {
            stream::attempt(&job, &mut stream, checkpoint, events, uploads)
        },
    )
}

/// Checks everything that can be checked before the first request, and runs the upload.
fn upload<'a>(
    target: &'a Target<'a>,
    source: Source<'a>,
    part_size: u64,
    (mut config, caller): (UploadConfig, CallerOptions<'_>),
    execution: Execution<'_>,
) -> Result<Uploaded> {
    config
        .headers
        .guess_content_type(source.path().unwrap_or(Path::new("")), target.key);
    let plan = Plan::new(
        source.fingerprint.size,
        part_size,
        config.multipart_threshold,
    )?;
    let checkpoint = Checkpoint::open(
        caller.checkpoint,
        &source,
        target.bucket,
        target.key,
        !plan.is_single,
    )?;
    let events = Events::new(caller.progress, target.key, plan.size, plan.count());
    let job = Job::new(target, source, plan, config, execution);
    run(
        &job,
        checkpoint,
        events,
        &mut |checkpoint, events, uploads, restart| {
            attempt(&job, checkpoint, events, uploads, restart)
        },
    )
}

/// Makes the object, from the parts of an earlier upload or of a new one. The last argument says
/// why this call has to restart.
type Attempt<'f> = dyn FnMut(
        &mut Checkpoint<'_>,
        &mut Events<'_>,
        &mut Uploads,
        Option<RestartReason>,
    ) -> Result<Uploaded, Stop>
    + 'f;

/// Runs the upload, restarts it once if that may help, and cleans up.
fn run(
    job: &Job<'_>,
    mut checkpoint: Checkpoint<'_>,
    mut events: Events<'_>,
    attempt: &mut Attempt<'_>,
) -> Result<Uploaded> {
    let mut uploads = Uploads::default();
    let result = catch_unwind(AssertUnwindSafe(|| {
        match attempt(&mut checkpoint, &mut events, &mut uploads, None) {
            Err(Stop::Restart(reason, _)) => {
                supersede(&mut uploads, reason);
                attempt(&mut checkpoint, &mut events, &mut uploads, Some(reason))
            }
            result => result,
        }
    }))
    .unwrap_or_else(|panic| Err(Stop::Panicked(panic)));

    let cleaned = catch_unwind(AssertUnwindSafe(|| {
        let left = cleanup::clean_up(job, &mut checkpoint, &mut uploads, result.as_ref().err());
        match &result {
            Ok(_) | Err(Stop::ObjectCreated(Error::Callback { .. })) => events.completed(),
            Err(_) => events.failed(),
        }
        left
    }));
    // The lock is released before a panic is resumed.
    drop(checkpoint);
    match (result, cleaned) {
        (_, Err(panic)) => resume_unwind(panic),
        (Ok(uploaded), Ok(_)) => Ok(uploaded),
        (Err(stop), Ok(left)) => Err(stop.into_error(left)),
    }
}

/// Creates the object, with the parts of an earlier upload if there is one. `restart` is the reason
/// why the first attempt could not go through; the checkpoint is then not looked at again.
fn attempt(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    uploads: &mut Uploads,
    restart: Option<RestartReason>,
) -> Result<Uploaded, Stop> {
    if restart.is_none()
        && let Some(unchanged) = unchanged::find_unchanged(job, checkpoint, events, uploads)?
    {
        return Ok(unchanged);
    }
    let loaded = match restart {
        Some(_) => Loaded::Nothing,
        None => checkpoint.load()?,
    };
    if job.plan.is_single {
        let object = put_object::put_object(job, &job.source, loaded, events, uploads)?;
        return Ok(job.uploaded(object, None));
    }
    let resumption = match restart {
        Some(reason) => Resumption::Unusable(reason),
        None => resume::find(job, loaded, checkpoint, uploads)?,
    };
    let upload = match resumption {
        Resumption::Completed(object, upload) => {
            let (id, parts) = (Some(upload.upload_id()), upload.parts_resumed);
            events.started(ProgressEvent::Resumed, id, parts, job.plan.size);
            return Ok(job.uploaded(object, Some(&upload)));
        }
        Resumption::Parts(upload) => {
            let upload = uploads.active.insert(upload);
            let bytes = upload.state.parts.bytes();
            let id = Some(upload.state.upload_id.as_str());
            events.started(ProgressEvent::Resumed, id, upload.parts_resumed, bytes);
            upload
        }
        Resumption::Unusable(reason) => {
            let event = ProgressEvent::Restarted(reason);
            start(job, checkpoint, events, uploads, event)?
        }
        Resumption::Nothing => start(job, checkpoint, events, uploads, ProgressEvent::Started)?,
    };
    transfer::send_missing(job, checkpoint, events, upload)?;
    let object = complete::complete(job, checkpoint, events, upload)?;
    Ok(job.uploaded(object, Some(upload)))
}

/// Initiates an upload, and saves its ID before any part is sent. The upload that it replaces is
/// aborted first.
fn start<'u>(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    uploads: &'u mut Uploads,
    event: ProgressEvent,
) -> Result<&'u mut MultipartState, Stop> {
    // An upload that is still there if this call is cancelled is aborted by the clean-up.
    if let Some(superseded) = &uploads.superseded
        && cleanup::abort(job, superseded, CleanupBudget::FAILED)
    {
        uploads.superseded = None;
    }
    let state = initiate(job, events)?;
    let upload = uploads
        .active
        .insert(MultipartState::new(state, Origin::New));
    checkpoint.save(&upload.state)?;
    // The checkpoint names the new upload now. If the old one could not be aborted, a lifecycle
    // rule has to delete it.
    uploads.superseded = None;
    let id = Some(upload.state.upload_id.as_str());
    events.started(event, id, 0, 0);
    Ok(upload)
}

fn initiate(job: &Job<'_>, events: &mut Events<'_>) -> Result<CheckpointState, Stop> {
    let action = InitiateMultipartUpload {
        bucket: job.target.bucket,
        key: job.target.key,
        sequential: job.config.sequential,
        headers: &job.config.headers.initiate(),
    };
    let mut body = TextBody::empty();
    let initiated = job
        .dispatcher
        .execute(&action, &mut body, &mut || events.retrying())?;
    let started = initiated.date.unwrap_or_else(|| job.target.client.now());
    Ok(CheckpointState {
        identity: job.identity(),
        upload_id: initiated.upload_id,
        initiated: started,
        parts: UploadedParts::default(),
        completing: None,
    })
}

/// Marks the active upload as the one to be replaced. An upload that does not exist any more, or
/// that another machine initiated, is not to be aborted.
fn supersede(uploads: &mut Uploads, reason: RestartReason) {
    let upload = uploads.active.take();
    let is_ours = |upload: &MultipartState| {
        reason != RestartReason::UploadNotFound && upload.origin != Origin::Adopted
    };
    uploads.superseded = upload.filter(is_ours).map(|upload| upload.state);
}

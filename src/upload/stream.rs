//! Uploads a stream: a reader whose length nobody knows, and which can be read only once.
//!
//! The protocol is that of a file. What differs: the stream is read by a thread of its own, parts
//! are sent from memory, parts that OSS already has are compared when they are read, and an upload
//! that turns out to be unusable cannot be restarted before the next call.

use std::io::{self, ErrorKind};
use std::mem;

use super::checkpoint::{Checkpoint, Loaded};
use super::cleanup::Uploads;
use super::complete;
use super::job::Job;
use super::progress::{Events, ProgressEvent, RestartReason};
use super::put_object;
use super::reconcile::{Candidate, Expected};
use super::resume::{self, Resumption};
use super::source::{Source, StreamPart, StreamReader, read_error};
use super::start;
use super::state::MultipartState;
use super::stop::{PartStop, Stop};
use super::transfer::{TICKS_BETWEEN_SAVES, send_part};
use super::verify::verify_part;
use super::workers::{Done, WorkerEvent};
use crate::Uploaded;
use crate::part::{PartRange, UploadedPart, UploadedParts};

/// Makes the object of all that the stream gives.
pub(super) fn attempt(
    job: &Job<'_>,
    stream: &mut StreamReader<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    uploads: &mut Uploads,
) -> Result<Uploaded, Stop> {
    let result = try_attempt(job, stream, checkpoint, events, uploads);
    match result {
        // What has been read of the stream cannot be read again.
        Err(Stop::Restart(_, error)) => {
            if let Some(upload) = &mut uploads.active {
                upload.is_unusable = true;
            }
            Err(Stop::Failed(error))
        }
        result => result,
    }
}

fn try_attempt(
    job: &Job<'_>,
    stream: &mut StreamReader<'_>,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    uploads: &mut Uploads,
) -> Result<Uploaded, Stop> {
    let loaded = checkpoint.load()?;
    // A cancel that comes now deletes it, too.
    if let Loaded::State(state) = &loaded {
        uploads.superseded = Some((**state).clone());
    }
    let (first, is_whole) = stream.read_first().map_err(PartStop::into_stop)?;
    uploads.superseded = None;
    events.update_total(job.size(), job.count());
    if is_whole {
        let source = Source::from_bytes(&first.bytes);
        let object = put_object::put_object(job, &source, loaded, events, uploads)?;
        return Ok(job.uploaded(object, None));
    }
    let event = match resume::find(job, loaded, checkpoint, uploads)? {
        Resumption::Parts(mut upload) => {
            upload.state.parts = upload.candidates.values().filter_map(recordable).collect();
            let id = Some(upload.state.upload_id.as_str());
            events.started(ProgressEvent::Resumed, id, 0, 0);
            uploads.active = Some(upload);
            None
        }
        Resumption::Unusable(reason) => Some(ProgressEvent::Restarted(reason)),
        Resumption::Nothing | Resumption::Completed(..) => Some(ProgressEvent::Started),
    };
    if let Some(event) = event {
        start(job, checkpoint, events, uploads, event)?;
    }
    let Some(upload) = &mut uploads.active else {
        return Err(PartStop::Drained.into_stop());
    };
    send_parts(job, stream, first, checkpoint, events, upload)?;
    let object = complete::complete(job, checkpoint, events, upload)?;
    Ok(job.uploaded(object, Some(upload)))
}

/// Sends what OSS does not have, and leaves in the upload the parts of this call alone.
fn send_parts(
    job: &Job<'_>,
    stream: &mut StreamReader<'_>,
    first: StreamPart,
    checkpoint: &mut Checkpoint<'_>,
    events: &mut Events<'_>,
    upload: &mut MultipartState,
) -> Result<(), Stop> {
    let candidates = mem::take(&mut upload.candidates);
    let upload_id = upload.upload_id().to_owned();
    let mut first = Some(first);
    let mut parts = UploadedParts::default();
    let mut next = || match first.take() {
        Some(part) => Ok(Some(part)),
        None => stream.read_next(),
    };
    job.pool().run_made(
        &mut next,
        &|part: StreamPart, on_retry| {
            let source = Source::from_bytes(&part.bytes);
            let range = PartRange {
                number: part.number,
                offset: 0,
                size: source.fingerprint.size,
            };
            if let Some(candidate) = candidates.get(&part.number) {
                if let Done::Part(kept) = verify_part(job, &source, range, candidate)? {
                    return Ok(Done::Kept(kept));
                }
                ensure_replaceable(job, part.number)?;
            }
            send_part(job, &source, &upload_id, range, on_retry)
        },
        &mut |event| {
            let in_flight = job.counters.in_flight();
            events.update_total(job.size(), job.count());
            match event {
                WorkerEvent::Done(done) => {
                    let part = match done {
                        Done::Part(part) => part,
                        Done::Kept(part) => {
                            upload.parts_resumed += 1;
                            part
                        }
                        Done::Object(_) | Done::Rejected => return Ok(()),
                    };
                    let size = part.size;
                    parts.insert(part.clone());
                    upload.state.parts.insert(part);
                    checkpoint.mark_dirty();
                    events.part_acknowledged(size, in_flight);
                }
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
    )?;
    events.update_total(job.size(), job.count());
    // Whatever stopped the threads: the object is all of the stream, or is not made.
    let is_all = (parts.len(), parts.bytes()) == (job.count() as usize, job.size());
    if !is_all || !stream.is_exhausted() {
        return Err(PartStop::Drained.into_stop());
    }
    if let Some((number, _)) = candidates.range(job.count() + 1..).next() {
        ensure_replaceable(job, *number)?;
    }
    upload.state.parts = parts;
    Ok(())
}

/// Returns an error if OSS would not let a part of this number be replaced or omitted.
fn ensure_replaceable(job: &Job<'_>, number: u32) -> Result<(), Stop> {
    if !job.config.sequential {
        return Ok(());
    }
    let reason = format!(
        "part {number} is not what an earlier call sent, and a sequential upload cannot replace it; \
         run the same call again to start from the beginning"
    );
    let error = read_error(io::Error::new(ErrorKind::InvalidData, reason));
    Err(Stop::Restart(RestartReason::PartDiffers, error))
}

/// What the checkpoint may go on saying of a part of a stream until this call has read it.
fn recordable(candidate: &Candidate) -> Option<UploadedPart> {
    match candidate.expected {
        Expected::Crc64(crc64) => Some(UploadedPart {
            number: candidate.range.number,
            size: candidate.range.size,
            etag: candidate.etag.clone(),
            crc64,
        }),
        Expected::Md5Etag => None,
    }
}

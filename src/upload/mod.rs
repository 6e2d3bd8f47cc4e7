//! The protocol of a resumable upload, as the calling thread runs it: open the file, find what was recorded or begin
//! anew, send the parts that are missing, complete, and forget the record.

mod body;
mod checkpoint;
mod content_type;
mod context;
mod finish;
mod headers;
pub(crate) mod options;
mod plan;
mod platform;
pub(crate) mod progress;
mod put;
mod resume;
mod send;
mod session;
mod settings;
mod source;
pub(crate) mod unfinished;
mod uploaded;
mod verify;
mod workers;

use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;

use checkpoint::{Checkpoint, CheckpointState};
pub(crate) use context::Target;
use context::{Context, Stop};
use options::{CheckpointChoice, UploadOption};
use plan::Plan;
use progress::{ProgressEvent, Reporter, RestartReason};
use session::{Origin, Session};
use settings::{Owned, Settings};
use source::Source;
pub use uploaded::Uploaded;

use crate::client::Message;
use crate::part::Parts;
use crate::protocol::initiate;
use crate::{Error, Result};

/// One call.
struct Upload<'t, 'o> {
    context: Context<'t>,
    checkpoint: Checkpoint<'o>,
    reporter: Reporter<'o>,
}

pub(crate) fn upload_file(
    target: &Target<'_>,
    path: &Path,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let settings = Settings::fold(options)?;
    upload(target, Source::open(path, target.client.local_now())?, part_size, settings)
}

pub(crate) fn upload_open_file(
    target: &Target<'_>,
    file: File,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let settings = Settings::fold(options)?;
    upload(target, Source::from_file(file, target.client.local_now())?, part_size, settings)
}

fn upload(
    target: &Target<'_>,
    source: Source,
    part_size: u64,
    (mut settings, owned): (Settings, Owned<'_>),
) -> Result<Uploaded> {
    settings.headers.guess_content_type(source.path().unwrap_or(Path::new("")), target.key);
    let plan = Plan::new(source.fingerprint.size, part_size, settings.multipart_threshold)?;
    let choice = owned.checkpoint.unwrap_or(CheckpointChoice::Off);
    let checkpoint = Checkpoint::open(choice, &source, target.bucket, target.key, !plan.single)?;
    let reporter = Reporter::new(owned.progress, plan.size, plan.count() as usize);
    Upload { context: Context::new(target, source, plan, settings), checkpoint, reporter }.run()
}

impl Upload<'_, '_> {
    fn run(mut self) -> Result<Uploaded> {
        let result = if self.context.plan.single { self.put() } else { self.multipart() };
        match &result {
            Ok(_) | Err(Stop::Over(Error::Callback { .. })) => self.reporter.completed(),
            Err(_) => self.reporter.tell(ProgressEvent::Failed),
        }
        // The lock goes before the panic does.
        drop(self.checkpoint);
        if let Some(panic) = self.reporter.into_panic() {
            resume_unwind(panic);
        }
        result.map_err(Stop::into_error)
    }

    fn multipart(&mut self) -> Result<Uploaded, Stop> {
        let mut session = match self.resume_or_begin()? {
            resume::Resumed::Session(session) => session,
            resume::Resumed::Complete(uploaded) => return Ok(*uploaded),
        };
        let mut result = self.send_and_complete(&mut session);
        if let Err(Stop::StartOver(reason, _)) = result {
            session = self.start_over(&session, reason)?;
            result = self.send_and_complete(&mut session);
        }
        result.map_err(|stop| self.tidy_up(&session, stop))
    }

    fn send_and_complete(&mut self, session: &mut Session) -> Result<Uploaded, Stop> {
        self.send_parts(session)?;
        self.complete(session)
    }

    /// Initiate, and write the upload id down before anything is sent.
    fn begin(&mut self, event: ProgressEvent) -> Result<Box<Session>, Stop> {
        let (context, reporter) = (&self.context, &mut self.reporter);
        let Target { bucket, key, .. } = *context.target;
        let settings = &context.settings;
        let request = initiate::request(bucket, key, settings.sequential, &settings.headers.initiate());
        let mut on_retry = || reporter.retrying(&context.line);
        let (upload_id, initiated) = context
            .line
            .call(&request, &mut Message::empty().on_retry(&mut on_retry), |response, _| {
                Ok((initiate::parse(response)?, response.date()))
            })
            .map_err(|failed| context.stop(failed))?;
        let record = CheckpointState {
            identity: context.identity(),
            upload_id,
            initiated: initiated.unwrap_or_else(|| context.target.client.now()),
            parts: Parts::default(),
            completing: None,
        };
        let session = Box::new(Session {
            record,
            parts_resumed: 0,
            origin: Origin::Initiated,
            may_be_complete: false,
            trusted_alone: false,
        });
        if let Err(error) = self.checkpoint.save(&session.record) {
            return Err(self.tidy_up(&session, Stop::Error(error)));
        }
        self.reporter.begin(event, Some(&session.record.upload_id), 0, 0);
        if self.reporter.has_panicked() {
            return Err(self.tidy_up(&session, Stop::Panicked));
        }
        Ok(session)
    }

    /// Once, and by itself: this upload can't be carried on.
    fn start_over(&mut self, session: &Session, reason: RestartReason) -> Result<Box<Session>, Stop> {
        self.context.renew_line();
        if reason != RestartReason::UploadNotFound && session.origin != Origin::Adopted {
            self.context.abort_soon(&session.record);
        }
        self.begin(ProgressEvent::Restarted(reason)).map_err(|stop| self.give_up(&session.record, stop))
    }

    /// Beginning anew has failed. If it was cancelled, the upload that it was to replace goes as well.
    fn give_up(&mut self, old: &CheckpointState, stop: Stop) -> Stop {
        let stop = self.unless_panicked(stop);
        if matches!(stop, Stop::Cancelled { .. }) && self.context.settings.delete_upload_on_cancelling {
            self.context.abort_at_once(old);
            self.checkpoint.remove();
        }
        stop
    }

    /// A callback that panics stops the line; that is no cancelling.
    fn unless_panicked(&self, stop: Stop) -> Stop {
        if self.reporter.has_panicked() { Stop::Panicked } else { stop }
    }

    /// After a failure: keep the upload for the next call, or leave nothing behind.
    fn tidy_up(&mut self, session: &Session, stop: Stop) -> Stop {
        let stop = self.unless_panicked(stop);
        if let Stop::Over(_) = stop {
            self.checkpoint.remove();
            return stop;
        }
        let settings = &self.context.settings;
        let others = settings.adopt_unfinished && session.origin != Origin::Initiated;
        let keeps = match &stop {
            Stop::Cancelled { .. } => {
                let kept_somewhere = self.checkpoint.is_enabled() || settings.adopt_unfinished;
                kept_somewhere && !settings.delete_upload_on_cancelling
            }
            _ => self.checkpoint.has_saved(&session.record.upload_id) || settings.adopt_unfinished,
        };
        if keeps {
            if let Err(error) = self.checkpoint.flush(&session.record) {
                log::warn!("the last parts are not recorded: {error}");
            }
            return stop;
        }
        let cancelled = matches!(stop, Stop::Cancelled { .. });
        if !(others && cancelled) && (cancelled || !self.context.abort_soon(&session.record)) {
            self.context.abort_at_once(&session.record);
        }
        self.checkpoint.remove();
        stop
    }
}

//! The protocol of a resumable upload, as the calling thread runs it: open the file, find what was recorded or begin
//! anew, send the parts that are missing, complete, and forget the record.

mod body;
mod checkpoint;
mod checkpoint_file;
mod finish;
mod headers;
mod keeper;
pub(crate) mod options;
mod plan;
pub(crate) mod progress;
mod put;
mod resume;
mod send;
mod settings;
mod source;
pub(crate) mod unfinished;
mod verify;
mod workers;

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;

use body::ByteCount;
use checkpoint::{Record, Subject};
use keeper::Keeper;
use options::{CheckpointChoice, UploadOption};
use plan::Plan;
use progress::{ProgressEvent, Reporter, RestartReason};
use settings::{Owned, Settings};
use source::Source;

use crate::cancel::{CancelToken, Registration};
use crate::client::{Client, Failed, Line, Message, Pacer};
use crate::part::Part;
use crate::protocol::{abort, initiate};
use crate::{Error, Result};

/// A finished upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The object's key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The object's ETag, without quotes. Only that of a PutObject or a sequential upload is an MD5.
    pub etag: String,
    /// The object's CRC-64, as OSS computed it and equal to the file's; `None` if OSS did not tell.
    pub crc64: Option<u64>,
    /// In a bucket with versioning.
    pub version_id: Option<String>,
    /// The object's URL, as OSS tells it for a multipart upload.
    pub location: Option<String>,
    /// Of the request that made the object, or of the one that found it made.
    pub request_id: Option<String>,
    /// `None` for a PutObject.
    pub upload_id: Option<String>,
    /// Parts of the object; 1 for a PutObject.
    pub parts: usize,
    /// Parts that an earlier call had sent.
    pub parts_resumed: usize,
    /// Bytes of the file that this call handed to the network, also those that had to be sent again.
    pub bytes_sent: u64,
    /// What the application server answered to the [`callback`](crate::callback).
    pub callback_body: Option<Vec<u8>>,
}

/// Where the object goes.
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

/// Why an upload stops.
enum Stop {
    Error(Error),
    /// It can't be carried on, but it can be begun anew; the error counts when it has been already.
    StartOver(RestartReason, Error),
    /// The object is made, but something is wrong with it or with its callback. Nothing is left to carry on.
    Over(Error),
    Cancelled {
        object_may_exist: bool,
    },
    /// The progress callback did; the panic waits in the reporter.
    Panicked,
}

/// What all threads of a call see.
struct Context<'a> {
    target: &'a Target<'a>,
    source: Source,
    plan: Plan,
    settings: Settings,
    line: Line,
    _cancelling: Registration,
    pacer: Option<Pacer>,
    bytes: ByteCount,
}

/// One call.
struct Upload<'t, 'o> {
    context: Context<'t>,
    keeper: Keeper<'o>,
    reporter: Reporter<'o>,
}

/// An upload that OSS knows.
struct Session {
    record: Record,
    parts_resumed: usize,
    origin: Origin,
    /// Complete was sent in an earlier call, and its answer is not known.
    may_be_complete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Initiated,
    Recorded,
    /// Found on the server: perhaps somebody else's.
    Adopted,
}

pub(crate) fn upload_file(
    target: &Target<'_>,
    path: &Path,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let settings = Settings::fold(options)?;
    upload(target, Source::open(path)?, part_size, settings)
}

pub(crate) fn upload_open_file(
    target: &Target<'_>,
    file: File,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<Uploaded> {
    let settings = Settings::fold(options)?;
    upload(target, Source::from_file(file)?, part_size, settings)
}

fn upload(
    target: &Target<'_>,
    source: Source,
    part_size: u64,
    (mut settings, owned): (Settings, Owned<'_>),
) -> Result<Uploaded> {
    settings.headers.guess_content_type(&source.path, target.key);
    let plan = Plan::new(source.print.size, part_size, settings.multipart_threshold)?;
    let choice = owned.checkpoint.unwrap_or(CheckpointChoice::Off);
    let keeper = Keeper::open(choice, &source, target.bucket, target.key)?;
    let reporter = Reporter::new(owned.progress, plan.size, plan.count() as usize);
    let (line, cancelling) = open_line(target.client, &settings.cancel);
    let pacer = settings.bandwidth_limit.map(Pacer::new);
    let bytes = ByteCount::default();
    let context = Context { target, source, plan, settings, line, _cancelling: cancelling, pacer, bytes };
    Upload { context, keeper, reporter }.run()
}

/// A line that the token cuts.
fn open_line(client: &Client, cancel: &CancelToken) -> (Line, Registration) {
    let line = client.line();
    let switch = line.switch();
    let cancelling = cancel.on_cancel(move || switch.cut());
    (line, cancelling)
}

impl Upload<'_, '_> {
    fn run(mut self) -> Result<Uploaded> {
        let result = if self.context.plan.single { self.put() } else { self.multipart() };
        match &result {
            Ok(_) | Err(Stop::Over(Error::Callback { .. })) => self.reporter.completed(),
            Err(_) => self.reporter.tell(ProgressEvent::Failed),
        }
        // The lock goes before the panic does.
        drop(self.keeper);
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
            session = self.start_over(session, reason)?;
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
        let mut on_retry = || reporter.tell(ProgressEvent::Retrying);
        let (upload_id, initiated) = context
            .line
            .call(&request, &mut Message::new("", &mut on_retry), |response, _| {
                let date = response.header("date").and_then(|text| httpdate::parse_http_date(text).ok());
                Ok((initiate::parse(response)?, date))
            })
            .map_err(|failed| context.stop(failed))?;
        let record = Record {
            subject: context.subject(),
            upload_id,
            initiated: initiated.unwrap_or_else(|| context.target.client.now()),
            parts: BTreeMap::new(),
            completing: None,
        };
        let session =
            Box::new(Session { record, parts_resumed: 0, origin: Origin::Initiated, may_be_complete: false });
        if let Err(error) = self.keeper.save(&session.record) {
            return Err(self.tidy_up(&session, Stop::Error(error)));
        }
        self.reporter.begin(event, Some(&session.record.upload_id), 0, 0);
        if self.reporter.has_panicked() {
            return Err(self.tidy_up(&session, Stop::Panicked));
        }
        Ok(session)
    }

    fn start_over(&mut self, session: Box<Session>, reason: RestartReason) -> Result<Box<Session>, Stop> {
        let context = &mut self.context;
        if context.line.switch().is_cut() {
            // Parts that did not end in time were cut off, and the line with them.
            (context.line, context._cancelling) = open_line(context.target.client, &context.settings.cancel);
        }
        if reason != RestartReason::UploadNotFound {
            self.abort(&session.record.subject, &session.record.upload_id, &self.context.line);
        }
        self.begin(ProgressEvent::Restarted(reason))
    }

    /// After a failure: keep the upload for the next call, or leave nothing behind.
    fn tidy_up(&mut self, session: &Session, stop: Stop) -> Stop {
        if let Stop::Over(_) = stop {
            self.keeper.remove();
            return stop;
        }
        let settings = &self.context.settings;
        let adopted = session.origin == Origin::Adopted;
        let keeps = match &stop {
            Stop::Cancelled { .. } => {
                let kept_somewhere = self.keeper.is_on() || settings.adopt_unfinished;
                kept_somewhere && !settings.delete_upload_on_cancelling
            }
            _ => self.keeper.holds(&session.record.upload_id) || settings.adopt_unfinished,
        };
        if keeps {
            if let Err(error) = self.keeper.save_if_touched(&session.record) {
                log::warn!("the last parts are not recorded: {error}");
            }
            return stop;
        }
        let cancelled = matches!(stop, Stop::Cancelled { .. });
        if !(adopted && cancelled) {
            let line = self.context.line.tidying(cancelled);
            self.abort(&session.record.subject, &session.record.upload_id, &line);
        }
        self.keeper.remove();
        stop
    }

    /// Best effort: what OSS goes on storing is billed, but is no reason to fail.
    fn abort(&self, subject: &Subject, upload_id: &str, line: &Line) {
        let headers = self.context.settings.headers.plain();
        let request = abort::request(&subject.bucket, &subject.key, upload_id, headers);
        match line.call(&request, &mut Message::new("", &mut || {}), |response, _| abort::parse(response)) {
            Err(Failed::Error { error, .. }) if error.service_code() != Some("NoSuchUpload") => {
                log::warn!("the upload {upload_id} is left on the server: {error}");
            }
            Err(Failed::Stopped { .. }) => log::warn!("the upload {upload_id} is left on the server"),
            _ => {}
        }
    }
}

impl Context<'_> {
    fn subject(&self) -> Subject {
        let remembered = self.settings.headers.remembered(self.settings.sequential);
        Subject::new(
            self.target.client.endpoint().origin(),
            self.target.bucket,
            self.target.key,
            &self.source.path,
            self.source.print,
            self.plan.part_size,
            &remembered,
        )
    }

    /// What a request's failure means for the upload.
    fn stop(&self, failed: Failed) -> Stop {
        match failed {
            Failed::Stopped { answer_lost } => {
                Stop::Cancelled { object_may_exist: answer_lost && self.plan.single }
            }
            Failed::Error { error, .. } if error.service_code() == Some("NoSuchUpload") => {
                Stop::StartOver(RestartReason::UploadNotFound, error)
            }
            Failed::Error { error, .. } => Stop::Error(error),
        }
    }

    fn check_cancelled(&self) -> Result<(), Stop> {
        match self.settings.cancel.is_cancelled() {
            true => Err(Stop::Cancelled { object_may_exist: false }),
            false => Ok(()),
        }
    }

    fn uploaded(
        &self,
        completed: crate::protocol::complete::Completed,
        session: Option<&Session>,
    ) -> Uploaded {
        Uploaded {
            key: self.target.key.to_owned(),
            size: self.plan.size,
            etag: completed.etag,
            crc64: completed.crc64,
            version_id: completed.version_id,
            location: completed.location,
            request_id: completed.request_id,
            upload_id: session.map(|session| session.record.upload_id.clone()),
            parts: self.plan.count() as usize,
            parts_resumed: session.map_or(0, |session| session.parts_resumed),
            bytes_sent: self.bytes.sent(),
            callback_body: completed.callback_body,
        }
    }
}

impl Session {
    fn bytes(&self, plan: &Plan) -> u64 {
        self.record.parts.keys().filter_map(|number| plan.piece(*number)).map(|piece| piece.size).sum()
    }

    /// Of the whole object, from its parts; all are there.
    fn crc64(&self, plan: &Plan) -> u64 {
        let joined = |crc64, part: &Part| {
            let size = plan.piece(part.number).map_or(0, |piece| piece.size);
            crate::crc64::combine(crc64, part.crc64, size)
        };
        self.record.parts.values().fold(0, joined)
    }
}

impl Stop {
    /// Nothing that is under way is waited for.
    fn is_immediate(&self) -> bool {
        matches!(self, Stop::Cancelled { .. } | Stop::Panicked)
    }

    fn into_error(self) -> Error {
        match self {
            Stop::Error(error) | Stop::StartOver(_, error) | Stop::Over(error) => error,
            Stop::Cancelled { object_may_exist } => Error::Cancelled { object_may_exist },
            Stop::Panicked => unreachable!("the panic has gone on"),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Cancelled { object_may_exist } => Stop::Cancelled { object_may_exist },
            other => Stop::Error(other),
        }
    }
}

//! What all threads of a call see, and why they stop.

use super::body::ByteCount;
use super::checkpoint::{CheckpointState, UploadIdentity};
use super::plan::Plan;
use super::progress::RestartReason;
use super::session::Session;
use super::settings::Settings;
use super::source::Source;
use super::uploaded::Uploaded;
use crate::cancel::{CancelToken, Registration};
use crate::client::{Client, Failed, Line, Message, Pacer};
use crate::protocol::abort;
use crate::protocol::complete::Completed;
use crate::{Error, Result};

/// Where the object goes.
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

/// What all threads of a call see.
pub(super) struct Context<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) source: Source,
    pub(super) plan: Plan,
    pub(super) settings: Settings,
    pub(super) line: Line,
    _cancelling: Registration,
    pub(super) pacer: Option<Pacer>,
    pub(super) bytes: ByteCount,
}

/// Why an upload stops.
pub(super) enum Stop {
    Error(Error),
    /// It can't be carried on, but it can be begun anew; the error counts when it has been already.
    StartOver(RestartReason, Error),
    /// The object is made, but something is wrong with it or with its callback. Nothing is left to carry on.
    Over(Error),
    Cancelled {
        object_may_exist: bool,
    },
    /// Another thread's failure does not let this one begin.
    Drained,
    /// The progress callback did; the panic waits in the reporter.
    Panicked,
}

/// A line that the token cuts.
fn open_line(client: &Client, cancel: &CancelToken) -> (Line, Registration) {
    let line = client.line();
    let switch = line.switch();
    let cancelling = cancel.on_cancel(move || switch.cut());
    (line, cancelling)
}

impl<'a> Context<'a> {
    pub(super) fn new(target: &'a Target<'a>, source: Source, plan: Plan, settings: Settings) -> Context<'a> {
        let (line, cancelling) = open_line(target.client, &settings.cancel);
        let pacer = settings.bandwidth_limit.map(Pacer::new);
        Context {
            target,
            source,
            plan,
            settings,
            line,
            _cancelling: cancelling,
            pacer,
            bytes: ByteCount::default(),
        }
    }

    /// Parts that did not end in time were cut off, and the line with them; beginning anew takes another one.
    pub(super) fn renew_line(&mut self) {
        if self.line.switch().is_cut() {
            (self.line, self._cancelling) = open_line(self.target.client, &self.settings.cancel);
        }
    }

    pub(super) fn identity(&self) -> UploadIdentity {
        let remembered = self.settings.headers.remembered(self.settings.sequential);
        UploadIdentity::new(
            self.target.client.endpoint().origin(),
            self.target.bucket,
            self.target.key,
            self.source.path(),
            self.source.fingerprint,
            self.plan.part_size,
            &remembered,
        )
    }

    /// What a request's failure means for the upload.
    pub(super) fn stop(&self, failed: Failed) -> Stop {
        match failed {
            Failed::Stopped { .. } if !self.line.switch().is_cut() => Stop::Drained,
            Failed::Stopped { answer_lost } => {
                Stop::Cancelled { object_may_exist: answer_lost && self.plan.single }
            }
            Failed::Error { error, .. } if error.service_code() == Some("NoSuchUpload") => {
                Stop::StartOver(RestartReason::UploadNotFound, error)
            }
            Failed::Error { error, .. } => Stop::Error(error),
        }
    }

    /// Best effort: what OSS goes on storing is billed, but is no reason to fail. And only where the record names our
    /// own endpoint: a file never tells us whom to send a signed request to. False if the line was stopped.
    fn abort(&self, record: &CheckpointState, line: &Line) -> bool {
        let (identity, upload_id) = (&record.identity, &record.upload_id);
        if identity.endpoint != self.target.client.endpoint().origin() {
            return true;
        }
        let request = abort::request(&identity.bucket, &identity.key, upload_id, self.settings.headers.plain());
        match line.call(&request, &mut Message::empty(), |response, _| abort::parse(response)) {
            Err(Failed::Error { error, .. }) if error.service_code() != Some("NoSuchUpload") => {
                log::warn!("the upload {upload_id} is left on the server: {error}");
            }
            Err(Failed::Stopped { .. }) => return false,
            _ => {}
        }
        true
    }

    /// In a few seconds at most, unless it is cancelled.
    pub(super) fn abort_soon(&self, record: &CheckpointState) -> bool {
        let line = self.line.tidying(false);
        let switch = line.switch();
        let _cancelling = self.settings.cancel.on_cancel(move || switch.cut());
        self.abort(record, &line)
    }

    /// In one attempt of one second: the call has been cancelled.
    pub(super) fn abort_at_once(&self, record: &CheckpointState) {
        self.abort(record, &self.line.tidying(true));
    }

    pub(super) fn check_cancelled(&self) -> Result<(), Stop> {
        match self.settings.cancel.is_cancelled() {
            true => Err(Stop::Cancelled { object_may_exist: false }),
            false => Ok(()),
        }
    }

    pub(super) fn uploaded(&self, completed: Completed, session: Option<&Session>) -> Uploaded {
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

impl Stop {
    pub(super) fn into_error(self) -> Error {
        match self {
            Stop::Error(error) | Stop::StartOver(_, error) | Stop::Over(error) => error,
            Stop::Cancelled { object_may_exist } => Error::Cancelled { object_may_exist },
            Stop::Drained => unreachable!("the other thread's failure counts"),
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

//! Making the object of its parts, and finding out what became of it when the answer is lost.

use std::time::SystemTime;

use super::progress::RestartReason;
use super::verify::claims;
use super::{Context, Session, Stop, Target, Upload, Uploaded};
use crate::Error;
use crate::client::{Failed, Message};
use crate::error::Operation;
use crate::protocol::complete::{self, Completed};
use crate::protocol::head_object;
use crate::protocol::request::Response;

impl Upload<'_, '_> {
    pub(super) fn complete(&mut self, session: &mut Session) -> Result<Uploaded, Stop> {
        self.context.check_source(session)?;
        let crc64 = session.crc64(&self.context.plan);
        session.record.completing = Some(crc64);
        self.checkpoint.save(&session.record)?;
        self.context.check_cancelled()?;
        let Upload { context, reporter, checkpoint } = self;
        let Target { bucket, key, .. } = *context.target;
        let headers = &context.settings.headers;
        let request = complete::request(bucket, key, &session.record.upload_id, &headers.complete());
        let mut on_retry = || reporter.retrying(&context.line);
        let parts = &session.record.parts;
        let mut message = Message::new(|| Box::new(complete::body(parts))).on_retry(&mut on_retry);
        let answer = context
            .line
            .call(&request, &mut message, |response, _| complete::parse(response, headers.has_callback()));
        let completed = match answer {
            Ok(completed) => context.check_whole(request.operation(), completed, crc64)?,
            Err(failed) => context.settle(session, failed, crc64)?,
        };
        checkpoint.remove();
        Ok(context.uploaded(completed, Some(session)))
    }
}

impl Context<'_> {
    fn check_source(&self, session: &Session) -> Result<(), Stop> {
        let parts = &session.record.parts;
        self.source.ensure_unchanged(|source| {
            Ok(self.proven(&claims(parts, &self.plan), source)?.len() == parts.len())
        })
    }

    /// The object is there, and it must be the file.
    fn check_whole(&self, operation: Operation, completed: Completed, crc64: u64) -> Result<Completed, Stop> {
        match completed.crc64 {
            Some(remote) if remote != crc64 => Err(Stop::Over(Error::Response {
                operation,
                reason: format!("the CRC-64 of the object is {remote}, that of the file is {crc64}"),
                request_id: completed.request_id,
            })),
            _ => Ok(completed),
        }
    }

    /// Complete gave no good answer. Perhaps it has worked all the same.
    fn settle(&self, session: &Session, failed: Failed, crc64: u64) -> Result<Completed, Stop> {
        let (error, answer_lost, refusal) = match failed {
            Failed::Stopped { answer_lost } => {
                return Err(Stop::Cancelled { object_may_exist: answer_lost || session.may_be_complete });
            }
            Failed::Error { error, answer_lost, refusal } => (error, answer_lost, refusal),
        };
        let may_exist = answer_lost || session.may_be_complete;
        match (error.service_code(), refusal) {
            (Some("CallbackFailed"), Some(refusal)) => {
                Err(self.callback_failed(error, &refusal.response, crc64, Some(session)))
            }
            (Some("NoSuchUpload"), _) => {
                let found = if may_exist { self.find_object(crc64, session.record.initiated)? } else { None };
                found.ok_or(Stop::StartOver(RestartReason::UploadNotFound, error))
            }
            (Some("FileAlreadyExists"), _) if may_exist && self.settings.forbid_overwrite => {
                let found = self.find_object(crc64, session.record.initiated)?.ok_or(Stop::Error(error))?;
                // If it was not our Complete that made it, our parts are still there.
                self.abort_soon(&session.record);
                Ok(found)
            }
            (Some("InvalidPart"), _) if session.trusted_alone => {
                Err(Stop::StartOver(RestartReason::PartDiffers, error))
            }
            _ => Err(Stop::Error(error)),
        }
    }

    /// Is there an object of this key that is the file, made since then?
    pub(super) fn find_object(&self, crc64: u64, since: SystemTime) -> Result<Option<Completed>, Stop> {
        let Target { bucket, key, .. } = *self.target;
        let request = head_object::request(bucket, key, self.settings.headers.plain());
        match self.line.call(&request, &mut Message::empty(), |response, _| head_object::parse(response)) {
            Ok(head) if head.is(self.plan.size, crc64, since) => Ok(Some(head.object)),
            Ok(_) => Ok(None),
            Err(Failed::Stopped { .. }) => Err(Stop::Cancelled { object_may_exist: true }),
            Err(Failed::Error { error: Error::Service(service), .. })
                if matches!(service.status, 403 | 404) =>
            {
                Ok(None)
            }
            Err(Failed::Error { error, .. }) => Err(Stop::Error(error)),
        }
    }

    /// A 203: the object is complete, and the application server did not accept it.
    pub(super) fn callback_failed(
        &self,
        error: Error,
        response: &Response,
        crc64: u64,
        session: Option<&Session>,
    ) -> Stop {
        let Error::Service(service) = error else { return Stop::Error(error) };
        let completed = Completed {
            etag: response.header("etag").map(crate::part::unquoted).unwrap_or_default().to_owned(),
            crc64: response.crc64().ok().flatten(),
            version_id: response.header("x-oss-version-id").map(str::to_owned),
            request_id: response.request_id().map(str::to_owned),
            ..Completed::default()
        };
        let completed = match self.check_whole(service.operation.clone(), completed, crc64) {
            Ok(completed) => completed,
            Err(stop) => return stop,
        };
        let uploaded = Box::new(self.uploaded(completed, session));
        Stop::Over(Error::Callback { uploaded, service })
    }
}

//! Sending the parts that are missing.

use super::body::PieceBody;
use super::progress::{ProgressEvent, RestartReason};
use super::resume::Listing;
use super::workers::{self, News};
use super::{Context, Session, Stop, Target, Upload};

use crate::Error;
use crate::client::Failed;
use crate::encoding::base64;
use crate::part::{Part, Piece, unquoted};
use crate::protocol::request::Request;
use crate::protocol::upload_part;

/// The record is written at most once a second; ticks are tenths of it.
const TICKS_BETWEEN_SAVES: u32 = 10;

impl Upload<'_, '_> {
    pub(super) fn send_parts(&mut self, session: &mut Session) -> Result<(), Stop> {
        let Upload { context, checkpoint, reporter } = self;
        let there = &session.record.parts;
        let missing: Vec<u32> =
            (1..=context.plan.count()).filter(|number| there.get(*number).is_none()).collect();
        let mut pieces = missing.iter().map(|number| context.plan.piece(*number).expect("it is of the plan"));
        let upload_id = session.record.upload_id.clone();
        workers::run(
            &mut pieces,
            context.settings.routines,
            &context.line.switch(),
            &|piece, retrying| context.send_part(&upload_id, piece, retrying).map(Some),
            &mut |news| {
                let on_the_way = context.bytes.on_the_way();
                match news {
                    News::Done(part) => {
                        let part = part.expect("a piece that was sent is a part");
                        let size = context.plan.piece(part.number).map_or(0, |piece| piece.size);
                        session.record.parts.insert(part);
                        checkpoint.mark_dirty();
                        reporter.acknowledged(size, on_the_way);
                        if context.source.looks_grown_or_shrunk()? {
                            return Err(context.source.changed_error().into());
                        }
                    }
                    News::Retrying => reporter.tell(ProgressEvent::Retrying),
                    News::Tick(ticks) => {
                        reporter.tick(on_the_way);
                        if ticks % TICKS_BETWEEN_SAVES == 0 {
                            checkpoint.flush(&session.record)?;
                        }
                    }
                }
                if reporter.has_panicked() { Err(Stop::Panicked) } else { Ok(()) }
            },
        )
    }
}

impl Context<'_> {
    /// Runs on a worker.
    fn send_part(&self, upload_id: &str, piece: Piece, retrying: &dyn Fn()) -> Result<Part, Stop> {
        let Target { bucket, key, .. } = *self.target;
        let request =
            upload_part::request(bucket, key, upload_id, piece.number, &self.settings.headers.part());
        let request = self.with_content_md5(request, piece)?;
        let mut body =
            PieceBody::new(&self.source, piece, &self.line, self.pacer.as_ref(), &self.bytes, retrying);
        let sent = self.line.call(&request, &mut body, |response, body| {
            body.check_sent()?;
            let crc64 = body.crc64();
            Ok(Part { number: piece.number, etag: upload_part::parse(response, crc64)?.into(), crc64 })
        });
        drop(body);
        match sent {
            Ok(part) => Ok(part),
            Err(Failed::Error { error, refusal: Some(refusal), .. })
                if self.settings.sequential && error.service_code() == Some("PartAlreadyExist") =>
            {
                let etag = refusal.part_etag.as_deref().map(unquoted).unwrap_or_default();
                self.part_that_is_there(upload_id, piece, etag, error)
            }
            Err(failed) => Err(self.stop(failed)),
        }
    }

    pub(super) fn with_content_md5(&self, request: Request, piece: Piece) -> Result<Request, Stop> {
        if !self.settings.content_md5 {
            return Ok(request);
        }
        let (_, md5) = self.source.digest(piece, true, &self.line)?;
        Ok(request.header("content-md5", base64(md5.expect("it was asked for").0)))
    }

    /// In a sequential upload a part can't be sent twice. The one that is there is ours if its ETag is our MD5, or, where
    /// it is encrypted, if the list gives our CRC-64.
    fn part_that_is_there(
        &self,
        upload_id: &str,
        piece: Piece,
        etag: &str,
        error: Error,
    ) -> Result<Part, Stop> {
        let (crc64, md5) = self.source.digest(piece, true, &self.line)?;
        let by_md5 = md5.is_some_and(|md5| md5.is_etag(etag));
        if !etag.is_empty() && (by_md5 || self.lists_crc64(upload_id, piece.number, crc64)?) {
            return Ok(Part { number: piece.number, etag: etag.into(), crc64 });
        }
        Err(Stop::StartOver(RestartReason::PartDiffers, error))
    }

    fn lists_crc64(&self, upload_id: &str, number: u32, crc64: u64) -> Result<bool, Stop> {
        match self.list_parts(upload_id)? {
            Listing::Parts(parts) => {
                Ok(parts.iter().any(|part| part.number == number && part.crc64 == Some(crc64)))
            }
            Listing::Denied | Listing::NoSuchUpload => Ok(false),
        }
    }
}

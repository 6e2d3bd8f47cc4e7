//! Sending the parts that are missing.

use super::body::PieceBody;
use super::progress::{ProgressEvent, RestartReason};
use super::resume::Listing;
use super::workers::{self, News};
use super::{Context, Session, Stop, Target, Upload};

use crate::Error;
use crate::client::Failed;
use crate::error::ErrorCode;
use crate::md5_digest::Md5Digest;
use crate::part::{UploadedPart, PartRange, strip_quotes};
use crate::protocol::upload_part::UploadPart;

/// The record is written at most once a second; ticks are tenths of it.
const TICKS_BETWEEN_SAVES: u32 = 10;

impl Upload<'_, '_> {
    pub(super) fn send_parts(&mut self, session: &mut Session) -> Result<(), Stop> {
        let Upload { context, keeper, reporter } = self;
        let there = &session.record.parts;
        let missing: Vec<u32> =
            (1..=context.plan.count()).filter(|number| there.get(*number).is_none()).collect();
        let mut pieces = missing.iter().map(|number| context.plan.range_of(*number).expect("it is of the plan"));
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
                        let size = part.size;
                        session.record.parts.insert(part);
                        keeper.touch();
                        reporter.acknowledged(size, on_the_way);
                    }
                    News::Retrying => reporter.tell(ProgressEvent::Retrying),
                    News::Tick(ticks) => {
                        reporter.tick(on_the_way);
                        if ticks % TICKS_BETWEEN_SAVES == 0 {
                            keeper.save_if_touched(&session.record)?;
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
    fn send_part(&self, upload_id: &str, piece: PartRange, retrying: &dyn Fn()) -> Result<UploadedPart, Stop> {
        let Target { bucket, key, .. } = *self.target;
        let action = UploadPart {
            bucket,
            key,
            upload_id,
            number: piece.number,
            content_md5: self.content_md5(piece)?,
            headers: &self.settings.headers.part(),
        };
        let mut body =
            PieceBody::new(&self.source, piece, &self.line, self.pacer.as_ref(), &self.bytes, retrying);
        let sent = self.line.execute(&action, &mut body);
        let crc64 = body.crc64();
        drop(body);
        match sent {
            Ok(stored) => Ok(UploadedPart { number: piece.number, size: piece.size, etag: stored.etag.into(), crc64 }),
            Err(Failed::Error { error, refusal: Some(refusal), .. })
                if self.settings.sequential && error.code() == Some(ErrorCode::PartAlreadyExist) =>
            {
                let etag = refusal.part_etag.as_deref().map(strip_quotes).unwrap_or_default();
                self.part_that_is_there(upload_id, piece, etag, error)
            }
            Err(failed) => Err(self.stop(failed)),
        }
    }

    pub(super) fn content_md5(&self, piece: PartRange) -> Result<Option<Md5Digest>, Stop> {
        match self.settings.content_md5 {
            true => Ok(self.source.digest(piece, true, &self.line)?.1),
            false => Ok(None),
        }
    }

    /// In a sequential upload a part can't be sent twice. The one that is there is ours if its ETag is our MD5, or, where
    /// it is encrypted, if the list gives our CRC-64.
    fn part_that_is_there(
        &self,
        upload_id: &str,
        piece: PartRange,
        etag: &str,
        error: Error,
    ) -> Result<UploadedPart, Stop> {
        let (crc64, md5) = self.source.digest(piece, true, &self.line)?;
        let by_md5 = md5.is_some_and(|md5| md5.matches_etag(etag));
        if !etag.is_empty() && (by_md5 || self.lists_crc64(upload_id, piece.number, crc64)?) {
            return Ok(UploadedPart { number: piece.number, size: piece.size, etag: etag.into(), crc64 });
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

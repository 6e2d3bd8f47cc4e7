//! A file that needs no parts: one PutObject, run on a worker like a part.

use std::iter;
use std::sync::OnceLock;

use super::body::PieceBody;
use super::checkpoint::Loaded;
use super::progress::ProgressEvent;
use super::workers::{self, News};
use super::{Context, Stop, Target, Upload, Uploaded};
use crate::client::Failed;
use crate::part::Piece;
use crate::protocol::complete::Completed;
use crate::protocol::put_object;

impl Upload<'_, '_> {
    pub(super) fn put(&mut self) -> Result<Uploaded, Stop> {
        let Loaded::State(superseded) = self.checkpoint.load()? else { return self.put_file() };
        self.context.abort_soon(&superseded);
        self.put_file().map_err(|stop| self.give_up(&superseded, stop))
    }

    fn put_file(&mut self) -> Result<Uploaded, Stop> {
        self.reporter.begin(ProgressEvent::Started, None, 0, 0);
        self.check_panicked()?;
        let Upload { context, reporter, checkpoint } = self;
        let whole = Piece { number: 1, offset: 0, size: context.plan.size };
        let completed = OnceLock::new();
        let result = workers::run(
            &mut iter::once(whole),
            1,
            &context.line.switch(),
            &|piece, retrying| {
                let done = context.put_object(piece, retrying)?;
                completed.set(done).expect("it is the only piece");
                Ok(None)
            },
            &mut |news| {
                match news {
                    News::Done(_) => {}
                    News::Retrying => reporter.tell(ProgressEvent::Retrying),
                    News::Tick(_) => reporter.tick(context.bytes.on_the_way()),
                }
                if reporter.has_panicked() { Err(Stop::Panicked) } else { Ok(()) }
            },
        );
        if matches!(result, Ok(()) | Err(Stop::Over(_))) {
            checkpoint.remove();
        }
        result?;
        let completed = completed.into_inner().expect("the only worker has told its result");
        Ok(context.uploaded(completed, None))
    }
}

impl Context<'_> {
    /// Runs on a worker.
    fn put_object(&self, piece: Piece, retrying: &dyn Fn()) -> Result<Completed, Stop> {
        let Target { bucket, key, client } = *self.target;
        let headers = &self.settings.headers;
        let request = self.with_content_md5(put_object::request(bucket, key, &headers.put()), piece)?;
        let begun = client.now();
        self.check_cancelled()?;
        // Of an empty file nothing is read that would notice.
        if piece.size == 0 {
            self.source.ensure_unchanged::<Stop>(|_| Ok(true))?;
        }
        let mut body =
            PieceBody::new(&self.source, piece, &self.line, self.pacer.as_ref(), &self.bytes, retrying)
                .of_whole_object();
        let sent = self.line.call(&request, &mut body, |response, body| {
            body.check_sent()?;
            put_object::parse(response, body.crc64(), headers.has_callback())
        });
        let crc64 = body.crc64();
        drop(body);
        let (error, answer_lost, refusal) = match sent {
            Ok(completed) => return Ok(completed),
            Err(Failed::Error { error, answer_lost, refusal }) => (error, answer_lost, refusal),
            Err(stopped) => return Err(self.stop(stopped)),
        };
        match (error.service_code(), refusal) {
            (Some("CallbackFailed"), Some(refusal)) => {
                Err(self.callback_failed(error, &refusal.response, crc64, None))
            }
            (Some("FileAlreadyExists"), _) if answer_lost && self.settings.forbid_overwrite => {
                let (crc64, _) = self.source.digest(piece, false, &self.line)?;
                self.find_object(crc64, begun)?.ok_or(Stop::Error(error))
            }
            _ => Err(Stop::Error(error)),
        }
    }
}

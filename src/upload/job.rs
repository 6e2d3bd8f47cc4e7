//! The job of a call: what it was asked to do, and the means to do it.

use super::Execution;

use super::checkpoint::UploadIdentity;
use super::config::UploadConfig;
use super::part_body::ByteCounters;
use super::plan::Plan;
use super::source::Source;
use super::state::MultipartState;
use super::workers::Pool;
use crate::cancel::Registration;
use crate::client::{AbortReason, Client, Dispatcher};
use crate::encoding::percent_encode_path;
use crate::md5_digest::Md5Digest;
use crate::part::PartRange;
use crate::protocol::complete::ObjectInfo;
use crate::{Result, Uploaded};

/// Where the object is stored.
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
}

impl Target<'_> {
    /// Returns the URL of the object, as its requests have it, without a query.
    fn url(&self) -> String {
        let (endpoint, key) = (self.client.parsed_endpoint(), percent_encode_path(self.key));
        endpoint.url(self.bucket, &key, "")
    }
}

/// What a call was asked to do. All of its threads share it, and nothing in it changes.
pub(super) struct Job<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) source: Source<'a>,
    pub(super) plan: Plan,
    pub(super) config: UploadConfig,
    pub(super) dispatcher: &'a Dispatcher,
    /// Uses no threads but the one that calls.
    pub(super) on_this_thread: bool,
    pub(super) counters: ByteCounters,
}

impl<'a> Job<'a> {
    pub(super) fn new(
        target: &'a Target<'a>,
        source: Source<'a>,
        plan: Plan,
        config: UploadConfig,
        execution: Execution<'a>,
    ) -> Job<'a> {
        Job {
            counters: ByteCounters::default(),
            target,
            source,
            plan,
            config,
            dispatcher: execution.dispatcher,
            on_this_thread: execution.on_this_thread,
        }
    }

    /// Lets the call's token abort another dispatcher, too.
    pub(super) fn cancel_with(&self, dispatcher: &Dispatcher) -> Registration {
        abort_on_cancel(&self.config, dispatcher)
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.config.cancel.is_cancelled()
    }

    /// Describes what this call uploads, and where.
    pub(super) fn identity(&self) -> UploadIdentity {
        UploadIdentity::new(
            self.target.client.endpoint().to_owned(),
            self.target.bucket,
            self.target.key,
            self.source.path(),
            self.source.fingerprint,
            self.plan.part_size,
            &self.config.headers.fingerprint(self.config.sequential),
        )
    }

    pub(super) fn pool(&self) -> Pool<'_> {
        Pool {
            routines: match self.on_this_thread {
                true => 0,
                false => self.config.routines,
            },
            abort: self.dispatcher.abort_handle(),
            clock: self.target.client.clock(),
        }
    }

    /// Reads a part range and returns its CRC-64 and, if wanted, its MD5.
    pub(super) fn digest(
        &self,
        source: &Source<'_>,
        range: PartRange,
        with_md5: bool,
    ) -> Result<(u64, Option<Md5Digest>)> {
        source.digest(range, with_md5, self.dispatcher.abort_handle())
    }

    /// Returns the size of what is uploaded in bytes; of a stream, what has been read so far.
    pub(super) fn size(&self) -> u64 {
        match self.source.is_stream() {
            true => self.counters.read().0,
            false => self.plan.size,
        }
    }

    /// Returns the number of parts; of a stream, those that have been read so far.
    pub(super) fn count(&self) -> u32 {
        match self.source.is_stream() {
            true => self.counters.read().1.max(1),
            false => self.plan.count(),
        }
    }

    /// Describes the finished upload.
    pub(super) fn uploaded(&self, object: ObjectInfo, upload: Option<&MultipartState>) -> Uploaded {
        Uploaded {
            key: self.target.key.to_owned(),
            size: self.size(),
            etag: object.etag,
            crc64: object.crc64,
            version_id: object.version_id,
            location: object.location,
            request_id: object.request_id,
            upload_id: upload.map(|upload| upload.upload_id().to_owned()),
            parts: self.count() as usize,
            parts_resumed: upload.map_or(0, |upload| upload.parts_resumed as usize),
            bytes_sent: self.counters.sent(),
            skipped: false,
            callback_body: object.callback_body,
            url: self.target.url(),
        }
    }
}

/// Lets the token of a call abort a dispatcher.
pub(super) fn abort_on_cancel(config: &UploadConfig, dispatcher: &Dispatcher) -> Registration {
    let abort = dispatcher.abort_handle().clone();
    config
        .cancel
        .on_cancel(move |_| abort.abort(AbortReason::Cancelled))
}

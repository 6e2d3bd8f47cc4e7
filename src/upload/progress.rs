//! Progress: what the callback receives, and when it is called.

use std::fmt;

/// The state of an upload, as the callback of [`progress`](crate::progress) receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What has just happened.
    pub event: ProgressEvent,
    /// Bytes that are acknowledged or in flight. Never decreases and never exceeds `total`.
    pub transferred: u64,
    /// The size of the file in bytes. Of a stream, what has been read so far: it grows until the
    /// stream ends.
    pub total: u64,
    /// Parts that are acknowledged. May fall after [`ProgressEvent::Restarted`].
    pub parts_done: usize,
    /// Parts of the file; 1 if it is uploaded with one PutObject. Of a stream, those that have been
    /// read so far.
    pub parts_total: usize,
    /// The upload ID, once there is one. A PutObject has none.
    pub upload_id: Option<String>,
    /// The key of the object. For a tree, that of the file that the event is about; empty at its
    /// end.
    pub key: String,
}

impl Progress {
    pub(super) fn new(total: u64, parts_total: usize) -> Progress {
        Progress {
            event: ProgressEvent::Started,
            transferred: 0,
            total,
            parts_done: 0,
            parts_total,
            upload_id: None,
            key: String::new(),
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A new upload has started.
    Started,
    /// An earlier upload is resumed; `parts_done` and `transferred` say how much of it is done.
    Resumed,
    /// An earlier upload cannot be resumed, and everything is sent again.
    Restarted(RestartReason),
    /// A part was acknowledged, or bytes were sent (at most ten times a second).
    Transferred,
    /// A request failed and is retried. May come before the first of the other events.
    Retrying,
    /// The object is complete. This is the last event, and the only one if the upload was
    /// [skipped](crate::skip_unchanged).
    Completed,
    /// The call is about to return an error. This is the last event, and the only one if no
    /// upload could be started.
    Failed,
}

/// Why an earlier upload cannot be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartReason {
    /// The checkpoint was damaged.
    CheckpointDamaged,
    /// The checkpoint belongs to another endpoint, bucket or key.
    TargetChanged,
    /// The file is a different one, or was changed since.
    SourceChanged,
    /// The part size is different.
    PartSizeChanged,
    /// The options that are sent when an upload is initiated are different: metadata, storage
    /// class and the like.
    OptionsChanged,
    /// OSS no longer knows the upload: it was aborted, or completed to another object.
    UploadNotFound,
    /// OSS has a part with different bytes that cannot be replaced, as in a sequential upload.
    PartDiffers,
}

impl fmt::Display for RestartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestartReason::CheckpointDamaged => "the checkpoint was damaged",
            RestartReason::TargetChanged => {
                "the checkpoint belongs to another endpoint, bucket or key"
            }
            RestartReason::SourceChanged => "the file was changed",
            RestartReason::PartSizeChanged => "the part size was changed",
            RestartReason::OptionsChanged => "the options were changed",
            RestartReason::UploadNotFound => "OSS no longer knows the upload",
            RestartReason::PartDiffers => "OSS has a part with different bytes",
        })
    }
}

pub(super) type Callback<'a> = Box<dyn FnMut(&Progress) + 'a>;

/// Counts the progress and calls the callback.
pub(super) struct Events<'a> {
    /// Taken out while it runs, so that one that has panicked is not called again.
    callback: Option<Callback<'a>>,
    progress: Progress,
    /// Bytes of acknowledged parts.
    acknowledged: u64,
}

impl<'a> Events<'a> {
    pub(super) fn new(
        callback: Option<Callback<'a>>,
        key: &str,
        total: u64,
        parts_total: u32,
    ) -> Events<'a> {
        let mut progress = Progress::new(total, parts_total as usize);
        progress.key = key.to_owned();
        Events {
            callback,
            progress,
            acknowledged: 0,
        }
    }

    /// More of a stream has been read.
    pub(super) fn update_total(&mut self, total: u64, parts_total: u32) {
        self.progress.total = total;
        self.progress.parts_total = parts_total as usize;
    }

    /// Reports that an upload has started or is resumed, with `parts` parts of `bytes` bytes done.
    pub(super) fn started(
        &mut self,
        event: ProgressEvent,
        upload_id: Option<&str>,
        parts: u32,
        bytes: u64,
    ) {
        self.progress.upload_id = upload_id.map(str::to_owned);
        self.progress.parts_done = parts as usize;
        self.acknowledged = bytes;
        self.advance(0);
        self.emit(event);
    }

    pub(super) fn part_acknowledged(&mut self, bytes: u64, in_flight: u64) {
        self.progress.parts_done += 1;
        self.acknowledged += bytes;
        self.advance(in_flight);
        self.emit(ProgressEvent::Transferred);
    }

    /// Emits an event if more bytes were sent than at the last one.
    pub(super) fn update_transferred(&mut self, in_flight: u64) {
        let before = self.progress.transferred;
        self.advance(in_flight);
        if self.progress.transferred > before {
            self.emit(ProgressEvent::Transferred);
        }
    }

    pub(super) fn retrying(&mut self) {
        self.emit(ProgressEvent::Retrying);
    }

    pub(super) fn completed(&mut self) {
        self.progress.transferred = self.progress.total;
        self.progress.parts_done = self.progress.parts_total;
        self.emit(ProgressEvent::Completed);
    }

    pub(super) fn failed(&mut self) {
        self.emit(ProgressEvent::Failed);
    }

    fn emit(&mut self, event: ProgressEvent) {
        self.progress.event = event;
        if let Some(mut callback) = self.callback.take() {
            callback(&self.progress);
            self.callback = Some(callback);
        }
    }

    fn advance(&mut self, in_flight: u64) {
        let seen = self.acknowledged.saturating_add(in_flight);
        let seen = seen.min(self.progress.total);
        self.progress.transferred = self.progress.transferred.max(seen);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn progress_never_goes_back_and_never_passes_the_total() {
        let seen = RefCell::new(Vec::new());
        let callback = |progress: &Progress| seen.borrow_mut().push(progress.clone());
        let mut events = Events::new(Some(Box::new(callback)), "k", 100, 4);
        events.started(ProgressEvent::Resumed, Some("id"), 1, 25);
        events.update_transferred(20);
        events.update_transferred(0);
        events.part_acknowledged(25, 60);
        let restarted = ProgressEvent::Restarted(RestartReason::UploadNotFound);
        events.started(restarted, Some("id2"), 0, 0);
        events.update_transferred(10);
        events.completed();
        drop(events);
        let seen = seen.into_inner();
        let transferred: Vec<_> = seen.iter().map(|progress| progress.transferred).collect();
        assert_eq!(transferred, [25, 45, 100, 100, 100]);
        let parts: Vec<_> = seen.iter().map(|progress| progress.parts_done).collect();
        assert_eq!(parts, [1, 1, 2, 0, 4]);
        assert_eq!(seen[4].event, ProgressEvent::Completed);
        assert_eq!(seen[3].upload_id.as_deref(), Some("id2"));
    }

    #[test]
    fn progress_callback_that_panicked_is_not_called_again() {
        let calls = RefCell::new(0);
        let callback = |_: &Progress| {
            *calls.borrow_mut() += 1;
            panic!("no");
        };
        let mut events = Events::new(Some(Box::new(callback)), "k", 1, 1);
        let result = catch_unwind(AssertUnwindSafe(|| {
            events.started(ProgressEvent::Started, None, 0, 0);
        }));
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&"no"));
        events.failed();
        drop(events);
        assert_eq!(calls.into_inner(), 1);
    }
}

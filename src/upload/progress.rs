//! What the caller is told while the upload runs.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::client::Line;

/// Where an upload stands; given to the callback of [`progress`](crate::progress).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What has just happened.
    pub event: ProgressEvent,
    /// Bytes that are acknowledged or on their way. Never goes back, never passes `total`.
    pub transferred: u64,
    /// Bytes of the file.
    pub total: u64,
    /// UploadedParts that are acknowledged. May fall after [`ProgressEvent::Restarted`].
    pub parts_done: usize,
    /// Parts of the file; 1 for a file that goes up in one PutObject.
    pub parts_total: usize,
    /// The upload id, once there is one; a PutObject has none.
    pub upload_id: Option<String>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A new upload begins.
    Started,
    /// An earlier upload is carried on; `parts_done` and `transferred` say what was found.
    Resumed,
    /// What was recorded is of no use, and everything is sent again.
    Restarted(RestartReason),
    /// A part was acknowledged, or bytes have moved (ten times a second at most).
    Transferred,
    /// A request failed and is tried again. The only event that may come before the first of the others.
    Retrying,
    /// The object is complete. The last event.
    Completed,
    /// The call is about to return an error. The last event.
    Failed,
}

/// Why everything is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartReason {
    /// The checkpoint was damaged.
    CheckpointDamaged,
    /// The checkpoint is of another endpoint, bucket or key.
    TargetChanged,
    /// The file is another one, or was changed since.
    SourceChanged,
    /// The part size is another one.
    PartSizeChanged,
    /// The options that OSS is given when an upload begins are others: metadata, storage class, ….
    OptionsChanged,
    /// OSS does not know the upload any more: it was aborted, expired, or completed to another object.
    UploadNotFound,
    /// In a sequential upload, OSS holds a part with other bytes, which can't be replaced.
    PartDiffers,
}

impl fmt::Display for RestartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RestartReason::CheckpointDamaged => "the checkpoint was damaged",
            RestartReason::TargetChanged => "the checkpoint is of another endpoint, bucket or key",
            RestartReason::SourceChanged => "the file was changed",
            RestartReason::PartSizeChanged => "the part size was changed",
            RestartReason::OptionsChanged => "the options were changed",
            RestartReason::UploadNotFound => "OSS does not know the upload any more",
            RestartReason::PartDiffers => "OSS holds a part with other bytes",
        })
    }
}

pub(super) type Callback<'a> = Box<dyn FnMut(&Progress) + 'a>;

/// Keeps the account, calls the callback, and survives its panic.
pub(super) struct Reporter<'a> {
    callback: Option<Callback<'a>>,
    state: Progress,
    /// Bytes of acknowledged parts.
    acknowledged: u64,
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(callback: Option<Callback<'a>>, total: u64, parts_total: usize) -> Reporter<'a> {
        let state = Progress {
            event: ProgressEvent::Started,
            transferred: 0,
            total,
            parts_done: 0,
            parts_total,
            upload_id: None,
        };
        Reporter { callback, state, acknowledged: 0, panic: None }
    }

    /// An upload begins or is carried on, with so much of it done.
    pub(super) fn begin(&mut self, event: ProgressEvent, upload_id: Option<&str>, parts: usize, bytes: u64) {
        self.state.upload_id = upload_id.map(str::to_owned);
        (self.state.parts_done, self.acknowledged) = (parts, bytes);
        self.moved(0);
        self.tell(event);
    }

    pub(super) fn acknowledged(&mut self, bytes: u64, on_the_way: u64) {
        self.state.parts_done += 1;
        self.acknowledged += bytes;
        self.moved(on_the_way);
        self.tell(ProgressEvent::Transferred);
    }

    /// Says so if more bytes are on their way than were told.
    pub(super) fn tick(&mut self, on_the_way: u64) {
        let before = self.state.transferred;
        self.moved(on_the_way);
        if self.state.transferred > before {
            self.tell(ProgressEvent::Transferred);
        }
    }

    /// A request of the calling thread's is tried again, unless the callback panics.
    pub(super) fn retrying(&mut self, line: &Line) {
        self.tell(ProgressEvent::Retrying);
        if self.has_panicked() {
            line.switch().cut();
        }
    }

    pub(super) fn completed(&mut self) {
        self.state.transferred = self.state.total;
        self.state.parts_done = self.state.parts_total;
        self.tell(ProgressEvent::Completed);
    }

    pub(super) fn tell(&mut self, event: ProgressEvent) {
        self.state.event = event;
        let (state, None) = (&self.state, &self.panic) else { return };
        if let Some(callback) = &mut self.callback {
            self.panic = catch_unwind(AssertUnwindSafe(|| callback(state))).err();
        }
    }

    /// The callback has panicked: the upload stops, and the panic goes on when it has.
    pub(super) fn has_panicked(&self) -> bool {
        self.panic.is_some()
    }

    pub(super) fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.panic
    }

    fn moved(&mut self, on_the_way: u64) {
        let seen = self.acknowledged.saturating_add(on_the_way).min(self.state.total);
        self.state.transferred = self.state.transferred.max(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn transferred_never_goes_back_and_never_passes_the_total() {
        let seen = RefCell::new(Vec::new());
        let mut reporter =
            Reporter::new(Some(Box::new(|p: &Progress| seen.borrow_mut().push(p.clone()))), 100, 4);
        reporter.begin(ProgressEvent::Resumed, Some("id"), 1, 25);
        reporter.tick(20);
        reporter.tick(0);
        reporter.acknowledged(25, 60);
        reporter.begin(ProgressEvent::Restarted(RestartReason::UploadNotFound), Some("id2"), 0, 0);
        reporter.tick(10);
        reporter.completed();
        drop(reporter);
        let seen = seen.into_inner();
        let transferred: Vec<_> = seen.iter().map(|progress| progress.transferred).collect();
        assert_eq!(transferred, [25, 45, 100, 100, 100]);
        let parts: Vec<_> = seen.iter().map(|progress| progress.parts_done).collect();
        assert_eq!(parts, [1, 1, 2, 0, 4]);
        assert_eq!(seen[4].event, ProgressEvent::Completed);
        assert_eq!(seen[3].upload_id.as_deref(), Some("id2"));
    }

    #[test]
    fn a_panic_is_kept_and_the_callback_not_called_again() {
        let calls = RefCell::new(0);
        let mut reporter = Reporter::new(
            Some(Box::new(|_| {
                *calls.borrow_mut() += 1;
                panic!("no");
            })),
            1,
            1,
        );
        reporter.tell(ProgressEvent::Started);
        reporter.tell(ProgressEvent::Failed);
        assert!(reporter.has_panicked());
        assert_eq!(reporter.into_panic().unwrap().downcast_ref(), Some(&"no"));
        assert_eq!(calls.into_inner(), 1);
    }
}

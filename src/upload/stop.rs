//! The reasons why an upload stops early.

use std::any::Any;
use std::panic::resume_unwind;

use super::progress::RestartReason;
use crate::Error;
use crate::client::{AbortReason, CallError};
use crate::error::ErrorCode;

/// Why an upload stops before it is complete.
pub(super) enum Stop {
    Failed(Error),
    /// The upload cannot be resumed, but a new one may succeed. The error is reported if this
    /// call has restarted before.
    Restart(RestartReason, Error),
    /// The object was made, but it or its callback is wrong. Nothing is left to resume.
    ObjectCreated(Error),
    Cancelled {
        object_may_exist: bool,
    },
    /// The caller's own code panicked; this is its payload.
    Panicked(Box<dyn Any + Send>),
}

/// Why a part is not done: the upload stops, or another part has stopped it already.
pub(super) enum PartStop {
    Drained,
    Stopped(Stop),
}

impl Stop {
    /// Returns the error that the call reports, or resumes the panic of the caller's own code.
    ///
    /// `upload_left` is the ID of an upload that could not be aborted.
    pub(super) fn into_error(self, upload_left: Option<String>) -> Error {
        match self {
            Stop::Failed(error) | Stop::Restart(_, error) | Stop::ObjectCreated(error) => error,
            Stop::Cancelled { object_may_exist } => Error::Cancelled {
                object_may_exist,
                upload_left,
            },
            Stop::Panicked(panic) => resume_unwind(panic),
        }
    }
}

/// `NoSuchUpload` becomes a restart, whichever request it comes from.
impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Cancelled {
                object_may_exist, ..
            } => Stop::Cancelled { object_may_exist },
            error if error.code() == Some(ErrorCode::NoSuchUpload) => {
                Stop::Restart(RestartReason::UploadNotFound, error)
            }
            error => Stop::Failed(error),
        }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Stop {
        match error {
            CallError::Failed { error, .. } => error.into(),
            CallError::Drained | CallError::Aborted { .. } => Stop::Cancelled {
                object_may_exist: false,
            },
        }
    }
}

impl PartStop {
    /// The reason of a thread that has no other to report one.
    pub(super) fn into_stop(self) -> Stop {
        match self {
            PartStop::Stopped(stop) => stop,
            // Nobody has cancelled, so what is saved is kept.
            PartStop::Drained => Stop::Failed(Error::Cancelled {
                object_may_exist: false,
                upload_left: None,
            }),
        }
    }
}

impl From<Error> for PartStop {
    fn from(error: Error) -> PartStop {
        PartStop::Stopped(error.into())
    }
}

impl From<Stop> for PartStop {
    fn from(stop: Stop) -> PartStop {
        PartStop::Stopped(stop)
    }
}

impl From<CallError> for PartStop {
    fn from(error: CallError) -> PartStop {
        match error {
            // The panic itself says why.
            CallError::Drained
            | CallError::Aborted {
                reason: AbortReason::Panicked,
                ..
            } => PartStop::Drained,
            error => PartStop::Stopped(error.into()),
        }
    }
}

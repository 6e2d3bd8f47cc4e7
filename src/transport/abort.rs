use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{FailureKind, TransportFailure};

/// Set once, when a transport is shut down. Threads that wait on its behalf check it.
#[derive(Debug, Default)]
pub(super) struct AbortFlag(AtomicBool);

impl AbortFlag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn check(&self) -> Result<(), TransportFailure> {
        if self.is_set() {
            Err(aborted())
        } else {
            Ok(())
        }
    }
}

pub(super) fn aborted() -> TransportFailure {
    TransportFailure::new(FailureKind::Aborted, "the request was aborted")
}

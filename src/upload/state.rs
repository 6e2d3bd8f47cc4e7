//! The multipart upload that a call works on, as far as it has come.

use super::checkpoint::CheckpointState;
use super::reconcile::Candidates;

/// The multipart upload that a call works on.
pub(super) struct MultipartState {
    /// What is known of it, and what the checkpoint remembers.
    pub(super) state: CheckpointState,
    pub(super) origin: Origin,
    /// Parts that earlier calls sent.
    pub(super) parts_resumed: u32,
    /// Parts that OSS has, to be compared with those of a stream as they are read.
    pub(super) candidates: Candidates,
    /// No later call could resume it.
    pub(super) is_unusable: bool,
}

/// Where an upload comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This call initiated it.
    New,
    Checkpoint {
        /// An earlier call sent CompleteMultipartUpload, and its response is not known.
        was_completing: bool,
        /// OSS has listed its parts. Without that permission the checkpoint is all there is.
        parts_listed: bool,
    },
    /// Found on the server: somebody else may be using it.
    Adopted,
}

impl MultipartState {
    pub(super) fn new(state: CheckpointState, origin: Origin) -> MultipartState {
        MultipartState {
            state,
            origin,
            parts_resumed: 0,
            candidates: Candidates::new(),
            is_unusable: false,
        }
    }

    pub(super) fn upload_id(&self) -> &str {
        &self.state.upload_id
    }

    pub(super) fn was_completing(&self) -> bool {
        matches!(
            self.origin,
            Origin::Checkpoint {
                was_completing: true,
                ..
            }
        )
    }
}

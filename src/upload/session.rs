//! An upload that OSS knows.

use super::checkpoint::CheckpointState;
use super::plan::Plan;
use crate::part::Part;

/// The record is what is known of it.
pub(super) struct Session {
    pub(super) record: CheckpointState,
    pub(super) parts_resumed: usize,
    pub(super) origin: Origin,
    /// Complete was sent in an earlier call, and its answer is not known.
    pub(super) may_be_complete: bool,
    /// We may not list parts: what OSS really has is not known.
    pub(super) trusted_alone: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Initiated,
    Recorded,
    /// Found on the server: perhaps somebody else's.
    Adopted,
}

impl Session {
    pub(super) fn bytes(&self, plan: &Plan) -> u64 {
        self.record.parts.iter().filter_map(|part| plan.piece(part.number)).map(|piece| piece.size).sum()
    }

    /// Of the whole object, from its parts; all are there.
    pub(super) fn crc64(&self, plan: &Plan) -> u64 {
        let piece = |part: &Part| (part.crc64, plan.piece(part.number).map_or(0, |piece| piece.size));
        crate::crc64::joined(self.record.parts.iter().map(piece))
    }
}

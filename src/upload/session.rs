//! An upload that OSS knows.

use super::checkpoint::Record;
/// The record is what is known of it.
pub(super) struct Session {
    pub(super) record: Record,
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

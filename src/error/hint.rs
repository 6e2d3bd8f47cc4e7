//! Hints: what to do about an error. A hint is the end of the message.

use std::io::{self, ErrorKind};

use super::code::rerun_hint;
use super::{Error, FailureKind};

pub(crate) const OBJECT_IS_WRONG: &str =
    "the object exists and is wrong; delete it, or run the same call again";

const CHOOSE_OTHER_LOCATION: &str =
    "choose another location with checkpoint(true, path) or checkpoint_dir(true, dir)";

pub(super) fn hint(error: &Error) -> Option<&str> {
    match error {
        Error::InvalidOption { .. }
        | Error::Source { .. }
        | Error::NotACheckpoint { .. }
        | Error::Credentials { .. } => None,
        Error::SourceChanged { .. } => Some("run the same call again"),
        Error::Checkpoint {
            path: Some(_),
            source,
        } => checkpoint(source),
        Error::Checkpoint { path: None, .. } => None,
        Error::CheckpointInUse { .. } => {
            Some("wait for it, or give each upload its own with checkpoint_dir(true, dir)")
        }
        Error::Transport {
            operation, source, ..
        } => FailureKind::of(source)
            .hint()
            .or(Some(rerun_hint(operation.kind()))),
        Error::Service(service) => service.hint(),
        Error::Response { hint, .. } => Some(hint),
        Error::Callback { .. } => Some("do not upload it again, but check the application server"),
        Error::Cancelled {
            upload_left: Some(_),
            ..
        } => Some("abort it later with abort_multipart_upload, or run the same call again"),
        Error::Cancelled {
            object_may_exist: true,
            ..
        } => Some("run the same call again to find out"),
        Error::Cancelled { .. } => None,
    }
}

fn checkpoint(source: &io::Error) -> Option<&'static str> {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Some(CHOOSE_OTHER_LOCATION),
        ErrorKind::InvalidFilename => {
            Some("its name is too long; use checkpoint_dir(true, dir), which names it itself")
        }
        ErrorKind::NotFound => {
            Some("create its directory first; checkpoint_dir(true, dir) creates it")
        }
        ErrorKind::AlreadyExists if source.raw_os_error().is_some() => {
            Some("it is a file and must be a directory")
        }
        ErrorKind::NotADirectory => Some("a part of this path is a file and must be a directory"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("free some space and run the same call again")
        }
        _ => None,
    }
}

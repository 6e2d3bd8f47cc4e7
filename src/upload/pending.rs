//! The unfinished uploads of a directory of checkpoints.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::checkpoint::{CheckpointFile, CheckpointState, CheckpointStore, Inspected, inspect};
use crate::error::escape_control;
use crate::{Error, Result};

/// An unfinished upload that has a checkpoint, as [`pending_uploads`] finds it.
///
/// The same call as before resumes it. [`discard`](PendingUpload::discard) deletes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingUpload {
    /// The absolute path of the checkpoint.
    pub checkpoint: PathBuf,
    /// The endpoint of the client that started the upload, as
    /// [`Client::endpoint`](crate::Client::endpoint) returns it.
    pub endpoint: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The key of the object.
    pub key: String,
    /// The absolute path that the file had; `None` if an open file was given. On systems other than
    /// Unix, also `None` if the path is not Unicode.
    pub source: Option<PathBuf>,
    /// The ID of the multipart upload.
    pub upload_id: String,
    /// How many parts OSS had acknowledged when the checkpoint was saved.
    pub parts_done: usize,
    /// Bytes of these parts.
    pub bytes_done: u64,
    /// The size of the file in bytes.
    pub bytes_total: u64,
}

/// Lists the unfinished uploads whose checkpoints are in the directory, sorted by the paths of the
/// checkpoints. It is for a directory of [`checkpoint_dir`](crate::checkpoint_dir), but finds all
/// checkpoints there, whatever their names are. Subdirectories are not searched.
///
/// Files are only read. Nothing is locked, so an upload that is running is listed as well. Other
/// files are ignored. A checkpoint that is damaged, cannot be read or was written by a newer version
/// of this crate is omitted, with a warning in the log. A directory that does not exist has no
/// checkpoints: it is created when the first upload needs it.
///
/// No request is made: OSS may have deleted an upload of the list in the meantime. To list what is
/// unfinished on the server, use [`Bucket::multipart_uploads`](crate::Bucket::multipart_uploads).
///
/// ```no_run
/// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
/// use oss_upload::{checkpoint_dir, pending_uploads};
///
/// let dir = "/var/lib/example/uploads";
/// for pending in pending_uploads(dir)? {
///     println!("{}: {} of {} bytes", pending.key, pending.bytes_done, pending.bytes_total);
///     match &pending.source {
///         Some(path) if path.exists() => {
///             let options = [checkpoint_dir(true, dir)];
///             bucket.upload_file(&pending.key, path, 8 << 20, options)?;
///         }
///         _ => pending.discard(bucket)?,
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::InvalidOption`] if the path is empty, and [`Error::Checkpoint`] if the directory cannot
/// be read.
pub fn pending_uploads(dir: impl AsRef<Path>) -> Result<Vec<PendingUpload>> {
    let dir = dir.as_ref();
    if dir.as_os_str().is_empty() {
        let reason = "must not be empty; give the directory of the checkpoints";
        return Err(Error::option("dir", reason));
    }
    let failed = |source| failed(dir, source);
    let absolute = std::path::absolute(dir).map_err(failed)?;
    let entries = match fs::read_dir(&absolute) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut pending = Vec::new();
    for entry in entries {
        pending.extend(read_pending(&entry.map_err(failed)?.path()));
    }
    pending.sort_unstable_by(|a, b| a.checkpoint.cmp(&b.checkpoint));
    Ok(pending)
}

/// Returns the unfinished upload of a file, if it is the checkpoint of one.
fn read_pending(path: &Path) -> Option<PendingUpload> {
    let problem = match inspect(path) {
        Ok(Inspected::Upload(state)) => return Some(PendingUpload::new(path, &state)),
        Ok(Inspected::Blank | Inspected::Foreign) => return None,
        Ok(Inspected::Damaged) => "is damaged".to_owned(),
        Ok(Inspected::Newer(version)) => format!("has the newer version {version}"),
        // It has gone meanwhile, as at the end of an upload.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => format!("cannot be read: {error}"),
    };
    let path = escape_control(&path.to_string_lossy());
    log::warn!("{path} {problem}, so it is not listed as a pending upload");
    None
}

impl PendingUpload {
    fn new(checkpoint: &Path, state: &CheckpointState) -> PendingUpload {
        let identity = &state.identity;
        PendingUpload {
            checkpoint: checkpoint.to_owned(),
            endpoint: identity.endpoint.clone(),
            bucket: identity.bucket.clone(),
            key: identity.key.clone(),
            source: identity.source_path(),
            upload_id: state.upload_id.clone(),
            parts_done: state.parts.len(),
            bytes_done: state.parts.bytes(),
            bytes_total: identity.fingerprint.size,
        }
    }

    /// Locks the checkpoint, and makes sure that it still is the one of this upload and that the
    /// upload is in that bucket.
    pub(crate) fn lock(&self, endpoint: &str, bucket: &str) -> Result<LockedCheckpoint<'_>> {
        self.ensure_target(endpoint, bucket)?;
        let path = &self.checkpoint;
        let gone = LockedCheckpoint { path, file: None };
        let Some(mut file) = CheckpointFile::open_existing(path)? else {
            return Ok(gone);
        };
        let Some(text) = file.load().map_err(|error| failed(path, error))? else {
            return Ok(gone);
        };
        let state = CheckpointState::from_text(&text);
        let is_same =
            |state: CheckpointState| self.is_same_upload(&PendingUpload::new(path, &state));
        if !state.is_some_and(is_same) {
            let reason = "it is damaged, or of another upload now; list the pending uploads again";
            return Err(failed(path, io::Error::other(reason)));
        }
        let file = Some(file);
        Ok(LockedCheckpoint { path, file })
    }

    fn is_same_upload(&self, other: &PendingUpload) -> bool {
        let target = |of: &PendingUpload| (of.endpoint.clone(), of.bucket.clone(), of.key.clone());
        self.upload_id == other.upload_id && target(self) == target(other)
    }

    fn ensure_target(&self, endpoint: &str, bucket: &str) -> Result<()> {
        if (self.endpoint.as_str(), self.bucket.as_str()) == (endpoint, bucket) {
            return Ok(());
        }
        let reason = format!(
            "the pending upload is in the bucket {} at {}, and this is {bucket} at {endpoint}; \
             give the bucket that it is in",
            escape_control(&self.bucket),
            escape_control(&self.endpoint)
        );
        Err(Error::option("bucket", reason))
    }
}

/// A checkpoint that nobody else uses while this exists.
pub(crate) struct LockedCheckpoint<'a> {
    path: &'a Path,
    /// `None` if it has gone already.
    file: Option<CheckpointFile>,
}

impl LockedCheckpoint<'_> {
    /// Removes the checkpoint, with what a crash may have left beside it.
    pub(crate) fn remove(self) -> Result<()> {
        let Some(mut file) = self.file else {
            return Ok(());
        };
        file.remove_orphan();
        file.remove().map_err(|error| failed(self.path, error))
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Checkpoint {
        path: Some(path.to_owned()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_uploads_of_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(pending_uploads(dir.path()).unwrap(), []);
        let missing = dir.path().join("missing");
        assert_eq!(pending_uploads(&missing).unwrap(), []);
        assert!(!missing.exists());
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(
            pending_uploads(&file),
            Err(Error::Checkpoint { path: Some(path), .. }) if path == file
        ));
        assert!(matches!(
            pending_uploads(""),
            Err(Error::InvalidOption { option: "dir", .. })
        ));
    }
}

//! The checkpoint of a call: where it is kept, when it is written, and what is in it.

mod file;
mod format;
mod inspect;
mod open;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(super) use file::CheckpointFile;
use file::{TEMP_SUFFIX, temp_path};
use format::Header;
pub(super) use format::{CheckpointState, UploadIdentity};
pub(super) use inspect::{Inspected, inspect};
use open::foreign_reason;

use super::source::Source;
use crate::error::escape_control;
use crate::md5_digest::Md5Digest;
use crate::{Error, Result};

/// A place for the checkpoint of an upload that is not a file: a database row, or memory.
///
/// The checkpoint is a short UTF-8 text without credentials, about 70 bytes per part. Its format
/// is described in [`docs::checkpoint_format`](crate::docs::checkpoint_format). A call loads it
/// once, when it starts; saves it when the upload has been initiated, then at most once a second,
/// before the upload is completed and when it stops; and removes it when the object is complete.
/// All calls come from the calling thread.
///
/// The example `sqlite-store` keeps it in a database.
pub trait CheckpointStore {
    /// Returns the text that was saved last, or `None` if there is none.
    ///
    /// # Errors
    /// Any error of the store. The upload does not start.
    fn load(&mut self) -> io::Result<Option<String>>;
    /// Replaces the whole text. When this returns, the text should survive a crash.
    ///
    /// # Errors
    /// Any error of the store. The upload fails with
    /// [`Error::Checkpoint`].
    fn save(&mut self, text: &str) -> io::Result<()>;
    /// Removes the text. It is not an error if there is none.
    ///
    /// # Errors
    /// Any error of the store. It is logged, and the upload succeeds nevertheless.
    fn remove(&mut self) -> io::Result<()>;
}

impl<T: CheckpointStore + ?Sized> CheckpointStore for &mut T {
    fn load(&mut self) -> io::Result<Option<String>> {
        (**self).load()
    }
    fn save(&mut self, text: &str) -> io::Result<()> {
        (**self).save(text)
    }
    fn remove(&mut self) -> io::Result<()> {
        (**self).remove()
    }
}

/// Where the caller wants the checkpoint.
#[derive(Default)]
pub(in crate::upload) enum CheckpointLocation<'a> {
    #[default]
    Off,
    /// `<file>.cp`, as in the documentation of the Go SDK.
    BesideSource,
    File(PathBuf),
    Dir(PathBuf),
    Store(Box<dyn CheckpointStore + 'a>),
}

/// The checkpoint of a call, or nothing if the call keeps none.
pub(super) struct Checkpoint<'a> {
    store: Option<Box<dyn CheckpointStore + 'a>>,
    /// For errors. `None` for a store of the caller.
    path: Option<PathBuf>,
    /// The ID of the upload that was saved last, or loaded.
    saved: Option<String>,
    dirty: bool,
    was_loaded: bool,
}

/// What was found when the call started.
pub(super) enum Loaded {
    Nothing,
    Damaged,
    State(Box<CheckpointState>),
}

impl<'a> Checkpoint<'a> {
    /// Opens and locks the checkpoint, before any request is made.
    ///
    /// `needed` is false for an upload that is one request: then a checkpoint file that is there is
    /// opened, since it may name an unfinished upload, but none is created.
    pub(super) fn open(
        choice: CheckpointLocation<'a>,
        source: &Source<'_>,
        bucket: &str,
        key: &str,
        needed: bool,
    ) -> Result<Checkpoint<'a>> {
        let is_dir = matches!(choice, CheckpointLocation::Dir(_));
        let path = match choice {
            CheckpointLocation::Off => return Ok(Checkpoint::new(None, None)),
            CheckpointLocation::Store(store) => return Ok(Checkpoint::new(Some(store), None)),
            CheckpointLocation::BesideSource => default_path(source)?,
            CheckpointLocation::File(path) => absolute(&path)?,
            CheckpointLocation::Dir(dir) => path_in_dir(&dir, source, bucket, key)?,
        };
        check_path(&path, source)?;
        let file = if needed {
            if let Some(dir) = path.parent().filter(|_| is_dir) {
                create_dir(dir)?;
            }
            Some(CheckpointFile::open(&path)?)
        } else {
            CheckpointFile::open_existing(&path)?
        };
        let store = file.map(|file| Box::new(file) as Box<dyn CheckpointStore + 'a>);
        Ok(Checkpoint::new(store, Some(path)))
    }

    fn new(store: Option<Box<dyn CheckpointStore + 'a>>, path: Option<PathBuf>) -> Checkpoint<'a> {
        Checkpoint {
            store,
            path,
            saved: None,
            dirty: false,
            was_loaded: false,
        }
    }

    /// Returns whether this call has looked what the checkpoint has.
    pub(super) fn was_loaded(&self) -> bool {
        self.was_loaded
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.store.is_some()
    }

    /// Returns whether another call can resume this upload.
    pub(super) fn has_saved(&self, upload_id: &str) -> bool {
        self.saved.as_deref() == Some(upload_id)
    }

    pub(super) fn load(&mut self) -> Result<Loaded> {
        self.was_loaded = true;
        let Some(store) = &mut self.store else {
            return Ok(Loaded::Nothing);
        };
        let text = store.load().map_err(|source| Error::Checkpoint {
            path: self.path.clone(),
            source,
        })?;
        let Some(text) = text else {
            return Ok(Loaded::Nothing);
        };
        match Header::of(text.as_bytes()) {
            Header::Empty => return Ok(Loaded::Nothing),
            Header::Ours => {}
            header => {
                let path = self.path.clone().unwrap_or_default();
                return Err(Error::NotACheckpoint {
                    path,
                    reason: foreign_reason(header),
                });
            }
        }
        match CheckpointState::from_text(&text) {
            Some(state) => {
                self.saved = Some(state.upload_id.clone());
                Ok(Loaded::State(Box::new(state)))
            }
            None => {
                let at = self.location();
                log::warn!(
                    "the checkpoint {at} is damaged; the upload that it was of is left on the server"
                );
                Ok(Loaded::Damaged)
            }
        }
    }

    fn location(&self) -> String {
        escape_control(
            &self
                .path
                .as_deref()
                .unwrap_or(Path::new("in the store"))
                .to_string_lossy(),
        )
    }

    /// Notes that the state has changed. The next `flush` saves it.
    pub(super) fn mark_dirty(&mut self) {
        self.dirty = true;
    }

    pub(super) fn flush(&mut self, state: &CheckpointState) -> Result<()> {
        if self.dirty { self.save(state) } else { Ok(()) }
    }

    pub(super) fn save(&mut self, state: &CheckpointState) -> Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        store
            .save(&state.to_text())
            .map_err(|source| Error::Checkpoint {
                path: self.path.clone(),
                source,
            })?;
        self.saved = Some(state.upload_id.clone());
        self.dirty = false;
        Ok(())
    }

    /// Removes the checkpoint if it names this upload although saving it has failed: an error does not
    /// say that nothing was written.
    pub(super) fn remove_unconfirmed(&mut self, upload_id: &str) {
        let Some(store) = &mut self.store else { return };
        let held = store.load().ok().flatten();
        let state = held.and_then(|text| CheckpointState::from_text(&text));
        if state.is_some_and(|state| state.upload_id == upload_id) {
            self.remove();
        }
    }

    /// Removes the checkpoint after the end of the upload. A failure is only logged, because the
    /// next call detects that the upload is over.
    pub(super) fn remove(&mut self) {
        let Some(store) = &mut self.store else { return };
        if let Err(error) = store.remove() {
            log::warn!("cannot remove the checkpoint {}: {error}", self.location());
        }
        self.saved = None;
        self.dirty = false;
    }
}

/// Returns whether a file of that name is one of our checkpoints, or what a crash left of one.
pub(super) fn is_checkpoint_file(path: &Path) -> io::Result<bool> {
    let name = path.as_os_str().as_encoded_bytes();
    if !name.ends_with(b".cp") && !name.ends_with(TEMP_SUFFIX.as_bytes()) {
        return Ok(false);
    }
    let mut start = Vec::new();
    std::fs::File::open(path)?
        .take(64)
        .read_to_end(&mut start)?;
    Ok(matches!(
        Header::of(&start),
        Header::Ours | Header::Newer(_)
    ))
}

/// Makes the path absolute, because the working directory may change while the upload runs.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::Checkpoint {
        path: Some(path.to_owned()),
        source,
    })
}

/// Checks that neither the checkpoint nor its temporary file is the source, and that the name is
/// not one of a temporary file.
fn check_path(path: &Path, source: &Source<'_>) -> Result<()> {
    if [path, &temp_path(path)]
        .into_iter()
        .any(|path| source.is_same_file_as(path))
    {
        let reason = format!(
            "{} is the file to upload itself: give another path, or \"\" for one beside it",
            escape_control(&path.to_string_lossy())
        );
        return Err(Error::option("checkpoint", reason));
    }
    if path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(TEMP_SUFFIX.as_bytes())
    {
        let reason = format!(
            "{} ends with {TEMP_SUFFIX}, which is kept for temporary files; give another path",
            escape_control(&path.to_string_lossy())
        );
        return Err(Error::option("checkpoint", reason));
    }
    Ok(())
}

/// Returns `<file>.cp`, as in the documentation of the Go SDK.
fn default_path(source: &Source<'_>) -> Result<PathBuf> {
    let Some(path) = source.path() else {
        let reason = "an open file, bytes and a stream have no path to put the checkpoint beside; give a path, or use checkpoint_dir";
        return Err(Error::option("checkpoint", reason));
    };
    let mut path = path.as_os_str().to_owned();
    path.push(".cp");
    Ok(path.into())
}

/// Returns a path that is unique for the object and the file, whatever characters their names have.
fn path_in_dir(dir: &Path, source: &Source<'_>, bucket: &str, key: &str) -> Result<PathBuf> {
    if dir.as_os_str().is_empty() {
        return Err(Error::option(
            "checkpoint_dir",
            "the directory's name is empty: give one, or use checkpoint(true, \"\") for a checkpoint beside the file",
        ));
    }
    let object = Md5Digest::of(format!("oss://{bucket}/{key}"));
    let name = match source.path() {
        None => format!("{object}.cp"),
        Some(path) => format!(
            "{}-{object}.cp",
            Md5Digest::of(path.as_os_str().as_encoded_bytes())
        ),
    };
    Ok(absolute(dir)?.join(name))
}

fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| Error::Checkpoint {
        path: Some(dir.to_owned()),
        source,
    })
}

//! What is remembered of an upload, and where: a file of our own, or a store of the caller's.

mod file;
mod format;

use std::io;
use std::path::{Path, PathBuf};

use file::CheckpointFile;
pub(in crate::upload) use format::{CheckpointState, UploadIdentity};

use crate::error::escape_control;
use crate::md5_digest::Md5Digest;
use crate::upload::job::Target;
use crate::upload::plan::Plan;
use crate::upload::source::Source;
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
    /// [`Error::Checkpoint`](crate::Error::Checkpoint).
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

/// The checkpoint of one call. Nothing is written unless it differs from what was written last.
pub(in crate::upload) struct Checkpoint<'a> {
    store: Option<Box<dyn CheckpointStore + 'a>>,
    /// For errors. A store of the caller's has none.
    path: Option<PathBuf>,
    /// The ID of the upload that is saved.
    saved_id: Option<String>,
    is_dirty: bool,
}

/// What was found when the call started.
pub(in crate::upload) enum Loaded {
    Nothing,
    Damaged,
    State(Box<CheckpointState>),
}

impl<'a> Checkpoint<'a> {
    /// Opens and locks the checkpoint, before any request is made.
    pub(in crate::upload) fn open(
        location: CheckpointLocation<'a>,
        source: &Source,
        _plan: &Plan,
        target: &Target<'_>,
    ) -> Result<Checkpoint<'a>> {
        let path = match location {
            CheckpointLocation::Off => return Ok(Checkpoint::with(None, None)),
            CheckpointLocation::Store(store) => return Ok(Checkpoint::with(Some(store), None)),
            CheckpointLocation::BesideSource => beside_source(source)?,
            CheckpointLocation::File(path) => path,
            CheckpointLocation::Dir(dir) => path_in_dir(&dir, source, target)?,
        };
        for path in [&path, &file::temp_path(&path)] {
            if source.is_same_file_as(path) {
                let reason = format!(
                    "{} is the file to upload; give another path, or \"\" for one beside it",
                    escape_control(&path.to_string_lossy())
                );
                return Err(Error::option("checkpoint", reason));
            }
        }
        let file = CheckpointFile::open(&path)?;
        Ok(Checkpoint::with(Some(Box::new(file)), Some(path)))
    }

    fn with(store: Option<Box<dyn CheckpointStore + 'a>>, path: Option<PathBuf>) -> Self {
        Checkpoint {
            store,
            path,
            saved_id: None,
            is_dirty: false,
        }
    }

    pub(in crate::upload) fn is_enabled(&self) -> bool {
        self.store.is_some()
    }

    /// Returns whether the checkpoint names this upload, so that another call can resume it.
    pub(in crate::upload) fn has_saved(&self, upload_id: &str) -> bool {
        self.saved_id.as_deref() == Some(upload_id)
    }

    pub(in crate::upload) fn load(&mut self) -> Result<Loaded> {
        let Some(store) = &mut self.store else {
            return Ok(Loaded::Nothing);
        };
        let text = store.load().map_err(|error| self.error(error))?;
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Loaded::Nothing);
        };
        match CheckpointState::from_text(&text) {
            Some(state) => {
                self.saved_id = Some(state.upload_id.clone());
                Ok(Loaded::State(Box::new(state)))
            }
            None => {
                let location = self.location();
                log::warn!("the checkpoint {location} is damaged; its upload stays on the server");
                Ok(Loaded::Damaged)
            }
        }
    }

    /// The state has changed; it is written at the next [`flush`](Checkpoint::flush).
    pub(in crate::upload) fn mark_dirty(&mut self) {
        self.is_dirty = true;
    }

    pub(in crate::upload) fn flush(&mut self, state: &CheckpointState) -> Result<()> {
        if self.is_dirty {
            self.save(state)
        } else {
            Ok(())
        }
    }

    pub(in crate::upload) fn save(&mut self, state: &CheckpointState) -> Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        store
            .save(&state.to_text())
            .map_err(|error| self.error(error))?;
        self.saved_id = Some(state.upload_id.clone());
        self.is_dirty = false;
        Ok(())
    }

    /// Removes the checkpoint. One that stays does no harm: the next call finds out.
    pub(in crate::upload) fn remove(&mut self) {
        let Some(store) = &mut self.store else {
            return;
        };
        if let Err(error) = store.remove() {
            log::warn!("cannot remove the checkpoint {}: {error}", self.location());
        }
        self.saved_id = None;
        self.is_dirty = false;
    }

    fn location(&self) -> String {
        let path = self.path.as_deref().unwrap_or(Path::new("in the store"));
        escape_control(&path.to_string_lossy())
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Checkpoint {
            path: self.path.clone(),
            source,
        }
    }
}

fn beside_source(source: &Source) -> Result<PathBuf> {
    let Some(path) = source.path() else {
        let reason = "an open file has no path to put the checkpoint beside; \
                      give a path, or use checkpoint_dir";
        return Err(Error::option("checkpoint", reason));
    };
    let mut path = path.to_owned().into_os_string();
    path.push(".cp");
    Ok(path.into())
}

/// Returns a name of its own for each object and file, whatever characters they have.
fn path_in_dir(dir: &Path, source: &Source, target: &Target<'_>) -> Result<PathBuf> {
    if dir.as_os_str().is_empty() {
        let reason = "the directory must not be empty; give one, \
                      or use checkpoint(true, \"\") for a checkpoint beside the file";
        return Err(Error::option("checkpoint_dir", reason));
    }
    std::fs::create_dir_all(dir).map_err(|source| Error::Checkpoint {
        path: Some(dir.to_owned()),
        source,
    })?;
    let object = Md5Digest::of(format!("oss://{}/{}", target.bucket, target.key));
    let name = match source.path() {
        None => format!("{object}.cp"),
        Some(path) => {
            let source = Md5Digest::of(path.as_os_str().as_encoded_bytes());
            format!("{source}-{object}.cp")
        }
    };
    Ok(dir.join(name))
}

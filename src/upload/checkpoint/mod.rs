//! Where the record of a call is kept, if it is.

use std::path::{Path, PathBuf};

use super::checkpoint::Record;
use super::checkpoint_file::{CheckpointFile, temporary};
use super::options::{CheckpointChoice, CheckpointStore};
use super::source::Source;
use crate::error::printable;
use crate::md5sum::Md5Sum;
use crate::{Error, Result};

/// The record's place. Nothing is written unless it differs from what was written last.
pub(super) struct Keeper<'a> {
    store: Option<Box<dyn CheckpointStore + 'a>>,
    /// For errors; a store of the caller's has none.
    path: Option<PathBuf>,
    /// The upload id that is on record.
    recorded: Option<String>,
    dirty: bool,
}

/// What was found at the beginning.
pub(super) enum Found {
    Nothing,
    Damaged,
    Record(Box<Record>),
}

impl<'a> Keeper<'a> {
    /// Opens and locks the record, before any request is made.
    pub(super) fn open(
        choice: CheckpointChoice<'a>,
        source: &Source,
        bucket: &str,
        key: &str,
    ) -> Result<Keeper<'a>> {
        let path = match choice {
            CheckpointChoice::Off => {
                return Ok(Keeper { store: None, path: None, recorded: None, dirty: false });
            }
            CheckpointChoice::Store(store) => {
                return Ok(Keeper { store: Some(store), path: None, recorded: None, dirty: false });
            }
            CheckpointChoice::File(path) if path.as_os_str().is_empty() => beside(source)?,
            CheckpointChoice::File(path) => path,
            CheckpointChoice::Dir(dir) => within(&dir, source, bucket, key)?,
        };
        for path in [&path, &temporary(&path)] {
            if source.is_at(path) {
                let reason = format!(
                    "{} is the file to upload itself: give another path, or \"\" for one beside it",
                    printable(&path.to_string_lossy())
                );
                return Err(Error::option("checkpoint", reason));
            }
        }
        let file = CheckpointFile::open(&path)?;
        Ok(Keeper { store: Some(Box::new(file)), path: Some(path), recorded: None, dirty: false })
    }

    pub(super) fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// Is this upload on record, so that another call can carry it on?
    pub(super) fn holds(&self, upload_id: &str) -> bool {
        self.recorded.as_deref() == Some(upload_id)
    }

    pub(super) fn load(&mut self) -> Result<Found> {
        let Some(store) = &mut self.store else { return Ok(Found::Nothing) };
        let text = store.load().map_err(|source| Error::Checkpoint { path: self.path.clone(), source })?;
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Found::Nothing) };
        match Record::parse(&text) {
            Some(record) => {
                self.recorded = Some(record.upload_id.clone());
                Ok(Found::Record(Box::new(record)))
            }
            None => {
                let at = self.place();
                log::warn!("the checkpoint {at} is damaged: the upload that it was of is left on the server");
                Ok(Found::Damaged)
            }
        }
    }

    fn place(&self) -> String {
        printable(&self.path.as_deref().unwrap_or(Path::new("in the store")).to_string_lossy())
    }

    /// The record has grown; it is written when its time has come.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    pub(super) fn save_if_touched(&mut self, record: &Record) -> Result<()> {
        if self.dirty { self.save(record) } else { Ok(()) }
    }

    pub(super) fn save(&mut self, record: &Record) -> Result<()> {
        let Some(store) = &mut self.store else { return Ok(()) };
        store.save(&record.text()).map_err(|source| Error::Checkpoint { path: self.path.clone(), source })?;
        self.recorded = Some(record.upload_id.clone());
        self.dirty = false;
        Ok(())
    }

    /// The upload is over. A record that stays does no harm: the next call finds out.
    pub(super) fn remove(&mut self) {
        let Some(store) = &mut self.store else { return };
        if let Err(error) = store.remove() {
            log::warn!("the checkpoint {} can't be removed: {error}", self.place());
        }
        self.recorded = None;
        self.dirty = false;
    }
}

/// `<file>.cp`, as in the Go SDK's documentation.
fn beside(source: &Source) -> Result<PathBuf> {
    if source.path.as_os_str().is_empty() {
        let reason =
            "an open file has no path to put the checkpoint beside: give a path, or use checkpoint_dir";
        return Err(Error::option("checkpoint", reason));
    }
    let mut path = source.path.clone().into_os_string();
    path.push(".cp");
    Ok(path.into())
}

/// A name of its own for each object and file, whatever characters they have.
fn within(dir: &Path, source: &Source, bucket: &str, key: &str) -> Result<PathBuf> {
    if dir.as_os_str().is_empty() {
        return Err(Error::option(
            "checkpoint_dir",
            "the directory's name is empty: give one, or use checkpoint(true, \"\") for a record beside the file",
        ));
    }
    std::fs::create_dir_all(dir)
        .map_err(|source| Error::Checkpoint { path: Some(dir.to_owned()), source })?;
    let object = Md5Sum::of(format!("oss://{bucket}/{key}"));
    let name = match source.path.as_os_str().as_encoded_bytes() {
        [] => format!("{object}.cp"),
        path => format!("{}-{object}.cp", Md5Sum::of(path)),
    };
    Ok(dir.join(name))
}

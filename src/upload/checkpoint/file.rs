//! The checkpoint on disk. It is locked for one call and replaced as a whole, and no foreign file
//! is modified.
//!
//! A lock belongs to a file and not to its name: after a rename, a lock on the old file says
//! nothing about the new one. So each save locks the new file *before* that gets the name, and
//! keeps this lock. A call that gets a lock checks that the name still belongs to the locked file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::CheckpointStore;
use super::format::is_blank;
use crate::md5_digest::{Md5, Md5Digest};
use crate::upload::platform::{
    has_no_locks, is_held_open, is_out_of_descriptors, is_same_file, is_sync_unsupported,
    never_block,
};

/// The largest file that is read as a checkpoint, in bytes. A checkpoint of 10,000 parts is
/// smaller.
pub(super) const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The bytes that are read at a time to check that the file is unchanged.
const BUFFER_BYTES: usize = 8 * 1024;
/// How often a file that is replaced again and again is tried before it counts as in use.
pub(super) const TRIES_MAX: usize = 100;
/// The end of the name of the temporary file, which replaces the checkpoint. No checkpoint may have
/// such a name.
pub(super) const TEMP_SUFFIX: &str = ".oss-upload-tmp";
/// The longest name that most file systems allow, in bytes.
const NAME_BYTES_MAX: usize = 255;

pub(in crate::upload) struct CheckpointFile {
    pub(super) path: PathBuf,
    /// The file at the path. Its lock is held as long as this is open.
    pub(super) locked: File,
    /// The digest of the content that this call last read or wrote. Any other content was written
    /// by another program.
    pub(super) content: Md5Digest,
    /// The file has no upload, so it is removed when the call ends.
    pub(super) is_empty: bool,
    /// The file was empty when it was found. Its owner is unknown, so an empty file is left in its
    /// place.
    pub(super) was_empty: bool,
    /// Held open to be synced after each save.
    directory: Option<File>,
    /// A descriptor for the next save, so that connections cannot use up the last one.
    spare: Option<File>,
}

impl CheckpointFile {
    pub(super) fn new(path: &Path, locked: File, content: &[u8]) -> CheckpointFile {
        // Where directories cannot be opened (Windows), they are not synced either.
        let mut options = OpenOptions::new();
        options.read(true);
        never_block(&mut options);
        let directory = options.open(directory_and_name(path).0).ok();
        let spare = directory
            .as_ref()
            .and_then(|directory| directory.try_clone().ok());
        CheckpointFile {
            path: path.to_owned(),
            locked,
            content: Md5Digest::of(content),
            is_empty: false,
            was_empty: false,
            directory,
            spare,
        }
    }

    pub(super) fn read_content(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&self.locked).rewind()?;
        (&self.locked)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a new file, and replaces the locked one by it.
    pub(super) fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let replaced = self.try_replace(content);
        self.spare = self
            .directory
            .as_ref()
            .and_then(|directory| directory.try_clone().ok());
        replaced
    }

    fn try_replace(&mut self, content: &[u8]) -> io::Result<()> {
        if is_same_file_at(&self.locked, &self.path)? {
            self.ensure_untouched()?;
        } else if std::fs::symlink_metadata(&self.path).is_ok() {
            let reason = "something else was put in its place while the upload ran";
            return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
        }
        let temp = temp_path(&self.path);
        let file = self.create_next(&temp)?;
        let moved =
            write_and_lock(&file, content).and_then(|()| self.rename_into_place(file, &temp));
        if moved.is_err() {
            let _ = std::fs::remove_file(&temp);
        }
        moved?;
        (self.content, self.is_empty) = (Md5Digest::of(content), is_blank(content));
        self.sync_directory()
    }

    /// Creates the temporary file with the spare descriptor. Another thread may take the descriptor
    /// first, but frees it again, because a connection needs more than one.
    fn create_next(&mut self, temp: &Path) -> io::Result<File> {
        self.spare = None;
        let mut created = create_private(temp);
        for _ in 0..TRIES_MAX {
            if !created.as_ref().is_err_and(is_out_of_descriptors) {
                break;
            }
            std::thread::yield_now();
            created = create_private(temp);
        }
        created.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => io::Error::new(
                ErrorKind::AlreadyExists,
                format!("{} is in the way", temp.display()),
            ),
            _ => error,
        })
    }

    /// The new file's lock is held before the old one is released.
    fn rename_into_place(&mut self, file: File, temp: &Path) -> io::Result<()> {
        let mut moved = std::fs::rename(temp, &self.path);
        if moved.as_ref().is_err_and(|error| !is_held_open(error)) {
            return moved;
        }
        self.locked = file;
        // Windows, FAT and SMB shares replace no file that is open. Now the old file is closed. A
        // call that opens it will find that the name belongs to another file, which is locked.
        for _ in 0..TRIES_MAX {
            if !moved.as_ref().is_err_and(is_held_open) {
                break;
            }
            std::thread::yield_now();
            moved = std::fs::rename(temp, &self.path);
        }
        moved
    }

    /// Makes the new name survive a power loss.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        ignore_unsupported(self.directory.as_ref().map_or(Ok(()), File::sync_all))
    }

    /// Returns an error if another program has written into the file. Locks do not prevent that.
    fn ensure_untouched(&self) -> io::Result<()> {
        let (mut content, mut buffer) = (Md5::new(), [0; BUFFER_BYTES]);
        (&self.locked).rewind()?;
        loop {
            match (&self.locked).read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => content.update(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if content.finish() == self.content {
            return Ok(());
        }
        let reason = "something else wrote into it while the upload ran; it was left as it is";
        Err(io::Error::new(ErrorKind::AlreadyExists, reason))
    }
}

impl CheckpointStore for CheckpointFile {
    fn load(&mut self) -> io::Result<Option<String>> {
        let content = self.read_content()?;
        // Bytes that are not UTF-8 are a damaged text.
        Ok((!is_blank(&content)).then(|| String::from_utf8_lossy(&content).into_owned()))
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.replace(text.as_bytes())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.is_empty = false;
        if !is_same_file_at(&self.locked, &self.path)? {
            return Ok(());
        }
        self.ensure_untouched()?;
        if self.was_empty {
            self.content = Md5Digest::of("");
            return self.locked.set_len(0);
        }
        std::fs::remove_file(&self.path)
    }
}

impl Drop for CheckpointFile {
    fn drop(&mut self) {
        if self.is_empty && self.remove().is_err() {
            log::warn!("cannot remove the empty checkpoint {}", self.path.display());
        }
        // Closing is not enough: a process that is just being started may hold a copy of the
        // descriptor.
        let _ = self.locked.unlock();
    }
}

pub(super) fn write_and_lock(mut file: &File, content: &[u8]) -> io::Result<()> {
    match file.try_lock() {
        Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
        result => result.map_err(io::Error::from)?,
    }
    file.write_all(content)?;
    ignore_unsupported(file.sync_all())
}

fn ignore_unsupported(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if !is_sync_unsupported(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Creates a file that only its owner may read. Returns an error if the name exists.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the path of the temporary file, which replaces the checkpoint.
/// Returns the name under which a missing checkpoint is created. It differs from the temporary name
/// of saves, because whoever creates the file does not hold its lock yet.
pub(super) fn new_path(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    temp_path(Path::new(&new))
}

pub(super) fn temp_path(path: &Path) -> PathBuf {
    let (directory, name) = directory_and_name(path);
    let mut temp = OsString::from(name);
    if name.len() + TEMP_SUFFIX.len() > NAME_BYTES_MAX {
        temp = Md5Digest::of(name.as_encoded_bytes()).to_string().into();
    }
    temp.push(TEMP_SUFFIX);
    directory.join(temp)
}

/// Returns whether the path leads to exactly this file, and not by a link.
pub(super) fn is_same_file_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(there.is_file() && is_same_file(&file.metadata()?, &there)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn directory_and_name(path: &Path) -> (&Path, &std::ffi::OsStr) {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    (directory, path.file_name().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::format::FIRST_LINE;
    use super::super::open::{create_in_place, rename_without_replacing};
    use super::*;
    use crate::Error;

    #[test]
    fn checkpoint_file_that_is_new_has_its_first_line_and_goes_with_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let mut file = CheckpointFile::open(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), FIRST_LINE);
        assert_eq!(file.load().unwrap(), None);
        assert!(matches!(
            CheckpointFile::open(&path),
            Err(Error::CheckpointInUse { .. })
        ));
        assert!(matches!(
            CheckpointFile::open_existing(&path),
            Err(Error::CheckpointInUse { .. })
        ));
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn checkpoint_file_is_locked_after_each_save() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let mut file = CheckpointFile::open(&path).unwrap();
        for text in [
            "oss-upload checkpoint 2\na\n",
            "oss-upload checkpoint 2\nab\n",
        ] {
            file.save(text).unwrap();
            assert_eq!(file.load().unwrap().as_deref(), Some(text));
            assert!(matches!(
                CheckpointFile::open(&path),
                Err(Error::CheckpointInUse { .. })
            ));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        drop(file);
        let mut again = CheckpointFile::open_existing(&path).unwrap().unwrap();
        assert_eq!(
            again.load().unwrap().as_deref(),
            Some("oss-upload checkpoint 2\nab\n")
        );
        again.remove().unwrap();
        drop(again);
        assert!(CheckpointFile::open_existing(&path).unwrap().is_none());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            0,
            "looking for one created something"
        );
    }

    #[test]
    fn checkpoint_file_that_is_opened_only_if_it_exists_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        for content in ["", "oss-upload checkpoint 1\nx\n"] {
            fs::write(&path, content).unwrap();
            let before = fs::metadata(&path).unwrap().modified().unwrap();
            drop(CheckpointFile::open_existing(&path).unwrap().unwrap());
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        }
    }

    #[test]
    fn checkpoint_file_is_created_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "ours").unwrap();
        fs::write(&to, "theirs").unwrap();
        let refused = rename_without_replacing(&from, &to).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert!(create_in_place(&to).unwrap().is_none());
        assert_eq!(fs::read_to_string(&to).unwrap(), "theirs");
        assert!(!from.exists());
        // Where neither links nor such renames exist.
        let mut file = create_in_place(&from).unwrap().unwrap();
        file.rewind().unwrap();
        assert_eq!(io::read_to_string(&file).unwrap(), FIRST_LINE);
        assert!(matches!(
            CheckpointFile::open(&from),
            Err(Error::CheckpointInUse { .. })
        ));
    }

    #[test]
    fn checkpoint_file_orphan_goes_unless_somebody_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let temp = temp_path(&path);
        fs::write(&temp, "oss-upload checkpoint 2\nhalf").unwrap();
        let used = File::open(&temp).unwrap();
        used.try_lock().unwrap();
        assert!(matches!(
            CheckpointFile::open(&path),
            Err(Error::CheckpointInUse { .. })
        ));
        assert!(temp.exists() && !path.exists());
        drop(used);
        drop(CheckpointFile::open(&path).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn checkpoint_file_is_let_go_only_when_it_is_held_open() {
        #[cfg(target_os = "linux")]
        for (code, held) in [
            (13, true),
            (16, true),
            (26, true),
            (1, false),
            (2, false),
            (5, false),
            (30, false),
        ] {
            assert_eq!(
                is_held_open(&io::Error::from_raw_os_error(code)),
                held,
                "{code}"
            );
        }
        assert!(!is_held_open(&ErrorKind::PermissionDenied.into()));
    }

    #[test]
    fn checkpoint_temporary_name_always_fits() {
        let mut names = std::collections::BTreeSet::new();
        for bytes in 1..=255 {
            for letter in ["a", "b"] {
                let temp = temp_path(&Path::new("dir").join(letter.repeat(bytes)));
                assert_eq!(temp.parent(), Some(Path::new("dir")));
                let name = temp.file_name().unwrap().to_owned();
                assert!(
                    name.len() <= NAME_BYTES_MAX && name.to_string_lossy().ends_with(TEMP_SUFFIX)
                );
                assert!(names.insert(name), "two checkpoints share a temporary name");
            }
        }
    }
}

//! The checkpoint on disk: locked for one call, replaced as a whole, and nobody else's file touched.
//!
//! A lock on a file that is renamed over says nothing about the file that has the name afterwards. So each save locks
//! its new file *before* that takes the name, and keeps that lock; and whoever gets a lock looks whether the name still
//! belongs to what was locked.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::format::{FIRST_LINE, Header, is_blank};
use crate::md5sum::Md5Sum;
use crate::upload::options::CheckpointStore;
use crate::upload::platform::{
    has_no_locks, is_held_open, is_link_unsupported, is_out_of_descriptors, is_same_file,
    is_sync_unsupported, kind_of, never_block,
};
use crate::{Error, Result};

/// More than the checkpoint of 10,000 parts ever has: bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How often a file that is replaced again and again is tried before it counts as in use.
const TRIES_MAX: usize = 100;
/// Of the file that takes the checkpoint's place next. No checkpoint may have such a name.
pub(super) const TEMP_SUFFIX: &str = ".oss-upload-tmp";
/// What most file systems allow a name to have: bytes.
const NAME_BYTES_MAX: usize = 255;

pub(in crate::upload) struct CheckpointFile {
    path: PathBuf,
    /// What the path names. Its lock is held as long as this is open.
    locked: File,
    /// Of what this call last read or wrote there. Anything else was written by somebody else.
    content: Md5Sum,
    /// It holds no upload: it is removed when the call ends.
    is_empty: bool,
    /// An empty file stood there before. Nobody knows whose it was, so an empty file is left there.
    was_empty: bool,
    /// Held open to be synced after each save.
    directory: Option<File>,
    /// A descriptor for the next save, so that connections cannot use up the last one.
    spare: Option<File>,
}

/// What became of one attempt to get hold of the file.
enum Attempt {
    Opened(CheckpointFile),
    Absent,
    /// The file came or went meanwhile; try again.
    Raced(Option<io::Error>),
}

impl CheckpointFile {
    /// Opens and locks the file, which is created if it is missing.
    ///
    /// It is then replaced by a file of the same content, in the way that a save replaces it: a directory that allows
    /// no saves is noticed before there is an upload.
    pub(in crate::upload) fn open(path: &Path) -> Result<CheckpointFile> {
        let mut last_error = None;
        for _ in 0..TRIES_MAX {
            let attempt = match lock_existing(path)? {
                Attempt::Opened(file) => file.rehearse()?,
                Attempt::Absent => create(path)?,
                raced @ Attempt::Raced(_) => raced,
            };
            match attempt {
                Attempt::Opened(file) => return Ok(file),
                Attempt::Absent => {}
                Attempt::Raced(error) => last_error = error.or(last_error),
            }
        }
        // Others come and go without end; or no file can be created here.
        Err(last_error.map_or(
            Error::CheckpointInUse {
                path: path.to_owned(),
            },
            |error| failed(path, error),
        ))
    }

    /// Opens and locks the file if there is one. Nothing is written.
    pub(in crate::upload) fn open_existing(path: &Path) -> Result<Option<CheckpointFile>> {
        for _ in 0..TRIES_MAX {
            match lock_existing(path)? {
                Attempt::Opened(file) => return Ok(Some(file)),
                Attempt::Absent => return Ok(None),
                Attempt::Raced(_) => {}
            }
        }
        Err(Error::CheckpointInUse {
            path: path.to_owned(),
        })
    }

    fn new(path: &Path, locked: File, content: &[u8]) -> CheckpointFile {
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
            content: Md5Sum::of(content),
            is_empty: false,
            was_empty: false,
            directory,
            spare,
        }
    }

    fn rehearse(mut self) -> Result<Attempt> {
        remove_orphan(&self.path)?;
        let io_failed = |error| failed(&self.path, error);
        let before = self.locked.metadata().map_err(io_failed)?;
        let content = self.read_content().map_err(io_failed)?;
        let content = if content.is_empty() {
            FIRST_LINE.as_bytes()
        } else {
            &content
        };
        self.is_empty = is_blank(content);
        let Err(error) = self.replace(content) else {
            return Ok(Attempt::Opened(self));
        };
        let stays =
            std::fs::symlink_metadata(&self.path).is_ok_and(|there| is_same_file(&before, &there));
        if stays {
            Err(failed(&self.path, error))
        } else {
            Ok(Attempt::Raced(Some(error)))
        }
    }

    fn read_content(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&self.locked).rewind()?;
        (&self.locked)
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a new file and lets it take the place of the one that is locked.
    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
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
        self.content = Md5Sum::of(content);
        self.sync_directory()
    }

    /// Takes the spare descriptor. Another thread may be faster, but has to give it back when it finds that one is not
    /// enough for a connection.
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
        // Windows, FAT and SMB shares replace no file that is open. Now it is closed, and whoever opens it will find
        // that the name has gone to another file, which is locked.
        for _ in 0..TRIES_MAX {
            if !moved.as_ref().is_err_and(is_held_open) {
                break;
            }
            std::thread::yield_now();
            moved = std::fs::rename(temp, &self.path);
        }
        moved
    }

    /// Makes the new name survive a power cut.
    fn sync_directory(&self) -> io::Result<()> {
        ignore_unsupported(self.directory.as_ref().map_or(Ok(()), File::sync_all))
    }

    /// Somebody else may have written into the file, whatever locks say.
    fn ensure_untouched(&self) -> io::Result<()> {
        if Md5Sum::of(self.read_content()?) == self.content {
            return Ok(());
        }
        let reason = "something else wrote into it while the upload ran; it was left as it is";
        Err(io::Error::new(ErrorKind::AlreadyExists, reason))
    }
}

impl CheckpointStore for CheckpointFile {
    fn load(&mut self) -> io::Result<Option<String>> {
        let content = self.read_content()?;
        // Bytes that are no text are damaged text.
        Ok((!is_blank(&content)).then(|| String::from_utf8_lossy(&content).into_owned()))
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.replace(text.as_bytes())?;
        self.is_empty = false;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.is_empty = false;
        if !is_same_file_at(&self.locked, &self.path)? {
            return Ok(());
        }
        self.ensure_untouched()?;
        if self.was_empty {
            self.content = Md5Sum::of("");
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
        // Closing is not enough: a process that is just being started may hold a copy of the descriptor.
        let _ = self.locked.unlock();
    }
}

fn lock_existing(path: &Path) -> Result<Attempt> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => return Err(not_a_file(path, &metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Attempt::Absent),
        Err(error) => return Err(failed(path, error)),
    }
    let file = match open_existing_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Attempt::Raced(Some(error)));
        }
        Err(error) => return Err(failed(path, error)),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(Error::CheckpointInUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) if !has_no_locks(&error) => {
            return Err(failed(path, error));
        }
        // A file system without locks. The documentation says what is lost.
        _ => {}
    }
    if !is_same_file_at(&file, path).map_err(|error| failed(path, error))?
        || looks_replaced(&file, path)
    {
        return Ok(Attempt::Raced(None));
    }
    let mut opened = CheckpointFile::new(path, file, b"");
    let content = opened.read_content().map_err(|error| failed(path, error))?;
    opened.content = Md5Sum::of(&content);
    match Header::of(&content) {
        Header::Ours if content.len() as u64 > FILE_BYTES_MAX => Err(not_a_checkpoint(
            path,
            "is larger than any checkpoint; choose another path, or delete it".into(),
        )),
        Header::Ours => {
            opened.is_empty = is_blank(&content);
            Ok(Attempt::Opened(opened))
        }
        Header::Empty => {
            opened.was_empty = true;
            Ok(Attempt::Opened(opened))
        }
        header => Err(not_a_checkpoint(path, foreign_reason(header))),
    }
}

/// Creates the file with its first line in it, already locked, under a name that nothing else has.
fn create(path: &Path) -> Result<Attempt> {
    remove_orphan(path)?;
    let temp = temp_path(path);
    let file = match create_private(&temp) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Attempt::Raced(None)),
        Err(error) => return Err(failed(path, error)),
    };
    match write_and_lock(&file, FIRST_LINE.as_bytes()) {
        Ok(()) => {}
        // Another call has just taken it for an orphan, and removes it.
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Attempt::Raced(None)),
        Err(error) => {
            let _ = std::fs::remove_file(&temp);
            return Err(failed(path, error));
        }
    }
    let file = match rename_without_replacing(&temp, path) {
        Ok(()) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Attempt::Raced(None)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Attempt::Raced(Some(error)));
        }
        Err(error) if is_link_unsupported(&error) => match create_in_place(path)? {
            Some(file) => file,
            None => return Ok(Attempt::Raced(None)),
        },
        Err(error) => return Err(failed(path, error)),
    };
    let mut created = CheckpointFile::new(path, file, FIRST_LINE.as_bytes());
    created.is_empty = true;
    if !is_same_file_at(&created.locked, path).map_err(|error| failed(path, error))? {
        return Ok(Attempt::Raced(None));
    }
    created
        .sync_directory()
        .map_err(|error| failed(path, error))?;
    Ok(Attempt::Opened(created))
}

/// Removes `from` if that fails.
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    // Its replacement came with later releases than the oldest that is allowed here.
    #[allow(deprecated)]
    let from = tempfile::TempPath::from_path(from);
    from.persist_noclobber(to).map_err(|refused| refused.error)
}

/// For file systems that can neither link nor rename without replacing. A crash in the middle leaves an empty file.
fn create_in_place(path: &Path) -> Result<Option<File>> {
    let file = match create_private(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    match write_and_lock(&file, FIRST_LINE.as_bytes()) {
        Ok(()) => Ok(Some(file)),
        Err(error) => {
            let _ = std::fs::remove_file(path);
            Err(failed(path, error))
        }
    }
}

/// Removes what a crash left between writing and renaming.
fn remove_orphan(path: &Path) -> Result<()> {
    let temp = temp_path(path);
    match std::fs::symlink_metadata(&temp) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(metadata) => return Err(in_the_way(&temp, &metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&temp, error)),
    }
    let orphan = match open_existing_file(&temp) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&temp, error)),
    };
    match orphan.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(Error::CheckpointInUse {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) if !has_no_locks(&error) => {
            return Err(failed(&temp, error));
        }
        _ => {}
    }
    if !is_same_file_at(&orphan, &temp).map_err(|error| failed(&temp, error))? {
        return Ok(());
    }
    match read_header(&orphan).map_err(|error| failed(&temp, error))? {
        Header::Empty | Header::Ours => {
            std::fs::remove_file(&temp).map_err(|error| failed(&temp, error))
        }
        header => Err(not_a_checkpoint(&temp, foreign_reason(header))),
    }
}

fn read_header(file: &File) -> io::Result<Header> {
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start)?;
    Ok(Header::of(&start))
}

fn write_and_lock(mut file: &File, content: &[u8]) -> io::Result<()> {
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

/// Opens without waiting for the other end, should a pipe have taken the file's place.
fn open_existing_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    never_block(&mut options);
    options.open(path)
}

/// Creates a file that nobody else may read. Whatever has that name already is left alone.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Where the next checkpoint is written before it takes the place of the last one.
pub(super) fn temp_path(path: &Path) -> PathBuf {
    let (directory, name) = directory_and_name(path);
    let mut temp = OsString::from(name);
    if name.len() + TEMP_SUFFIX.len() > NAME_BYTES_MAX {
        temp = Md5Sum::of(name.as_encoded_bytes()).to_string().into();
    }
    temp.push(TEMP_SUFFIX);
    directory.join(temp)
}

/// Returns whether the path names this very file. A link in its place does not.
fn is_same_file_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(there.is_file() && is_same_file(&file.metadata()?, &there)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where files have no inodes, a file that took the place of the one just opened shows by its size or time.
fn looks_replaced(file: &File, path: &Path) -> bool {
    let stat = |metadata: io::Result<Metadata>| {
        metadata.and_then(|it| Ok((it.len(), it.modified()?))).ok()
    };
    cfg!(not(unix)) && stat(file.metadata()) != stat(std::fs::symlink_metadata(path))
}

fn directory_and_name(path: &Path) -> (&Path, &std::ffi::OsStr) {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    (directory, path.file_name().unwrap_or_default())
}

/// Why a text that does not begin like our checkpoints was left alone, and what to do about it.
pub(super) fn foreign_reason(header: Header) -> String {
    match header {
        Header::Newer(version) => format!(
            "is a checkpoint of version {version}, which a newer release of this program wrote; resume with that \
             release, or choose another path"
        ),
        _ => "is not an oss-upload checkpoint; choose another path, or delete the file".into(),
    }
}

fn not_a_file(path: &Path, metadata: &Metadata) -> Error {
    let what_to_do = match metadata.is_dir() {
        true => "to keep checkpoints in it, use checkpoint_dir(true, dir)",
        false => "give the path of a regular file, or of one that does not exist yet",
    };
    not_a_checkpoint(path, format!("is {}; {what_to_do}", kind_of(metadata)))
}

fn in_the_way(temp: &Path, metadata: &Metadata) -> Error {
    let reason =
        "but a temporary file needs its name; remove it, or choose another checkpoint path";
    not_a_checkpoint(temp, format!("is {}, {reason}", kind_of(metadata)))
}

fn not_a_checkpoint(path: &Path, reason: String) -> Error {
    Error::NotACheckpoint {
        path: path.to_owned(),
        reason,
    }
}

fn failed(path: &Path, error: io::Error) -> Error {
    Error::Checkpoint {
        path: Some(path.to_owned()),
        source: error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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

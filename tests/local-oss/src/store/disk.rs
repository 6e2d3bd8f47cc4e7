//! The store in a directory.
//!
//! ```text
//! <dir>/<bucket>/<key>             finished objects
//! <dir>/.meta/<bucket>/<md5>       the metadata of each object
//! <dir>/.uploads/<id>/upload       the metadata of an unfinished upload
//! <dir>/.uploads/<id>/part-...     its parts; their metadata is in the name
//! <dir>/.uploads/<id>/commit       the metadata of an object that is being moved to its path
//! ```
//!
//! Every file is written under a temporary name and then renamed, so that a process that is killed
//! leaves no partial file. An unfinished commit is finished at the next start.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::metadata_file::MetadataFile;
use super::paths::{flat_path, relative_path};
use super::types::{Content, StoredObject, StoredPart, StoredUpload};
use crate::text::{hex_lower, unique_hex};

/// The directory of a store.
pub(crate) struct Disk {
    root: PathBuf,
    /// Keeps a second server out of the directory. The lock ends with the process.
    _lock: File,
}

/// The content of a directory.
#[derive(Default)]
pub(crate) struct LoadedState {
    pub(crate) buckets: Vec<String>,
    pub(crate) objects: Vec<(String, String, StoredObject)>,
    pub(crate) uploads: Vec<StoredUpload>,
}

impl Disk {
    /// Opens a directory, finishes unfinished commits and reads its content.
    pub(crate) fn open(root: &Path) -> io::Result<(Disk, LoadedState)> {
        fs::create_dir_all(root.join(".uploads"))?;
        fs::create_dir_all(root.join(".meta"))?;
        let disk = Disk {
            root: fs::canonicalize(root)?,
            _lock: lock(root)?,
        };
        let mut found = LoadedState::default();
        for entry in fs::read_dir(disk.root.join(".uploads"))? {
            if let Some(upload) = disk.recover(&entry?.path())? {
                found.uploads.push(upload);
            }
        }
        found
            .uploads
            .sort_by(|left, right| (left.initiated, &left.id).cmp(&(right.initiated, &right.id)));
        for bucket in fs::read_dir(disk.root.join(".meta"))? {
            let bucket = bucket?;
            found
                .buckets
                .push(bucket.file_name().to_string_lossy().into_owned());
            for entry in fs::read_dir(bucket.path())? {
                let metadata = fs::read_to_string(entry?.path())
                    .ok()
                    .and_then(|text| MetadataFile::parse(&text));
                let object = metadata.and_then(|metadata| metadata.to_object(&disk.root));
                found
                    .objects
                    .extend(object.filter(|(_, _, object)| exists(object)));
            }
        }
        Ok((disk, found))
    }

    pub(crate) fn create_bucket(&self, bucket: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(bucket))?;
        fs::create_dir_all(self.root.join(".meta").join(bucket))
    }

    /// Returns the directory of an upload, or the staging directory of an object.
    fn staging(&self, id: &str) -> PathBuf {
        self.root.join(".uploads").join(id)
    }

    pub(crate) fn create_upload(&self, upload: &StoredUpload) -> io::Result<()> {
        let staging = self.staging(&upload.id);
        fs::create_dir(&staging)?;
        write_atomically(
            &staging.join("upload"),
            MetadataFile::of_upload(upload).to_text().as_bytes(),
        )
    }

    /// Creates the staging directory of an object that is stored by PutObject.
    pub(crate) fn create_staging(&self, id: &str) -> io::Result<()> {
        fs::create_dir(self.staging(id))
    }

    /// Creates a file for a body in the directory of an upload, or in a staging directory.
    pub(crate) fn create_temporary(&self, id: &str) -> io::Result<(PathBuf, File)> {
        let path = self.staging(id).join(format!("tmp-{}", unique_hex(24)));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok((path, file))
    }

    /// Renames a part to its final name.
    pub(crate) fn rename_part(
        &self,
        id: &str,
        number: u32,
        temporary: &Path,
        part: &StoredPart,
    ) -> io::Result<PathBuf> {
        let etag = part.etag.trim_matches('"');
        // The unique number begins with the time, so the latest version of a part is last by name.
        let name = format!("part-{number:05}-{}-{etag}-{}", unique_hex(32), part.crc64);
        let path = self.staging(id).join(name);
        fs::rename(temporary, &path)?;
        Ok(path)
    }

    /// Moves an object from its temporary file to its path. After a crash the next start finishes
    /// this.
    pub(crate) fn commit(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        object: &mut StoredObject,
    ) -> io::Result<()> {
        self.create_bucket(bucket)?;
        let file = self.choose_path(bucket, key)?;
        let Content::File(temporary) = &object.content else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let staging = self.staging(id);
        fs::rename(temporary, staging.join("object"))?;
        let metadata = MetadataFile::of_object(bucket, key, object, &file);
        write_atomically(&staging.join("commit"), metadata.to_text().as_bytes())?;
        self.finish_commit(&staging, &metadata)?;
        object.content = Content::File(self.root.join(file));
        Ok(())
    }

    fn finish_commit(&self, staging: &Path, metadata: &MetadataFile) -> io::Result<()> {
        let field = |name: &str| {
            metadata
                .get(name)
                .map(str::to_owned)
                .ok_or(ErrorKind::InvalidData)
        };
        let (bucket, key, file) = (field("bucket")?, field("key")?, field("file")?);
        self.create_bucket(&bucket)?;
        let path = self.root.join(file);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::rename(staging.join("object"), &path) {
            Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => {}
            done => done?,
        }
        write_atomically(&self.meta(&bucket, &key), metadata.to_text().as_bytes())?;
        remove_staging(staging)
    }

    /// Chooses the path of an object: that of its key, unless it is taken by another object.
    fn choose_path(&self, bucket: &str, key: &str) -> io::Result<String> {
        let plain = format!("{bucket}/{}", relative_path(key));
        let path = self.root.join(&plain);
        let parent_fits = path
            .parent()
            .is_some_and(|parent| fs::create_dir_all(parent).is_ok());
        if parent_fits && !path.is_dir() {
            Ok(plain)
        } else {
            Ok(format!("{bucket}/{}", flat_path(key)))
        }
    }

    fn meta(&self, bucket: &str, key: &str) -> PathBuf {
        self.root
            .join(".meta")
            .join(bucket)
            .join(hex_lower(&md5::compute(key).0))
    }

    pub(crate) fn remove_object(
        &self,
        bucket: &str,
        key: &str,
        content: &Content,
    ) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.meta(bucket, key)))?;
        let Content::File(path) = content else {
            return Ok(());
        };
        ignore_missing(fs::remove_file(path))?;
        let bucket_dir = self.root.join(bucket);
        let empty = path
            .ancestors()
            .skip(1)
            .take_while(|dir| *dir != bucket_dir);
        for dir in empty {
            if fs::remove_dir(dir).is_err() {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn remove_upload(&self, id: &str) -> io::Result<()> {
        ignore_missing(remove_staging(&self.staging(id)))
    }

    /// Brings the directory of an upload into a consistent state after a crash.
    fn recover(&self, staging: &Path) -> io::Result<Option<StoredUpload>> {
        let read = |name: &str| {
            fs::read_to_string(staging.join(name))
                .ok()
                .and_then(|text| MetadataFile::parse(&text))
        };
        if staging
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("trash-"))
        {
            fs::remove_dir_all(staging)?;
            return Ok(None);
        }
        if let Some(metadata) = read("commit") {
            self.finish_commit(staging, &metadata)?;
            return Ok(None);
        }
        let Some(mut upload) = read("upload").and_then(|metadata| metadata.to_upload()) else {
            remove_staging(staging)?;
            return Ok(None);
        };
        upload.parts = recover_parts(staging)?;
        Ok(Some(upload))
    }
}

/// Returns the latest version of each part, and removes all other files.
fn recover_parts(staging: &Path) -> io::Result<BTreeMap<u32, StoredPart>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(staging)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut parts: BTreeMap<u32, StoredPart> = BTreeMap::new();
    for path in paths {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((number, etag, crc64)) = parse_part_name(&name) else {
            if name != "upload" {
                fs::remove_file(&path)?;
            }
            continue;
        };
        let metadata = fs::metadata(&path)?;
        let part = StoredPart {
            size: metadata.len(),
            etag,
            crc64,
            modified: metadata.modified()?,
            content: Content::File(path),
        };
        if let Some(StoredPart {
            content: Content::File(old),
            ..
        }) = parts.insert(number, part)
        {
            fs::remove_file(old)?;
        }
    }
    Ok(parts)
}

fn parse_part_name(name: &str) -> Option<(u32, String, u64)> {
    let fields: Vec<&str> = name.split('-').collect();
    match fields[..] {
        ["part", number, _, etag, crc64] => Some((
            number.parse().ok()?,
            format!("\"{etag}\""),
            crc64.parse().ok()?,
        )),
        _ => None,
    }
}

/// Removes a directory so that a crash leaves all of it or none.
fn remove_staging(staging: &Path) -> io::Result<()> {
    let trash = staging.with_file_name(format!("trash-{}", unique_hex(24)));
    fs::rename(staging, &trash)?;
    ignore_missing(fs::remove_dir_all(trash))
}

/// Writes a file so that a crash leaves all of it or none.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", unique_hex(24)));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(temporary, path)
}

/// Returns whether the file of an object exists and has the right size.
fn exists(object: &StoredObject) -> bool {
    let Content::File(path) = &object.content else {
        return false;
    };
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == object.size)
}

fn lock(root: &Path) -> io::Result<File> {
    let file = File::create(root.join(".lock"))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "it is in use by another server",
        )),
        // Without file locks the directory is not protected.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

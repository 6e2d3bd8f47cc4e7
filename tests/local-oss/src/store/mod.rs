//! The store: buckets, objects and unfinished uploads, in memory or in a directory.

mod content;
mod disk;
mod metadata_file;
mod paths;
mod sink;
mod types;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use self::content::Source;
use self::disk::{Disk, LoadedState};
pub(crate) use self::sink::Sink;
pub(crate) use self::types::{Attributes, Content, StoredObject, StoredPart, StoredUpload};
pub use self::types::{Object, Upload};
pub(crate) use self::uploads::check_sequence;
use crate::builder::Settings;
use crate::error::{OssError, Result};
use crate::text::unique_hex;

/// The largest buffer that is allocated because of a `Content-Length`.
const RESERVED_BYTES_MAX: u64 = 64 << 20;

/// Everything that a server stores.
pub(crate) struct Store {
    inner: Mutex<Inner>,
    disk: Option<Disk>,
    discard: bool,
    any_bucket: bool,
    versioning: bool,
}

#[derive(Default)]
struct Inner {
    buckets: BTreeMap<String, BTreeMap<String, StoredObject>>,
    /// In order of initiation.
    uploads: Vec<StoredUpload>,
}

/// An object that has been received completely, but is not stored under its key yet.
pub(crate) struct NewObject {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) object: StoredObject,
    /// Whether an existing object must not be replaced.
    pub(crate) forbid_overwrite: bool,
    /// The ID of its upload, or the name of its staging directory.
    pub(crate) staging: String,
}

/// An entry of a list of objects.
pub(crate) enum ListEntry {
    Object(Box<StoredObject>),
    /// All objects whose keys have the same beginning up to the delimiter.
    CommonPrefix,
}

/// Returns the key up to the first delimiter after the prefix, if there is one.
pub(crate) fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: &str) -> Option<&'a str> {
    let rest = key.strip_prefix(prefix).filter(|_| !delimiter.is_empty())?;
    Some(&key[..prefix.len() + rest.find(delimiter)? + delimiter.len()])
}

impl Store {
    pub(crate) fn open(settings: &Settings) -> io::Result<Store> {
        let (disk, found) = match &settings.dir {
            Some(dir) => {
                let (disk, found) = Disk::open(dir).map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("can't keep data in {}: {error}", dir.display()),
                    )
                })?;
                (Some(disk), found)
            }
            None => (None, LoadedState::default()),
        };
        let mut inner = Inner {
            buckets: BTreeMap::new(),
            uploads: found.uploads,
        };
        for bucket in found.buckets {
            inner.buckets.entry(bucket).or_default();
        }
        for (bucket, key, object) in found.objects {
            inner.buckets.entry(bucket).or_default().insert(key, object);
        }
        let store = Store {
            inner: Mutex::new(inner),
            disk,
            discard: settings.discard,
            any_bucket: settings.any_bucket,
            versioning: settings.versioning,
        };
        for bucket in settings.buckets.iter().chain(settings.cnames.values()) {
            let created = store.create_bucket(bucket);
            created.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.message))?;
        }
        Ok(store)
    }

    /// Creates a bucket, unless it exists.
    pub(crate) fn create_bucket(&self, bucket: &str) -> Result<()> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let ends = bucket.starts_with('-') || bucket.ends_with('-');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(good) || ends {
            let message = format!("The specified bucket is not valid: {bucket:?}.");
            return Err(OssError::new(400, "InvalidBucketName", message).with("BucketName", bucket));
        }
        if let Some(disk) = &self.disk {
            disk.create_bucket(bucket)?;
        }
        self.inner().buckets.entry(bucket.to_owned()).or_default();
        Ok(())
    }

    /// Fails if there is no such bucket and it must not be created on demand.
    pub(crate) fn check_bucket(&self, bucket: &str) -> Result<()> {
        if self.any_bucket || self.inner().buckets.contains_key(bucket) {
            return Ok(());
        }
        let message = "The specified bucket does not exist.";
        Err(OssError::new(404, "NoSuchBucket", message)
            .ec("0015-00000101")
            .with("BucketName", bucket))
    }

    /// Creates a missing bucket if buckets are created on demand.
    pub(crate) fn create_bucket_if_allowed(&self, bucket: &str) -> Result<()> {
        if self.any_bucket && !self.inner().buckets.contains_key(bucket) {
            return self.create_bucket(bucket);
        }
        Ok(())
    }

    pub(crate) fn buckets(&self) -> BTreeSet<String> {
        self.inner().buckets.keys().cloned().collect()
    }

    /// Creates a sink for the body of a part of this upload, or of an object with this staging
    /// directory.
    pub(crate) fn sink(&self, staging: &str, content_length: Option<u64>) -> Result<Sink> {
        if self.discard {
            return Ok(Sink::Discard);
        }
        let Some(disk) = &self.disk else {
            let reserved = content_length.unwrap_or(0).min(RESERVED_BYTES_MAX);
            return Ok(Sink::Memory(Vec::with_capacity(reserved as usize)));
        };
        match disk.create_temporary(staging) {
            Ok((path, file)) => Ok(Sink::file(path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(OssError::no_such_upload(staging))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Creates the staging directory of an object that is stored by PutObject; returns its name.
    pub(crate) fn new_staging(&self) -> Result<String> {
        let staging = format!("put-{}", unique_hex(32));
        if let Some(disk) = &self.disk {
            disk.create_staging(&staging)?;
        }
        Ok(staging)
    }

    /// Removes a staging directory, or the directory of an upload.
    pub(crate) fn remove_staging(&self, staging: &str) {
        if let Some(disk) = &self.disk {
            let _ = disk.remove_upload(staging);
        }
    }

    pub(crate) fn discards(&self) -> bool {
        self.discard
    }

    /// Fails if an object exists that must not be replaced.
    pub(crate) fn check_overwrite(
        &self,
        bucket: &str,
        key: &str,
        forbid_overwrite: bool,
    ) -> Result<()> {
        if forbid_overwrite && self.inner().object(bucket, key).is_some() {
            return Err(OssError::file_already_exists());
        }
        Ok(())
    }

    /// Stores an object; returns its version ID.
    pub(crate) fn store_object(&self, new: NewObject) -> Result<Option<String>> {
        let NewObject {
            bucket,
            key,
            mut object,
            forbid_overwrite,
            staging,
        } = new;
        let mut inner = self.inner();
        if forbid_overwrite && inner.object(&bucket, &key).is_some() {
            return Err(OssError::file_already_exists());
        }
        object.version = self.versioning.then(|| unique_hex(32));
        let version = object.version.clone();
        if let (Some(disk), Content::File(_)) = (&self.disk, &object.content) {
            disk.commit(&staging, &bucket, &key, &mut object)?;
        } else {
            self.remove_staging(&staging);
        }
        let placed = object.content.clone();
        let old = inner.buckets.entry(bucket).or_default().insert(key, object);
        match (old.map(|old| old.content), placed) {
            (Some(Content::File(old)), Content::File(new)) if old != new => {
                drop(fs::remove_file(old))
            }
            _ => {}
        }
        Ok(version)
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<StoredObject> {
        self.inner().object(bucket, key).cloned()
    }

    pub(crate) fn remove_object(&self, bucket: &str, key: &str) -> Result<()> {
        let mut inner = self.inner();
        let removed = inner
            .buckets
            .get_mut(bucket)
            .and_then(|objects| objects.remove(key));
        if let (Some(disk), Some(object)) = (&self.disk, removed) {
            disk.remove_object(bucket, key, &object.content)?;
        }
        Ok(())
    }

    /// Returns the objects whose key starts with `prefix`, and their common prefixes, after
    /// `marker`: at most `limit`, sorted by name.
    pub(crate) fn list(
        &self,
        bucket: &str,
        (prefix, delimiter): (&str, &str),
        marker: &str,
        limit: usize,
    ) -> Vec<(String, ListEntry)> {
        let inner = self.inner();
        let Some(objects) = inner.buckets.get(bucket) else {
            return Vec::new();
        };
        let start = if marker >= prefix && !marker.is_empty() {
            Bound::Excluded(marker)
        } else {
            Bound::Included(prefix)
        };
        let mut page: Vec<(String, ListEntry)> = Vec::new();
        let objects = objects.range::<str, _>((start, Bound::Unbounded));
        for (key, object) in objects.take_while(|(key, _)| key.starts_with(prefix)) {
            let (name, listed) = match common_prefix(key, prefix, delimiter) {
                Some(prefix) => (prefix, ListEntry::CommonPrefix),
                None => (key.as_str(), ListEntry::Object(Box::new(object.clone()))),
            };
            // A common prefix at the end of this page or of the one before is not repeated.
            if page.last().map_or(marker, |(last, _)| last) == name {
                continue;
            }
            if page.len() == limit {
                break;
            }
            page.push((name.to_owned(), listed));
        }
        page
    }

    /// Returns a copy of an object with its content.
    pub(crate) fn snapshot(&self, bucket: &str, key: &str) -> Option<Object> {
        let object = self.object(bucket, key)?;
        Some(Object {
            bytes: content::read(&object.content).unwrap_or_default(),
            size: object.size,
            etag: object.etag,
            crc64: object.crc64,
            content_md5: object.content_md5,
            headers: object.attributes.headers,
            tagging: object.attributes.tagging,
            acl: object.attributes.acl,
            parts: object.parts.unwrap_or(0),
            last_modified: object.modified,
        })
    }

    pub(crate) fn object_path(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        match self.object(bucket, key)?.content {
            Content::File(path) => Some(path),
            _ => None,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn object(&self, bucket: &str, key: &str) -> Option<&StoredObject> {
        self.buckets.get(bucket)?.get(key)
    }

    fn find_upload(&self, bucket: &str, key: &str, id: &str) -> Result<usize> {
        let found = self
            .uploads
            .iter()
            .position(|upload| upload.id == id && upload.bucket == bucket && upload.key == key);
        found.ok_or_else(|| OssError::no_such_upload(id))
    }
}

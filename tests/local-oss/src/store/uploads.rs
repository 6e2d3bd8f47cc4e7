//! Unfinished uploads and their parts.

use std::fs;
use std::io;
use std::time::SystemTime;

use super::{Content, Sink, Store, StoredPart, StoredUpload, content};
use crate::digest::Digests;
use crate::error::{OssError, Result};
use crate::text::unique_hex;

impl Store {
    pub(crate) fn initiate(&self, mut upload: StoredUpload) -> Result<String> {
        upload.id = unique_hex(32);
        let id = upload.id.clone();
        if let Some(disk) = &self.disk {
            disk.create_upload(&upload)?;
        }
        self.inner().uploads.push(upload);
        Ok(id)
    }

    /// Calls `look` with an upload, which must belong to this object.
    pub(crate) fn with_upload<T>(
        &self,
        (bucket, key, id): (&str, &str, &str),
        look: impl FnOnce(&mut StoredUpload) -> Result<T>,
    ) -> Result<T> {
        let mut inner = self.inner();
        let index = inner.find_upload(bucket, key, id)?;
        look(&mut inner.uploads[index])
    }

    /// Stores a part that was received, and replaces an older one with the same number.
    pub(crate) fn put_part(
        &self,
        upload: (&str, &str, &str),
        number: u32,
        sink: Sink,
        (digests, modified): (&Digests, SystemTime),
    ) -> Result<String> {
        let (content, temporary) = sink.finish();
        self.with_upload(upload, |upload| {
            check_sequence(upload, number)?;
            let etag = digests.etag(upload.etag_salt());
            let mut part = StoredPart {
                size: digests.size,
                etag,
                crc64: digests.crc64,
                modified,
                content,
            };
            if let (Some(disk), Content::File(path)) = (&self.disk, &part.content) {
                part.content = Content::File(disk.rename_part(&upload.id, number, path, &part)?);
                temporary.keep();
            }
            let etag = part.etag.clone();
            if let Some(StoredPart {
                content: Content::File(old),
                ..
            }) = upload.parts.insert(number, part)
            {
                let _ = fs::remove_file(old);
            }
            Ok(etag)
        })
    }

    /// Removes an upload from the store in order to complete or to abort it.
    pub(crate) fn take_upload(&self, bucket: &str, key: &str, id: &str) -> Result<StoredUpload> {
        let mut inner = self.inner();
        let index = inner.find_upload(bucket, key, id)?;
        Ok(inner.uploads.remove(index))
    }

    /// Restores an upload that could not be completed.
    pub(crate) fn restore_upload(&self, upload: StoredUpload) {
        let mut inner = self.inner();
        inner.uploads.push(upload);
        inner
            .uploads
            .sort_by(|left, right| (left.initiated, &left.id).cmp(&(right.initiated, &right.id)));
    }

    /// Removes an upload, whatever object it belongs to.
    pub(crate) fn expire_upload(&self, id: &str) {
        self.inner().uploads.retain(|upload| upload.id != id);
        self.remove_staging(id);
    }

    /// Returns the unfinished uploads in order of initiation.
    pub(crate) fn uploads(&self) -> Vec<StoredUpload> {
        self.inner().uploads.clone()
    }

    /// Flips one bit of a part. Its ETag and CRC-64 then describe the changed content.
    pub(crate) fn corrupt_part(&self, id: &str, number: u32) -> io::Result<()> {
        let mut inner = self.inner();
        let upload = inner.uploads.iter_mut().find(|upload| upload.id == id);
        let upload = upload.ok_or(io::ErrorKind::NotFound)?;
        let salt = upload.etag_salt().map(str::to_owned);
        let part = upload
            .parts
            .get_mut(&number)
            .ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = content::read(&part.content)?;
        let first = bytes.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        *first ^= 1;
        let digests = Digests::of(&bytes);
        part.etag = digests.etag(salt.as_deref());
        part.crc64 = digests.crc64;
        match (&self.disk, &part.content) {
            (Some(disk), Content::File(old)) => {
                let (temporary, _) = disk.create_temporary(id)?;
                fs::write(&temporary, &bytes)?;
                let placed = disk.rename_part(id, number, &temporary, part)?;
                fs::remove_file(old)?;
                part.content = Content::File(placed);
            }
            _ => part.content = Content::Memory(bytes.into()),
        }
        Ok(())
    }
}

/// Fails if the upload is sequential and this part is not the next one.
pub(crate) fn check_sequence(upload: &StoredUpload, number: u32) -> Result<()> {
    if !upload.sequential {
        return Ok(());
    }
    if let Some(part) = upload.parts.get(&number) {
        let message = "For sequential multipart upload, you can't overwrite uploaded parts.";
        return Err(OssError::new(409, "PartAlreadyExist", message)
            .ec("0042-00000108")
            .with("PartEtag", &part.etag)
            .with("PartNumber", number.to_string()));
    }
    let next = upload
        .parts
        .last_key_value()
        .map_or(1, |(last, _)| last + 1);
    if number == next {
        return Ok(());
    }
    let message = format!(
        "The parts of a sequential upload must be uploaded in order; the next one is part {next}."
    );
    Err(OssError::new(400, "PartNotSequential", message))
}

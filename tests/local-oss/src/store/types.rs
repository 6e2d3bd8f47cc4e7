//! The types of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;

/// A stored object.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Object {
    /// The content; empty if the server discards bodies.
    pub bytes: Vec<u8>,
    /// The size in bytes.
    pub size: u64,
    /// The ETag, with its quotes.
    pub etag: String,
    /// The CRC-64 of the content.
    pub crc64: u64,
    /// What GetObject and HeadObject return as `Content-MD5`, if anything.
    pub content_md5: Option<String>,
    /// Content headers, metadata, storage class and encryption; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The tagging as received.
    pub tagging: Option<String>,
    /// The access control list, if one was set.
    pub acl: Option<String>,
    /// The number of parts; 0 for an object that was stored by PutObject.
    pub parts: usize,
    /// When it was stored.
    pub last_modified: SystemTime,
}

/// An unfinished upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Upload {
    /// The upload ID.
    pub upload_id: String,
    /// The bucket.
    pub bucket: String,
    /// The object key.
    pub key: String,
    /// When it was initiated.
    pub initiated: SystemTime,
    /// Number, size and quoted ETag of each part.
    pub parts: Vec<(u32, u64, String)>,
    /// Whether parts must arrive in order.
    pub sequential: bool,
    /// The headers that the object will have; names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Where the bytes of an object or a part are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Memory(Bytes),
    File(PathBuf),
    Discarded,
}

/// Headers and attributes that an upload hands on to its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) tagging: Option<String>,
    pub(crate) acl: Option<String>,
}

impl Attributes {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The storage class, or the one that objects have by default.
    pub(crate) fn storage_class(&self) -> &str {
        self.header("x-oss-storage-class").unwrap_or("Standard")
    }

    /// Whether the ETag is not the MD5 of the content.
    pub(crate) fn has_opaque_etag(&self) -> bool {
        matches!(
            self.header("x-oss-server-side-encryption"),
            Some("KMS" | "SM4")
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StoredObject {
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    /// Base64; `None` for an object that was made of parts that may come in any order.
    pub(crate) content_md5: Option<String>,
    pub(crate) attributes: Attributes,
    /// The number of parts; `None` for an object that was stored by PutObject.
    pub(crate) parts: Option<usize>,
    pub(crate) modified: SystemTime,
    pub(crate) version: Option<String>,
    pub(crate) content: Content,
}

#[derive(Clone, Debug)]
pub(crate) struct StoredUpload {
    pub(crate) id: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated: SystemTime,
    pub(crate) sequential: bool,
    pub(crate) attributes: Attributes,
    pub(crate) parts: BTreeMap<u32, StoredPart>,
}

#[derive(Clone, Debug)]
pub(crate) struct StoredPart {
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) crc64: u64,
    pub(crate) modified: SystemTime,
    pub(crate) content: Content,
}

impl StoredUpload {
    /// The text that ETags are salted with, if they may not be an MD5.
    pub(crate) fn etag_salt(&self) -> Option<&str> {
        self.attributes
            .has_opaque_etag()
            .then_some(self.id.as_str())
    }

    pub(crate) fn snapshot(&self) -> Upload {
        let part = |(number, part): (&u32, &StoredPart)| (*number, part.size, part.etag.clone());
        Upload {
            upload_id: self.id.clone(),
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            initiated: self.initiated,
            parts: self.parts.iter().map(part).collect(),
            sequential: self.sequential,
            headers: self.attributes.headers.clone(),
        }
    }
}

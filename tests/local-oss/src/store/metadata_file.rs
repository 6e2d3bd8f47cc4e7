//! The metadata of objects and uploads as text: one line `name value` per field, percent-encoded.

use std::collections::BTreeMap;
use std::path::Path;

use super::types::{Attributes, Content, StoredObject, StoredUpload};
use crate::text::{decode, encode_component, from_unix_millis, unix_millis};

/// The fields in order.
#[derive(Default)]
pub(crate) struct MetadataFile {
    fields: Vec<(String, String)>,
}

impl MetadataFile {
    pub(crate) fn parse(text: &str) -> Option<MetadataFile> {
        let field = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((decode(name)?, decode(value)?))
        };
        let fields: Option<Vec<(String, String)>> = text.lines().map(field).collect();
        let metadata = MetadataFile { fields: fields? };
        metadata.get("end").is_some().then_some(metadata)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
        {
            text.push_str(&format!(
                "{} {}\n",
                encode_component(name),
                encode_component(value)
            ));
        }
        text + "end \n"
    }

    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.fields.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    fn set_attributes(&mut self, attributes: &Attributes) {
        for (name, value) in &attributes.headers {
            self.set(&format!("header.{name}"), value);
        }
        if let Some(tagging) = &attributes.tagging {
            self.set("tagging", tagging);
        }
        if let Some(acl) = &attributes.acl {
            self.set("acl", acl);
        }
    }

    fn attributes(&self) -> Attributes {
        let header = |(name, value): &(String, String)| {
            Some((name.strip_prefix("header.")?.to_owned(), value.clone()))
        };
        Attributes {
            headers: self.fields.iter().filter_map(header).collect(),
            tagging: self.get("tagging").map(str::to_owned),
            acl: self.get("acl").map(str::to_owned),
        }
    }

    /// Creates the metadata of an object whose content is in `file`, a path below the directory of
    /// the store.
    pub(crate) fn of_object(
        bucket: &str,
        key: &str,
        object: &StoredObject,
        file: &str,
    ) -> MetadataFile {
        let mut metadata = MetadataFile::default();
        metadata.set("bucket", bucket);
        metadata.set("key", key);
        metadata.set("file", file);
        metadata.set("size", object.size);
        metadata.set("etag", &object.etag);
        metadata.set("crc64", object.crc64);
        if let Some(content_md5) = &object.content_md5 {
            metadata.set("content-md5", content_md5);
        }
        if let Some(parts) = object.parts {
            metadata.set("parts", parts);
        }
        metadata.set("modified", unix_millis(object.modified));
        if let Some(version) = &object.version {
            metadata.set("version", version);
        }
        metadata.set_attributes(&object.attributes);
        metadata
    }

    /// Returns the bucket, the key and the object.
    pub(crate) fn to_object(&self, root: &Path) -> Option<(String, String, StoredObject)> {
        let object = StoredObject {
            size: self.number("size")?,
            etag: self.get("etag")?.to_owned(),
            crc64: self.number("crc64")?,
            attributes: self.attributes(),
            content_md5: self.get("content-md5").map(str::to_owned),
            parts: self.number("parts"),
            modified: from_unix_millis(self.number("modified")?),
            version: self.get("version").map(str::to_owned),
            content: Content::File(root.join(self.get("file")?)),
        };
        Some((
            self.get("bucket")?.to_owned(),
            self.get("key")?.to_owned(),
            object,
        ))
    }

    pub(crate) fn of_upload(upload: &StoredUpload) -> MetadataFile {
        let mut metadata = MetadataFile::default();
        metadata.set("upload-id", &upload.id);
        metadata.set("bucket", &upload.bucket);
        metadata.set("key", &upload.key);
        metadata.set("initiated", unix_millis(upload.initiated));
        metadata.set("sequential", upload.sequential);
        metadata.set_attributes(&upload.attributes);
        metadata
    }

    pub(crate) fn to_upload(&self) -> Option<StoredUpload> {
        Some(StoredUpload {
            id: self.get("upload-id")?.to_owned(),
            bucket: self.get("bucket")?.to_owned(),
            key: self.get("key")?.to_owned(),
            initiated: from_unix_millis(self.number("initiated")?),
            sequential: self.number("sequential")?,
            attributes: self.attributes(),
            parts: BTreeMap::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_round_trips() {
        let attributes = Attributes {
            headers: vec![("x-oss-meta-a".to_owned(), "b\n c%".to_owned())],
            tagging: Some("a=b&c=d".to_owned()),
            acl: None,
        };
        let object = StoredObject {
            size: 5,
            etag: "\"AB\"".to_owned(),
            crc64: u64::MAX,
            attributes,
            content_md5: None,
            parts: Some(2),
            modified: from_unix_millis(1_700_000_000_123),
            version: None,
            content: Content::Discarded,
        };
        let text = MetadataFile::of_object("b", "k \u{4e2d}", &object, "b/k").to_text();
        let metadata = MetadataFile::parse(&text).expect("metadata");
        let (bucket, key, read) = metadata.to_object(Path::new("/data")).expect("an object");
        assert_eq!((bucket.as_str(), key.as_str()), ("b", "k \u{4e2d}"));
        assert_eq!(read.attributes.headers, object.attributes.headers);
        assert_eq!((read.crc64, read.modified), (object.crc64, object.modified));
        assert!(
            MetadataFile::parse(&text[..text.len() - 5]).is_none(),
            "an incomplete file is rejected"
        );
    }
}

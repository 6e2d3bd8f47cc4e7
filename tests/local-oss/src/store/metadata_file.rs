//! The text form of what is kept beside the bytes: one `name value` line per fact, values percent-encoded.

use std::collections::BTreeMap;
use std::path::Path;

use super::types::{Attributes, Content, StoredObject, StoredUpload};
use crate::text::{decode, encode_component, from_unix_millis, unix_millis};

/// Facts in order.
#[derive(Default)]
pub(crate) struct MetadataFile {
    facts: Vec<(String, String)>,
}

impl MetadataFile {
    pub(crate) fn parse(text: &str) -> Option<MetadataFile> {
        let fact = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((decode(name)?, decode(value)?))
        };
        let facts: Option<Vec<(String, String)>> = text.lines().map(fact).collect();
        let record = MetadataFile { facts: facts? };
        record.get("end").is_some().then_some(record)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self
            .facts
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
        self.facts.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.facts
            .iter()
            .find(|(fact, _)| fact == name)
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
            headers: self.facts.iter().filter_map(header).collect(),
            tagging: self.get("tagging").map(str::to_owned),
            acl: self.get("acl").map(str::to_owned),
        }
    }

    /// The record of an object whose bytes lie in `file`, a path below the directory of the store.
    pub(crate) fn of_object(
        bucket: &str,
        key: &str,
        object: &StoredObject,
        file: &str,
    ) -> MetadataFile {
        let mut record = MetadataFile::default();
        record.set("bucket", bucket);
        record.set("key", key);
        record.set("file", file);
        record.set("size", object.size);
        record.set("etag", &object.etag);
        record.set("crc64", object.crc64);
        if let Some(content_md5) = &object.content_md5 {
            record.set("content-md5", content_md5);
        }
        if let Some(parts) = object.parts {
            record.set("parts", parts);
        }
        record.set("modified", unix_millis(object.modified));
        if let Some(version) = &object.version {
            record.set("version", version);
        }
        record.set_attributes(&object.attributes);
        record
    }

    /// Bucket, key and object.
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
        let mut record = MetadataFile::default();
        record.set("upload-id", &upload.id);
        record.set("bucket", &upload.bucket);
        record.set("key", &upload.key);
        record.set("initiated", unix_millis(upload.initiated));
        record.set("sequential", upload.sequential);
        record.set_attributes(&upload.attributes);
        record
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
    fn records_survive_text() {
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
        let record = MetadataFile::parse(&text).expect("a record");
        let (bucket, key, read) = record.to_object(Path::new("/data")).expect("an object");
        assert_eq!((bucket.as_str(), key.as_str()), ("b", "k \u{4e2d}"));
        assert_eq!(read.attributes.headers, object.attributes.headers);
        assert_eq!((read.crc64, read.modified), (object.crc64, object.modified));
        assert!(
            MetadataFile::parse(&text[..text.len() - 5]).is_none(),
            "a torn record is no record"
        );
    }
}

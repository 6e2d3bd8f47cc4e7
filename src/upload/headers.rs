//! The headers that the options of a call set: their names, their values, and which request takes
//! which.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::content_type::guess;
use super::options::{ObjectAcl, ServerSideEncryption, StorageClass};
use crate::callback::Callback;
use crate::encoding::{percent_encode, percent_encode_non_ascii};
use crate::protocol::head_object::Head;
use crate::protocol::request::Header;
use crate::time;
use crate::{Error, Result};

const CONTENT_TYPE: &str = "content-type";
const EXPIRES: &str = "expires";
const META_PREFIX: &str = "x-oss-meta-";
const TAGGING: &str = "x-oss-tagging";
const STORAGE_CLASS: &str = "x-oss-storage-class";
const ENCRYPTION: &str = "x-oss-server-side-encryption";
const ENCRYPTION_KEY_ID: &str = "x-oss-server-side-encryption-key-id";
const OBJECT_ACL: &str = "x-oss-object-acl";
const FORBID_OVERWRITE: &str = "x-oss-forbid-overwrite";
const CALLBACK: &str = "x-oss-callback";
const CALLBACK_VAR: &str = "x-oss-callback-var";
const TRAFFIC_LIMIT: &str = "x-oss-traffic-limit";
const REQUEST_PAYER: &str = "x-oss-request-payer";

/// All user metadata together, in bytes. OSS rejects this much and more.
const META_BYTES_END: usize = 8 * 1024;
/// HEAD returns every entry as a header, beside about 25 of OSS's own; clients accept 128 headers
/// or fewer.
const META_ENTRIES_MAX: usize = 90;
const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// The end of the year 9999, where HTTP dates end: seconds since 1970.
const EXPIRES_END: Duration = Duration::from_secs(253_402_300_800);

/// The headers of a call by the requests that take them.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestHeaders {
    /// The properties of the object. Initiate and PutObject take them.
    object: Vec<Header>,
    /// Metadata by name, without the prefix; becomes part of `object`.
    meta: BTreeMap<String, String>,
    /// Becomes part of `object`.
    tags: BTreeMap<String, String>,
    /// Taken by the request that starts the upload and by the one that ends it.
    acl: Vec<Header>,
    forbid_overwrite: Vec<Header>,
    /// Taken by the request that makes the object.
    callback: Vec<Header>,
    /// Taken by the requests that send bytes.
    traffic: Vec<Header>,
    /// Taken by every request.
    payer: Vec<Header>,
}

impl RequestHeaders {
    /// For InitiateMultipartUpload.
    pub(super) fn initiate(&self) -> Vec<Header> {
        [
            &self.object[..],
            &self.acl,
            &self.forbid_overwrite,
            &self.payer,
        ]
        .concat()
    }

    /// For UploadPart.
    pub(super) fn part(&self) -> Vec<Header> {
        [&self.traffic[..], &self.payer].concat()
    }

    /// For CompleteMultipartUpload.
    pub(super) fn complete(&self) -> Vec<Header> {
        [
            &self.acl[..],
            &self.forbid_overwrite,
            &self.callback,
            &self.payer,
        ]
        .concat()
    }

    /// For PutObject.
    pub(super) fn put(&self) -> Vec<Header> {
        let start = [&self.object[..], &self.acl, &self.forbid_overwrite].concat();
        [&start[..], &self.callback, &self.traffic, &self.payer].concat()
    }

    /// For HeadObject, AbortMultipartUpload and the lists.
    pub(super) fn common(&self) -> &[Header] {
        &self.payer
    }

    pub(super) fn has_callback(&self) -> bool {
        !self.callback.is_empty()
    }

    /// The text of everything that the object depends on. A checkpoint keeps its digest.
    pub(super) fn fingerprint(&self, sequential: bool) -> String {
        let headers = self
            .object
            .iter()
            .chain(&self.acl)
            .chain(&self.forbid_overwrite);
        let mut headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (&**name, value.as_str()))
            .collect();
        headers.sort_unstable();
        format!("{sequential}{headers:?}")
    }

    /// Returns whether an object has every property that the call sets and that HeadObject reports.
    ///
    /// It does not report the ACL and the values of the tags: see
    /// [`has_hidden_properties`](Self::has_hidden_properties).
    pub(super) fn agree_with(&self, head: &Head) -> bool {
        let reported = self.object.iter().filter(|(name, _)| name != TAGGING);
        reported.into_iter().all(|(name, value)| {
            head.header(name)
                .is_some_and(|theirs| trim(theirs) == value)
        })
    }

    /// Whether the call sets anything that HeadObject does not report.
    pub(super) fn has_hidden_properties(&self) -> bool {
        !self.acl.is_empty()
            || self.has_callback()
            || self.object.iter().any(|(name, _)| name == TAGGING)
    }

    /// Sets a header whose option has the name of the header, with `_` for `-`.
    pub(super) fn set_text(
        &mut self,
        option: &'static str,
        header: &'static str,
        value: &str,
    ) -> Result<()> {
        let value = checked_value(option, value)?;
        self.set(header, value);
        Ok(())
    }

    pub(super) fn set_expires(&mut self, at: SystemTime) -> Result<()> {
        let problem = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if since < EXPIRES_END => {
                self.set(EXPIRES, time::format_http_date(at));
                return Ok(());
            }
            Ok(_) => "after 9999",
            Err(_) => "before 1970",
        };
        let reason = format!("the time is {problem}; use the years 1970 to 9999");
        Err(Error::option("expires", reason))
    }

    /// Adds a metadata entry, or replaces the one of this name.
    pub(super) fn add_meta(&mut self, name: &str, value: &str) -> Result<()> {
        let name = meta_name(name)?;
        let value = trim(value);
        if value.is_empty() {
            let reason =
                format!("the value of {name} is empty, which OSS does not accept; omit the entry");
            return Err(Error::option("meta", reason));
        }
        if value.chars().any(|character| character.is_ascii_control()) {
            let reason =
                format!("the value of {name}, {value:?}, contains a control character; remove it");
            return Err(Error::option("meta", reason));
        }
        self.meta
            .insert(name, percent_encode_non_ascii(value).into_owned());
        Ok(())
    }

    /// Adds a tag, or replaces the one of this key.
    pub(super) fn add_tag(&mut self, key: &str, value: &str) -> Result<()> {
        let allowed =
            |character: char| character.is_alphanumeric() || " +-=._:/".contains(character);
        if key.is_empty() {
            return Err(Error::option("tag", "the key is empty; give one"));
        }
        for (text, chars_max) in [(key, TAG_KEY_CHARS_MAX), (value, TAG_VALUE_CHARS_MAX)] {
            if text.chars().count() > chars_max {
                let reason = format!("{text:?} has more than {chars_max} characters; shorten it");
                return Err(Error::option("tag", reason));
            }
            if !text.chars().all(allowed) {
                let reason =
                    format!("{text:?} must have only letters, digits, spaces and + - = . _ : /");
                return Err(Error::option("tag", reason));
            }
        }
        self.tags.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    pub(super) fn set_object_acl(&mut self, acl: ObjectAcl) {
        self.acl = vec![(OBJECT_ACL.into(), acl_value(acl).into())];
    }

    pub(super) fn set_storage_class(&mut self, class: StorageClass) {
        self.set(STORAGE_CLASS, storage_class_value(class));
    }

    /// Replaces an earlier encryption as a whole, with its key.
    pub(super) fn set_encryption(&mut self, encryption: ServerSideEncryption) -> Result<()> {
        self.object.retain(|(name, _)| name != ENCRYPTION_KEY_ID);
        match encryption {
            ServerSideEncryption::Aes256 => self.set(ENCRYPTION, "AES256"),
            ServerSideEncryption::Sm4 => self.set(ENCRYPTION, "SM4"),
            ServerSideEncryption::Kms { key_id } => {
                self.set(ENCRYPTION, "KMS");
                if let Some(key_id) = key_id {
                    self.set_text("server_side_encryption", ENCRYPTION_KEY_ID, &key_id)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn set_callback(&mut self, callback: &Callback) -> Result<()> {
        callback.check()?;
        self.callback = vec![(CALLBACK.into(), callback.header())];
        self.callback.extend(
            callback
                .vars_header()
                .map(|vars| (CALLBACK_VAR.into(), vars)),
        );
        Ok(())
    }

    pub(super) fn set_forbid_overwrite(&mut self, forbid: bool) {
        self.forbid_overwrite = switch(forbid, FORBID_OVERWRITE, "true");
    }

    pub(super) fn set_request_payer(&mut self, requester: bool) {
        self.payer = switch(requester, REQUEST_PAYER, "requester");
    }

    pub(super) fn set_traffic_limit(&mut self, bits_per_second: u64) {
        self.traffic = vec![(TRAFFIC_LIMIT.into(), bits_per_second.to_string())];
    }

    /// Checks the metadata and the tags as a whole, and makes headers of them.
    pub(super) fn finish(&mut self) -> Result<()> {
        let bytes_of =
            |(name, value): (&String, &String)| META_PREFIX.len() + name.len() + value.len();
        let bytes: usize = self.meta.iter().map(bytes_of).sum();
        if bytes >= META_BYTES_END {
            let reason = format!(
                "{bytes} bytes of names and encoded values; OSS accepts fewer than {META_BYTES_END} in all"
            );
            return Err(Error::option("meta", reason));
        }
        if self.meta.len() > META_ENTRIES_MAX {
            let reason = format!(
                "{} entries; use {META_ENTRIES_MAX} at most",
                self.meta.len()
            );
            return Err(Error::option("meta", reason));
        }
        if self.tags.len() > TAGS_MAX {
            let reason = format!("{} tags; OSS accepts {TAGS_MAX} at most", self.tags.len());
            return Err(Error::option("tag", reason));
        }
        for (name, value) in std::mem::take(&mut self.meta) {
            self.object
                .push((format!("{META_PREFIX}{name}").into(), value));
        }
        let tags = std::mem::take(&mut self.tags);
        if !tags.is_empty() {
            let pairs = tags
                .iter()
                .map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value)));
            self.set(TAGGING, pairs.collect::<Vec<_>>().join("&"));
        }
        Ok(())
    }

    /// Sets the content type where the caller gave none: by the name of the file, then by the key.
    pub(super) fn guess_content_type(&mut self, path: &Path, key: &str) {
        if self.object.iter().any(|(name, _)| name == CONTENT_TYPE) {
            return;
        }
        let guess = guess(path)
            .or_else(|| guess(Path::new(key)))
            .unwrap_or("application/octet-stream");
        self.set(CONTENT_TYPE, guess);
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.object.retain(|(known, _)| known != name);
        self.object.push((name.into(), value.into()));
    }
}

pub(super) fn acl_value(acl: ObjectAcl) -> &'static str {
    match acl {
        ObjectAcl::Private => "private",
        ObjectAcl::PublicRead => "public-read",
        ObjectAcl::PublicReadWrite => "public-read-write",
        ObjectAcl::Default => "default",
    }
}

pub(super) fn storage_class_value(class: StorageClass) -> &'static str {
    match class {
        StorageClass::Standard => "Standard",
        StorageClass::InfrequentAccess => "IA",
        StorageClass::Archive => "Archive",
        StorageClass::ColdArchive => "ColdArchive",
        StorageClass::DeepColdArchive => "DeepColdArchive",
    }
}

fn switch(on: bool, name: &'static str, value: &str) -> Vec<Header> {
    if on {
        vec![(name.into(), value.into())]
    } else {
        Vec::new()
    }
}

/// Removes the white space that HTTP does not transport at the ends of a value. Other white space
/// is part of it.
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// Returns the name in lower case, without the prefix.
fn meta_name(name: &str) -> Result<String> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix(META_PREFIX).unwrap_or(&lower);
    let reason = if bare.is_empty() {
        format!("the name {name:?} is empty; give one")
    } else if bare
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Ok(bare.to_owned());
    } else {
        // Servers in front of OSS drop headers with underscores, and the signature does not match
        // then.
        format!(
            "the name {name:?} must have only ASCII letters, digits and '-'; in place of '_' and '.' use '-'"
        )
    };
    Err(Error::option("meta", reason))
}

/// Returns the value as it will be sent and signed.
fn checked_value<'a>(option: &'static str, value: &'a str) -> Result<&'a str> {
    let wrong = |why: &str| Err(Error::option(option, format!("{value:?} {why}")));
    let trimmed = trim(value);
    if trimmed.is_empty() {
        return wrong("is empty; omit the option, or give a value");
    }
    if trimmed.chars().any(char::is_control) {
        return wrong("contains a control character; remove it");
    }
    if !trimmed.is_ascii() {
        return wrong(
            "contains characters outside ASCII; percent-encode them \
             (in Content-Disposition as filename*=UTF-8''…)",
        );
    }
    Ok(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::complete::ObjectInfo;

    fn value<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn meta(entries: &[(&str, &str)]) -> Result<Vec<Header>> {
        let mut headers = RequestHeaders::default();
        for (name, value) in entries {
            headers.add_meta(name, value)?;
        }
        headers.finish()?;
        Ok(headers.initiate())
    }

    #[test]
    fn meta_names_have_letters_digits_and_hyphens() {
        let headers = meta(&[("Author", "a"), ("x-oss-meta-B-1", "b"), ("AUTHOR", "c")]).unwrap();
        assert_eq!(value(&headers, "x-oss-meta-author"), Some("c"));
        assert_eq!(value(&headers, "x-oss-meta-b-1"), Some("b"));
        for name in ["my_key", "my.key"] {
            let error = meta(&[(name, "v")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("use '-'"), "{error}");
        }
        for name in ["", "x-oss-meta-", "a b", "a:b", "é", "a\n"] {
            assert!(meta(&[(name, "v")]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn meta_values_are_sent_whole_and_not_empty() {
        for (given, sent) in [
            (" \t two  words \t", "two  words"),
            ("\u{3000}x\u{a0}", "%E3%80%80x%C2%A0"),
            ("李", "%E6%9D%8E"),
            ("\u{85}", "%C2%85"),
            ("100% =&?;\"'<>~|", "100% =&?;\"'<>~|"),
        ] {
            let headers = meta(&[("a", given)]).unwrap();
            assert_eq!(value(&headers, "x-oss-meta-a"), Some(sent), "{given:?}");
        }
        for wrong in ["", " ", "\t", "a\nb", "a\tb", "\r", "\u{7f}"] {
            assert!(meta(&[("a", wrong)]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn meta_is_limited_in_bytes_and_entries() {
        let fits = META_BYTES_END - META_PREFIX.len() - 2;
        assert!(meta(&[("a", &"v".repeat(fits))]).is_ok());
        let error = meta(&[("a", &"v".repeat(fits + 1))])
            .unwrap_err()
            .to_string();
        assert!(error.contains("8192"), "{error}");
        let names: Vec<String> = (0..=META_ENTRIES_MAX)
            .map(|number| format!("n{number}"))
            .collect();
        let entries: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(meta(&entries[..META_ENTRIES_MAX]).is_ok());
        assert!(meta(&entries).is_err());
    }

    #[test]
    fn headers_go_with_their_requests() {
        let mut headers = RequestHeaders::default();
        headers.set_object_acl(ObjectAcl::PublicRead);
        headers.set_storage_class(StorageClass::InfrequentAccess);
        headers.set_forbid_overwrite(true);
        headers.set_request_payer(true);
        headers.set_traffic_limit(819_200);
        headers
            .set_callback(&Callback::new("http://h/", "b").var("x:a", "b"))
            .unwrap();
        headers.add_tag("a b", "c").unwrap();
        headers.finish().unwrap();
        let names = |headers: &[Header]| {
            let mut names: Vec<_> = headers.iter().map(|(name, _)| name.to_string()).collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(names(headers.common()), REQUEST_PAYER);
        assert_eq!(
            names(&headers.part()),
            "x-oss-request-payer x-oss-traffic-limit"
        );
        assert_eq!(
            names(&headers.initiate()),
            "x-oss-forbid-overwrite x-oss-object-acl x-oss-request-payer x-oss-storage-class x-oss-tagging"
        );
        assert_eq!(
            names(&headers.complete()),
            "x-oss-callback x-oss-callback-var x-oss-forbid-overwrite x-oss-object-acl x-oss-request-payer"
        );
        assert_eq!(headers.put().len(), 8);
        assert!(headers.has_callback());
        headers.set_forbid_overwrite(false);
        headers.set_request_payer(false);
        assert_eq!(names(headers.common()), "");
        assert_eq!(value(&headers.initiate(), TAGGING), Some("a%20b=c"));
    }

    /// A checkpoint of an earlier version must still fit.
    #[test]
    fn headers_fingerprint_is_stable() {
        let mut headers = RequestHeaders::default();
        headers.set_object_acl(ObjectAcl::Private);
        headers
            .set_text("content_type", "content-type", " text/plain ")
            .unwrap();
        headers.add_meta("a", "1").unwrap();
        headers.finish().unwrap();
        headers.set_traffic_limit(819_200);
        assert_eq!(
            headers.fingerprint(true),
            "true[(\"content-type\", \"text/plain\"), (\"x-oss-meta-a\", \"1\"), \
             (\"x-oss-object-acl\", \"private\")]"
        );
    }

    #[test]
    fn headers_encryption_is_replaced_as_a_whole() {
        let mut headers = RequestHeaders::default();
        let key_id = Some("id".to_owned());
        headers
            .set_encryption(ServerSideEncryption::Kms { key_id })
            .unwrap();
        assert_eq!(value(&headers.put(), ENCRYPTION_KEY_ID), Some("id"));
        headers
            .set_encryption(ServerSideEncryption::Aes256)
            .unwrap();
        assert_eq!(value(&headers.put(), ENCRYPTION_KEY_ID), None);
        let key_id = Some("a\nb".to_owned());
        assert!(
            headers
                .set_encryption(ServerSideEncryption::Kms { key_id })
                .is_err()
        );
    }

    #[test]
    fn headers_text_is_ascii_without_control_characters() {
        let mut headers = RequestHeaders::default();
        for wrong in ["", " ", "a\nb", "中", "\u{3000}"] {
            assert!(
                headers
                    .set_text("cache_control", "cache-control", wrong)
                    .is_err(),
                "{wrong:?}"
            );
        }
        headers
            .set_text("cache_control", "cache-control", " no-cache\t")
            .unwrap();
        assert_eq!(value(&headers.put(), "cache-control"), Some("no-cache"));
    }

    #[test]
    fn tag_rules() {
        let add = |key: &str, value: &str| RequestHeaders::default().add_tag(key, value);
        assert!(add("团队", "x +-=._:/").is_ok());
        assert!(add(&"k".repeat(128), &"v".repeat(256)).is_ok());
        assert!(add("", "v").is_err());
        assert!(add(&"k".repeat(129), "v").is_err());
        assert!(add("k", &"v".repeat(257)).is_err());
        assert!(add("k", "a,b").is_err());
        let mut headers = RequestHeaders::default();
        for number in 0..=TAGS_MAX {
            headers.add_tag(&number.to_string(), "v").unwrap();
        }
        assert!(headers.finish().is_err());
    }

    #[test]
    fn expires_has_the_years_of_http() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut headers = RequestHeaders::default();
        headers.set_expires(at(253_402_300_799)).unwrap();
        assert_eq!(
            value(&headers.put(), EXPIRES),
            Some("Fri, 31 Dec 9999 23:59:59 GMT")
        );
        assert!(headers.set_expires(at(253_402_300_800)).is_err());
        assert!(
            headers
                .set_expires(SystemTime::UNIX_EPOCH - Duration::from_secs(1))
                .is_err()
        );
    }

    #[test]
    fn headers_agree_with_the_object_that_they_describe() {
        let mut headers = RequestHeaders::default();
        headers
            .set_text("content_type", CONTENT_TYPE, "text/plain")
            .unwrap();
        headers.add_meta("a", "李").unwrap();
        headers.finish().unwrap();
        let agree = |headers: &RequestHeaders, reported: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
            headers.agree_with(&Head {
                size: None,
                last_modified: None,
                object: ObjectInfo::default(),
                headers: reported.iter().map(pair).collect(),
            })
        };
        let same = [
            ("content-type", "text/plain"),
            ("x-oss-meta-a", "%E6%9D%8E"),
            ("x-oss-meta-b", "2"),
        ];
        assert!(agree(&headers, &same));
        assert!(!agree(&headers, &same[..1]));
        assert!(!agree(&headers, &[("content-type", "text/html"), same[1]]));
        assert!(!headers.has_hidden_properties());
        headers.add_tag("a", "b").unwrap();
        headers.finish().unwrap();
        assert!(agree(&headers, &same) && headers.has_hidden_properties());
        let mut headers = RequestHeaders::default();
        headers.set_object_acl(ObjectAcl::Private);
        assert!(agree(&headers, &[]) && headers.has_hidden_properties());
    }
}

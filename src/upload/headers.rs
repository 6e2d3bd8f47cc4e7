//! Which header goes with which request.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::content_type::guess;
use super::options::ServerSideEncryption;
use crate::callback::Callback;
use crate::encoding::{percent_encode, percent_encode_non_ascii};
use crate::protocol::request::Header;
use crate::time;
use crate::{Error, Result};

/// All user metadata together: bytes.
const META_BYTES_MAX: usize = 8 * 1024;
const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// The end of the year 9999, where HTTP dates end: seconds since 1970.
const EXPIRES_MAX: Duration = Duration::from_secs(253_402_300_800);
const META_PREFIX: &str = "x-oss-meta-";

#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// What the object is to have: at Initiate, or with the PutObject.
    object: Vec<Header>,
    /// Judged when the upload begins and when it ends: ACL and forbid-overwrite.
    overwrite: Vec<Header>,
    /// With the request that makes the object.
    callback: Vec<Header>,
    /// With the requests that carry bytes.
    traffic: Vec<Header>,
    /// With every request.
    payer: Vec<Header>,
}

impl Headers {
    pub(super) fn initiate(&self) -> Vec<Header> {
        [&self.object[..], &self.overwrite, &self.payer].concat()
    }

    pub(super) fn part(&self) -> Vec<Header> {
        [&self.traffic[..], &self.payer].concat()
    }

    pub(super) fn complete(&self) -> Vec<Header> {
        [&self.overwrite[..], &self.callback, &self.payer].concat()
    }

    pub(super) fn put(&self) -> Vec<Header> {
        [
            &self.object[..],
            &self.overwrite,
            &self.callback,
            &self.traffic,
            &self.payer,
        ]
        .concat()
    }

    /// For the requests that only ask, and for Abort.
    pub(super) fn common(&self) -> &[Header] {
        &self.payer
    }

    pub(super) fn has_callback(&self) -> bool {
        !self.callback.is_empty()
    }

    /// What the finished object depends on; a record remembers its digest.
    pub(super) fn fingerprint(&self, sequential: bool) -> String {
        let headers = self.object.iter().chain(&self.overwrite);
        let mut headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (&**name, value.as_str()))
            .collect();
        headers.sort_unstable();
        format!("{sequential}{headers:?}")
    }

    pub(super) fn callback(&mut self, callback: &Callback) {
        self.callback = vec![("x-oss-callback".into(), callback.header())];
        if let Some(vars) = callback.vars_header() {
            self.callback.push(("x-oss-callback-var".into(), vars));
        }
    }

    pub(super) fn forbid_overwrite(&mut self, forbid: bool) {
        self.overwrite = if forbid {
            vec![("x-oss-forbid-overwrite".into(), "true".into())]
        } else {
            Vec::new()
        };
    }

    pub(super) fn traffic_limit(&mut self, bits_per_second: u64) {
        self.traffic = vec![("x-oss-traffic-limit".into(), bits_per_second.to_string())];
    }

    pub(super) fn request_payer(&mut self, requester: bool) {
        self.payer = if requester {
            vec![("x-oss-request-payer".into(), "requester".into())]
        } else {
            Vec::new()
        };
    }

    pub(super) fn expires(&mut self, at: SystemTime) -> Result<()> {
        match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) if since < EXPIRES_MAX => {
                self.set("expires", time::format_http_date(at));
                Ok(())
            }
            _ => {
                let when = if at < SystemTime::UNIX_EPOCH {
                    "before 1970"
                } else {
                    "after 9999"
                };
                Err(Error::option(
                    "expires",
                    format!("the time is {when}: HTTP has the years 1970 to 9999"),
                ))
            }
        }
    }

    pub(super) fn encryption(&mut self, encryption: ServerSideEncryption) -> Result<()> {
        const ENCRYPTION: &str = "x-oss-server-side-encryption";
        const KEY_ID: &str = "x-oss-server-side-encryption-key-id";
        self.object.retain(|(name, _)| name != KEY_ID);
        match encryption {
            ServerSideEncryption::Aes256 => self.set(ENCRYPTION, "AES256"),
            ServerSideEncryption::Sm4 => self.set(ENCRYPTION, "SM4"),
            ServerSideEncryption::Kms { key_id } => {
                self.set(ENCRYPTION, "KMS");
                if let Some(key_id) = key_id {
                    check_value("server_side_encryption", &key_id)?;
                    self.set(KEY_ID, key_id);
                }
            }
        }
        Ok(())
    }

    /// Adds what was collected by name.
    pub(super) fn finish(
        &mut self,
        headers: BTreeMap<&'static str, (&'static str, String)>,
        meta: &BTreeMap<String, String>,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        for (header, (option, value)) in headers {
            check_value(option, &value)?;
            // Spaces around a value do not arrive, and V1 signs what arrives.
            let value = value.trim().to_owned();
            match header {
                "x-oss-object-acl" => self.overwrite.push((header.into(), value)),
                _ => self.set(header, value),
            }
        }
        self.meta(meta)?;
        self.tags(tags)
    }

    /// The name in lower case, without the prefix that some give and some do not.
    pub(super) fn meta_name(name: &str) -> Result<String> {
        let lower = name.to_ascii_lowercase();
        let bare = lower.strip_prefix(META_PREFIX).unwrap_or(&lower);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bare.is_empty() || !bare.bytes().all(token) {
            let reason = format!(
                "the name {name:?} may have only letters, digits, '-', '_' and '.' of ASCII, and one at least"
            );
            return Err(Error::option("meta", reason));
        }
        Ok(bare.to_owned())
    }

    fn meta(&mut self, meta: &BTreeMap<String, String>) -> Result<()> {
        let mut bytes = 0;
        for (name, value) in meta {
            if value.chars().any(char::is_control) {
                return Err(Error::option(
                    "meta",
                    format!(
                        "the value of {name}, {value:?}, has a control character, which no header can hold"
                    ),
                ));
            }
            let value = percent_encode_non_ascii(value.trim()).into_owned();
            bytes += META_PREFIX.len() + name.len() + value.len();
            self.object
                .push((format!("{META_PREFIX}{name}").into(), value));
        }
        if bytes > META_BYTES_MAX {
            let reason = format!(
                "{bytes} bytes of names and encoded values; OSS takes {META_BYTES_MAX} together"
            );
            return Err(Error::option("meta", reason));
        }
        Ok(())
    }

    fn tags(&mut self, tags: &BTreeMap<String, String>) -> Result<()> {
        if tags.len() > TAGS_MAX {
            return Err(Error::option(
                "tag",
                format!("{} tags; OSS takes {TAGS_MAX} at most", tags.len()),
            ));
        }
        let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "+-=._:/".contains(c);
        for (text, chars_max) in tags
            .iter()
            .flat_map(|(key, value)| [(key, TAG_KEY_CHARS_MAX), (value, TAG_VALUE_CHARS_MAX)])
        {
            if text.chars().count() > chars_max {
                return Err(Error::option(
                    "tag",
                    format!("{text:?} has more than {chars_max} characters"),
                ));
            }
            if !text.chars().all(allowed) {
                let reason =
                    format!("{text:?} may have only letters, digits, spaces and + - = . _ : /");
                return Err(Error::option("tag", reason));
            }
        }
        if tags.contains_key("") {
            return Err(Error::option("tag", "the key is empty"));
        }
        if !tags.is_empty() {
            let pairs = tags
                .iter()
                .map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value)));
            self.set("x-oss-tagging", pairs.collect::<Vec<_>>().join("&"));
        }
        Ok(())
    }

    /// Where the user gave none: by the file's name, then by the key's.
    pub(super) fn guess_content_type(&mut self, path: &Path, key: &str) {
        if self.object.iter().any(|(name, _)| name == "content-type") {
            return;
        }
        let guess = guess(path)
            .or_else(|| guess(Path::new(key)))
            .unwrap_or("application/octet-stream");
        self.set("content-type", guess);
    }

    fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.object.retain(|(known, _)| known != name);
        self.object.push((name.into(), value.into()));
    }
}

fn check_value(option: &'static str, value: &str) -> Result<()> {
    let wrong = |why: &str| Err(Error::option(option, format!("{value:?} {why}")));
    if value.trim().is_empty() {
        return wrong("is empty: leave the option away, or give a value");
    }
    if value.chars().any(char::is_control) {
        return wrong("has a control character, which no header can hold");
    }
    if !value.is_ascii() {
        return wrong(
            "has characters outside ASCII: percent-encode them (in Content-Disposition as filename*=UTF-8''…)",
        );
    }
    Ok(())
}

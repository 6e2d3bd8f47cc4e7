//! Validation of request headers: their values, and where they are allowed.

use crate::digest::Digests;
use crate::error::{OssError, Result};
use crate::faults::Operation;
use crate::request::Head;
use crate::store::Attributes;
use crate::text::{base64, decode, from_base64};

const STORAGE_CLASSES: [&str; 5] = [
    "Standard",
    "IA",
    "Archive",
    "ColdArchive",
    "DeepColdArchive",
];
const ACLS: [&str; 4] = ["default", "private", "public-read", "public-read-write"];
const ENCRYPTIONS: [&str; 3] = ["AES256", "KMS", "SM4"];
const ENCRYPTION_HEADERS: [&str; 3] = [
    "x-oss-server-side-encryption",
    "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id",
];
const CONTENT_HEADERS: [&str; 6] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];
/// The allowed values of `x-oss-traffic-limit`, in bits per second.
const TRAFFIC_LIMITS: std::ops::RangeInclusive<u64> = 819_200..=838_860_800;
/// The metadata of an object must be smaller than this.
const METADATA_BYTES_LIMIT: usize = 8 * 1024;
/// The metadata of clients that encrypt is sent with parts, too, and has no effect there.
const CLIENT_ENCRYPTION_PREFIX: &str = "x-oss-meta-client-side-encryption-";
/// The ID of the key that is used if the client names none.
const DEFAULT_KMS_KEY_ID: &str = "00000000-0000-0000-0000-000000000000";
const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// Checks all headers against the operation.
pub(crate) fn check_headers(head: &Head) -> Result<()> {
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value);
        if is_misplaced(name, head.operation) {
            let message = format!("The header {name} is not allowed in this request.");
            let error = OssError::invalid_argument(name, &value, message);
            return Err(match (name.as_str(), head.operation) {
                ("x-oss-storage-class", Operation::UploadPart) => error.ec("0042-00000101"),
                _ => error,
            });
        }
        if name == "if-modified-since" && head.operation == Operation::PutObject {
            let message = "A header you provided implies functionality that is not implemented.";
            return Err(OssError::new(400, "NotImplemented", message).with("Header", name));
        }
        if let Some(suffix) = name.strip_prefix("x-oss-meta-") {
            check_metadata_name(name, suffix)?;
        }
        check_value(name, &value)?;
    }
    let meta = head
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-"));
    let bytes: usize = meta.map(|(name, value)| name.len() + value.len()).sum();
    if bytes >= METADATA_BYTES_LIMIT {
        let message = "Your metadata headers exceed the maximum allowed metadata size.";
        return Err(
            OssError::new(400, "InvalidArgument", message).with("ArgumentName", "x-oss-meta-*")
        );
    }
    Ok(())
}

/// Checks the name of a metadata header. One with an underscore never gets here: the front end
/// drops it, and the signature does not match.
fn check_metadata_name(name: &str, suffix: &str) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !suffix.is_empty() && suffix.bytes().all(is_allowed) {
        return Ok(());
    }
    let message = "The name of a metadata header must consist of letters, digits and hyphens.";
    Err(OssError::invalid_argument("x-oss-meta-*", name, message).ec("0011-00000004"))
}

/// Returns whether a header is sent with an operation for which it has no effect.
fn is_misplaced(name: &str, operation: Operation) -> bool {
    match operation {
        Operation::InitiateMultipartUpload => name.starts_with("x-oss-callback"),
        Operation::UploadPart => {
            let is_ignored = name.starts_with(CLIENT_ENCRYPTION_PREFIX);
            name.starts_with("x-oss-callback") || (is_object_header(name) && !is_ignored)
        }
        Operation::CompleteMultipartUpload => is_object_header(name),
        _ => false,
    }
}

/// Returns whether a header describes the object, so that it belongs into PutObject or
/// InitiateMultipartUpload.
fn is_object_header(name: &str) -> bool {
    name.starts_with("x-oss-meta-")
        || ENCRYPTION_HEADERS.contains(&name)
        || ["x-oss-storage-class", "x-oss-tagging"].contains(&name)
}

fn check_value(name: &str, value: &str) -> Result<()> {
    let one_of = |list: &[&str]| list.contains(&value);
    let good = match name {
        "x-oss-storage-class" => one_of(&STORAGE_CLASSES),
        "x-oss-object-acl" => one_of(&ACLS),
        "x-oss-server-side-encryption" => one_of(&ENCRYPTIONS),
        "x-oss-server-side-data-encryption" => value == "SM4",
        "x-oss-request-payer" => value == "requester",
        "x-oss-traffic-limit" => value
            .parse()
            .is_ok_and(|limit| TRAFFIC_LIMITS.contains(&limit)),
        "x-oss-tagging" => return check_tagging(value),
        _ => true,
    };
    if good {
        return Ok(());
    }
    let message = format!("The value of {name} is not valid.");
    let error = OssError::invalid_argument(name, value, message);
    Err(match name {
        "x-oss-traffic-limit" => error.ec("0004-00000502"),
        _ => error,
    })
}

fn check_tagging(tagging: &str) -> Result<()> {
    let invalid =
        || OssError::invalid_argument("x-oss-tagging", tagging, "The tagging is not valid.");
    let tags = parse_tagging(tagging).ok_or_else(invalid)?;
    let allowed = |text: &str| {
        text.chars()
            .all(|c| c.is_alphanumeric() || " +-=._:/".contains(c))
    };
    let good = |(index, (key, value)): (usize, &(String, String))| {
        let unique = tags[..index].iter().all(|(earlier, _)| earlier != key);
        let lengths = (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS_MAX;
        unique && lengths && allowed(key) && allowed(value)
    };
    if tags.len() <= TAGS_MAX && tags.iter().enumerate().all(good) {
        Ok(())
    } else {
        Err(invalid())
    }
}

/// Decodes tags such as `k=v&k2=v2`; an unencoded space, plus or slash stands for itself.
pub(crate) fn parse_tagging(tagging: &str) -> Option<Vec<(String, String)>> {
    let tag = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let must_be_encoded = ['=', '#', '?'];
        if key.contains(must_be_encoded) || value.contains(must_be_encoded) {
            return None;
        }
        Some((decode(key)?, decode(value)?))
    };
    tagging.split('&').map(tag).collect()
}

/// Returns the headers that the object will have.
///
/// The data encryption SM4 exists only with KMS; otherwise its header is dropped.
pub(crate) fn attributes(head: &Head) -> Attributes {
    let kept = |name: &str| {
        CONTENT_HEADERS.contains(&name)
            || name.starts_with("x-oss-meta-")
            || name == "x-oss-storage-class"
            || ENCRYPTION_HEADERS.contains(&name)
    };
    let [encryption, data_encryption, _] = ENCRYPTION_HEADERS;
    let uses_kms = head.header(encryption) == Some("KMS");
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| kept(name) && (uses_kms || name != data_encryption))
        .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
        .collect();
    Attributes {
        headers,
        tagging: head.header("x-oss-tagging").map(str::to_owned),
        acl: head.header("x-oss-object-acl").map(str::to_owned),
    }
}

/// Returns the encryption headers of responses. With KMS there is always a key ID.
pub(crate) fn encryption_headers(attributes: &Attributes) -> Vec<(String, String)> {
    let [encryption, _, key_id] = ENCRYPTION_HEADERS;
    let mut headers: Vec<(String, String)> = attributes
        .headers
        .iter()
        .filter(|(name, _)| ENCRYPTION_HEADERS.contains(&name.as_str()))
        .cloned()
        .collect();
    if attributes.header(encryption) == Some("KMS") && attributes.header(key_id).is_none() {
        headers.push((key_id.to_owned(), DEFAULT_KMS_KEY_ID.to_owned()));
    }
    headers
}

/// Compares a body with the `Content-MD5` of its request.
pub(crate) fn check_md5(head: &Head, digests: &Digests) -> Result<()> {
    let Some(expected) = head.header("content-md5") else {
        return Ok(());
    };
    let well_formed = from_base64(expected).is_some_and(|bytes| bytes.len() == 16);
    let equal = digests.md5.is_none_or(|md5| base64(md5) == expected);
    if well_formed && equal {
        return Ok(());
    }
    Err(OssError::new(
        400,
        "InvalidDigest",
        "The Content-MD5 you specified is not valid.",
    )
    .ec("0017-00000503")
    .with("Content-MD5", expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagging_validation() {
        let ten: Vec<String> = (0..10).map(|index| format!("k{index}=v")).collect();
        let good = [
            "a=b",
            "a=b&c=d",
            "a",
            "a=",
            "a%20b=%2F",
            "\u{4e2d}=\u{6587}",
            "a=b%3D",
            "a= + ",
            "a/b=c/d",
            &ten.join("&"),
        ];
        for tagging in good {
            assert!(check_tagging(tagging).is_ok(), "{tagging}");
        }
        let eleven = format!("{}&k10=v", ten.join("&"));
        for tagging in ["", "=b", "a=b&a=c", "a=%21", "a=b=c", "a=b#", &eleven] {
            assert!(check_tagging(tagging).is_err(), "{tagging}");
        }
    }

    #[test]
    fn header_values() {
        assert!(check_value("x-oss-storage-class", "IA").is_ok());
        assert!(check_value("x-oss-storage-class", "Cold").is_err());
        for good in ["819200", "838860800"] {
            assert!(check_value("x-oss-traffic-limit", good).is_ok());
        }
        for bad in ["819199", "838860801", "", "x"] {
            let error = check_value("x-oss-traffic-limit", bad).expect_err(bad);
            assert_eq!(error.ec, Some("0004-00000502"));
        }
    }

    #[test]
    fn header_places() {
        for (name, operation, misplaced) in [
            ("x-oss-callback-var", Operation::UploadPart, true),
            ("x-oss-callback", Operation::CompleteMultipartUpload, false),
            ("x-oss-meta-a", Operation::CompleteMultipartUpload, true),
            ("x-oss-meta-a", Operation::UploadPart, true),
            (
                "x-oss-meta-client-side-encryption-key",
                Operation::UploadPart,
                false,
            ),
            ("x-oss-server-side-encryption", Operation::UploadPart, true),
        ] {
            assert_eq!(is_misplaced(name, operation), misplaced, "{name}");
        }
    }

    #[test]
    fn metadata_names() {
        assert!(check_metadata_name("x-oss-meta-a-1", "a-1").is_ok());
        for bad in ["", "a.b", "a~b"] {
            assert!(check_metadata_name("x-oss-meta-", bad).is_err(), "{bad}");
        }
    }
}

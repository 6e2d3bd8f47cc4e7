//! What the headers of a request may say, and where.

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
/// Bits per second.
const TRAFFIC_LIMITS: std::ops::RangeInclusive<u64> = 245_760..=838_860_800;
const META_BYTES_MAX: usize = 8 * 1024;
const TAGS_MAX: usize = 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// Checks all headers against the operation.
pub(crate) fn check_headers(head: &Head) -> Result<()> {
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value);
        if is_misplaced(name, head.operation) {
            let message = format!("The header {name} has no place in this request.");
            return Err(OssError::invalid_argument(name, &value, message));
        }
        check_value(name, &value)?;
    }
    let meta = head
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-oss-meta-"));
    let bytes: usize = meta.map(|(name, value)| name.len() + value.len()).sum();
    if bytes > META_BYTES_MAX {
        let message = "Your metadata headers exceed the maximum allowed metadata size.";
        return Err(
            OssError::new(400, "InvalidArgument", message).with("ArgumentName", "x-oss-meta-*")
        );
    }
    Ok(())
}

/// Whether a header is sent with an operation on which it has no effect.
fn is_misplaced(name: &str, operation: Operation) -> bool {
    match operation {
        Operation::InitiateMultipartUpload => name.starts_with("x-oss-callback"),
        Operation::UploadPart => name.starts_with("x-oss-callback") || is_object_header(name),
        Operation::CompleteMultipartUpload => is_object_header(name),
        _ => false,
    }
}

/// Whether a header says what the object will be, and so belongs where the object begins.
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
    Err(OssError::invalid_argument(
        name,
        value,
        format!("The value of {name} is not valid."),
    ))
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

/// The decoded tags of `k=v&k2=v2`.
pub(crate) fn parse_tagging(tagging: &str) -> Option<Vec<(String, String)>> {
    let tag = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What the encoding must hide does not appear bare.
        let bare = |text: &str| text.contains(['=', ' ', '#', '?', '/']);
        if bare(key) || value.contains(['=', ' ', '#', '?']) {
            return None;
        }
        Some((decode(key)?, decode(value)?))
    };
    tagging.split('&').map(tag).collect()
}

/// What the headers say about the object to come.
pub(crate) fn attributes(head: &Head) -> Attributes {
    let kept = |name: &str| {
        CONTENT_HEADERS.contains(&name)
            || name.starts_with("x-oss-meta-")
            || name == "x-oss-storage-class"
            || ENCRYPTION_HEADERS.contains(&name)
    };
    let headers = head.headers.iter().filter(|(name, _)| kept(name));
    Attributes {
        headers: headers
            .map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned()))
            .collect(),
        tagging: head.header("x-oss-tagging").map(str::to_owned),
        acl: head.header("x-oss-object-acl").map(str::to_owned),
    }
}

/// The headers that tell of the encryption, for an response.
pub(crate) fn encryption_headers(
    attributes: &Attributes,
) -> impl Iterator<Item = &(String, String)> {
    attributes
        .headers
        .iter()
        .filter(|(name, _)| ENCRYPTION_HEADERS.contains(&name.as_str()))
}

/// Compares a body with the `Content-MD5` of its request.
pub(crate) fn check_md5(head: &Head, digests: &Digests) -> Result<()> {
    let Some(claimed) = head.header("content-md5") else {
        return Ok(());
    };
    let well_formed = from_base64(claimed).is_some_and(|bytes| bytes.len() == 16);
    let equal = digests.md5.is_none_or(|md5| base64(md5) == claimed);
    if well_formed && equal {
        return Ok(());
    }
    Err(OssError::new(
        400,
        "InvalidDigest",
        "The Content-MD5 you specified is not valid.",
    )
    .ec("0017-00000503")
    .with("Content-MD5", claimed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taggings() {
        let eleven: Vec<String> = (0..11).map(|index| format!("k{index}=v")).collect();
        for good in ["a=b", "a=b&c=d", "a", "a%20b=%2F", "\u{4e2d}=x", "a=b%3D"] {
            assert!(check_tagging(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "=b",
            "a=b&a=c",
            "a=b c",
            "a=%21",
            "a=b=c",
            &eleven.join("&"),
        ] {
            assert!(check_tagging(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values() {
        assert!(check_value("x-oss-storage-class", "IA").is_ok());
        assert!(check_value("x-oss-storage-class", "Cold").is_err());
        assert!(check_value("x-oss-traffic-limit", "245760").is_ok());
        assert!(check_value("x-oss-traffic-limit", "245759").is_err());
        assert!(is_misplaced("x-oss-callback-var", Operation::UploadPart));
        assert!(!is_misplaced(
            "x-oss-callback",
            Operation::CompleteMultipartUpload
        ));
        assert!(is_misplaced(
            "x-oss-meta-a",
            Operation::CompleteMultipartUpload
        ));
    }
}

//! The rules for names that are part of a request: buckets, keys and upload IDs.
//!
//! They are checked where a caller gives them and where a checkpoint or a response does.

/// Bytes of UTF-8.
const KEY_BYTES_MAX: usize = 1023;
/// In bytes. Upload IDs of OSS have 32; the limit keeps the request line within what servers
/// accept.
const UPLOAD_ID_BYTES_MAX: usize = 1024;

/// Returns whether `text` is 3 to 63 lower-case letters, digits and hyphens, without a hyphen at
/// its ends.
///
/// The name of a bucket becomes part of the host of a request, so nothing else is accepted.
pub(crate) fn is_bucket_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (3..=63).contains(&text.len())
        && text.bytes().all(valid)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Returns whether `text` can be an upload ID: visible ASCII, and not too long.
pub(crate) fn is_upload_id(text: &str) -> bool {
    (1..=UPLOAD_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns what is wrong with an object's key, if anything is.
pub(crate) fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("must not be empty; give the name of the object".into());
    }
    if key.len() > KEY_BYTES_MAX {
        let head: String = key.chars().take(40).collect();
        return Err(format!(
            "{head:?}… has {} bytes; OSS accepts {KEY_BYTES_MAX} at most",
            key.len()
        ));
    }
    if key.starts_with(['/', '\\']) {
        return Err(format!(
            "{key:?} must not start with a slash or a backslash"
        ));
    }
    // HTTP servers reject NUL or truncate the line there. The other two are not characters, and XML
    // must not contain them.
    if let Some(character) = key
        .chars()
        .find(|character| matches!(character, '\0' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(format!(
            "{key:?} contains {character:?}, which a request cannot carry"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_name_rules() {
        for name in ["abc", "a-b", "123", &"x".repeat(63)] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in [
            "",
            "ab",
            "-ab",
            "ab-",
            "Abc",
            "a.b",
            "a/b",
            "a@b",
            "a_b",
            &"x".repeat(64),
        ] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }

    #[test]
    fn upload_id_rules() {
        for id in [
            "0",
            "0004B9894A22E5B1888A1E29F8236E2D",
            "a%!~",
            &"x".repeat(1024),
        ] {
            assert!(is_upload_id(id), "{id}");
        }
        for id in [
            "",
            "a b",
            "a\n",
            "中",
            "\u{7f}",
            "a\u{202e}",
            &"x".repeat(1025),
        ] {
            assert!(!is_upload_id(id), "{id:?}");
        }
    }

    #[test]
    fn key_rules() {
        for key in [
            "k",
            "a//b",
            "..",
            "a\u{1}b",
            "中 %+",
            "C:\\x",
            &"x".repeat(1023),
        ] {
            assert_eq!(check_key(key), Ok(()), "{key:?}");
        }
        for key in [
            "",
            "/a",
            "\\a",
            "a\0b",
            "\u{fffe}",
            "\u{ffff}",
            &"x".repeat(1024),
        ] {
            assert!(check_key(key).is_err(), "{key:?}");
        }
    }
}

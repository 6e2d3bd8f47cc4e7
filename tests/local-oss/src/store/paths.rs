//! The paths of objects in the directory of the store.

use std::fmt::Write;

/// The longest file name that is made of one segment of a key.
const NAME_BYTES_MAX: usize = 200;

/// Returns the path of an object below the directory of its bucket, which it can't leave.
///
/// A key becomes a path of the same form. Characters that file names can't have are
/// percent-encoded, `%_` is an empty name, and a long name is continued in a directory that ends in
/// `%-`.
pub(crate) fn relative_path(key: &str) -> String {
    let names: Vec<String> = key.split('/').map(file_name).collect();
    names.join("/")
}

/// Returns a path without directories, for a key that conflicts with another one (`a` and `a/b`).
pub(crate) fn flat_path(key: &str) -> String {
    file_name(key) + "%="
}

fn file_name(segment: &str) -> String {
    let name = match segment {
        "" => "%_".to_owned(),
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => segment.chars().fold(String::new(), |mut name, character| {
            if character.is_control() || "%/\\:*?\"<>|".contains(character) {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(name, "%{byte:02X}");
                }
            } else {
                name.push(character);
            }
            name
        }),
    };
    split_long(&name)
}

fn split_long(name: &str) -> String {
    let mut rest = name;
    let mut path = String::new();
    while rest.len() > NAME_BYTES_MAX {
        let at = (0..=NAME_BYTES_MAX)
            .rev()
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(rest.len());
        path.push_str(&rest[..at]);
        path.push_str("%-/");
        rest = &rest[at..];
    }
    path + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_of_key() {
        for (key, path) in [
            ("a/b.txt", "a/b.txt"),
            ("\u{4e2d}/ x", "\u{4e2d}/ x"),
            ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd"),
            ("a//b/", "a/%_/b/%_"),
            ("a\\b%\u{1}", "a%5Cb%25%01"),
            ("./.x", "%2E/.x"),
        ] {
            assert_eq!(relative_path(key), path, "{key}");
        }
        assert_eq!(flat_path("a/b"), "a%2Fb%=");
        let long = relative_path(&"\u{4e2d}".repeat(341));
        assert!(
            long.split('/')
                .all(|name| name.len() <= 255 && !name.is_empty()),
            "{long}"
        );
    }
}

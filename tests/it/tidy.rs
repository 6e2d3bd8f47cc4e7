//! The house rules, checked instead of hoped for.

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom: a module uses only what has a smaller number. `upload/` and `protocol/` are one module each.
const LAYERS: [(&str, u8); 20] = [
    ("lib", 6),
    ("bucket", 5),
    ("upload", 4),
    ("providers", 4),
    ("client", 3),
    ("transport", 2),
    ("sign", 1),
    ("protocol", 1),
    ("part", 0),
    ("endpoint", 0),
    ("credentials", 0),
    ("crc64", 0),
    ("callback", 0),
    ("cancel", 0),
    ("encoding", 0),
    ("time", 0),
    ("md5_digest", 0),
    ("names", 0),
    ("error", 0),
    ("docs", 6),
];

/// Foreign crates, each with the one file that may name it.
const FOREIGN: [(&str, &[&str]); 18] = [
    (
        "ureq::",
        &[
            "transport/http/mod.rs",
            "transport/http/dial.rs",
            "transport/http/failure.rs",
            "transport/http/response.rs",
            "transport/http/stream.rs",
            "transport/http/tls.rs",
        ],
    ),
    (
        "rustls::",
        &["transport/http/tls.rs", "transport/http/failure.rs"],
    ),
    ("webpki::", &["transport/http/tls.rs"]),
    ("rustix::", &["transport/socket.rs"]),
    ("quick_xml::", &["protocol/xml.rs"]),
    ("crc64fast::", &["crc64.rs"]),
    ("percent_encoding::", &["encoding.rs"]),
    ("base64::", &["encoding.rs"]),
    ("md5::", &["md5_digest.rs"]),
    ("httpdate::", &["time.rs"]),
    ("humantime::", &["time.rs"]),
    ("hmac::", &["sign/v1.rs", "sign/v4.rs"]),
    ("crossbeam_channel::", &["upload/workers.rs"]),
    ("tempfile::", &["upload/checkpoint/file.rs"]),
    ("sha1_smol::", &["sign/v1.rs"]),
    ("sha2::", &["sign/v4.rs"]),
    ("tinyjson::", &["providers/json.rs"]),
    ("fastrand::", &["client/line.rs"]),
];

/// Only one operation's own loop and the connections below it may look at a clock or wait.
const CLOCKS: [&str; 5] = [
    "Instant::now",
    "SystemTime::now",
    "thread::sleep",
    "wait_timeout",
    "recv_timeout",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

/// Path below `src/`, and the text without its tests.
fn sources() -> Vec<(String, String)> {
    fn visit(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, files)
            } else {
                files.push(path)
            }
        }
    }
    let (src, mut files) = (root().join("src"), Vec::new());
    visit(&src, &mut files);
    files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap()
                .to_owned();
            (
                path.strip_prefix(&src)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/"),
                code,
            )
        })
        // Unit tests that fill a folder.
        .filter(|(file, _)| !file.contains("/tests/"))
        .collect()
}

fn layer(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

#[test]
fn a_module_uses_only_what_stands_below_it() {
    for (file, code) in sources() {
        let module = file.split(['/', '.']).next().unwrap();
        let own = layer(module).unwrap_or_else(|| panic!("{file} has no layer"));
        for line in code
            .lines()
            // A re-export gives a name its public path; nothing of it is used there.
            .filter(|line| !line.trim_start().starts_with("//") && !line.starts_with("pub use"))
        {
            for used in line.split("crate::").skip(1) {
                let name: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                // Names without a module are re-exports of the crate's root: errors, results, public values.
                let Some(used) = layer(&name).filter(|_| name != module) else {
                    continue;
                };
                let sibling = own == used && (own == 0 || ["sign", "protocol"].contains(&module));
                assert!(
                    used < own || sibling,
                    "{file} uses {name}, which does not stand below it: {line}"
                );
            }
        }
    }
}

#[test]
fn a_foreign_crate_is_named_in_one_file() {
    for (file, code) in sources() {
        for (foreign, homes) in FOREIGN {
            let named = code
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(foreign));
            assert!(
                !named || homes.contains(&file.as_str()),
                "{file} names {foreign}"
            );
        }
    }
}

#[test]
fn the_client_has_the_only_clock_and_the_only_sleep() {
    for (file, code) in sources() {
        for clock in CLOCKS {
            assert!(
                !code.contains(clock)
                    || file.starts_with("client")
                    || file.starts_with("transport")
                    // They wait for a command and for a response to end.
                    || ["providers/process.rs", "providers/http.rs"].contains(&file.as_str()),
                "{file} has {clock}"
            );
        }
    }
}

#[test]
fn nothing_unfinished_is_left() {
    for (file, code) in sources() {
        for mark in ["todo!", "unimplemented!", "FIXME", "dbg!", "println!"] {
            let used = code
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(mark));
            assert!(!used, "{file} has {mark}");
        }
    }
}

#[test]
fn the_version_is_in_the_changelog() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.lines().any(|line| line.starts_with(&heading)),
        "CHANGELOG.md has no {heading}"
    );
}

//! Rules of the architecture that the compiler does not check. They are checked on the text of
//! `src`, without its tests.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers. A module uses only modules of lower layers, or of its own layer where that is
/// marked.
///
/// A name is a path below `src` without extension, and stands for everything below it as well; the
/// longest name that fits decides. To move a module, change its line.
const LAYERS: &[(&str, u8)] = &[
    // Public API.
    ("lib", 6),
    ("docs", 6),
    ("_bench", 6),
    ("bucket", 5),
    // Files and threads.
    ("upload", 4),
    // Where credentials come from.
    ("providers", 4),
    // Clock and waiting.
    ("client", 3),
    // Sockets and TLS.
    ("transport", 2),
    // No IO from here on.
    ("protocol", 1),
    ("sign", 1),
    ("callback", 0),
    ("cancel", 0),
    ("crc64", 0),
    ("credentials", 0),
    ("encoding", 0),
    ("endpoint", 0),
    ("error", 0),
    ("md5_digest", 0),
    ("names", 0),
    ("part", 0),
    ("time", 0),
    ("uploaded", 0),
];

/// Layers whose modules may use each other.
const LAYERS_WITH_SIBLINGS: &[u8] = &[0, 1];

/// A module that only gives another one its public path.
const FACADES: &[(&str, &str)] = &[("credentials", "providers")];

/// Foreign crates, each with the files (or the folder) that may name it.
const FOREIGN: &[(&str, &[&str])] = &[
    ("ureq", &["transport/http"]),
    ("rustls", &["transport/http"]),
    ("webpki", &["transport/http"]),
    ("rustix", &["transport/socket"]),
    ("quick_xml", &["protocol/xml"]),
    ("crc64fast", &["crc64"]),
    ("percent_encoding", &["encoding"]),
    ("base64", &["encoding"]),
    ("md5", &["md5_digest"]),
    ("httpdate", &["time"]),
    ("humantime", &["time"]),
    ("hmac", &["sign"]),
    ("sha1_smol", &["sign/v1"]),
    ("sha2", &["sign/v4"]),
    ("crossbeam_channel", &["upload/workers"]),
    ("tempfile", &["upload/checkpoint"]),
    ("fastrand", &["client/dispatch"]),
    ("tinyjson", &["providers/json"]),
];

/// What reads a clock, sleeps, or waits with a timeout, and the files that may do so.
const CLOCKS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "thread::sleep",
    "park_timeout",
    "wait_timeout",
    "recv_timeout",
    "recv_deadline",
    "send_timeout",
    "send_deadline",
];
/// `upload/workers` and `upload/tree` wait for messages of their threads, by the time of the client.
const MAY_USE_CLOCKS: &[&str] = &[
    "client",
    "providers/http",
    "providers/process",
    "transport",
    "upload/workers",
    "upload/tree",
];

struct Source {
    /// The path below `src` without extension; `upload/mod.rs` is `upload`.
    module: String,
    /// The text without comments, literals and unit tests.
    code: String,
}

fn sources() -> Vec<Source> {
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
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    visit(&src, &mut files);
    let rust = files
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut sources: Vec<_> = rust
        .filter_map(|path| {
            let module = path.strip_prefix(&src).unwrap().with_extension("");
            let module = module.to_str().unwrap().replace('\\', "/");
            // Nothing but unit tests.
            if module.ends_with("tests") || module.contains("/tests/") {
                return None;
            }
            let module = module.strip_suffix("/mod").unwrap_or(&module).to_owned();
            Some(Source {
                module,
                code: code(&fs::read_to_string(path).unwrap().replace("\r\n", "\n")),
            })
        })
        .collect();
    sources.sort_by(|a, b| a.module.cmp(&b.module));
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// The text without line comments and unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether `module` is `name` or below it.
fn is_within(module: &str, name: &str) -> bool {
    module
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The most specific line of [`LAYERS`] for a module.
fn layer(module: &str) -> Option<(&'static str, u8)> {
    let fits = LAYERS.iter().filter(|(name, _)| is_within(module, name));
    fits.max_by_key(|(name, _)| name.len()).copied()
}

/// The paths that a `use` tree, or a path in an expression, stands for, without `self` and aliases:
/// `a::{b, c::d}` is `a/b` and `a/c/d`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        return vec![
            path.replace("::", "/")
                .trim_end_matches("/self")
                .trim_end_matches("/*")
                .to_owned(),
        ];
    };
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let prefix = prefix.trim().trim_end_matches("::").replace("::", "/");
    let items = items
        .into_iter()
        .filter(|item| !item.trim().is_empty())
        .flat_map(paths);
    items
        .map(|item| {
            if item == "self" {
                prefix.clone()
            } else {
                join(&prefix, &item)
            }
        })
        .collect()
}

fn join(prefix: &str, path: &str) -> String {
    if prefix.is_empty() {
        path.to_owned()
    } else {
        format!("{prefix}/{path}")
    }
}

/// The texts after each `crate::`, up to the end of the path or of its group.
fn crate_paths(code: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + marker.len()..];
        let (mut depth, mut end) = (0, rest.len());
        for (at, c) in rest.char_indices() {
            let is_path = c.is_alphanumeric() || "_:*".contains(c);
            match c {
                '{' if depth > 0 || rest[..at].ends_with("::") || at == 0 => depth += 1,
                '}' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        end = at + 1;
                        break;
                    }
                }
                _ if depth == 0 && !is_path => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        all.extend(paths(&rest[..end]));
    }
    all
}

/// The names that `lib.rs` re-exports, with the paths they stand for: `Uploaded` is
/// `upload/uploaded/Uploaded`.
fn reexports(lib: &str) -> Vec<(String, String)> {
    let uses =
        ["pub use ", "pub(crate) use ", "pub(super) use "].map(|marker| lib.split(marker).skip(1));
    let paths = uses
        .into_iter()
        .flatten()
        .flat_map(|tree| paths(tree.split(';').next().unwrap()));
    paths
        .filter_map(|path| Some((path.rsplit_once('/')?.1.to_owned(), path)))
        .collect()
}

/// What `name` is re-exported from by the module itself, if it is: `upload::Uploaded` may be
/// `upload/uploaded/Uploaded`.
fn resolve(path: &str, sources: &[Source]) -> String {
    let mut path = path.to_owned();
    // Each round follows one re-export.
    for _ in 0..4 {
        let root = !path.contains('/');
        let (module, name) = path.rsplit_once('/').unwrap_or(("lib", &path));
        let Some(source) = sources.iter().find(|source| source.module == module) else {
            break;
        };
        let Some((_, target)) = reexports(&source.code)
            .into_iter()
            .find(|(known, _)| known == name)
        else {
            break;
        };
        let target = target
            .strip_prefix("self/")
            .or(target.strip_prefix("crate/"))
            .unwrap_or(&target);
        path = if root || target.starts_with(&format!("{module}/")) {
            target.to_owned()
        } else {
            join(module, target)
        };
    }
    path
}

#[test]
fn architecture_modules_use_only_lower_layers() {
    let sources = sources();
    let mut violations = Vec::new();
    for source in &sources {
        let module = &source.module;
        let (own_name, own) = layer(module).unwrap_or_else(|| panic!("{module} has no layer"));
        if own_name == "lib" {
            continue;
        }
        for path in crate_paths(&source.code) {
            let used = resolve(&path, &sources);
            // Macros and constants of the root have no module.
            let Some((name, used)) = layer(&used) else {
                continue;
            };
            let sibling = own == used && LAYERS_WITH_SIBLINGS.contains(&own)
                || FACADES.contains(&(own_name, name));
            if name != own_name && used >= own && !sibling {
                violations.push(format!(
                    "{module} uses {path}, which is in layer {used}, from layer {own}"
                ));
            }
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn architecture_foreign_crates_are_named_in_one_file() {
    let mut named = 0;
    for Source { module, code } in sources() {
        for (foreign, homes) in FOREIGN {
            let is_named = ["::", ";", "::{"].iter().any(|end| {
                let marker = format!("{foreign}{end}");
                code.match_indices(&marker).any(|(at, _)| {
                    let before = &code[..at];
                    // `self::md5::` and `crate::md5::` are not the foreign crate.
                    !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                        && (*end != ";" || before.ends_with("use "))
                })
            });
            named += usize::from(is_named);
            let allowed = homes.iter().any(|home| is_within(&module, home));
            assert!(!is_named || allowed, "{module} names the crate {foreign}");
        }
    }
    assert!(named >= FOREIGN.len(), "a crate of the table is not used");
}

#[test]
fn architecture_only_the_client_reads_clocks_or_waits() {
    for Source { module, code } in sources() {
        let allowed = MAY_USE_CLOCKS.iter().any(|name| is_within(&module, name));
        for clock in CLOCKS {
            assert!(allowed || !code.contains(clock), "{module} has {clock}");
        }
    }
}

#[test]
fn architecture_paths_of_use_groups_are_found() {
    let code =
        "use crate::{a, b::{self, c as d}};\nlet x = crate::e::f(1);\npub(in crate::g) use h;";
    assert_eq!(crate_paths(code), ["a", "b", "b/c", "e/f", "g"]);
    assert_eq!(
        reexports("pub use a::b::{C, D as E};"),
        [("C".into(), "a/b/C".into()), ("D".into(), "a/b/D".into())]
    );
    assert_eq!(layer("upload/checkpoint/file"), Some(("upload", 4)));
    assert_eq!(layer("uploads"), None);
}

#[test]
fn changelog_has_the_current_version() {
    let changelog = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md");
    let changelog = fs::read_to_string(changelog).unwrap();
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.lines().any(|line| line.starts_with(&heading)),
        "CHANGELOG.md has no {heading}"
    );
}

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::names::check_key;
use crate::upload::checkpoint::is_checkpoint_file;
use crate::upload::platform::kind_of;
use crate::{Error, Result};

/// A file of the tree, and the key of its object.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) key: String,
    /// Bytes.
    pub(super) size: u64,
}

/// Lists the files of a tree in the order of their names. Links are followed.
pub(super) fn walk(dir: &Path, prefix: &str) -> Result<Vec<Entry>> {
    let dir = std::path::absolute(dir).map_err(|error| failed(dir, error))?;
    let mut entries = Vec::new();
    visit(&dir, prefix, &mut Vec::new(), &mut entries)?;
    Ok(entries)
}

/// `ancestors` are the real paths of the directories that lead here.
fn visit(
    dir: &Path,
    prefix: &str,
    ancestors: &mut Vec<PathBuf>,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let real = fs::canonicalize(dir).map_err(|error| failed(dir, error))?;
    if ancestors.contains(&real) {
        let reason = "it is a link to a directory that contains it, so it has no end";
        return Err(failed(dir, io::Error::new(ErrorKind::InvalidInput, reason)));
    }
    ancestors.push(real);
    let listed: io::Result<Vec<_>> = fs::read_dir(dir).and_then(Iterator::collect);
    let mut listed = listed.map_err(|error| failed(dir, error))?;
    listed.sort_by_key(fs::DirEntry::file_name);
    for item in listed {
        let path = item.path();
        let name = item.file_name();
        let Some(name) = name.to_str() else {
            let reason = "its name is not valid UTF-8, as a key must be; rename it";
            return Err(failed(
                &path,
                io::Error::new(ErrorKind::InvalidFilename, reason),
            ));
        };
        let metadata = fs::metadata(&path).map_err(|error| failed(&path, error))?;
        let key = format!("{prefix}{name}");
        if metadata.is_dir() {
            visit(&path, &format!("{key}/"), ancestors, entries)?;
        } else if !metadata.is_file() {
            let reason = format!(
                "it is {}, not a file; move it elsewhere",
                kind_of(&metadata)
            );
            return Err(failed(
                &path,
                io::Error::new(ErrorKind::InvalidInput, reason),
            ));
        } else if !is_checkpoint_file(&path).map_err(|error| failed(&path, error))? {
            check_key(&key).map_err(|reason| Error::option("key", reason))?;
            entries.push(Entry {
                path,
                key,
                size: metadata.len(),
            });
        }
    }
    ancestors.pop();
    Ok(())
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Source {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        dir
    }

    fn keys(dir: &Path, prefix: &str) -> Vec<String> {
        let entries = walk(dir, prefix).unwrap();
        entries.into_iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn tree_is_listed_in_the_order_of_names() {
        let dir = tree(&["b/2", "a", "b/1", "c d", "b/中/x"]);
        fs::create_dir(dir.path().join("empty")).unwrap();
        assert_eq!(
            keys(dir.path(), "p/"),
            ["p/a", "p/b/1", "p/b/2", "p/b/中/x", "p/c d"]
        );
        assert_eq!(keys(&dir.path().join("b"), "x-"), ["x-1", "x-2", "x-中/x"]);
    }

    #[test]
    fn tree_leaves_out_checkpoints_and_nothing_else() {
        let dir = tree(&["a", "a.cp", "b"]);
        fs::write(
            dir.path().join("b.cp"),
            "oss-upload checkpoint 2\nendpoint x\n",
        )
        .unwrap();
        assert_eq!(keys(dir.path(), ""), ["a", "a.cp", "b"]);
    }

    #[cfg(unix)]
    #[test]
    fn tree_follows_links_but_not_in_a_loop() {
        use std::os::unix::fs::symlink;
        let dir = tree(&["a/1", "b"]);
        symlink(dir.path().join("a"), dir.path().join("link")).unwrap();
        symlink(dir.path().join("b"), dir.path().join("other")).unwrap();
        assert_eq!(keys(dir.path(), ""), ["a/1", "b", "link/1", "other"]);
        symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        let error = walk(dir.path(), "").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("a/loop: it is a link to a directory"),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn tree_names_what_it_cannot_upload() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tree(&["a"]);
        let name = std::ffi::OsStr::from_bytes(b"x\xff");
        fs::write(dir.path().join(name), "").unwrap();
        let error = walk(dir.path(), "").unwrap_err().to_string();
        assert!(
            error.contains("x\u{fffd}: its name is not valid UTF-8"),
            "{error}"
        );
        fs::remove_file(dir.path().join(name)).unwrap();

        let socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let error = walk(dir.path(), "").unwrap_err().to_string();
        assert!(error.contains("/s: it is a socket, not a file"), "{error}");
        drop(socket);

        let error = walk(&dir.path().join("a"), "").unwrap_err();
        assert!(error.to_string().contains("a: "), "{error}");
        let error = walk(dir.path(), "/").unwrap_err().to_string();
        assert!(
            error.starts_with("invalid key: \"/a\"") || error.contains("socket"),
            "{error}"
        );
    }
}

//! The files to publish.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{BoxError, at};

/// Returns the files below `dir`, each with its key.
pub fn files(dir: &Path, prefix: &str) -> Result<Vec<(String, PathBuf)>, BoxError> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).map_err(at(&next))? {
            let entry = entry.map_err(at(&next))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(at(&path))?;
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() {
                let names = path.strip_prefix(dir)?.iter().map(|name| name.to_str());
                let names: Option<Vec<&str>> = names.collect();
                let names = names.ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
                files.push((format!("{prefix}{}", names.join("/")), path));
            } else {
                // Following a link could be wrong, and so could omitting it.
                return Err(format!("{} is neither a file nor a directory", path.display()).into());
            }
        }
    }
    files.sort();
    Ok(files)
}

//! The list of published objects: one line for each, with the CRC-64 that OSS has computed.
//!
//! The bucket is not looked at. If you delete objects from it, delete the journal, too.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Mutex;

use oss_upload::Uploaded;

pub struct Journal {
    bucket: String,
    /// Maps each object to its CRC-64, both as written in the file.
    found: HashMap<String, String>,
    file: Mutex<File>,
}

impl Journal {
    pub fn open(path: &Path, bucket: &str) -> io::Result<Journal> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        let text = String::from_utf8_lossy(&text);
        // If an object has two lines, the later one counts. A line that a crash has cut short
        // equals no CRC-64, so the file is sent again.
        let found = text.lines().filter_map(|line| line.rsplit_once(' '));
        Ok(Journal {
            bucket: bucket.to_owned(),
            found: found
                .map(|(object, crc64)| (object.to_owned(), crc64.to_owned()))
                .collect(),
            file: Mutex::new(File::options().create(true).append(true).open(path)?),
        })
    }

    /// Is the file published with exactly this content? Its time does not matter, because a build
    /// may write the same bytes again.
    pub fn has(&self, key: &str, path: &Path) -> io::Result<bool> {
        match self.found.get(&self.name(key)) {
            Some(published) => Ok(*published == format_crc64(crc64(path)?)),
            None => Ok(false),
        }
    }

    /// Does nothing if OSS has sent no CRC-64. Then the next run sends the file again.
    pub fn add(&self, uploaded: &Uploaded) -> io::Result<()> {
        let Some(crc64) = uploaded.crc64 else {
            return Ok(());
        };
        let line = format!("{} {}\n", self.name(&uploaded.key), format_crc64(crc64));
        self.file
            .lock()
            .expect("no thread panics in here")
            .write_all(line.as_bytes())
    }

    /// Quotes the key, because it may contain line feeds.
    fn name(&self, key: &str) -> String {
        format!("{} {key:?}", self.bucket)
    }
}

fn format_crc64(crc64: u64) -> String {
    format!("{crc64:016x}")
}

fn crc64(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut digest = crc64fast::Digest::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.sum64()),
            n => digest.write(&buffer[..n]),
        }
    }
}

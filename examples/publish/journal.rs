//! What is published: one line for each object, with the CRC-64 that OSS has computed of it.
//!
//! That is what we know without asking: whoever deletes objects from the bucket deletes the journal too.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Mutex;

use oss_upload::Uploaded;

pub struct Journal {
    bucket: String,
    /// Object to CRC-64, as they are written.
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
        // Of two lines for one object the later counts. One that was cut off by a crash is equal to none.
        let found = text.lines().filter_map(|line| line.rsplit_once(' '));
        Ok(Journal {
            bucket: bucket.to_owned(),
            found: found.map(|(object, crc64)| (object.to_owned(), crc64.to_owned())).collect(),
            file: Mutex::new(File::options().create(true).append(true).open(path)?),
        })
    }

    /// Is this very content published? Not the time of the file counts: a build writes the same bytes anew.
    pub fn has(&self, key: &str, path: &Path) -> io::Result<bool> {
        let Some(published) = self.found.get(&self.name(key)) else { return Ok(false) };
        Ok(*published == line_end(crc64(path)?))
    }

    /// Without a CRC-64 nothing is written, and the file is sent again.
    pub fn add(&self, uploaded: &Uploaded) -> io::Result<()> {
        let Some(crc64) = uploaded.crc64 else { return Ok(()) };
        let line = format!("{} {}\n", self.name(&uploaded.key), line_end(crc64));
        self.file.lock().expect("no thread panics in here").write_all(line.as_bytes())
    }

    /// A key may hold anything, line ends too.
    fn name(&self, key: &str) -> String {
        format!("{} {key:?}", self.bucket)
    }
}

fn line_end(crc64: u64) -> String {
    format!("{crc64:016x}")
}

fn crc64(path: &Path) -> io::Result<u64> {
    let (mut file, mut digest, mut buffer) = (File::open(path)?, crc64fast::Digest::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.sum64()),
            n => digest.write(&buffer[..n]),
        }
    }
}

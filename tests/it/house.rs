//! What every test needs: a server, a client of it, files.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, RecordedRequest, Rule};
use oss_upload::{Bucket, CheckpointStore, Client, ClientBuilder, Credentials, RetryPolicy};

/// Bytes: the smallest part that OSS takes.
pub const PART: u64 = 100 * 1024;

/// A server with a client and a directory, all of them gone at the end of the test.
pub struct House {
    pub server: LocalOss,
    pub bucket: Bucket,
    dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> House {
        House::with(LocalOss::start())
    }

    pub fn with(server: LocalOss) -> House {
        let bucket = client(&server)
            .build()
            .unwrap()
            .bucket("examplebucket")
            .unwrap();
        House {
            server,
            bucket,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of that many bytes, the same for the same name and size.
    pub fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content(name, size)).unwrap();
        path
    }

    /// The object is the file, byte for byte.
    #[track_caller]
    pub fn assert_stored(&self, key: &str, path: &Path) {
        let object = self
            .server
            .object("examplebucket", key)
            .unwrap_or_else(|| panic!("there is no object {key}"));
        assert!(
            object.bytes == std::fs::read(path).unwrap(),
            "the object {key} is not the file"
        );
    }

    /// Nothing that would be billed, and nothing on disk but `files`.
    #[track_caller]
    pub fn assert_nothing_left(&self, files: &[&str]) {
        assert_eq!(
            self.server.uploads().len(),
            0,
            "an unfinished upload stays: {:?}",
            self.server.uploads()
        );
        self.assert_files(files);
    }

    #[track_caller]
    pub fn assert_files(&self, files: &[&str]) {
        let mut there: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, files);
    }

    pub fn requests(&self, operation: Operation) -> Vec<RecordedRequest> {
        self.server
            .requests()
            .into_iter()
            .filter(|logged| logged.operation == operation)
            .collect()
    }

    /// The numbers of the parts whose bodies were sent, sorted.
    pub fn parts_sent(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self
            .requests(Operation::UploadPart)
            .iter()
            .filter_map(|logged| logged.part_number)
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Answers the next request that carries this part with 403: the call fails, and no part is lost.
    pub fn refuse_part(&self, number: u32) {
        let fault = Fault::Status {
            status: 403,
            code: "AccessDenied".into(),
            retry_after: None,
        };
        self.server
            .inject(Rule::new(fault).on(Operation::UploadPart).part(number));
    }
}

/// A client that does not wait long.
pub fn client(server: &LocalOss) -> ClientBuilder {
    Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(RetryPolicy::default().base_delay(Duration::from_millis(2)))
}

pub fn content(name: &str, size: u64) -> Vec<u8> {
    let seed = name.bytes().fold(size, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size as usize];
    random.fill(&mut bytes);
    bytes
}

/// Runs the test of this name once more, in a process of its own. True in that process, which then does the test.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "OSS_UPLOAD_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// A record that the caller keeps, the JavaScript SDK's way, and how often it was written.
#[derive(Default)]
pub struct Memory {
    pub text: Option<String>,
    pub saves: usize,
}

impl CheckpointStore for Memory {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(self.text.clone())
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.text = Some(text.to_owned());
        self.saves += 1;
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        self.text = None;
        Ok(())
    }
}

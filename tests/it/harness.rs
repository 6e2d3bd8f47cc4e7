//! What all tests share: a local OSS server with a client of it, files, faults, servers with
//! prepared responses, and checkpoint stores.

use std::fmt::Debug;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CheckpointStore, Client, ClientBuilder, Credentials, Error, MultipartUpload,
    RetryPolicy, UploadOption, Uploaded, checkpoint,
};

/// The smallest part size that OSS accepts, in bytes.
pub const PART: u64 = 100 * 1024;

pub use local_oss::RecordedRequest;

/// A local OSS server, a bucket of it, and a temporary directory. All are removed at the end of the
/// test.
pub struct Harness {
    pub server: LocalOss,
    pub bucket: Bucket,
    dir: tempfile::TempDir,
}

impl Harness {
    pub fn new() -> Harness {
        Harness::with_server(LocalOss::start())
    }

    pub fn with_server(server: LocalOss) -> Harness {
        let client = client(&server);
        Harness::with_client(server, client)
    }

    /// A harness whose bucket belongs to this client.
    pub fn with_client(server: LocalOss, client: ClientBuilder) -> Harness {
        Harness {
            server,
            bucket: bucket(client),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A harness whose directory has the file `f`.
    pub fn with_file(size: u64) -> Harness {
        let t = Harness::new();
        t.file("f", size);
        t
    }

    /// A harness whose server does not keep the bodies of objects and parts.
    pub fn discarding() -> Harness {
        Harness::with_server(LocalOss::builder().discard(true).start().unwrap())
    }

    /// Uploads the file `f` to the object `o` in parts of [`PART`] bytes.
    pub fn upload<'a>(
        &self,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<Uploaded, Error> {
        self.bucket.upload_file("o", self.path("f"), PART, options)
    }

    /// Uploads `f` to `o` with a checkpoint until this many parts are stored and saved, then fails.
    #[track_caller]
    pub fn interrupt_after(&self, parts: u32) {
        self.refuse_part(parts + 1);
        let error = self.upload([checkpoint(true, "")]).unwrap_err();
        assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
        assert_eq!(
            self.server.uploads().last().unwrap().parts.len(),
            parts as usize
        );
    }

    /// The unfinished multipart uploads of the bucket whose keys start with `prefix`.
    #[track_caller]
    pub fn unfinished_uploads(&self, prefix: &str) -> Vec<MultipartUpload> {
        list_uploads(&self.bucket, prefix).unwrap()
    }
}

/// Lists all unfinished uploads of a bucket, or returns the first error.
pub fn list_uploads(bucket: &Bucket, prefix: &str) -> Result<Vec<MultipartUpload>, Error> {
    bucket.multipart_uploads(prefix).collect()
}

/// Files, and what has to be true of files and objects.
impl Harness {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Creates a file of `size` bytes. The same name and size give the same content.
    pub fn file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content(name, size)).unwrap();
        path
    }

    /// Creates a sparse file; `None` if the file system does not support this size.
    pub fn sparse_file(&self, size: u64) -> Option<PathBuf> {
        let path = self.path("sparse");
        fs::File::create(&path)
            .unwrap()
            .set_len(size)
            .is_ok()
            .then_some(path)
    }

    /// Asserts that the object has exactly the bytes of the file.
    #[track_caller]
    pub fn assert_stored(&self, key: &str, path: &Path) {
        let object = self
            .server
            .object("examplebucket", key)
            .unwrap_or_else(|| panic!("there is no object {key}"));
        assert!(
            object.bytes == fs::read(path).unwrap(),
            "the object {key} is not the file"
        );
    }

    /// Asserts that no unfinished upload is left on the server, and only `files` in the directory.
    #[track_caller]
    pub fn assert_nothing_left(&self, files: &[&str]) {
        assert_eq!(
            self.server.uploads().len(),
            0,
            "an unfinished upload is left: {:?}",
            self.server.uploads()
        );
        self.assert_files(files);
    }

    /// Asserts that the directory has these files and no others.
    #[track_caller]
    pub fn assert_files(&self, files: &[&str]) {
        assert_eq!(file_names(self.dir.path()), files);
    }
}

/// Requests, and faults that are injected into them.
impl Harness {
    pub fn requests(&self, operation: Operation) -> Vec<RecordedRequest> {
        self.server
            .requests()
            .into_iter()
            .filter(|request| request.operation == operation)
            .collect()
    }

    /// The numbers of the parts whose bodies were sent, sorted.
    pub fn parts_sent(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self
            .requests(Operation::UploadPart)
            .iter()
            .filter_map(|request| request.part_number)
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// Injects a fault into the next request of this operation.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.server.inject(Rule::new(fault).on(operation));
    }

    /// Injects a fault into every request of this operation.
    pub fn inject_always(&self, operation: Operation, fault: Fault) {
        self.server.inject(Rule::new(fault).on(operation).forever());
    }

    /// Injects a fault into the next request that uploads this part.
    pub fn inject_part(&self, number: u32, fault: Fault) {
        self.server
            .inject(Rule::new(fault).on(Operation::UploadPart).part(number));
    }

    /// Injects a fault into every request that uploads this part.
    pub fn inject_part_always(&self, number: u32, fault: Fault) {
        self.server.inject(
            Rule::new(fault)
                .on(Operation::UploadPart)
                .part(number)
                .forever(),
        );
    }

    /// Rejects the next request of this operation by 403 AccessDenied.
    pub fn deny(&self, operation: Operation) {
        self.inject(operation, access_denied());
    }

    /// Rejects every request of this operation by 403 AccessDenied.
    pub fn deny_always(&self, operation: Operation) {
        self.inject_always(operation, access_denied());
    }

    /// Rejects the next request that uploads this part by 403 AccessDenied. The call fails; no
    /// other part is lost.
    pub fn refuse_part(&self, number: u32) {
        self.inject_part(number, access_denied());
    }
}

/// An error response with this status and code; no body if the code is empty.
pub fn status(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

/// A permanent failure: retrying does not help.
pub fn access_denied() -> Fault {
    status(403, "AccessDenied")
}

/// A transient failure: retrying helps.
pub fn service_unavailable() -> Fault {
    status(503, "ServiceUnavailable")
}

/// A client of the server that retries almost at once.
pub fn client(server: &LocalOss) -> ClientBuilder {
    Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(RetryPolicy::default().base_delay(Duration::from_millis(2)))
}

/// The bucket `examplebucket` of the client.
pub fn bucket(client: ClientBuilder) -> Bucket {
    client.build().unwrap().bucket("examplebucket").unwrap()
}

/// Pseudorandom bytes, the same for the same name and size.
pub fn content(name: &str, size: u64) -> Vec<u8> {
    let seed = name.bytes().fold(size, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size as usize];
    random.fill(&mut bytes);
    bytes
}

/// The names of the entries of a directory, sorted.
pub fn file_names(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
    names.sort();
    names
}

/// Reports that a test, or a part of it, cannot run here.
///
/// It writes to the process's standard error directly, because the test runner hides what a
/// successful test prints.
pub fn report_skipped(what: &str) {
    let _ = writeln!(io::stderr(), "skipped: {what}");
}

/// The number after `name` in a file of `/proc/self`; `None` where the system has none.
pub fn proc_number(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc/self").join(file)).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The peak memory of this process in KiB; `None` where the system does not report it.
pub fn peak_memory() -> Option<u64> {
    proc_number("status", "VmHWM:")
}

/// Runs the test of this name again in a process of its own. Returns true in that process, which
/// then does the test.
pub fn run_in_subprocess(test: &str) -> bool {
    const IN_SUBPROCESS: &str = "OSS_UPLOAD_TEST_SUBPROCESS";
    if std::env::var_os(IN_SUBPROCESS).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(IN_SUBPROCESS, "1");
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{stdout}{stderr}"
    );
    false
}

/// Runs all cases at the same time, each in a thread that is named after its case, so that a panic
/// names it.
pub fn for_each_case_parallel<C: Debug + Send>(
    cases: impl IntoIterator<Item = C>,
    test: impl Fn(C) + Sync,
) {
    let test = &test;
    thread::scope(|scope| {
        let spawn = |case: C| {
            let name = format!("{case:?}");
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || test(case))
                .unwrap()
        };
        let threads: Vec<_> = cases.into_iter().map(spawn).collect();
        let panics: Vec<_> = threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .collect();
        if let Some(first) = panics.into_iter().next() {
            resume_unwind(first);
        }
    });
}

/// A TCP server that sends prepared responses, correct or not, and keeps what it received.
pub struct RawServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<RawRequest>>>,
}

/// What a [`RawServer`] received on one connection.
#[derive(Clone, Debug, Default)]
pub struct RawRequest {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl RawServer {
    /// Reads each request completely, sends these bytes, and closes the connection.
    pub fn responding(response: impl Into<Vec<u8>>) -> RawServer {
        let response = response.into();
        RawServer::start(move |stream, requests| {
            let mut reader = BufReader::new(&stream);
            let mut request = RawRequest::read_head(&mut reader);
            let length = request.header("content-length").parse().unwrap_or(0);
            let mut body = Vec::new();
            let _ = reader.take(length).read_to_end(&mut body);
            request.body = String::from_utf8_lossy(&body).into_owned();
            requests.lock().unwrap().push(request);
            let _ = (&stream).write_all(&response);
        })
    }

    /// Responds on the n-th connection, counted from 1, as soon as it has read the head of the
    /// request.
    pub fn responding_before_the_body(
        response: impl Fn(usize) -> String + Send + 'static,
    ) -> RawServer {
        RawServer::start(move |stream, requests| {
            // A buffer of one byte leaves the body unread.
            let request = RawRequest::read_head(&mut BufReader::with_capacity(1, &stream));
            let number = {
                let mut requests = requests.lock().unwrap();
                requests.push(request);
                requests.len()
            };
            let _ = (&stream).write_all(response(number).as_bytes());
        })
    }

    /// Closes each connection at once.
    pub fn hanging_up() -> RawServer {
        RawServer::start(|_, _| {})
    }

    fn start(serve: impl Fn(TcpStream, &Mutex<Vec<RawRequest>>) + Send + 'static) -> RawServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = RawServer {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let requests = Arc::clone(&server.requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream, &requests);
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn requests(&self) -> Vec<RawRequest> {
        self.requests.lock().unwrap().clone()
    }
}

impl RawRequest {
    /// Reads up to the first empty line, or to the first line that is not text: the peer may speak
    /// TLS.
    fn read_head(reader: &mut impl BufRead) -> RawRequest {
        let mut lines = reader
            .lines()
            .map_while(Result::ok)
            .fuse()
            .take_while(|line| !line.is_empty());
        let first_line = lines.next().unwrap_or_default();
        let header = |line: String| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        };
        RawRequest {
            first_line,
            headers: lines.filter_map(header).collect(),
            body: String::new(),
        }
    }

    /// The value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

/// An HTTP response. `headers` are complete lines.
pub fn http_response(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    )
}

/// The CRC-64 of these bytes, as OSS computes it.
pub fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    digest.write(bytes);
    digest.sum64()
}

/// The headers, as complete lines, with which OSS confirms that it has stored these bytes as a part
/// or as an object. A client accepts no success without them.
pub fn stored_headers(bytes: &[u8]) -> String {
    format!(
        "x-oss-request-id: 5C3D9175B6FC201293AD4890\r\nETag: \"{:X}\"\r\nx-oss-hash-crc64ecma: {}\r\n",
        md5::compute(bytes),
        crc64(bytes),
    )
}

/// The application server that OSS calls back. It sends the same response to every request.
pub struct CallbackServer(RawServer);

impl CallbackServer {
    pub fn start(status: u16, body: &str) -> CallbackServer {
        CallbackServer(RawServer::responding(http_response(status, "", body)))
    }

    pub fn url(&self, path: &str) -> String {
        self.0.url(path)
    }

    pub fn requests(&self) -> Vec<RawRequest> {
        self.0.requests()
    }
}

/// An HTTP proxy that forwards every connection to one server, whatever its target.
pub struct Proxy {
    pub address: SocketAddr,
    /// The first line and the headers of each CONNECT request.
    heads: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Proxy {
    pub fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
        };
        let heads = Arc::clone(&proxy.heads);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let heads = Arc::clone(&heads);
                thread::spawn(move || Proxy::serve(stream.unwrap(), server, &heads));
            }
        });
        proxy
    }

    fn serve(mut client: TcpStream, server: SocketAddr, heads: &Mutex<Vec<Vec<String>>>) {
        let reader = BufReader::with_capacity(1, client.try_clone().unwrap());
        let head = reader
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        heads.lock().unwrap().push(head);
        let mut server = TcpStream::connect(server).unwrap();
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    }

    pub fn heads(&self) -> Vec<Vec<String>> {
        self.heads.lock().unwrap().clone()
    }
}

/// A checkpoint store in memory that counts how often it was saved.
#[derive(Default)]
pub struct MemoryStore {
    pub text: Option<String>,
    pub saves: usize,
}

impl CheckpointStore for MemoryStore {
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

/// A checkpoint store that keeps nothing.
pub struct NullStore;

impl CheckpointStore for NullStore {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn save(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A checkpoint store in memory whose calls fail as set.
#[derive(Default)]
pub struct FailingStore {
    pub memory: MemoryStore,
    pub fails: StoreFailure,
    /// The text of the error.
    pub message: &'static str,
    /// A call that fails takes effect nevertheless.
    pub fails_after_effect: bool,
    /// The calls that failed: `load`, `save` or `remove`.
    pub failed: Vec<&'static str>,
    calls: usize,
}

/// Which calls of a [`FailingStore`] fail.
#[derive(Clone, Copy, Default)]
pub enum StoreFailure {
    #[default]
    Never,
    /// The call of this number, counted from 1 over all three functions.
    At(usize),
    /// That call and all later ones.
    From(usize),
    /// Each call of these functions.
    Of(&'static [&'static str]),
}

impl FailingStore {
    pub fn new(fails: StoreFailure, message: &'static str) -> FailingStore {
        FailingStore {
            fails,
            message,
            ..FailingStore::default()
        }
    }

    fn call<R>(
        &mut self,
        function: &'static str,
        apply: impl FnOnce(&mut MemoryStore) -> io::Result<R>,
    ) -> io::Result<R> {
        self.calls += 1;
        let fails = match self.fails {
            StoreFailure::Never => false,
            StoreFailure::At(number) => self.calls == number,
            StoreFailure::From(number) => self.calls >= number,
            StoreFailure::Of(functions) => functions.contains(&function),
        };
        if !fails {
            return apply(&mut self.memory);
        }
        if self.fails_after_effect {
            apply(&mut self.memory)?;
        }
        self.failed.push(function);
        Err(io::Error::other(self.message))
    }
}

impl CheckpointStore for FailingStore {
    fn load(&mut self) -> io::Result<Option<String>> {
        self.call("load", MemoryStore::load)
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.call("save", |memory| memory.save(text))
    }

    fn remove(&mut self) -> io::Result<()> {
        self.call("remove", MemoryStore::remove)
    }
}

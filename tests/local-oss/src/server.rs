//! The server and its threads.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::builder::{Builder, Settings};
use crate::digest::Digests;
use crate::exchange;
use crate::faults::Rule;
use crate::request_log::RecordedRequest;
use crate::response::{Outcome, ResponseBody};
use crate::state::{Credential, Shared};
use crate::store::{Attributes, NewObject, Object, StoredObject, Upload};
use crate::stream::SharedStream;
use crate::text::base64;

/// The time that running callbacks have to finish when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A running server; it stops when it is dropped.
pub struct LocalOss {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Receives the time that running requests have to finish; if it is dropped, they are aborted.
    stop: Option<oneshot::Sender<Duration>>,
    thread: Option<JoinHandle<()>>,
}

impl LocalOss {
    /// Starts a server in memory on a free port, with the bucket `examplebucket`, the credentials
    /// `ak` and `sk`, and the region `cn-hangzhou`.
    ///
    /// # Panics
    /// If no port can be bound.
    pub fn start() -> LocalOss {
        match LocalOss::builder().start() {
            Ok(server) => server,
            Err(error) => panic!("local-oss: {error}"),
        }
    }

    /// Returns a builder for a server with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn spawn(settings: Settings) -> io::Result<LocalOss> {
        let listener = std::net::TcpListener::bind(&settings.address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("can't listen on {}: {error}", settings.address),
            )
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(settings)?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .thread_name("local-oss")
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&shared);
        let serve = move || serve_until(runtime, listener, &state, stopped);
        let thread = std::thread::Builder::new()
            .name("local-oss".to_owned())
            .spawn(serve)?;
        Ok(LocalOss {
            shared,
            address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the endpoint for clients: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule that injects a fault.
    pub fn inject(&self, rule: Rule) {
        self.shared.faults.add(rule);
    }

    /// Removes all rules.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Returns the number of requests that a fault was applied to.
    pub fn faults_fired(&self) -> usize {
        self.shared.faults.fired()
    }

    /// Returns all requests in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.request_log.requests()
    }

    /// Clears the log of requests.
    pub fn clear_requests(&self) {
        self.shared.request_log.clear();
    }

    /// Returns the number of connections that were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns a copy of an object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.shared.store.snapshot(bucket, key)
    }

    /// Stores an object directly, as PutObject would.
    ///
    /// # Panics
    /// If the bucket name is not valid, or the directory can't be written.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let done = self.put_fixture(bucket, key, bytes);
        if let Err(error) = done {
            panic!("local-oss can't store {bucket}/{key}: {}", error.message);
        }
    }

    fn put_fixture(&self, bucket: &str, key: &str, bytes: &[u8]) -> crate::error::Result<()> {
        let store = &self.shared.store;
        store.create_bucket(bucket)?;
        let digests = Digests::of(bytes);
        let staging = store.new_staging()?;
        let mut sink = store.sink(&staging, Some(digests.size))?;
        sink.write(bytes)?;
        let (content, temporary) = sink.finish();
        let object = StoredObject {
            size: digests.size,
            etag: digests.etag(None),
            crc64: digests.crc64,
            content_md5: digests.md5.map(base64),
            attributes: Attributes::default(),
            parts: None,
            modified: self.shared.now(),
            version: None,
            content,
        };
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        store.store_object(NewObject {
            bucket,
            key,
            object,
            forbid_overwrite: false,
            staging,
        })?;
        temporary.keep();
        Ok(())
    }

    /// Deletes an object.
    pub fn remove_object(&self, bucket: &str, key: &str) {
        let _ = self.shared.store.remove_object(bucket, key);
    }

    /// Returns the path of an object's file, if the server stores objects in a directory.
    pub fn object_path(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        self.shared.store.object_path(bucket, key)
    }

    /// Returns the unfinished uploads in order of initiation.
    pub fn uploads(&self) -> Vec<Upload> {
        self.shared
            .store
            .uploads()
            .iter()
            .map(|upload| upload.snapshot())
            .collect()
    }

    /// Removes an upload, as a lifecycle rule does.
    pub fn expire_upload(&self, upload_id: &str) {
        self.shared.store.expire_upload(upload_id);
    }

    /// Flips a bit of a stored part. Its ETag and CRC-64 then describe the changed bytes.
    ///
    /// # Panics
    /// If there is no such part, or if it is empty or was discarded.
    pub fn corrupt_part(&self, upload_id: &str, number: u32) {
        if let Err(error) = self.shared.store.corrupt_part(upload_id, number) {
            panic!("local-oss can't corrupt part {number} of {upload_id}: {error}");
        }
    }

    /// Adds credentials that are accepted.
    pub fn add_credentials(&self, id: &str, secret: &str, token: Option<&str>) {
        let (secret, token) = (secret.to_owned(), token.map(str::to_owned));
        self.shared.add_credential(
            id,
            Credential {
                secret,
                token,
                expired: false,
            },
        );
    }

    /// Rejects these credentials with `SecurityTokenExpired` from now on.
    pub fn expire_credentials(&self, id: &str) {
        self.shared.expire_credential(id);
    }

    /// Sets the difference of the server's clock: positive if it is ahead, negative if it is
    /// behind.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.shared.set_skew(seconds);
    }

    /// Stops the server and aborts running requests. All threads have ended and the port is free
    /// when this returns.
    pub fn stop(self) {
        drop(self);
    }

    /// Stops the server gracefully: running requests are completed, unless they take longer than
    /// `timeout`.
    pub fn shut_down(mut self, timeout: Duration) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(timeout);
        }
    }
}

impl Drop for LocalOss {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for LocalOss {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LocalOss")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Accepts connections until the server is stopped, then ends the remaining tasks.
fn serve_until(
    runtime: Runtime,
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<Duration>,
) {
    let connections = Arc::new(GracefulShutdown::new());
    let accepting = runtime.spawn(accept(
        listener,
        Arc::clone(shared),
        Arc::clone(&connections),
    ));
    if let Ok(timeout) = runtime.block_on(stopped) {
        accepting.abort();
        let _ = runtime.block_on(async {
            // The task must have ended: it shares the ownership of the connections.
            let _ = accepting.await;
            let finished = Arc::into_inner(connections).map(GracefulShutdown::shutdown)?;
            tokio::time::timeout(timeout, finished).await.ok()
        });
    }
    runtime.shutdown_timeout(STOP_TIMEOUT);
}

async fn accept(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    connections: Arc<GracefulShutdown>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let watcher = connections.watcher();
                tokio::spawn(serve_connection(
                    stream,
                    Arc::clone(&shared),
                    number,
                    watcher,
                ));
            }
            // The process may be out of file descriptors for a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Shared>, number: usize, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let stream = SharedStream::new(stream);
    let io = TokioIo::new(stream.clone());
    let service =
        service_fn(move |request| respond(Arc::clone(&shared), stream.clone(), number, request));
    let _ = watcher
        .watch(http1::Builder::new().serve_connection(io, service))
        .await;
}

/// Responds to a request; an error closes the connection.
async fn respond(
    shared: Arc<Shared>,
    stream: SharedStream,
    number: usize,
    request: Request<Incoming>,
) -> io::Result<Response<ResponseBody>> {
    // In a task of its own, a request is performed even if the client disconnects.
    let task = tokio::spawn(exchange::run(shared, stream.clone(), number, request));
    match task.await {
        Ok(Outcome::Respond(response)) => Ok(response.into_hyper()),
        Ok(Outcome::Reset) => {
            stream.reset_on_close();
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Ok(Outcome::Close) | Err(_) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

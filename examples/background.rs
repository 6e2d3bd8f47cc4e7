//! Uploads on threads of their own, while the main thread goes on, watches and may stop them.

use std::error::Error;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use local_oss::LocalOss;
use oss_upload::{
    Bucket, CancelToken, Client, Credentials, Progress, ProgressEvent, Uploaded, bandwidth_limit, cancel,
    progress, routines,
};

/// Bytes.
const SIZE: usize = 16 << 20;
const PART_SIZE: u64 = 1 << 20;
/// Bytes per second.
const LIMIT: u64 = 16 << 20;

/// An upload that is under way.
struct Running {
    thread: JoinHandle<oss_upload::Result<Uploaded>>,
    progress: Receiver<Progress>,
    stop: CancelToken,
}

/// The bucket and the token are cheap to clone. The options are made on the thread, since a progress callback need not
/// be `Send`.
fn start(bucket: &Bucket, key: &str, path: PathBuf) -> Running {
    let (sender, progress_of_it) = mpsc::channel();
    let stop = CancelToken::new();
    let (bucket, key, token) = (bucket.clone(), key.to_owned(), stop.clone());
    let thread = thread::spawn(move || {
        let options = [
            routines(4),
            bandwidth_limit(LIMIT),
            cancel(&token),
            // When nobody listens any more, the upload goes on.
            progress(|now| drop(sender.send(now.clone()))),
        ];
        bucket.upload_file(&key, &path, PART_SIZE, options)
    });
    Running { thread, progress: progress_of_it, stop }
}

impl Running {
    /// Prints each part, and asks the upload to stop when so many are done.
    fn watch(self, stop_after: Option<usize>) -> Result<oss_upload::Result<Uploaded>, Box<dyn Error>> {
        let mut shown = 0;
        for now in self.progress {
            if now.parts_done > shown || now.event != ProgressEvent::Transferred {
                println!("  {:?}: {} of {} parts", now.event, now.parts_done, now.parts_total);
                shown = now.parts_done;
            }
            if stop_after.is_some_and(|parts| now.parts_done >= parts) {
                self.stop.cancel();
            }
        }
        self.thread.join().map_err(|_| "the upload panicked".into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let credentials = Credentials::new("ak", "sk");
    let client = Client::builder(&server.endpoint())
        .credentials(credentials)
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("examplefile.bin");
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&path, &bytes)?;

    println!("in the background:");
    let uploaded = start(&bucket, "whole.bin", path.clone()).watch(None)??;
    println!("{} is complete: {} bytes, {} parts", uploaded.key, uploaded.size, uploaded.parts);

    println!("stopped half-way:");
    match start(&bucket, "stopped.bin", path).watch(Some(8))? {
        Err(error @ oss_upload::Error::Cancelled { .. }) => println!("{error}"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("the upload was not stopped".into()),
    }
    println!("unfinished uploads that are left on the server: {}", bucket.multipart_uploads("")?.len());
    Ok(())
}

//! Publishes the files of a directory tree, several at a time, until the first error. The same
//! command then resumes: published files are not sent again, and of a large file only the
//! missing parts are sent.
//!
//! `publish DIR oss://BUCKET/PREFIX STATE`, with the environment variables of
//! `Client::from_env`. STATE is a directory that is kept between runs; in CI, a cached one.
//! Without arguments it shows a failed run and a second one on a local server.

mod demo;
mod journal;
mod tree;

use std::error::Error;
use std::ffi::OsString;
use std::path::{self, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, io, thread};

use journal::Journal;
use oss_upload::{
    Bucket, CancelToken, Client, cancel, checkpoint_dir, delete_upload_on_cancelling,
    determine_part_size, routines,
};

type BoxError = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: publish DIR oss://BUCKET/PREFIX STATE";
/// The number of files that are uploaded at the same time.
const FILES: usize = 4;
/// The number of parts of each file that are uploaded at the same time.
const ROUTINES: usize = 4;
/// In bytes. Larger parts are used if the file would have more than 10,000 of these.
const PART_SIZE: u64 = 8 << 20;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => demo::run(),
        [dir, target, state] => {
            let target = target
                .to_str()
                .and_then(|target| target.strip_prefix("oss://"));
            let (bucket, prefix) = target
                .and_then(|target| target.split_once('/'))
                .ok_or(USAGE)?;
            run(dir.as_ref(), bucket, prefix, state.as_ref())
        }
        _ => Err(USAGE.into()),
    }
}

/// Adds the path to an error.
fn at(path: &Path) -> impl Fn(io::Error) -> BoxError {
    move |error| format!("{}: {error}", path.display()).into()
}

fn run(dir: &Path, bucket: &str, prefix: &str, state: &Path) -> Result<(), BoxError> {
    if is_inside(state, dir)? {
        return Err("STATE must not be inside DIR, because it would be published".into());
    }
    let prefix = match prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let files = tree::files(dir, &prefix)?;
    fs::create_dir_all(state).map_err(at(state))?;
    let journal = state.join("published");
    let publisher = Publisher {
        bucket: Client::from_env()?.bucket(bucket)?,
        journal: Journal::open(&journal, bucket).map_err(at(&journal))?,
        state: state.into(),
        token: CancelToken::new(),
    };
    let token = publisher.token.clone();
    ctrlc::set_handler(move || token.cancel())?;
    publisher.publish(&files)
}

/// The path need not exist. Then its nearest existing ancestor is looked at.
fn is_inside(path: &Path, dir: &Path) -> Result<bool, BoxError> {
    let dir = fs::canonicalize(dir).map_err(at(dir))?;
    let path = path::absolute(path).map_err(at(path))?;
    let mut existing = path
        .ancestors()
        .filter_map(|ancestor| fs::canonicalize(ancestor).ok());
    Ok(existing
        .next()
        .is_some_and(|ancestor| ancestor.starts_with(dir)))
}

struct Publisher {
    /// Shared by all threads, together with the client's connections.
    bucket: Bucket,
    journal: Journal,
    /// The directory for the checkpoints of unfinished uploads.
    state: PathBuf,
    token: CancelToken,
}

impl Publisher {
    fn publish(&self, files: &[(String, PathBuf)]) -> Result<(), BoxError> {
        let next = AtomicUsize::new(0);
        let sent = AtomicUsize::new(0);
        let known = AtomicUsize::new(0);
        let first_error = OnceLock::new();
        let work = || {
            while !self.token.is_cancelled()
                && let Some((key, path)) = files.get(next.fetch_add(1, Ordering::Relaxed))
            {
                match self.publish_file(key, path) {
                    Ok(was_sent) => {
                        let counter = if was_sent { &sent } else { &known };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        // Later errors are the uploads that are cancelled because of this one.
                        let _ = first_error.set(error);
                        self.token.cancel();
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..FILES {
                scope.spawn(work);
            }
        });
        let (sent, known) = (sent.into_inner(), known.into_inner());
        println!(
            "published {sent} of {} files; {known} were published before",
            files.len()
        );
        match first_error.into_inner() {
            Some(error) => Err(error),
            None if self.token.is_cancelled() => Err("cancelled".into()),
            None => Ok(()),
        }
    }

    /// Returns `false` if the file was published before.
    fn publish_file(&self, key: &str, path: &Path) -> Result<bool, BoxError> {
        if self.journal.has(key, path).map_err(at(path))? {
            return Ok(false);
        }
        let options = [
            routines(ROUTINES),
            checkpoint_dir(true, &self.state),
            cancel(&self.token),
            delete_upload_on_cancelling(false),
        ];
        let size = path.metadata().map_err(at(path))?.len();
        let part_size = determine_part_size(size, PART_SIZE);
        let uploaded = self.bucket.upload_file(key, path, part_size, options)?;
        if uploaded.parts_resumed > 0 {
            println!(
                "{key}: resumed {} of {} parts",
                uploaded.parts_resumed, uploaded.parts
            );
        }
        self.journal.add(&uploaded).map_err(at(&self.state))?;
        Ok(true)
    }
}

//! Publishes what a build has made: every file of a directory tree, several at a time, until the first error. The same
//! command then carries on: what is published is not sent again, and of a large file only the parts that are missing.
//!
//! `publish DIR oss://BUCKET/PREFIX STATE`, with the environment variables of `Client::from_env`. STATE is a directory that
//! outlives the run; in CI, a cached one. Without arguments and `OSS_ENDPOINT` it is a demonstration on a local server.

mod demo;
mod journal;
mod tree;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, io, thread};

use journal::Journal;
use oss_upload::{
    Bucket, CancelToken, Client, cancel, checkpoint_dir, delete_upload_on_cancelling, determine_part_size,
    routines,
};

type BoxError = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: publish DIR oss://BUCKET/PREFIX STATE";
/// Files at the same time, each with so many parts at the same time.
const FILES: usize = 4;
const ROUTINES: usize = 4;
/// Bytes; more where the file would not fit into the parts that an object may have.
const PART_SIZE: u64 = 2 << 20;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = if arguments.is_empty() && env::var_os("OSS_ENDPOINT").is_none() {
        demo::run()
    } else if let [dir, target, state] = arguments.as_slice()
        && let Some((bucket, prefix)) = place(target)
    {
        run(dir.as_ref(), bucket, prefix, state.as_ref())
    } else if arguments == ["--help"] {
        println!("{USAGE}");
        Ok(())
    } else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publish: {error}");
            ExitCode::FAILURE
        }
    }
}

fn place(target: &OsStr) -> Option<(&str, &str)> {
    target.to_str()?.strip_prefix("oss://")?.split_once('/')
}

/// Names the path that an error is about.
fn at(path: &Path) -> impl Fn(io::Error) -> BoxError {
    move |error| format!("{}: {error}", path.display()).into()
}

fn run(dir: &Path, bucket_name: &str, prefix: &str, state: &Path) -> Result<(), BoxError> {
    let prefix = match prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let whole = fs::canonicalize(dir).map_err(at(dir))?;
    // As much of STATE's path as is there: it may be yet to be made.
    let state_path = path::absolute(state).map_err(at(state))?;
    let mut found = state_path.ancestors().filter_map(|path| fs::canonicalize(path).ok());
    if found.next().is_some_and(|path| path.starts_with(whole)) {
        return Err("STATE is inside of DIR, and would be published".into());
    }
    let files = tree::files(dir, &prefix)?;
    let bucket = Client::from_env()?.bucket(bucket_name)?;
    fs::create_dir_all(state).map_err(at(state))?;
    let journal = state.join("published");
    let journal = Journal::open(&journal, bucket_name).map_err(at(&journal))?;
    let stop = CancelToken::new();
    let on_ctrl_c = stop.clone();
    ctrlc::set_handler(move || on_ctrl_c.cancel())?;
    Publisher { bucket, journal, state: state.into(), stop }.publish(&files)
}

struct Publisher {
    /// Shared by all threads, and with it the client and its connections.
    bucket: Bucket,
    journal: Journal,
    /// Has the record of each upload that is not finished.
    state: PathBuf,
    stop: CancelToken,
}

impl Publisher {
    fn publish(&self, files: &[(String, PathBuf)]) -> Result<(), BoxError> {
        let (next, sent, known) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let first_error = OnceLock::new();
        let work = || {
            while !self.stop.is_cancelled()
                && let Some((key, path)) = files.get(next.fetch_add(1, Ordering::Relaxed))
            {
                match self.publish_file(key, path) {
                    Ok(was_sent) => {
                        (if was_sent { &sent } else { &known }).fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        // Those that are stopped by it come later, and are no news.
                        let _ = first_error.set(error);
                        self.stop.cancel();
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..FILES {
                scope.spawn(work);
            }
        });
        let (sent, known, total) = (sent.into_inner(), known.into_inner(), files.len());
        println!("published {sent} of {total} files; {known} were published before");
        match first_error.into_inner() {
            Some(error) => Err(error),
            None if self.stop.is_cancelled() => Err("stopped".into()),
            None => Ok(()),
        }
    }

    /// False if it was published before.
    fn publish_file(&self, key: &str, path: &Path) -> Result<bool, BoxError> {
        if self.journal.has(key, path).map_err(at(path))? {
            return Ok(false);
        }
        let options = [
            routines(ROUTINES),
            checkpoint_dir(true, &self.state),
            cancel(&self.stop),
            delete_upload_on_cancelling(false),
        ];
        let part_size = determine_part_size(path.metadata().map_err(at(path))?.len(), PART_SIZE);
        let uploaded = self.bucket.upload_file(key, path, part_size, options)?;
        if uploaded.parts_resumed > 0 {
            println!("{key}: {} of {} parts were sent before", uploaded.parts_resumed, uploaded.parts);
        }
        self.journal.add(&uploaded).map_err(at(&self.state))?;
        Ok(true)
    }
}

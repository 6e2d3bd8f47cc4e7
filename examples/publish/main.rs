//! Publishes the files of a directory tree. After a failure, a crash or Ctrl-C, the same command
//! resumes: files that are published are not sent again, and of a large file only the missing
//! parts are sent.
//!
//! `publish DIR oss://BUCKET/PREFIX STATE`, with the environment variables of
//! `Client::from_env`. STATE is a directory for the checkpoints of large files. In CI it should be
//! a cached one, but it need not be: without it, large files restart and the others are skipped.
//! Without arguments it shows three runs on a local server.

mod demo;

use std::env;
use std::error::Error;
use std::path::Path;

use oss_upload::{CancelToken, Client, cancel, checkpoint_dir, routines, skip_unchanged};

type BoxError = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: publish DIR oss://BUCKET/PREFIX STATE";
/// In bytes, for files of up to 78 GiB.
const PART_SIZE: u64 = 8 << 20;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => demo::run(),
        [dir, target, state] => publish(dir.as_ref(), target.to_str(), state.as_ref()),
        _ => Err(USAGE.into()),
    }
}

fn publish(dir: &Path, target: Option<&str>, state: &Path) -> Result<(), BoxError> {
    let target = target.and_then(|target| target.strip_prefix("oss://"));
    let (bucket, prefix) = target
        .and_then(|target| target.split_once('/'))
        .ok_or(USAGE)?;
    // The prefix is put before the names as it is, so it has to end with a slash.
    let prefix = match prefix.trim_end_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let token = CancelToken::new();
    let ctrl_c = token.clone();
    ctrlc::set_handler(move || ctrl_c.pause())?;

    let bucket = Client::from_env()?.bucket(bucket)?;
    let options = [
        routines(4),
        checkpoint_dir(true, state),
        skip_unchanged(true),
        cancel(&token),
    ];
    let tree = bucket.upload_dir(&prefix, dir, PART_SIZE, options)?;
    for file in tree.files.iter().filter(|file| !file.skipped) {
        match file.parts_resumed {
            0 => println!("{}", file.url()),
            resumed => println!("{}: resumed {resumed} of {} parts", file.url(), file.parts),
        }
    }
    println!(
        "{} files, {} of them published before; {} bytes sent",
        tree.files.len(),
        tree.skipped,
        tree.bytes_sent
    );
    Ok(())
}

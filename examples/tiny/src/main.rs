//! `tiny FILE oss://BUCKET/KEY`: a resumable uploader in one static file of 2.1 MB, or 1.1 MB without TLS
//! (x86-64 musl, Rust 1.95). `examples/tiny/try` builds it, tells its size, and runs it against a local server.
//!
//! ```sh
//! rustup target add x86_64-unknown-linux-musl
//! export CC_x86_64_unknown_linux_musl=cc
//! cargo build --release --target x86_64-unknown-linux-musl                         # with TLS
//! cargo build --release --target x86_64-unknown-linux-musl --no-default-features   # plain HTTP only
//! ```
//!
//! `OSS_ENDPOINT`, `OSS_REGION`, `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN` say who and where.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use oss_upload::{Client, PARTS_MAX, checkpoint, routines};

/// Bytes; more where the file would not fit into the parts that an object may have.
const PART_SIZE: u64 = 8 << 20;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [file, target] = arguments.as_slice() else {
        eprintln!("usage: tiny FILE oss://BUCKET/KEY");
        return ExitCode::from(2);
    };
    match upload(file.as_ref(), target.to_str().unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tiny: {error}");
            ExitCode::FAILURE
        }
    }
}

fn upload(file: &Path, target: &str) -> Result<(), Box<dyn Error>> {
    let (bucket, key) = target
        .strip_prefix("oss://")
        .and_then(|target| target.split_once('/'))
        .ok_or("the target is not of the form oss://BUCKET/KEY")?;
    let size = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?.len();
    let part_size = PART_SIZE.max(size.div_ceil(PARTS_MAX));
    let bucket = Client::from_env()?.bucket(bucket)?;
    let done = bucket.upload_file(key, file, part_size, [routines(4), checkpoint(true, "")])?;
    println!("{}: {} bytes, {} of {} parts from before", done.key, done.size, done.parts_resumed, done.parts);
    Ok(())
}

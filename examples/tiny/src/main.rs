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
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use oss_upload::{Client, checkpoint, determine_part_size, routines};

const USAGE: &str = "usage: tiny FILE oss://BUCKET/KEY";

/// Bytes; more where the file would not fit into the parts that an object may have.
const PART_SIZE: u64 = 8 << 20;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = if let [file, target] = arguments.as_slice()
        && let Some((bucket, key)) = place(target)
    {
        upload(file.as_ref(), bucket, key)
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
            eprintln!("tiny: {error}");
            ExitCode::FAILURE
        }
    }
}

fn place(target: &OsStr) -> Option<(&str, &str)> {
    target.to_str()?.strip_prefix("oss://")?.split_once('/')
}

fn upload(file: &Path, bucket: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let size = file.metadata().map_err(|error| format!("{}: {error}", file.display()))?.len();
    let part_size = determine_part_size(size, PART_SIZE);
    let bucket = Client::from_env()?.bucket(bucket)?;
    let done = bucket.upload_file(key, file, part_size, [routines(4), checkpoint(true, "")])?;
    println!("{}: {} bytes, {} of {} parts from before", done.key, done.size, done.parts_resumed, done.parts);
    Ok(())
}

//! `tiny FILE oss://BUCKET/KEY`: a resumable uploader in one static binary of 2.1 MB, or 1.1 MB
//! without TLS (x86-64 musl, Rust 1.95). `examples/tiny/run.sh` builds it, prints its size, and
//! runs it against a local server.
//!
//! ```sh
//! rustup target add x86_64-unknown-linux-musl
//! export CC_x86_64_unknown_linux_musl=cc
//! # With TLS:
//! cargo build --release --target x86_64-unknown-linux-musl
//! # Plain HTTP only:
//! cargo build --release --target x86_64-unknown-linux-musl --no-default-features
//! ```
//!
//! The endpoint and the credentials are read from `OSS_ENDPOINT`, `OSS_REGION`,
//! `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and `OSS_SESSION_TOKEN`.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use oss_upload::{Client, checkpoint, determine_part_size, routines};

const USAGE: &str = "usage: tiny FILE oss://BUCKET/KEY";
/// In bytes. Larger parts are used if the file would have more than 10,000 of these.
const PART_SIZE: u64 = 8 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let [file, target] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let target = target
        .to_str()
        .and_then(|target| target.strip_prefix("oss://"));
    let (bucket, key) = target
        .and_then(|target| target.split_once('/'))
        .ok_or(USAGE)?;
    upload(file.as_ref(), bucket, key)
}

fn upload(file: &Path, bucket: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let size = file
        .metadata()
        .map_err(|error| format!("{}: {error}", file.display()))?
        .len();
    let part_size = determine_part_size(size, PART_SIZE);
    let bucket = Client::from_env()?.bucket(bucket)?;
    let options = [routines(4), checkpoint(true, "")];
    let done = bucket.upload_file(key, file, part_size, options)?;
    println!(
        "{}: {} bytes in {} parts, {} of them resumed",
        done.key, done.size, done.parts, done.parts_resumed
    );
    Ok(())
}

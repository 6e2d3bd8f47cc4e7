//! A backup for cron:
//!
//! `0 2 * * * backup STATE oss://BUCKET/PREFIX FILE...`
//!
//! STATE is a directory for the checkpoints of this backup alone. The environment variables are
//! those of `Client::from_env`. The exit code is 0 if all files are backed up, 1 if something
//! failed, and 2 for wrong usage. Errors are printed to standard error, which cron mails.
//!
//! The key of an object ends with the time at which its file was last written. So a file that has
//! not changed has the same key in the next run, which resumes its upload or skips it. If a file
//! has changed, the unfinished upload of its old version is deleted.
//!
//! Without arguments it shows four runs on a local server.

mod demo;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io, thread};

use oss_upload::{
    BandwidthLimit, Bucket, ClientBuilder, RetryPolicy, bandwidth_limit, checkpoint_dir,
    part_size_for, pending_uploads, routines, skip_unchanged,
};

const USAGE: &str = "usage: backup STATE oss://BUCKET/PREFIX FILE...";
/// Bytes per second, for all files together.
const NIGHT_LIMIT: u64 = 64 << 20;
/// Bytes per second that are left for the backup when others use the network, too.
const DAY_LIMIT: u64 = 4 << 20;
/// From the start of the run.
const NIGHT: Duration = Duration::from_secs(5 * 3600);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    match arguments.as_slice() {
        [] => demo::main(),
        [state, target, files @ ..] if !files.is_empty() => match open(target) {
            Ok((bucket, prefix)) => run(state, &bucket, &prefix, files),
            Err(error) => usage(&error.to_string()),
        },
        _ => usage("arguments are missing"),
    }
}

fn usage(message: &str) -> ExitCode {
    eprintln!("backup: {message}\n{USAGE}");
    ExitCode::from(2)
}

/// Returns the bucket and the prefix. The network may be down for half an hour, since no user waits
/// for the result.
fn open(target: &str) -> Result<(Bucket, String), Box<dyn Error>> {
    let target = target.strip_prefix("oss://");
    let (bucket, prefix) = target
        .and_then(|target| target.split_once('/'))
        .ok_or("the target must be oss://BUCKET/PREFIX")?;
    let policy = RetryPolicy::default().max_outage(Duration::from_secs(1800));
    let client = ClientBuilder::from_env()?.retry(policy).build()?;
    let prefix = prefix.trim_end_matches('/');
    Ok((client.bucket(bucket)?, prefix.to_owned()))
}

fn run(state: &str, bucket: &Bucket, prefix: &str, files: &[String]) -> ExitCode {
    let limit = BandwidthLimit::new(NIGHT_LIMIT);
    let day = limit.clone();
    thread::spawn(move || {
        thread::sleep(NIGHT);
        day.set(DAY_LIMIT);
    });
    let mut code = ExitCode::SUCCESS;
    let mut report = |result: Result<(), Box<dyn Error>>, what: &str| {
        if let Err(error) = result {
            eprintln!("backup: {what}: {error}");
            code = ExitCode::FAILURE;
        }
    };
    let mut keys = Vec::new();
    for file in files {
        let result = key(prefix, file).map_err(Into::into).and_then(|key| {
            keys.push(key.clone());
            back_up(state, bucket, &key, file, &limit)
        });
        report(result, file);
    }
    // If a file cannot be read, it is not known which upload is that of its current version.
    if keys.len() == files.len() {
        report(discard_old_versions(state, bucket, &keys), state);
    }
    code
}

fn back_up(
    state: &str,
    bucket: &Bucket,
    key: &str,
    file: &str,
    limit: &BandwidthLimit,
) -> Result<(), Box<dyn Error>> {
    let options = [
        routines(4),
        checkpoint_dir(true, state),
        skip_unchanged(true),
        bandwidth_limit(limit),
    ];
    let done = bucket.upload_file(key, file, part_size_for(file)?, options)?;
    match done.skipped {
        true => println!("{}: unchanged", done.url()),
        false => println!(
            "{}: resumed {} of {} parts",
            done.url(),
            done.parts_resumed,
            done.parts
        ),
    }
    Ok(())
}

/// Deletes the uploads that no run will resume, because their files have changed. Their parts
/// would be billed.
fn discard_old_versions(
    state: &str,
    bucket: &Bucket,
    keys: &[String],
) -> Result<(), Box<dyn Error>> {
    for pending in pending_uploads(state)? {
        if !keys.contains(&pending.key) {
            pending.discard(bucket)?;
            println!("{}: discarded {} bytes", pending.key, pending.bytes_done);
        }
    }
    Ok(())
}

/// Returns the object's key.
fn key(prefix: &str, file: &str) -> io::Result<String> {
    let date = humantime::format_rfc3339_seconds(Path::new(file).metadata()?.modified()?);
    let key = format!("{prefix}/{}/{date}", file.trim_start_matches('/'));
    Ok(key.trim_start_matches('/').to_owned())
}

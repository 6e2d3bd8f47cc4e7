//! A backup for cron:
//!
//! `0 2 * * * backup STATE oss://BUCKET/PREFIX FILE...`
//!
//! STATE is a directory for the checkpoints of unfinished uploads. The environment variables are
//! those of `Client::from_env`. The exit code is 0 if all files are backed up, 1 if something
//! failed, and 2 for wrong usage. Errors and warnings are printed to standard error, which cron
//! mails.
//!
//! The key of an object ends with the time at which its file was last written. So a file that has
//! not changed has the same key in the next run, which resumes its upload or finds it complete.
//! If a file has changed, the checkpoint of its old version stays in STATE. It is not used again
//! and may be deleted.
//!
//! Without arguments it shows three runs on a local server.

mod demo;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use std::{env, io};

use log::{LevelFilter, Log, Metadata, Record};
use oss_upload::{
    Bucket, Client, ClientBuilder, RetryPolicy, bandwidth_limit, checkpoint_dir,
    determine_part_size, forbid_overwrite, routines,
};

const USAGE: &str = "usage: backup STATE oss://BUCKET/PREFIX FILE...";
/// In bytes. Larger parts are used if the file would have more than 10,000 of these.
const PART_SIZE: u64 = 8 << 20;
/// Bytes per second.
const BANDWIDTH_LIMIT: u64 = 32 << 20;
/// Unfinished uploads that are older are aborted. This is longer than any upload pauses.
const STALE_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

fn main() -> ExitCode {
    let arguments: Result<Vec<String>, _> = env::args_os()
        .skip(1)
        .map(|argument| argument.into_string())
        .collect();
    if arguments.as_ref().is_ok_and(Vec::is_empty) {
        return demo::main();
    }
    if log::set_logger(&StderrLog).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
    let arguments = arguments.map_err(|_| "the arguments must be UTF-8".into());
    match arguments.and_then(|arguments| Backup::new(&arguments)) {
        Ok(backup) if backup.run() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("backup: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

struct Backup {
    state: String,
    bucket: Bucket,
    prefix: String,
    files: Vec<String>,
}

impl Backup {
    fn new(arguments: &[String]) -> Result<Backup, Box<dyn Error>> {
        let [state, target, files @ ..] = arguments else {
            return Err("arguments are missing".into());
        };
        let target = target
            .strip_prefix("oss://")
            .and_then(|target| target.split_once('/'));
        let (bucket, prefix) = target.ok_or("the target must be oss://BUCKET/PREFIX")?;
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        // Without a prefix, the unfinished uploads of other programs would be aborted.
        if prefix == "/" || files.is_empty() {
            return Err("a prefix and at least one file are required".into());
        }
        Ok(Backup {
            state: state.clone(),
            bucket: client()?.bucket(bucket)?,
            prefix,
            files: files.into(),
        })
    }

    /// Returns `false` if something failed. The other files are backed up in any case.
    fn run(&self) -> bool {
        let mut succeeded = true;
        for file in &self.files {
            if let Err(error) = self.back_up(file) {
                eprintln!("backup: {error}");
                succeeded = false;
            }
        }
        if let Err(error) = self.abort_stale_uploads() {
            eprintln!("backup: {error}");
            succeeded = false;
        }
        succeeded
    }

    fn back_up(&self, file: &str) -> Result<(), Box<dyn Error>> {
        let (key, part_size) = plan(&self.prefix, file.as_ref())
            .map_err(|error| format!("can't read {file}: {error}"))?;
        let options = [
            routines(4),
            checkpoint_dir(true, &self.state),
            bandwidth_limit(BANDWIDTH_LIMIT),
            forbid_overwrite(true),
        ];
        match self.bucket.upload_file(&key, file, part_size, options) {
            Ok(done) => {
                println!(
                    "{key}: resumed {} of {} parts",
                    done.parts_resumed, done.parts
                );
                Ok(())
            }
            Err(error) if error.service_code() == Some("FileAlreadyExists") => {
                println!("{file}: not changed since its last backup");
                Ok(())
            }
            Err(error) if error.is_resumable() => {
                Err(format!("{error}; the next run resumes").into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Aborts uploads that no run will resume, because their files have changed. Their parts
    /// would be billed.
    fn abort_stale_uploads(&self) -> Result<(), oss_upload::Error> {
        for upload in self.bucket.multipart_uploads(&self.prefix) {
            let upload = upload?;
            let age = SystemTime::now()
                .duration_since(upload.initiated)
                .unwrap_or_default();
            if age > STALE_AFTER {
                self.bucket
                    .abort_multipart_upload(&upload.key, &upload.upload_id)?;
                println!(
                    "{}: aborted after {} days",
                    upload.key,
                    age.as_secs() / (24 * 3600)
                );
            }
        }
        Ok(())
    }
}

/// Returns the object's key and the part size.
fn plan(prefix: &str, file: &Path) -> io::Result<(String, u64)> {
    let metadata = file.metadata()?;
    let date = humantime::format_rfc3339_seconds(metadata.modified()?);
    let name = file.to_string_lossy();
    let key = format!("{prefix}{}/{date}", name.trim_start_matches('/'));
    Ok((key, determine_part_size(metadata.len(), PART_SIZE)))
}

/// A client that retries for a long time: no user waits for the result, and the network may be down
/// for half an hour.
fn client() -> Result<Client, oss_upload::Error> {
    let policy = RetryPolicy::default()
        .max_attempts(30)
        .max_delay(Duration::from_secs(300));
    ClientBuilder::from_env()?.retry(policy).build()
}

struct StderrLog;

impl Log for StderrLog {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        eprintln!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

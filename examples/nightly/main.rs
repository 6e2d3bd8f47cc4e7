//! A backup for cron, with the environment variables of `Client::from_env`:
//!
//! `0 2 * * * nightly STATE oss://BUCKET/PREFIX FILE...`
//!
//! Exit code 0: all is there. 1: something failed; standard error says whether the next night carries on. 2: wrong usage.
//!
//! An object is dated by when its file was written, not by tonight: a file that has not changed has the same key
//! tomorrow, so its upload is carried on, or found done. STATE is a directory for the records of unfinished uploads; that
//! of a file that has changed since stays, is of no use, and may be deleted.
//! Without arguments and `OSS_ENDPOINT` it is a demonstration on a local server.

mod demo;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use std::{env, io};

use log::{LevelFilter, Log, Metadata, Record};
use oss_upload::{
    Bucket, Client, ClientBuilder, Error, RetryPolicy, bandwidth_limit, checkpoint_dir, determine_part_size,
    forbid_overwrite,
};

const USAGE: &str = "usage: nightly STATE oss://BUCKET/PREFIX FILE...";
/// Bytes.
const PART_SIZE: u64 = 2 << 20;
/// Bytes per second: what is left of the line at night.
const BANDWIDTH: u64 = 16 << 20;
/// Longer than any upload may pause.
const FORGOTTEN: Duration = Duration::from_secs(14 * 24 * 3600);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.is_empty() && env::var_os("OSS_ENDPOINT").is_none() {
        return demo::main();
    }
    if arguments == ["--help"] {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
    let night = match Night::new(&arguments) {
        Ok(night) => night,
        Err(wrong) => {
            eprintln!("nightly: {wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // One that fails keeps no other from its turn.
    let failed = night.files.iter().filter(|file| !night.back_up(file)).count();
    let cleared = night.clear_forgotten().inspect_err(|error| eprintln!("nightly: {error}"));
    if failed == 0 && cleared.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Night {
    state: String,
    bucket: Bucket,
    prefix: String,
    files: Vec<String>,
}

impl Night {
    fn new(arguments: &[String]) -> Result<Night, Box<dyn std::error::Error>> {
        let [state, target, files @ ..] = arguments else { return Err("arguments are missing".into()) };
        let target = target.strip_prefix("oss://").and_then(|target| target.split_once('/'));
        let (bucket, prefix) = target.ok_or("the target is not of the form oss://BUCKET/PREFIX")?;
        let prefix = format!("{}/", prefix.trim_end_matches('/'));
        // Without one, what others have left unfinished would be taken for ours.
        if prefix == "/" || files.is_empty() {
            return Err("a prefix and a file are needed".into());
        }
        Ok(Night { state: state.clone(), bucket: client()?.bucket(bucket)?, prefix, files: files.into() })
    }

    /// False if it failed.
    fn back_up(&self, file: &str) -> bool {
        let options = [checkpoint_dir(true, &self.state), bandwidth_limit(BANDWIDTH), forbid_overwrite(true)];
        let plan =
            plan(&self.prefix, file.as_ref()).map_err(|source| Error::Source { path: file.into(), source });
        match plan.and_then(|(key, part_size)| self.bucket.upload_file(&key, file, part_size, options)) {
            Ok(done) => {
                println!("{}: {} of {} parts sent", done.key, done.parts - done.parts_resumed, done.parts);
                true
            }
            Err(error) if error.service_code() == Some("FileAlreadyExists") => {
                println!("{file}: not changed since it was backed up");
                true
            }
            Err(error) => {
                let then =
                    if error.is_resumable() { "next night carries on" } else { "somebody has to look" };
                eprintln!("nightly: {error}; {then}");
                false
            }
        }
    }

    /// Of files that have changed since: nobody will carry these on, and their parts are billed.
    fn clear_forgotten(&self) -> Result<(), Error> {
        for upload in self.bucket.multipart_uploads(&self.prefix)? {
            let age = SystemTime::now().duration_since(upload.initiated).unwrap_or_default();
            if age > FORGOTTEN {
                self.bucket.abort_multipart_upload(&upload.key, &upload.upload_id)?;
                println!("{}: aborted, {} days old", upload.key, age.as_secs() / (24 * 3600));
            }
        }
        Ok(())
    }
}

/// The key, and a part size with which the file fits into the parts that an object may have.
fn plan(prefix: &str, file: &Path) -> io::Result<(String, u64)> {
    let (about, name) = (file.metadata()?, file.to_string_lossy());
    let date = humantime::format_rfc3339_seconds(about.modified()?);
    let part_size = determine_part_size(about.len(), PART_SIZE);
    Ok((format!("{prefix}{}/{date}", name.trim_start_matches('/')), part_size))
}

/// Nobody is waiting: a line that is down for half an hour is no reason to give up.
fn client() -> Result<Client, Error> {
    let patient = RetryPolicy::default().max_attempts(30).max_delay(Duration::from_secs(300));
    ClientBuilder::from_env()?.retry(patient).build()
}

/// Cron mails what is written to standard error.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        eprintln!("{}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

//! Runs the program three times against a local server: a run that fails, one that resumes, and
//! one with wrong usage.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, io};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{CancelToken, cancel, checkpoint, delete_upload_on_cancelling, progress};
use oss_upload::{Client, Credentials};

use crate::{PART_SIZE, STALE_AFTER, plan};

const DUMP_PARTS: usize = 8;
/// The names and sizes of the files.
const FILES: [(&str, usize); 3] = [
    ("mail.tar", 2 * PART_SIZE as usize),
    ("notes.txt", 5000),
    ("shop.dump", DUMP_PARTS * PART_SIZE as usize),
];
/// The part of `shop.dump` with which the security token expires.
const EXPIRED_PART: u32 = 7;

pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let dir = tempfile::tempdir()?;
    env::set_current_dir(&dir)?;
    for (name, size) in FILES {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        fs::write(name, bytes)?;
    }
    leave_stale_upload(&server)?;
    let names = FILES.map(|(name, _)| name);

    println!("run 1: OSS is busy for a moment; later the token expires and is not renewed");
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    server.inject(Rule::new(busy).on(Operation::UploadPart).part(2));
    let expired = Rule::new(Fault::ExpireToken).on(Operation::UploadPart);
    server.inject(expired.part(EXPIRED_PART).forever());
    let first = back_up(&server, &names)?;
    server.clear_faults();
    let dump = server
        .uploads()
        .into_iter()
        .find(|upload| upload.key.contains("shop.dump"));
    let stored = dump.map_or(0, |upload| upload.parts.len());

    println!("run 2");
    server.clear_requests();
    let second = back_up(&server, &names)?;
    let requests = server.requests();
    let sent = requests
        .iter()
        .filter(|request| request.operation == Operation::UploadPart)
        .count();
    println!("run 3: without files");
    let third = back_up(&server, &[])?;

    let mut is_equal = true;
    for name in names {
        let bytes = fs::read(name)?;
        let (key, _) = plan("backup/", name.as_ref())?;
        let object = server.object("examplebucket", &key);
        is_equal &= object.is_some_and(|object| object.bytes == bytes);
    }
    println!(
        "the objects {} the files",
        if is_equal { "equal" } else { "differ from" }
    );
    let is_clean = server.uploads().is_empty() && fs::read_dir("state")?.count() == 0;
    let resumed = stored > 0 && stored + sent == DUMP_PARTS;
    let codes = (first, second, third) == (Some(1), Some(0), Some(2));
    match is_equal && is_clean && resumed && codes {
        true => Ok(()),
        false => Err("the backup did not resume as expected".into()),
    }
}

/// Runs the program as cron does. Returns the exit code.
fn back_up(server: &LocalOss, files: &[&str]) -> io::Result<Option<i32>> {
    let status = Command::new(env::current_exe()?)
        .args(["state", "oss://examplebucket/backup/"])
        .args(files)
        .env("OSS_ENDPOINT", server.endpoint())
        .env("OSS_REGION", "cn-hangzhou")
        .env("OSS_ACCESS_KEY_ID", "ak")
        .env("OSS_ACCESS_KEY_SECRET", "sk")
        .env_remove("OSS_SESSION_TOKEN")
        .env("NO_PROXY", "127.0.0.1")
        .status()?;
    println!("{status}");
    Ok(status.code())
}

/// Leaves an unfinished upload on the server that is one day older than `STALE_AFTER`.
fn leave_stale_upload(server: &LocalOss) -> Result<(), Box<dyn Error>> {
    let age = STALE_AFTER + Duration::from_secs(24 * 3600);
    server.set_clock_skew(-i64::try_from(age.as_secs())?);
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let token = CancelToken::new();
    let options = [
        checkpoint(true, "stale.cp"),
        cancel(&token),
        delete_upload_on_cancelling(false),
        progress(|now| {
            if now.parts_done > 0 {
                token.cancel();
            }
        }),
    ];
    let key = "backup/old.dump/2026-01-01T00:00:00Z";
    let outcome = client
        .bucket("examplebucket")?
        .upload_file(key, "shop.dump", PART_SIZE, options);
    server.set_clock_skew(0);
    match (outcome, server.uploads().len()) {
        (Err(oss_upload::Error::Cancelled { .. }), 1) => Ok(fs::remove_file("stale.cp")?),
        (outcome, uploads) => Err(format!("{uploads} uploads after {outcome:?}").into()),
    }
}

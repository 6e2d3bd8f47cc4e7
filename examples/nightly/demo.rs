//! Plays cron against a local server: three nights, and a call with wrong usage.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs, io};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CancelToken, Client, Credentials, cancel, checkpoint, delete_upload_on_cancelling, progress,
};

use crate::{FORGOTTEN, PART_SIZE, plan};

/// Name and size in bytes.
const FILES: [(&str, usize); 3] =
    [("mail.tar", 4 * PART_SIZE as usize), ("notes.txt", 5000), ("shop.dump", 12 * PART_SIZE as usize)];

pub fn main() -> ExitCode {
    match nights() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nightly: {error}");
            ExitCode::FAILURE
        }
    }
}

fn nights() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let dir = tempfile::tempdir()?;
    env::set_current_dir(&dir)?;
    for (name, size) in FILES {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        fs::write(name, bytes)?;
    }
    leave_unfinished(&server)?;

    println!("night 1: OSS is busy for a moment; then the token expires, and nobody renews it");
    let busy = Fault::Status { status: 503, code: "ServiceUnavailable".into(), retry_after: None };
    server.inject(Rule::new(busy).on(Operation::UploadPart).part(2));
    server.inject(Rule::new(Fault::ExpireToken).on(Operation::UploadPart).part(8).forever());
    let first = night(&server, &FILES.map(|(name, _)| name))?;
    server.clear_faults();

    println!("night 2");
    server.clear_requests();
    let second = night(&server, &FILES.map(|(name, _)| name))?;
    let sent = server.requests().iter().filter(|request| request.operation == Operation::UploadPart).count();
    println!("night 3: without files");
    let third = night(&server, &[])?;

    let mut equal = true;
    for (name, _) in FILES {
        let bytes = fs::read(name)?;
        let (key, _) = plan("nightly/", name.as_ref())?;
        let object = server.object("examplebucket", &key);
        equal &= object.is_some_and(|object| object.bytes == bytes);
    }
    println!("the objects {} the files", if equal { "equal" } else { "are not" });
    let is_clean = server.uploads().is_empty() && fs::read_dir("state")?.count() == 0;
    match equal && is_clean && sent == 12 - 7 && (first, second, third) == (Some(1), Some(0), Some(2)) {
        true => Ok(()),
        false => Err("that is not what was promised".into()),
    }
}

/// As the crontab has it; returns the exit code.
fn night(server: &LocalOss, files: &[&str]) -> io::Result<Option<i32>> {
    let status = Command::new(env::current_exe()?)
        .args(["state", "oss://examplebucket/nightly/"])
        .args(files)
        .env("OSS_ENDPOINT", server.endpoint())
        .envs([("OSS_REGION", "cn-hangzhou"), ("OSS_ACCESS_KEY_ID", "ak"), ("OSS_ACCESS_KEY_SECRET", "sk")])
        .env_remove("OSS_SESSION_TOKEN")
        .env("NO_PROXY", "127.0.0.1")
        .status()?;
    println!("{status}");
    Ok(status.code())
}

/// What a machine that is gone has begun, some days before it is forgotten.
fn leave_unfinished(server: &LocalOss) -> Result<(), Box<dyn Error>> {
    let age = FORGOTTEN + Duration::from_secs(24 * 3600);
    server.set_clock_skew(-i64::try_from(age.as_secs())?);
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let (stop, record) = (CancelToken::new(), "lost.cp");
    let options = [
        checkpoint(true, record),
        cancel(&stop),
        delete_upload_on_cancelling(false),
        progress(|now| {
            if now.parts_done > 0 {
                stop.cancel()
            }
        }),
    ];
    let key = "nightly/shop.dump/long-ago";
    let outcome = client.bucket("examplebucket")?.upload_file(key, "shop.dump", PART_SIZE, options);
    server.set_clock_skew(0);
    match (outcome, server.uploads().len()) {
        (Err(oss_upload::Error::Cancelled { .. }), 1) => Ok(fs::remove_file(record)?),
        (outcome, uploads) => Err(format!("{uploads} unfinished uploads after {outcome:?}").into()),
    }
}

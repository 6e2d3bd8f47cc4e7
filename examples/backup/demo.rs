//! Runs the program four times against a local server: a run that fails, one that resumes, one that
//! has nothing to send, and one with wrong usage.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};
use std::{env, io};

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::key;

const PARTS: usize = 4;
/// The names and sizes of the files.
const FILES: [(&str, usize); 3] = [
    ("mail.tar", PARTS * (8 << 20)),
    ("notes.txt", 5000),
    ("shop.dump", PARTS * (8 << 20)),
];
/// The part with which the security token expires.
const EXPIRED_PART: u32 = 3;

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
    for (name, size) in FILES {
        write(&dir.path().join(name), size, Duration::from_secs(7200))?;
    }
    let names = FILES.map(|(name, _)| name);

    println!("run 1: the security token expires and is not renewed");
    let expired = Rule::new(Fault::ExpireToken).on(Operation::UploadPart);
    server.inject(expired.part(EXPIRED_PART).forever());
    let first = back_up(&server, dir.path(), &names)?;
    server.clear_faults();
    let stored: Vec<usize> = server.uploads().iter().map(|it| it.parts.len()).collect();

    println!("run 2: shop.dump has changed");
    let (name, size) = FILES[2];
    write(&dir.path().join(name), size, Duration::from_secs(3600))?;
    server.clear_requests();
    let second = back_up(&server, dir.path(), &names)?;
    let sent = server
        .requests()
        .iter()
        .filter(|request| request.operation == Operation::UploadPart)
        .count();

    println!("run 3: nothing has changed");
    server.clear_requests();
    let third = back_up(&server, dir.path(), &names)?;
    let requests = server.requests();
    let sends_nothing = requests
        .iter()
        .all(|request| request.operation == Operation::HeadObject);

    println!("run 4: without files");
    let fourth = back_up(&server, dir.path(), &[])?;

    env::set_current_dir(&dir)?;
    let mut is_equal = true;
    for name in names {
        let object = server.object("examplebucket", &key("backup", name)?);
        let bytes = fs::read(name)?;
        is_equal &= object.is_some_and(|object| object.bytes == bytes);
    }
    let verb = if is_equal { "equal" } else { "differ from" };
    println!("the objects {verb} the files");
    // All of `shop.dump`, and what was missing of `mail.tar`.
    let resumed = stored == [PARTS - 1, PARTS - 1] && sent == PARTS + 1;
    let is_clean = server.uploads().is_empty() && fs::read_dir("state")?.count() == 0;
    let codes = [first, second, third, fourth] == [Some(1), Some(0), Some(0), Some(2)];
    match is_equal && resumed && sends_nothing && is_clean && codes {
        true => Ok(()),
        false => Err("the backup did not run as expected".into()),
    }
}

/// Runs the program as cron does. Returns the exit code.
fn back_up(server: &LocalOss, dir: &Path, files: &[&str]) -> io::Result<Option<i32>> {
    let status = Command::new(env::current_exe()?)
        .args(["state", "oss://examplebucket/backup"])
        .args(files)
        .current_dir(dir)
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

/// Writes a file of random bytes that was last changed this long ago.
fn write(path: &Path, size: usize, age: Duration) -> io::Result<()> {
    let mut bytes = vec![0; size];
    fastrand::fill(&mut bytes);
    fs::write(path, bytes)?;
    let file = File::options().write(true).open(path)?;
    file.set_modified(SystemTime::now() - age)
}

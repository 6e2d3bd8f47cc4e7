//! A crash and what comes after it: an upload is killed half-way, and the same call, in another process, carries it on.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use local_oss::{LocalOss, RecordedRequest, Operation};
use oss_upload::{Client, Credentials, bandwidth_limit, checkpoint, routines};

const KEY: &str = "examplefile.bin";
/// Bytes.
const SIZE: usize = 64 << 20;
const PART_SIZE: usize = 1 << 20;
const PARTS: usize = SIZE / PART_SIZE;
/// Of the run that is killed, so that there is time to kill it: bytes per second.
const SLOW: u64 = 16 << 20;
const ENDPOINT: &str = "EXAMPLE_RESUME_ENDPOINT";

fn main() -> Result<(), Box<dyn Error>> {
    match env::var(ENDPOINT) {
        Ok(endpoint) => {
            child(&endpoint, env::args().nth(1).ok_or("no file")?.as_ref(), env::args().len() > 2)
        }
        Err(_) => parent(),
    }
}

/// The call that matters: it is the same in both runs.
fn child(endpoint: &str, file: &Path, slow: bool) -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::new("ak", "sk");
    let client =
        Client::builder(endpoint).credentials(credentials).region("cn-hangzhou").no_proxy().build()?;
    let options = [routines(4), checkpoint(true, "")];
    let limit = slow.then(|| bandwidth_limit(SLOW));
    let bucket = client.bucket("examplebucket")?;
    bucket.upload_file(KEY, file, PART_SIZE as u64, options.into_iter().chain(limit))?;
    Ok(())
}

fn parent() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let dir = tempfile::tempdir()?;
    let file = dir.path().join(KEY);
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&file, &bytes)?;

    let mut first = run(&server, &file, true)?;
    let patience = Instant::now() + Duration::from_secs(60);
    while parts_kept(&server) < PARTS / 2 && Instant::now() < patience {
        if let Some(status) = first.try_wait()? {
            return Err(format!("run 1 ended before it could be killed: {status}").into());
        }
        sleep(Duration::from_millis(5));
    }
    first.kill()?;
    first.wait()?;
    // What has reached the server whole may still be on its way into the store.
    while parts_kept(&server) < sent(&server.requests()).len() && Instant::now() < patience {
        sleep(Duration::from_millis(5));
    }
    let (found, sent_first) = (parts_kept(&server), sent(&server.requests()));
    println!("run 1: {} parts sent, killed; {found} of {PARTS} are on the server", sent_first.len());

    server.clear_requests();
    let status = run(&server, &file, false)?.wait()?;
    let sent_second = sent(&server.requests());
    println!("run 2: found {found}, sent {}, {status}", sent_second.len());

    let twice = sent_second.iter().filter(|number| sent_first.contains(number)).count();
    println!("sent twice: {twice} parts");
    let is_whole = server.object("examplebucket", KEY).is_some_and(|object| object.bytes == bytes);
    println!("the object {} the file", if is_whole { "equals" } else { "is not" });
    let is_clean = server.uploads().is_empty() && std::fs::read_dir(&dir)?.count() == 1;
    match is_whole && is_clean && status.success() && twice == 0 && found + sent_second.len() == PARTS {
        true => Ok(()),
        false => Err("that is not what was promised".into()),
    }
}

fn run(server: &LocalOss, file: &Path, slow: bool) -> std::io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.env(ENDPOINT, server.endpoint()).arg(file).args(slow.then_some("slow")).spawn()
}

fn parts_kept(server: &LocalOss) -> usize {
    server.uploads().first().map_or(0, |upload| upload.parts.len())
}

/// The numbers of the parts whose bodies have arrived whole.
fn sent(requests: &[RecordedRequest]) -> Vec<u32> {
    let is_sent = |request: &&RecordedRequest| {
        request.operation == Operation::UploadPart && request.body_bytes == PART_SIZE as u64
    };
    requests.iter().filter(is_sent).filter_map(|request| request.part_number).collect()
}

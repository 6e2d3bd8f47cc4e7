//! Kills an upload half-way with `kill -9`, and resumes it by the same call in another process.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use local_oss::{LocalOss, Operation};
use oss_upload::{Client, Credentials, bandwidth_limit, checkpoint, routines};

const KEY: &str = "examplefile.bin";
const PARTS: usize = 8;
const PART_SIZE: u64 = 8 << 20;
const SIZE: usize = PARTS * PART_SIZE as usize;
/// Bytes per second of the first run, so that there is time to kill it.
const LIMIT: u64 = 32 << 20;
/// Set for the processes that upload.
const ENDPOINT: &str = "EXAMPLE_RESUME_ENDPOINT";

fn main() -> Result<(), Box<dyn Error>> {
    let Ok(endpoint) = env::var(ENDPOINT) else {
        return demo();
    };
    let file = env::args_os().nth(1).ok_or("a file is missing")?;
    let limit = (env::args_os().len() > 2).then_some(LIMIT);
    upload(&endpoint, file.as_ref(), limit)
}

/// The upload. Both runs make the same call; only the bandwidth differs.
fn upload(endpoint: &str, file: &Path, limit: Option<u64>) -> Result<(), Box<dyn Error>> {
    let client = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let options = [routines(4), checkpoint(true, "")];
    let options = options.into_iter().chain(limit.map(bandwidth_limit));
    bucket.upload_file(KEY, file, PART_SIZE, options)?;
    Ok(())
}

fn demo() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let dir = tempfile::tempdir()?;
    let file = dir.path().join(KEY);
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&file, &bytes)?;

    let mut first = spawn(&server, &file, true)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while stored_parts(&server) < PARTS / 2 && Instant::now() < deadline {
        if let Some(status) = first.try_wait()? {
            return Err(format!("run 1 ended before it could be killed: {status}").into());
        }
        sleep(Duration::from_millis(5));
    }
    first.kill()?;
    first.wait()?;
    // The server may still be storing parts that it has received.
    while stored_parts(&server) < received_parts(&server).len() && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    let stored = stored_parts(&server);
    let first_run = received_parts(&server);
    println!("run 1: killed when OSS had {stored} of {PARTS} parts");

    server.clear_requests();
    let status = spawn(&server, &file, false)?.wait()?;
    let second_run = received_parts(&server);
    println!("run 2: sent {} parts, {status}", second_run.len());
    let twice = second_run
        .iter()
        .filter(|part| first_run.contains(part))
        .count();
    println!("sent twice: {twice} parts");

    let object = server.object("examplebucket", KEY);
    let is_equal = object.is_some_and(|object| object.bytes == bytes);
    println!(
        "the object {} the file",
        if is_equal { "equals" } else { "differs from" }
    );
    let is_clean = server.uploads().is_empty() && std::fs::read_dir(&dir)?.count() == 1;
    let resumed = status.success() && twice == 0 && stored + second_run.len() == PARTS;
    match is_equal && is_clean && resumed {
        true => Ok(()),
        false => Err("the upload did not resume as expected".into()),
    }
}

fn spawn(server: &LocalOss, file: &Path, slow: bool) -> std::io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command
        .env(ENDPOINT, server.endpoint())
        .arg(file)
        .args(slow.then_some("slow"))
        .spawn()
}

fn stored_parts(server: &LocalOss) -> usize {
    server
        .uploads()
        .first()
        .map_or(0, |upload| upload.parts.len())
}

/// The numbers of the parts that were received completely.
fn received_parts(server: &LocalOss) -> Vec<u32> {
    let requests = server.requests();
    let parts = requests.iter().filter(|request| {
        request.operation == Operation::UploadPart && request.body_bytes == PART_SIZE
    });
    parts.filter_map(|request| request.part_number).collect()
}

//! Counts the requests of a tree of 500 files, of which 10 have 8 parts: uploaded; killed when half
//! of the files are uploaded; resumed; and uploaded once more.
//!
//! `cargo bench -p oss-upload-bench --bench tree`

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload_bench::Result;

const KIB: u64 = 1 << 10;
const PART: u64 = 100 * KIB;

fn main() -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let directory = directory.path();
    let path = directory.join("tree");
    fs::create_dir(&path)?;
    for number in 0..500_u64 {
        let size = if number < 10 { 8 * PART } else { 16 * KIB };
        let content = number.to_le_bytes().repeat(size as usize / 8);
        fs::write(path.join(format!("{number:03}")), content)?;
    }
    let server = LocalOss::start();
    let mut command = ours(&server, &path);
    run(&mut command)?;
    print_requests(&server, "without skip_unchanged");

    let server = LocalOss::start();
    let mut command = ours(&server, &path);
    command.args(["--skip-unchanged", "--checkpoint-dir"]);
    command.arg(directory.join("checkpoints"));
    server.inject(
        Rule::new(Fault::Stall)
            .on(Operation::PutObject)
            .nth(251)
            .forever(),
    );
    let mut killed = command.spawn()?;
    while server.faults_fired() < 4 {
        if killed.try_wait()?.is_some() {
            return Err("the call ended before it was killed".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    killed.kill()?;
    killed.wait()?;
    server.clear_faults();
    print_requests(&server, "killed after 250 files");
    run(&mut command)?;
    print_requests(&server, "resumed");
    run(&mut command)?;
    print_requests(&server, "uploaded once more");
    Ok(())
}

fn ours(server: &LocalOss, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-ours"));
    command.arg(server.endpoint()).arg(path);
    command.args(["--tree", "--threads", "4", "--part-size"]);
    command.arg(PART.to_string());
    command
}

fn run(command: &mut Command) -> Result<()> {
    match command.status()?.success() {
        true => Ok(()),
        false => Err("the call failed".into()),
    }
}

/// Prints the requests since the last call, and the bytes of those that succeeded.
fn print_requests(server: &LocalOss, what: &str) {
    let requests = server.requests();
    let count = |operation| {
        requests
            .iter()
            .filter(|request| request.operation == operation)
            .count()
    };
    let heads = count(Operation::HeadObject);
    let puts = count(Operation::PutObject);
    let parts = count(Operation::UploadPart);
    let others = requests.len() - heads - puts - parts;
    let bytes: u64 = requests
        .iter()
        .filter(|request| request.status == Some(200))
        .filter(|request| {
            matches!(
                request.operation,
                Operation::PutObject | Operation::UploadPart
            )
        })
        .map(|request| request.body_bytes)
        .sum();
    println!(
        "500 files, {what}: {} requests ({heads} HeadObject, {puts} PutObject, {parts} UploadPart, {others} others), {bytes} bytes",
        requests.len()
    );
    server.clear_requests();
}

//! Benchmarks over a range of values: memory by part size, latency, resuming, small files and
//! bandwidth limits.
//!
//! `cargo bench -p oss-upload-bench --bench scaling`

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{bandwidth_limit, routines};
use oss_upload_bench::cost::{Cost, medians};
use oss_upload_bench::server::Server;
use oss_upload_bench::{Result, bucket};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const PART: u64 = 100 * KIB;
const RUNS: usize = 5;

fn main() -> Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let sparse = |name: &str, size| -> Result<std::path::PathBuf> {
        let path = directory.path().join(name);
        File::create(&path)?.set_len(size)?;
        Ok(path)
    };
    memory(&sparse("ten-gib", 10 * GIB)?)?;
    latency(&sparse("400-parts", 400 * PART)?)?;
    resuming(
        &sparse("10000-parts", 10_000 * PART)?,
        &directory.path().join("checkpoint"),
    )?;
    small_files(&sparse("small", 1000)?)?;
    bandwidth(&sparse("bandwidth", 64 * MIB)?)
}

fn ours(endpoint: &str, path: &Path, threads: usize, part_size: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-ours"));
    command.arg(endpoint).arg(path);
    command.args([
        "--threads",
        &threads.to_string(),
        "--part-size",
        &part_size.to_string(),
    ]);
    command
}

/// Must run first, while this process is small: the peak memory of a child includes that of its
/// parent.
fn memory(path: &Path) -> Result<()> {
    let server = Server::start(env!("CARGO_BIN_EXE_bench-server"), Duration::ZERO)?;
    for (name, part_size, threads) in [
        ("2 MiB", 2 * MIB, 4),
        ("64 MiB", 64 * MIB, 4),
        ("2.5 GiB", 5 * GIB / 2, 4),
        ("5 GiB", 5 * GIB, 2),
    ] {
        let cost = Cost::of(&mut ours(&server.endpoint, path, threads, part_size))?;
        println!(
            "10 GiB in parts of {name}, {threads} threads: peak RSS {:.1} MiB",
            cost.rss
        );
    }
    Ok(())
}

/// With 8 threads, 400 parts of 25 ms each take 50 times the latency; initiating and completing
/// take one each.
fn latency(path: &Path) -> Result<()> {
    let latency = Duration::from_millis(25);
    let mut server = Server::start(env!("CARGO_BIN_EXE_bench-server"), latency)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let mut cost = Cost::of(&mut ours(&server.endpoint, path, 8, PART))?;
        (cost.connections, cost.requests) = server.counts()?;
        runs.push(cost);
    }
    let (cost, ideal) = (medians(&runs), 52.0 * latency.as_secs_f64());
    println!(
        "400 parts by 8 threads at 25 ms a request: {:.2} s, ideal {ideal:.2} s, ratio {:.2}; {} connections, {} requests",
        cost.wall,
        cost.wall / ideal,
        cost.connections,
        cost.requests
    );
    Ok(())
}

/// Resumes an upload of 10,000 parts of which the last one is missing.
fn resuming(path: &Path, checkpoint: &Path) -> Result<()> {
    let server = LocalOss::builder().discard(true).start()?;
    let denied = || Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    let mut command = ours(&server.endpoint(), path, 4, PART);
    command
        .arg("--checkpoint")
        .arg(checkpoint)
        .stderr(std::process::Stdio::null());
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        server.inject(Rule::new(denied()).on(Operation::UploadPart).part(10_000));
        if Cost::of(&mut command).is_ok() {
            return Err("the first call did not fail".into());
        }
        server.clear_faults();
        server.clear_requests();
        let mut cost = Cost::of(&mut command)?;
        cost.requests = server.requests().len();
        runs.push(cost);
    }
    let cost = medians(&runs);
    println!(
        "resuming 9,999 of 10,000 parts: {:.0} ms CPU, {:.0} ms, {} requests",
        cost.cpu * 1e3,
        cost.wall * 1e3,
        cost.requests
    );
    Ok(())
}

fn small_files(path: &Path) -> Result<()> {
    let server = LocalOss::builder().discard(true).start()?;
    let mut command = ours(&server.endpoint(), path, 1, PART);
    command.args(["--files", "200"]);
    let cost = Cost::of(&mut command)?;
    println!(
        "200 small files: {:.0} µs CPU and {:.0} µs each, {} connections",
        cost.cpu * 5e3,
        cost.wall * 5e3,
        server.connections()
    );
    let server = LocalOss::builder().discard(true).start()?;
    let bucket = bucket(&server.endpoint(), None)?;
    thread::scope(|scope| {
        for thread in 0..4 {
            let bucket = bucket.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    let put = bucket.upload_file(&format!("{thread}/{number}"), path, PART, []);
                    put.expect("an upload");
                }
            });
        }
    });
    println!(
        "200 small files by 4 threads: {} connections",
        server.connections()
    );
    Ok(())
}

/// Measures the rate over ten seconds, with several numbers of threads and part sizes.
fn bandwidth(path: &Path) -> Result<()> {
    let server = LocalOss::builder().discard(true).start()?;
    let bucket = bucket(&server.endpoint(), None)?;
    let (rate, bytes) = (64 * MIB / 10, 64 * MIB);
    for (threads, part_size) in [(1, MIB), (4, 8 * MIB), (8, PART)] {
        let started = Instant::now();
        bucket.upload_file(
            "o",
            path,
            part_size,
            [routines(threads), bandwidth_limit(rate)],
        )?;
        let measured = bytes as f64 / started.elapsed().as_secs_f64();
        println!(
            "bandwidth_limit of {rate} bytes/s, {threads} threads, parts of {} KiB: {measured:.0} bytes/s, {:+.1} %",
            part_size / KIB,
            (measured / rate as f64 - 1.0) * 100.0
        );
    }
    Ok(())
}

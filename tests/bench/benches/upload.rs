//! Uploads the same file to the same server by this crate and by other programs, in turn.
//!
//! `cargo bench -p oss-upload-bench --bench upload -- [--mib 1024] [--runs 5] [--only TEXT]`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use oss_upload_bench::Result;
use oss_upload_bench::cost::{Cost, medians};
use oss_upload_bench::server::Server;
use oss_upload_bench::sign::signed_url;

const MIB: u64 = 1 << 20;
const PARTS_MAX: u64 = 10_000;
const THREADS: usize = 4;

struct Arguments {
    mib: u64,
    runs: usize,
    only: String,
}

/// The file and the server of all runs.
struct Setup {
    file: PathBuf,
    bytes: u64,
    server: Server,
    checkpoint: PathBuf,
}

/// A way to upload the file.
struct Contender {
    name: &'static str,
    /// The name of the lower bound that it is compared with.
    floor: &'static str,
    command: fn(&Setup) -> Option<Command>,
}

const FLOOR: &str = "floor, 4 connections";
const FLOOR_ONE: &str = "floor, 1 connection";
const FLOOR_TLS: &str = "floor, 4 connections, TLS";

const CONTENDERS: [Contender; 15] = [
    Contender {
        name: FLOOR,
        floor: FLOOR,
        command: |setup| Some(floor(setup, THREADS, setup.bytes, false)),
    },
    Contender {
        name: "  a request for each 8 MiB",
        floor: FLOOR,
        command: |setup| Some(floor(setup, THREADS, 8 * MIB, false)),
    },
    Contender {
        name: "  10,000 requests",
        floor: FLOOR,
        command: |setup| Some(floor(setup, THREADS, smallest_part(setup), false)),
    },
    Contender {
        name: "oss-upload, 4 threads, 8 MiB",
        floor: FLOOR,
        command: |setup| Some(ours(setup, &setup.server.endpoint, THREADS, 8 * MIB)),
    },
    Contender {
        name: "  with a checkpoint",
        floor: FLOOR,
        command: |setup| Some(with_checkpoint(setup, 8 * MIB)),
    },
    Contender {
        name: "  with Content-MD5",
        floor: FLOOR,
        command: |setup| {
            let mut command = ours(setup, &setup.server.endpoint, THREADS, 8 * MIB);
            command.arg("--content-md5");
            Some(command)
        },
    },
    Contender {
        name: "oss-upload, 4 threads, 10,000 parts",
        floor: FLOOR,
        command: |setup| {
            Some(ours(
                setup,
                &setup.server.endpoint,
                THREADS,
                smallest_part(setup),
            ))
        },
    },
    Contender {
        name: "  10,000 parts, checkpoint",
        floor: FLOOR,
        command: |setup| Some(with_checkpoint(setup, smallest_part(setup))),
    },
    Contender {
        name: "oss2 (Python), 4 threads, 8 MiB",
        floor: FLOOR,
        command: oss2,
    },
    Contender {
        name: "opendal, 4 at a time, 8 MiB",
        floor: FLOOR,
        command: opendal,
    },
    Contender {
        name: FLOOR_ONE,
        floor: FLOOR_ONE,
        command: |setup| Some(floor(setup, 1, setup.bytes, false)),
    },
    Contender {
        name: "oss-upload, 1 thread, 8 MiB",
        floor: FLOOR_ONE,
        command: |setup| Some(ours(setup, &setup.server.endpoint, 1, 8 * MIB)),
    },
    Contender {
        name: "curl -T",
        floor: FLOOR_ONE,
        command: curl,
    },
    Contender {
        name: FLOOR_TLS,
        floor: FLOOR_TLS,
        command: |setup| Some(floor(setup, THREADS, setup.bytes, true)),
    },
    Contender {
        name: "oss-upload, 4 threads, 8 MiB, TLS",
        floor: FLOOR_TLS,
        command: |setup| {
            let mut command = ours(setup, &setup.server.tls_endpoint, THREADS, 8 * MIB);
            command.args(["--roots", &setup.server.roots]);
            Some(command)
        },
    },
];

fn main() -> Result<()> {
    let arguments = parse_arguments()?;
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bytes = arguments.mib * MIB;
    let setup = Setup {
        file: fill(directory.path().join("file"), bytes)?,
        bytes,
        server: Server::start(env!("CARGO_BIN_EXE_bench-server"), Duration::ZERO)?,
        checkpoint: directory.path().join("checkpoint"),
    };
    let runs = run_all(setup, &arguments)?;
    print(&runs, bytes);
    Ok(())
}

/// Parses the arguments. Cargo adds `--bench`.
fn parse_arguments() -> Result<Arguments> {
    use lexopt::{Arg, ValueExt};
    let mut arguments = Arguments {
        mib: 1024,
        runs: 5,
        only: String::new(),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("mib") => arguments.mib = parser.value()?.parse()?,
            Arg::Long("runs") => arguments.runs = parser.value()?.parse()?,
            Arg::Long("only") => arguments.only = parser.value()?.string()?,
            Arg::Long("bench") => {}
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(arguments)
}

/// Writes a file that is not sparse and whose blocks are all different.
fn fill(path: PathBuf, bytes: u64) -> Result<PathBuf> {
    let (mut file, mut block) = (File::create(&path)?, vec![0x5a; MIB as usize]);
    for number in 0..bytes / MIB {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block)?;
    }
    Ok(path)
}

/// Runs all contenders in turn, so that other load on the machine affects all of them. The first
/// round is a warm-up.
fn run_all(mut setup: Setup, arguments: &Arguments) -> Result<BTreeMap<usize, Vec<Cost>>> {
    let chosen = |name: &str| name.contains(&arguments.only) || name.starts_with("floor");
    let mut runs: BTreeMap<usize, Vec<Cost>> = BTreeMap::new();
    for round in 0..=arguments.runs {
        for (index, contender) in CONTENDERS
            .iter()
            .enumerate()
            .filter(|(_, it)| chosen(it.name))
        {
            let Some(mut command) = (contender.command)(&setup) else {
                if round == 0 {
                    println!("skipped (not installed): {}", contender.name);
                }
                continue;
            };
            setup.server.counts()?;
            let mut cost = Cost::of(&mut command)?;
            (cost.connections, cost.requests) = setup.server.counts()?;
            if round > 0 {
                runs.entry(index).or_default().push(cost);
            }
        }
    }
    Ok(runs)
}

fn print(runs: &BTreeMap<usize, Vec<Cost>>, bytes: u64) {
    let gib = bytes as f64 / (1 << 30) as f64;
    let all: Vec<(&Contender, Cost)> = runs
        .iter()
        .map(|(index, runs)| (&CONTENDERS[*index], medians(runs)))
        .collect();
    let floor = |name: &str| {
        all.iter()
            .find(|(it, _)| it.name == name)
            .map_or(f64::NAN, |(_, cost)| cost.cpu)
    };
    println!("| | CPU s/GiB | × floor | wall s/GiB | peak RSS MiB | connections | requests |");
    println!("|---|---|---|---|---|---|---|");
    for (contender, cost) in &all {
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.1} | {} | {} |",
            contender.name,
            cost.cpu / gib,
            cost.cpu / floor(contender.floor),
            cost.wall / gib,
            cost.rss,
            cost.connections,
            cost.requests
        );
    }
}

fn floor(setup: &Setup, connections: usize, part_size: u64, tls: bool) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-floor"));
    command
        .arg(&setup.file)
        .arg(part_size.to_string())
        .arg(&setup.server.roots);
    let endpoint = if tls {
        &setup.server.tls_endpoint
    } else {
        &setup.server.endpoint
    };
    command.args((0..connections).map(|number| signed_url(endpoint, &format!("floor{number}"))));
    command
}

fn ours(setup: &Setup, endpoint: &str, threads: usize, part_size: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-ours"));
    command.arg(endpoint).arg(&setup.file);
    command.args([
        "--threads",
        &threads.to_string(),
        "--part-size",
        &part_size.to_string(),
    ]);
    command
}

fn with_checkpoint(setup: &Setup, part_size: u64) -> Command {
    let mut command = ours(setup, &setup.server.endpoint, THREADS, part_size);
    command.arg("--checkpoint").arg(&setup.checkpoint);
    command
}

/// Returns the smallest part size with which the file has at most 10,000 parts.
fn smallest_part(setup: &Setup) -> u64 {
    setup.bytes.div_ceil(PARTS_MAX).max(100 << 10)
}

fn curl(setup: &Setup) -> Option<Command> {
    let mut command = Command::new("curl");
    run_quietly(Command::new("curl").arg("--version"))?;
    command
        .args(["-sS", "--fail", "-T"])
        .arg(&setup.file)
        .arg(signed_url(&setup.server.endpoint, "curl"));
    Some(command)
}

/// Installs oss2 below the target directory on the first use.
fn oss2(setup: &Setup) -> Option<Command> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oss2-venv");
    let python = venv.join("bin/python");
    let works = || run_quietly(Command::new(&python).args(["-c", "import oss2"]));
    if works().is_none() {
        run_quietly(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run_quietly(Command::new(&python).args(["-m", "pip", "install", "-q", "oss2"]))?;
        works()?;
    }
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/oss2_upload.py"))
        .arg(&setup.server.endpoint);
    command
        .arg(&setup.file)
        .args([(8 * MIB).to_string(), THREADS.to_string()]);
    Some(command)
}

/// Builds opendal below the target directory on the first use, so that its dependencies stay out of
/// this workspace.
fn opendal(setup: &Setup) -> Option<Command> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("opendal");
    let program = target.join("release/opendal-upload");
    if !program.exists() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/opendal/Cargo.toml");
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let mut build = Command::new(cargo);
        build
            .args([
                "build",
                "--release",
                "-q",
                "--manifest-path",
                manifest,
                "--target-dir",
            ])
            .arg(&target);
        run_quietly(&mut build)?;
    }
    let mut command = Command::new(program);
    command.arg(&setup.server.endpoint).arg(&setup.file);
    command.args([(8 * MIB).to_string(), THREADS.to_string()]);
    Some(command)
}

fn run_quietly(command: &mut Command) -> Option<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success()).then_some(())
}

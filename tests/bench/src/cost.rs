//! The cost of a child process, and the median of several runs.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::Result;

/// The cost of one run of a program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// CPU time in seconds: user and system.
    pub cpu: f64,
    /// Elapsed time in seconds.
    pub wall: f64,
    /// Peak resident memory in MiB.
    pub rss: f64,
    /// The number of connections.
    pub connections: usize,
    /// The number of requests.
    pub requests: usize,
}

impl Cost {
    /// Runs a program and waits until it has ended.
    ///
    /// # Errors
    /// If it can't be started, or if it fails.
    pub fn of(command: &mut Command) -> Result<Cost> {
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let ended = child.wait4()?;
        let wall = started.elapsed().as_secs_f64();
        if !ended.status.success() {
            return Err(format!("{command:?} failed: {}", ended.status).into());
        }
        let used = ended.rusage;
        let cpu = used.utime + used.stime;
        Ok(Cost {
            cpu: cpu.as_secs_f64(),
            wall,
            rss: used.maxrss as f64 / RSS_PER_MIB,
            ..Cost::default()
        })
    }
}

/// `wait4` returns bytes on every system.
const RSS_PER_MIB: f64 = 1_048_576.0;

/// Returns the median.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Returns the median in microseconds.
pub fn median_micros(values: impl IntoIterator<Item = Duration>) -> f64 {
    median(values.into_iter().map(|value| value.as_secs_f64() * 1e6))
}

/// Returns the medians of all figures, each on its own.
pub fn medians(runs: &[Cost]) -> Cost {
    let of = |figure: fn(&Cost) -> f64| median(runs.iter().map(figure));
    Cost {
        cpu: of(|run| run.cpu),
        wall: of(|run| run.wall),
        rss: of(|run| run.rss),
        connections: of(|run| run.connections as f64) as usize,
        requests: of(|run| run.requests as f64) as usize,
    }
}

//! What the user sees.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use oss_upload::{CancelToken, Error, Progress, ProgressEvent, Uploaded};

const BAR: &str = "[{wide_bar}] {percent:>3}%  {binary_bytes} of {binary_total_bytes}  \
                   {binary_bytes_per_sec}  {eta} left {msg}";
/// Without a terminal, a line is printed at least this often.
const LINE_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// A progress bar on standard error. If that is not a terminal, lines: one for each tenth of the
/// file, and one after each `LINE_INTERVAL_MAX`.
pub struct Screen {
    bar: ProgressBar,
    last: Option<Progress>,
    last_line: Line,
}

struct Line {
    /// How many tenths of the file were uploaded.
    tenths: u64,
    time: Instant,
}

impl Screen {
    pub fn new(size: u64) -> Screen {
        let style = ProgressStyle::with_template(BAR).expect("the template is valid");
        let bar = ProgressBar::new(size).with_style(style.progress_chars("=> "));
        Screen {
            bar,
            last: None,
            last_line: Line {
                tenths: 0,
                time: Instant::now(),
            },
        }
    }

    /// Makes the first Ctrl-C cancel the upload, and the second one end the program.
    pub fn cancel_on_ctrl_c(&self, has_checkpoint: bool) -> Result<CancelToken, ctrlc::Error> {
        let token = CancelToken::new();
        let kept = if has_checkpoint {
            "; the progress is kept in both cases"
        } else {
            ""
        };
        ctrlc::set_handler({
            let token = token.clone();
            let bar = self.bar.clone();
            move || {
                if token.is_cancelled() {
                    std::process::exit(1);
                }
                token.cancel();
                bar.suspend(|| eprintln!("stopping; press Ctrl-C again to exit now{kept}"));
            }
        })?;
        Ok(token)
    }

    pub fn show(&mut self, now: &Progress) {
        self.bar.set_position(now.transferred);
        if self.bar.is_hidden() {
            self.show_line(now);
        }
        match now.event {
            ProgressEvent::Resumed => {
                let bytes = human(now.transferred);
                let (done, total) = (now.parts_done, now.parts_total);
                self.print_line(&format!(
                    "resuming: OSS has {done} of {total} parts ({bytes})"
                ));
                // The parts of an earlier run do not count for the rate.
                self.bar.reset_eta();
            }
            ProgressEvent::Restarted(reason) => self.print_line(&format!("restarting: {reason}")),
            ProgressEvent::Retrying => self.bar.set_message("(retrying)"),
            ProgressEvent::Transferred if now.parts_done == now.parts_total => {
                self.bar.set_message("(completing)");
            }
            ProgressEvent::Transferred => self.bar.set_message(""),
            ProgressEvent::Completed if self.last.is_none() => {
                self.print_line("the object is already complete; an earlier response was lost");
                self.bar.finish_and_clear();
            }
            ProgressEvent::Completed | ProgressEvent::Failed => self.bar.finish_and_clear(),
            _ => {}
        }
        self.last = Some(now.clone());
    }

    fn show_line(&mut self, now: &Progress) {
        let total = now.total.max(1);
        let tenths = now.transferred * 10 / total;
        match now.event {
            ProgressEvent::Transferred
                if tenths > self.last_line.tenths
                    || self.last_line.time.elapsed() >= LINE_INTERVAL_MAX =>
            {
                let percent = now.transferred * 100 / total;
                let (done, total) = (human(now.transferred), human(now.total));
                self.print_line(&format!("{percent:>3}%  {done} of {total}"));
            }
            // `show` prints a line for these.
            ProgressEvent::Resumed | ProgressEvent::Restarted(_) => {}
            _ => return,
        }
        self.last_line = Line {
            tenths,
            time: Instant::now(),
        };
    }

    fn print_line(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Describes in one line what happened, what is kept, and how to resume.
    pub fn describe(&self, error: &Error, has_checkpoint: bool) -> String {
        let hint = match &self.last {
            Some(last) if has_checkpoint && last.upload_id.is_some() => {
                let (done, total) = (last.parts_done, last.parts_total);
                format!("{done} of {total} parts are kept; run the same command to resume")
            }
            _ => "run the same command to start again".to_owned(),
        };
        match error {
            Error::Cancelled {
                object_may_exist: true,
                ..
            } => format!("{error}; {hint}"),
            Error::Cancelled { .. } => format!("cancelled; {hint}"),
            Error::Transport { .. } | Error::Service(_) | Error::Response { .. }
                if error.is_resumable() =>
            {
                format!("{error}; {hint}")
            }
            Error::Checkpoint {
                path: Some(path),
                source,
                ..
            } if is_read_only(source) => format!(
                "can't write the checkpoint {}; use --checkpoint PATH or --no-checkpoint",
                path.display()
            ),
            _ => error.to_string(),
        }
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Prints to standard output, and ignores a closed pipe.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

pub fn summarize(uploaded: &Uploaded, duration: Duration, local_path: Option<&Path>) {
    let seconds = duration.as_secs_f64();
    let rate = (uploaded.bytes_sent as f64 / seconds.max(1e-3)) as u64;
    let lines = [
        ("key", Some(uploaded.key.clone())),
        (
            "size",
            Some(format!(
                "{} bytes ({})",
                uploaded.size,
                human(uploaded.size)
            )),
        ),
        ("etag", Some(uploaded.etag.clone())),
        ("crc64", uploaded.crc64.map(|crc64| crc64.to_string())),
        (
            "parts",
            Some(format!(
                "{} ({} resumed)",
                uploaded.parts, uploaded.parts_resumed
            )),
        ),
        ("seconds", Some(format!("{seconds:.2}"))),
        ("rate", Some(format!("{}/s", human(rate)))),
        ("location", uploaded.location.clone()),
        ("file", local_path.map(|path| path.display().to_string())),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<9}{value}");
        }
    }
    print(&text);
}

fn human(bytes: u64) -> impl std::fmt::Display {
    ByteSize::b(bytes).display().iec()
}

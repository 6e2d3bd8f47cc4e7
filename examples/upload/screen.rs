//! What the user sees.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use oss_upload::{CancelToken, Error, Progress, ProgressEvent, Uploaded};

const BAR: &str = "[{wide_bar}] {percent:>3}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  \
                   {eta} left {msg}";

/// Without a bar there is a line for each tenth of the file, and after so long a time.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A bar on standard error, if that is a terminal, else lines now and then.
pub struct Screen {
    bar: ProgressBar,
    last: Option<Progress>,
    /// The tenths of the file in the last line, and when that was.
    told: (u64, Instant),
}

impl Screen {
    pub fn new(size: u64) -> Screen {
        let style = ProgressStyle::with_template(BAR).expect("a constant that is well-formed");
        let bar = ProgressBar::new(size).with_style(style.progress_chars("=> "));
        Screen { bar, last: None, told: (0, Instant::now()) }
    }

    /// The first Ctrl-C stops the upload in good order, the second one the program.
    pub fn stop_on_ctrl_c(&self, recorded: bool) -> Result<CancelToken, ctrlc::Error> {
        let token = CancelToken::new();
        let (stop, bar) = (token.clone(), self.bar.clone());
        let kept = if recorded { "; either way what was sent is kept" } else { "" };
        ctrlc::set_handler(move || {
            if stop.is_cancelled() {
                std::process::exit(1);
            }
            stop.cancel();
            bar.suspend(|| eprintln!("stopping; again Ctrl-C to leave at once{kept}"));
        })?;
        Ok(token)
    }

    pub fn show(&mut self, now: &Progress) {
        self.bar.set_position(now.transferred);
        if self.bar.is_hidden() {
            self.tell(now);
        }
        match now.event {
            ProgressEvent::Resumed => {
                let (done, total) = (now.parts_done, now.parts_total);
                self.say(&format!(
                    "found {done} of {total} parts ({}) from an earlier run",
                    human(now.transferred)
                ));
                // What was found says nothing about how fast the rest will go.
                self.bar.reset_eta();
            }
            ProgressEvent::Restarted(reason) => self.say(&format!("starting over: {reason}")),
            ProgressEvent::Retrying => self.bar.set_message("(trying again)"),
            ProgressEvent::Transferred if now.parts_done == now.parts_total => {
                self.bar.set_message("(completing)");
            }
            ProgressEvent::Transferred => self.bar.set_message(""),
            ProgressEvent::Completed if self.last.is_none() => {
                self.say("found the object complete: an earlier run had not seen the answer");
                self.bar.finish_and_clear();
            }
            ProgressEvent::Completed | ProgressEvent::Failed => self.bar.finish_and_clear(),
            _ => {}
        }
        self.last = Some(now.clone());
    }

    fn tell(&mut self, now: &Progress) {
        let tenths = now.transferred * 10 / now.total.max(1);
        match now.event {
            ProgressEvent::Transferred if tenths > self.told.0 || self.told.1.elapsed() >= SILENCE_MAX => {
                let percent = now.transferred * 100 / now.total.max(1);
                self.say(&format!("{percent:>3}%  {} of {}", human(now.transferred), human(now.total)));
            }
            // Of these there is a line already.
            ProgressEvent::Resumed | ProgressEvent::Restarted(_) => {}
            _ => return,
        }
        self.told = (tenths, Instant::now());
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// What has happened, what is kept and how to carry on, in one line.
    pub fn explain(&self, error: &Error, recorded: bool) -> String {
        let advice = match &self.last {
            Some(last) if recorded && last.upload_id.is_some() => format!(
                "{} of {} parts are kept. Run the same command to carry on.",
                last.parts_done, last.parts_total
            ),
            _ => "run the same command to try again.".to_owned(),
        };
        match error {
            Error::Cancelled { object_may_exist: true, .. } => format!("{error}; {advice}"),
            Error::Cancelled { .. } => format!("stopped; {advice}"),
            Error::Transport { .. } | Error::Service(_) | Error::Response { .. } if error.is_resumable() => {
                format!("{error}; {advice}")
            }
            Error::Checkpoint { path: Some(path), source, .. } if is_forbidden(source) => format!(
                "can't write the checkpoint {}: put it elsewhere with --checkpoint PATH, or use --no-checkpoint",
                path.display()
            ),
            _ => error.to_string(),
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// To standard output. A reader that has gone away is no reason to fail.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

pub fn summarize(uploaded: &Uploaded, took: Duration, bytes: Option<&Path>) {
    let seconds = took.as_secs_f64();
    let rate = (uploaded.bytes_sent as f64 / seconds.max(1e-3)) as u64;
    let lines = [
        ("key", Some(uploaded.key.clone())),
        ("size", Some(format!("{} bytes ({})", uploaded.size, human(uploaded.size)))),
        ("etag", Some(uploaded.etag.clone())),
        ("crc64", uploaded.crc64.map(|crc64| crc64.to_string())),
        ("parts", Some(format!("{} ({} from an earlier run)", uploaded.parts, uploaded.parts_resumed))),
        ("seconds", Some(format!("{seconds:.2}"))),
        ("rate", Some(format!("{}/s", human(rate)))),
        ("location", uploaded.location.clone()),
        ("bytes", bytes.map(|path| path.display().to_string())),
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

//! An upload behind a user interface. The upload runs on its own thread, while a render loop
//! draws a progress bar 30 times a second and can cancel. After a cancel, the next call resumes.
//!
//! `background FILE oss://BUCKET/KEY`, with the environment variables of `Client::from_env`;
//! the Enter key cancels. Without arguments it shows a cancel and a resume on a local server.

mod demo;

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use oss_upload::{
    Bucket, CancelToken, Client, Progress, ProgressEvent, UploadOption, Uploaded, bandwidth_limit,
    cancel, checkpoint, delete_upload_on_cancelling, determine_part_size, progress, routines,
};

const USAGE: &str = "usage: background FILE oss://BUCKET/KEY";
/// In bytes. Larger parts are used if the file would have more than 10,000 of these.
const PART_SIZE: u64 = 8 << 20;
const FRAME_INTERVAL: Duration = Duration::from_millis(33);
/// The number of frames over which the rate is averaged.
const RATE_FRAMES: usize = 60;
const BAR_WIDTH: usize = 40;
const MIB: f64 = 1048576.0;

/// An upload that is running on another thread.
struct Upload {
    thread: JoinHandle<oss_upload::Result<Uploaded>>,
    /// Disconnected when the upload has ended.
    progress: Receiver<Progress>,
    token: CancelToken,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => demo::run(),
        [file, target] => run(file.as_ref(), &Destination::parse(target)?),
        _ => Err(USAGE.into()),
    }
}

fn run(file: &Path, destination: &Destination) -> Result<(), Box<dyn Error>> {
    let bucket = Client::from_env()?.bucket(destination.bucket)?;
    let upload = start(&bucket, destination.key, file, None);
    let token = upload.token.clone();
    thread::spawn(move || {
        if io::stdin()
            .read_line(&mut String::new())
            .is_ok_and(|bytes| bytes > 0)
        {
            token.cancel();
        }
    });
    let uploaded = render_loop(upload, |_| false)?;
    println!("{} is complete: {} bytes", uploaded.key, uploaded.size);
    Ok(())
}

struct Destination<'a> {
    bucket: &'a str,
    key: &'a str,
}

impl Destination<'_> {
    fn parse(text: &OsStr) -> Result<Destination<'_>, &'static str> {
        let path = text.to_str().and_then(|text| text.strip_prefix("oss://"));
        let (bucket, key) = path.and_then(|path| path.split_once('/')).ok_or(USAGE)?;
        Ok(Destination { bucket, key })
    }
}

/// Starts the upload. The options are made on its thread, because a progress callback need not
/// be `Send`. Bucket and token are cheap to clone.
fn start(bucket: &Bucket, key: &str, path: &Path, limit: Option<u64>) -> Upload {
    let (sender, receiver) = mpsc::channel();
    let token = CancelToken::new();
    let thread = thread::spawn({
        let bucket = bucket.clone();
        let key = key.to_owned();
        let path = path.to_owned();
        let token = token.clone();
        move || {
            let options: [UploadOption; 5] = [
                routines(4),
                checkpoint(true, ""),
                cancel(&token),
                delete_upload_on_cancelling(false),
                // An error means that the receiver is gone; upload anyway.
                progress(|now| drop(sender.send(now.clone()))),
            ];
            let options = options.into_iter().chain(limit.map(bandwidth_limit));
            let size = path.metadata().map_or(0, |metadata| metadata.len());
            bucket.upload_file(&key, &path, determine_part_size(size, PART_SIZE), options)
        }
    });
    Upload {
        thread,
        progress: receiver,
        token,
    }
}

/// Draws until the upload has ended, and returns its result.
fn render_loop(
    upload: Upload,
    should_cancel: impl Fn(&Progress) -> bool,
) -> oss_upload::Result<Uploaded> {
    let mut frames = VecDeque::with_capacity(RATE_FRAMES);
    let mut latest: Option<Progress> = None;
    for number in 0.. {
        let has_ended = loop {
            match upload.progress.try_recv() {
                Ok(now) => {
                    if let ProgressEvent::Resumed | ProgressEvent::Restarted(_) = now.event {
                        // The bytes of an earlier call do not count for the rate.
                        frames.clear();
                    }
                    latest = Some(now);
                }
                Err(error) => break error == TryRecvError::Disconnected,
            }
        };
        if let Some(now) = &latest {
            frames.truncate(RATE_FRAMES - 1);
            frames.push_front((Instant::now(), now.transferred));
            draw(number, now, rate(&frames), has_ended);
            if should_cancel(now) {
                upload.token.cancel();
            }
        }
        if has_ended {
            break;
        }
        thread::sleep(FRAME_INTERVAL);
    }
    upload
        .thread
        .join()
        .expect("the progress callback does not panic")
}

/// Bytes per second; 0 if that is not known yet.
fn rate(frames: &VecDeque<(Instant, u64)>) -> f64 {
    match (frames.front(), frames.back()) {
        (Some((now, bytes)), Some((then, bytes_then))) if now > then => {
            (bytes - bytes_then) as f64 / (*now - *then).as_secs_f64()
        }
        _ => 0.0,
    }
}

/// Draws every frame on a terminal. Elsewhere it prints every 15th one, and the last one.
fn draw(number: u32, now: &Progress, rate: f64, is_last: bool) {
    let done = now.transferred as f64;
    let total = (now.total as f64).max(1.0);
    let bar = "=".repeat((done / total * BAR_WIDTH as f64) as usize);
    let percent = done / total * 100.0;
    let left = match rate > 0.0 {
        true => format!("{:.1} s left", (total - done) / rate),
        false => "…".to_owned(),
    };
    let line = format!(
        "[{bar:BAR_WIDTH$}] {percent:3.0} %  {:.1} MiB/s  {left}",
        rate / MIB
    );
    let mut out = io::stdout().lock();
    // A closed pipe must not stop the upload.
    let _ = match (out.is_terminal(), is_last) {
        (true, false) => write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()),
        (true, true) => writeln!(out, "\r\x1b[K{line}"),
        (false, _) if is_last || number.is_multiple_of(15) => writeln!(out, "{line}"),
        (false, _) => Ok(()),
    };
}

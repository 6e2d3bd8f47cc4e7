//! An upload behind a window: it runs on a thread of its own, while the window draws 30 times a second and has a Cancel
//! button. The window is a line of the terminal. Begun again after Cancel, the upload carries on.
//!
//! `background FILE oss://BUCKET/KEY`, with the environment variables of `Client::from_env`; Enter is the button.
//! Without arguments and `OSS_ENDPOINT` it is a demonstration on a local server, where the button is pressed half-way.

mod demo;

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use oss_upload::{
    Bucket, CancelToken, Client, Progress, ProgressEvent, UploadOption, Uploaded, bandwidth_limit, cancel,
    checkpoint, delete_upload_on_cancelling, determine_part_size, progress, routines,
};

const USAGE: &str = "usage: background FILE oss://BUCKET/KEY";
/// Bytes; more where the file would not fit into the parts that an object may have.
const PART_SIZE: u64 = 1 << 20;
/// Between two frames.
const FRAME: Duration = Duration::from_millis(33);
/// How far back the rate looks: in frames.
const LOOK_BACK: usize = 60;

/// An upload that is under way.
struct Running {
    thread: JoinHandle<oss_upload::Result<Uploaded>>,
    /// Ends with the upload.
    news: Receiver<Progress>,
    cancel_button: CancelToken,
}

/// The bucket and the token are cheap to clone. The options are made on the thread, since a progress callback need not
/// be `Send`.
fn start(bucket: &Bucket, key: &str, path: &Path, limit: Option<u64>) -> Running {
    let (sender, news) = mpsc::channel();
    let cancel_button = CancelToken::new();
    let (bucket, key, path, token) = (bucket.clone(), key.to_owned(), path.to_owned(), cancel_button.clone());
    let thread = thread::spawn(move || {
        let options: [UploadOption; 5] = [
            routines(4),
            checkpoint(true, ""),
            cancel(&token),
            delete_upload_on_cancelling(false),
            // When nobody listens any more, the upload goes on.
            progress(|now| drop(sender.send(now.clone()))),
        ];
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        let part_size = determine_part_size(size, PART_SIZE);
        bucket.upload_file(&key, &path, part_size, options.into_iter().chain(limit.map(bandwidth_limit)))
    });
    Running { thread, news, cancel_button }
}

/// The thread of the window: it never waits for the upload until that has ended.
fn window(upload: Running, press: impl Fn(&Progress) -> bool) -> oss_upload::Result<Uploaded> {
    let mut frames = VecDeque::with_capacity(LOOK_BACK);
    let mut newest: Option<Progress> = None;
    for number in 0.. {
        let is_over = loop {
            match upload.news.try_recv() {
                Ok(now) => {
                    if let ProgressEvent::Resumed | ProgressEvent::Restarted(_) = now.event {
                        // What was found says nothing about how fast the rest goes.
                        frames.clear();
                    }
                    newest = Some(now);
                }
                Err(error) => break error == TryRecvError::Disconnected,
            }
        };
        if let Some(now) = &newest {
            frames.truncate(LOOK_BACK - 1);
            frames.push_front((Instant::now(), now.transferred));
            draw(number, now, &frames, is_over);
            if press(now) {
                upload.cancel_button.cancel();
            }
        }
        if is_over {
            break;
        }
        thread::sleep(FRAME);
    }
    upload.thread.join().expect("the progress callback does not panic")
}

/// Every frame on a terminal; elsewhere now and then, and the last one.
fn draw(number: u32, now: &Progress, frames: &VecDeque<(Instant, u64)>, is_last: bool) {
    const WIDTH: usize = 40;
    let (done, total) = (now.transferred as f64, (now.total as f64).max(1.0));
    let rate = match (frames.front(), frames.back()) {
        (Some((at, bytes)), Some((since, before))) if at > since => {
            (bytes - before) as f64 / (*at - *since).as_secs_f64()
        }
        _ => 0.0,
    };
    let left = if rate > 0.0 { format!("{:.1} s left", (total - done) / rate) } else { "…".to_owned() };
    let bar = "=".repeat((done / total * WIDTH as f64) as usize);
    let line =
        format!("[{bar:WIDTH$}] {:3.0} %  {:.1} MiB/s  {left}", done / total * 100.0, rate / 1048576.0);
    let mut out = io::stdout().lock();
    // A reader that has gone away is no reason to stop.
    let _ = match (out.is_terminal(), is_last) {
        (true, false) => write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()),
        (true, true) => writeln!(out, "\r\x1b[K{line}"),
        (false, _) if is_last || number.is_multiple_of(15) => writeln!(out, "{line}"),
        (false, _) => Ok(()),
    };
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let outcome = if arguments.is_empty() && env::var_os("OSS_ENDPOINT").is_none() {
        demo::run()
    } else if let [file, target] = arguments.as_slice()
        && let Some((bucket, key)) = place(target)
    {
        run(file.as_ref(), bucket, key)
    } else if arguments == ["--help"] {
        println!("{USAGE}");
        Ok(())
    } else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("background: {error}");
            ExitCode::FAILURE
        }
    }
}

fn place(target: &OsStr) -> Option<(&str, &str)> {
    target.to_str()?.strip_prefix("oss://")?.split_once('/')
}

fn run(file: &Path, bucket: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let upload = start(&Client::from_env()?.bucket(bucket)?, key, file, None);
    let button = upload.cancel_button.clone();
    thread::spawn(move || {
        if io::stdin().read_line(&mut String::new()).is_ok_and(|bytes| bytes > 0) {
            button.cancel();
        }
    });
    let uploaded = window(upload, |_| false)?;
    println!("{} is complete: {} bytes", uploaded.key, uploaded.size);
    Ok(())
}

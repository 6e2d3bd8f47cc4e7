//! The time of each step of a resumed upload, with 1 to 10,000 parts. It is measured from outside:
//! by the times at which the checkpoint is loaded and saved, and at which credentials are
//! requested.
//!
//! `cargo bench -p oss-upload-bench --bench resume`

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CheckpointStore, Client, Credentials, Progress, checkpoint_store, multipart_threshold,
    progress, routines,
};
use oss_upload_bench::cost::median_micros;
use oss_upload_bench::{BUCKET, Result};

const PART: u64 = 100 << 10;
const RUNS: usize = 9;

/// An event of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Loaded,
    CredentialsRequested,
    ProgressReported,
    SaveStarted,
    SaveEnded,
}

#[derive(Clone, Default)]
struct EventLog(Arc<Mutex<Vec<(Event, Instant)>>>);

impl EventLog {
    fn push(&self, event: Event) {
        self.0
            .lock()
            .expect("the lock is not poisoned")
            .push((event, Instant::now()));
    }

    fn take(&self) -> Vec<(Event, Instant)> {
        std::mem::take(&mut self.0.lock().expect("the lock is not poisoned"))
    }
}

struct MemoryStore {
    text: Option<String>,
    events: EventLog,
}

impl CheckpointStore for MemoryStore {
    fn load(&mut self) -> io::Result<Option<String>> {
        let text = self.text.clone();
        self.events.push(Event::Loaded);
        Ok(text)
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.events.push(Event::SaveStarted);
        self.text = Some(text.to_owned());
        self.events.push(Event::SaveEnded);
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The durations of each step of a resumed upload whose parts have all been uploaded.
#[derive(Default)]
struct Steps {
    load: Vec<Duration>,
    list: Vec<Duration>,
    save: Vec<Duration>,
    complete: Vec<Duration>,
}

fn main() -> Result<()> {
    println!(
        "| parts | checkpoint, bytes | load the checkpoint | list the parts | save the checkpoint | build the request to complete | µs per part |"
    );
    println!("|---|---|---|---|---|---|---|");
    for parts in [1, 10, 100, 1_000, 10_000] {
        row(parts)?;
    }
    Ok(())
}

fn row(parts: u64) -> Result<()> {
    let server = LocalOss::builder().discard(true).start()?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("sparse");
    File::create(&path)?.set_len(parts * PART)?;
    let events = EventLog::default();
    let bucket = bucket(&server, &events)?;
    let mut store = MemoryStore {
        text: None,
        events: events.clone(),
    };
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    server.inject(
        Rule::new(denied)
            .on(Operation::CompleteMultipartUpload)
            .forever(),
    );
    let mut steps = Steps::default();
    for run in 0..=RUNS {
        events.take();
        upload(&bucket, &path, &mut store, &events);
        if run > 0 {
            steps.add(&events.take())?;
        }
    }
    let bytes = store.text.as_ref().map_or(0, String::len);
    let all = [steps.load, steps.list, steps.save, steps.complete].map(median_micros);
    let per_part = (all[0] + all[2] + all[3]) / parts as f64;
    let [load, list, save, complete] = all.map(|micros| format!("{micros:.0} µs"));
    println!("| {parts} | {bytes} | {load} | {list} | {save} | {complete} | {per_part:.2} |");
    Ok(())
}

/// Returns a bucket whose credentials provider logs its calls; each request starts with one.
fn bucket(server: &LocalOss, events: &EventLog) -> Result<Bucket> {
    let events = events.clone();
    let credentials = move || {
        events.push(Event::CredentialsRequested);
        Ok(Credentials::new("ak", "sk"))
    };
    let client = Client::builder(&server.endpoint())
        .credentials(credentials)
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    Ok(client.bucket(BUCKET)?)
}

/// Uploads until CompleteMultipartUpload is denied; the checkpoint is kept.
fn upload(bucket: &Bucket, path: &Path, store: &mut MemoryStore, events: &EventLog) {
    let options = [
        routines(2),
        multipart_threshold(0),
        checkpoint_store(store),
        progress(|_: &Progress| events.push(Event::ProgressReported)),
    ];
    bucket
        .upload_file("object", path, PART, options)
        .expect_err("CompleteMultipartUpload is denied");
}

impl Steps {
    fn add(&mut self, events: &[(Event, Instant)]) -> Result<()> {
        let first = |event, after: usize| {
            let found = events
                .iter()
                .enumerate()
                .skip(after)
                .find(|(_, (it, _))| *it == event);
            found
                .map(|(at, (_, time))| (at, *time))
                .ok_or(format!("no {event:?} in {events:?}"))
        };
        let (_, loaded) = first(Event::Loaded, 0)?;
        let (_, requested) = first(Event::CredentialsRequested, 0)?;
        let (at, resumed) = first(Event::ProgressReported, 0)?;
        let (_, save_started) = first(Event::SaveStarted, at)?;
        let (at, saved) = first(Event::SaveEnded, at)?;
        let (_, completing) = first(Event::CredentialsRequested, at)?;
        self.load.push(requested - loaded);
        self.list.push(resumed - requested);
        self.save.push(save_started - resumed);
        self.complete.push(completing - saved);
        Ok(())
    }
}

//! What each step between the transfers takes, as parts grow from 1 to 10,000: seen from outside, by when the record is
//! read and written and when the credentials are asked for.
//!
//! `cargo bench -p oss-upload-bench --bench steps`

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CheckpointStore, Client, Credentials, Progress, checkpoint_store, multipart_threshold, progress,
    routines,
};
use oss_upload_bench::cost::median_micros;
use oss_upload_bench::{BUCKET, Result};

const PART: u64 = 100 << 10;
const RUNS: usize = 9;

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Loaded,
    Asked,
    Reported,
    SaveBegan,
    SaveEnded,
}

#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(Moment, Instant)>>>);

impl Diary {
    fn note(&self, moment: Moment) {
        self.0.lock().expect("nobody panics").push((moment, Instant::now()));
    }

    fn take(&self) -> Vec<(Moment, Instant)> {
        std::mem::take(&mut self.0.lock().expect("nobody panics"))
    }
}

struct Memory {
    text: Option<String>,
    diary: Diary,
}

impl CheckpointStore for Memory {
    fn load(&mut self) -> io::Result<Option<String>> {
        let text = self.text.clone();
        self.diary.note(Moment::Loaded);
        Ok(text)
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.diary.note(Moment::SaveBegan);
        self.text = Some(text.to_owned());
        self.diary.note(Moment::SaveEnded);
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Microseconds of each step of a resumed call whose parts are all there.
#[derive(Default)]
struct Steps {
    parse: Vec<Duration>,
    list: Vec<Duration>,
    text: Vec<Duration>,
    complete: Vec<Duration>,
}

fn main() -> Result<()> {
    println!(
        "| parts | record, bytes | read the record | list the parts | write the record | ask to complete | µs per part |"
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
    let diary = Diary::default();
    let bucket = bucket(&server, &diary)?;
    let mut record = Memory { text: None, diary: diary.clone() };
    let never = Fault::Status { status: 403, code: "AccessDenied".into(), retry_after: None };
    server.inject(Rule::new(never).on(Operation::CompleteMultipartUpload).forever());
    let mut steps = Steps::default();
    for turn in 0..=RUNS {
        diary.take();
        upload(&bucket, &path, &mut record, &diary);
        if turn > 0 {
            steps.add(&diary.take())?;
        }
    }
    let bytes = record.text.as_ref().map_or(0, String::len);
    let all = [steps.parse, steps.list, steps.text, steps.complete].map(median_micros);
    let per_part = (all[0] + all[2] + all[3]) / parts as f64;
    let [parse, list, text, complete] = all.map(|micros| format!("{micros:.0} µs"));
    println!("| {parts} | {bytes} | {parse} | {list} | {text} | {complete} | {per_part:.2} |");
    Ok(())
}

/// Its credentials note when they are asked for: just before each request.
fn bucket(server: &LocalOss, diary: &Diary) -> Result<Bucket> {
    let diary = diary.clone();
    let credentials = move || {
        diary.note(Moment::Asked);
        Ok(Credentials::new("ak", "sk"))
    };
    let client = Client::builder(&server.endpoint())
        .credentials(credentials)
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    Ok(client.bucket(BUCKET)?)
}

/// Complete is refused, and the record stays.
fn upload(bucket: &Bucket, path: &Path, record: &mut Memory, diary: &Diary) {
    let options = [
        routines(2),
        multipart_threshold(0),
        checkpoint_store(record),
        progress(|_: &Progress| diary.note(Moment::Reported)),
    ];
    bucket.upload_file("object", path, PART, options).expect_err("completing is refused");
}

impl Steps {
    fn add(&mut self, diary: &[(Moment, Instant)]) -> Result<()> {
        let first = |moment, after: usize| {
            let found = diary.iter().enumerate().skip(after).find(|(_, (it, _))| *it == moment);
            found.map(|(at, (_, time))| (at, *time)).ok_or(format!("no {moment:?} in {diary:?}"))
        };
        let (_, loaded) = first(Moment::Loaded, 0)?;
        let (_, asked) = first(Moment::Asked, 0)?;
        let (at, resumed) = first(Moment::Reported, 0)?;
        let (_, began) = first(Moment::SaveBegan, at)?;
        let (at, ended) = first(Moment::SaveEnded, at)?;
        let (_, completing) = first(Moment::Asked, at)?;
        self.parse.push(asked - loaded);
        self.list.push(resumed - asked);
        self.text.push(began - resumed);
        self.complete.push(completing - ended);
        Ok(())
    }
}

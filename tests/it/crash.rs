//! `kill -9` at every step, then the same call again. Parts that OSS has stored are not sent a
//! second time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CheckpointStore, Client, Credentials, Error, UploadOption, bandwidth_limit, checkpoint,
    checkpoint_store, routines,
};

use crate::harness::{Harness, PART, RecordedRequest};

const PARTS: u64 = 6;
const SIZE: u64 = PARTS * PART - 9;
const ROUTINES: usize = 2;

/// What a child process has to do: endpoint, file and manner, separated by `|`.
const TASK: &str = "OSS_UPLOAD_TEST_TASK";

/// The upload of the processes that are killed.
#[test]
#[ignore = "not a test: the other tests of this module run it in a process of its own"]
fn crash_child_process() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let [endpoint, path, how] = task.split('|').collect::<Vec<_>>()[..] else {
        panic!("{task}")
    };
    let client = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy();
    let bucket = client.build().unwrap().bucket("examplebucket").unwrap();
    let how: Vec<UploadOption> = match how.split_once(' ') {
        Some(("limit", bytes)) => vec![
            checkpoint(true, ""),
            bandwidth_limit(bytes.parse::<u64>().unwrap()),
        ],
        Some(("stop", at)) => {
            vec![checkpoint_store(PausingStore::new(
                Path::new(path),
                at.parse().unwrap(),
            ))]
        }
        _ => vec![checkpoint(true, "")],
    };
    bucket
        .upload_file("o", path, PART, how.into_iter().chain([routines(ROUTINES)]))
        .unwrap();
}

/// Keeps the checkpoint in `<file>.store`, and pauses forever at the n-th step: before or after a
/// save or the removal.
struct PausingStore {
    path: PathBuf,
    steps_left: u32,
}

impl PausingStore {
    fn new(source: &Path, stop_at: u32) -> PausingStore {
        PausingStore {
            path: source.with_extension("store"),
            steps_left: stop_at,
        }
    }

    fn step(&mut self) {
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left == 0 {
            std::fs::write(self.path.with_extension("stopped"), "").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

impl CheckpointStore for PausingStore {
    fn load(&mut self) -> std::io::Result<Option<String>> {
        Ok(std::fs::read_to_string(&self.path).ok())
    }

    fn save(&mut self, text: &str) -> std::io::Result<()> {
        self.step();
        std::fs::write(&self.path, text)?;
        self.step();
        Ok(())
    }

    fn remove(&mut self) -> std::io::Result<()> {
        self.step();
        std::fs::remove_file(&self.path)?;
        self.step();
        Ok(())
    }
}

fn start(server: &LocalOss, path: &Path, how: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "crash::crash_child_process",
            "--exact",
            "--include-ignored",
            "--test-threads=1",
        ])
        .env(
            TASK,
            format!("{}|{}|{how}", server.endpoint(), path.display()),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until the condition holds. Returns false if the child ends without it.
fn wait_until(child: &mut Child, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return condition();
        }
        sleep(Duration::from_millis(1));
    }
    panic!("the condition does not hold, and the child has not ended");
}

/// What the server had acknowledged at each kill.
#[derive(Default)]
struct AckLog {
    /// How many requests it had received, and the parts that it had acknowledged.
    kills: Vec<(usize, BTreeSet<Sent>)>,
}

/// Upload id and part number.
type Sent = (Option<String>, Option<u32>);

impl AckLog {
    fn kill(&mut self, t: &Harness, mut child: Child) {
        let requests = t.server.requests();
        let acknowledged = parts(&requests)
            .filter(|part| part.status == Some(200))
            .map(sent)
            .collect();
        self.kills.push((requests.len(), acknowledged));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asserts that the object is the file, that no acknowledged part was sent again, and that no
    /// more other parts were sent again than were in flight.
    #[track_caller]
    fn assert_nothing_sent_twice(&self, t: &Harness, path: &Path, what: &str) {
        t.assert_stored("o", path);
        let requests = t.server.requests();
        for (seen, acknowledged) in &self.kills {
            let again: Vec<_> = parts(&requests[*seen..])
                .map(sent)
                .filter(|part| acknowledged.contains(part))
                .collect();
            assert!(
                again.is_empty(),
                "{what}: sent again though acknowledged: {again:?}"
            );
        }
        let last = parts(&requests)
            .last()
            .and_then(|part| part.upload_id.clone());
        let bodies = parts(&requests)
            .filter(|part| part.upload_id == last)
            .count();
        let most = PARTS as usize + self.kills.len() * ROUTINES;
        assert!(
            bodies <= most,
            "{what}: {bodies} part bodies, where {most} are the most"
        );
    }
}

fn parts(requests: &[RecordedRequest]) -> impl Iterator<Item = &RecordedRequest> {
    requests
        .iter()
        .filter(|request| request.operation == Operation::UploadPart)
}

fn sent(part: &RecordedRequest) -> Sent {
    (part.upload_id.clone(), part.part_number)
}

/// Makes the same call again and checks the outcome.
#[track_caller]
fn resume_and_check(t: &Harness, path: &Path, ack_log: &AckLog, what: &str) {
    let result = t
        .bucket
        .upload_file("o", path, PART, [checkpoint(true, ""), routines(ROUTINES)]);
    result.unwrap_or_else(|error| panic!("{what}: {error}"));
    ack_log.assert_nothing_sent_twice(t, path, what);
    t.assert_nothing_left(&["f"]);
}

/// At each request in turn: when it has been sent, and when the server has applied it.
#[test]
#[ignore = "slow: several seconds"]
fn crash_at_every_request_resumes() {
    for fault in [
        Fault::Stall,
        Fault::StallBeforeResponse,
        Fault::StallAfterApply,
    ] {
        for n in 1.. {
            let what = format!("{fault:?} at request {n}");
            let t = Harness::new();
            let path = t.file("f", SIZE);
            t.server.inject(Rule::new(fault.clone()).nth(n));
            let mut child = start(&t.server, &path, "plain");
            let fired = wait_until(&mut child, || {
                t.server.faults_fired() > 0 && applied(&t, &fault)
            });
            let mut ack_log = AckLog::default();
            ack_log.kill(&t, child);
            t.server.clear_faults();
            if !fired {
                assert!(n > PARTS as usize + 1, "{what} did not happen");
                break;
            }
            // No client can know an upload id that was only in the lost response.
            let lost_id = n == 1 && matches!(fault, Fault::StallAfterApply);
            if lost_id {
                let id = t.server.uploads()[0].upload_id.clone();
                t.bucket.abort_multipart_upload("o", &id).unwrap();
            }
            resume_and_check(&t, &path, &ack_log, &what);
        }
    }
}

/// Whether the server has applied the request if this fault lets it.
fn applied(t: &Harness, fault: &Fault) -> bool {
    let requests = t.server.requests();
    let Some(fired) = requests.iter().find(|request| request.fault.is_some()) else {
        return false;
    };
    match (fault, fired.operation) {
        (Fault::StallAfterApply, Operation::InitiateMultipartUpload) => {
            !t.server.uploads().is_empty()
        }
        (Fault::StallAfterApply, Operation::CompleteMultipartUpload) => {
            t.server.object("examplebucket", "o").is_some()
        }
        (Fault::StallAfterApply, Operation::UploadPart) => {
            t.server.uploads().iter().any(|upload| {
                upload
                    .parts
                    .iter()
                    .any(|(number, ..)| Some(*number) == fired.part_number)
            })
        }
        _ => true,
    }
}

#[test]
fn crash_around_every_checkpoint_save_resumes() {
    for n in 1.. {
        let what = format!("step {n}");
        let t = Harness::new();
        let path = t.file("f", SIZE);
        let mut child = start(&t.server, &path, &format!("stop {n}"));
        let stopped = t.path("f.stopped");
        let fired = wait_until(&mut child, || stopped.exists());
        let mut ack_log = AckLog::default();
        ack_log.kill(&t, child);
        if !fired {
            assert!(n >= 6, "{what} did not happen");
            break;
        }
        std::fs::remove_file(stopped).unwrap();
        let uploads = t.server.uploads();
        if n == 1 {
            t.bucket
                .abort_multipart_upload("o", &uploads[0].upload_id)
                .unwrap();
        }
        let mut store = PausingStore::new(&path, 0);
        store.steps_left = u32::MAX;
        t.upload([checkpoint_store(store), routines(ROUTINES)])
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        // Once the checkpoint has been removed, the next call is a new upload.
        if uploads.len() == 1 {
            ack_log.assert_nothing_sent_twice(&t, &path, &what);
        }
        t.assert_nothing_left(&["f"]);
    }
}

/// The same upload, killed again and again at random instants until it completes.
#[test]
#[ignore = "slow: 200 processes are killed"]
fn crash_at_random_instants_resumes() {
    let mut random = fastrand::Rng::with_seed(20);
    let mut kills = 0;
    while kills < 200 {
        let t = Harness::new();
        let (path, mut ack_log) = (t.file("f", SIZE), AckLog::default());
        for _ in 0..40 {
            let mut child = start(&t.server, &path, "limit 3000000");
            sleep(Duration::from_millis(random.u64(5..150)));
            if child
                .try_wait()
                .unwrap()
                .is_some_and(|status| status.success())
            {
                break;
            }
            ack_log.kill(&t, child);
            kills += 1;
        }
        // Uploads whose ids were only in a response that died with its process.
        let known = std::fs::read_to_string(t.path("f.cp")).unwrap_or_default();
        for upload in t.server.uploads() {
            if !known.contains(&upload.upload_id) {
                t.bucket
                    .abort_multipart_upload("o", &upload.upload_id)
                    .unwrap();
            }
        }
        resume_and_check(&t, &path, &ack_log, &format!("after {kills} kills"));
    }
}

/// A killed process keeps no lock.
#[test]
fn crash_leaves_no_checkpoint_lock() {
    let t = Harness::new();
    let path = t.file("f", SIZE);
    t.inject_always(Operation::UploadPart, Fault::Stall);
    let mut child = start(&t.server, &path, "plain");
    assert!(wait_until(&mut child, || !t.parts_sent().is_empty()));
    let error = t.upload([checkpoint(true, "")]).unwrap_err();
    assert!(
        matches!(&error, Error::CheckpointInUse { path, .. } if path.ends_with("f.cp")),
        "{error}"
    );
    let mut ack_log = AckLog::default();
    ack_log.kill(&t, child);
    t.server.clear_faults();
    resume_and_check(&t, &path, &ack_log, "after a kill");
}

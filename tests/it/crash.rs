//! `kill -9` at every step, then the same call again. What OSS has stored is never sent a second time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation, RecordedRequest, Rule};
use oss_upload::{
    CheckpointStore, Client, Credentials, Error, UploadOption, bandwidth_limit, checkpoint,
    checkpoint_store, routines,
};

use crate::house::{House, PART};

const PARTS: u64 = 6;
const SIZE: u64 = PARTS * PART - 9;
const ROUTINES: usize = 2;

/// What a child process is told: endpoint, file, and how to go about it.
const TASK: &str = "OSS_UPLOAD_TEST_TASK";

/// Not a test of its own: what the killed processes run.
#[test]
fn child() {
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
            vec![checkpoint_store(StoppingStore::new(
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

/// Keeps the record in `<file>.store`, and stops for ever at the n-th step: before or after a save or the removal.
struct StoppingStore {
    path: PathBuf,
    steps_left: u32,
}

impl StoppingStore {
    fn new(source: &Path, stop_at: u32) -> StoppingStore {
        StoppingStore {
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

impl CheckpointStore for StoppingStore {
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
        .args(["crash::child", "--exact", "--test-threads=1"])
        .env(
            TASK,
            format!("{}|{}|{how}", server.endpoint(), path.display()),
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Waits until it is so, or the child has ended by itself; false then.
fn until(child: &mut Child, mut is_so: impl FnMut() -> bool) -> bool {
    let patience = Instant::now() + Duration::from_secs(60);
    while Instant::now() < patience {
        if is_so() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return is_so();
        }
        sleep(Duration::from_millis(1));
    }
    panic!("neither has it happened nor has the child ended");
}

/// What the server had answered at each kill.
#[derive(Default)]
struct Witness {
    /// How many requests it had seen, and the parts that it had acknowledged.
    kills: Vec<(usize, BTreeSet<Sent>)>,
}

/// Upload id and part number.
type Sent = (Option<String>, Option<u32>);

impl Witness {
    fn kill(&mut self, house: &House, mut child: Child) {
        let requests = house.server.requests();
        let answered = parts(&requests)
            .filter(|part| part.status == Some(200))
            .map(sent)
            .collect();
        self.kills.push((requests.len(), answered));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The object is the file; no acknowledged part was sent again; and in vain no more than was in flight.
    #[track_caller]
    fn assert_nothing_in_vain(&self, house: &House, path: &Path, what: &str) {
        house.assert_stored("o", path);
        let requests = house.server.requests();
        for (seen, answered) in &self.kills {
            let again: Vec<_> = parts(&requests[*seen..])
                .map(sent)
                .filter(|part| answered.contains(part))
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
        .filter(|logged| logged.operation == Operation::UploadPart)
}

fn sent(part: &RecordedRequest) -> Sent {
    (part.upload_id.clone(), part.part_number)
}

/// The same call finishes the upload.
#[track_caller]
fn finish(house: &House, path: &Path, witness: &Witness, what: &str) {
    let result =
        house
            .bucket
            .upload_file("o", path, PART, [checkpoint(true, ""), routines(ROUTINES)]);
    result.unwrap_or_else(|error| panic!("{what}: {error}"));
    witness.assert_nothing_in_vain(house, path, what);
    house.assert_nothing_left(&["f"]);
}

/// At the n-th request, for n = 1, 2, …: killed when it was sent, and when it was applied.
#[test]
fn killed_at_every_request() {
    for fault in [
        Fault::Stall,
        Fault::StallBeforeResponse,
        Fault::StallAfterApply,
    ] {
        for n in 1.. {
            let what = format!("{fault:?} at request {n}");
            let house = House::new();
            let path = house.file("f", SIZE);
            house.server.inject(Rule::new(fault.clone()).nth(n));
            let mut child = start(&house.server, &path, "plain");
            let struck = until(&mut child, || {
                house.server.faults_fired() > 0 && applied(&house, &fault)
            });
            let mut witness = Witness::default();
            witness.kill(&house, child);
            house.server.clear_faults();
            if !struck {
                assert!(n > PARTS as usize + 1, "{what} did not happen");
                break;
            }
            // An upload id whose only bearer was the lost answer can't be known.
            let lost_id = n == 1 && matches!(fault, Fault::StallAfterApply);
            if lost_id {
                let id = house.server.uploads()[0].upload_id.clone();
                house.bucket.abort_multipart_upload("o", &id).unwrap();
            }
            finish(&house, &path, &witness, &what);
        }
    }
}

/// What the fault lets be applied has been.
fn applied(house: &House, fault: &Fault) -> bool {
    let requests = house.server.requests();
    let Some(struck) = requests.iter().find(|logged| logged.fault.is_some()) else {
        return false;
    };
    match (fault, struck.operation) {
        (Fault::StallAfterApply, Operation::InitiateMultipartUpload) => {
            !house.server.uploads().is_empty()
        }
        (Fault::StallAfterApply, Operation::CompleteMultipartUpload) => {
            house.server.object("examplebucket", "o").is_some()
        }
        (Fault::StallAfterApply, Operation::UploadPart) => {
            house.server.uploads().iter().any(|upload| {
                upload
                    .parts
                    .iter()
                    .any(|(number, ..)| Some(*number) == struck.part_number)
            })
        }
        _ => true,
    }
}

#[test]
fn killed_before_and_after_every_save() {
    for n in 1.. {
        let what = format!("step {n}");
        let house = House::new();
        let path = house.file("f", SIZE);
        let mut child = start(&house.server, &path, &format!("stop {n}"));
        let stopped = house.path("f.stopped");
        let struck = until(&mut child, || stopped.exists());
        let mut witness = Witness::default();
        witness.kill(&house, child);
        if !struck {
            assert!(n >= 6, "{what} did not happen");
            break;
        }
        std::fs::remove_file(stopped).unwrap();
        let uploads = house.server.uploads();
        if n == 1 {
            house
                .bucket
                .abort_multipart_upload("o", &uploads[0].upload_id)
                .unwrap();
        }
        let mut store = StoppingStore::new(&path, 0);
        store.steps_left = u32::MAX;
        house
            .bucket
            .upload_file(
                "o",
                &path,
                PART,
                [checkpoint_store(store), routines(ROUTINES)],
            )
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        // A record that was removed has done its work; what comes after is a new upload.
        if uploads.len() == 1 {
            witness.assert_nothing_in_vain(&house, &path, &what);
        }
        house.assert_nothing_left(&["f"]);
    }
}

/// Again and again at a random instant, on one and the same upload, until it is done.
#[test]
fn killed_at_random_instants() {
    let mut random = fastrand::Rng::with_seed(20);
    let mut kills = 0;
    while kills < 200 {
        let house = House::new();
        let (path, mut witness) = (house.file("f", SIZE), Witness::default());
        for _ in 0..40 {
            let mut child = start(&house.server, &path, "limit 3000000");
            sleep(Duration::from_millis(random.u64(5..150)));
            if child
                .try_wait()
                .unwrap()
                .is_some_and(|status| status.success())
            {
                break;
            }
            witness.kill(&house, child);
            kills += 1;
        }
        // Answers to Initiate that died with their process.
        let known = std::fs::read_to_string(house.path("f.cp")).unwrap_or_default();
        for upload in house.server.uploads() {
            if !known.contains(&upload.upload_id) {
                house
                    .bucket
                    .abort_multipart_upload("o", &upload.upload_id)
                    .unwrap();
            }
        }
        finish(&house, &path, &witness, &format!("after {kills} kills"));
    }
}

/// A killed process keeps no lock.
#[test]
fn nothing_stays_locked_after_a_crash() {
    let house = House::new();
    let path = house.file("f", SIZE);
    house
        .server
        .inject(Rule::new(Fault::Stall).on(Operation::UploadPart).forever());
    let mut child = start(&house.server, &path, "plain");
    assert!(until(&mut child, || !house.parts_sent().is_empty()));
    let error = house
        .bucket
        .upload_file("o", &path, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert!(
        matches!(&error, Error::CheckpointInUse { path, .. } if path.ends_with("f.cp")),
        "{error}"
    );
    let mut witness = Witness::default();
    witness.kill(&house, child);
    house.server.clear_faults();
    finish(&house, &path, &witness, "after a kill");
}

//! An upload with a fault in it, and what has to be true afterwards: of the result, of the bytes on
//! the server, and of what was *not* sent again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Credentials, Error, RetryPolicy, UploadOption, Uploaded, adopt_unfinished, checkpoint,
};

use crate::harness::{Harness, PART, RecordedRequest, access_denied, client, content};

use Fault::*;
use Operation::*;

/// What the upload finds when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A small file: one request.
    Put,
    /// Nothing.
    Parts,
    /// A checkpoint and one of three parts.
    Resumed,
    /// The checkpoint of an upload that was completed, and the response to CompleteMultipartUpload
    /// was lost.
    Completing,
    /// A checkpoint of other content of the file.
    Superseded,
    /// The same, and the file is small now.
    Shrunk,
    /// No checkpoint, but an unfinished upload with one of three parts.
    Adopted,
}

/// What a fault means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing that the caller could see.
    None,
    /// The request is retried. It is an error only if the fault does not end.
    Transient(ErrorKind),
    /// A retry would fail as well.
    Permanent(ErrorKind),
    /// Permanent, but the response may be lost, because the connection is closed early; then the
    /// request is retried.
    Racy(ErrorKind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Transport,
    Response,
    /// With this status.
    Service(u16),
}

fn effect(fault: &Fault, operation: Operation, scenario: Scenario) -> Outcome {
    let asks = matches!(operation, ListParts | HeadObject | ListMultipartUploads);
    let carries_file = matches!(operation, UploadPart | PutObject);
    match (fault, operation) {
        (_, AbortMultipartUpload) | (NoCrc | Slow { .. } | SkewClock(_), _) => Outcome::None,
        // Once the object exists, the response is an error whose XML is truncated.
        (TruncateXml, ListParts) if scenario == Scenario::Completing => {
            Outcome::Permanent(ErrorKind::Service(404))
        }
        (TruncateXml, CompleteMultipartUpload) => Outcome::Transient(ErrorKind::Service(404)),
        // A response that proves nothing means that the object is not there: the upload restarts,
        // and goes on with whatever happens to its own requests.
        (fault, HeadObject) if proves_nothing(fault) => Outcome::None,
        (
            Status {
                status: status @ (408 | 429 | 500..),
                ..
            },
            _,
        ) => Outcome::Transient(ErrorKind::Service(*status)),
        (Status { status: 403, .. } | EarlyStatus { .. }, _) if asks => Outcome::None,
        (EarlyStatus { status, .. }, _) => Outcome::Racy(ErrorKind::Service(*status)),
        (Status { status, .. } | Redirect { status, .. }, _) => {
            Outcome::Permanent(ErrorKind::Service(*status))
        }
        (Html, _) => Outcome::Transient(ErrorKind::Response),
        (ErrorInside200 { .. }, _) => Outcome::Transient(ErrorKind::Service(200)),
        (ExpireToken, _) => Outcome::Transient(ErrorKind::Service(403)),
        (ExpireUpload, UploadPart | CompleteMultipartUpload) => {
            Outcome::Transient(ErrorKind::Service(404))
        }
        (ExpireUpload, _) => Outcome::None,
        (TruncateXml, HeadObject) => Outcome::None,
        (TruncateXml, _) if carries_file => Outcome::None,
        (TruncateXml, _) => Outcome::Transient(ErrorKind::Response),
        (NoEtag | WrongCrc | CorruptBody, _) if carries_file => {
            Outcome::Transient(ErrorKind::Response)
        }
        (WrongCrc, CompleteMultipartUpload) => Outcome::Permanent(ErrorKind::Response),
        // The XML is malformed, and OSS says so.
        (CorruptBody, CompleteMultipartUpload) => Outcome::Permanent(ErrorKind::Service(400)),
        // CompleteMultipartUpload finds out. Somebody else may have replaced a part of an adopted
        // upload, so that is restarted once.
        (WrongEtag, UploadPart) if scenario == Scenario::Adopted => {
            Outcome::Transient(ErrorKind::Service(400))
        }
        (WrongEtag, UploadPart) => Outcome::Permanent(ErrorKind::Service(400)),
        (NoEtag | WrongCrc | CorruptBody | WrongEtag, _) => Outcome::None,
        _ => Outcome::Transient(ErrorKind::Transport),
    }
}

/// Whether a HeadObject with this fault says nothing about the object, however often it is sent.
fn proves_nothing(fault: &Fault) -> bool {
    matches!(
        fault,
        Html | HugeResponse(_) | ErrorInside200 { .. } | NoEtag | Redirect { .. }
    )
}

/// An upload of one scenario with one fault.
pub struct FaultRun {
    pub t: Harness,
    fault: Fault,
    scenario: Scenario,
    with_checkpoint: bool,
    pub path: PathBuf,
}

impl FaultRun {
    pub fn new(fault: Fault, scenario: Scenario, with_checkpoint: bool) -> FaultRun {
        let server = LocalOss::start();
        server.add_credentials("ak2", "sk2", None);
        let count = AtomicUsize::new(0);
        // Two credentials by turns, so that an expired one is always followed by the other one.
        let in_turns = move || {
            let even = count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let credentials = if even { ("ak", "sk") } else { ("ak2", "sk2") };
            Ok(Credentials::new(credentials.0, credentials.1))
        };
        let policy = RetryPolicy::default()
            .max_attempts(3)
            .base_delay(Duration::from_millis(1))
            .max_delay(Duration::from_millis(20));
        let silent = matches!(
            fault,
            Stall | StallMidBody | StallBeforeResponse | StallAfterApply
        );
        let stall_timeout = Duration::from_millis(if silent { 1000 } else { 10_000 });
        let client = client(&server)
            .credentials(in_turns)
            .retry(policy)
            .stall_timeout(stall_timeout);
        let t = Harness::with_client(server, client);
        let path = t.file(
            "f",
            if scenario == Scenario::Put {
                PART / 10
            } else {
                2 * PART + 7
            },
        );
        let run = FaultRun {
            t,
            fault,
            scenario,
            with_checkpoint,
            path,
        };
        run.prepare();
        run
    }

    /// Creates what the scenario starts with.
    fn prepare(&self) {
        let server = &self.t.server;
        let rule = match self.scenario {
            Scenario::Put | Scenario::Parts => return,
            Scenario::Completing => Rule::new(CloseAfterApply)
                .on(CompleteMultipartUpload)
                .forever(),
            Scenario::Resumed | Scenario::Superseded | Scenario::Shrunk | Scenario::Adopted => {
                Rule::new(access_denied()).on(UploadPart).part(2)
            }
        };
        server.inject(rule);
        self.upload().unwrap_err();
        server.clear_faults();
        let size = match self.scenario {
            Scenario::Superseded => 2 * PART + 7,
            Scenario::Shrunk => PART / 10,
            _ => return,
        };
        std::fs::write(&self.path, content("another", size)).unwrap();
        server.clear_requests();
    }

    /// How many requests the upload takes without a fault.
    pub fn requests_without_fault(scenario: Scenario, with_checkpoint: bool) -> usize {
        let run = FaultRun::new(NoCrc, scenario, with_checkpoint);
        let before = run.t.server.requests().len();
        run.check_done(&run.upload().unwrap(), &[]);
        run.t.server.requests().len() - before
    }

    pub fn upload(&self) -> Result<Uploaded, Error> {
        let options: [UploadOption<'_>; 2] = [
            checkpoint(self.with_checkpoint, ""),
            adopt_unfinished(self.scenario == Scenario::Adopted),
        ];
        self.t.bucket.upload_file("o", &self.path, PART, options)
    }

    /// Uploads with the fault, and again without it if that failed. Returns whether the fault
    /// fired.
    pub fn run_with_fault(&self, rule: Rule, forever: bool) -> bool {
        let server = &self.t.server;
        let before = server.requests().len();
        server.inject(rule);
        let result = self.upload();
        server.clear_faults();
        let mut faulted = server.requests().split_off(before);
        faulted.retain(|request| request.fault.is_some());
        let failed = result.is_err();
        self.check(result, &faulted, forever);
        if failed {
            self.check_done(&self.upload().unwrap(), &faulted);
        }
        self.check_not_sent_again(&faulted, failed);
        self.check_server(&faulted, forever);
        !faulted.is_empty()
    }

    fn check(&self, result: Result<Uploaded, Error>, faulted: &[RecordedRequest], forever: bool) {
        let effects = faulted
            .iter()
            .map(|request| effect(&self.fault, request.operation, self.scenario));
        let effect = effects
            .into_iter()
            .find(|effect| *effect != Outcome::None)
            .unwrap_or(Outcome::None);
        match (effect, result) {
            (Outcome::None | Outcome::Racy(_), Ok(uploaded)) => self.check_done(&uploaded, faulted),
            (Outcome::Transient(_), Ok(uploaded)) if !forever => {
                self.check_done(&uploaded, faulted)
            }
            (Outcome::Transient(wrong), Err(error)) if forever => {
                self.check_error(&error, wrong, faulted)
            }
            (Outcome::Permanent(wrong) | Outcome::Racy(wrong), Err(error)) => {
                self.check_error(&error, wrong, faulted)
            }
            (effect, result) => panic!("{effect:?} should not end in {result:?}"),
        }
    }

    fn check_done(&self, uploaded: &Uploaded, faulted: &[RecordedRequest]) {
        self.t.assert_stored("o", &self.path);
        self.t.assert_files(&["f"]);
        let object = self.t.server.object("examplebucket", "o").unwrap();
        assert_eq!(uploaded.size, object.size);
        if !matches!(self.fault, NoCrc) {
            assert_eq!(uploaded.crc64, Some(object.crc64));
        }
        let wrong_etag = matches!(self.fault, WrongEtag) && !faulted.is_empty();
        assert!(
            wrong_etag || format!("\"{}\"", uploaded.etag) == object.etag,
            "{}",
            uploaded.etag
        );
    }

    fn check_error(&self, error: &Error, wrong: ErrorKind, faulted: &[RecordedRequest]) {
        let seen = match error {
            Error::Transport { .. } => ErrorKind::Transport,
            Error::Response { .. } => ErrorKind::Response,
            Error::Service(service) => ErrorKind::Service(service.status),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, wrong, "{error}");
        let text = error.to_string();
        let named = faulted
            .iter()
            .any(|request| text.contains(&format!("{:?}", request.operation)));
        assert!(
            named || matches!(self.fault, WrongEtag),
            "names no operation that failed: {text}"
        );
        assert!(text.contains("oss://examplebucket/"), "{text}");
        assert!(
            !text.contains('\n') && !text.contains("Signature=") && text.len() < 600,
            "{text}"
        );
        if let Some(object) = self.t.server.object("examplebucket", "o") {
            // A PutObject that was corrupted in transit can only be reported.
            let whole = object.bytes == std::fs::read(&self.path).unwrap();
            assert!(whole || matches!(self.fault, CorruptBody), "half an object");
        }
        let files = if self.t.path("f.cp").exists() {
            &["f", "f.cp"][..]
        } else {
            &["f"]
        };
        assert!(
            self.with_checkpoint || files == ["f"],
            "a checkpoint that was not asked for"
        );
        self.t.assert_files(files);
    }

    /// Asserts that a part that was acknowledged was sent once, unless its upload was lost.
    fn check_not_sent_again(&self, faulted: &[RecordedRequest], failed: bool) {
        let on = |operation| faulted.iter().any(|request| request.operation == operation);
        let denied = matches!(&self.fault, Status { status: 403, .. } | EarlyStatus { .. });
        let lost = match &self.fault {
            ExpireUpload => true,
            WrongCrc if on(CompleteMultipartUpload) => true,
            WrongCrc if on(HeadObject) => true,
            fault if proves_nothing(fault) && on(HeadObject) => true,
            WrongEtag if self.scenario == Scenario::Adopted => true,
            // The next call cannot know that the object exists already.
            _ if self.scenario == Scenario::Adopted && on(CompleteMultipartUpload) => true,
            _ if denied => {
                on(HeadObject) || on(ListMultipartUploads) || self.scenario == Scenario::Adopted
            }
            _ => false,
        };
        let kept = self.with_checkpoint || self.scenario == Scenario::Adopted || !failed;
        if lost || !kept {
            return;
        }
        let mut acknowledged = HashSet::new();
        for request in self.t.requests(UploadPart) {
            let number = request.part_number.unwrap();
            assert!(
                !acknowledged.contains(&number),
                "part {number} was sent again"
            );
            let confirmed = matches!(
                &self.fault,
                NoCrc | Slow { .. } | WrongEtag | SkewClock(_) | TruncateXml
            );
            if request.status == Some(200) && (request.fault.is_none() || confirmed) {
                acknowledged.insert(number);
            }
        }
    }

    /// Asserts that no unfinished upload is left, except one that no client can know of or was
    /// allowed to abort.
    fn check_server(&self, faulted: &[RecordedRequest], forever: bool) {
        let requests = self.t.server.requests();
        let responses_lost = faulted
            .iter()
            .filter(|request| request.operation == InitiateMultipartUpload)
            .count();
        let of = |id: &str| {
            requests
                .iter()
                .filter(|request| request.upload_id.as_deref() == Some(id))
                .count()
        };
        let hopeless = forever
            || !matches!(
                effect(&self.fault, InitiateMultipartUpload, self.scenario),
                Outcome::Transient(_)
            );
        let (mut unknown, mut known) = (0, Vec::new());
        for upload in self.t.server.uploads() {
            let id = upload.upload_id.as_str();
            let aborting = |request: &&RecordedRequest| {
                request.operation == AbortMultipartUpload
                    && request.upload_id.as_deref() == Some(id)
            };
            if of(id) == 0 {
                unknown += 1;
            } else if !(hopeless && faulted.iter().any(|request| aborting(&request))) {
                known.push(upload);
            }
        }
        let denied = faulted
            .iter()
            .any(|request| matches!(request.operation, ListMultipartUploads | ListParts));
        // An adopted upload that was given up may be in use elsewhere, so it is not aborted.
        let given_up = matches!(self.fault, WrongEtag)
            && faulted
                .iter()
                .any(|request| request.operation == UploadPart);
        if !(self.scenario == Scenario::Adopted && (denied || given_up)) {
            assert!(known.is_empty(), "left on the server: {known:?}");
        }
        assert!(
            unknown <= responses_lost,
            "{unknown} uploads whose ids no client knows"
        );
    }
}

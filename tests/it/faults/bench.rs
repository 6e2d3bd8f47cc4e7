//! The upload that is struck, and what has to be true afterwards: of the result, of the bytes on the server, and of
//! what was *not* sent again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, RecordedRequest, Rule};
use oss_upload::{
    Credentials, Error, RetryPolicy, UploadOption, Uploaded, adopt_unfinished, checkpoint,
};

use crate::house::{House, PART, client, content};

use Fault::*;
use Operation::*;

/// What the upload finds when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// A small file: one request.
    Put,
    /// Nothing.
    Parts,
    /// A record and one of three parts.
    Resumed,
    /// A record of an upload whose Complete was sent, and was good, and whose answer was lost.
    Completing,
    /// A record of another content of the file.
    Superseded,
    /// The same, and the file has become small.
    Shrunk,
    /// No record, but an unfinished upload with one of three parts.
    Adopted,
}

impl Story {
    /// How many requests it takes when nothing goes wrong.
    pub fn requests(self) -> usize {
        match self {
            Story::Put => 1,
            Story::Parts => 5,
            Story::Resumed => 4,
            Story::Completing | Story::Shrunk => 2,
            Story::Superseded => 6,
            Story::Adopted => 5,
        }
    }
}

/// What a fault means for the call that it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// None that the caller would see.
    None,
    /// The request is tried again; only if it never ends it is an error.
    Passing(Wrong),
    /// The request would fail again.
    Final(Wrong),
    /// Final, but where it strikes once, it may be lost with a connection that is closed too early.
    Early(Wrong),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Transport,
    Response,
    /// With this status.
    Service(u16),
}

fn effect(fault: &Fault, operation: Operation, story: Story) -> Effect {
    let asks = matches!(operation, ListParts | HeadObject | ListMultipartUploads);
    let carries_file = matches!(operation, UploadPart | PutObject);
    match (fault, operation) {
        (_, AbortMultipartUpload) | (NoCrc | Slow { .. } | SkewClock(_), _) => Effect::None,
        // Once the object is made, the answer is an error that stops in the middle.
        (TruncateXml, ListParts) if story == Story::Completing => {
            Effect::Final(Wrong::Service(404))
        }
        (TruncateXml, CompleteMultipartUpload) => Effect::Passing(Wrong::Service(404)),
        (Html | HugeResponse(_) | ErrorInside200 { .. }, HeadObject) => {
            Effect::Passing(Wrong::Response)
        }
        (
            Status {
                status: status @ (408 | 429 | 500..),
                ..
            },
            _,
        ) => Effect::Passing(Wrong::Service(*status)),
        (Status { status: 403, .. } | EarlyStatus { .. }, _) if asks => Effect::None,
        (EarlyStatus { status, .. }, _) => Effect::Early(Wrong::Service(*status)),
        (Status { status, .. } | Redirect { status, .. }, _) => {
            Effect::Final(Wrong::Service(*status))
        }
        (Html, _) => Effect::Passing(Wrong::Response),
        (ErrorInside200 { .. }, _) => Effect::Passing(Wrong::Service(200)),
        (ExpireToken, _) => Effect::Passing(Wrong::Service(403)),
        (ExpireUpload, UploadPart | CompleteMultipartUpload) => {
            Effect::Passing(Wrong::Service(404))
        }
        (ExpireUpload, _) => Effect::None,
        (TruncateXml, HeadObject) => Effect::None,
        (TruncateXml, _) if carries_file => Effect::None,
        (TruncateXml, _) => Effect::Passing(Wrong::Response),
        (NoEtag, HeadObject) => Effect::Passing(Wrong::Response),
        (NoEtag | WrongCrc | CorruptBody, _) if carries_file => Effect::Passing(Wrong::Response),
        (WrongCrc, CompleteMultipartUpload) => Effect::Final(Wrong::Response),
        // The XML is broken, and OSS says so.
        (CorruptBody, CompleteMultipartUpload) => Effect::Final(Wrong::Service(400)),
        // Complete finds out.
        (WrongEtag, UploadPart) => Effect::Final(Wrong::Service(400)),
        (NoEtag | WrongCrc | CorruptBody | WrongEtag, _) => Effect::None,
        _ => Effect::Passing(Wrong::Transport),
    }
}

/// The upload that is struck.
pub struct Bench {
    pub house: House,
    fault: Fault,
    story: Story,
    recorded: bool,
    pub path: PathBuf,
}

impl Bench {
    pub fn new(fault: Fault, story: Story, recorded: bool) -> Bench {
        let server = LocalOss::start();
        server.add_credentials("ak2", "sk2", None);
        let count = AtomicUsize::new(0);
        // Two credentials in turns, so that one that has expired is always followed by another.
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
        let patience = Duration::from_millis(if silent { 1000 } else { 10_000 });
        let builder = client(&server)
            .credentials(in_turns)
            .retry(policy)
            .stall_timeout(patience);
        let client = builder.build().unwrap();
        let mut house = House::with(server);
        house.bucket = client.bucket("examplebucket").unwrap();
        let path = house.file(
            "f",
            if story == Story::Put {
                PART / 10
            } else {
                2 * PART + 7
            },
        );
        let bench = Bench {
            house,
            fault,
            story,
            recorded,
            path,
        };
        bench.prepare();
        bench
    }

    /// Brings about what the story begins with.
    fn prepare(&self) {
        let server = &self.house.server;
        let rule = match self.story {
            Story::Put | Story::Parts => return,
            Story::Completing => Rule::new(CloseAfterApply)
                .on(CompleteMultipartUpload)
                .forever(),
            Story::Resumed | Story::Superseded | Story::Shrunk | Story::Adopted => {
                Rule::new(status(403, "AccessDenied"))
                    .on(UploadPart)
                    .part(2)
            }
        };
        server.inject(rule);
        self.upload().unwrap_err();
        server.clear_faults();
        let size = match self.story {
            Story::Superseded => 2 * PART + 7,
            Story::Shrunk => PART / 10,
            _ => return,
        };
        std::fs::write(&self.path, content("another", size)).unwrap();
        server.clear_requests();
    }

    pub fn upload(&self) -> Result<Uploaded, Error> {
        let options: [UploadOption<'_>; 2] = [
            checkpoint(self.recorded, ""),
            adopt_unfinished(self.story == Story::Adopted),
        ];
        self.house
            .bucket
            .upload_file("o", &self.path, PART, options)
    }

    /// Whether the fault fired at all.
    pub fn strike(&self, rule: Rule, forever: bool) -> bool {
        let server = &self.house.server;
        let before = server.requests().len();
        server.inject(rule);
        let result = self.upload();
        server.clear_faults();
        let mut struck = server.requests().split_off(before);
        struck.retain(|logged| logged.fault.is_some());
        let failed = result.is_err();
        self.check(result, &struck, forever);
        if failed {
            self.check_done(&self.upload().unwrap(), &struck);
        }
        self.check_not_sent_again(&struck, failed);
        self.check_server(&struck, forever);
        !struck.is_empty()
    }

    fn check(&self, result: Result<Uploaded, Error>, struck: &[RecordedRequest], forever: bool) {
        let effects = struck
            .iter()
            .map(|logged| effect(&self.fault, logged.operation, self.story));
        let effect = effects
            .into_iter()
            .find(|effect| *effect != Effect::None)
            .unwrap_or(Effect::None);
        match (effect, result) {
            (Effect::None | Effect::Early(_), Ok(uploaded)) => self.check_done(&uploaded, struck),
            (Effect::Passing(_), Ok(uploaded)) if !forever => self.check_done(&uploaded, struck),
            (Effect::Passing(wrong), Err(error)) if forever => {
                self.check_error(&error, wrong, struck)
            }
            (Effect::Final(wrong) | Effect::Early(wrong), Err(error)) => {
                self.check_error(&error, wrong, struck)
            }
            (effect, result) => panic!("{effect:?} should not end in {result:?}"),
        }
    }

    fn check_done(&self, uploaded: &Uploaded, struck: &[RecordedRequest]) {
        self.house.assert_stored("o", &self.path);
        self.house.assert_files(&["f"]);
        let object = self.house.server.object("examplebucket", "o").unwrap();
        assert_eq!(uploaded.size, object.size);
        if !matches!(self.fault, NoCrc) {
            assert_eq!(uploaded.crc64, Some(object.crc64));
        }
        let told_wrong = matches!(self.fault, WrongEtag) && !struck.is_empty();
        assert!(
            told_wrong || format!("\"{}\"", uploaded.etag) == object.etag,
            "{}",
            uploaded.etag
        );
    }

    fn check_error(&self, error: &Error, wrong: Wrong, struck: &[RecordedRequest]) {
        let seen = match error {
            Error::Transport { .. } => Wrong::Transport,
            Error::Response { .. } => Wrong::Response,
            Error::Service(service) => Wrong::Service(service.status),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen, wrong, "{error}");
        let text = error.to_string();
        let named = struck
            .iter()
            .any(|logged| text.contains(&format!("{:?}", logged.operation)));
        assert!(
            named || matches!(self.fault, WrongEtag),
            "names no operation that failed: {text}"
        );
        assert!(text.contains("oss://examplebucket/"), "{text}");
        assert!(
            !text.contains('\n') && !text.contains("Signature=") && text.len() < 600,
            "{text}"
        );
        if let Some(object) = self.house.server.object("examplebucket", "o") {
            // Of a PutObject that was corrupted on its way the error is all that can be had.
            let whole = object.bytes == std::fs::read(&self.path).unwrap();
            assert!(whole || matches!(self.fault, CorruptBody), "half an object");
        }
        let files = if self.house.path("f.cp").exists() {
            &["f", "f.cp"][..]
        } else {
            &["f"]
        };
        assert!(
            self.recorded || files == ["f"],
            "a record that nobody asked for"
        );
        self.house.assert_files(files);
    }

    /// A part that was acknowledged goes up once, unless its upload is lost.
    fn check_not_sent_again(&self, struck: &[RecordedRequest], failed: bool) {
        let on = |operation| struck.iter().any(|logged| logged.operation == operation);
        let denied = matches!(&self.fault, Status { status: 403, .. } | EarlyStatus { .. });
        let lost = match &self.fault {
            ExpireUpload => true,
            WrongCrc if on(CompleteMultipartUpload) => true,
            WrongCrc if on(HeadObject) => true,
            // Nothing tells the next call that the object is there already.
            _ if self.story == Story::Adopted && on(CompleteMultipartUpload) => true,
            _ if denied => {
                on(HeadObject) || on(ListMultipartUploads) || self.story == Story::Adopted
            }
            _ => false,
        };
        let kept = self.recorded || self.story == Story::Adopted || !failed;
        if lost || !kept {
            return;
        }
        let mut acknowledged = HashSet::new();
        for logged in self.house.requests(UploadPart) {
            let number = logged.part_number.unwrap();
            assert!(
                !acknowledged.contains(&number),
                "part {number} was sent again"
            );
            let vouched = matches!(
                &self.fault,
                NoCrc | Slow { .. } | WrongEtag | SkewClock(_) | TruncateXml
            );
            if logged.status == Some(200) && (logged.fault.is_none() || vouched) {
                acknowledged.insert(number);
            }
        }
    }

    /// Nothing stays that would be billed, but what no client can know of or was not allowed to remove.
    fn check_server(&self, struck: &[RecordedRequest], forever: bool) {
        let requests = self.house.server.requests();
        let answers_lost = struck
            .iter()
            .filter(|logged| logged.operation == InitiateMultipartUpload)
            .count();
        let of = |id: &str| {
            requests
                .iter()
                .filter(|logged| logged.upload_id.as_deref() == Some(id))
                .count()
        };
        let hopeless = forever
            || !matches!(
                effect(&self.fault, InitiateMultipartUpload, self.story),
                Effect::Passing(_)
            );
        let (mut unknown, mut known) = (0, Vec::new());
        for upload in self.house.server.uploads() {
            let id = upload.upload_id.as_str();
            let aborting = |logged: &&RecordedRequest| {
                logged.operation == AbortMultipartUpload && logged.upload_id.as_deref() == Some(id)
            };
            if of(id) == 0 {
                unknown += 1;
            } else if !(hopeless && struck.iter().any(|logged| aborting(&logged))) {
                known.push(upload);
            }
        }
        let denied = struck
            .iter()
            .any(|logged| matches!(logged.operation, ListMultipartUploads | ListParts));
        if !(self.story == Story::Adopted && denied) {
            assert!(known.is_empty(), "left on the server: {known:?}");
        }
        assert!(
            unknown <= answers_lost,
            "{unknown} uploads that nobody knows of"
        );
    }
}

pub fn status(status: u16, code: &str) -> Fault {
    Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

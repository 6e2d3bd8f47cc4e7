//! One request from its head to its answer, with whatever goes wrong on the way.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;

use crate::answer::{Answer, Outcome, Payload};
use crate::body::Intake;
use crate::error::OssError;
use crate::faults::{Fault, Operation};
use crate::operations;
use crate::request::Head;
use crate::signature::token_expired;
use crate::state::Shared;
use crate::stream::Wire;
use crate::text::{http_date, unique_hex};

/// A request that is being handled.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) head: Head,
    pub(crate) intake: Intake,
    pub(crate) request_id: String,
    wire: Wire,
    entry: u64,
    fault: Option<Fault>,
    started: Instant,
    recorded: bool,
}

/// Handles a request that came over the connection of this number.
pub(crate) async fn run(
    shared: Arc<Shared>,
    wire: Wire,
    connection: usize,
    request: Request<Incoming>,
) -> Outcome {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let head = Head::read(&parts, &shared.settings);
    let entry = shared.journal.open(&head, connection);
    let fault = shared.faults.strike(&head);
    if let Some(fault) = &fault {
        shared.journal.update(entry, |logged| logged.fault = Some(format!("{fault:?}")));
    }
    let keep = !matches!(head.operation, Operation::UploadPart | Operation::PutObject);
    let intake = Intake::new(incoming, head.content_length(), keep);
    let request_id = unique_hex(24);
    let mut exchange =
        Exchange { shared, head, intake, request_id, wire, entry, fault, started, recorded: false };
    let outcome = exchange.handle().await;
    exchange.close(outcome)
}

impl Exchange {
    async fn handle(&mut self) -> Outcome {
        let fault = self.fault.clone();
        if let Some(outcome) = self.strike_at_head(fault.as_ref()).await {
            return outcome;
        }
        let latency = self.shared.settings.latency;
        let delay = if let Some(Fault::Delay(delay)) = fault { delay } else { Duration::ZERO };
        if let Some(outcome) = self.strike_before_answer(fault.as_ref()).await {
            pause(latency).await;
            return outcome;
        }
        let answer = self.apply().await;
        pause(latency + delay).await;
        self.strike_after_apply(fault.as_ref(), answer).await
    }

    /// Does what the request asks for.
    async fn apply(&mut self) -> Answer {
        let done = operations::perform(self).await;
        // A client that waits for a 100 gets an error in its place; any other one is heard to the end.
        if !(self.head.expects_continue() && self.intake.untouched()) {
            let _ = self.intake.drain().await;
        }
        match done {
            Ok(answer) => answer,
            Err(error) => self.error_answer(&error),
        }
    }

    fn error_answer(&self, error: &OssError) -> Answer {
        let host = self.head.header("host").unwrap_or_default();
        Answer::from_error(error, &self.head.method, &self.request_id, host)
    }

    /// Faults that strike before the body was read, or while it is read.
    async fn strike_at_head(&mut self, fault: Option<&Fault>) -> Option<Outcome> {
        match fault? {
            Fault::Reset => return Some(Outcome::Reset),
            Fault::Stall => return Some(self.stall().await),
            Fault::ResetMidBody => {
                let _ = self.intake.read_half().await;
                return Some(Outcome::Reset);
            }
            Fault::StallMidBody => {
                let _ = self.intake.read_half().await;
                return Some(self.stall().await);
            }
            Fault::EarlyStatus { status, code } | Fault::RefuseAtHead { status, code } => {
                let mut answer = self.fault_answer(*status, code);
                answer.set("connection", "close");
                return Some(Outcome::Answer(answer));
            }
            Fault::Slow { bytes_per_second } => self.intake.pace = Some(*bytes_per_second),
            Fault::CorruptBody => self.intake.corrupt = true,
            Fault::SkewClock(seconds) => self.shared.set_skew(*seconds),
            Fault::ExpireUpload => {
                if let Some(id) = self.head.param("uploadId") {
                    self.shared.store.expire_upload(id);
                }
            }
            _ => {}
        }
        None
    }

    /// Faults that strike once the body was read, in place of the request's effect.
    async fn strike_before_answer(&mut self, fault: Option<&Fault>) -> Option<Outcome> {
        let answer = match fault? {
            Fault::CloseBeforeAnswer => {
                let _ = self.intake.drain().await;
                return Some(Outcome::Close);
            }
            Fault::StallBeforeAnswer => {
                let _ = self.intake.drain().await;
                return Some(self.stall().await);
            }
            Fault::InvalidHttp => {
                let _ = self.intake.drain().await;
                self.record(None);
                let _ = self.wire.send_raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await;
                return Some(Outcome::Close);
            }
            Fault::Status { status, code, retry_after } => {
                let mut answer = self.fault_answer(*status, code);
                if let Some(seconds) = retry_after {
                    answer.set("retry-after", &seconds.to_string());
                }
                answer
            }
            Fault::Redirect { status, location } => {
                let mut answer = self.fault_answer(*status, "TemporaryRedirect");
                answer.set("location", location);
                answer
            }
            Fault::Html => {
                Answer::with_body(200, "text/html", "<html><body><h1>It works!</h1></body></html>")
            }
            Fault::HugeAnswer(size) => {
                let mut answer = Answer::empty(200);
                answer.set("content-type", "application/xml");
                answer.payload = Payload::Filler { remaining: *size };
                answer
            }
            Fault::ErrorInside200 { code } => {
                let mut answer = self.fault_answer(200, code);
                answer.error_code = Some(code.clone());
                answer
            }
            Fault::ExpireToken => self.error_answer(&token_expired()),
            _ => return None,
        };
        let _ = self.intake.drain().await;
        Some(Outcome::Answer(answer))
    }

    /// Faults that strike once the request has had its effect.
    async fn strike_after_apply(&mut self, fault: Option<&Fault>, mut answer: Answer) -> Outcome {
        match fault {
            Some(Fault::ResetAfterApply) => return Outcome::Reset,
            Some(Fault::CloseAfterApply) => return Outcome::Close,
            Some(Fault::StallAfterApply) => return self.stall().await,
            Some(Fault::TruncateAnswer) => {
                self.add_common_headers(&mut answer);
                self.record(Some(&answer));
                let without_body = self.head.method == "HEAD";
                let _ = self.wire.send_raw(&answer.into_truncated(without_body)).await;
                return Outcome::Close;
            }
            Some(Fault::TruncateXml) => {
                let half = answer.body().len() / 2;
                if let Payload::Bytes(bytes) = &mut answer.payload {
                    bytes.truncate(half);
                }
            }
            Some(Fault::NoEtag) => answer.remove("etag"),
            Some(Fault::WrongEtag) => answer.set("etag", "\"0123456789ABCDEF0123456789ABCDEF\""),
            Some(Fault::NoCrc) => answer.remove("x-oss-hash-crc64ecma"),
            Some(Fault::WrongCrc) => answer.set("x-oss-hash-crc64ecma", "1234567890123456789"),
            _ => {}
        }
        Outcome::Answer(answer)
    }

    /// An error made up by a fault; without a code it has no body.
    fn fault_answer(&self, status: u16, code: &str) -> Answer {
        if code.is_empty() {
            return Answer::empty(status);
        }
        self.error_answer(&OssError::new(status, code, "This error was asked for by a fault."))
    }

    /// Waits until the client has gone away.
    async fn stall(&mut self) -> Outcome {
        let received = self.intake.received;
        self.shared.journal.update(self.entry, |logged| logged.body_bytes = received);
        self.wire.gone().await;
        Outcome::Close
    }

    fn close(mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Answer(mut answer) => {
                self.add_common_headers(&mut answer);
                self.record(Some(&answer));
                Outcome::Answer(answer)
            }
            other => {
                self.record(None);
                other
            }
        }
    }

    fn add_common_headers(&self, answer: &mut Answer) {
        answer.set("x-oss-request-id", &self.request_id);
        answer.set("date", &http_date(self.shared.now()));
        answer.set("server", "AliyunOSS");
        if !self.shared.settings.send_crc_header {
            answer.remove("x-oss-hash-crc64ecma");
        }
    }

    /// Closes the entry of the journal, once, and prints it if that is wanted.
    fn record(&mut self, answer: Option<&Answer>) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        // A client that broke off in the middle of its body gets no answer.
        let answer = answer.filter(|answer| answer.error_code.as_deref() != Some("IncompleteBody"));
        let received = self.intake.received;
        let kept = self.intake.kept();
        self.shared.journal.update(self.entry, |logged| {
            logged.body_bytes = received;
            if !kept.is_empty() {
                logged.body = kept;
            }
            if let Some(answer) = answer {
                logged.status = Some(answer.status);
                logged.error_code.clone_from(&answer.error_code);
            }
        });
        if self.shared.settings.log {
            self.print(answer);
        }
    }

    fn print(&self, answer: Option<&Answer>) {
        let status = answer.map_or("-".to_owned(), |answer| answer.status.to_string());
        let code = answer.and_then(|answer| answer.error_code.as_deref()).map(|code| format!(" {code}"));
        let fault = self.fault.as_ref().map(|fault| format!(" fault: {fault:?}"));
        let line = format!(
            "{} {} {:?} {status}{} in={} out={} {}ms{}\n",
            self.head.method,
            self.head.path,
            self.head.operation,
            code.unwrap_or_default(),
            self.intake.received,
            answer.map_or(0, |answer| answer.payload.remaining()),
            self.started.elapsed().as_millis(),
            fault.unwrap_or_default(),
        );
        // In one piece, so that lines don't mix. A reader that has gone away is no reason to fail.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Sleeps, but not for nothing: the timer would round that up.
async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

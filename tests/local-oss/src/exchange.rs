//! One request from its head to its response, with whatever goes wrong on the way.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;

use crate::error::OssError;
use crate::faults::{Fault, Operation};
use crate::operations;
use crate::request::Head;
use crate::request_body::RequestBody;
use crate::response::{Outcome, Response, ResponseBody};
use crate::signature::token_expired;
use crate::state::Shared;
use crate::stream::SharedStream;
use crate::text::{http_date, unique_hex};

/// A request that is being handled.
pub(crate) struct Exchange {
    pub(crate) shared: Arc<Shared>,
    pub(crate) head: Head,
    pub(crate) body: RequestBody,
    pub(crate) request_id: String,
    stream: SharedStream,
    entry: u64,
    fault: Option<Fault>,
    started: Instant,
    recorded: bool,
}

/// Handles a request that came over the connection of this number.
pub(crate) async fn run(
    shared: Arc<Shared>,
    stream: SharedStream,
    connection: usize,
    request: Request<Incoming>,
) -> Outcome {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let head = Head::read(&parts, &shared.settings);
    let entry = shared.request_log.open(&head, connection);
    let fault = shared.faults.strike(&head);
    if let Some(fault) = &fault {
        shared
            .request_log
            .update(entry, |logged| logged.fault = Some(format!("{fault:?}")));
    }
    let keep = !matches!(head.operation, Operation::UploadPart | Operation::PutObject);
    let body = RequestBody::new(incoming, head.content_length(), keep);
    let request_id = unique_hex(24);
    let mut exchange = Exchange {
        shared,
        head,
        body,
        request_id,
        stream,
        entry,
        fault,
        started,
        recorded: false,
    };
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
        let delay = if let Some(Fault::Delay(delay)) = fault {
            delay
        } else {
            Duration::ZERO
        };
        if let Some(outcome) = self.strike_before_answer(fault.as_ref()).await {
            pause(latency).await;
            return outcome;
        }
        let response = self.apply().await;
        pause(latency + delay).await;
        self.strike_after_apply(fault.as_ref(), response).await
    }

    /// Does what the request asks for.
    async fn apply(&mut self) -> Response {
        let done = operations::perform(self).await;
        // A client that waits for a 100 gets an error in its place; any other one is heard to the end.
        if !(self.head.expects_continue() && self.body.untouched()) {
            let _ = self.body.drain().await;
        }
        match done {
            Ok(response) => response,
            Err(error) => self.error_answer(&error),
        }
    }

    fn error_answer(&self, error: &OssError) -> Response {
        let host = self.head.header("host").unwrap_or_default();
        Response::from_error(error, &self.head.method, &self.request_id, host)
    }

    /// Faults that strike before the body was read, or while it is read.
    async fn strike_at_head(&mut self, fault: Option<&Fault>) -> Option<Outcome> {
        match fault? {
            Fault::Reset => return Some(Outcome::Reset),
            Fault::Stall => return Some(self.stall().await),
            Fault::ResetMidBody => {
                let _ = self.body.read_half().await;
                return Some(Outcome::Reset);
            }
            Fault::StallMidBody => {
                let _ = self.body.read_half().await;
                return Some(self.stall().await);
            }
            Fault::EarlyStatus { status, code } | Fault::StatusBeforeContinue { status, code } => {
                let mut response = self.fault_answer(*status, code);
                response.set("connection", "close");
                return Some(Outcome::Respond(response));
            }
            Fault::Slow { bytes_per_second } => self.body.pace = Some(*bytes_per_second),
            Fault::CorruptBody => self.body.corrupt = true,
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
        let response = match fault? {
            Fault::CloseBeforeResponse => {
                let _ = self.body.drain().await;
                return Some(Outcome::Close);
            }
            Fault::StallBeforeResponse => {
                let _ = self.body.drain().await;
                return Some(self.stall().await);
            }
            Fault::InvalidHttp => {
                let _ = self.body.drain().await;
                self.record(None);
                let _ = self
                    .stream
                    .send_raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
                    .await;
                return Some(Outcome::Close);
            }
            Fault::Status {
                status,
                code,
                retry_after,
            } => {
                let mut response = self.fault_answer(*status, code);
                if let Some(seconds) = retry_after {
                    response.set("retry-after", &seconds.to_string());
                }
                response
            }
            Fault::Redirect { status, location } => {
                let mut response = self.fault_answer(*status, "TemporaryRedirect");
                response.set("location", location);
                response
            }
            Fault::Html => Response::with_body(
                200,
                "text/html",
                "<html><body><h1>It works!</h1></body></html>",
            ),
            Fault::HugeResponse(size) => {
                let mut response = Response::empty(200);
                response.set("content-type", "application/xml");
                response.payload = ResponseBody::Filler { remaining: *size };
                response
            }
            Fault::ErrorInside200 { code } => {
                let mut response = self.fault_answer(200, code);
                response.error_code = Some(code.clone());
                response
            }
            Fault::ExpireToken => self.error_answer(&token_expired()),
            _ => return None,
        };
        let _ = self.body.drain().await;
        Some(Outcome::Respond(response))
    }

    /// Faults that strike once the request has had its effect.
    async fn strike_after_apply(
        &mut self,
        fault: Option<&Fault>,
        mut response: Response,
    ) -> Outcome {
        match fault {
            Some(Fault::ResetAfterApply) => return Outcome::Reset,
            Some(Fault::CloseAfterApply) => return Outcome::Close,
            Some(Fault::StallAfterApply) => return self.stall().await,
            Some(Fault::TruncateResponse) => {
                self.add_common_headers(&mut response);
                self.record(Some(&response));
                let without_body = self.head.method == "HEAD";
                let _ = self
                    .stream
                    .send_raw(&response.into_truncated(without_body))
                    .await;
                return Outcome::Close;
            }
            Some(Fault::TruncateXml) => {
                let half = response.body().len() / 2;
                if let ResponseBody::Bytes(bytes) = &mut response.payload {
                    bytes.truncate(half);
                }
            }
            Some(Fault::NoEtag) => response.remove("etag"),
            Some(Fault::WrongEtag) => response.set("etag", "\"0123456789ABCDEF0123456789ABCDEF\""),
            Some(Fault::NoCrc) => response.remove("x-oss-hash-crc64ecma"),
            Some(Fault::WrongCrc) => response.set("x-oss-hash-crc64ecma", "1234567890123456789"),
            _ => {}
        }
        Outcome::Respond(response)
    }

    /// An error made up by a fault; without a code it has no body.
    fn fault_answer(&self, status: u16, code: &str) -> Response {
        if code.is_empty() {
            return Response::empty(status);
        }
        self.error_answer(&OssError::new(
            status,
            code,
            "This error was asked for by a fault.",
        ))
    }

    /// Waits until the client has gone away.
    async fn stall(&mut self) -> Outcome {
        let received = self.body.received;
        self.shared
            .request_log
            .update(self.entry, |logged| logged.body_bytes = received);
        self.stream.wait_for_disconnect().await;
        Outcome::Close
    }

    fn close(mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Respond(mut response) => {
                self.add_common_headers(&mut response);
                self.record(Some(&response));
                Outcome::Respond(response)
            }
            other => {
                self.record(None);
                other
            }
        }
    }

    fn add_common_headers(&self, response: &mut Response) {
        response.set("x-oss-request-id", &self.request_id);
        response.set("date", &http_date(self.shared.now()));
        response.set("server", "AliyunOSS");
        if !self.shared.settings.send_crc_header {
            response.remove("x-oss-hash-crc64ecma");
        }
    }

    /// Closes the entry of the journal, once, and prints it if that is wanted.
    fn record(&mut self, response: Option<&Response>) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        // A client that broke off in the middle of its body gets no response.
        let response =
            response.filter(|response| response.error_code.as_deref() != Some("IncompleteBody"));
        let received = self.body.received;
        let kept = self.body.kept();
        self.shared.request_log.update(self.entry, |logged| {
            logged.body_bytes = received;
            if !kept.is_empty() {
                logged.body = kept;
            }
            if let Some(response) = response {
                logged.status = Some(response.status);
                logged.error_code.clone_from(&response.error_code);
            }
        });
        if self.shared.settings.log {
            self.print(response);
        }
    }

    fn print(&self, response: Option<&Response>) {
        let status = response.map_or("-".to_owned(), |response| response.status.to_string());
        let code = response
            .and_then(|response| response.error_code.as_deref())
            .map(|code| format!(" {code}"));
        let fault = self
            .fault
            .as_ref()
            .map(|fault| format!(" fault: {fault:?}"));
        let line = format!(
            "{} {} {:?} {status}{} in={} out={} {}ms{}\n",
            self.head.method,
            self.head.path,
            self.head.operation,
            code.unwrap_or_default(),
            self.body.received,
            response.map_or(0, |response| response.payload.remaining()),
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

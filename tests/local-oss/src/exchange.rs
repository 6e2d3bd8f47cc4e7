//! One request, from its head to its response, with the faults that apply to it.

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
use crate::text::{http_date, parse_http_date, shift, unique_hex};

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

/// Handles a request that arrived on the connection of this number.
pub(crate) async fn run(
    shared: Arc<Shared>,
    stream: SharedStream,
    connection: usize,
    request: Request<Incoming>,
) -> Outcome {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let head = Head::read(&parts, &shared.settings);
    let entry = shared.request_log.add(&head, connection);
    let fault = shared.faults.take_fault(&head);
    if let Some(fault) = &fault {
        shared.request_log.update(entry, |request| {
            request.fault = Some(format!("{fault:?}"));
        });
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
        if let Some(outcome) = self.apply_fault_before_body(fault.as_ref()).await {
            return outcome;
        }
        let latency = self.shared.settings.latency;
        let delay = if let Some(Fault::Delay(delay)) = fault {
            delay
        } else {
            Duration::ZERO
        };
        if let Some(outcome) = self.apply_fault_instead_of_effect(fault.as_ref()).await {
            pause(latency).await;
            return outcome;
        }
        let response = self.perform().await;
        pause(latency + delay).await;
        self.apply_fault_after_effect(fault.as_ref(), response)
            .await
    }

    /// Performs the operation of the request.
    async fn perform(&mut self) -> Response {
        let result = operations::perform(self).await;
        // A client that waits for a 100 receives an error instead. From any other client the rest
        // of the body is read.
        if !(self.head.expects_continue() && self.body.is_untouched()) {
            self.drain_body().await;
        }
        match result {
            Ok(response) => response,
            Err(error) => self.error_response(&error),
        }
    }

    /// Reads the rest of the body, if the method has one. A GET may announce a body that it never
    /// sends.
    async fn drain_body(&mut self) {
        if !matches!(self.head.method.as_str(), "GET" | "HEAD" | "DELETE") {
            let _ = self.body.drain().await;
        }
    }

    fn error_response(&self, error: &OssError) -> Response {
        let host = self.head.header("host").unwrap_or_default();
        Response::from_error(error, &self.head.method, &self.request_id, host)
    }

    /// Applies a fault that takes effect before the body is read, or while it is read.
    async fn apply_fault_before_body(&mut self, fault: Option<&Fault>) -> Option<Outcome> {
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
                let mut response = self.fault_response(*status, code);
                response.set("connection", "close");
                return Some(Outcome::Respond(response));
            }
            Fault::Slow { bytes_per_second } => {
                self.body.bytes_per_second = Some(*bytes_per_second)
            }
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

    /// Applies a fault that reads the body and replaces the effect of the request.
    async fn apply_fault_instead_of_effect(&mut self, fault: Option<&Fault>) -> Option<Outcome> {
        let response = match fault? {
            Fault::CloseBeforeResponse => {
                self.drain_body().await;
                return Some(Outcome::Close);
            }
            Fault::StallBeforeResponse => {
                self.drain_body().await;
                return Some(self.stall().await);
            }
            Fault::InvalidHttp => {
                self.drain_body().await;
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
                let mut response = self.fault_response(*status, code);
                if let Some(seconds) = retry_after {
                    response.set("retry-after", &seconds.to_string());
                }
                response
            }
            Fault::Throttled {
                status,
                code,
                delay_ms,
            } => {
                let mut response = self.fault_response(*status, code);
                response.set("x-oss-qos-delay-time", &delay_ms.to_string());
                response
            }
            Fault::Redirect { status, location } => {
                let mut response = self.fault_response(*status, "TemporaryRedirect");
                response.set("location", location);
                response
            }
            Fault::Html => {
                let page = "<html><body><h1>It works!</h1></body></html>";
                let mut response = Response::with_body(200, "text/html", page);
                response.is_foreign = true;
                response
            }
            Fault::HugeResponse(size) => {
                let mut response = Response::empty(200);
                response.set("content-type", "application/xml");
                response.payload = ResponseBody::Filler { remaining: *size };
                response
            }
            Fault::ErrorInside200 { code } => {
                let mut response = self.fault_response(200, code);
                response.error_code = Some(code.clone());
                response
            }
            Fault::ExpireToken => self.error_response(&token_expired()),
            _ => return None,
        };
        self.drain_body().await;
        Some(Outcome::Respond(response))
    }

    /// Applies a fault that changes or suppresses the response of a request that had its effect.
    async fn apply_fault_after_effect(
        &mut self,
        fault: Option<&Fault>,
        mut response: Response,
    ) -> Outcome {
        match fault {
            Some(Fault::ResetAfterApply) => return Outcome::Reset,
            Some(Fault::CloseAfterApply) => return Outcome::Close,
            Some(Fault::StallAfterApply) => return self.stall().await,
            Some(Fault::TruncateResponse) => {
                self.complete_headers(&mut response);
                self.record(Some(&response));
                let without_body = self.head.method == "HEAD";
                let bytes = response.into_truncated(without_body);
                let _ = self.stream.send_raw(&bytes).await;
                return Outcome::Close;
            }
            Some(Fault::TruncateXml) => {
                let half = response.body().len() / 2;
                if let ResponseBody::Bytes(bytes) = &mut response.payload {
                    bytes.truncate(half);
                }
            }
            Some(Fault::NoEtag) => response.remove("etag"),
            Some(Fault::WrongEtag) => {
                response.set("etag", "\"0123456789ABCDEF0123456789ABCDEF\"");
            }
            Some(Fault::WeakEtag) => response.weaken_etag(),
            Some(Fault::NoCrc) => response.remove("x-oss-hash-crc64ecma"),
            Some(Fault::WrongCrc) => response.set("x-oss-hash-crc64ecma", "1234567890123456789"),
            Some(Fault::ShiftLastModified(seconds)) => {
                let date = response.header("last-modified").and_then(parse_http_date);
                if let Some(date) = date {
                    response.set("last-modified", &http_date(shift(date, *seconds)));
                }
            }
            _ => {}
        }
        Outcome::Respond(response)
    }

    /// Creates the error response of a fault; without a code it has no body.
    fn fault_response(&self, status: u16, code: &str) -> Response {
        if code.is_empty() {
            return Response::empty(status);
        }
        let message = "This error was asked for by a fault.";
        self.error_response(&OssError::new(status, code, message))
    }

    /// Waits until the client disconnects.
    async fn stall(&mut self) -> Outcome {
        let received = self.body.received;
        self.shared.request_log.update(self.entry, |request| {
            request.body_bytes = received;
        });
        self.stream.wait_for_disconnect().await;
        Outcome::Close
    }

    fn close(mut self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Respond(mut response) => {
                self.complete_headers(&mut response);
                self.record(Some(&response));
                Outcome::Respond(response)
            }
            other => {
                self.record(None);
                other
            }
        }
    }

    /// Adds the headers that all responses have, and applies the settings and faults that change
    /// headers.
    fn complete_headers(&self, response: &mut Response) {
        response.set("date", &http_date(self.shared.now()));
        if response.is_foreign {
            return;
        }
        response.set("x-oss-request-id", &self.request_id);
        response.set("server", "AliyunOSS");
        let settings = &self.shared.settings;
        if !settings.send_crc_header {
            response.remove("x-oss-hash-crc64ecma");
        }
        if settings.weak_etags {
            response.weaken_etag();
        }
        let (mut omitted, mut extra) = (
            vec![&settings.omitted_headers],
            vec![&settings.extra_headers],
        );
        match &self.fault {
            Some(Fault::WithoutHeaders(names)) => omitted.push(names),
            Some(Fault::ExtraHeaders(headers)) => extra.push(headers),
            _ => {}
        }
        for name in omitted.into_iter().flatten() {
            response.remove(&name.to_ascii_lowercase());
        }
        response
            .headers
            .extend(extra.into_iter().flatten().cloned());
    }

    /// Completes the entry of the request log, once, and prints it if that is enabled.
    fn record(&mut self, response: Option<&Response>) {
        if std::mem::replace(&mut self.recorded, true) {
            return;
        }
        // A client that disconnected in the middle of its body receives no response.
        let response =
            response.filter(|response| response.error_code.as_deref() != Some("IncompleteBody"));
        let received = self.body.received;
        let kept = self.body.take_kept();
        self.shared.request_log.update(self.entry, |request| {
            request.body_bytes = received;
            if !kept.is_empty() {
                request.body = kept;
            }
            if let Some(response) = response {
                request.status = Some(response.status);
                request.error_code.clone_from(&response.error_code);
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
        // One write per line, so that lines are not mixed. It may fail if the reader is gone.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Sleeps, unless the duration is zero: the timer would round that up.
async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

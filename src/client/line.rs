use std::io;
use std::time::{Duration, Instant};

use super::payload::Payload;
use super::switch::{Flow, Switch};
use super::{Client, Pacer};
use crate::Error;
use crate::credentials::Credentials;
use crate::protocol::failure::{self, Failure};
use crate::protocol::request::{Request, Response};
use crate::protocol::retry::{Verdict, retry_after, verdict};
use crate::protocol::{Parsed, Untrusted};
use crate::error::{FailureKind, TransportFailure};
use crate::transport::{HttpRequest, TransportError};

/// The server may take minutes to put 10,000 parts together.
const COMPLETE_PATIENCE: u32 = 5;
/// Of a reason that quotes the answer.
const REASON_CHARS_MAX: usize = 300;
/// What tidying up after a cancelled call may take: one attempt of one second.
const AFTER_CANCEL: Limits = Limits { attempts: 1, patience: Duration::from_secs(1) };
/// What tidying up after a failed call may take: a few attempts of five seconds.
const AFTER_FAILURE: Limits = Limits { attempts: 3, patience: Duration::from_secs(5) };

/// The transport of one call, shared by its threads, and the call's way out.
pub(crate) struct Line {
    client: Client,
    switch: Switch,
    limits: Option<Limits>,
}

/// For tidying up, which must not take as long as what has just failed.
#[derive(Clone, Copy)]
struct Limits {
    attempts: u32,
    patience: Duration,
}

/// Why a call of a [`Line`] gave no result.
pub(crate) enum Failed {
    /// The switch was thrown.
    Stopped {
        /// A request went out and no answer is known.
        answer_lost: bool,
    },
    Error {
        error: Error,
        /// An earlier attempt may have been applied, though its answer is not known.
        answer_lost: bool,
        /// The answer, where OSS gave one that says no.
        refusal: Option<Box<Refusal>>,
    },
}

pub(crate) struct Refusal {
    pub(crate) response: Response,
    /// From `PartAlreadyExist`.
    pub(crate) part_etag: Option<String>,
}

/// Why one attempt gave no result.
enum Setback {
    Local(Error),
    Transport(TransportError),
    Refused(Response, Box<Failure>),
    Untrusted(Response, Untrusted),
}

/// What one call remembers from attempt to attempt.
#[derive(Default)]
struct Tries {
    made: u32,
    answer_lost: bool,
    /// A body was cut off: the server's reason may have been lost with it, so ask before sending the next.
    expect_continue: bool,
    /// Asking got no answer; some proxies do not understand it.
    asked_in_vain: bool,
    clock_fixed: bool,
    /// An idle connection failed, and the request went out once more on a new one.
    was_reused: bool,
    renewed: bool,
    used: Option<Credentials>,
    /// What the provider gave when it was asked for others.
    fresh: Option<Credentials>,
}

impl Line {
    pub(super) fn new(client: Client) -> Line {
        let switch = Switch::new(client.lease());
        Line { client, switch, limits: None }
    }

    /// A line of its own, of which little time is taken.
    pub(crate) fn tidying(&self, after_cancel: bool) -> Line {
        let mut line = self.client.line();
        line.limits = Some(if after_cancel { AFTER_CANCEL } else { AFTER_FAILURE });
        line
    }

    pub(crate) fn switch(&self) -> Switch {
        self.switch.clone()
    }

    /// Waits for the pacer's turn; an error once the line is cut.
    pub(crate) fn pace(&self, pacer: &Pacer, bytes: usize) -> io::Result<()> {
        match self.switch.wait(pacer.reserve(bytes), Flow::Cut) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "stopped")),
        }
    }

    /// Signs, sends and judges until `accept` takes an answer, or until trying again is no use.
    pub(crate) fn call<P: Payload, T>(
        &self,
        request: &Request,
        payload: &mut P,
        accept: impl Fn(&Response, &P) -> Parsed<T>,
    ) -> Result<T, Failed> {
        let mut tries = Tries::default();
        loop {
            if self.switch.flow() > Flow::Open {
                return Err(Failed::Stopped { answer_lost: tries.answer_lost });
            }
            tries.made += 1;
            let setback = match self.attempt(request, payload, &mut tries) {
                Ok(response) => match accept(&response, payload) {
                    Ok(accepted) => return Ok(accepted),
                    Err(untrusted) => Setback::Untrusted(response, untrusted),
                },
                Err(setback) => setback,
            };
            self.after(setback, request, payload, &mut tries)?;
        }
    }

    fn attempt(
        &self,
        request: &Request,
        payload: &mut dyn Payload,
        tries: &mut Tries,
    ) -> Result<Response, Setback> {
        let client = &self.client;
        let credentials = match tries.fresh.take() {
            Some(fresh) => fresh,
            None => client.credentials().map_err(Setback::Local)?,
        };
        let signed = client.sign(request.clone(), &credentials);
        tries.used = Some(credentials);
        let url = client.shared.endpoint.url(&signed.bucket, &signed.encoded_key(), &signed.encoded_query());
        let (length, stall) = (payload.length(), client.shared.stall_timeout);
        let connect_timeout = client.shared.connect_timeout;
        let wire = HttpRequest {
            method: signed.method,
            url: &url,
            headers: &signed.headers,
            body: payload.open().map_err(Setback::Local)?,
            length,
            expect_continue: tries.expect_continue && length > 0,
            stall_timeout: self.at_most(stall),
            response_timeout: self.response_timeout(request),
            connect_timeout: self.at_most(connect_timeout),
        };
        let started = Instant::now();
        let answer = match self.switch.transport() {
            Some(transport) => transport.send(wire),
            None => Err(stopped()),
        };
        let milliseconds = started.elapsed().as_millis();
        match &answer {
            Ok(response) => log::debug!("{request}: {} in {milliseconds} ms", response.status),
            Err(error) => log::debug!("{request}: {} after {milliseconds} ms", error.source),
        }
        let response = answer.map_err(|error| match payload.failure() {
            Some(local) => Setback::Local(local),
            None => Setback::Transport(error),
        })?;
        let callback = request.headers.iter().any(|(name, _)| name == "x-oss-callback");
        let accepted = match response.status {
            203 if callback => false,
            200..=299 => callback || !failure::hides_in(&response),
            _ => false,
        };
        if accepted {
            return Ok(response);
        }
        let failure = failure::parse(request, &response, tries.made);
        Err(Setback::Refused(response, Box::new(failure)))
    }

    /// Waits, if the request should be tried again; otherwise says why it failed.
    fn after(
        &self,
        setback: Setback,
        request: &Request,
        payload: &mut dyn Payload,
        tries: &mut Tries,
    ) -> Result<(), Failed> {
        tries.note(&setback, payload.was_read());
        let answer_lost = tries.answer_lost;
        if self.switch.flow() == Flow::Cut {
            return Err(Failed::Stopped { answer_lost });
        }
        let policy = &self.client.shared.retry;
        let attempts_max = policy.max_attempts.min(self.limits.map_or(u32::MAX, |limits| limits.attempts));
        let wait = match self.again(&setback, tries) {
            Some(wait) if wait.at_once || tries.made < attempts_max => wait,
            _ => return Err(setback.into_failed(request, tries)),
        };
        let delay = match wait.at_once {
            true => Duration::ZERO,
            false => self.at_most(policy.delay(tries.made, fastrand::f64(), wait.retry_after)),
        };
        log::warn!(
            "{request} failed (attempt {} of {attempts_max}), again in {} ms: {}",
            tries.made,
            delay.as_millis(),
            setback.reason()
        );
        payload.retrying();
        match self.switch.wait(delay, Flow::Draining) {
            true => Ok(()),
            // Whoever stopped us says why.
            false => Err(Failed::Stopped { answer_lost }),
        }
    }

    fn again(&self, setback: &Setback, tries: &mut Tries) -> Option<Wait> {
        let later = |retry_after| Some(Wait { at_once: false, retry_after });
        let at_once = Some(Wait { at_once: true, retry_after: None });
        match setback {
            Setback::Local(_) => None,
            Setback::Transport(error) if error.kind.is_permanent() => None,
            Setback::Transport(error) if error.was_reused && !std::mem::replace(&mut tries.was_reused, true) => {
                at_once
            }
            Setback::Transport(_) | Setback::Untrusted(..) => later(None),
            // Somebody on the way does not know how to be asked.
            Setback::Refused(_, failure) if failure.service.status == 417 && tries.asked_in_vain => at_once,
            Setback::Refused(response, failure) => match verdict(failure) {
                Verdict::Again => later(retry_after(response.header("retry-after"), self.client.now())),
                Verdict::FixClock if !std::mem::replace(&mut tries.clock_fixed, true) => {
                    at_once.filter(|_| self.client.fix_clock(response, failure))
                }
                Verdict::RenewCredentials if !std::mem::replace(&mut tries.renewed, true) => {
                    at_once.filter(|_| self.has_other_credentials(tries))
                }
                _ => None,
            },
        }
    }

    /// Asking with the same token again would be refused again.
    fn has_other_credentials(&self, tries: &mut Tries) -> bool {
        tries.fresh = self.client.credentials().ok().filter(|fresh| Some(fresh) != tries.used.as_ref());
        tries.fresh.is_some()
    }

    fn response_timeout(&self, request: &Request) -> Duration {
        let stall = self.client.shared.stall_timeout;
        self.at_most(match request.operation {
            "CompleteMultipartUpload" => stall.saturating_mul(COMPLETE_PATIENCE),
            _ => stall,
        })
    }

    fn at_most(&self, duration: Duration) -> Duration {
        self.limits.map_or(duration, |limits| duration.min(limits.patience))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(transport) = self.switch.release() {
            self.client.give_back(transport);
        }
    }
}

struct Wait {
    at_once: bool,
    retry_after: Option<Duration>,
}

impl Tries {
    fn note(&mut self, setback: &Setback, body_was_read: bool) {
        match setback {
            Setback::Transport(error) => {
                self.answer_lost |= !error.is_connect;
                let cut_off = matches!(
                    error.source.kind(),
                    io::ErrorKind::ConnectionReset
                        | io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionAborted
                );
                self.asked_in_vain |= self.expect_continue && !body_was_read && !error.is_connect;
                self.expect_continue =
                    (self.expect_continue || cut_off && body_was_read) && !self.asked_in_vain;
            }
            Setback::Refused(_, failure) => {
                self.answer_lost |= matches!(failure.service.status, 200..=299 | 408 | 500..);
                if failure.service.status == 417 {
                    self.asked_in_vain = std::mem::take(&mut self.expect_continue);
                }
            }
            Setback::Untrusted(..) => self.answer_lost = true,
            Setback::Local(_) => {}
        }
    }
}

impl Setback {
    fn reason(&self) -> String {
        match self {
            Setback::Local(error) => error.to_string(),
            Setback::Transport(error) => error.source.to_string(),
            Setback::Refused(_, failure) => format!("{} {}", failure.service.status, failure.service.code),
            Setback::Untrusted(_, Untrusted(reason)) => reason.clone(),
        }
    }

    fn into_failed(self, request: &Request, tries: &Tries) -> Failed {
        let (answer_lost, mut refusal) = (tries.answer_lost, None);
        let error = match self {
            Setback::Local(error) => error,
            Setback::Transport(error) => Error::Transport {
                operation: request.operation(),
                part: request.part,
                attempts: tries.made,
                source: error.source,
            },
            Setback::Refused(response, failure) => {
                refusal = Some(Box::new(Refusal { response, part_etag: failure.part_etag }));
                Error::Service(Box::new(failure.service))
            }
            Setback::Untrusted(response, Untrusted(reason)) => Error::Response {
                operation: request.operation(),
                reason: reason.chars().take(REASON_CHARS_MAX).collect(),
                request_id: response.request_id().map(str::to_owned),
            },
        };
        Failed::Error { error, answer_lost, refusal }
    }
}

fn stopped() -> TransportError {
    let kind = FailureKind::Aborted;
    let source = TransportFailure::new(kind, "stopped").into_io();
    TransportError { source, kind, is_connect: true, was_reused: false }
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::abort::{AbortHandle, AbortReason, Phase};
use super::body::RequestBody;
use super::rate_limit::Polled;
use super::{BandwidthLimit, Client};
use crate::credentials::{Credentials, InvalidCredentials};
use crate::error::{
    CHECK_ENDPOINT_AND_PROXY, FailureKind, OperationKind, RetryDecision, classify, rerun_hint,
};
use crate::protocol::InvalidResponse;
use crate::protocol::error_response::{self, ErrorResponse};
use crate::protocol::request::{Action, Request, Response};
use crate::protocol::retry::retry_after;
use crate::transport::{HttpRequest, TransportError};
use crate::{Error, Result};

/// How many times longer CompleteMultipartUpload may take: OSS needs minutes to join 10,000 parts.
const COMPLETE_TIMEOUT_FACTOR: u32 = 5;
/// The shortest wait between attempts that cannot connect. Nothing else limits how many there are.
const OUTAGE_DELAY_MIN: Duration = Duration::from_millis(50);
/// How much of the reason for an invalid response is kept.
const REASON_CHARS_MAX: usize = 300;

/// Sends the requests of one call: signs, sends, classifies the response, waits and retries.
///
/// All threads of a call share one. Its [`AbortHandle`] stops it.
pub(crate) struct Dispatcher {
    client: Client,
    abort: AbortHandle,
    budget: Option<CleanupBudget>,
    /// A response has arrived. So the endpoint is right, and an outage is waited for.
    has_reached_oss: AtomicBool,
}

/// The limits of requests that clean up. Cleaning up must not take as long as the call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleanupBudget {
    max_attempts: u32,
    timeout: Duration,
}

impl CleanupBudget {
    /// After a cancelled call.
    pub(crate) const CANCELLED: CleanupBudget = CleanupBudget {
        max_attempts: 1,
        timeout: Duration::from_secs(1),
    };
    /// After a failed call, and before a restart.
    pub(crate) const FAILED: CleanupBudget = CleanupBudget {
        max_attempts: 3,
        timeout: Duration::from_secs(5),
    };
}

/// Why an operation returned nothing.
pub(crate) enum CallError {
    /// Another thread's failure allows no further attempt.
    Drained,
    Aborted {
        reason: AbortReason,
        /// A request was sent and its response is not known.
        response_lost: bool,
    },
    Failed {
        error: Error,
        /// An earlier attempt may have been applied, though its response is not known.
        response_lost: bool,
        /// The error response, if OSS sent one.
        details: Option<Box<ErrorDetails>>,
    },
}

/// The parts of an error response that the error does not have.
pub(crate) struct ErrorDetails {
    pub(crate) response: Response,
    /// The ETag of the part that exists already (`PartAlreadyExist`).
    pub(crate) part_etag: Option<String>,
}

/// Why one attempt returned nothing.
enum AttemptError {
    /// The caller's side: the body could not be read, or there are no credentials.
    Local(Error),
    Transport(TransportError),
    Service(Box<ErrorResponse>, Response),
    Invalid(InvalidResponse, Response),
}

/// How far an attempt came with its body.
#[derive(Clone, Copy)]
struct BodyProgress {
    was_read: bool,
    is_complete: bool,
}

enum Backoff {
    Immediate,
    After(Option<Duration>),
}

/// What is remembered from one attempt to the next.
#[derive(Default)]
struct RetryState {
    attempts: u32,
    /// Attempts that do not count, because their failure has another cause than this request.
    uncounted: u32,
    /// Set while attempts cannot connect: the start of the outage, and the number of these
    /// attempts.
    outage: Option<(Instant, u32)>,
    response_lost: bool,
    /// A body was cut off, and an error response may have been lost with it. So the next attempt
    /// sends `Expect: 100-continue`.
    expect_continue: bool,
    /// The server did not respond to `Expect: 100-continue`, which some proxies do not understand.
    expect_continue_failed: bool,
    stale_connection_replaced: bool,
    clock_synchronized: bool,
    credentials_refreshed: bool,
    last_credentials: Option<Credentials>,
    /// What the provider returned when it was asked once more.
    refreshed_credentials: Option<Credentials>,
}

impl Dispatcher {
    pub(super) fn new(client: Client) -> Dispatcher {
        Dispatcher::with_budget(client, None)
    }

    fn with_budget(client: Client, budget: Option<CleanupBudget>) -> Dispatcher {
        Dispatcher {
            client,
            abort: AbortHandle::new(),
            budget,
            has_reached_oss: AtomicBool::new(false),
        }
    }

    /// Creates a dispatcher with connections and an abort handle of its own.
    pub(crate) fn for_cleanup(&self, budget: CleanupBudget) -> Dispatcher {
        Dispatcher::with_budget(self.client.clone(), Some(budget))
    }

    pub(crate) fn abort_handle(&self) -> &AbortHandle {
        &self.abort
    }

    /// Waits until the limit allows sending, and returns how many of `bytes` may be sent then.
    /// Returns `None` once everything was aborted.
    pub(crate) fn throttle(&self, limit: &BandwidthLimit, bytes: usize) -> Result<Option<usize>> {
        let clock = self.client.clock();
        let turn = limit.queue(bytes);
        loop {
            limit.check()?;
            let delay = match turn.poll(clock.instant()) {
                Polled::Ready(bytes) => return Ok(Some(bytes)),
                Polled::Wait(delay) => clock.wait(delay),
            };
            // Draining lets what is in flight finish, so only an abort ends the wait.
            let aborted = Phase::Aborted(AbortReason::Cancelled);
            if !self.abort.sleep(delay, aborted) {
                return Ok(None);
            }
        }
    }

    /// Performs an operation. `on_retry` is called before each retry.
    pub(crate) fn execute<A: Action>(
        &self,
        action: &A,
        body: &mut dyn RequestBody,
        on_retry: &mut dyn FnMut(),
    ) -> Result<A::Output, CallError> {
        let request = action.request();
        let mut state = RetryState::default();
        loop {
            let error = match self.send_once(&request, body, &mut state) {
                Ok(response) => match action.parse(&response, &body.sent()) {
                    Ok(output) => return Ok(output),
                    Err(invalid) => AttemptError::Invalid(invalid, response),
                },
                Err(Some(error)) => error,
                Err(None) => return Err(self.stopped(&state)),
            };
            self.handle_failure(error, &request, body, &mut state, on_retry)?;
        }
    }

    /// Makes one attempt. Returns `None` as its error if it must not start.
    fn send_once(
        &self,
        request: &Request,
        body: &mut dyn RequestBody,
        state: &mut RetryState,
    ) -> Result<Response, Option<AttemptError>> {
        if self.abort.phase() > Phase::Running {
            return Err(None);
        }
        state.attempts += 1;
        let client = &self.client;
        let credentials = match state.refreshed_credentials.take() {
            Some(credentials) => credentials,
            None => self.credentials().map_err(AttemptError::Local)?,
        };
        let signed = client.sign(request.clone(), &credentials);
        state.last_credentials = Some(credentials);
        let url = client.url(&signed);
        let length = body.len();
        let stall_timeout = self.at_most(client.shared.stall_timeout);
        let http_request = HttpRequest {
            method: signed.method,
            url: &url,
            headers: &signed.headers,
            body: body.rewind().map_err(AttemptError::Local)?,
            length,
            expect_continue: state.expect_continue && length > 0,
            stall_timeout,
            response_timeout: match request.operation {
                OperationKind::CompleteMultipartUpload => {
                    self.at_most(stall_timeout.saturating_mul(COMPLETE_TIMEOUT_FACTOR))
                }
                _ => stall_timeout,
            },
            connect_timeout: self.at_most(client.shared.connect_timeout),
        };
        let transport = self.abort.transport(|| client.checkout()).ok_or(None)?;
        let started = client.clock().instant();
        let result = transport.send(http_request);
        let elapsed = client.clock().instant() - started;
        let milliseconds = elapsed.as_millis();
        match &result {
            Ok(response) => {
                self.has_reached_oss.store(true, Ordering::Relaxed);
                log::debug!("{request}: {} in {milliseconds} ms", response.status);
            }
            Err(error) => log::debug!("{request}: {} after {milliseconds} ms", error.source),
        }
        let response = result.map_err(|error| match body.take_error() {
            Some(local) => AttemptError::Local(local),
            None => AttemptError::Transport(error),
        })?;
        if error_response::is_error(request, &response) {
            let error = error_response::parse(&signed, &response, state.attempts);
            return Err(Some(AttemptError::Service(Box::new(error), response)));
        }
        Ok(response)
    }

    /// Waits if the request should be retried; otherwise returns why it failed.
    fn handle_failure(
        &self,
        error: AttemptError,
        request: &Request,
        body: &dyn RequestBody,
        state: &mut RetryState,
        on_retry: &mut dyn FnMut(),
    ) -> Result<(), CallError> {
        let clock = self.client.clock();
        let can_outlast = self.budget.is_none() && self.has_reached_oss.load(Ordering::Relaxed);
        let body = BodyProgress {
            was_read: body.bytes_read() > 0,
            is_complete: body.sent().is_complete,
        };
        state.note(&error, body, can_outlast.then(|| clock.instant()));
        if let Phase::Aborted(_) = self.abort.phase() {
            return Err(self.stopped(state));
        }
        let policy = &self.client.shared.retry;
        let budget = self.budget.map_or(u32::MAX, |budget| budget.max_attempts);
        let max_attempts = policy.max_attempts.min(budget);
        let backoff = self.backoff(&error, state);
        let is_outlasted = state
            .outage
            .is_some_and(|(since, _)| clock.instant().duration_since(since) < policy.max_outage);
        let is_allowed = is_outlasted || state.attempts - state.uncounted < max_attempts;
        let backoff = backoff.filter(|backoff| is_allowed || matches!(backoff, Backoff::Immediate));
        let Some(backoff) = backoff else {
            return Err(error.into_call_error(request, state));
        };
        let delay = match backoff {
            Backoff::Immediate => Duration::ZERO,
            Backoff::After(at_least) => {
                self.at_most(policy.delay(state.attempts, fastrand::f64(), at_least))
            }
        };
        let delay = match is_outlasted {
            true => delay.max(OUTAGE_DELAY_MIN),
            false => delay,
        };
        log::warn!(
            "{request} failed (attempt {}), retrying in {} ms: {}",
            state.attempts,
            delay.as_millis(),
            error.reason()
        );
        on_retry();
        match self.abort.sleep(clock.wait(delay), Phase::Draining) {
            true => Ok(()),
            false => Err(self.stopped(state)),
        }
    }

    /// Decides whether and when to retry.
    fn backoff(&self, error: &AttemptError, state: &mut RetryState) -> Option<Backoff> {
        let backoff = Some(Backoff::After(None));
        match error {
            AttemptError::Local(Error::Credentials { source }) => {
                backoff.filter(|_| !source.is::<InvalidCredentials>())
            }
            AttemptError::Local(_) => None,
            AttemptError::Transport(error) if error.kind.is_permanent() => None,
            AttemptError::Transport(error)
                if error.was_reused && !set(&mut state.stale_connection_replaced) =>
            {
                state.uncounted += 1;
                Some(Backoff::Immediate)
            }
            AttemptError::Transport(_) | AttemptError::Invalid(..) => backoff,
            // A proxy does not understand `Expect`.
            AttemptError::Service(error, _)
                if error.service.status == 417 && state.expect_continue_failed =>
            {
                Some(Backoff::Immediate)
            }
            AttemptError::Service(error, response) => match classify(&error.service).retry {
                RetryDecision::Backoff => {
                    Some(Backoff::After(retry_after(response, self.client.now())))
                }
                RetryDecision::SyncClock if !set(&mut state.clock_synchronized) => {
                    let is_synchronized = self.client.sync_clock(response, error);
                    is_synchronized.then_some(Backoff::Immediate)
                }
                RetryDecision::RefreshCredentials if !set(&mut state.credentials_refreshed) => self
                    .refresh_credentials(state)
                    .then_some(Backoff::Immediate),
                _ => None,
            },
        }
    }

    /// Asks the provider once more. The credentials that OSS has rejected would be rejected again.
    fn refresh_credentials(&self, state: &mut RetryState) -> bool {
        let Some(refused) = state.last_credentials.as_ref() else {
            return false;
        };
        self.client.shared.credentials.refused(refused);
        let fresh = self.credentials().ok();
        state.refreshed_credentials = fresh.filter(|fresh| fresh != refused);
        state.refreshed_credentials.is_some()
    }

    /// Returns the credentials for the next attempt. A cancelled call does not wait for the
    /// provider again: its abort is signed with the last credentials. So is any other abort if the
    /// provider fails or panics, which may be why the call has ended.
    fn credentials(&self) -> Result<Credentials, Error> {
        let Some(budget) = self.budget else {
            return self.client.credentials();
        };
        let Some(last) = self.client.last_credentials() else {
            return self.client.credentials();
        };
        if budget == CleanupBudget::CANCELLED {
            return Ok(last);
        }
        let fresh = catch_unwind(AssertUnwindSafe(|| self.client.credentials()));
        Ok(fresh.ok().and_then(Result::ok).unwrap_or(last))
    }

    fn stopped(&self, state: &RetryState) -> CallError {
        match self.abort.aborted() {
            Some(reason) => CallError::Aborted {
                reason,
                response_lost: state.response_lost,
            },
            None => CallError::Drained,
        }
    }

    fn at_most(&self, duration: Duration) -> Duration {
        self.budget
            .map_or(duration, |budget| duration.min(budget.timeout))
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        if let Some(transport) = self.abort.take_transport() {
            self.client.checkin(transport);
        }
    }
}

/// Sets the flag and returns what it was.
fn set(flag: &mut bool) -> bool {
    std::mem::replace(flag, true)
}

impl RetryState {
    /// Remembers what the failure says about the next attempt. `now` is given if an outage is
    /// waited for.
    fn note(&mut self, error: &AttemptError, body: BodyProgress, now: Option<Instant>) {
        match (error, now) {
            (AttemptError::Transport(error), Some(now)) if error.is_connect => {
                let (since, attempts) = self.outage.unwrap_or((now, 0));
                self.outage = Some((since, attempts + 1));
            }
            _ => self.uncounted += self.outage.take().map_or(0, |(_, attempts)| attempts),
        }
        match error {
            AttemptError::Transport(error) => {
                self.response_lost |= !error.is_connect;
                self.expect_continue_failed |=
                    self.expect_continue && !body.was_read && !error.is_connect;
                let was_cut_off = match error.kind {
                    FailureKind::ConnectionReset => true,
                    FailureKind::ConnectionClosed | FailureKind::WriteStalled => !body.is_complete,
                    _ => false,
                };
                let was_cut_off = was_cut_off && body.was_read;
                self.expect_continue =
                    (self.expect_continue || was_cut_off) && !self.expect_continue_failed;
            }
            AttemptError::Service(error, _) => {
                self.response_lost |= matches!(error.service.status, 200..=299 | 408 | 500..);
                if error.service.status == 417 {
                    self.expect_continue_failed = std::mem::take(&mut self.expect_continue);
                }
            }
            AttemptError::Invalid(..) => self.response_lost = true,
            AttemptError::Local(_) => {}
        }
    }
}

impl AttemptError {
    /// Describes the failure for the log.
    fn reason(&self) -> String {
        match self {
            AttemptError::Local(error) => error.to_string(),
            AttemptError::Transport(error) => error.source.to_string(),
            AttemptError::Service(error, _) => {
                format!("{} {}", error.service.status, error.service.code)
            }
            AttemptError::Invalid(invalid, _) => invalid.reason.clone(),
        }
    }

    fn into_call_error(self, request: &Request, state: &RetryState) -> CallError {
        let mut details = None;
        let error = match self {
            AttemptError::Local(error) => error,
            AttemptError::Transport(error) => Error::Transport {
                operation: request.operation(),
                part: request.part,
                attempts: state.attempts,
                source: error.source,
            },
            AttemptError::Service(error, response) => {
                details = Some(Box::new(ErrorDetails {
                    response,
                    part_etag: error.part_etag,
                }));
                Error::Service(Box::new(error.service))
            }
            AttemptError::Invalid(invalid, response) => {
                let operation = request.operation();
                let reason = invalid.reason;
                Error::Response {
                    hint: match invalid.is_damage {
                        true => rerun_hint(operation.kind()),
                        false => CHECK_ENDPOINT_AND_PROXY,
                    },
                    operation,
                    reason: reason.chars().take(REASON_CHARS_MAX).collect(),
                    request_id: response.request_id().map(str::to_owned),
                }
            }
        };
        CallError::Failed {
            error,
            response_lost: state.response_lost,
            details,
        }
    }
}

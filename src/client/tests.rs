//! The retry loop, against a scripted transport and a virtual clock.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::VirtualClock;
use super::*;
use crate::error::{FailureKind, TransportFailure};
use crate::protocol::abort::AbortMultipartUpload;
use crate::transport::{HttpRequest, TransportError};

/// What the transport does with one request.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Responds with this status and this OSS error code.
    Status(u16, &'static str),
    /// The server cannot be reached.
    Refused,
    /// A connection that had been used before is broken.
    Stale,
    /// The connection breaks while the response is awaited.
    Reset,
    Untrusted,
}

const OK: Step = Step::Status(204, "");

/// Performs the steps one after the other, the last one for ever.
struct Script(Mutex<(VecDeque<Step>, u32)>);

impl Script {
    fn requests(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

impl Transport for Script {
    fn send(&self, _: HttpRequest<'_>) -> std::result::Result<Response, TransportError> {
        let mut script = self.0.lock().unwrap();
        script.1 += 1;
        let step = match script.0.len() {
            1 => script.0[0],
            _ => script.0.pop_front().unwrap(),
        };
        let failed = |kind, is_connect, was_reused| {
            Err(TransportError {
                source: io::Error::other(TransportFailure::new(kind, "scripted")),
                kind,
                is_connect,
                was_reused,
            })
        };
        match step {
            Step::Status(status, code) => {
                let headers = [
                    ("x-oss-request-id", "R"),
                    ("date", "Tue, 24 Nov 2026 09:00:00 GMT"),
                ];
                let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
                let body = format!("<Error><Code>{code}</Code></Error>");
                Ok(Response {
                    status,
                    headers: headers.into(),
                    body: if code.is_empty() {
                        Vec::new()
                    } else {
                        body.into()
                    },
                })
            }
            Step::Refused => failed(FailureKind::ConnectionRefused, true, false),
            Step::Stale => failed(FailureKind::ConnectionClosed, false, true),
            Step::Reset => failed(FailureKind::ConnectionClosed, false, false),
            Step::Untrusted => failed(FailureKind::CertificateUntrusted, true, false),
        }
    }

    fn shutdown(&self) {}

    fn trim(&self) {}
}

struct Run {
    results: Vec<std::result::Result<(), String>>,
    requests: u32,
    retries: u32,
    elapsed: Duration,
}

/// Performs an operation as often as wanted by one dispatcher.
fn run(policy: RetryPolicy, calls: usize, steps: &[Step]) -> Run {
    let script = Arc::new(Script(Mutex::new((steps.iter().copied().collect(), 0))));
    let clock = Arc::new(VirtualClock::new());
    let builder = Client::builder("http://127.0.0.1:1")
        .region("cn-hangzhou")
        .credentials(Credentials::new("ak", "sk"))
        .retry(policy)
        .no_proxy();
    let transport = script.clone();
    let client = builder
        .build_with(Box::new(clock.clone()), |_, _| {
            Ok(Box::new(move || transport.clone()))
        })
        .unwrap();
    let dispatcher = client.dispatcher();
    let action = AbortMultipartUpload {
        bucket: "bucket",
        key: "key",
        upload_id: "id",
        headers: &[],
    };
    let mut retries = 0;
    let results = (0..calls)
        .map(|_| {
            let result = dispatcher.execute(&action, &mut TextBody::empty(), &mut || retries += 1);
            result.map_err(|error| match error {
                CallError::Failed { error, .. } => error.to_string(),
                CallError::Drained | CallError::Aborted { .. } => "stopped".into(),
            })
        })
        .collect();
    Run {
        results,
        requests: script.requests(),
        retries,
        elapsed: clock.elapsed(),
    }
}

#[test]
fn retry_waits_longer_each_time_and_gives_up_after_max_attempts() {
    let policy = RetryPolicy::default();
    let run = run(policy, 1, &[Step::Status(503, "ServiceUnavailable")]);
    assert_eq!((run.requests, run.retries), (5, 4));
    assert!(
        run.results[0]
            .as_ref()
            .unwrap_err()
            .contains("after 5 attempts")
    );
    assert!(run.elapsed <= Duration::from_millis(200 + 400 + 800 + 1600));
}

#[test]
fn retry_ends_with_the_first_success() {
    let steps = [Step::Reset, Step::Status(500, "InternalError"), OK];
    let run = run(RetryPolicy::default(), 1, &steps);
    assert_eq!((run.requests, run.retries), (3, 2));
    assert_eq!(run.results, [Ok(())]);
}

#[test]
fn retry_does_not_repeat_what_would_fail_again() {
    for step in [Step::Untrusted, Step::Status(403, "AccessDenied")] {
        let run = run(RetryPolicy::default(), 1, &[step]);
        assert_eq!((run.requests, run.retries), (1, 0), "{step:?}");
    }
}

#[test]
fn retry_after_a_stale_connection_is_immediate_and_not_counted() {
    let once = RetryPolicy::default().max_attempts(1);
    let run_once = run(once, 1, &[Step::Stale, OK]);
    assert_eq!(run_once.results, [Ok(())]);
    assert_eq!(run_once.elapsed, Duration::ZERO);
    // A second one says something about the server.
    let run_twice = run(once, 1, &[Step::Stale, Step::Stale, OK]);
    assert!(run_twice.results[0].is_err());
}

#[test]
fn retry_of_the_first_request_is_counted_even_if_the_host_is_unreachable() {
    let run = run(RetryPolicy::default(), 1, &[Step::Refused]);
    assert_eq!(run.requests, 5);
    assert!(run.elapsed < Duration::from_secs(4));
}

#[test]
fn retry_outlasts_an_outage_by_time_once_oss_was_reached() {
    let mut steps = vec![OK];
    steps.extend([Step::Refused; 8]);
    steps.push(OK);
    let one_attempt = RetryPolicy::default().max_attempts(1);
    let run = run(one_attempt, 2, &steps);
    assert_eq!(run.results, [Ok(()), Ok(())]);
    assert_eq!(run.requests, 10);
}

#[test]
fn retry_gives_up_when_an_outage_lasts_longer_than_max_outage() {
    for seconds in [0, 10, 60] {
        let policy = RetryPolicy::default()
            .max_attempts(2)
            .max_delay(Duration::from_secs(2))
            .max_outage(Duration::from_secs(seconds));
        let run = run(policy, 2, &[OK, Step::Refused]);
        assert_eq!(run.results[0], Ok(()));
        assert!(run.results[1].is_err());
        let limits = Duration::from_secs(seconds)..Duration::from_secs(seconds + 3);
        assert!(
            limits.contains(&run.elapsed),
            "{seconds}: {:?}",
            run.elapsed
        );
    }
}

#[test]
fn retry_forgets_the_attempts_of_an_outage_that_is_over() {
    let mut steps = vec![OK];
    steps.extend([Step::Refused; 8]);
    steps.extend([Step::Status(503, "ServiceUnavailable"), OK]);
    let two_attempts = RetryPolicy::default().max_attempts(2);
    assert_eq!(run(two_attempts, 2, &steps).results, [Ok(()), Ok(())]);
}

#[test]
fn retry_synchronizes_the_clock_once() {
    let skewed = Step::Status(403, "RequestTimeTooSkewed");
    let recovered = run(RetryPolicy::default(), 1, &[skewed, OK]);
    assert_eq!(
        (recovered.results, recovered.elapsed),
        (vec![Ok(())], Duration::ZERO)
    );
    let refused = run(RetryPolicy::default(), 1, &[skewed]);
    assert_eq!(refused.requests, 2);
}

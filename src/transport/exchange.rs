//! The state of one request and its response on a connection, and the timeouts that apply to it.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::abort::AbortFlag;
use super::socket;
use crate::error::{FailureKind, TransportFailure};
use crate::time;

/// The longest timeout that is used. A longer one, which means "never", would overflow the clock.
const TIMEOUT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The bytes that a proxy may have acknowledged before the server receives them.
const BUFFERED_BYTES_MAX: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    connect: Duration,
    stall: Duration,
    response: Duration,
}

impl Timeouts {
    pub(super) fn new(connect: Duration, stall: Duration, response: Duration) -> Timeouts {
        let [connect, stall, response] =
            [connect, stall, response].map(|timeout| timeout.min(TIMEOUT_MAX));
        Timeouts {
            connect,
            stall,
            response,
        }
    }

    /// Returns how long no byte may be acknowledged or received.
    ///
    /// This is a little more than the stall timeout, because a receiver acknowledges in steps. It
    /// stays within twice the stall timeout even if the last step is not noticed at once.
    pub(super) fn quiet_max(&self) -> Duration {
        (self.stall + self.stall / 8).min(TIMEOUT_MAX)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not started, or making the connection. The request cannot have reached the server.
    Connecting,
    Sending,
    AwaitingResponse,
    Receiving,
}

/// Shared by the thread that runs the exchange and the threads that may abort it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) abort: Arc<AbortFlag>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    timeouts: Timeouts,
    phase: Phase,
    connect_deadline: Instant,
    /// The name of the server or the proxy in errors.
    peer: String,
    is_tls: bool,
    /// The connection was made for this exchange.
    is_new: bool,
    /// The server wants no more of the body.
    is_body_abandoned: bool,
    has_peer_closed: bool,
    bytes_sent: u64,
    /// How long writes have waited for the peer.
    blocked: Duration,
    socket: Weak<TcpStream>,
}

impl Exchange {
    pub(super) fn new(abort: Arc<AbortFlag>) -> Exchange {
        let state = State {
            timeouts: Timeouts::new(TIMEOUT_MAX, TIMEOUT_MAX, TIMEOUT_MAX),
            phase: Phase::Connecting,
            connect_deadline: Instant::now(),
            peer: String::new(),
            is_tls: false,
            is_new: false,
            is_body_abandoned: false,
            has_peer_closed: false,
            bytes_sent: 0,
            blocked: Duration::ZERO,
            socket: Weak::new(),
        };
        Exchange {
            abort,
            state: Mutex::new(state),
        }
    }

    /// Starts the next request on the same connection.
    pub(super) fn start(&self, timeouts: Timeouts, peer: String) {
        let mut state = self.lock();
        let is_connected = state.socket.strong_count() > 0;
        state.phase = if is_connected {
            Phase::Sending
        } else {
            Phase::Connecting
        };
        state.connect_deadline = Instant::now() + timeouts.connect;
        state.timeouts = timeouts;
        state.peer = peer;
        state.is_new = false;
        state.is_body_abandoned = false;
        state.has_peer_closed = false;
        state.bytes_sent = 0;
        state.blocked = Duration::ZERO;
    }

    /// Starts making a new connection; a kept one is not used.
    pub(super) fn start_connect(&self) {
        let mut state = self.lock();
        state.phase = Phase::Connecting;
        state.is_new = true;
        state.is_tls = false;
        state.has_peer_closed = false;
    }

    pub(super) fn mark_connected(&self, is_tls: bool) {
        let mut state = self.lock();
        state.phase = Phase::Sending;
        state.is_tls = is_tls;
        state.bytes_sent = 0;
        state.blocked = Duration::ZERO;
    }

    pub(super) fn register(&self, socket: Weak<TcpStream>) -> Result<(), TransportFailure> {
        self.lock().socket = socket;
        // An abort that came before it was registered has not reached it.
        self.abort.check()
    }

    /// Interrupts the thread that runs the exchange, which then finds the abort flag set.
    pub(super) fn interrupt(&self) {
        let socket = self.lock().socket.upgrade();
        if let Some(socket) = socket {
            socket::reset(&socket);
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.lock().socket.strong_count() > 0
    }

    pub(super) fn await_response(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Sending {
            state.phase = Phase::AwaitingResponse;
        }
    }

    pub(super) fn send_body(&self) {
        let mut state = self.lock();
        if state.phase == Phase::AwaitingResponse {
            state.phase = Phase::Sending;
        }
    }

    pub(super) fn start_response(&self) {
        self.lock().phase = Phase::Receiving;
    }

    pub(super) fn abandon_body(&self, is_abandoned: bool) {
        self.lock().is_body_abandoned = is_abandoned;
    }

    pub(super) fn is_body_abandoned(&self) -> bool {
        self.lock().is_body_abandoned
    }

    pub(super) fn mark_peer_closed(&self) {
        self.lock().has_peer_closed = true;
    }

    pub(super) fn has_peer_closed(&self) -> bool {
        self.lock().has_peer_closed
    }

    pub(super) fn count_sent(&self, bytes: usize, blocked: Duration) {
        let mut state = self.lock();
        state.bytes_sent += bytes as u64;
        state.blocked += blocked;
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.lock().timeouts
    }

    pub(super) fn is_tls(&self) -> bool {
        self.lock().is_tls
    }

    /// Returns true if an earlier exchange made the connection.
    pub(super) fn is_reused(&self) -> bool {
        let state = self.lock();
        !state.is_new && state.phase != Phase::Connecting
    }

    pub(super) fn connect_deadline(&self) -> Instant {
        self.lock().connect_deadline
    }

    pub(super) fn peer(&self) -> String {
        self.lock().peer.clone()
    }

    pub(super) fn set_peer(&self, peer: String) {
        self.lock().peer = peer;
    }

    /// Returns how long to wait for the first byte of the response, once the peer has acknowledged
    /// all of the request. `is_known` is false where the system does not report acknowledgements,
    /// so that this is only assumed.
    pub(super) fn response_timeout(&self, waited: Duration, is_known: bool) -> Duration {
        let state = self.lock();
        let timeouts = &state.timeouts;
        // On a slow connection, a proxy may still be forwarding bytes that it has acknowledged.
        // That takes as long as the same number of bytes took before.
        let buffered = state.bytes_sent.min(BUFFERED_BYTES_MAX);
        let taken = state.blocked + waited.min(state.blocked);
        let allowance = if is_known {
            taken.mul_f64(buffered as f64 / state.bytes_sent.max(1) as f64)
        } else if state.bytes_sent > BUFFERED_BYTES_MAX / 8 {
            // The speed of the connection is not known. The whole wait stays within twice the
            // timeout.
            timeouts.stall / 8 * 7
        } else {
            Duration::ZERO
        };
        timeouts.response + allowance
    }

    pub(super) fn write_stalled(&self) -> TransportFailure {
        let state = self.lock();
        let stall = humanize(state.timeouts.stall);
        let detail = format!("{} took no data for {stall}", state.peer);
        TransportFailure::new(FailureKind::WriteStalled, detail)
    }

    pub(super) fn no_response(&self) -> TransportFailure {
        let state = self.lock();
        let (has_started, timeouts) = (state.phase == Phase::Receiving, &state.timeouts);
        let detail = match has_started {
            true => {
                format!(
                    "{} sent nothing more for {}",
                    state.peer,
                    humanize(timeouts.stall)
                )
            }
            false => format!(
                "no response from {} for {}",
                state.peer,
                humanize(timeouts.response)
            ),
        };
        TransportFailure::new(FailureKind::NoResponse, detail)
    }

    pub(super) fn connect_timed_out(&self) -> TransportFailure {
        let detail = format!(
            "the connection to {} was not ready in time",
            self.lock().peer
        );
        TransportFailure::new(FailureKind::ConnectTimedOut, detail)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn humanize(duration: Duration) -> String {
    let whole = Duration::from_secs(duration.as_secs());
    time::humanize(if whole.is_zero() { duration } else { whole }).to_string()
}

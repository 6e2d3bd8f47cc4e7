use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::transport::Transport;

/// Stops a dispatcher, from any thread.
#[derive(Clone)]
pub(crate) struct AbortHandle(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// Taken out when the dispatcher ends, so that a late abort does not break connections that
    /// another call has taken over.
    transport: Option<Arc<dyn Transport>>,
}

/// What is still allowed. Later phases are stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    Running,
    /// Requests in flight may finish; no attempt starts.
    Draining,
    Aborted(AbortReason),
}

/// Why everything was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum AbortReason {
    Cancelled,
    /// The caller's own code panicked.
    Panicked,
}

impl AbortHandle {
    pub(super) fn new() -> AbortHandle {
        let state = State {
            phase: Phase::Running,
            transport: None,
        };
        AbortHandle(Arc::new(Inner {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }))
    }

    /// Starts no further attempt; requests in flight may finish.
    pub(crate) fn drain(&self) {
        self.advance_to(Phase::Draining);
    }

    /// Allows attempts again after [`drain`](AbortHandle::drain), unless everything was aborted.
    pub(crate) fn resume(&self) {
        let mut state = self.state();
        if state.phase == Phase::Draining {
            state.phase = Phase::Running;
        }
    }

    /// Breaks the requests in flight and the waits, on whichever thread they are.
    pub(crate) fn abort(&self, reason: AbortReason) {
        self.advance_to(Phase::Aborted(reason));
        self.disconnect();
    }

    /// Breaks the requests in flight. Later requests use new connections.
    pub(crate) fn disconnect(&self) {
        if let Some(transport) = self.take_transport() {
            transport.shutdown();
        }
    }

    /// Returns why everything was aborted, if it was.
    pub(crate) fn aborted(&self) -> Option<AbortReason> {
        match self.phase() {
            Phase::Aborted(reason) => Some(reason),
            Phase::Running | Phase::Draining => None,
        }
    }

    /// Returns whether new attempts may start.
    pub(crate) fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted().is_some()
    }

    pub(super) fn phase(&self) -> Phase {
        self.state().phase
    }

    /// Sleeps until `duration` has passed or `limit` is reached. Returns whether it slept to the
    /// end.
    pub(super) fn sleep(&self, duration: Duration, limit: Phase) -> bool {
        let may_go_on = |state: &mut State| state.phase < limit;
        let (state, changed) = (self.state(), &self.0.changed);
        let waited = changed.wait_timeout_while(state, duration, may_go_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.phase < limit
    }

    /// Returns the transport, which `connect` makes for the first request, or `None` once
    /// everything was aborted.
    pub(super) fn transport(
        &self,
        connect: impl FnOnce() -> Arc<dyn Transport>,
    ) -> Option<Arc<dyn Transport>> {
        let mut state = self.state();
        match state.phase {
            Phase::Aborted(_) => None,
            Phase::Running | Phase::Draining => {
                Some(state.transport.get_or_insert_with(connect).clone())
            }
        }
    }

    /// Takes the transport out of the reach of [`abort`](AbortHandle::abort).
    pub(super) fn take_transport(&self) -> Option<Arc<dyn Transport>> {
        self.state().transport.take()
    }

    fn advance_to(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase < phase {
            state.phase = phase;
        }
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

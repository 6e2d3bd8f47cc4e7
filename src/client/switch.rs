use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::transport::Transport;

/// Stops what a `Line` is doing, from any thread.
#[derive(Clone)]
pub(crate) struct Switch(Arc<Wiring>);

struct Wiring {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    flow: Flow,
    /// Gone when it has been given back: a switch that is thrown too late hits nobody else's connections.
    transport: Option<Arc<dyn Transport>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Flow {
    Open,
    /// Attempts that are under way go on; no other is begun.
    Draining,
    Cut,
}

impl Switch {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Switch {
        let state = State { flow: Flow::Open, transport: Some(transport) };
        Switch(Arc::new(Wiring { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// The transport, if it can still be used; the switch has no effect on it any more.
    pub(super) fn release(&self) -> Option<Arc<dyn Transport>> {
        self.state().transport.take()
    }

    /// No further attempt begins; those under way may end.
    pub(crate) fn drain(&self) {
        self.set(Flow::Draining);
    }

    /// Attempts may begin again, unless the line is cut.
    pub(crate) fn reopen(&self) {
        let mut state = self.state();
        if state.flow == Flow::Draining {
            state.flow = Flow::Open;
        }
    }

    /// Breaks everything at once. A line that was given back is not touched.
    pub(crate) fn cut(&self) {
        self.set(Flow::Cut);
        let transport = self.state().transport.take();
        if let Some(transport) = transport {
            transport.shutdown();
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.flow() == Flow::Cut
    }

    fn set(&self, flow: Flow) {
        let mut state = self.state();
        if state.flow < flow {
            state.flow = flow;
        }
        self.0.changed.notify_all();
    }

    /// Sleeps, unless or until the flow is `limit` or worse. True if it slept to the end.
    pub(super) fn wait(&self, duration: Duration, limit: Flow) -> bool {
        let state = self.state();
        let waited = self.0.changed.wait_timeout_while(state, duration, |state| state.flow < limit);
        waited.unwrap_or_else(PoisonError::into_inner).0.flow < limit
    }

    pub(super) fn flow(&self) -> Flow {
        self.state().flow
    }

    pub(super) fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.state().transport.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

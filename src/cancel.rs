use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stops uploads from any place: another thread, the thread of a signal handler, or the progress
/// callback.
///
/// [`cancel`](CancelToken::cancel) deletes what the upload has done, unless
/// [`delete_upload_on_cancelling(false)`](crate::delete_upload_on_cancelling) is set;
/// [`pause`](CancelToken::pause) keeps it. Clones share one state. A token that was used stays
/// cancelled. One token may be given to many uploads.
///
/// ```
/// let token = oss_upload::CancelToken::new();
/// let elsewhere = token.clone();
/// std::thread::spawn(move || elsewhere.cancel()).join().unwrap();
/// assert!(token.is_cancelled());
/// ```
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// 0, or a [`CancelReason`].
    state: AtomicU32,
    hooks: Mutex<Hooks>,
}

#[derive(Default)]
struct Hooks {
    next_id: usize,
    hooks: Vec<(usize, Hook)>,
}

type Hook = Arc<dyn Fn(CancelReason) + Send + Sync>;

/// Why a token stops its uploads. A later reason outweighs an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CancelReason {
    /// Stop, and keep everything for the next call.
    Pause = 1,
    /// Stop, and do as the options say.
    Cancel = 2,
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels every upload that was given this token, now and later.
    ///
    /// Returns immediately; the uploads return soon afterwards with
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    ///
    /// After [`pause`](CancelToken::pause) it turns the pause into a cancel, for uploads that have
    /// not returned yet and for later ones. What a call that has already returned has kept is not
    /// deleted.
    pub fn cancel(&self) {
        self.stop(CancelReason::Cancel);
    }

    /// Stops every upload that was given this token, now and later, and keeps its checkpoint and
    /// its parts, whatever [`delete_upload_on_cancelling`](crate::delete_upload_on_cancelling)
    /// says. The same call resumes the upload, with a new token.
    ///
    /// Returns immediately; the uploads return soon afterwards with
    /// [`Error::Cancelled`](crate::Error::Cancelled). Without a checkpoint nothing can be kept, and
    /// this is the same as [`cancel`](CancelToken::cancel). After `cancel` it does nothing.
    ///
    /// ```
    /// let token = oss_upload::CancelToken::new();
    /// token.pause();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn pause(&self) {
        self.stop(CancelReason::Pause);
    }

    /// Returns whether [`cancel`](CancelToken::cancel) or [`pause`](CancelToken::pause) has been
    /// called.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Returns the reason that counts, if the token was used.
    pub(crate) fn reason(&self) -> Option<CancelReason> {
        match self.0.state.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(CancelReason::Pause),
            _ => Some(CancelReason::Cancel),
        }
    }

    /// Registers `hook` until the guard is dropped. It runs when the token is cancelled or paused,
    /// or immediately if it already is. A cancel after a pause runs it once more.
    pub(crate) fn on_cancel(
        &self,
        hook: impl Fn(CancelReason) + Send + Sync + 'static,
    ) -> Registration {
        let hook: Hook = Arc::new(hook);
        let id = {
            let mut hooks = self.hooks();
            let id = hooks.next_id;
            hooks.next_id += 1;
            hooks.hooks.push((id, hook.clone()));
            id
        };
        if let Some(reason) = self.reason() {
            hook(reason);
        }
        Registration {
            token: self.clone(),
            id,
        }
    }

    fn stop(&self, reason: CancelReason) {
        let before = self.0.state.fetch_max(reason as u32, Ordering::SeqCst);
        if before >= reason as u32 {
            // The hooks have run, or run now on another thread.
            return;
        }
        // The lock is released first, because a hook may drop registrations.
        let hooks: Vec<Hook> = self
            .hooks()
            .hooks
            .iter()
            .map(|(_, hook)| hook.clone())
            .collect();
        for hook in hooks {
            hook(reason);
        }
    }

    fn hooks(&self) -> MutexGuard<'_, Hooks> {
        self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

/// Keeps a hook registered until it is dropped.
pub(crate) struct Registration {
    token: CancelToken,
    id: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.token.hooks().hooks.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::CancelReason::{Cancel, Pause};
    use super::*;

    fn recorder(token: &CancelToken) -> (Arc<Mutex<Vec<CancelReason>>>, Registration) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let hook_seen = seen.clone();
        let registration = token.on_cancel(move |reason| hook_seen.lock().unwrap().push(reason));
        (seen, registration)
    }

    #[test]
    fn cancel_outweighs_pause() {
        let token = CancelToken::new();
        let (seen, _registration) = recorder(&token);
        assert_eq!(token.reason(), None);
        token.pause();
        token.pause();
        assert_eq!(token.reason(), Some(Pause));
        token.cancel();
        token.cancel();
        token.pause();
        assert_eq!(token.reason(), Some(Cancel));
        assert_eq!(*seen.lock().unwrap(), [Pause, Cancel]);
    }

    #[test]
    fn cancel_runs_late_hooks_and_forgets_dropped_ones() {
        let token = CancelToken::new();
        let (dropped, registration) = recorder(&token);
        drop(registration);
        token.clone().pause();
        let (late, _registration) = recorder(&token);
        assert!(token.is_cancelled());
        assert_eq!(*dropped.lock().unwrap(), []);
        assert_eq!(*late.lock().unwrap(), [Pause]);
    }
}

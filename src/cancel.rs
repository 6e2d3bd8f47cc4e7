use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stops an upload from anywhere: another thread, a signal handler's thread, the progress callback.
///
/// Clones share one state; a cancelled token stays cancelled. One token may serve many uploads.
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
    cancelled: AtomicBool,
    next_id: AtomicU64,
    hooks: Mutex<Vec<(u64, Hook)>>,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> CancelToken {
        CancelToken::default()
    }

    /// Cancels every upload that was given this token, now and later. Returns at once; the uploads return soon
    /// after with [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let hooks: Vec<Hook> = self.hooks().iter().map(|(_, hook)| hook.clone()).collect();
        for hook in hooks {
            hook();
        }
    }

    /// Has [`cancel`](CancelToken::cancel) been called?
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Runs `hook` when the token is cancelled, at once if it already is, until the guard is dropped.
    pub(crate) fn on_cancel(&self, hook: impl Fn() + Send + Sync + 'static) -> Registration {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let hook: Hook = Arc::new(hook);
        self.hooks().push((id, hook.clone()));
        if self.is_cancelled() {
            hook();
        }
        Registration {
            token: self.clone(),
            id,
        }
    }

    fn hooks(&self) -> MutexGuard<'_, Vec<(u64, Hook)>> {
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

pub(crate) struct Registration {
    token: CancelToken,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.token.hooks().retain(|(id, _)| *id != self.id);
    }
}

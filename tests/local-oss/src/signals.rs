//! The signals that stop the program: Ctrl-C, and SIGTERM on Unix.

use std::io;

use tokio::runtime::Runtime;

/// A handler of these signals. They no longer end the process once it exists.
pub struct Signals {
    runtime: Runtime,
    #[cfg(unix)]
    caught: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    pub fn listen() -> io::Result<Signals> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let inside = runtime.enter();
            let caught = [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ];
            drop(inside);
            Ok(Signals { runtime, caught })
        }
        #[cfg(not(unix))]
        Ok(Signals { runtime })
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub fn wait(&mut self) {
        use std::future::poll_fn;
        use std::task::Poll;
        let Signals { runtime, caught } = self;
        runtime.block_on(poll_fn(|context| {
            let came = caught
                .iter_mut()
                .any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub fn wait(&mut self) {
        self.runtime.block_on(async {
            // Without a handler, Ctrl-C ends the process.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        });
    }
}

//! The threads of a call: fed by one channel, heard through another, stopped by draining the first.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Stop;
use crate::Error;
use crate::client::{Switch, Ticker};

/// Between two looks at what moves: ten a second.
const TICK: Duration = Duration::from_millis(100);
/// How long parts in flight may go on after another one has failed for good: 5 seconds.
const TICKS_AFTER_FAILURE: u32 = 50;

/// What the calling thread hears while the workers work.
pub(super) enum News<T> {
    Done(T),
    /// A request failed and is tried again.
    Retrying,
    /// A tenth of a second has passed; how many have by now.
    Tick(u32),
}

enum Message<T> {
    Done(Result<T, Stop>),
    Retrying,
}

/// Runs `work` on each job, on up to `routines` threads. `hear` runs on the calling thread; its error stops
/// the workers, as the error of a job does. The first error is returned, when all threads have ended.
pub(super) fn run<J: Send, T: Send>(
    jobs: Vec<J>,
    routines: usize,
    switch: &Switch,
    work: impl Fn(J, &dyn Fn()) -> Result<T, Stop> + Sync,
    hear: impl FnMut(News<T>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let routines = routines.min(jobs.len());
    let (put_job, take_job) = bounded(jobs.len());
    for job in jobs {
        put_job.send(job).expect("the channel has room for all jobs");
    }
    drop(put_job);
    let (tell, news) = bounded(routines * 2);
    let result = thread::scope(|scope| {
        // Moved in here, so that a panic on this thread ends the workers before it goes on.
        let news: Receiver<Message<T>> = news;
        let mut threads = Vec::with_capacity(routines);
        for index in 0..routines {
            let (take_job, tell, work) = (take_job.clone(), tell.clone(), &work);
            let worker = move || run_worker(&take_job, &tell, switch, work);
            match thread::Builder::new().name("oss-upload".into()).spawn_scoped(scope, worker) {
                Ok(thread) => threads.push(thread),
                Err(error) if index == 0 => return Err(Stop::Error(no_thread(&error))),
                Err(error) => {
                    log::warn!("{index} threads instead of {routines}: {error}");
                    break;
                }
            }
        }
        drop(tell);
        let _guard = OnPanic(|| switch.cut());
        let result = listen(&news, &take_job, switch, hear);
        // The scope waits for the closures; this waits until the threads are gone.
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        result
    });
    switch.reopen();
    result
}

fn run_worker<J, T>(
    take_job: &Receiver<J>,
    tell: &Sender<Message<T>>,
    switch: &Switch,
    work: &impl Fn(J, &dyn Fn()) -> Result<T, Stop>,
) {
    let retrying = || {
        let _ = tell.send(Message::Retrying);
    };
    let _guard = OnPanic(|| halt(take_job, switch));
    for job in take_job {
        let result = work(job, &retrying);
        match &result {
            Ok(_) => {}
            // Another worker has failed, and says so itself.
            Err(Stop::Drained) => return,
            Err(_) => halt(take_job, switch),
        }
        if tell.send(Message::Done(result)).is_err() {
            return;
        }
    }
}

/// A caller's own code may panic on any thread: then the others must not go on as if nothing had happened.
struct OnPanic<F: Fn()>(F);

impl<F: Fn()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0();
        }
    }
}

/// No further job begins, and no further attempt of one.
fn halt<J>(take_job: &Receiver<J>, switch: &Switch) {
    while take_job.try_recv().is_ok() {}
    switch.drain();
}

/// Until the last worker has hung up.
fn listen<J, T>(
    news: &Receiver<Message<T>>,
    take_job: &Receiver<J>,
    switch: &Switch,
    mut hear: impl FnMut(News<T>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let (mut ticker, mut ticks) = (Ticker::new(TICK), 0);
    let (mut first_error, mut failed_at) = (None, 0);
    loop {
        let result = if ticker.ticks() {
            ticks += 1;
            if first_error.is_some() && ticks - failed_at >= TICKS_AFTER_FAILURE {
                switch.cut();
            }
            hear(News::Tick(ticks))
        } else {
            match news.recv_deadline(ticker.deadline()) {
                Ok(Message::Done(Ok(done))) => hear(News::Done(done)),
                Ok(Message::Done(Err(stop))) => Err(stop),
                Ok(Message::Retrying) => hear(News::Retrying),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return first_error.map_or(Ok(()), Err),
            }
        };
        let Err(stop) = result else { continue };
        if matches!(stop, Stop::Panicked) {
            switch.cut();
        }
        if first_error.is_none() {
            halt(take_job, switch);
            (first_error, failed_at) = (Some(stop), ticks);
        }
    }
}

fn no_thread(error: &io::Error) -> Error {
    Error::option("routines", format!("the system gives no thread: {error}"))
}

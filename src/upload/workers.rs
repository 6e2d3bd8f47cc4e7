//! The threads of a call: fed by one channel, heard through another, stopped by draining the first.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Stop;
use crate::Error;
use crate::client::{Switch, Ticker};
use crate::part::{UploadedPart, PartRange};

/// Pieces that wait, and results that are not heard yet, for each thread.
const AHEAD: usize = 2;
/// Between two looks at what moves: ten a second.
const TICK: Duration = Duration::from_millis(100);
/// How long parts in flight may go on after another one has failed for good: 5 seconds.
const TICKS_AFTER_FAILURE: u32 = 50;

/// What a worker does with a piece: its part, if there is one now. What it is given last is called before each retry.
pub(super) type Work<'a> = dyn Fn(PartRange, &dyn Fn()) -> Result<Option<UploadedPart>, Stop> + Sync + 'a;

/// What the calling thread hears while the workers work.
pub(super) enum News {
    Done(Option<UploadedPart>),
    /// A request failed and is tried again.
    Retrying,
    /// A tenth of a second has passed; how many have by now.
    Tick(u32),
}

enum Message {
    Done(Result<Option<UploadedPart>, Stop>),
    Retrying,
}

/// Runs `work` on each piece, on up to `routines` threads. `hear` runs on the calling thread; its error stops
/// the workers, as the error of a piece does. The first error is returned, when all threads have ended.
pub(super) fn run(
    pieces: &mut dyn ExactSizeIterator<Item = PartRange>,
    routines: usize,
    switch: &Switch,
    work: &Work<'_>,
    hear: &mut dyn FnMut(News) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let routines = routines.min(pieces.len());
    let (put, queue) = bounded(routines * AHEAD);
    let (tell, news) = bounded(routines * AHEAD);
    let result = thread::scope(|scope| {
        // Moved in here, so that a panic on this thread ends the workers before it goes on.
        let (mut feed, news): (Feed, Receiver<Message>) = (Feed { put: Some(put), pieces }, news);
        (0..routines * AHEAD).for_each(|_| feed.one());
        let queue = &queue;
        let mut threads = Vec::with_capacity(routines);
        for index in 0..routines {
            let tell = tell.clone();
            let worker = move || run_worker(queue, &tell, switch, work);
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
        let result = listen(&news, feed, queue, switch, hear);
        // The scope waits for the closures; this waits until the threads are gone.
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        result
    });
    switch.reopen();
    result
}

fn run_worker(queue: &Receiver<PartRange>, tell: &Sender<Message>, switch: &Switch, work: &Work<'_>) {
    let retrying = || {
        let _ = tell.send(Message::Retrying);
    };
    let _guard = OnPanic(|| {
        halt(queue, switch);
        // The others have as long as after any failure. The panic goes on when this thread is joined.
        let _ = tell.send(Message::Done(Err(Stop::Drained)));
    });
    for piece in queue {
        let result = work(piece, &retrying);
        match &result {
            Ok(_) => {}
            // Another worker has failed, and says so itself.
            Err(Stop::Drained) => return,
            Err(_) => halt(queue, switch),
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

/// What the workers are given: a few pieces ahead, then one for each that is done.
struct Feed<'a> {
    /// Hung up when there are no more.
    put: Option<Sender<PartRange>>,
    pieces: &'a mut dyn ExactSizeIterator<Item = PartRange>,
}

impl Feed<'_> {
    fn one(&mut self) {
        match (&self.put, self.pieces.next()) {
            (Some(put), Some(piece)) => put.send(piece).expect("this thread holds the receiver"),
            _ => self.put = None,
        }
    }
}

/// No further job begins, and no further attempt of one.
fn halt(queue: &Receiver<PartRange>, switch: &Switch) {
    while queue.try_recv().is_ok() {}
    switch.drain();
}

/// Until the last worker has hung up.
fn listen(
    news: &Receiver<Message>,
    mut feed: Feed<'_>,
    queue: &Receiver<PartRange>,
    switch: &Switch,
    hear: &mut dyn FnMut(News) -> Result<(), Stop>,
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
                Ok(Message::Done(Ok(done))) => {
                    feed.one();
                    hear(News::Done(done))
                }
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
            feed.put = None;
            halt(queue, switch);
            (first_error, failed_at) = (Some(stop), ticks);
        }
    }
}

fn no_thread(error: &io::Error) -> Error {
    Error::option("routines", format!("the system gives no thread: {error}"))
}

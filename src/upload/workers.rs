//! The threads of a call: fed by one channel, heard through another, stopped by draining the first.

use std::io;
use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::Stop;
use crate::Error;
use crate::client::{Switch, Ticker};
use crate::part::Part;

/// Between two looks at what moves: ten a second.
const TICK: Duration = Duration::from_millis(100);
/// How long parts in flight may go on after another one has failed for good: 5 seconds.
const TICKS_AFTER_FAILURE: u32 = 50;

/// What a worker does with the piece of that number: its part, if there is one now. What it is given last is called before
/// each retry.
pub(super) type Work<'a> = dyn Fn(u32, &dyn Fn()) -> Result<Option<Part>, Stop> + Sync + 'a;

/// What the calling thread hears while the workers work.
pub(super) enum News {
    Done(Option<Part>),
    /// A request failed and is tried again.
    Retrying,
    /// A tenth of a second has passed; how many have by now.
    Tick(u32),
}

/// When the calling thread hears it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// Somebody watches.
    AtOnce,
    /// With the next tick: to be woken for each part costs more than its signature.
    WithTheTick,
}

enum Message {
    Done(Option<Part>),
    Stopped(Box<Stop>),
    Retrying,
}

/// Runs `work` on each piece, on up to `routines` threads. `hear` runs on the calling thread; its error stops
/// the workers, as the error of a piece does. The first error is returned, when all threads have ended.
pub(super) fn run(
    numbers: &mut dyn ExactSizeIterator<Item = u32>,
    routines: usize,
    switch: &Switch,
    work: &Work<'_>,
    hears: Hears,
    hear: &mut dyn FnMut(News) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let routines = routines.min(numbers.len());
    let (put, queue) = unbounded();
    numbers.for_each(|number| put.send(number).expect("this thread holds the receiver"));
    drop(put);
    let queue = &queue;
    let (tell, words) = match hears {
        Hears::AtOnce => bounded(routines * 2),
        Hears::WithTheTick => unbounded(),
    };
    let (alive, gone) = bounded(0);
    let result = thread::scope(|scope| {
        // Moved in here, so that a panic on this thread ends the workers before it goes on.
        let inbox = Inbox { words, gone, hears };
        let mut threads = Vec::with_capacity(routines);
        for index in 0..routines {
            let (tell, alive) = (tell.clone(), alive.clone());
            let worker = move || {
                let _alive = alive;
                run_worker(queue, &tell, switch, work);
            };
            match thread::Builder::new().name("oss-upload".into()).spawn_scoped(scope, worker) {
                Ok(thread) => threads.push(thread),
                Err(error) if index == 0 => return Err(Stop::Error(no_thread(&error))),
                Err(error) => {
                    log::warn!("{index} threads instead of {routines}: {error}");
                    break;
                }
            }
        }
        drop((tell, alive));
        let _guard = OnPanic(|| switch.cut());
        let result = listen(&inbox, queue, switch, hear);
        // The scope waits for the closures; this waits until the threads are gone.
        for thread in threads {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        result
    });
    switch.reopen();
    result
}

fn run_worker(queue: &Receiver<u32>, tell: &Sender<Message>, switch: &Switch, work: &Work<'_>) {
    let retrying = || {
        let _ = tell.send(Message::Retrying);
    };
    let _guard = OnPanic(|| {
        halt(queue, switch);
        // The others have as long as after any failure. The panic goes on when this thread is joined.
        let _ = tell.send(Message::Stopped(Box::new(Stop::Drained)));
    });
    for number in queue {
        let message = match work(number, &retrying) {
            Ok(part) => Message::Done(part),
            // Another worker has failed, and says so itself.
            Err(Stop::Drained) => return,
            Err(stop) => {
                halt(queue, switch);
                Message::Stopped(Box::new(stop))
            }
        };
        if tell.send(message).is_err() {
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

/// What the workers say, and that they are gone.
struct Inbox {
    words: Receiver<Message>,
    /// Nothing comes through it; it ends with the last worker.
    gone: Receiver<()>,
    hears: Hears,
}

impl Inbox {
    fn next(&self, until: Instant) -> Result<Message, RecvTimeoutError> {
        let rests = self.hears == Hears::WithTheTick && self.words.is_empty();
        if rests && self.gone.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
            return Err(RecvTimeoutError::Timeout);
        }
        self.words.recv_deadline(until)
    }
}

/// No further job begins, and no further attempt of one.
fn halt(queue: &Receiver<u32>, switch: &Switch) {
    while queue.try_recv().is_ok() {}
    switch.drain();
}

/// Until the last worker has hung up.
fn listen(
    inbox: &Inbox,
    queue: &Receiver<u32>,
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
            match inbox.next(ticker.deadline()) {
                Ok(Message::Done(done)) => hear(News::Done(done)),
                Ok(Message::Stopped(stop)) => Err(*stop),
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
            halt(queue, switch);
            (first_error, failed_at) = (Some(stop), ticks);
        }
    }
}

fn no_thread(error: &io::Error) -> Error {
    Error::option("routines", format!("the system gives no thread: {error}"))
}

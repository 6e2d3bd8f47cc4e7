//! A scoped worker pool. Part ranges go in through one bounded channel, events come out of
//! another.
//!
//! The calling thread owns both ends: it feeds the queue and handles the events. To stop the pool
//! it drains the queue; workers end when the queue is empty and its sender is gone. A worker whose
//! task panics drains the queue as well, and its panic reaches the calling thread as an event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::stop::{PartStop, Stop};
use crate::Error;
use crate::client::{AbortHandle, AbortReason, Clock, Interval};
use crate::part::{PartRange, UploadedPart};
use crate::protocol::complete::ObjectInfo;

/// Part ranges that wait, and events that are not handled yet, for each worker.
const QUEUE_DEPTH_PER_WORKER: usize = 2;
const TICK: Duration = Duration::from_millis(100);
/// How long parts in flight may still take after another part has failed permanently: 5 seconds.
const TICKS_AFTER_FAILURE: u32 = 50;

pub(super) const CANCELLED: Error = Error::Cancelled {
    object_may_exist: false,
    upload_left: None,
};

/// Uploads or verifies one part range.
///
/// The second argument must be called before each retry.
pub(super) type PartTask<'a> =
    dyn Fn(PartRange, &mut dyn FnMut()) -> Result<Done, PartStop> + Sync + 'a;

/// What a worker has done with a part range.
pub(super) enum Done {
    Part(UploadedPart),
    /// The whole file, in one request.
    Object(Box<ObjectInfo>),
    /// The part that was verified does not equal the file.
    Rejected,
}

/// What the event handler on the calling thread receives.
pub(super) enum WorkerEvent {
    Done(Done),
    Retrying,
    /// Sent every 100 ms, with the number of ticks so far.
    Tick(u32),
}

enum WorkerMessage {
    Done(Done),
    Stopped(Stop),
    Retrying,
}

pub(super) struct Pool<'a> {
    /// Threads; with 0 the calling thread does the work.
    pub(super) routines: usize,
    pub(super) abort: &'a AbortHandle,
    pub(super) clock: &'a dyn Clock,
}

impl Pool<'_> {
    /// Runs `task` on each part range, on up to `routines` threads or on the calling one, and `on_event` on the calling
    /// thread. Returns the first error of either, when all threads have ended.
    pub(super) fn run(
        &self,
        ranges: &mut dyn ExactSizeIterator<Item = PartRange>,
        task: &PartTask<'_>,
        on_event: &mut dyn FnMut(WorkerEvent) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if self.routines == 0 {
            return run_on_this_thread(ranges, task, on_event);
        }
        let routines = self.routines.min(ranges.len());
        let capacity = routines * QUEUE_DEPTH_PER_WORKER;
        let (jobs_tx, queue) = bounded(capacity);
        let (events_tx, events) = bounded(capacity);
        let result = thread::scope(|scope| {
            // Moved in here, so that a panic on this thread ends the workers first.
            let events = events;
            let mut feed = JobQueue {
                jobs_tx: Some(jobs_tx),
                ranges,
            };
            let queue = &queue;
            let mut threads = Vec::with_capacity(routines);
            for index in 0..routines {
                let events_tx = events_tx.clone();
                let worker = move || self.run_worker(queue, &events_tx, task);
                let builder = thread::Builder::new().name("oss-upload".into());
                match builder.spawn_scoped(scope, worker) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        log::warn!("{index} threads instead of {routines}: {error}");
                        break;
                    }
                }
            }
            drop(events_tx);
            let _guard = AbortOnPanic(self.abort);
            if threads.is_empty() {
                return run_on_this_thread(feed.ranges, task, on_event);
            }
            (0..capacity).for_each(|_| feed.push_next());
            let result = self.event_loop(&events, feed, queue, on_event);
            // The scope waits for the closures; this waits until the threads are gone.
            for thread in threads {
                // A worker catches the panics of its tasks.
                let _ = thread.join();
            }
            result
        });
        self.abort.resume();
        result
    }

    fn run_worker(
        &self,
        queue: &Receiver<PartRange>,
        events_tx: &Sender<WorkerMessage>,
        task: &PartTask<'_>,
    ) {
        for range in queue {
            let mut on_retry = || {
                let _ = events_tx.send(WorkerMessage::Retrying);
            };
            let result = catch_unwind(AssertUnwindSafe(|| task(range, &mut on_retry)));
            let message = match result {
                Ok(Ok(done)) => WorkerMessage::Done(done),
                // The worker that stopped the others reports why.
                Ok(Err(PartStop::Drained)) => return,
                Ok(Err(PartStop::Stopped(stop))) => WorkerMessage::Stopped(stop),
                Err(panic) => WorkerMessage::Stopped(Stop::Panicked(panic)),
            };
            if let WorkerMessage::Stopped(_) = message {
                self.drain(queue);
            }
            if events_tx.send(message).is_err() {
                return;
            }
        }
    }

    /// Handles events until the last worker has ended.
    fn event_loop(
        &self,
        events: &Receiver<WorkerMessage>,
        mut feed: JobQueue<'_>,
        queue: &Receiver<PartRange>,
        on_event: &mut dyn FnMut(WorkerEvent) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut interval = Interval::new(TICK, self.clock.instant());
        let mut ticks = 0;
        let mut failure: Option<(Stop, u32)> = None;
        loop {
            let now = self.clock.instant();
            let result = if interval.tick(now) {
                ticks += 1;
                let failed_at = failure.as_ref().map(|(_, ticks)| *ticks);
                if failed_at.is_some_and(|failed_at| ticks - failed_at >= TICKS_AFTER_FAILURE) {
                    self.abort.disconnect();
                }
                on_event(WorkerEvent::Tick(ticks))
            } else {
                let timeout = self.clock.wait(interval.remaining(now));
                match events.recv_timeout(timeout) {
                    Ok(WorkerMessage::Done(done)) => {
                        feed.push_next();
                        on_event(WorkerEvent::Done(done))
                    }
                    Ok(WorkerMessage::Stopped(stop)) => Err(stop),
                    Ok(WorkerMessage::Retrying) => on_event(WorkerEvent::Retrying),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => {
                        return failure.map_or(Ok(()), |(stop, _)| Err(stop));
                    }
                }
            };
            if let Err(stop) = result
                && failure.is_none()
            {
                feed.jobs_tx = None;
                self.drain(queue);
                failure = Some((stop, ticks));
            }
        }
    }

    /// Starts no further part and no further attempt; requests in flight may finish.
    fn drain(&self, queue: &Receiver<PartRange>) {
        while queue.try_recv().is_ok() {}
        self.abort.drain();
    }
}

/// Does the work of the pool if no thread can be created.
fn run_on_this_thread(
    ranges: &mut dyn ExactSizeIterator<Item = PartRange>,
    task: &PartTask<'_>,
    on_event: &mut dyn FnMut(WorkerEvent) -> Result<(), Stop>,
) -> Result<(), Stop> {
    for range in ranges {
        let mut retries = Ok(());
        let mut on_retry = || {
            if retries.is_ok() {
                retries = on_event(WorkerEvent::Retrying);
            }
        };
        let result = task(range, &mut on_retry);
        retries?;
        match result {
            Ok(done) => on_event(WorkerEvent::Done(done))?,
            Err(PartStop::Stopped(stop)) => return Err(stop),
            // Another file of the same tree has failed.
            Err(PartStop::Drained) => return Err(Stop::Failed(CANCELLED)),
        }
    }
    Ok(())
}

/// The sending end of the queue. It is filled at the start, and gets one more part range for each
/// that is done.
struct JobQueue<'a> {
    /// `None` when there are no more.
    jobs_tx: Option<Sender<PartRange>>,
    ranges: &'a mut dyn ExactSizeIterator<Item = PartRange>,
}

impl JobQueue<'_> {
    fn push_next(&mut self) {
        let Some(jobs_tx) = &self.jobs_tx else {
            return;
        };
        let is_queued = match self.ranges.next() {
            Some(range) => jobs_tx.send(range).is_ok(),
            None => false,
        };
        if !is_queued {
            self.jobs_tx = None;
        }
    }
}

/// Aborts what other threads do if this one panics.
pub(super) struct AbortOnPanic<'a>(pub(super) &'a AbortHandle);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort(AbortReason::Panicked);
        }
    }
}

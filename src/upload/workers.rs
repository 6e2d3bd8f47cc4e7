//! A scoped worker pool. Jobs go in through one bounded channel, events come out of another.
//!
//! A job is a part range, or a part of a stream. The calling thread feeds part ranges to the queue
//! and handles the events; a stream is read by a thread of its own, which feeds the queue instead.
//! To stop the pool the calling thread drains the queue; workers end when the queue is empty and
//! its sender is gone. A thread whose task panics drains the queue as well, and its panic reaches
//! the calling thread as an event.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::stop::{PartStop, Stop};
use crate::Error;
use crate::client::{AbortHandle, AbortReason, Clock, Interval};
use crate::part::{PartRange, UploadedPart};
use crate::protocol::complete::ObjectInfo;

/// Jobs that wait, and events that are not handled yet, for each worker.
const QUEUE_DEPTH_PER_WORKER: usize = 2;
/// Jobs that exist at a time besides those that workers run: one is being made, or waits.
pub(super) const JOBS_AHEAD: usize = 1;
const THREAD_NAME: &str = "oss-upload";
const TICK: Duration = Duration::from_millis(100);
/// How long parts in flight may still take after another part has failed permanently: 5 seconds.
const TICKS_AFTER_FAILURE: u32 = 50;

pub(super) const CANCELLED: Error = Error::Cancelled {
    object_may_exist: false,
    upload_left: None,
};

/// Uploads or verifies one part range, or one part of a stream.
///
/// The second argument must be called before each retry.
pub(super) type PartTask<'a, J = PartRange> =
    dyn Fn(J, &mut dyn FnMut()) -> Result<Done, PartStop> + Sync + 'a;

/// Makes the next job; `None` if there are no more.
pub(super) type NextJob<'a, J> = dyn FnMut() -> Result<Option<J>, PartStop> + Send + 'a;

/// What a worker has done with a part range.
pub(super) enum Done {
    Part(UploadedPart),
    /// A part of the stream that OSS has already.
    Kept(UploadedPart),
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
            return run_on_this_thread(&mut || Ok(ranges.next()), task, on_event);
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
            let _guard = AbortOnPanic(self.abort);
            let threads = self.spawn_workers(scope, routines, queue, &events_tx, task);
            drop(events_tx);
            if threads.is_empty() {
                let ranges = feed.ranges;
                return run_on_this_thread(&mut || Ok(ranges.next()), task, on_event);
            }
            (0..capacity).for_each(|_| feed.push_next());
            let result = self.event_loop(&events, Some(feed), queue, on_event);
            join_all(threads);
            result
        });
        self.abort.resume();
        result
    }

    /// Runs `task` on each job that `next` makes, in the same way. `next` runs on a thread of its
    /// own. It must not let more than `routines` + [`JOBS_AHEAD`] jobs exist at a time, and must
    /// end soon when the abort handle is no longer running.
    pub(super) fn run_made<J: Send>(
        &self,
        next: &mut NextJob<'_, J>,
        task: &PartTask<'_, J>,
        on_event: &mut dyn FnMut(WorkerEvent) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        // With room for all jobs, sending never blocks.
        let (jobs_tx, queue) = bounded(self.routines + JOBS_AHEAD);
        let (events_tx, events) = bounded(self.routines * QUEUE_DEPTH_PER_WORKER);
        // Shared, since the thread that should run it may not start.
        let next = &Mutex::new(next);
        let result = thread::scope(|scope| {
            let events = events;
            let queue = &queue;
            // The last one is dropped first.
            let _drain = DrainOnDrop(queue);
            let _guard = AbortOnPanic(self.abort);
            let mut threads = self.spawn_workers(scope, self.routines, queue, &events_tx, task);
            if threads.is_empty() {
                return None;
            }
            let make_jobs = move || self.make_jobs(next, queue, &jobs_tx, &events_tx);
            match thread::Builder::new()
                .name(THREAD_NAME.into())
                .spawn_scoped(scope, make_jobs)
            {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    log::warn!("no thread to read the stream: {error}");
                    join_all(threads);
                    return None;
                }
            }
            let result = self.event_loop(&events, None, queue, on_event);
            join_all(threads);
            Some(result)
        });
        let result = result.unwrap_or_else(|| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            run_on_this_thread(&mut **next, task, on_event)
        });
        self.abort.resume();
        result
    }

    /// Starts as many workers as the system allows.
    fn spawn_workers<'scope, 'env, J: Send>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        routines: usize,
        queue: &'env Receiver<J>,
        events_tx: &Sender<WorkerMessage>,
        task: &'env PartTask<'_, J>,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let mut threads = Vec::with_capacity(routines);
        for index in 0..routines {
            let events_tx = events_tx.clone();
            let worker = move || self.run_worker(queue, &events_tx, task);
            let builder = thread::Builder::new().name(THREAD_NAME.into());
            match builder.spawn_scoped(scope, worker) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    log::warn!("{index} threads instead of {routines}: {error}");
                    break;
                }
            }
        }
        threads
    }

    /// Feeds the queue until there are no more jobs, or until the pool is stopped.
    fn make_jobs<J>(
        &self,
        next: &Mutex<&mut NextJob<'_, J>>,
        queue: &Receiver<J>,
        jobs_tx: &Sender<J>,
        events_tx: &Sender<WorkerMessage>,
    ) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(job) = next()? {
                let _ = jobs_tx.send(job);
            }
            Ok(())
        }));
        let stop = match result {
            Ok(Ok(()) | Err(PartStop::Drained)) => return,
            Ok(Err(PartStop::Stopped(stop))) => stop,
            Err(panic) => Stop::Panicked(panic),
        };
        self.drain(queue);
        let _ = events_tx.send(WorkerMessage::Stopped(stop));
    }

    fn run_worker<J>(
        &self,
        queue: &Receiver<J>,
        events_tx: &Sender<WorkerMessage>,
        task: &PartTask<'_, J>,
    ) {
        for job in queue {
            let mut on_retry = || {
                let _ = events_tx.send(WorkerMessage::Retrying);
            };
            let result = catch_unwind(AssertUnwindSafe(|| task(job, &mut on_retry)));
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
    fn event_loop<J>(
        &self,
        events: &Receiver<WorkerMessage>,
        mut feed: Option<JobQueue<'_>>,
        queue: &Receiver<J>,
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
                        if let Some(feed) = &mut feed {
                            feed.push_next();
                        }
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
                feed = None;
                self.drain(queue);
                failure = Some((stop, ticks));
            }
        }
    }

    /// Starts no further part and no further attempt; requests in flight may finish.
    fn drain<J>(&self, queue: &Receiver<J>) {
        // In this order: whoever makes jobs looks at the handle before it waits for one to end.
        self.abort.drain();
        while queue.try_recv().is_ok() {}
    }
}

/// Does the work of the pool if no thread can be created.
fn run_on_this_thread<J>(
    next: &mut dyn FnMut() -> Result<Option<J>, PartStop>,
    task: &PartTask<'_, J>,
    on_event: &mut dyn FnMut(WorkerEvent) -> Result<(), Stop>,
) -> Result<(), Stop> {
    loop {
        let job = match next() {
            Ok(Some(job)) => job,
            Ok(None) => return Ok(()),
            Err(stop) => return Err(stop.into_stop()),
        };
        let mut retries = Ok(());
        let mut on_retry = || {
            if retries.is_ok() {
                retries = on_event(WorkerEvent::Retrying);
            }
        };
        let result = task(job, &mut on_retry);
        retries?;
        match result {
            Ok(done) => on_event(WorkerEvent::Done(done))?,
            Err(stop) => return Err(stop.into_stop()),
        }
    }
}

/// A scope waits for the closures of its threads; this waits until the threads are gone.
fn join_all(threads: Vec<ScopedJoinHandle<'_, ()>>) {
    for thread in threads {
        // The threads catch the panics of what they run.
        let _ = thread.join();
    }
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

/// Stops the other threads if the calling thread panics.
pub(super) struct AbortOnPanic<'a>(pub(super) &'a AbortHandle);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abort(AbortReason::Panicked);
        }
    }
}

/// Drops the jobs that wait, since the thread that makes jobs may wait for one of them to end. The
/// abort handle has to be stopped before.
struct DrainOnDrop<'a, J>(&'a Receiver<J>);

impl<J> Drop for DrainOnDrop<'_, J> {
    fn drop(&mut self) {
        while self.0.try_recv().is_ok() {}
    }
}

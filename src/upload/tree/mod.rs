//! Uploads a tree of files with the connections of one upload.
//!
//! Files of one request are uploaded side by side, each by one worker. Then the larger ones
//! follow, one after the other, each with all workers. Both share a dispatcher, and so its
//! connections.

mod walk;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use walk::{Entry, walk};

use super::checkpoint::{CheckpointLocation, absolute};
use super::config::{CallerOptions, UploadConfig};
use super::job::{Target, abort_on_cancel};
use super::options::UploadOption;
use super::plan::Plan;
use super::progress::{Callback, Progress, ProgressEvent};
use super::source::Source;
use super::workers::{AbortOnPanic, CANCELLED};
use super::{Execution, upload};
use crate::client::{Client, Dispatcher};
use crate::{Error, Result, Uploaded};

/// How long requests in flight may still take after another file has failed.
const PATIENCE_AFTER_FAILURE: Duration = Duration::from_secs(5);
const DISCONNECT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The files of a tree that were uploaded with [`Bucket::upload_dir`](crate::Bucket::upload_dir).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadedDir {
    /// The files in the order of their names, including those that were skipped.
    pub files: Vec<Uploaded>,
    /// How many files were skipped, since their objects already were the files.
    pub skipped: usize,
    /// Bytes of all files that this call sent, including those that had to be sent again.
    pub bytes_sent: u64,
}

pub(crate) fn upload_dir(
    (client, bucket, prefix): (&Client, &str, &str),
    dir: &Path,
    part_size: u64,
    options: &mut dyn Iterator<Item = UploadOption<'_>>,
) -> Result<UploadedDir> {
    let (config, caller) = UploadConfig::from_options(options)?;
    let CallerOptions {
        checkpoint,
        progress,
    } = caller;
    let checkpoint_dir = match checkpoint {
        CheckpointLocation::Off => None,
        // Made absolute once for all files. An empty path is an error of the first one.
        CheckpointLocation::Dir(dir) if dir.as_os_str().is_empty() => Some(dir),
        CheckpointLocation::Dir(dir) => Some(absolute(&dir)?),
        CheckpointLocation::BesideSource | CheckpointLocation::File(_) => {
            let reason = "a tree needs a checkpoint for each file; use checkpoint_dir(true, dir)";
            return Err(Error::option("checkpoint", reason));
        }
        CheckpointLocation::Store(_) => {
            let reason = "a tree needs a checkpoint for each file; use checkpoint_dir(true, dir)";
            return Err(Error::option("checkpoint_store", reason));
        }
    };
    // A tree of no files has no plan that would notice a wrong part size.
    Plan::new(0, part_size, None)?;
    let entries = walk(dir, prefix)?;
    let mut small = Vec::new();
    let mut large = Vec::new();
    let mut parts = 0;
    for (index, entry) in entries.iter().enumerate() {
        let plan = Plan::new(entry.size, part_size, config.multipart_threshold)
            .map_err(|error| about(entry, error))?;
        parts += plan.count() as usize;
        match plan.is_single {
            true => small.push(index),
            false => large.push(index),
        }
    }
    let total = entries.iter().map(|entry| entry.size).sum();
    let dispatcher = client.dispatcher();
    let _cancelling = abort_on_cancel(&config, &dispatcher);
    let tree = Tree {
        client,
        bucket,
        entries: &entries,
        part_size,
        config,
        checkpoint_dir: checkpoint_dir.as_deref(),
        dispatcher,
    };
    let mut progress = TreeProgress::new(progress, total, parts);
    progress.emit(ProgressEvent::Started);
    let mut uploaded: Vec<Option<Uploaded>> = entries.iter().map(|_| None).collect();
    let result = tree
        .upload_small(&small, &mut progress, &mut uploaded)
        .and_then(|()| tree.upload_large(&large, &mut progress, &mut uploaded))
        .and_then(
            |()| match entries.is_empty() && tree.config.cancel.is_cancelled() {
                true => Err(CANCELLED),
                false => Ok(()),
            },
        );
    progress.finish(&result);
    result?;
    let files: Vec<Uploaded> = uploaded.into_iter().flatten().collect();
    Ok(UploadedDir {
        skipped: files.iter().filter(|file| file.skipped).count(),
        bytes_sent: files.iter().map(|file| file.bytes_sent).sum(),
        files,
    })
}

/// Says which file of the tree the part size does not fit.
fn about(entry: &Entry, error: Error) -> Error {
    match error {
        Error::InvalidOption { option, reason } => {
            Error::option(option, format!("{} ({})", reason, entry.path.display()))
        }
        error => error,
    }
}

struct Tree<'a> {
    client: &'a Client,
    bucket: &'a str,
    entries: &'a [Entry],
    part_size: u64,
    config: UploadConfig,
    checkpoint_dir: Option<&'a Path>,
    dispatcher: Dispatcher,
}

/// What a worker sends to the calling thread.
enum Message {
    Progress(usize, Progress),
    Done(usize, Box<Result<Uploaded>>),
    Panicked(Box<dyn Any + Send>),
}

impl Tree<'_> {
    /// Uploads the files of one request, each by one of up to `routines` workers.
    fn upload_small(
        &self,
        indices: &[usize],
        progress: &mut TreeProgress<'_>,
        uploaded: &mut [Option<Uploaded>],
    ) -> Result<()> {
        let workers = self.config.routines.min(indices.len());
        let next = AtomicUsize::new(0);
        let (sender, messages) = sync_channel(2 * workers);
        let result = thread::scope(|scope| {
            // Moved in here, so that a panic on this thread ends the workers first.
            let messages = messages;
            let _guard = AbortOnPanic(self.dispatcher.abort_handle());
            let mut started = 0;
            for _ in 0..workers {
                let (sender, next) = (sender.clone(), &next);
                let worker = move || self.run_worker(indices, next, &sender);
                match thread::Builder::new().spawn_scoped(scope, worker) {
                    Ok(_) => started += 1,
                    Err(error) => {
                        log::warn!("{started} threads instead of {workers}: {error}");
                        break;
                    }
                }
            }
            drop(sender);
            if started == 0 {
                return self.upload_in_turn(indices, true, progress, uploaded);
            }
            self.handle_messages(&messages, (&next, indices.len()), progress, uploaded)
        });
        self.dispatcher.abort_handle().resume();
        result
    }

    fn run_worker(&self, indices: &[usize], next: &AtomicUsize, sender: &SyncSender<Message>) {
        while let Some(index) = indices.get(next.fetch_add(1, Ordering::Relaxed)) {
            let callback: Callback<'_> = Box::new(|progress: &Progress| {
                if !is_about_the_whole(progress.event) {
                    let _ = sender.send(Message::Progress(*index, progress.clone()));
                }
            });
            let upload = || self.upload_entry(*index, Some(callback), true);
            let message = match catch_unwind(AssertUnwindSafe(upload)) {
                Ok(result) => Message::Done(*index, Box::new(result)),
                Err(panic) => Message::Panicked(panic),
            };
            if sender.send(message).is_err() {
                return;
            }
        }
    }

    /// Handles what the workers send until the last one has ended. The first failure stops them.
    fn handle_messages(
        &self,
        messages: &Receiver<Message>,
        (next, end): (&AtomicUsize, usize),
        progress: &mut TreeProgress<'_>,
        uploaded: &mut [Option<Uploaded>],
    ) -> Result<()> {
        let clock = self.client.clock();
        let mut failure = None;
        // Set by a failure: until when requests in flight may still take.
        let mut deadline: Option<Instant> = None;
        loop {
            let received = match deadline {
                None => messages.recv().map_err(RecvTimeoutError::from),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(clock.instant());
                    messages.recv_timeout(clock.wait(left))
                }
            };
            let message = match received {
                Ok(message) => message,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.dispatcher.abort_handle().disconnect();
                    // For a connection that was just being made.
                    deadline = Some(clock.instant() + DISCONNECT_AGAIN_AFTER);
                    continue;
                }
            };
            let stop = match message {
                Message::Progress(index, file) => {
                    progress.update(&self.entries[index], &file);
                    continue;
                }
                Message::Done(index, result) => match *result {
                    Ok(file) => {
                        progress.complete(&self.entries[index], &file);
                        uploaded[index] = Some(file);
                        continue;
                    }
                    Err(error) => Ok(error),
                },
                Message::Panicked(panic) => Err(panic),
            };
            failure.get_or_insert(stop);
            deadline.get_or_insert_with(|| clock.instant() + PATIENCE_AFTER_FAILURE);
            next.store(end, Ordering::Relaxed);
            self.dispatcher.abort_handle().drain();
        }
        match failure {
            None => Ok(()),
            Some(Ok(error)) => Err(error),
            Some(Err(panic)) => resume_unwind(panic),
        }
    }

    /// Uploads the files of several parts one after the other, each by all workers.
    fn upload_large(
        &self,
        indices: &[usize],
        progress: &mut TreeProgress<'_>,
        uploaded: &mut [Option<Uploaded>],
    ) -> Result<()> {
        self.upload_in_turn(indices, false, progress, uploaded)
    }

    fn upload_in_turn(
        &self,
        indices: &[usize],
        on_this_thread: bool,
        progress: &mut TreeProgress<'_>,
        uploaded: &mut [Option<Uploaded>],
    ) -> Result<()> {
        for index in indices {
            let entry = &self.entries[*index];
            let callback: Callback<'_> = Box::new(|file: &Progress| progress.update(entry, file));
            let file = self.upload_entry(*index, Some(callback), on_this_thread)?;
            progress.complete(entry, &file);
            uploaded[*index] = Some(file);
        }
        Ok(())
    }

    fn upload_entry(
        &self,
        index: usize,
        progress: Option<Callback<'_>>,
        on_this_thread: bool,
    ) -> Result<Uploaded> {
        let entry = &self.entries[index];
        let target = Target {
            client: self.client,
            bucket: self.bucket,
            key: &entry.key,
        };
        let checkpoint = match self.checkpoint_dir {
            Some(dir) => CheckpointLocation::Dir(dir.to_owned()),
            None => CheckpointLocation::Off,
        };
        let source = Source::open(&entry.path, self.client.clock().now())?;
        let caller = CallerOptions {
            checkpoint,
            progress,
        };
        let execution = Execution {
            dispatcher: &self.dispatcher,
            on_this_thread,
        };
        upload(
            &target,
            source,
            self.part_size,
            (self.config.clone(), caller),
            execution,
        )
    }
}

/// The progress of a tree, from that of its files.
struct TreeProgress<'a> {
    callback: Option<Callback<'a>>,
    progress: Progress,
    /// Bytes and parts of files that are complete.
    completed: (u64, usize),
    /// Bytes and parts of files that are being uploaded, by key.
    in_progress: BTreeMap<String, (u64, usize)>,
}

/// Returns whether a tree reports the event once, and not for each file.
fn is_about_the_whole(event: ProgressEvent) -> bool {
    matches!(
        event,
        ProgressEvent::Started | ProgressEvent::Completed | ProgressEvent::Failed
    )
}

impl<'a> TreeProgress<'a> {
    fn new(callback: Option<Callback<'a>>, total: u64, parts_total: usize) -> TreeProgress<'a> {
        TreeProgress {
            callback,
            progress: Progress::new(total, parts_total),
            completed: (0, 0),
            in_progress: BTreeMap::new(),
        }
    }

    /// Handles an event of a file.
    fn update(&mut self, entry: &Entry, file: &Progress) {
        self.progress.key.clone_from(&entry.key);
        self.progress.upload_id.clone_from(&file.upload_id);
        let counts = (file.transferred, file.parts_done);
        self.in_progress.insert(entry.key.clone(), counts);
        if !is_about_the_whole(file.event) {
            self.emit(file.event);
        }
    }

    fn complete(&mut self, entry: &Entry, file: &Uploaded) {
        self.in_progress.remove(&entry.key);
        self.completed.0 += entry.size;
        self.completed.1 += if file.skipped { 1 } else { file.parts };
        self.progress.key.clone_from(&entry.key);
        self.progress.upload_id.clone_from(&file.upload_id);
        self.emit(ProgressEvent::Transferred);
    }

    fn finish(&mut self, result: &Result<()>) {
        self.progress.key.clear();
        self.progress.upload_id = None;
        match result {
            Ok(()) => {
                self.progress.transferred = self.progress.total;
                self.progress.parts_done = self.progress.parts_total;
                self.emit(ProgressEvent::Completed);
            }
            Err(_) => self.emit(ProgressEvent::Failed),
        }
    }

    fn emit(&mut self, event: ProgressEvent) {
        let in_progress = self.in_progress.values();
        let (bytes, parts) = in_progress.fold(self.completed, |(bytes, parts), file| {
            (bytes + file.0, parts + file.1)
        });
        let progress = &mut self.progress;
        progress.event = event;
        // A file that grew since it was listed fails; until then it must not pass the total.
        progress.transferred = progress.transferred.max(bytes.min(progress.total));
        progress.parts_done = parts.min(progress.parts_total);
        if let Some(mut callback) = self.callback.take() {
            callback(&self.progress);
            self.callback = Some(callback);
        }
    }
}

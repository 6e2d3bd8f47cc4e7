//! Decides what is left behind when a call ends (pure, in [`decide`]), and does it (in
//! [`clean_up`]).

use super::checkpoint::{Checkpoint, CheckpointState, Loaded};
use super::job::Job;
use super::state::{MultipartState, Origin};
use super::stop::Stop;
use crate::client::{CallError, CleanupBudget, Dispatcher, TextBody};
use crate::error::ErrorCode;
use crate::protocol::abort::AbortMultipartUpload;

/// The uploads that a call knows of.
#[derive(Default)]
pub(super) struct Uploads {
    /// The upload of an earlier call, which this call replaces.
    pub(super) superseded: Option<CheckpointState>,
    /// The upload that this call works on.
    pub(super) active: Option<MultipartState>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The object exists, even if it or its callback is wrong.
    ObjectCreated,
    Failed,
    Cancelled,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    outcome: Outcome,
    /// The upload that this call worked on, if it had one.
    active: Option<ActiveFacts>,
    /// An earlier upload has not been replaced yet.
    has_superseded: bool,
    checkpoint_is_enabled: bool,
    adopt_unfinished: bool,
    /// Cancelling deletes what could be resumed.
    delete_on_cancel: bool,
    /// No later call can resume the upload: its file was deleted, or its parts are unusable.
    is_unusable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ActiveFacts {
    is_new: bool,
    /// The checkpoint names this upload, so another call can resume it.
    is_saved: bool,
}

/// What to do with the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Keep,
    /// Write what has not been written yet.
    Flush,
    Remove,
}

/// What to do with an upload on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remote {
    Keep,
    Abort(CleanupBudget),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cleanup {
    checkpoint: Local,
    active: Remote,
    superseded: Remote,
}

fn decide(facts: &Facts) -> Cleanup {
    let keep = Cleanup {
        checkpoint: Local::Keep,
        active: Remote::Keep,
        superseded: Remote::Keep,
    };
    let is_cancelled = facts.outcome == Outcome::Cancelled;
    let deletes = is_cancelled && facts.delete_on_cancel;
    match (facts.outcome, facts.active) {
        (Outcome::ObjectCreated, _) => Cleanup {
            checkpoint: Local::Remove,
            superseded: match facts.has_superseded {
                true => Remote::Abort(CleanupBudget::FAILED),
                false => Remote::Keep,
            },
            ..keep
        },
        (_, None) => Cleanup {
            checkpoint: match deletes {
                true => Local::Remove,
                false => Local::Keep,
            },
            // Without a checkpoint, no other call has the ID.
            superseded: match facts.has_superseded && (deletes || !facts.checkpoint_is_enabled) {
                true if is_cancelled => Remote::Abort(CleanupBudget::CANCELLED),
                true => Remote::Abort(CleanupBudget::FAILED),
                false => Remote::Keep,
            },
            ..keep
        },
        (_, Some(active)) => {
            let is_findable = match is_cancelled {
                true => facts.checkpoint_is_enabled,
                false => active.is_saved,
            };
            let is_resumable = (is_findable || facts.adopt_unfinished) && !facts.is_unusable;
            if is_resumable && !deletes {
                return Cleanup {
                    checkpoint: Local::Flush,
                    ..keep
                };
            }
            let is_others = facts.adopt_unfinished && !active.is_new;
            Cleanup {
                // A checkpoint of another upload is kept for the next call.
                checkpoint: match active.is_saved || deletes {
                    true => Local::Remove,
                    false => Local::Keep,
                },
                active: match is_cancelled {
                    _ if is_others => Remote::Keep,
                    true => Remote::Abort(CleanupBudget::CANCELLED),
                    false => Remote::Abort(CleanupBudget::FAILED),
                },
                superseded: Remote::Keep,
            }
        }
    }
}

/// Cleans up after a call that ended with `stop`, or successfully without one. Returns the ID of
/// an upload that should have been aborted and still exists.
pub(super) fn clean_up(
    job: &Job<'_>,
    checkpoint: &mut Checkpoint<'_>,
    uploads: &mut Uploads,
    stop: Option<&Stop>,
) -> Option<String> {
    let outcome = match stop {
        None | Some(Stop::ObjectCreated(_)) => Outcome::ObjectCreated,
        // Requests also stop if another file of the same tree fails, or if a callback panics.
        Some(Stop::Cancelled { .. }) if job.is_cancelled() => Outcome::Cancelled,
        Some(_) => Outcome::Failed,
    };
    if outcome == Outcome::Cancelled && job.config.deletes_on_cancel() {
        find_saved(checkpoint, uploads);
    }
    let active = uploads.active.as_ref();
    let cleanup = decide(&Facts {
        outcome,
        active: active.map(|upload| ActiveFacts {
            is_new: upload.origin == Origin::New,
            is_saved: checkpoint.has_saved(upload.upload_id()),
        }),
        has_superseded: uploads.superseded.is_some(),
        checkpoint_is_enabled: checkpoint.is_enabled(),
        adopt_unfinished: job.config.adopt_unfinished,
        delete_on_cancel: job.config.deletes_on_cancel(),
        is_unusable: stop.is_some()
            && (job.source.is_deleted() || active.is_some_and(|upload| upload.is_unusable)),
    });
    let remote = [
        (cleanup.active, active.map(|upload| &upload.state)),
        (cleanup.superseded, uploads.superseded.as_ref()),
    ];
    let mut left_behind = None;
    for (decision, upload) in remote {
        if let (Remote::Abort(budget), Some(upload)) = (decision, upload)
            && !abort(job, upload, budget)
        {
            left_behind = Some(upload.upload_id.clone());
        }
    }
    match (cleanup.checkpoint, active) {
        (Local::Flush, Some(upload)) => {
            if let Err(error) = checkpoint.flush(&upload.state) {
                log::warn!(
                    "cannot update the checkpoint; the last parts may be sent again: {error}"
                );
            }
        }
        // The checkpoint is kept, because nothing else has the ID of the upload.
        (Local::Remove, _) if left_behind.is_some() && outcome != Outcome::ObjectCreated => {}
        (Local::Remove, _) => checkpoint.remove(),
        (Local::Keep, Some(upload)) if cleanup.active != Remote::Keep && left_behind.is_none() => {
            checkpoint.remove_unconfirmed(upload.upload_id());
        }
        (Local::Keep | Local::Flush, _) => {}
    }
    left_behind
}

/// Loads the upload of a call that was cancelled before it looked for one. Its checkpoint is about
/// to be removed.
fn find_saved(checkpoint: &mut Checkpoint<'_>, uploads: &mut Uploads) {
    if checkpoint.was_loaded() {
        return;
    }
    match checkpoint.load() {
        Ok(Loaded::State(state)) => uploads.superseded = Some(*state),
        Ok(Loaded::Damaged | Loaded::Nothing) => {}
        Err(error) => log::warn!("cannot find out which upload to abort: {error}"),
    }
}

/// Aborts an upload, best effort. Parts that OSS still stores are billed, but that is no reason to
/// fail.
///
/// Only an upload at the client's own endpoint is aborted, because a checkpoint must not decide
/// which host receives a signed request. Returns whether the upload is gone.
pub(super) fn abort(job: &Job<'_>, upload: &CheckpointState, budget: CleanupBudget) -> bool {
    let identity = &upload.identity;
    if identity.endpoint != job.target.client.endpoint() {
        return false;
    }
    let dispatcher = job.dispatcher.for_cleanup(budget);
    let is_gone = match budget {
        CleanupBudget::CANCELLED => send_abort(job, upload, &dispatcher),
        _ => {
            let _registration = job.cancel_with(&dispatcher);
            send_abort(job, upload, &dispatcher)
        }
    };
    match is_gone {
        // If the call is cancelled meanwhile, one short attempt is left.
        None => send_abort(
            job,
            upload,
            &job.dispatcher.for_cleanup(CleanupBudget::CANCELLED),
        ),
        is_gone => is_gone,
    }
    .unwrap_or(false)
}

/// Returns whether the upload is gone, or `None` if the request was cancelled.
fn send_abort(job: &Job<'_>, upload: &CheckpointState, dispatcher: &Dispatcher) -> Option<bool> {
    let action = AbortMultipartUpload {
        bucket: &upload.identity.bucket,
        key: &upload.identity.key,
        upload_id: &upload.upload_id,
        headers: job.config.headers.common(),
    };
    match dispatcher.execute(&action, &mut TextBody::empty(), &mut || ()) {
        Ok(()) => Some(true),
        Err(CallError::Failed { error, .. }) if error.code() == Some(ErrorCode::NoSuchUpload) => {
            Some(true)
        }
        Err(CallError::Failed { error, .. }) => {
            let id = &upload.upload_id;
            log::warn!("cannot abort the upload {id}; its parts stay on the server: {error}");
            Some(false)
        }
        Err(CallError::Drained | CallError::Aborted { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Remote = Remote::Keep;
    const ABORT: Remote = Remote::Abort(CleanupBudget::FAILED);
    const ABORT_SHORTLY: Remote = Remote::Abort(CleanupBudget::CANCELLED);

    const NEW: Option<ActiveFacts> = active(true, false);
    const NEW_SAVED: Option<ActiveFacts> = active(true, true);
    const RESUMED: Option<ActiveFacts> = active(false, true);
    const FOUND: Option<ActiveFacts> = active(false, false);

    const fn active(is_new: bool, is_saved: bool) -> Option<ActiveFacts> {
        Some(ActiveFacts { is_new, is_saved })
    }

    /// A call without checkpoint and adoption that deletes when it is cancelled.
    const PLAIN: Facts = Facts {
        outcome: Outcome::Failed,
        active: None,
        has_superseded: false,
        checkpoint_is_enabled: false,
        adopt_unfinished: false,
        delete_on_cancel: true,
        is_unusable: false,
    };
    const WITH_CHECKPOINT: Facts = Facts {
        checkpoint_is_enabled: true,
        ..PLAIN
    };
    const ADOPTING: Facts = Facts {
        adopt_unfinished: true,
        ..PLAIN
    };

    #[test]
    fn cleanup_after_success_removes_the_checkpoint_and_aborts_nothing() {
        for active in [None, NEW, NEW_SAVED, RESUMED, FOUND] {
            for facts in [PLAIN, WITH_CHECKPOINT, ADOPTING] {
                let cleanup = decide(&Facts {
                    outcome: Outcome::ObjectCreated,
                    active,
                    ..facts
                });
                assert_eq!(cleanup.checkpoint, Local::Remove);
                assert_eq!((cleanup.active, cleanup.superseded), (KEEP, KEEP));
            }
        }
    }

    #[test]
    fn cleanup_aborts_a_superseded_upload_that_no_checkpoint_names() {
        for (outcome, delete_on_cancel, checkpoint, remote) in [
            (Outcome::Failed, true, Local::Keep, ABORT),
            (Outcome::Cancelled, true, Local::Remove, ABORT_SHORTLY),
            (Outcome::Cancelled, false, Local::Keep, ABORT_SHORTLY),
            (Outcome::ObjectCreated, true, Local::Remove, ABORT),
        ] {
            let cleanup = decide(&Facts {
                outcome,
                delete_on_cancel,
                has_superseded: true,
                ..PLAIN
            });
            let decided = (cleanup.checkpoint, cleanup.superseded);
            assert_eq!(decided, (checkpoint, remote), "{outcome:?}");
        }
    }

    #[test]
    fn cleanup_after_a_failure_keeps_what_can_be_resumed() {
        let table = [
            // options, upload of this call, checkpoint, upload on the server
            (PLAIN, None, Local::Keep, KEEP),
            (PLAIN, NEW, Local::Keep, ABORT),
            (WITH_CHECKPOINT, None, Local::Keep, KEEP),
            // Initiated, but the checkpoint could not be written.
            (WITH_CHECKPOINT, NEW, Local::Keep, ABORT),
            (WITH_CHECKPOINT, NEW_SAVED, Local::Flush, KEEP),
            (WITH_CHECKPOINT, RESUMED, Local::Flush, KEEP),
            (ADOPTING, NEW, Local::Flush, KEEP),
            (ADOPTING, FOUND, Local::Flush, KEEP),
        ];
        for (number, (facts, active, checkpoint, remote)) in table.into_iter().enumerate() {
            let cleanup = decide(&Facts { active, ..facts });
            let expected = (checkpoint, remote, KEEP);
            let decided = (cleanup.checkpoint, cleanup.active, cleanup.superseded);
            assert_eq!(decided, expected, "row {number}");
        }
    }

    #[test]
    fn cleanup_keeps_nothing_of_a_file_that_was_deleted() {
        for active in [NEW, NEW_SAVED, RESUMED] {
            let cleanup = decide(&Facts {
                active,
                is_unusable: true,
                ..WITH_CHECKPOINT
            });
            assert_eq!(cleanup.active, ABORT);
            let removes = cleanup.checkpoint == Local::Remove;
            assert_eq!(
                removes,
                active != NEW,
                "a checkpoint of another upload stays"
            );
        }
    }

    #[test]
    fn cleanup_after_a_cancel_deletes_unless_it_may_be_resumed() {
        let table = [
            // options, delete_upload_on_cancelling, upload, checkpoint, upload on the server
            (PLAIN, true, NEW, Local::Remove, ABORT_SHORTLY),
            // No call could resume it.
            (PLAIN, false, NEW, Local::Keep, ABORT_SHORTLY),
            (
                WITH_CHECKPOINT,
                true,
                NEW_SAVED,
                Local::Remove,
                ABORT_SHORTLY,
            ),
            (WITH_CHECKPOINT, false, NEW_SAVED, Local::Flush, KEEP),
            (WITH_CHECKPOINT, true, RESUMED, Local::Remove, ABORT_SHORTLY),
            (WITH_CHECKPOINT, false, RESUMED, Local::Flush, KEEP),
            (WITH_CHECKPOINT, true, None, Local::Remove, KEEP),
            (WITH_CHECKPOINT, false, None, Local::Keep, KEEP),
            (ADOPTING, true, NEW, Local::Remove, ABORT_SHORTLY),
            (ADOPTING, false, NEW, Local::Flush, KEEP),
            // Another machine may be using it.
            (ADOPTING, true, FOUND, Local::Remove, KEEP),
            (ADOPTING, false, FOUND, Local::Flush, KEEP),
        ];
        for (number, row) in table.into_iter().enumerate() {
            let (facts, delete_on_cancel, active, checkpoint, remote) = row;
            let cleanup = decide(&Facts {
                outcome: Outcome::Cancelled,
                delete_on_cancel,
                active,
                ..facts
            });
            let expected = (checkpoint, remote, KEEP);
            let decided = (cleanup.checkpoint, cleanup.active, cleanup.superseded);
            assert_eq!(decided, expected, "row {number}");
        }
    }

    #[test]
    fn cleanup_of_a_superseded_upload_is_left_to_the_next_call_unless_cancelled() {
        let superseded = Facts {
            has_superseded: true,
            ..WITH_CHECKPOINT
        };
        let cancelled = Facts {
            outcome: Outcome::Cancelled,
            ..superseded
        };
        let keeping = Facts {
            delete_on_cancel: false,
            ..cancelled
        };
        for (facts, checkpoint, remote) in [
            (superseded, Local::Keep, KEEP),
            (cancelled, Local::Remove, ABORT_SHORTLY),
            (keeping, Local::Keep, KEEP),
        ] {
            let cleanup = decide(&facts);
            assert_eq!(
                (cleanup.checkpoint, cleanup.superseded),
                (checkpoint, remote)
            );
        }
    }
}

//! The 54 defects that were found in the resumable uploads of the official SDKs, and what keeps
//! each of them out of this crate: a test below this module, a test elsewhere (with its module), or
//! the design.
//!
//! Covered by tests of this module:
//!
//! - C#: a checkpoint is found by bucket and key only, so it resumes another file, and the whole
//!   object is not compared: `checkpoint_of_another_file_restarts`,
//!   `resume_of_all_parts_compares_object_crc64`.
//! - Go 1: bucket and key of a checkpoint are not compared, so the old object is completed instead:
//!   `checkpoint_of_another_bucket_restarts`, `resume::resume_with_another_key_restarts`.
//! - Android: a short read of a Uri is padded with zeros: `source_short_read_is_never_padded`.
//! - iOS: a part whose response is 409 is omitted from the object:
//!   `part_rejected_with_409_fails_upload`.
//! - C: part numbers of a checkpoint are unchecked array indices, and missing nodes are null
//!   pointers: `checkpoint_part_numbers_are_validated`, `checkpoint_without_a_line_is_damaged`.
//! - Java, Go 1, Python: completion is reported before the object is complete:
//!   `progress_completed_comes_after_object_exists`.
//! - Go 1: with a callback nothing is resumed, or the SDK crashes: `callback_upload_resumes`.
//! - Go 1: workers that fail block forever, and the abort overtakes parts in flight:
//!   `abort_waits_for_parts_in_flight`, `cancel::worker_threads_end_before_call_returns`.
//! - Go 1: 10,000 whole parts and empty files are rejected, and a checkpoint that cannot be written
//!   is no error: `plan_accepts_exactly_ten_thousand_parts`,
//!   `upload::put_object_is_used_for_up_to_one_part`,
//!   `checkpoint::checkpoint_store_error_fails_upload_until_object_is_complete`.
//! - Go 2: with nothing left to send, the CRC-64 is reported as wrong after the object was
//!   completed: `resume_with_nothing_left_to_send_is_no_crc64_mismatch`.
//! - Go 2: the mtime is saved in the local time zone, and the parts are not saved at all:
//!   `checkpoint_mtime_is_independent_of_time_zone`,
//!   `resume::resume_resends_part_that_changed_on_server`.
//! - Python: all headers are sent with ListParts, and a checkpoint that was removed is an exception
//!   at the end: `checkpoint_removed_before_complete_is_no_error`,
//!   `options::options_send_headers_only_where_they_belong`.
//! - JavaScript: all parts in flight share one retry counter:
//!   `retry_attempts_are_counted_per_part`.
//! - C#: files stay open, more than 64 threads throw an exception, and permanent errors are
//!   retried: `source_is_closed_after_a_hundred_workers`,
//!   `http::error_response_is_reported_in_full_and_not_retried`.
//! - C#: the upload id of a checkpoint that is damaged further down is used:
//!   `checkpoint_that_is_damaged_is_not_used_at_all`.
//! - Android: an MD5 of the file is computed before each start, each thread holds a part in memory,
//!   and checkpoint names collide: `source_is_read_once`, `source_part_is_never_held_in_memory`,
//!   `checkpoint_dir_names_do_not_collide`.
//! - iOS: a checkpoint is overwritten and keeps the end of a longer one, and after a restart abort
//!   has no upload id: `checkpoint_that_gets_shorter_has_no_old_tail`,
//!   `unfinished_uploads::unfinished_uploads_are_listed_and_aborted_whatever_their_keys`,
//!   `cancel::cancel_before_start_applies_checkpoint_policy`.
//! - C++: the part size of a checkpoint is used before it is validated, which divides by zero:
//!   `checkpoint_part_size_never_replaces_the_argument`.
//! - C++: a checkpoint is written in place and unchecked, times are whole seconds, and a CRC-64 of
//!   0 counts as none: `checkpoint_mtime_has_subsecond_precision`, `crc64_of_zero_is_compared`,
//!   `faults::checkpoint_temporary_path_blocked_by_directory_stops_upload`.
//! - Ruby: after resuming, an MD5 of the whole file is computed for each part:
//!   `source_of_resumed_parts_is_read_at_most_once`.
//!
//! Covered by other tests:
//!
//! - JavaScript: a file that was edited between two calls yields a mixed object:
//!   `sdk_parity::source_change_between_tries_restarts`.
//! - C, Python: 203 CallbackFailed counts as success:
//!   `callback::callback_failure_reports_the_uploaded_object`.
//! - Python: the callback and forbid-overwrite are lost in multipart uploads:
//!   `callback::callback_is_called_and_its_response_is_returned`,
//!   `options::options_send_headers_only_where_they_belong`.
//! - C#: the callback variables are not sent with CompleteMultipartUpload:
//!   `callback::callback_is_called_and_its_response_is_returned`.
//! - C: the checkpoint is removed after CompleteMultipartUpload even if that failed:
//!   `sdk_parity::c_resumable_upload_file_keeps_checkpoint_if_complete_fails`.
//! - Java: an upload that has expired fails in every run:
//!   `resume::resume_of_expired_upload_restarts`.
//! - Java: key, bucket and part size of a checkpoint are not compared:
//!   `resume::resume_with_another_key_restarts`,
//!   `resume::resume_with_any_difference_restarts_and_aborts_old_upload`,
//!   `checkpoint_of_another_bucket_restarts`.
//! - Java, Go 1, C#, C, Ruby: the whole checkpoint is rewritten in place for every part:
//!   `checkpoint::checkpoint_is_saved_by_time_not_by_part`,
//!   `faults::checkpoint_temporary_path_blocked_by_directory_stops_upload`.
//! - Java, Python, C++, C#: after a part has failed, the others are still sent:
//!   `faults::part_failure_starts_no_further_part_and_loses_none`.
//! - Java: a part size of 0 divides by zero, and the number of threads is not checked:
//!   `validation::validation_rejects_part_sizes_outside_100_kib_to_5_gib`,
//!   `validation::validation_rejects_routines_outside_1_to_100`.
//! - Java: a request is signed once, so no retry uses the corrected clock:
//!   `http::clock_jump_during_upload_costs_one_request`, `http::clock_skew_costs_one_request`.
//! - Go 1: Checkpoint(true, "") saves no checkpoint: `sdk_parity::go_upload_file_resumes`.
//! - Go 1: a part whose response is 404 fails in every run:
//!   `resume::restart_after_expiry_during_upload_happens_once`,
//!   `faults::restart_happens_once_per_call`.
//! - Go 2: checkpoints are saved one directory above the one given:
//!   `resume::checkpoint_dir_holds_checkpoints_of_many_uploads`.
//! - Go 2, Python 2: the traffic limit is not sent with the parts:
//!   `options::options_send_headers_only_where_they_belong`.
//! - Go 2: with a callback there is no ETag, and the response of the application is dropped:
//!   `callback::callback_is_called_and_its_response_is_returned`.
//! - Go 2: any error of ListParts discards the upload:
//!   `resume::resume_keeps_upload_if_listing_fails`,
//!   `resume::resume_without_list_permission_trusts_checkpoint`,
//!   `cancel::cancel_interrupts_resume`.
//! - Python: an empty file with a threshold of 0 divides by zero, from then on in every run:
//!   `options::multipart_threshold_decides_on_put_object`.
//! - Python: parts on the server are identified by number alone, whatever their size and content:
//!   `resume::resume_resends_part_that_changed_on_server`,
//!   `unfinished_uploads::adopt_rejects_parts_of_another_size`,
//!   `unfinished_uploads::adopt_rejects_parts_with_other_content`.
//! - Python: one ListParts is sent for each part: `resume::resume_reads_many_pages_of_parts`.
//! - Python: a part that was corrupted in transit is resumed by the next run:
//!   `resume::resume_resends_part_that_is_corrupt_on_server`.
//! - All but Ruby: a file that is edited during the upload yields a mixed object:
//!   `faults::source_change_during_upload_makes_no_object`.
//! - JavaScript: cancelling one upload stops all uploads of its client, until the next one starts:
//!   `cancel::cancel_leaves_other_uploads_of_client_running`,
//!   `cancel::cancel_before_start_sends_nothing`.
//! - JavaScript: a security token is refreshed at intervals unrelated to its expiry, and never by
//!   the first call: `credentials::credentials_provider_is_called_before_every_request`,
//!   `credentials::credentials_expiring_during_upload_are_refreshed`.
//! - C#: NoSuchUpload persists, because the checkpoint stays:
//!   `resume::resume_of_expired_upload_restarts`.
//! - Android: after a crash the CRC-64 of the parts is 0, which is an error once the object is
//!   complete: `crash::crash_at_every_request_resumes`.
//! - iOS: any network error aborts the upload and removes the checkpoint:
//!   `resume::resume_verifies_parts_that_only_the_server_knows`,
//!   `faults::sweep_broken_connections`.
//! - iOS: the checkpoint is removed before the CRC-64 of the object is compared, and 5xx is not
//!   retried: `resume_of_all_parts_compares_object_crc64`, `faults::sweep_wrong_checksums`,
//!   `faults::sweep_transient_statuses`.
//! - C: there is no minimum part size; bucket, key and path are not compared; parts are sent
//!   without headers: `validation::validation_rejects_part_sizes_outside_100_kib_to_5_gib`,
//!   `resume::resume_with_another_key_restarts`,
//!   `checkpoint::checkpoint_moved_with_its_file_restarts`,
//!   `options::options_send_headers_only_where_they_belong`.
//! - Ruby: a file that was edited is noticed too late, and then in every run:
//!   `faults::source_change_between_calls_restarts`.
//! - Ruby: a crash while the checkpoint is written leaves one that only the user can remove:
//!   `checkpoint::checkpoint_damage_at_any_byte_restarts_or_is_rejected`,
//!   `checkpoint::checkpoint_temporary_file_of_a_crash_is_removed`,
//!   `faults::checkpoint_temporary_path_blocked_by_directory_stops_upload`.
//! - Ruby: a part size that is rounded down yields 10,001 parts:
//!   `validation::validation_rejects_more_than_ten_thousand_parts`,
//!   `sdk_parity::part_size_is_not_grown`.
//!
//! Excluded by design:
//!
//! - Java: a part is marked by one thread while another one writes the checkpoint, whose checksum
//!   is wrong then. Here only the calling thread has the checkpoint, and the checksum is that of
//!   the text that is written.
//! - Android: the wake-up is lost if the last part ends, or the upload is cancelled, at the wrong
//!   moment. Here work ends when a channel is disconnected, which cannot be missed, and a thread
//!   that sleeps checks for cancelling under a lock; that cancelling wakes it is tested by
//!   `cancel::cancel_interrupts_stall_and_backoff`.

mod checkpoint;
mod source;
mod upload;

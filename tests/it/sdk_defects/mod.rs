//! The 54 defects that were found in the resumable uploads of the official SDKs, and what keeps each of them out of
//! here: a test below this module, a test that stands elsewhere, or the way things are built.

mod course;
mod file;
mod record;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What an SDK gets wrong, and the tests that would fail if we did: `module::test`, or a test of this module.
type Row = (&'static str, &'static [&'static str]);

/// Those that have a test of their own here.
const HERE: [Row; 20] = [
    (
        "C#: a record keyed by bucket and key only resumes another file, and nothing compares the whole object",
        &[
            "checkpoint_of_another_file_resumes_none_of_its_parts",
            "the_whole_object_is_compared_when_all_parts_were_resumed",
        ],
    ),
    (
        "Go 1: bucket and key of a record are not compared, so the old object is completed instead",
        &[
            "another_bucket_with_the_same_record_gets_its_own_object",
            "resume::another_key_with_the_same_record_starts_over",
        ],
    ),
    (
        "Android: a short read of a Uri goes up with a tail of zeros",
        &["a_short_read_is_never_filled_up"],
    ),
    (
        "iOS: a part that is answered with 409 is left out of the object",
        &["a_part_that_is_refused_with_409_is_a_failure"],
    ),
    (
        "C: part numbers of a record are array indices that nobody checks, and missing nodes are null pointers",
        &[
            "part_numbers_of_a_record_are_checked",
            "a_record_that_lacks_a_line_is_a_damaged_one",
        ],
    ),
    (
        "Java, Go 1, Python: the end is told before the object is complete",
        &["completed_is_told_when_the_object_is_there_and_not_before"],
    ),
    (
        "Go 1: with a callback nothing is ever resumed, or it crashes",
        &["an_upload_with_a_callback_resumes"],
    ),
    (
        "Go 1: workers that fail block for ever, and the abort overtakes parts in flight",
        &[
            "an_upload_is_aborted_when_its_last_part_was_answered",
            "cancel::no_thread_outlives_a_call",
        ],
    ),
    (
        "Go 1: 10,000 whole parts and empty files are refused, and a record that can't be written is no error",
        &[
            "ten_thousand_whole_parts_are_taken",
            "upload::an_empty_file_and_a_file_of_one_part_are_one_request",
            "checkpoint::a_record_that_fails_is_a_failure_until_the_object_is_complete",
        ],
    ),
    (
        "Go 2: with nothing left to send the CRC-64 counts as wrong after the object was completed",
        &["nothing_left_to_send_is_no_mismatch"],
    ),
    (
        "Go 2: a file's time is recorded in the local time zone, and its parts not at all",
        &[
            "the_record_knows_an_instant_and_no_time_zone",
            "resume::a_part_that_changed_on_the_server_is_sent_again",
        ],
    ),
    (
        "Python: all headers go with ListParts, and a record that has vanished is an exception at the end",
        &[
            "a_record_that_vanished_is_no_error_at_the_end",
            "options::every_header_goes_where_it_belongs_and_nowhere_else",
        ],
    ),
    (
        "JavaScript: all parts in flight share one counter of retries",
        &["each_part_has_its_own_attempts"],
    ),
    (
        "C#: files stay open, more than 64 threads throw, and refusals are tried again",
        &[
            "a_hundred_workers_run_and_no_file_stays_open",
            "wire::a_refusal_is_told_in_full_and_not_repeated",
        ],
    ),
    (
        "C#: the upload id of a record that is damaged further down is used",
        &["nothing_of_a_damaged_record_is_used"],
    ),
    (
        "Android: an MD5 of the file before each start, a part in memory for each thread, names that run together",
        &[
            "a_file_is_read_once",
            "a_part_is_never_held_in_memory",
            "names_that_run_together_do_not_meet",
        ],
    ),
    (
        "iOS: a record is overwritten and keeps the end of a longer one; abort after a restart knows no upload id",
        &[
            "a_record_that_gets_shorter_is_whole",
            "housekeeping::unfinished_uploads_are_listed_and_aborted_whatever_their_keys",
            "cancel::a_token_that_is_cancelled_already_still_decides_about_the_record",
        ],
    ),
    (
        "C++: the part size of a record counts before it is validated, and 0 is divided by",
        &["the_part_size_is_the_calls_and_never_the_records"],
    ),
    (
        "C++: a record is written in place and unchecked, times are whole seconds, a CRC-64 of 0 is none",
        &[
            "an_edit_within_the_same_second_is_found",
            "a_crc_of_zero_is_compared_too",
            "faults::a_directory_in_the_way_of_the_next_record_stops_the_upload",
        ],
    ),
    (
        "Ruby: after resuming, an MD5 of the whole file for each part",
        &["what_was_resumed_is_read_once_at_most"],
    ),
];

/// Those that other tests keep out already.
const ELSEWHERE: [Row; 32] = [
    (
        "JavaScript: a file that was edited between two tries gives a mixed object",
        &["coming_from::a_file_that_changed_between_two_tries_starts_over"],
    ),
    (
        "C, Python: 203 CallbackFailed is a success",
        &["callback::a_failed_callback_is_not_a_failed_upload"],
    ),
    (
        "Python: the callback and forbid-overwrite are lost when a file goes up in parts",
        &[
            "callback::the_application_hears_of_the_object_and_its_answer_comes_back",
            "options::every_header_goes_where_it_belongs_and_nowhere_else",
        ],
    ),
    (
        "C#: the callback's variables are not sent with Complete",
        &["callback::the_application_hears_of_the_object_and_its_answer_comes_back"],
    ),
    (
        "C: the record goes after Complete, even when that failed",
        &["coming_from::c"],
    ),
    (
        "Java: an upload that OSS does not know any more fails in every run",
        &["resume::an_upload_that_expired_starts_over_once_by_itself"],
    ),
    (
        "Java: key, bucket and part size of a record are not compared",
        &[
            "resume::another_key_with_the_same_record_starts_over",
            "resume::whatever_differs_starts_over_and_deletes_the_old_upload",
            "another_bucket_with_the_same_record_gets_its_own_object",
        ],
    ),
    (
        "Java, Go 1, C#, C, Ruby: the whole record is rewritten in place for every part",
        &[
            "checkpoint::few_saves_for_many_parts",
            "faults::a_directory_in_the_way_of_the_next_record_stops_the_upload",
        ],
    ),
    (
        "Java, Python, C++, C#: after a part has failed the others are still sent",
        &["faults::after_a_failure_no_part_begins_and_none_is_lost"],
    ),
    (
        "Java: a part size of 0 is divided by, and the number of threads is not checked",
        &[
            "refused::part_sizes_outside_100_kib_to_5_gib",
            "refused::routines_outside_1_to_100",
        ],
    ),
    (
        "Java: a request is signed once, and no attempt profits from the corrected clock",
        &[
            "wire::a_clock_that_jumps_half_way_costs_one_request",
            "wire::a_wrong_clock_costs_one_request",
        ],
    ),
    (
        "Go 1: Checkpoint(true, \"\") keeps no record",
        &["coming_from::go"],
    ),
    (
        "Go 1: a part that is answered with 404 fails in every run",
        &[
            "resume::an_upload_that_expires_in_the_middle_starts_over_once_by_itself",
            "faults::starting_over_happens_once_in_a_call",
        ],
    ),
    (
        "Go 2: records lie one directory above",
        &["resume::a_directory_holds_the_records_of_many_uploads"],
    ),
    (
        "Go 2, Python 2: the traffic limit does not go with the parts",
        &["options::every_header_goes_where_it_belongs_and_nowhere_else"],
    ),
    (
        "Go 2: with a callback there is no ETag, and the application's answer is dropped",
        &["callback::the_application_hears_of_the_object_and_its_answer_comes_back"],
    ),
    (
        "Go 2: whatever goes wrong with ListParts throws the upload away",
        &[
            "resume::any_other_trouble_with_listing_keeps_the_upload",
            "resume::without_the_right_to_list_the_record_is_trusted",
            "cancel::a_call_that_resumes_is_left_at_once",
        ],
    ),
    (
        "Python: an empty file with a threshold of 0 is divided by, from then on in every run",
        &["options::files_below_the_threshold_are_one_request"],
    ),
    (
        "Python: parts on the server are known by their numbers alone, whatever their size and content",
        &[
            "resume::a_part_that_changed_on_the_server_is_sent_again",
            "housekeeping::parts_of_another_size_are_not_taken_over",
            "housekeeping::a_part_with_other_content_is_not_taken_over",
        ],
    ),
    (
        "Python: one ListParts for each part",
        &["resume::many_pages_of_parts_are_read"],
    ),
    (
        "Python: a part that was corrupted on its way is taken over by the next run",
        &["resume::a_part_that_the_server_holds_broken_is_sent_again"],
    ),
    (
        "All but Ruby: a file that is edited while it goes up gives a mixed object",
        &["faults::no_object_is_made_of_a_file_that_changes_on_the_way"],
    ),
    (
        "JavaScript: cancelling one upload stops all of its client, and the next one lifts it",
        &[
            "cancel::another_upload_of_the_same_client_goes_on",
            "cancel::a_token_that_is_cancelled_already_sends_nothing",
        ],
    ),
    (
        "JavaScript: a security token is renewed every so often, whenever it expires, and never by the first call",
        &[
            "credentials::a_provider_is_asked_before_every_request",
            "credentials::a_token_that_expires_half_way_is_renewed_and_the_upload_goes_on",
        ],
    ),
    (
        "C#: NoSuchUpload never ends, since the record stays",
        &["resume::an_upload_that_expired_starts_over_once_by_itself"],
    ),
    (
        "Android: after a crash the CRC-64 of the parts is 0, an error once the object is complete",
        &["crash::killed_at_every_request"],
    ),
    (
        "iOS: any network error aborts the upload and removes the record",
        &[
            "resume::a_part_that_only_the_server_knows_is_proven_by_its_content",
            "faults::connections_that_break",
        ],
    ),
    (
        "iOS: the record goes before the CRC-64 of the object is compared, and 5xx is not tried again",
        &[
            "the_whole_object_is_compared_when_all_parts_were_resumed",
            "faults::answers_that_are_not_true",
            "faults::servers_in_trouble",
        ],
    ),
    (
        "C: no smallest part size; bucket, object and path are not compared; parts go without headers",
        &[
            "refused::part_sizes_outside_100_kib_to_5_gib",
            "resume::another_key_with_the_same_record_starts_over",
            "checkpoint::checkpoint_moved_with_its_file_resumes",
            "options::every_header_goes_where_it_belongs_and_nowhere_else",
        ],
    ),
    (
        "Ruby: a file that was edited is noticed too late, and then for good",
        &["faults::an_edit_between_two_calls_is_in_the_object"],
    ),
    (
        "Ruby: a crash while the record is written leaves one that only the user can remove",
        &[
            "checkpoint::every_damage_leads_to_the_right_object_or_a_clear_refusal",
            "checkpoint::what_a_crash_left_is_cleared_away",
            "faults::a_directory_in_the_way_of_the_next_record_stops_the_upload",
        ],
    ),
    (
        "Ruby: a part size that is rounded down makes 10,001 parts",
        &[
            "refused::more_than_ten_thousand_parts",
            "coming_from::a_part_size_is_not_grown",
        ],
    ),
];

/// Those that can't be, and why.
const NOT_HERE: [(&str, &str); 2] = [
    (
        "Java: a part is marked by one thread while another writes the record, whose checksum then does not fit",
        "only the calling thread has the record, and the checksum is made of the very text that is written",
    ),
    (
        "Android: the wake-up is lost when the last part ends, or a cancel comes, at the wrong moment",
        "work ends when a channel is disconnected, which can't be missed, and what sleeps looks at its switch under \
         the switch's lock; that a cancel wakes it is in cancel::silence_and_sleep_are_left_at_once",
    ),
];

/// The names of the tests of a module: of one file, or of all below a directory.
fn tests_of(module: &str) -> BTreeSet<String> {
    fn visit(path: &Path, tests: &mut BTreeSet<String>) {
        if path.is_dir() {
            fs::read_dir(path)
                .unwrap()
                .for_each(|entry| visit(&entry.unwrap().path(), tests));
        } else if let Ok(text) = fs::read_to_string(path) {
            let after = text.split("#[test]\n").skip(1);
            let names = after.filter_map(|after| after.split_once("fn ")?.1.split_once("()"));
            tests.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    let mut tests = BTreeSet::new();
    let place = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(module);
    [place.with_extension("rs"), place]
        .iter()
        .for_each(|path| visit(path, &mut tests));
    tests
}

#[test]
fn every_test_that_is_named_exists() {
    let tested = HERE.iter().chain(&ELSEWHERE);
    assert!(tested.clone().all(|(_, tests)| !tests.is_empty()));
    let reasons = NOT_HERE
        .iter()
        .flat_map(|(_, why)| why.split(' ').filter(|word| word.contains("::")));
    for test in tested
        .flat_map(|(_, tests)| tests.iter().copied())
        .chain(reasons)
    {
        let (module, name) = test.split_once("::").unwrap_or(("sdk_defects", test));
        assert!(tests_of(module).contains(name), "there is no test {test}");
    }
}

#[test]
fn all_54_defects_are_accounted_for() {
    let tested = HERE.iter().chain(&ELSEWHERE).map(|(defect, _)| *defect);
    let all: Vec<_> = tested
        .chain(NOT_HERE.iter().map(|(defect, _)| *defect))
        .collect();
    assert_eq!(all.len(), 54);
    assert_eq!(BTreeSet::from_iter(&all).len(), 54, "one is there twice");
    let own: BTreeSet<_> = HERE
        .iter()
        .flat_map(|(_, tests)| *tests)
        .filter(|test| !test.contains("::"))
        .map(|test| test.to_string())
        .collect();
    let mut there = tests_of("sdk_defects");
    there.retain(|test| {
        ![
            "every_test_that_is_named_exists",
            "all_54_defects_are_accounted_for",
        ]
        .contains(&&**test)
    });
    assert_eq!(
        there, own,
        "the tests of this module are those of the table"
    );
}

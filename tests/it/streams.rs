//! Uploads of streams: readers whose length nobody knows.

use std::cell::RefCell;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use local_oss::{Fault, LocalOss, Operation};
use oss_upload::{
    Bucket, CancelToken, Client, Credentials, Error, Progress, ProgressEvent, RestartReason,
    UploadOption, Uploaded, adopt_unfinished, bandwidth_limit, cancel, checkpoint, checkpoint_dir,
    checkpoint_store, content_md5, delete_upload_on_cancelling, multipart_threshold, progress,
    routines, sequential, skip_unchanged,
};

use crate::harness::{Harness, MemoryStore, PART, access_denied, content, service_unavailable};

fn upload<'a>(
    t: &Harness,
    reader: impl Read + Send,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    t.bucket.upload_reader("o", reader, PART, options)
}

#[track_caller]
fn assert_stored(t: &Harness, bytes: &[u8]) {
    let object = t.server.object("examplebucket", "o");
    assert!(
        object.expect("there is no object").bytes == bytes,
        "the object is not the stream"
    );
}

#[track_caller]
fn assert_not_completed(t: &Harness) {
    assert!(t.server.object("examplebucket", "o").is_none());
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 0);
    assert_eq!(t.requests(Operation::PutObject).len(), 0);
}

/// Gives these bytes, then does as told.
struct Then<F>(Cursor<Vec<u8>>, F);

impl<F: FnMut() -> io::Result<usize>> Then<F> {
    fn new(bytes: &[u8], then: F) -> Then<F> {
        Then(Cursor::new(bytes.to_vec()), then)
    }
}

impl<F: FnMut() -> io::Result<usize>> Read for Then<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => (self.1)(),
            read => Ok(read),
        }
    }
}

/// Gives a few bytes at a time, and is interrupted before each of them.
struct Dripping {
    bytes: Cursor<Vec<u8>>,
    most: usize,
    interrupted: bool,
}

impl Dripping {
    fn new(bytes: &[u8], most: usize) -> Dripping {
        Dripping {
            bytes: Cursor::new(bytes.to_vec()),
            most,
            interrupted: false,
        }
    }
}

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let most = self.most.min(buffer.len());
        self.bytes.read(&mut buffer[..most])
    }
}

/// Uploads until the third part is refused, with a checkpoint in the store.
#[track_caller]
fn interrupt(t: &Harness, bytes: &[u8], store: &mut MemoryStore) {
    t.inject_part(3, access_denied());
    let error = upload(t, bytes, [checkpoint_store(store)]).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(t.server.uploads()[0].parts.len(), 2);
    t.server.clear_requests();
}

#[test]
fn stream_that_ends_within_the_first_part_is_one_put_object() {
    for size in [0, 1, PART - 1, PART] {
        let t = Harness::new();
        let bytes = content("s", size);
        let seen = RefCell::new(Vec::new());
        let options = [
            checkpoint(true, t.path("cp")),
            progress(|p: &Progress| {
                seen.borrow_mut().push((p.event, p.transferred, p.total));
            }),
        ];
        let uploaded = upload(&t, &bytes[..], options).unwrap();
        assert_stored(&t, &bytes);
        assert_eq!(t.server.requests().len(), 1, "{size}");
        assert_eq!(t.requests(Operation::PutObject).len(), 1, "{size}");
        let sizes = (uploaded.size, uploaded.bytes_sent, uploaded.parts);
        assert_eq!(sizes, (size, size, 1));
        assert_eq!(uploaded.upload_id, None);
        let seen = seen.into_inner();
        assert_eq!(seen[0], (ProgressEvent::Started, 0, size));
        assert_eq!(seen.last(), Some(&(ProgressEvent::Completed, size, size)));
        t.assert_nothing_left(&[]);
    }
}

#[test]
fn stream_is_uploaded_in_parts() {
    for (size, parts) in [
        (PART + 1, 2),
        (5 * PART, 5),
        (5 * PART + 7, 6),
        (40 * PART, 40),
    ] {
        for n in [1, 4] {
            let t = Harness::new();
            let bytes = content("s", size);
            let cp = checkpoint(true, t.path("cp"));
            let uploaded = upload(&t, &bytes[..], [routines(n), cp]).unwrap();
            assert_stored(&t, &bytes);
            assert_eq!(t.parts_sent(), Vec::from_iter(1..=parts));
            assert_eq!(uploaded.parts, parts as usize);
            assert_eq!((uploaded.size, uploaded.bytes_sent), (size, size));
            let object = t.server.object("examplebucket", "o").unwrap();
            assert_eq!(uploaded.crc64, Some(object.crc64));
            t.assert_nothing_left(&[]);
        }
    }
}

#[test]
fn stream_of_short_and_interrupted_reads_is_read_into_full_parts() {
    for most in [1, 77, 70_000] {
        let t = Harness::new();
        let bytes = content("s", 2 * PART + 5);
        upload(&t, Dripping::new(&bytes, most), [routines(2)]).unwrap();
        assert_stored(&t, &bytes);
        assert_eq!(t.parts_sent(), [1, 2, 3]);
    }
}

#[test]
fn stream_has_the_content_type_of_the_key() {
    let t = Harness::new();
    for size in [10, PART + 1] {
        let bytes = content("s", size);
        t.bucket
            .upload_reader("x.tar", &bytes[..], PART, [])
            .unwrap();
        let object = t.server.object("examplebucket", "x.tar").unwrap();
        let content_type = ("content-type".to_owned(), "application/x-tar".to_owned());
        assert!(
            object.headers.contains(&content_type),
            "{:?}",
            object.headers
        );
    }
}

#[test]
fn stream_progress_grows_with_what_is_read() {
    let t = Harness::new();
    let bytes = content("s", 6 * PART + 1);
    let seen = RefCell::new(Vec::new());
    let look = progress(|p: &Progress| seen.borrow_mut().push(p.clone()));
    upload(&t, &bytes[..], [routines(2), look]).unwrap();
    let seen = seen.into_inner();
    assert_eq!(seen[0].event, ProgressEvent::Started);
    assert_eq!((seen[0].total, seen[0].parts_total), (PART, 1));
    for pair in seen.windows(2) {
        assert!(pair[0].total <= pair[1].total);
        assert!(pair[0].transferred <= pair[1].transferred);
    }
    for p in &seen {
        assert!(
            p.transferred <= p.total && p.parts_done <= p.parts_total,
            "{p:?}"
        );
    }
    let last = seen.last().unwrap();
    assert_eq!(last.event, ProgressEvent::Completed);
    assert_eq!((last.transferred, last.total), (6 * PART + 1, 6 * PART + 1));
    assert_eq!((last.parts_done, last.parts_total), (7, 7));
}

/// A retry reads the part from memory again.
#[test]
fn stream_parts_are_retried() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    t.inject_part(1, Fault::ResetMidBody);
    t.inject_part(2, Fault::CorruptBody);
    t.inject_part(3, service_unavailable());
    t.inject_part(4, Fault::ResetAfterApply);
    let options = [routines(2), content_md5(true), bandwidth_limit(100 << 20)];
    upload(&t, &bytes[..], options).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [1, 1, 2, 2, 3, 3, 4, 4]);
    let parts = t.requests(Operation::UploadPart);
    assert!(
        parts
            .iter()
            .all(|part| part.header("content-md5").is_some())
    );
}

#[test]
fn stream_that_ends_at_once_after_a_full_part_sends_no_empty_part() {
    let t = Harness::new();
    let bytes = content("s", 2 * PART);
    let mut ends = 0;
    let reader = Then::new(&bytes, || {
        ends += 1;
        Ok(0)
    });
    upload(&t, reader, []).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(ends, 1, "read again after its end");
}

#[test]
fn stream_resumes_and_sends_only_what_is_missing() {
    for at in ["path", "dir", "store"] {
        let t = Harness::new();
        let bytes = content("s", 4 * PART + 9);
        let mut store = MemoryStore::default();
        let mut upload_again = || {
            let option = match at {
                "path" => checkpoint(true, t.path("cp")),
                "dir" => checkpoint_dir(true, t.path("dir")),
                _ => checkpoint_store(&mut store),
            };
            upload(&t, &bytes[..], [option, routines(1)])
        };
        t.inject_part(4, access_denied());
        upload_again().unwrap_err();
        t.server.clear_requests();
        let uploaded = upload_again().unwrap();
        assert_stored(&t, &bytes);
        assert_eq!(t.parts_sent(), [4, 5], "{at}");
        assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 0);
        assert_eq!((uploaded.parts, uploaded.parts_resumed), (5, 3));
        assert_eq!(
            (uploaded.size, uploaded.bytes_sent),
            (4 * PART + 9, PART + 9)
        );
        assert_eq!(t.server.uploads().len(), 0);
        assert!(store.text.is_none());
    }
}

#[test]
fn stream_that_adopts_an_upload_sends_only_what_is_missing() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    t.inject_part(3, access_denied());
    upload(&t, &bytes[..], [adopt_unfinished(true)]).unwrap_err();
    t.server.clear_requests();
    let uploaded = upload(&t, &bytes[..], [adopt_unfinished(true)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [3, 4]);
    assert_eq!(uploaded.parts_resumed, 2);
    t.assert_nothing_left(&[]);
}

/// Whatever was sent before, the object is what the reader gives now.
#[test]
fn stream_that_differs_replaces_the_parts_that_differ() {
    let first = content("s", 6 * PART);
    let mut changed = first.clone();
    changed[PART as usize] ^= 1;
    let mut longer = first.clone();
    longer.extend_from_slice(b"more");
    // What is in the stream, which parts are sent, and how many are resumed.
    let cases: [(&[u8], &[u32], usize); 5] = [
        (&changed, &[2, 5, 6], 3),
        (&longer, &[5, 6, 7], 4),
        // The third part ends early. OSS has the fourth, which is not part of the object.
        (&first[..3 * PART as usize - 1], &[3], 2),
        (&first[..2 * PART as usize], &[], 2),
        // One part is one PutObject.
        (&first[..PART as usize], &[], 0),
    ];
    for (number, (bytes, sent, resumed)) in cases.into_iter().enumerate() {
        let t = Harness::new();
        let mut store = MemoryStore::default();
        t.inject_part(5, access_denied());
        upload(&t, &first[..], [checkpoint_store(&mut store)]).unwrap_err();
        t.server.clear_requests();
        let uploaded = upload(&t, bytes, [checkpoint_store(&mut store)]).unwrap();
        assert_stored(&t, bytes);
        assert_eq!(t.parts_sent(), sent, "case {number}");
        assert_eq!(uploaded.parts_resumed, resumed, "case {number}");
        assert_eq!(uploaded.size, bytes.len() as u64);
        assert_eq!(t.server.uploads().len(), 0, "case {number}");
        assert!(store.text.is_none());
    }
}

#[test]
fn stream_sends_again_what_the_server_has_damaged() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    t.server.corrupt_part(&t.server.uploads()[0].upload_id, 1);
    let uploaded = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [1, 3, 4]);
    assert_eq!(uploaded.parts_resumed, 1);
}

/// Where the list has no CRC-64, the checkpoint has it.
#[test]
fn stream_resumes_without_checksums_in_the_list() {
    let server = LocalOss::builder().part_crc_in_list(false).start().unwrap();
    let t = Harness::with_server(server);
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    // Killed before it has read anything: the checkpoint goes on knowing all parts.
    let failing = Then::new(&bytes[..PART as usize + 1], || Err(io::Error::other("no")));
    upload(&t, failing, [checkpoint_store(&mut store)]).unwrap_err();
    assert_eq!(store.text.as_ref().unwrap().matches("\npart ").count(), 2);
    let uploaded = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [3, 4]);
    assert_eq!(uploaded.parts_resumed, 2);
}

/// The checkpoint alone is enough if the parts may not be listed.
#[test]
fn stream_resumes_without_the_permission_to_list_parts() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    t.deny_always(Operation::ListParts);
    let uploaded = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [3, 4]);
    assert_eq!(uploaded.parts_resumed, 2);
}

/// What the checkpoint says and OSS no longer has cannot be completed. The next call starts from
/// the beginning.
#[test]
fn stream_whose_unlisted_parts_are_wrong_starts_over_with_the_next_call() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    t.server.corrupt_part(&t.server.uploads()[0].upload_id, 1);
    t.deny_always(Operation::ListParts);
    let error = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap_err();
    assert_eq!(error.service_code(), Some("InvalidPart"), "{error}");
    assert!(error.is_resumable());
    assert_eq!((t.server.uploads().len(), store.text.is_none()), (0, true));
    upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &bytes);
}

#[test]
fn stream_does_not_resume_other_kinds_of_sources() {
    let bytes = content("f", 4 * PART);
    let t = Harness::with_file(4 * PART);
    let mut store = MemoryStore::default();
    let first_event = |upload: &dyn Fn(UploadOption<'_>)| {
        let mut first = None;
        upload(progress(|p: &Progress| {
            first.get_or_insert(p.event);
        }));
        first.unwrap()
    };
    let restarted = ProgressEvent::Restarted(RestartReason::SourceChanged);
    t.refuse_part(2);
    t.upload([checkpoint_store(&mut store)]).unwrap_err();
    let saved = store.text.clone();
    let event = first_event(&|seen| {
        let mut store = MemoryStore {
            text: saved.clone(),
            saves: 0,
        };
        upload(&t, &bytes[..], [checkpoint_store(&mut store), seen]).unwrap();
    });
    assert_eq!(event, restarted);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    let saved = store.text.clone();
    for of_bytes in [true, false] {
        let event = first_event(&|seen| {
            let mut store = MemoryStore {
                text: saved.clone(),
                saves: 0,
            };
            let options = [checkpoint_store(&mut store), seen];
            match of_bytes {
                true => t.bucket.upload_bytes("o", &bytes, PART, options),
                false => t.upload(options),
            }
            .unwrap();
        });
        assert_eq!(event, restarted);
    }
    assert_stored(&t, &bytes);
    assert_eq!(t.server.uploads().len(), 0);
}

#[test]
fn stream_that_fails_is_never_completed() {
    let bytes = content("s", 3 * PART);
    for given in [0, 1, PART, PART + 1, 2 * PART, 3 * PART] {
        for kept in [false, true] {
            let t = Harness::new();
            let mut store = MemoryStore::default();
            let reader = Then::new(&bytes[..given as usize], || {
                Err(io::Error::new(
                    ErrorKind::ConnectionReset,
                    "the disk is on fire",
                ))
            });
            let option = kept.then(|| checkpoint_store(&mut store));
            let error = upload(&t, reader, option).unwrap_err();
            let Error::Source { path, source, .. } = &error else {
                panic!("{error}");
            };
            assert_eq!(source.kind(), ErrorKind::ConnectionReset);
            assert!(path.as_os_str().is_empty());
            assert!(error.is_resumable());
            let message = "cannot read the source: the disk is on fire";
            assert_eq!(error.to_string(), message);
            assert_not_completed(&t);
            let is_multipart = given > PART;
            let uploads = t.server.uploads().len();
            assert_eq!(uploads, usize::from(kept && is_multipart), "{given}");
            assert_eq!(store.text.is_some(), kept && is_multipart, "{given}");
            // With the rest of the stream, the same call succeeds.
            t.server.clear_requests();
            let option = kept.then(|| checkpoint_store(&mut store));
            let uploaded = upload(&t, &bytes[..], option).unwrap();
            assert_stored(&t, &bytes);
            assert_eq!(uploaded.parts_resumed + t.parts_sent().len(), 3);
            assert_eq!(t.server.uploads().len(), 0);
        }
    }
}

#[test]
fn stream_that_fails_leaves_no_file() {
    let t = Harness::new();
    let cp = t.path("cp");
    let failing = |given: u64| Then::new(&content("s", given), || Err(io::Error::other("no")));
    upload(&t, failing(PART), [checkpoint(true, &cp)]).unwrap_err();
    t.assert_nothing_left(&[]);
    upload(&t, failing(PART + 1), [checkpoint(true, &cp)]).unwrap_err();
    t.assert_files(&["cp"]);
    assert_eq!(t.server.uploads().len(), 1);
}

#[test]
fn stream_whose_reader_panics_is_cleaned_up() {
    for given in [0, PART, 2 * PART, 4 * PART + 1] {
        let t = Harness::new();
        let cp = t.path("cp");
        let bytes = content("s", given);
        let call = |option: Option<UploadOption<'static>>| {
            let reader = Then::new(&bytes, || panic!("the reader panics"));
            let options = option.into_iter().chain([routines(2)]);
            catch_unwind(AssertUnwindSafe(|| upload(&t, reader, options))).unwrap_err()
        };
        let panic = call(None);
        assert_eq!(panic.downcast_ref(), Some(&"the reader panics"));
        assert_not_completed(&t);
        t.assert_nothing_left(&[]);
        call(Some(checkpoint(true, &cp)));
        assert_not_completed(&t);
        // The lock was released.
        let whole = content("s", given);
        upload(&t, &whole[..], [checkpoint(true, &cp)]).unwrap();
        assert_stored(&t, &whole);
        t.assert_nothing_left(&[]);
    }
}

#[test]
fn stream_reader_that_claims_too_much_is_not_believed() {
    struct Liar;
    impl Read for Liar {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len() + 1)
        }
    }
    let t = Harness::new();
    let error = upload(&t, Liar, []).unwrap_err();
    assert!(error.to_string().contains("more bytes than"), "{error}");
    assert_eq!(t.server.requests().len(), 0);
}

/// A part that fails for good ends the call, though the stream has no end.
#[test]
fn stream_without_end_stops_when_a_part_fails() {
    let t = Harness::discarding();
    t.refuse_part(7);
    let error = upload(&t, io::repeat(7), [routines(3)]).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    t.assert_nothing_left(&[]);
}

#[test]
#[ignore = "slow: ten thousand parts"]
fn stream_of_more_than_ten_thousand_parts_fails() {
    for (more, fits) in [(0, true), (1, false)] {
        let t = Harness::discarding();
        let reader = io::repeat(7).take(10_000 * PART + more);
        let mut store = MemoryStore::default();
        let options = [routines(4), checkpoint_store(&mut store)];
        let result = upload(&t, reader, options);
        if fits {
            let uploaded = result.unwrap();
            assert_eq!((uploaded.parts, uploaded.size), (10_000, 10_000 * PART));
            continue;
        }
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error}");
        assert!(!error.is_resumable());
        assert_eq!(
            error.to_string(),
            "cannot read the source: it is longer than 10000 parts of 102400 bytes; \
             use a part size of 204800 bytes or more"
        );
        assert_not_completed(&t);
        // The next call, with larger parts, replaces the upload.
        let reader = io::repeat(7).take(10_000 * PART + more);
        let options = [routines(4), checkpoint_store(&mut store)];
        let uploaded = t
            .bucket
            .upload_reader("o", reader, 2 * PART, options)
            .unwrap();
        assert_eq!(uploaded.parts, 5001);
        t.assert_nothing_left(&[]);
    }
}

/// Cancels or pauses while the reader is in the middle of the stream.
#[test]
fn stream_is_cancelled_and_paused_between_two_reads() {
    for pauses in [false, true] {
        for keeps in [false, true] {
            let t = Harness::new();
            let bytes = content("s", 6 * PART);
            let mut store = MemoryStore::default();
            let token = CancelToken::new();
            let stop = token.clone();
            let server = &t.server;
            let half = bytes[..3 * PART as usize + 5].to_vec();
            let reader = Then::new(&half, || {
                wait_until(|| {
                    server
                        .uploads()
                        .first()
                        .is_some_and(|it| it.parts.len() == 3)
                });
                match pauses {
                    true => stop.pause(),
                    false => stop.cancel(),
                }
                Ok(0)
            });
            let options = [
                routines(2),
                cancel(&token),
                checkpoint_store(&mut store),
                delete_upload_on_cancelling(!keeps),
            ];
            let error = upload(&t, reader, options).unwrap_err();
            assert!(matches!(error, Error::Cancelled { .. }), "{error}");
            assert_not_completed(&t);
            let is_kept = pauses || keeps;
            assert_eq!(t.server.uploads().len(), usize::from(is_kept));
            assert_eq!(store.text.is_some(), is_kept);
            t.server.clear_requests();
            let uploaded = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
            assert_stored(&t, &bytes);
            let resumed = if is_kept { 3 } else { 0 };
            assert_eq!(uploaded.parts_resumed, resumed);
            assert_eq!(t.parts_sent().len(), 6 - resumed);
        }
    }
}

/// A cancel during the first part deletes what an earlier call has left, too.
#[test]
fn stream_that_is_cancelled_in_its_first_part_deletes_the_earlier_upload() {
    for pauses in [false, true] {
        let t = Harness::new();
        let bytes = content("s", 4 * PART);
        let mut store = MemoryStore::default();
        interrupt(&t, &bytes, &mut store);
        let token = CancelToken::new();
        let reader = Then::new(b"abc", || {
            match pauses {
                true => token.pause(),
                false => token.cancel(),
            }
            Err(ErrorKind::Interrupted.into())
        });
        let options = [checkpoint_store(&mut store), cancel(&token)];
        let error = upload(&t, reader, options).unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
        assert_eq!(t.server.uploads().len(), usize::from(pauses));
        assert_eq!(store.text.is_some(), pauses);
    }
}

/// A reader that blocks is waited for.
#[test]
fn stream_that_blocks_returns_when_its_read_returns() {
    let t = Harness::new();
    let bytes = content("s", 2 * PART);
    let token = CancelToken::new();
    let (release, blocked) = mpsc::channel::<()>();
    let (started, has_started) = mpsc::channel();
    let reader = Then::new(&bytes, move || {
        started.send(()).unwrap();
        blocked.recv().unwrap();
        Err(ErrorKind::Interrupted.into())
    });
    thread::scope(|scope| {
        let (t, call_token) = (&t, token.clone());
        let call = scope.spawn(move || upload(t, reader, [cancel(&call_token), routines(2)]));
        has_started.recv().unwrap();
        token.cancel();
        sleep(Duration::from_millis(300));
        assert!(!call.is_finished());
        release.send(()).unwrap();
        let error = call.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    });
    assert_not_completed(&t);
    t.assert_nothing_left(&[]);
}

#[test]
fn stream_progress_callback_that_panics_stops_the_reader() {
    let t = Harness::new();
    let look = progress(|p: &Progress| assert!(p.parts_done < 3, "enough"));
    let call = || upload(&t, io::repeat(7), [routines(2), look]);
    let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"enough"));
    assert_not_completed(&t);
    t.assert_nothing_left(&[]);
}

#[test]
fn stream_whose_complete_response_is_lost_is_found() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    // Also with parts of an earlier call: all of them have been read again.
    interrupt(&t, &bytes, &mut store);
    t.inject(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    let uploaded = upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &bytes);
    assert_eq!(t.requests(Operation::HeadObject).len(), 1);
    assert_eq!((uploaded.parts, uploaded.parts_resumed), (4, 2));
    t.assert_nothing_left(&[]);
}

/// The object that an earlier call has completed may be another one: it is replaced.
#[test]
fn stream_that_an_earlier_call_has_completed_is_sent_again() {
    let t = Harness::new();
    let bytes = content("s", 3 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    // Lost, and not to be found in this call.
    t.inject(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    t.inject_always(Operation::HeadObject, service_unavailable());
    upload(&t, &bytes[..], [checkpoint_store(&mut store)]).unwrap_err();
    assert!(store.text.as_ref().unwrap().contains("\ncompleting "));
    t.server.clear_faults();
    t.server.clear_requests();
    let other = content("t", 3 * PART);
    let uploaded = upload(&t, &other[..], [checkpoint_store(&mut store)]).unwrap();
    assert_stored(&t, &other);
    assert_eq!(uploaded.parts_resumed, 0);
    t.assert_nothing_left(&[]);
}

/// What has been read cannot be read again, so only the next call can start from the beginning.
#[test]
fn stream_whose_upload_disappears_starts_over_with_the_next_call() {
    for at in [1, 3] {
        let t = Harness::new();
        let bytes = content("s", 4 * PART);
        let cp = t.path("cp");
        t.inject_part(at, Fault::ExpireUpload);
        let error = upload(&t, &bytes[..], [checkpoint(true, &cp)]).unwrap_err();
        assert_eq!(error.service_code(), Some("NoSuchUpload"), "{error}");
        assert!(error.is_resumable());
        assert_not_completed(&t);
        t.assert_nothing_left(&[]);
        let uploaded = upload(&t, &bytes[..], [checkpoint(true, &cp)]).unwrap();
        assert_stored(&t, &bytes);
        assert_eq!(uploaded.parts_resumed, 0);
    }
}

#[test]
fn stream_whose_upload_has_disappeared_before_starts_anew() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    interrupt(&t, &bytes, &mut store);
    t.server.expire_upload(&t.server.uploads()[0].upload_id);
    let mut first = None;
    let seen = progress(|p: &Progress| {
        first.get_or_insert(p.event);
    });
    upload(&t, &bytes[..], [checkpoint_store(&mut store), seen]).unwrap();
    let restarted = ProgressEvent::Restarted(RestartReason::UploadNotFound);
    assert_eq!(first, Some(restarted));
    assert_stored(&t, &bytes);
}

#[test]
fn stream_in_sequential_mode_resumes_what_is_equal() {
    let t = Harness::new();
    let bytes = content("s", 4 * PART);
    let mut store = MemoryStore::default();
    let mut call =
        |bytes: &[u8]| upload(&t, bytes, [sequential(true), checkpoint_store(&mut store)]);
    t.inject_part(3, access_denied());
    call(&bytes).unwrap_err();
    t.server.clear_requests();
    assert_eq!(call(&bytes).unwrap().parts_resumed, 2);
    assert_stored(&t, &bytes);
    assert_eq!(t.parts_sent(), [3, 4]);
    // Neither a part that differs nor one that is too many can be replaced.
    let mut changed = bytes.clone();
    changed[PART as usize] ^= 1;
    let shorter = &bytes[..PART as usize + 1];
    for other in [&changed[..], shorter] {
        t.server.remove_object("examplebucket", "o");
        t.inject_part(4, access_denied());
        call(&bytes).unwrap_err();
        t.server.clear_requests();
        let error = call(other).unwrap_err();
        assert!(error.to_string().contains("part 2 is not what"), "{error}");
        assert!(error.is_resumable());
        assert_not_completed(&t);
        t.assert_nothing_left(&[]);
        call(other).unwrap();
        assert_stored(&t, other);
    }
}

#[test]
fn stream_refuses_options_that_need_its_size() {
    let t = Harness::new();
    for (option, name) in [
        (multipart_threshold(1), "multipart_threshold"),
        (skip_unchanged(true), "skip_unchanged"),
        (checkpoint(true, ""), "checkpoint"),
    ] {
        let error = upload(&t, io::empty(), [option]).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("invalid {name}: ")),
            "{message}"
        );
    }
    let error = t.bucket.upload_reader("o", io::empty(), 1, []).unwrap_err();
    assert!(
        error.to_string().starts_with("invalid part_size: "),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition does not hold");
        sleep(Duration::from_millis(1));
    }
}

/// What a child process has to do: the endpoint, and after a `|` the directory of the checkpoint.
const TASK: &str = "OSS_UPLOAD_TEST_PIPE";

/// Uploads its standard input; it is killed.
#[test]
#[ignore = "not a test: another test runs it in a process of its own"]
fn stream_child_process() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let (endpoint, dir) = task.split_once('|').unwrap();
    let options = [routines(2), checkpoint_dir(true, dir)];
    bucket_at(endpoint)
        .upload_reader("o", io::stdin(), PART, options)
        .unwrap();
}

fn bucket_at(endpoint: &str) -> Bucket {
    let client = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy();
    client.build().unwrap().bucket("examplebucket").unwrap()
}

/// A process that runs one test of this program, with a task for it.
fn child_process(test: &str, task: String) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(TASK, task)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn start_child(t: &Harness) -> Child {
    let task = format!("{}|{}", t.server.endpoint(), t.path("dir").display());
    child_process("streams::stream_child_process", task)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Pipes into a process that is killed several times, and at last into one that is not.
#[test]
fn stream_that_is_piped_survives_kill() {
    let t = Harness::new();
    let bytes = content("s", 12 * PART + 3);
    let mut acknowledged = Vec::new();
    for parts in [1, 4, 8] {
        let mut child = start_child(&t);
        let given = (parts + 1) * PART as usize + 1;
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(&bytes[..given])
            .unwrap();
        wait_until(|| {
            t.server
                .uploads()
                .first()
                .is_some_and(|it| it.parts.len() > parts)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = t.server.uploads()[0].parts.clone();
    }
    assert_eq!(acknowledged.len(), 9);
    assert_eq!(t.parts_sent(), Vec::from_iter(1..=9));
    let mut child = start_child(&t);
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
    assert_stored(&t, &bytes);
    // No part was sent twice.
    assert_eq!(t.parts_sent(), Vec::from_iter(1..=13));
    assert_eq!(t.requests(Operation::InitiateMultipartUpload).len(), 1);
    t.assert_nothing_left(&["dir"]);
}

/// The peak memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// The upload whose memory is measured. The server runs in another process.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "not a test: another test runs it in a process of its own"]
fn stream_memory_child_process() {
    let Ok(endpoint) = std::env::var(TASK) else {
        return;
    };
    let gibibyte = io::repeat(7).take(1 << 30);
    let uploaded = bucket_at(&endpoint)
        .upload_reader("o", gibibyte, 8 << 20, [routines(4)])
        .unwrap();
    assert_eq!((uploaded.parts, uploaded.size), (128, 1 << 30));
    println!("\npeak: {}", peak());
}

/// One gibibyte in parts of 8 MiB, by four routines: five parts and a few megabytes.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "slow: one gigabyte"]
fn stream_memory_is_a_few_parts() {
    let t = Harness::discarding();
    let mut child = child_process("streams::stream_memory_child_process", t.server.endpoint());
    let output = child.stdout(Stdio::piped()).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let peak = stdout.lines().find_map(|line| line.strip_prefix("peak: "));
    let peak: u64 = peak.unwrap_or_else(|| panic!("{stdout}")).parse().unwrap();
    assert!(peak < 56 << 20, "{} KiB", peak >> 10);
    println!("peak: {} KiB", peak >> 10);
}

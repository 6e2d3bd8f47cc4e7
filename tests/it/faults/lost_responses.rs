//! Requests that the server applies, and whose responses are lost.

use std::cell::RefCell;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Callback, Error, Progress, ProgressEvent, RestartReason, Uploaded, callback, checkpoint,
    forbid_overwrite, progress, sequential,
};

use crate::harness::{
    CallbackServer, Harness, PART, access_denied, content, for_each_case_parallel,
    service_unavailable,
};

use Fault::*;
use Operation::*;

const SIZE: u64 = 3 * PART + 7;

/// Uploads, and returns the events that report a start, a resumption or a restart.
fn upload_with_start_events(
    t: &Harness,
    with_checkpoint: bool,
) -> (Result<Uploaded, Error>, Vec<ProgressEvent>) {
    let events = RefCell::new(Vec::new());
    let remember = |progress: &Progress| events.borrow_mut().push(progress.event);
    let result = t.upload([checkpoint(with_checkpoint, ""), progress(remember)]);
    let mut events = events.into_inner();
    events.retain(|event| {
        matches!(
            event,
            ProgressEvent::Started | ProgressEvent::Resumed | ProgressEvent::Restarted(_)
        )
    });
    (result, events)
}

fn count(t: &Harness, operation: Operation) -> usize {
    t.requests(operation).len()
}

/// Leaves a file, its checkpoint, and an object whose CompleteMultipartUpload got no response.
fn completed_without_response(t: &Harness) {
    t.file("f", SIZE);
    t.inject_always(CompleteMultipartUpload, CloseAfterApply);
    let error = t.upload([checkpoint(true, "")]).unwrap_err();
    assert!(
        error.to_string().contains("CompleteMultipartUpload"),
        "{error}"
    );
    t.assert_files(&["f", "f.cp"]);
    t.assert_stored("o", &t.path("f"));
    t.server.clear_faults();
    t.server.clear_requests();
}

#[test]
fn complete_with_lost_response_succeeds() {
    let app = CallbackServer::start(200, "{}");
    #[derive(Clone, Copy, Debug)]
    enum With {
        Nothing,
        ForbidOverwrite,
        Callback,
    }
    for with in [With::Nothing, With::ForbidOverwrite, With::Callback] {
        for (fault, with_checkpoint) in [
            (ResetAfterApply, true),
            (CloseAfterApply, false),
            (TruncateResponse, true),
        ] {
            let t = Harness::with_file(SIZE);
            t.inject(CompleteMultipartUpload, fault);
            let option = match with {
                With::Nothing => None,
                With::ForbidOverwrite => Some(forbid_overwrite(true)),
                With::Callback => Some(callback(Callback::new(app.url("/"), "object=${object}"))),
            };
            let options = [checkpoint(with_checkpoint, "")].into_iter().chain(option);
            let uploaded = t.upload(options).unwrap();
            t.assert_stored("o", &t.path("f"));
            t.assert_nothing_left(&["f"]);
            assert_eq!(
                (uploaded.callback_body, uploaded.size),
                (None, SIZE),
                "{with:?}"
            );
            assert!(uploaded.crc64.is_some() && uploaded.upload_id.is_some());
            assert_eq!(t.parts_sent(), [1, 2, 3, 4]);
            assert_eq!(count(&t, InitiateMultipartUpload), 1);
            assert_eq!(
                (count(&t, CompleteMultipartUpload), count(&t, HeadObject)),
                (2, 1)
            );
        }
    }
    assert_eq!(app.requests().len(), 3, "one call for each object");
}

#[test]
fn complete_with_all_responses_lost_is_found_by_next_call() {
    for crc in [true, false] {
        let t = Harness::with_server(LocalOss::builder().send_crc_header(crc).start().unwrap());
        completed_without_response(&t);
        let uploaded = t.upload([checkpoint(true, "")]).unwrap();
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        assert_eq!(
            (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
            (4, 4, 0)
        );
        let asked: Vec<_> = t
            .server
            .requests()
            .iter()
            .map(|request| request.operation)
            .collect();
        assert_eq!(asked, [ListParts, HeadObject]);
    }
}

#[test]
fn complete_with_lost_response_restarts_if_object_differs() {
    let shorter = content("shorter", PART);
    let as_long = content("as long", SIZE);
    type Meddle<'a> = &'a dyn Fn(&LocalOss);
    let table: [(&str, Meddle<'_>); 4] = [
        ("removed", &|server| {
            server.remove_object("examplebucket", "o")
        }),
        ("replaced by a shorter one", &|server| {
            server.put_object("examplebucket", "o", &shorter)
        }),
        ("replaced by one as long", &|server| {
            server.put_object("examplebucket", "o", &as_long)
        }),
        ("not visible", &|server| {
            server.inject(Rule::new(access_denied()).on(HeadObject).forever());
        }),
    ];
    for (what, meddle) in table {
        let t = Harness::new();
        completed_without_response(&t);
        meddle(&t.server);
        let (result, events) = upload_with_start_events(&t, true);
        result.unwrap();
        assert_eq!(
            events,
            [ProgressEvent::Restarted(RestartReason::UploadNotFound)],
            "{what}"
        );
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        assert_eq!(count(&t, InitiateMultipartUpload), 1, "{what}");
        assert_eq!(t.parts_sent(), [1, 2, 3, 4], "{what}");
    }
}

#[test]
fn complete_with_lost_response_restarts_if_head_is_denied() {
    for with_checkpoint in [true, false] {
        let t = Harness::with_file(SIZE);
        t.inject(CompleteMultipartUpload, CloseAfterApply);
        t.deny_always(HeadObject);
        let (result, events) = upload_with_start_events(&t, with_checkpoint);
        result.unwrap();
        assert_eq!(
            events,
            [
                ProgressEvent::Started,
                ProgressEvent::Restarted(RestartReason::UploadNotFound)
            ]
        );
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        assert_eq!(count(&t, InitiateMultipartUpload), 2);
    }
}

#[test]
fn restart_happens_once_per_call() {
    let t = Harness::with_file(SIZE);
    t.inject_always(CompleteMultipartUpload, ExpireUpload);
    let error = t.upload([checkpoint(true, "")]).unwrap_err();
    assert_eq!(error.service_code(), Some("NoSuchUpload"));
    assert!(error.is_resumable());
    assert_eq!(count(&t, InitiateMultipartUpload), 2);
    t.server.clear_faults();
    t.upload([checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn part_with_lost_response_is_found_by_next_call() {
    for fault in [ResetAfterApply, CloseAfterApply, NoEtag] {
        let t = Harness::with_file(SIZE);
        t.inject_part_always(2, fault);
        t.upload([checkpoint(true, "")]).unwrap_err();
        t.server.clear_faults();
        t.server.clear_requests();
        let uploaded = t.upload([checkpoint(true, "")]).unwrap();
        assert_eq!((uploaded.parts_resumed, t.parts_sent()), (2, vec![3, 4]));
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    }
}

/// OSS rejects a part of a sequential upload that it has already, and says which one it has.
#[test]
fn sequential_part_with_lost_response_is_not_sent_twice() {
    for (fault, size) in
        [ResetAfterApply, CloseAfterApply, NoEtag]
            .into_iter()
            .zip([SIZE, 4 * PART, PART + 1])
    {
        for (forever, with_checkpoint) in [(false, true), (false, false), (true, true)] {
            let t = Harness::with_file(size);
            let rule = Rule::new(fault.clone()).on(UploadPart).part(2);
            t.server.inject(if forever { rule.forever() } else { rule });
            let options = || [sequential(true), checkpoint(with_checkpoint, "")];
            let result = t.upload(options());
            if forever && result.is_err() {
                t.server.clear_faults();
                t.server.clear_requests();
                t.upload(options()).unwrap();
                assert!(!t.parts_sent().contains(&2), "{fault:?}");
            } else {
                result.unwrap();
            }
            t.assert_stored("o", &t.path("f"));
            t.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn abort_with_lost_response_is_retried() {
    for fault in [
        ResetAfterApply,
        CloseAfterApply,
        CloseBeforeResponse,
        service_unavailable(),
    ] {
        let t = Harness::with_file(SIZE);
        t.refuse_part(2);
        t.inject(AbortMultipartUpload, fault);
        let error = t.upload([]).unwrap_err();
        assert!(
            matches!(&error, Error::Service(service) if service.part == Some(2)),
            "{error}"
        );
        assert_eq!(count(&t, AbortMultipartUpload), 2);
        t.assert_nothing_left(&["f"]);
    }
}

#[test]
fn put_object_with_lost_response_succeeds_despite_forbid_overwrite() {
    for fault in [ResetAfterApply, CloseAfterApply, TruncateResponse] {
        let t = Harness::with_file(PART);
        t.inject(PutObject, fault);
        let uploaded = t
            .upload([forbid_overwrite(true), checkpoint(true, "")])
            .unwrap();
        assert_eq!((uploaded.size, uploaded.parts), (PART, 1));
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
        assert_eq!((count(&t, PutObject), count(&t, HeadObject)), (2, 1));
    }
}

/// When the object of somebody else appears under the key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Foreign {
    Before,
    /// And the first response is lost, though nothing was applied.
    BeforeAndLost,
    Meanwhile,
    MeanwhileAndLost,
}

#[test]
fn forbid_overwrite_keeps_foreign_object() {
    for (size, last) in [(SIZE, CompleteMultipartUpload), (PART, PutObject)] {
        for foreign in [
            Foreign::Before,
            Foreign::BeforeAndLost,
            Foreign::Meanwhile,
            Foreign::MeanwhileAndLost,
        ] {
            for with_checkpoint in [true, false] {
                let t = Harness::with_file(size);
                let theirs = content("theirs", size);
                let server = &t.server;
                if matches!(foreign, Foreign::Before | Foreign::BeforeAndLost) {
                    server.put_object("examplebucket", "o", &theirs);
                    server.inject(
                        Rule::new(CloseBeforeResponse).times((foreign != Foreign::Before).into()),
                    );
                } else if foreign == Foreign::MeanwhileAndLost {
                    server.inject(Rule::new(CloseBeforeResponse).on(last));
                }
                let appear = |progress: &Progress| {
                    if progress.parts_done + 1 >= progress.parts_total {
                        server.put_object("examplebucket", "o", &theirs);
                    }
                };
                // The error is not resumable; the same call is made again nevertheless.
                for _ in 0..2 {
                    let options = [
                        forbid_overwrite(true),
                        checkpoint(with_checkpoint, ""),
                        progress(appear),
                    ];
                    let error = t.upload(options).unwrap_err();
                    assert_eq!(
                        error.service_code(),
                        Some("FileAlreadyExists"),
                        "{foreign:?}"
                    );
                    assert!(!error.is_resumable());
                    assert!(
                        server.object("examplebucket", "o").unwrap().bytes == theirs,
                        "{foreign:?}"
                    );
                }
                if !with_checkpoint {
                    t.assert_nothing_left(&["f"]);
                }
                server.remove_object("examplebucket", "o");
                t.upload([forbid_overwrite(true), checkpoint(with_checkpoint, "")])
                    .unwrap();
                t.assert_stored("o", &t.path("f"));
                t.assert_nothing_left(&["f"]);
            }
        }
    }
}

/// The first CompleteMultipartUpload is not applied, somebody else creates the same object, and the
/// retry finds it.
#[test]
fn forbid_overwrite_accepts_equal_object_and_leaves_no_parts() {
    let t = Harness::with_file(SIZE);
    let server = &t.server;
    server.inject(Rule::new(CloseBeforeResponse).on(CompleteMultipartUpload));
    let appear = |progress: &Progress| {
        if progress.parts_done == 4 {
            server.put_object("examplebucket", "o", &content("f", SIZE));
        }
    };
    t.upload([
        forbid_overwrite(true),
        checkpoint(true, ""),
        progress(appear),
    ])
    .unwrap();
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn initiate_with_lost_response_leaves_one_empty_upload() {
    for_each_case_parallel(
        [
            ResetAfterApply,
            CloseAfterApply,
            TruncateResponse,
            TruncateXml,
        ],
        |fault| {
            let t = Harness::with_file(SIZE);
            t.inject(InitiateMultipartUpload, fault);
            t.upload([checkpoint(true, "")]).unwrap();
            t.assert_stored("o", &t.path("f"));
            t.assert_files(&["f"]);
            let left = t.server.uploads();
            assert_eq!(left.len(), 1);
            assert!(left[0].parts.is_empty());
        },
    );
}

//! Requests whose effect is there and whose answer is not.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Callback, Error, Progress, ProgressEvent, RestartReason, UploadOption, Uploaded, callback,
    checkpoint, forbid_overwrite, progress, sequential,
};

use super::each;
use crate::house::{House, PART, content};

use Fault::*;
use Operation::*;

const SIZE: u64 = 3 * PART + 7;

fn upload<'a>(
    house: &House,
    options: impl IntoIterator<Item = UploadOption<'a>>,
) -> Result<Uploaded, Error> {
    house
        .bucket
        .upload_file("o", house.path("f"), PART, options)
}

/// The upload, and the beginnings that were told of.
fn upload_and_tell(house: &House, recorded: bool) -> (Result<Uploaded, Error>, Vec<ProgressEvent>) {
    let events = RefCell::new(Vec::new());
    let tell = |progress: &Progress| events.borrow_mut().push(progress.event);
    let result = upload(house, [checkpoint(recorded, ""), progress(tell)]);
    let mut events = events.into_inner();
    events.retain(|event| {
        matches!(
            event,
            ProgressEvent::Started | ProgressEvent::Resumed | ProgressEvent::Restarted(_)
        )
    });
    (result, events)
}

fn count(house: &House, operation: Operation) -> usize {
    house.requests(operation).len()
}

fn refused(status: u16, code: &str) -> Fault {
    Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

/// The house's file, its record, and an object that the server has made without telling.
fn completed_in_secret(house: &House) {
    house.file("f", SIZE);
    house.server.inject(
        Rule::new(CloseAfterApply)
            .on(CompleteMultipartUpload)
            .forever(),
    );
    let error = upload(house, [checkpoint(true, "")]).unwrap_err();
    assert!(
        error.to_string().contains("CompleteMultipartUpload"),
        "{error}"
    );
    house.assert_files(&["f", "f.cp"]);
    house.assert_stored("o", &house.path("f"));
    house.server.clear_faults();
    house.server.clear_requests();
}

/// An application server that counts how often it is called back.
struct Application {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Application {
    fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 64 * 1024]);
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
                );
            }
        });
        Application { url, calls }
    }
}

#[test]
fn a_complete_whose_answer_is_lost_has_worked() {
    let application = Application::start();
    #[derive(Clone, Copy, Debug)]
    enum With {
        Nothing,
        ForbidOverwrite,
        Callback,
    }
    for with in [With::Nothing, With::ForbidOverwrite, With::Callback] {
        for (fault, recorded) in [
            (ResetAfterApply, true),
            (CloseAfterApply, false),
            (TruncateResponse, true),
        ] {
            let house = House::new();
            house.file("f", SIZE);
            house
                .server
                .inject(Rule::new(fault).on(CompleteMultipartUpload));
            let option = match with {
                With::Nothing => None,
                With::ForbidOverwrite => Some(forbid_overwrite(true)),
                With::Callback => Some(callback(Callback::new(
                    &application.url,
                    "object=${object}",
                ))),
            };
            let options = [checkpoint(recorded, "")].into_iter().chain(option);
            let uploaded = upload(&house, options).unwrap();
            house.assert_stored("o", &house.path("f"));
            house.assert_nothing_left(&["f"]);
            assert_eq!(
                (uploaded.callback_body, uploaded.size),
                (None, SIZE),
                "{with:?}"
            );
            assert!(uploaded.crc64.is_some() && uploaded.upload_id.is_some());
            assert_eq!(house.parts_sent(), [1, 2, 3, 4]);
            assert_eq!(count(&house, InitiateMultipartUpload), 1);
            assert_eq!(
                (
                    count(&house, CompleteMultipartUpload),
                    count(&house, HeadObject)
                ),
                (2, 1)
            );
        }
    }
    assert_eq!(
        application.calls.load(Ordering::SeqCst),
        3,
        "one call for each object"
    );
}

#[test]
fn a_complete_whose_answers_are_all_lost_is_found_by_the_next_call() {
    for crc in [true, false] {
        let house = House::with(LocalOss::builder().send_crc_header(crc).start().unwrap());
        completed_in_secret(&house);
        let uploaded = upload(&house, [checkpoint(true, "")]).unwrap();
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        assert_eq!(
            (uploaded.parts, uploaded.parts_resumed, uploaded.bytes_sent),
            (4, 4, 0)
        );
        let asked: Vec<_> = house
            .server
            .requests()
            .iter()
            .map(|logged| logged.operation)
            .collect();
        assert_eq!(asked, [ListParts, HeadObject]);
    }
}

#[test]
fn an_object_that_is_not_the_file_any_more_is_made_anew_once() {
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
        ("not to be seen", &|server| {
            server.inject(
                Rule::new(refused(403, "AccessDenied"))
                    .on(HeadObject)
                    .forever(),
            );
        }),
    ];
    for (what, meddle) in table {
        let house = House::new();
        completed_in_secret(&house);
        meddle(&house.server);
        let (result, events) = upload_and_tell(&house, true);
        result.unwrap();
        assert_eq!(
            events,
            [ProgressEvent::Restarted(RestartReason::UploadNotFound)],
            "{what}"
        );
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        assert_eq!(count(&house, InitiateMultipartUpload), 1, "{what}");
        assert_eq!(house.parts_sent(), [1, 2, 3, 4], "{what}");
    }
}

#[test]
fn an_object_that_may_not_be_looked_at_never_keeps_the_call_stuck() {
    for recorded in [true, false] {
        let house = House::new();
        house.file("f", SIZE);
        house
            .server
            .inject(Rule::new(CloseAfterApply).on(CompleteMultipartUpload));
        house.server.inject(
            Rule::new(refused(403, "AccessDenied"))
                .on(HeadObject)
                .forever(),
        );
        let (result, events) = upload_and_tell(&house, recorded);
        result.unwrap();
        assert_eq!(
            events,
            [
                ProgressEvent::Started,
                ProgressEvent::Restarted(RestartReason::UploadNotFound)
            ]
        );
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        assert_eq!(count(&house, InitiateMultipartUpload), 2);
    }
}

#[test]
fn starting_over_happens_once_in_a_call() {
    let house = House::new();
    house.file("f", SIZE);
    house.server.inject(
        Rule::new(ExpireUpload)
            .on(CompleteMultipartUpload)
            .forever(),
    );
    let error = upload(&house, [checkpoint(true, "")]).unwrap_err();
    assert_eq!(error.service_code(), Some("NoSuchUpload"));
    assert!(error.is_resumable());
    assert_eq!(count(&house, InitiateMultipartUpload), 2);
    house.server.clear_faults();
    upload(&house, [checkpoint(true, "")]).unwrap();
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn parts_whose_answers_are_lost_are_found_by_the_next_call() {
    for fault in [ResetAfterApply, CloseAfterApply, NoEtag] {
        let house = House::new();
        house.file("f", SIZE);
        house
            .server
            .inject(Rule::new(fault).on(UploadPart).part(2).forever());
        upload(&house, [checkpoint(true, "")]).unwrap_err();
        house.server.clear_faults();
        house.server.clear_requests();
        let uploaded = upload(&house, [checkpoint(true, "")]).unwrap();
        assert_eq!(
            (uploaded.parts_resumed, house.parts_sent()),
            (2, vec![3, 4])
        );
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
    }
}

/// OSS refuses to take a part of a sequential upload twice, and says which one it has.
#[test]
fn a_sequential_part_whose_answer_is_lost_is_not_sent_twice() {
    for (fault, size) in
        [ResetAfterApply, CloseAfterApply, NoEtag]
            .into_iter()
            .zip([SIZE, 4 * PART, PART + 1])
    {
        for (forever, recorded) in [(false, true), (false, false), (true, true)] {
            let house = House::new();
            house.file("f", size);
            let rule = Rule::new(fault.clone()).on(UploadPart).part(2);
            house
                .server
                .inject(if forever { rule.forever() } else { rule });
            let options = || [sequential(true), checkpoint(recorded, "")];
            let result = upload(&house, options());
            if forever && result.is_err() {
                house.server.clear_faults();
                house.server.clear_requests();
                upload(&house, options()).unwrap();
                assert!(!house.parts_sent().contains(&2), "{fault:?}");
            } else {
                result.unwrap();
            }
            house.assert_stored("o", &house.path("f"));
            house.assert_nothing_left(&["f"]);
        }
    }
}

#[test]
fn an_abort_whose_answer_is_lost_is_an_abort() {
    for fault in [
        ResetAfterApply,
        CloseAfterApply,
        CloseBeforeResponse,
        refused(503, "ServiceUnavailable"),
    ] {
        let house = House::new();
        house.file("f", SIZE);
        house.refuse_part(2);
        house
            .server
            .inject(Rule::new(fault).on(AbortMultipartUpload));
        let error = upload(&house, []).unwrap_err();
        assert!(
            matches!(&error, Error::Service(service) if service.part == Some(2)),
            "{error}"
        );
        assert_eq!(count(&house, AbortMultipartUpload), 2);
        house.assert_nothing_left(&["f"]);
    }
}

#[test]
fn a_put_object_whose_answer_is_lost_has_not_overwritten_itself() {
    for fault in [ResetAfterApply, CloseAfterApply, TruncateResponse] {
        let house = House::new();
        house.file("f", PART);
        house.server.inject(Rule::new(fault).on(PutObject));
        let uploaded = upload(&house, [forbid_overwrite(true), checkpoint(true, "")]).unwrap();
        assert_eq!((uploaded.size, uploaded.parts), (PART, 1));
        house.assert_stored("o", &house.path("f"));
        house.assert_nothing_left(&["f"]);
        assert_eq!(
            (count(&house, PutObject), count(&house, HeadObject)),
            (2, 1)
        );
    }
}

/// When somebody else's object turns up under the key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Foreign {
    Before,
    /// And the first answer is lost, though nothing was applied.
    BeforeAndLost,
    Meanwhile,
    MeanwhileAndLost,
}

#[test]
fn somebody_elses_object_stays_whole() {
    for (size, last) in [(SIZE, CompleteMultipartUpload), (PART, PutObject)] {
        for foreign in [
            Foreign::Before,
            Foreign::BeforeAndLost,
            Foreign::Meanwhile,
            Foreign::MeanwhileAndLost,
        ] {
            for recorded in [true, false] {
                let house = House::new();
                house.file("f", size);
                let theirs = content("theirs", size);
                let server = &house.server;
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
                // Not resumable, but repeated all the same.
                for _ in 0..2 {
                    let options = [
                        forbid_overwrite(true),
                        checkpoint(recorded, ""),
                        progress(appear),
                    ];
                    let error = upload(&house, options).unwrap_err();
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
                if !recorded {
                    house.assert_nothing_left(&["f"]);
                }
                server.remove_object("examplebucket", "o");
                upload(&house, [forbid_overwrite(true), checkpoint(recorded, "")]).unwrap();
                house.assert_stored("o", &house.path("f"));
                house.assert_nothing_left(&["f"]);
            }
        }
    }
}

/// Complete never arrives, somebody else makes the very object, and the second try hears of it.
#[test]
fn an_equal_object_of_somebody_else_is_success_and_leaves_no_parts() {
    let house = House::new();
    house.file("f", SIZE);
    let server = &house.server;
    server.inject(Rule::new(CloseBeforeResponse).on(CompleteMultipartUpload));
    let appear = |progress: &Progress| {
        if progress.parts_done == 4 {
            server.put_object("examplebucket", "o", &content("f", SIZE));
        }
    };
    upload(
        &house,
        [
            forbid_overwrite(true),
            checkpoint(true, ""),
            progress(appear),
        ],
    )
    .unwrap();
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn an_initiate_whose_answer_is_lost_leaves_one_empty_upload_and_no_more() {
    each(
        [
            ResetAfterApply,
            CloseAfterApply,
            TruncateResponse,
            TruncateXml,
        ],
        |fault| {
            let house = House::new();
            house.file("f", SIZE);
            house
                .server
                .inject(Rule::new(fault).on(InitiateMultipartUpload));
            upload(&house, [checkpoint(true, "")]).unwrap();
            house.assert_stored("o", &house.path("f"));
            house.assert_files(&["f"]);
            let left = house.server.uploads();
            assert_eq!(left.len(), 1);
            assert!(left[0].parts.is_empty());
        },
    );
}

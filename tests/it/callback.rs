//! Callbacks: OSS calls an application server once the object is complete.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, Operation};
use oss_upload::{Callback, Error, callback, checkpoint, content_type, progress};

use crate::harness::{CallbackServer, Harness, PART};

/// The small files are uploaded with PutObject, the large one in parts.
const SIZES: [u64; 3] = [0, 1, 2 * PART + 7];

#[test]
fn callback_is_called_and_its_response_is_returned() {
    for size in SIZES {
        let (t, app) = (
            Harness::new(),
            CallbackServer::start(200, "{\"Status\":\"OK\"}"),
        );
        let path = t.file("f", size);
        let call = Callback::new(
            app.url("/done"),
            "b=${bucket}&o=${object}&e=${etag}&s=${size}&c=${crc64}&t=${mimeType}&u=${x:user}&v=${x:2}",
        )
        .query("source", "a b&c")
        .query("q", "中")
        .host("app.example.com")
        .body_type("application/x-www-form-urlencoded")
        .sni(true)
        .var("x:user", "li")
        .var("x:2", "1&2");
        let options = [
            callback(call),
            content_type("text/plain"),
            checkpoint(true, ""),
        ];
        let uploaded = t
            .bucket
            .upload_file("dir/中.txt", &path, PART, options)
            .unwrap();
        assert_eq!(
            uploaded.callback_body.as_deref(),
            Some(&b"{\"Status\":\"OK\"}"[..])
        );
        t.assert_stored("dir/中.txt", &path);
        t.assert_nothing_left(&["f"]);
        let object = t.server.object("examplebucket", "dir/中.txt").unwrap();
        assert_eq!(uploaded.crc64, Some(object.crc64));
        assert_eq!(format!("\"{}\"", uploaded.etag), object.etag);
        let requests = app.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(
            requests[0].first_line,
            "POST /done?source=a%20b%26c&q=%E4%B8%AD HTTP/1.1"
        );
        assert_eq!(requests[0].header("host"), "app.example.com");
        assert_eq!(
            requests[0].header("content-type"),
            "application/x-www-form-urlencoded"
        );
        let made = t.server.requests().into_iter().find_map(|request| {
            let call = request.header("x-oss-callback")?;
            Some(String::from_utf8(STANDARD.decode(call).unwrap()).unwrap())
        });
        assert!(made.unwrap().contains("\"callbackSNI\":true"));
        let (etag, crc64) = (uploaded.etag, object.crc64);
        let object = "dir%2F%E4%B8%AD.txt";
        let body = format!(
            "b=examplebucket&o={object}&e={etag}&s={size}&c={crc64}&t=text%2Fplain&u=li&v=1%262"
        );
        assert_eq!(requests[0].body, body);
    }
}

#[test]
fn callback_body_keeps_quotes_backslashes_and_unicode() {
    for size in SIZES {
        let (t, app) = (Harness::new(), CallbackServer::start(200, "[]"));
        let call = Callback::new(
            app.url("/"),
            r#"{"fixed":"\"\\ 杭州","note":${x:note},"size":${size}}"#,
        )
        .body_type("application/json")
        .var("x:note", "\"q\" \\ \t杭州😀");
        t.bucket
            .upload_file("o", t.file("f", size), PART, [callback(call)])
            .unwrap();
        let requests = app.requests();
        assert_eq!(requests[0].header("content-type"), "application/json");
        let note = r#""\"q\" \\ \t杭州😀""#;
        let body = format!(r#"{{"fixed":"\"\\ 杭州","note":{note},"size":"{size}"}}"#);
        assert_eq!(requests[0].body, body);
    }
}

#[test]
fn callback_urls_are_tried_in_order() {
    let (t, app) = (Harness::new(), CallbackServer::start(200, "{}"));
    let (refusing, later) = (
        CallbackServer::start(500, "{}"),
        CallbackServer::start(200, "{}"),
    );
    let urls = [refusing.url("/1"), app.url("/2?a=b"), later.url("/3")].join(";");
    let call = Callback::new(urls, "body").query("q", "1");
    t.bucket
        .upload_file("o", t.file("f", 1), PART, [callback(call)])
        .unwrap();
    assert_eq!(refusing.requests()[0].first_line, "POST /1?q=1 HTTP/1.1");
    assert_eq!(app.requests()[0].first_line, "POST /2?a=b&q=1 HTTP/1.1");
    assert_eq!(later.requests().len(), 0);
}

#[test]
fn callback_response_of_megabytes_is_returned_whole() {
    let response = format!("\"{}\"", "x".repeat(3_000_000));
    let (t, app) = (Harness::new(), CallbackServer::start(200, &response));
    let call = callback(Callback::new(app.url("/"), "body"));
    let uploaded = t
        .bucket
        .upload_file("o", t.file("f", 1), PART, [call])
        .unwrap();
    assert!(uploaded.callback_body.unwrap() == response.as_bytes());
}

#[test]
fn callback_failure_reports_the_uploaded_object() {
    for size in SIZES {
        for (status, response, why) in [(500, "{}", "500"), (200, "no JSON", "json")] {
            let (t, app) = (Harness::new(), CallbackServer::start(status, response));
            let path = t.file("f", size);
            let mut events = Vec::new();
            let error = t
                .upload([
                    callback(Callback::new(app.url("/"), "body")),
                    checkpoint(true, ""),
                    progress(|progress| events.push(progress.event)),
                ])
                .unwrap_err();
            t.assert_stored("o", &path);
            t.assert_nothing_left(&["f"]);
            assert!(!error.is_resumable());
            assert_eq!(error.service_code(), Some("CallbackFailed"));
            assert!(error.request_id().is_some());
            let text = error.to_string();
            assert!(
                text.contains("o is uploaded") && text.contains(why) && !text.contains('\n'),
                "{text}"
            );
            let Error::Callback {
                uploaded, service, ..
            } = error
            else {
                panic!("{error:?}")
            };
            let object = t.server.object("examplebucket", "o").unwrap();
            assert_eq!((uploaded.size, uploaded.crc64), (size, Some(object.crc64)));
            assert_eq!(format!("\"{}\"", uploaded.etag), object.etag);
            assert_eq!((service.status, service.attempts), (203, 1));
            assert_eq!(uploaded.callback_body, None);
            assert_eq!(app.requests().len(), 1, "the callback was requested twice");
            assert_eq!(events.last(), Some(&oss_upload::ProgressEvent::Completed));
        }
    }
}

#[test]
fn callback_failure_removes_outdated_checkpoint() {
    let (t, app) = (Harness::new(), CallbackServer::start(500, "{}"));
    t.refuse_part(2);
    t.bucket
        .upload_file("o", t.file("f", 2 * PART), PART, [checkpoint(true, "")])
        .unwrap_err();
    t.assert_files(&["f", "f.cp"]);
    let options = [
        callback(Callback::new(app.url("/"), "body")),
        checkpoint(true, ""),
    ];
    let error = t
        .bucket
        .upload_file("o", t.file("f", 1), PART, options)
        .unwrap_err();
    assert_eq!(error.service_code(), Some("CallbackFailed"));
    t.assert_stored("o", &t.path("f"));
    t.assert_nothing_left(&["f"]);
}

#[test]
fn callback_response_is_absent_after_lost_complete_response() {
    let (t, app) = (Harness::new(), CallbackServer::start(200, "{}"));
    let path = t.file("f", 2 * PART);
    t.inject(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    let call = callback(Callback::new(app.url("/"), "body"));
    let uploaded = t.upload([call, checkpoint(true, "")]).unwrap();
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
    assert_eq!(uploaded.callback_body, None);
    assert_eq!(app.requests().len(), 1);
    assert_eq!(t.parts_sent(), [1, 2]);
}

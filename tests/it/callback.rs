//! The application server that OSS tells of the finished object.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, Operation, Rule};
use oss_upload::{Callback, Error, callback, checkpoint, content_type, progress};

use crate::house::{House, PART};

/// The small ones go up in a PutObject, the large one in parts.
const SIZES: [u64; 3] = [0, 1, 2 * PART + 7];

/// An application server that answers everything with the same words.
pub struct App {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl App {
    pub fn start(status: u16, answer: impl Into<String>) -> App {
        let (listener, answer) = (TcpListener::bind("127.0.0.1:0").unwrap(), answer.into());
        let app = App {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
        };
        let heard = Arc::clone(&app.heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                heard.lock().unwrap().push(Heard::read(&mut stream));
                let head = format!(
                    "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {}",
                    answer.len()
                );
                let _ = write!(stream, "{head}\r\n\r\n{answer}");
            }
        });
        app
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

impl Heard {
    fn read(stream: &mut TcpStream) -> Heard {
        let mut reader = BufReader::new(stream);
        let mut lines = reader
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty());
        let line = lines.next().unwrap_or_default();
        let header = |line: String| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        };
        let mut heard = Heard {
            line,
            headers: lines.map(header).collect(),
            body: String::new(),
        };
        let length = heard.header("content-length").parse().unwrap();
        reader.take(length).read_to_string(&mut heard.body).unwrap();
        heard
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }
}

#[test]
fn the_application_hears_of_the_object_and_its_answer_comes_back() {
    for size in SIZES {
        let (house, app) = (House::new(), App::start(200, "{\"Status\":\"OK\"}"));
        let path = house.file("f", size);
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
        let uploaded = house
            .bucket
            .upload_file("dir/中.txt", &path, PART, options)
            .unwrap();
        assert_eq!(
            uploaded.callback_body.as_deref(),
            Some(&b"{\"Status\":\"OK\"}"[..])
        );
        house.assert_stored("dir/中.txt", &path);
        house.assert_nothing_left(&["f"]);
        let object = house.server.object("examplebucket", "dir/中.txt").unwrap();
        assert_eq!(uploaded.crc64, Some(object.crc64));
        assert_eq!(format!("\"{}\"", uploaded.etag), object.etag);
        let heard = app.heard();
        assert_eq!(heard.len(), 1);
        assert_eq!(
            heard[0].line,
            "POST /done?source=a%20b%26c&q=%E4%B8%AD HTTP/1.1"
        );
        assert_eq!(heard[0].header("host"), "app.example.com");
        assert_eq!(
            heard[0].header("content-type"),
            "application/x-www-form-urlencoded"
        );
        let made = house.server.requests().into_iter().find_map(|logged| {
            let call = logged.header("x-oss-callback")?;
            Some(String::from_utf8(STANDARD.decode(call).unwrap()).unwrap())
        });
        assert!(made.unwrap().contains("\"callbackSNI\":true"));
        let (etag, crc64) = (uploaded.etag, object.crc64);
        let object = "dir%2F%E4%B8%AD.txt";
        let body = format!(
            "b=examplebucket&o={object}&e={etag}&s={size}&c={crc64}&t=text%2Fplain&u=li&v=1%262"
        );
        assert_eq!(heard[0].body, body);
    }
}

#[test]
fn quotes_backslashes_line_ends_and_every_script_survive() {
    for size in SIZES {
        let (house, app) = (House::new(), App::start(200, "[]"));
        let call = Callback::new(
            app.url("/"),
            r#"{"fixed":"\"\\ 杭州","note":${x:note},"size":${size}}"#,
        )
        .body_type("application/json")
        .var("x:note", "\"q\" \\ \t杭州😀");
        house
            .bucket
            .upload_file("o", house.file("f", size), PART, [callback(call)])
            .unwrap();
        let heard = app.heard();
        assert_eq!(heard[0].header("content-type"), "application/json");
        let note = r#""\"q\" \\ \t杭州😀""#;
        let body = format!(r#"{{"fixed":"\"\\ 杭州","note":{note},"size":"{size}"}}"#);
        assert_eq!(heard[0].body, body);
    }
}

#[test]
fn a_list_of_urls_is_tried_in_order() {
    let (house, app) = (House::new(), App::start(200, "{}"));
    let (refusing, later) = (App::start(500, "{}"), App::start(200, "{}"));
    let urls = [refusing.url("/1"), app.url("/2?a=b"), later.url("/3")].join(";");
    let call = Callback::new(urls, "body").query("q", "1");
    house
        .bucket
        .upload_file("o", house.file("f", 1), PART, [callback(call)])
        .unwrap();
    assert_eq!(refusing.heard()[0].line, "POST /1?q=1 HTTP/1.1");
    assert_eq!(app.heard()[0].line, "POST /2?a=b&q=1 HTTP/1.1");
    assert_eq!(later.heard().len(), 0);
}

#[test]
fn a_long_answer_comes_back_whole() {
    let answer = format!("\"{}\"", "x".repeat(3_000_000));
    let (house, app) = (House::new(), App::start(200, answer.clone()));
    let call = callback(Callback::new(app.url("/"), "body"));
    let uploaded = house
        .bucket
        .upload_file("o", house.file("f", 1), PART, [call])
        .unwrap();
    assert!(uploaded.callback_body.unwrap() == answer.as_bytes());
}

#[test]
fn a_failed_callback_is_not_a_failed_upload() {
    for size in SIZES {
        for (status, answer, why) in [(500, "{}", "500"), (200, "no JSON", "json")] {
            let (house, app) = (House::new(), App::start(status, answer));
            let path = house.file("f", size);
            let mut events = Vec::new();
            let error = house
                .bucket
                .upload_file(
                    "o",
                    &path,
                    PART,
                    [
                        callback(Callback::new(app.url("/"), "body")),
                        checkpoint(true, ""),
                        progress(|progress| events.push(progress.event)),
                    ],
                )
                .unwrap_err();
            house.assert_stored("o", &path);
            house.assert_nothing_left(&["f"]);
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
            let object = house.server.object("examplebucket", "o").unwrap();
            assert_eq!((uploaded.size, uploaded.crc64), (size, Some(object.crc64)));
            assert_eq!(format!("\"{}\"", uploaded.etag), object.etag);
            assert_eq!((service.status, service.attempts), (203, 1));
            assert_eq!(uploaded.callback_body, None);
            assert_eq!(app.heard().len(), 1, "a callback is not asked for twice");
            assert_eq!(events.last(), Some(&oss_upload::ProgressEvent::Completed));
        }
    }
}

#[test]
fn an_outdated_record_goes_even_if_the_callback_fails() {
    let (house, app) = (House::new(), App::start(500, "{}"));
    house.refuse_part(2);
    house
        .bucket
        .upload_file("o", house.file("f", 2 * PART), PART, [checkpoint(true, "")])
        .unwrap_err();
    house.assert_files(&["f", "f.cp"]);
    let options = [
        callback(Callback::new(app.url("/"), "body")),
        checkpoint(true, ""),
    ];
    let error = house
        .bucket
        .upload_file("o", house.file("f", 1), PART, options)
        .unwrap_err();
    assert_eq!(error.service_code(), Some("CallbackFailed"));
    house.assert_stored("o", &house.path("f"));
    house.assert_nothing_left(&["f"]);
}

#[test]
fn a_lost_answer_takes_the_callbacks_answer_with_it() {
    let (house, app) = (House::new(), App::start(200, "{}"));
    let path = house.file("f", 2 * PART);
    house
        .server
        .inject(Rule::new(Fault::ResetAfterApply).on(Operation::CompleteMultipartUpload));
    let call = callback(Callback::new(app.url("/"), "body"));
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [call, checkpoint(true, "")])
        .unwrap();
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
    assert_eq!(uploaded.callback_body, None);
    assert_eq!(app.heard().len(), 1);
    assert_eq!(house.parts_sent(), [1, 2]);
}

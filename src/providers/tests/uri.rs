use std::io::Write;

use super::super::credentials_uri::UriSource;
use super::server::Server;
use super::*;

fn provider(url: impl Into<String>) -> Provider<UriSource> {
    Provider::new(UriSource::new(url.into()))
}

#[test]
fn uri_is_asked_once_and_again_before_the_end() {
    let server = Server::start(|_, before| {
        let clock = VirtualClock::new();
        let (id, seconds) = (format!("id{}", before + 1), 3600 * (before as u64 + 1));
        (200, credentials_json(&clock, &id, seconds))
    });
    let provider = provider(format!("{}/a?key=hush", server.url()));
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(3600 - 15 * 60);
    assert_eq!(provider.id().unwrap(), "id2");
    assert_eq!(server.lines(), vec!["GET /a?key=hush"; 2]);
}

#[test]
fn uri_credentials_expire_by_the_clock_of_the_server() {
    // It is two hours ahead of the local clock.
    let server = Server::start(|_, before| {
        let id = format!("id{}", before + 1);
        (200, credentials_json(&VirtualClock::new(), &id, 3 * 3600))
    });
    let ahead = VirtualClock::new().now() + Duration::from_secs(2 * 3600);
    *server.date.lock().unwrap() = Some(time::format_http_date(ahead));
    let provider = provider(server.url());
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(3600 - 15 * 60 - 1);
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(1);
    assert_eq!(provider.id().unwrap(), "id2");
}

#[test]
fn uri_error_statuses_are_final_or_transient() {
    for (status, is_final) in [
        (302, false),
        (400, true),
        (401, true),
        (403, true),
        (404, true),
        (408, false),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let server = Server::start(move |_, _| (status, "hush".into()));
        let provider = provider(format!("{}/a?key=hush", server.url()));
        let message = match is_final {
            true => provider.final_failure(),
            false => provider.transient_failure(),
        };
        let expected = format!("/a has the status {status}; check the URL");
        assert!(message.contains(&expected), "{message}");
        // A redirect is not followed.
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn uri_responses_that_are_wrong_are_named() {
    for (body, expected) in wrong_responses() {
        let server = Server::start(move |_, _| (200, body.clone()));
        let message = provider(server.url()).transient_failure();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn uri_that_is_wrong_is_final_and_not_shown() {
    for url in ["", "hush", "http://hush@h/", "ftp://hush/"] {
        let message = provider(url).final_failure();
        assert!(
            message.contains("ALIBABA_CLOUD_CREDENTIALS_URI"),
            "{message}"
        );
    }
}

#[test]
fn uri_outage_is_transient() {
    let message = provider(closed_port()).transient_failure();
    assert!(
        message.contains("refused") && message.contains("check the URL"),
        "{message}"
    );
}

#[test]
fn uri_response_that_does_not_end_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
        let mut sent = stream.write_all(head);
        // Never silent for as long as the timeout.
        while sent.is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            sent = stream.write_all(b" ");
        }
    });
    let mut provider = provider(url);
    provider.source.timeouts.connect = Duration::from_secs(1);
    provider.source.timeouts.response = Duration::from_secs(2);
    let message = provider.transient_failure();
    assert!(message.contains("not complete within 5 s"), "{message}");
}

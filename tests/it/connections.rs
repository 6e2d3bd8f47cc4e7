//! Connections over real networks: reused ones that are dead, peers that stall, slow connections,
//! proxies, failures by type. The servers are raw sockets, so that a test controls each byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use oss_upload::{
    Bucket, CancelToken, Client, ClientBuilder, Credentials, Error, RetryPolicy, cancel,
    multipart_threshold,
};

use crate::harness::stored_headers;

const STALL: Duration = Duration::from_secs(1);

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Received {
    /// Counts connections from 0.
    connection: usize,
    head: String,
}

impl Received {
    fn body_length(&self) -> u64 {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.rfind(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        found
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }
}

struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `respond` for each request when its head has arrived; `respond` has to read the body.
    /// An error ends the connection.
    fn start(
        respond: impl Fn(&Received, usize, &mut BufReader<TcpStream>) -> io::Result<()>
        + Send
        + Sync
        + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let server = Server {
            address,
            received: received.clone(),
            connections: connections.clone(),
        };
        let respond = Arc::new(respond);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = connections.fetch_add(1, Ordering::SeqCst);
                let (received, respond) = (received.clone(), respond.clone());
                thread::spawn(move || -> io::Result<()> {
                    let mut stream = BufReader::new(stream);
                    loop {
                        let request = Received {
                            connection,
                            head: read_head(&mut stream)?,
                        };
                        let number = {
                            let mut received = received.lock().unwrap();
                            received.push(request.clone());
                            received.len() - 1
                        };
                        respond(&request, number, &mut stream)?;
                    }
                });
            }
        });
        server
    }

    fn requests(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn builder(&self) -> ClientBuilder {
        builder(&format!("http://{}", self.address))
    }
}

fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

fn read_body(request: &Received, stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    stream
        .by_ref()
        .take(request.body_length())
        .read_to_end(&mut body)?;
    Ok(body)
}

fn say(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(text.as_bytes())
}

/// What a PutObject of these bytes is answered with.
fn stored(body: &[u8]) -> String {
    let headers = stored_headers(body);
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n")
}

fn store(request: &Received, stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let body = read_body(request, stream)?;
    say(stream, &stored(&body))
}

fn builder(endpoint: &str) -> ClientBuilder {
    Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .stall_timeout(STALL)
        .retry(
            RetryPolicy::default()
                .max_attempts(1)
                .base_delay(Duration::from_millis(1)),
        )
}

fn bucket(builder: ClientBuilder) -> Bucket {
    builder.build().unwrap().bucket("examplebucket").unwrap()
}

fn file(size: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, vec![b'x'; size]).unwrap();
    (dir, path)
}

/// One PutObject, whatever the size.
fn put(bucket: &Bucket, path: &PathBuf) -> Result<oss_upload::Uploaded, Error> {
    bucket.upload_file("o", path, 100 << 20, [multipart_threshold(1 << 30)])
}

fn transport_text(error: &Error) -> String {
    match error {
        Error::Transport { source, .. } => source.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn connection_is_reused_from_call_to_call() {
    let server = Server::start(|request, _, stream| store(request, stream));
    let (_dir, path) = file(1000);
    let bucket = bucket(server.builder());
    for _ in 0..5 {
        put(&bucket, &path).unwrap();
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 5));
}

/// A load balancer has forgotten the connection: it resets it on the next request.
#[test]
fn connection_that_died_while_idle_does_not_count_as_an_attempt() {
    let server = Server::start(|request, _, stream| match request.connection {
        0 if IDLE_DIED.fetch_add(1, Ordering::SeqCst) == 1 => {
            Err(io::ErrorKind::ConnectionReset.into())
        }
        _ => store(request, stream),
    });
    let (_dir, path) = file(1000);
    let bucket = bucket(server.builder());
    put(&bucket, &path).unwrap();
    put(&bucket, &path).unwrap();
    let connections: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections, [0, 0, 1]);
}
static IDLE_DIED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn stall_is_noticed_within_twice_the_timeout_for_every_size() {
    let cases = [300 << 10, 1 << 20, 8 << 20].map(|size| [(size, false), (size, true)]);
    thread::scope(|scope| {
        for (size, reads) in cases.into_iter().flatten() {
            scope.spawn(move || {
                // Whether it reads the body or not, it never responds.
                let server = Server::start(move |request, _, stream| {
                    if reads {
                        read_body(request, stream)?;
                    }
                    thread::sleep(Duration::from_secs(60));
                    Ok(())
                });
                let (_dir, path) = file(size);
                let bucket = bucket(server.builder());
                let started = Instant::now();
                let error = put(&bucket, &path).unwrap_err();
                let took = started.elapsed();
                println!("stall: {size} bytes, body read: {reads}: {took:?}, {error}");
                let text = transport_text(&error);
                assert!(
                    text.contains("no response from") || text.contains("took no data"),
                    "{text}"
                );
                assert!(
                    took >= STALL && took < STALL * 2 + STALL / 2,
                    "{size}: {took:?}"
                );
            });
        }
    });
}

/// 32 KiB/s for a response of 128 KiB, with a stall timeout of one second.
#[test]
fn response_that_trickles_is_not_a_stall() {
    let server = Server::start(|request, _, stream| {
        read_body(request, stream)?;
        let body = format!(
            "<Error><Code>X</Code><Message>{}</Message></Error>",
            "m".repeat(128 << 10)
        );
        say(
            stream,
            &format!(
                "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ),
        )?;
        for chunk in body.as_bytes().chunks(8 << 10) {
            thread::sleep(Duration::from_millis(250));
            stream.get_mut().write_all(chunk)?;
        }
        Ok(())
    });
    let (_dir, path) = file(10);
    let error = put(&bucket(server.builder()), &path).unwrap_err();
    assert_eq!(error.service_code(), Some("X"), "{error}");
}

/// A peer that reads 256 KiB/s, with a stall timeout of one second. On the loopback device a
/// receiver acknowledges in steps of about 100 KiB, so it could not be much slower.
#[test]
fn request_over_a_slow_connection_is_not_a_stall() {
    let server = Server::start(|request, _, stream| {
        let mut left = request.body_length();
        let mut buffer = vec![0; 8 << 10];
        let mut body = Vec::new();
        while left > 0 {
            thread::sleep(Duration::from_millis(31));
            let most = buffer.len().min(left as usize);
            let read = stream.read(&mut buffer[..most])?;
            body.extend_from_slice(&buffer[..read]);
            left -= read as u64;
        }
        say(stream, &stored(&body))
    });
    let (_dir, path) = file(1 << 20);
    put(&bucket(server.builder()), &path).unwrap();
}

/// Sends its response at once and reads nothing of the body.
fn early_error_response() -> Server {
    Server::start(|_, _, stream| {
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        let head = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        say(stream, &format!("{head}{body}"))?;
        thread::sleep(Duration::from_secs(30));
        Ok(())
    })
}

/// The response comes while the body is still being sent, and the server does not read the rest.
#[test]
fn response_in_mid_body_is_found() {
    let server = early_error_response();
    let (_dir, path) = file(32 << 20);
    let started = Instant::now();
    let error = put(&bucket(server.builder()), &path).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert!(started.elapsed() < STALL * 2, "{:?}", started.elapsed());
    assert_eq!(server.requests().len(), 1);
}

/// With TLS it is only looked for when the body has stalled.
#[cfg(feature = "rustls")]
#[test]
fn response_in_mid_body_is_found_over_tls() {
    let server = early_error_response();
    let address = crate::tls::tls_in_front_of(server.address);
    let (_dir, path) = file(32 << 20);
    let builder = builder(&format!("https://localhost:{}", address.port()));
    let bucket = bucket(builder.root_certificates_pem(crate::tls::CERTIFICATE));
    let error = put(&bucket, &path).unwrap_err();
    assert_eq!(error.service_code(), Some("AccessDenied"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn interim_response_with_header_lines_is_skipped() {
    let server = Server::start(|request, _, stream| {
        say(stream, "HTTP/1.1 100 Continue\r\nVia: 1.1 squid\r\n\r\n")?;
        say(stream, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")?;
        store(request, stream)
    });
    let (_dir, path) = file(1000);
    let bucket = bucket(server.builder());
    put(&bucket, &path).unwrap();
    put(&bucket, &path).unwrap();
    assert_eq!(server.connections(), 1);
}

/// After a cut body the next attempt asks before it sends; the `100 Continue` has a header line.
#[test]
fn interim_response_that_was_asked_for_may_have_header_lines() {
    let server = Server::start(|request, number, stream| {
        if number == 0 {
            stream.get_mut().set_nodelay(true)?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if request.head.to_lowercase().contains("expect: 100-continue") {
            say(stream, "HTTP/1.1 100 Continue\r\nVia: 1.1 squid\r\n\r\n")?;
        }
        store(request, stream)
    });
    let (_dir, path) = file(16 << 20);
    let retry = RetryPolicy::default()
        .max_attempts(2)
        .base_delay(Duration::from_millis(1));
    put(&bucket(server.builder().retry(retry)), &path).unwrap();
}

#[test]
fn response_that_is_compressed_is_named_so() {
    let server = Server::start(|request, _, stream| {
        read_body(request, stream)?;
        say(
            stream,
            "HTTP/1.1 403 Forbidden\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x01\x08\x00",
        )
    });
    let (_dir, path) = file(10);
    let error = put(&bucket(server.builder()), &path).unwrap_err();
    assert!(transport_text(&error).contains("compressed"), "{error}");
    assert!(
        server.requests()[0]
            .head
            .to_lowercase()
            .contains("accept-encoding: identity\r\n")
    );
}

/// 100 headers of 300 bytes are more than a buffer of 16 KiB.
#[test]
fn response_may_have_many_headers() {
    let server = Server::start(|request, _, stream| {
        let body = read_body(request, stream)?;
        let mut head = stored(&body).trim_end().to_owned();
        for number in 0..100 {
            head.push_str(&format!("\r\nx-oss-meta-{number}: {}", "v".repeat(300)));
        }
        say(stream, &format!("{head}\r\n\r\n"))
    });
    let (_dir, path) = file(10);
    put(&bucket(server.builder()), &path).unwrap();
}

/// Wherever a chunked response is cut, the next attempt succeeds.
#[test]
fn response_that_is_cut_is_retried() {
    let (_dir, path) = file(10);
    let headers = stored_headers(&std::fs::read(&path).unwrap());
    let whole = format!(
        "HTTP/1.1 200 OK\r\n{headers}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    );
    let length = whole.len();
    let server = Server::start(move |request, number, stream| {
        let body = read_body(request, stream)?;
        if number % 2 == 0 {
            say(stream, &whole[..number / 2])?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        say(stream, &stored(&body))
    });
    let retry = RetryPolicy::default()
        .max_attempts(2)
        .base_delay(Duration::from_millis(1));
    let client = server.builder().retry(retry).build().unwrap();
    let bucket = client.bucket("examplebucket").unwrap();
    while server.requests().len() / 2 < length - 4 {
        let number = server.requests().len() / 2;
        put(&bucket, &path).unwrap_or_else(|error| panic!("cut at {number}: {error}"));
        assert_eq!(server.requests().len(), number * 2 + 2, "cut at {number}");
    }
}

/// An HTTP proxy that sends a prepared response to `CONNECT`, and then is the server itself.
fn proxy(
    response: impl Fn(&mut BufReader<TcpStream>) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    Server::start(
        move |request, _, stream| match request.head.starts_with("CONNECT ") {
            true => response(stream),
            false => store(request, stream),
        },
    )
}

fn through(proxy: &Server) -> ClientBuilder {
    builder("http://oss.example.invalid").proxy(format!("http://{}", proxy.address))
}

#[test]
fn proxy_may_respond_with_many_header_lines() {
    let proxy = proxy(|stream| {
        let lines: String = (0..60).map(|number| format!("x-{number}: y\r\n")).collect();
        say(
            stream,
            &format!("HTTP/1.1 200 Connection established\r\n{lines}\r\n"),
        )
    });
    let (_dir, path) = file(10);
    put(&bucket(through(&proxy)), &path).unwrap();
}

#[test]
fn proxy_that_trickles_is_bounded_by_connect_timeout() {
    let proxy = proxy(|stream| {
        say(stream, "HTTP/1.1 200 OK\r\n")?;
        for _ in 0..600 {
            thread::sleep(Duration::from_millis(100));
            say(stream, "x: y\r\n")?;
        }
        Ok(())
    });
    let (_dir, path) = file(10);
    let started = Instant::now();
    let builder = through(&proxy)
        .connect_timeout(Duration::from_secs(1))
        .stall_timeout(Duration::from_secs(60));
    let error = put(&bucket(builder), &path).unwrap_err();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(transport_text(&error).contains("the proxy"), "{error}");
}

#[test]
fn proxy_that_wants_credentials_is_asked_once() {
    for (status, attempts) in [
        ("407 Proxy Authentication Required", 1),
        ("502 Bad Gateway", 3),
    ] {
        let proxy = proxy(move |stream| {
            say(
                stream,
                &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
            )
        });
        let (_dir, path) = file(10);
        let retry = RetryPolicy::default()
            .max_attempts(3)
            .base_delay(Duration::from_millis(1));
        let error = put(&bucket(through(&proxy).retry(retry)), &path).unwrap_err();
        assert_eq!(proxy.requests().len(), attempts, "{error}");
        assert_eq!(error.is_resumable(), attempts > 1, "{error}");
        assert!(transport_text(&error).contains(status), "{error}");
    }
}

#[test]
fn failure_names_whom_it_could_not_reach() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_dir, path) = file(10);
    let error = put(&bucket(builder(&format!("http://{closed}"))), &path).unwrap_err();
    assert_eq!(
        transport_text(&error),
        format!("connection refused by {closed}")
    );
    let error = put(
        &bucket(builder("http://127.0.0.1").proxy(format!("http://{closed}"))),
        &path,
    )
    .unwrap_err();
    assert_eq!(
        transport_text(&error),
        format!("connection refused by the proxy {closed}")
    );
    let error = put(&bucket(builder("http://oss.invalid")), &path).unwrap_err();
    assert!(
        transport_text(&error).starts_with("cannot look up examplebucket.oss.invalid: "),
        "{error}"
    );
    assert!(error.is_resumable());
}

#[test]
fn server_that_does_not_speak_http_is_named_so() {
    let server = Server::start(|_, _, stream| {
        say(stream, "SSH-2.0-OpenSSH_9.9\r\n")?;
        Err(io::ErrorKind::ConnectionReset.into())
    });
    let (_dir, path) = file(10);
    let error = put(&bucket(server.builder()), &path).unwrap_err();
    assert!(
        error.to_string().contains("may not speak HTTP") || error.to_string().contains("closed"),
        "{error}"
    );
}

#[cfg(feature = "rustls")]
#[test]
fn server_that_does_not_speak_tls_is_named_so_and_not_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (_dir, path) = file(10);
    let retry = RetryPolicy::default()
        .max_attempts(3)
        .base_delay(Duration::from_millis(1));
    let error = put(
        &bucket(builder(&format!("https://{address}")).retry(retry)),
        &path,
    )
    .unwrap_err();
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    assert!(
        !error.is_resumable() && error.to_string().contains("plain HTTP"),
        "{error}"
    );
}

/// A connection that ends in the TLS handshake is the network's fault, with either TLS library.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn handshake_that_is_cut_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 16 * 1024]);
        }
    });
    let (_dir, path) = file(10);
    let retry = RetryPolicy::default()
        .max_attempts(3)
        .base_delay(Duration::from_millis(1));
    let error = put(
        &bucket(builder(&format!("https://{address}")).retry(retry)),
        &path,
    )
    .unwrap_err();
    assert_eq!(accepted.load(Ordering::SeqCst), 3, "{error}");
    assert!(
        error.is_resumable() && error.to_string().contains("TLS handshake"),
        "{error}"
    );
}

#[test]
fn cancel_does_not_wait_for_a_handshake_or_a_response() {
    for endpoint in [
        "http",
        if cfg!(feature = "rustls") {
            "https"
        } else {
            "http"
        },
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let token = CancelToken::new();
        let cancelling = token.clone();
        thread::spawn(move || {
            let accepted = listener.accept().unwrap();
            thread::sleep(Duration::from_millis(200));
            cancelling.cancel();
            thread::sleep(Duration::from_secs(30));
            drop(accepted);
        });
        let (_dir, path) = file(10);
        let builder =
            builder(&format!("{endpoint}://{address}")).connect_timeout(Duration::from_secs(30));
        let started = Instant::now();
        let options = [cancel(&token)];
        let result = bucket(builder.stall_timeout(Duration::from_secs(30))).upload_file(
            "o",
            &path,
            1 << 20,
            options,
        );
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
}

#[cfg(feature = "rustls")]
#[test]
fn root_certificates_must_be_certificates() {
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = builder("https://127.0.0.1:1")
        .root_certificates_pem(no_certificate)
        .build()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidOption {
                option: "root_certificates_pem",
                ..
            }
        ),
        "{error}"
    );
    let both = format!("{}{no_certificate}", crate::tls::CERTIFICATE);
    builder("https://127.0.0.1:1")
        .root_certificates_pem(both)
        .build()
        .unwrap_err();
    builder("https://127.0.0.1:1")
        .root_certificates_pem(crate::tls::CERTIFICATE)
        .build()
        .unwrap();
}

/// 100 threads and few descriptors: the existing connections send all parts, and the checkpoint is
/// written.
#[cfg(unix)]
#[test]
fn descriptors_that_run_out_mean_fewer_connections() {
    const ENDPOINT: &str = "OSS_UPLOAD_TEST_ENDPOINT";
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        let (_dir, path) = file(120 * (100 << 10));
        let options = [oss_upload::routines(100), oss_upload::checkpoint(true, "")];
        let uploaded = bucket(builder(&endpoint).stall_timeout(Duration::from_secs(20)))
            .upload_file("o", &path, 100 << 10, options)
            .unwrap();
        assert_eq!(uploaded.parts, 120);
        return;
    }
    for limit in [20, 50, 105] {
        let server = local_oss::LocalOss::start();
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit -n {limit} && exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args([
                "connections::descriptors_that_run_out_mean_fewer_connections",
                "--exact",
                "--nocapture",
            ])
            .env(ENDPOINT, server.endpoint())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "limit {limit}: {text}{errors}"
        );
        assert!(server.object("examplebucket", "o").is_some());
    }
}

/// What plain `openssl req -x509` makes: self-signed, and an authority's.
#[cfg(feature = "rustls")]
#[test]
fn certificate_of_an_authority_is_named_with_its_remedy() {
    let (certificate, key) = (
        include_str!("tls/authority.pem"),
        include_str!("tls/authority_key.pem"),
    );
    let server = Server::start(|request, _, stream| store(request, stream));
    let address = crate::tls::tls_with(certificate, key, server.address);
    let (_dir, path) = file(10);
    let builder = builder(&format!("https://localhost:{}", address.port()));
    let error = put(&bucket(builder.root_certificates_pem(certificate)), &path).unwrap_err();
    assert!(
        error.to_string().contains("basicConstraints=CA:FALSE"),
        "{error}"
    );
    assert!(!error.is_resumable() && server.requests().is_empty());
}

/// As curl and OpenSSL's programs do.
#[cfg(feature = "rustls")]
#[test]
fn root_certificates_come_from_ssl_cert_file() {
    const ENDPOINT: &str = "OSS_UPLOAD_TEST_ENDPOINT";
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        let (_dir, path) = file(10);
        match builder(&endpoint).build() {
            Ok(client) => match put(&client.bucket("examplebucket").unwrap(), &path) {
                Ok(_) => println!("uploaded"),
                Err(error) => println!("{error}"),
            },
            Err(error) => println!("{error}"),
        }
        return;
    }
    let server = Server::start(|request, _, stream| store(request, stream));
    let address = crate::tls::tls_in_front_of(server.address);
    let (dir, junk) = file(10);
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, crate::tls::CERTIFICATE).unwrap();
    let missing = dir.path().join("missing.pem");
    for (variable, expected) in [
        (roots, "uploaded"),
        (junk, "SSL_CERT_FILE holds no certificate"),
        (missing, "SSL_CERT_FILE names"),
        (PathBuf::new(), "SSL_CERT_FILE, or the system's"),
    ] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "connections::root_certificates_come_from_ssl_cert_file",
                "--exact",
                "--nocapture",
            ])
            .env(ENDPOINT, format!("https://localhost:{}", address.port()))
            .env("SSL_CERT_FILE", &variable)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(expected), "{variable:?}: {text}");
    }
}

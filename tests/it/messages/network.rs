//! No answer comes. Everything is on the loopback interface.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::Duration;

use local_oss::{Fault, Operation, Rule};
use oss_upload::{ClientBuilder, Error};

use super::{Book, client, house};
use crate::house::{House, PART};

pub fn all(book: &mut Book) {
    connections(book);
    proxies(book);
    silence(book);
    broken(book);
    #[cfg(feature = "rustls")]
    tls(book);
}

fn upload_by(house: &House, builder: ClientBuilder) -> Error {
    let bucket = builder.build().unwrap().bucket("examplebucket").unwrap();
    bucket
        .upload_file("dir/object.bin", house.file("f", 3 * PART), PART, [])
        .unwrap_err()
}

/// Where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

/// Says the same to everybody, whatever they ask, and hangs up.
fn saying(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            // TLS has no lines: it is not heard to the end.
            let _ = lines.take_while(|line| !line.is_empty()).count();
            let _ = stream.write_all(words);
        }
    });
    address.to_string()
}

fn connections(book: &mut Book) {
    let house = house();
    book.add(
        "nobody listens",
        upload_by(&house, client(&format!("http://{}", nobody()))),
    );
    // A label this long is in no zone: the resolver says so without asking anybody.
    let unknown = format!("http://{}.invalid", "no-such-host-".repeat(6));
    book.add("the host is not known", upload_by(&house, client(&unknown)));
}

fn proxies(book: &mut Book) {
    let house = house();
    let through =
        |proxy: String| client(&house.server.endpoint()).proxy(format!("http://me:hush@{proxy}"));
    book.add(
        "the proxy is not there",
        upload_by(&house, through(nobody())),
    );
    let password = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    book.add(
        "the proxy wants another password",
        upload_by(&house, through(saying(password))),
    );
    let forbidden = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    book.add(
        "the proxy does not let it through",
        upload_by(&house, through(saying(forbidden))),
    );
    book.add(
        "the proxy is none",
        upload_by(&house, through(saying(b"220 mail ready\r\n"))),
    );
}

fn struck(fault: Fault, operation: Operation) -> Error {
    let house = house();
    house
        .server
        .inject(Rule::new(fault).on(operation).forever());
    let patience = Duration::from_millis(300);
    upload_by(
        &house,
        client(&house.server.endpoint()).stall_timeout(patience),
    )
}

fn silence(book: &mut Book) {
    book.add(
        "no answer comes",
        struck(Fault::Stall, Operation::InitiateMultipartUpload),
    );
}

fn broken(book: &mut Book) {
    book.add(
        "the connection is reset",
        struck(Fault::Reset, Operation::InitiateMultipartUpload),
    );
    book.add(
        "the connection is closed",
        struck(Fault::CloseBeforeResponse, Operation::UploadPart),
    );
    book.add(
        "the answer breaks off",
        struck(Fault::TruncateResponse, Operation::InitiateMultipartUpload),
    );
    book.add(
        "the answer is not HTTP",
        struck(Fault::InvalidHttp, Operation::UploadPart),
    );
    let house = house();
    let mail = client(&format!("http://{}", saying(b"220 mail ready\r\n")));
    book.add("the endpoint is no web server", upload_by(&house, mail));
}

#[cfg(feature = "rustls")]
fn tls(book: &mut Book) {
    use crate::tls::{CERTIFICATE, tls_in_front_of};
    let house = house();
    let port = tls_in_front_of(house.server.address()).port();
    let strangers = client(&format!("https://localhost:{port}"));
    book.add(
        "the certificate is not trusted",
        upload_by(&house, strangers),
    );
    let misnamed = client(&format!("https://127.0.0.1:{port}")).root_certificates_pem(CERTIFICATE);
    book.add(
        "the certificate is another host's",
        upload_by(&house, misnamed),
    );
    let plain = client(&format!("https://{}", house.server.address()));
    book.add("https to a port that speaks http", upload_by(&house, plain));
    book.add(
        "http to a port that speaks https",
        upload_by(&house, client(&format!("http://localhost:{port}"))),
    );
    let hangs_up = client(&format!("https://{}", saying(b"")));
    book.add("https to a port that hangs up", upload_by(&house, hangs_up));
}

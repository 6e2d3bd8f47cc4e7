//! There is no response. All connections are local.

use std::net::TcpListener;
use std::time::Duration;

use local_oss::{Fault, Operation};
use oss_upload::Error;

use super::{MessageSnapshot, client, harness, upload_error_of};
use crate::harness::RawServer;

pub fn all(snapshot: &mut MessageSnapshot) {
    connections(snapshot);
    proxies(snapshot);
    silence(snapshot);
    broken(snapshot);
    #[cfg(feature = "rustls")]
    tls(snapshot);
}

/// An address that nothing listens on.
fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

fn connections(snapshot: &mut MessageSnapshot) {
    let t = harness();
    snapshot.add(
        "nothing is listening",
        upload_error_of(&t, client(&format!("http://{}", closed_port()))),
    );
    // No zone has a label this long: the resolver fails without a query.
    let unknown = format!("http://{}.invalid", "no-such-host-".repeat(6));
    snapshot.add(
        "the host is not known",
        upload_error_of(&t, client(&unknown)),
    );
}

fn proxies(snapshot: &mut MessageSnapshot) {
    let t = harness();
    let through =
        |proxy: String| client(&t.server.endpoint()).proxy(format!("http://me:hush@{proxy}"));
    snapshot.add(
        "nothing is listening at the proxy",
        upload_error_of(&t, through(closed_port())),
    );
    let password = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    snapshot.add(
        "the proxy rejects the password",
        upload_error_of(
            &t,
            through(RawServer::responding(password).address.to_string()),
        ),
    );
    let forbidden = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    snapshot.add(
        "the proxy denies the connection",
        upload_error_of(
            &t,
            through(RawServer::responding(forbidden).address.to_string()),
        ),
    );
    snapshot.add(
        "the proxy is not a proxy",
        upload_error_of(
            &t,
            through(
                RawServer::responding("220 mail ready\r\n")
                    .address
                    .to_string(),
            ),
        ),
    );
}

fn with_fault(fault: Fault, operation: Operation) -> Error {
    let t = harness();
    t.inject_always(operation, fault);
    let stall_timeout = Duration::from_millis(300);
    upload_error_of(
        &t,
        client(&t.server.endpoint()).stall_timeout(stall_timeout),
    )
}

fn silence(snapshot: &mut MessageSnapshot) {
    snapshot.add(
        "there is no response",
        with_fault(Fault::Stall, Operation::InitiateMultipartUpload),
    );
}

fn broken(snapshot: &mut MessageSnapshot) {
    snapshot.add(
        "the connection is reset",
        with_fault(Fault::Reset, Operation::InitiateMultipartUpload),
    );
    snapshot.add(
        "the connection is closed",
        with_fault(Fault::CloseBeforeResponse, Operation::UploadPart),
    );
    snapshot.add(
        "the response ends early",
        with_fault(Fault::TruncateResponse, Operation::InitiateMultipartUpload),
    );
    snapshot.add(
        "the response is not HTTP",
        with_fault(Fault::InvalidHttp, Operation::UploadPart),
    );
    let t = harness();
    let mail = client(&RawServer::responding("220 mail ready\r\n").url(""));
    snapshot.add(
        "the endpoint is not a web server",
        upload_error_of(&t, mail),
    );
}

#[cfg(feature = "rustls")]
fn tls(snapshot: &mut MessageSnapshot) {
    use crate::tls::{CERTIFICATE, tls_in_front_of};
    let t = harness();
    let port = tls_in_front_of(t.server.address()).port();
    let untrusted = client(&format!("https://localhost:{port}"));
    snapshot.add(
        "the certificate is not trusted",
        upload_error_of(&t, untrusted),
    );
    let wrong_host =
        client(&format!("https://127.0.0.1:{port}")).root_certificates_pem(CERTIFICATE);
    snapshot.add(
        "the certificate is another host's",
        upload_error_of(&t, wrong_host),
    );
    let plain = client(&format!("https://{}", t.server.address()));
    snapshot.add(
        "https to a port that speaks http",
        upload_error_of(&t, plain),
    );
    snapshot.add(
        "http to a port that speaks https",
        upload_error_of(&t, client(&format!("http://localhost:{port}"))),
    );
    let hangs_up = client(&format!("https://{}", RawServer::responding("").address));
    snapshot.add(
        "https to a port that hangs up",
        upload_error_of(&t, hangs_up),
    );
}

//! HTTPS, with a self-signed certificate for `localhost` that is valid until 2126 and was created
//! by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj
//! /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE
//! -keyout key.pem -out certificate.pem`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oss_upload::{Bucket, Client, Credentials, Error, RetryPolicy, checkpoint, routines};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::{Harness, PART};

pub const CERTIFICATE: &str = include_str!("tls/certificate.pem");
const KEY: &str = include_str!("tls/key.pem");

/// Starts a TLS proxy in front of the server. Returns its address.
pub fn tls_in_front_of(server: SocketAddr) -> SocketAddr {
    tls_with(CERTIFICATE, KEY, server)
}

pub fn tls_with(certificate: &str, key: &str, server: SocketAddr) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (listener, config) = (TcpListener::bind("127.0.0.1:0").unwrap(), Arc::new(config));
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            thread::spawn(move || splice(client, server, config));
        }
    });
    address
}

/// Forwards in both directions with one thread, by turns.
fn splice(client: TcpStream, server: SocketAddr, config: Arc<ServerConfig>) -> io::Result<()> {
    let tick = Some(Duration::from_millis(1));
    let mut plain = TcpStream::connect(server)?;
    client.set_read_timeout(tick)?;
    plain.set_read_timeout(tick)?;
    let mut tls = StreamOwned::new(
        ServerConnection::new(config).map_err(io::Error::other)?,
        client,
    );
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if !forward(&mut tls, &mut plain, &mut buffer)?
            || !forward(&mut plain, &mut tls, &mut buffer)?
        {
            return Ok(());
        }
    }
}

/// Returns false at the end of the stream.
fn forward(from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read(buffer) {
        Ok(0) => Ok(false),
        Ok(read) => to
            .write_all(&buffer[..read])
            .and_then(|()| to.flush())
            .map(|()| true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn bucket(endpoint: &str, roots: Option<&str>) -> Bucket {
    let builder = Client::builder(endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(RetryPolicy::default().base_delay(Duration::from_millis(1)));
    let builder = match roots {
        Some(pem) => builder.root_certificates_pem(pem),
        None => builder,
    };
    builder.build().unwrap().bucket("examplebucket").unwrap()
}

#[test]
fn tls_upload_succeeds() {
    let t = Harness::new();
    let address = tls_in_front_of(t.server.address());
    let path = t.file("f", 5 * PART + 1);
    let bucket = bucket(
        &format!("https://localhost:{}", address.port()),
        Some(CERTIFICATE),
    );
    let uploaded = bucket
        .upload_file("o", &path, PART, [routines(2), checkpoint(true, "")])
        .unwrap();
    assert_eq!(uploaded.parts, 6);
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn tls_untrusted_certificate_fails_without_retry() {
    let t = Harness::new();
    let address = tls_in_front_of(t.server.address());
    let path = t.file("f", 1);
    let untrusted = bucket(&format!("https://localhost:{}", address.port()), None);
    let wrong_host = bucket(
        &format!("https://127.0.0.1:{}", address.port()),
        Some(CERTIFICATE),
    );
    for bucket in [untrusted, wrong_host] {
        let error = bucket.upload_file("o", &path, PART, []).unwrap_err();
        assert!(
            matches!(error, Error::Transport { attempts: 1, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(t.server.requests().len(), 0);
}

//! The server of the benchmarks, which discards bodies. The argument is the latency of each request
//! in milliseconds. For each line of its input it prints the numbers of connections and requests
//! since the last line. It ends with its input.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use local_oss::LocalOss;
use oss_upload_bench::Result;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The end of the head of a message.
const BLANK_LINE: &[u8] = b"\r\n\r\n";

fn main() -> Result<()> {
    let latency = std::env::args()
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap_or(0);
    let server = LocalOss::builder()
        .discard(true)
        .latency(Duration::from_millis(latency))
        .start()?;
    let (tls, pem) = start_tls_proxy(server.address())?;
    let mut roots = tempfile::NamedTempFile::new()?;
    roots.write_all(pem.as_bytes())?;
    println!(
        "{}\nhttps://localhost:{}\n{}",
        server.endpoint(),
        tls.port(),
        roots.path().display()
    );
    let mut connections = 0;
    for _ in io::stdin().lock().lines() {
        println!(
            "{} {}",
            server.connections() - connections,
            server.requests().len()
        );
        connections = server.connections();
        server.clear_requests();
    }
    Ok(())
}

fn start_tls_proxy(server: SocketAddr) -> Result<(SocketAddr, String)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()])?;
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(
        config
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?,
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().map_while(io::Result::ok) {
            let config = config.clone();
            thread::spawn(move || proxy(client, server, config));
        }
    });
    Ok((address, cert.pem()))
}

/// Forwards a request with its body, then the response, and so on.
fn proxy(client: TcpStream, server: SocketAddr, config: Arc<ServerConfig>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut tls = StreamOwned::new(
        ServerConnection::new(config).map_err(io::Error::other)?,
        client,
    );
    let mut plain = TcpStream::connect(server)?;
    plain.set_nodelay(true)?;
    loop {
        forward(&mut tls, &mut plain)?;
        forward(&mut plain, &mut tls)?;
    }
}

/// Forwards one message with its body.
fn forward(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let (mut buffer, mut head) = (vec![0; 64 * 1024], Vec::new());
    let head_bytes = loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..read]);
        if let Some(at) = head
            .windows(BLANK_LINE.len())
            .position(|bytes| bytes == BLANK_LINE)
        {
            break at + BLANK_LINE.len();
        }
    };
    let mut left = content_length(&head[..head_bytes]).saturating_sub(head.len() - head_bytes);
    to.write_all(&head)?;
    while left > 0 {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..read])?;
        left = left.saturating_sub(read);
    }
    to.flush()
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

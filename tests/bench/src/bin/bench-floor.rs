//! The lower bound of the cost of an upload: reads a file once, computes its CRC-64, and writes it
//! to sockets. Each connection gets the same share, in requests of at most PART bytes.
//! `bench-floor FILE PART ROOTS URL…`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use oss_upload_bench::Result;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The number of bytes that are read and written at once, as in the crate.
const BUFFER_BYTES: usize = 112 << 10;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("FILE is missing")?)?;
    let part_size: u64 = arguments.next().ok_or("PART is missing")?.parse()?;
    let tls = client_config(&arguments.next().ok_or("ROOTS is missing")?)?;
    let urls: Vec<String> = arguments.collect();
    let share = file.metadata()?.len().div_ceil(urls.len() as u64);
    let (file, tls) = (&file, &tls);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, url) in (0..).zip(&urls) {
            let range = share * index..share * (index + 1);
            threads.push(scope.spawn(move || put(file, range, part_size, url, tls)));
        }
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("the thread panicked"))
    })
}

fn put(
    file: &File,
    range: Range<u64>,
    part_size: u64,
    url: &str,
    tls: &Arc<ClientConfig>,
) -> Result<()> {
    let (scheme, rest) = url.split_once("://").ok_or("the URL is not valid")?;
    let (host, path) = rest.split_once('/').ok_or("the URL is not valid")?;
    let socket = TcpStream::connect(host.replace("localhost", "127.0.0.1"))?;
    socket.set_nodelay(true)?;
    let end = range.end.min(file.metadata()?.len());
    let head = format!("PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: ");
    let mut socket: Box<dyn Stream> = match scheme {
        "http" => Box::new(socket),
        _ => Box::new(StreamOwned::new(
            ClientConnection::new(tls.clone(), "localhost".try_into()?)?,
            socket,
        )),
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    for start in range
        .step_by(part_size as usize)
        .take_while(|start| *start < end)
    {
        send_request(
            file,
            start..end.min(start + part_size),
            &head,
            &mut *socket,
            &mut buffer,
        )?;
    }
    Ok(())
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Sends one request and reads its response, which has no body.
fn send_request(
    file: &File,
    range: Range<u64>,
    head: &str,
    socket: &mut dyn Stream,
    buffer: &mut [u8],
) -> Result<()> {
    socket.write_all(format!("{head}{}\r\n\r\n", range.end - range.start).as_bytes())?;
    let (mut position, mut crc64) = (range.start, crc64fast::Digest::new());
    while position < range.end {
        let wanted = buffer.len().min((range.end - position) as usize);
        let read = file.read_at(&mut buffer[..wanted], position)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        crc64.write(&buffer[..read]);
        socket.write_all(&buffer[..read])?;
        position += read as u64;
    }
    socket.flush()?;
    let lines = BufReader::new(socket).lines().map_while(io::Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let expected = format!("x-oss-hash-crc64ecma: {}", crc64.sum64());
    let good = head.iter().any(|line| line.eq_ignore_ascii_case(&expected));
    if good {
        Ok(())
    } else {
        Err(format!("unexpected response: {head:?}").into())
    }
}

fn client_config(roots: &str) -> Result<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(
        config.with_root_certificates(store).with_no_client_auth(),
    ))
}

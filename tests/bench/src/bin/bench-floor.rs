//! The least that an upload can cost: reads a file once, computes its CRC-64, and writes it to sockets, an even share to
//! each of so many connections, in one request each. `bench-floor FILE BUFFER URL…`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::thread;

use oss_upload_bench::Result;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which file?")?)?;
    let buffer_bytes: usize = arguments.next().ok_or("which buffer?")?.parse()?;
    let urls: Vec<String> = arguments.collect();
    let share = file.metadata()?.len().div_ceil(urls.len() as u64);
    let file = &file;
    thread::scope(|scope| {
        let put = |(index, url): (usize, &String)| {
            let (url, start) = (url.clone(), share * index as u64);
            scope.spawn(move || put(file, start, share, &url, buffer_bytes))
        };
        let threads: Vec<_> = urls.iter().enumerate().map(put).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })
}

fn put(file: &File, start: u64, share: u64, url: &str, buffer_bytes: usize) -> Result<()> {
    let end = file.metadata()?.len().min(start + share);
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or("which URL?")?;
    let mut socket = TcpStream::connect(host)?;
    socket.set_nodelay(true)?;
    write!(socket, "PUT /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {}\r\n\r\n", end - start)?;
    let (mut buffer, mut position, mut crc64) = (vec![0; buffer_bytes], start, crc64fast::Digest::new());
    while position < end {
        let wanted = buffer.len().min((end - position) as usize);
        let read = file.read_at(&mut buffer[..wanted], position)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        crc64.write(&buffer[..read]);
        socket.write_all(&buffer[..read])?;
        position += read as u64;
    }
    let answers = BufReader::new(socket).lines().map_while(io::Result::ok);
    let head: Vec<String> = answers.take_while(|line| !line.is_empty()).collect();
    let crc64 = crc64.sum64().to_string();
    let good = head.iter().any(|line| line.to_ascii_lowercase().starts_with("x-oss-hash-crc64") && line.ends_with(&crc64));
    if good { Ok(()) } else { Err(format!("the server's answer: {head:?}").into()) }
}

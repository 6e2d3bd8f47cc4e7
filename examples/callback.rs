//! OSS tells an application server that the object has arrived, and hands its answer back; then one that refuses.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use local_oss::LocalOss;
use oss_upload::{Bucket, Callback, Client, Credentials, Uploaded, callback};

const KEY: &str = "examplefile.txt";

fn main() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let credentials = Credentials::new("ak", "sk");
    let client = Client::builder(&server.endpoint())
        .credentials(credentials)
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join(KEY);
    std::fs::write(&file, "hello world")?;

    let accepting = application_server("200 OK", r#"{"Status":"OK"}"#)?;
    let uploaded = upload(&bucket, &file, &accepting)?;
    let answer = uploaded.callback_body.ok_or("there is no answer")?;
    println!("callback_body: {}", String::from_utf8_lossy(&answer));

    let refusing = application_server("500 Internal Server Error", "{}")?;
    match upload(&bucket, &file, &refusing) {
        Err(error @ oss_upload::Error::Callback { .. }) => println!("Error::Callback: {error}"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("the callback was not refused".into()),
    }
    let object = server.object("examplebucket", KEY).ok_or("there is no object")?;
    println!("the object exists all the same: {} bytes", object.size);
    Ok(())
}

fn upload(bucket: &Bucket, file: &Path, application_server: &str) -> oss_upload::Result<Uploaded> {
    let notify = Callback::new(
        format!("{application_server}/uploaded"),
        "bucket=${bucket}&object=${object}&size=${size}&by=${x:user}",
    )
    .query("source", "the callback example")
    .var("x:user", "li");
    bucket.upload_file(KEY, file, 1 << 20, [callback(notify)])
}

/// Prints what it is told, and answers always the same. Returns its address.
fn application_server(status: &'static str, body: &'static str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for connection in listener.incoming() {
            if let Err(error) = connection.and_then(|stream| answer(&stream, status, body)) {
                eprintln!("application server: {error}");
            }
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut told = String::new();
    reader.take(length).read_to_string(&mut told)?;
    println!("application server: {} {told}", request.trim_end());
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

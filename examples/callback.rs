//! OSS notifies an application server that the object is complete, and passes on its response.
//! Then an application server that fails.

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
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join(KEY);
    std::fs::write(&file, "hello world")?;

    let accepting = application_server("200 OK", r#"{"Status":"OK"}"#)?;
    let uploaded = upload(&bucket, &file, &accepting)?;
    let body = uploaded
        .callback_body
        .ok_or("the callback's response is missing")?;
    println!("callback_body: {}", String::from_utf8_lossy(&body));

    let failing = application_server("500 Internal Server Error", "{}")?;
    match upload(&bucket, &file, &failing) {
        Err(error @ oss_upload::Error::Callback { .. }) => println!("Error::Callback: {error}"),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("the callback did not fail".into()),
    }
    let object = server
        .object("examplebucket", KEY)
        .ok_or("the object is missing")?;
    println!("the object exists nevertheless: {} bytes", object.size);
    Ok(())
}

fn upload(bucket: &Bucket, file: &Path, application_server: &str) -> oss_upload::Result<Uploaded> {
    let notify = Callback::new(
        format!("{application_server}/uploaded"),
        "bucket=${bucket}&object=${object}&size=${size}&by=${x:user}",
    )
    .query("source", "the callback example")
    .var("x:user", "li");
    bucket.upload_file(KEY, file, 8 << 20, [callback(notify)])
}

/// Starts a server that prints each request and always responds in the same way. Returns its
/// address.
fn application_server(status: &'static str, body: &'static str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for connection in listener.incoming() {
            if let Err(error) = connection.and_then(|stream| respond(&stream, status, body)) {
                eprintln!("application server: {error}");
            }
        }
    });
    Ok(address)
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request_line = String::new();
    reader.read_line(&mut request_line)?;
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
    let mut request_body = String::new();
    reader.take(length).read_to_string(&mut request_body)?;
    println!(
        "application server: {} {request_body}",
        request_line.trim_end()
    );
    write!(
        stream,
        "HTTP/1.1 {status}\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

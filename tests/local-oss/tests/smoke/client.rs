//! A client that is as plain as possible: one connection per request, V1 signatures, raw bytes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use local_oss::LocalOss;

/// The query parameters that these tests sign.
const SIGNED: [&str; 8] = [
    "acl",
    "continuation-token",
    "delete",
    "partNumber",
    "sequential",
    "tagging",
    "uploadId",
    "uploads",
];

/// An response as it arrived.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "));
        lines
            .into_iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let after = text
            .split_once(&format!("<{name}>"))
            .map(|(_, after)| after.to_owned());
        let inner = after.and_then(|after| {
            after
                .split_once(&format!("</{name}>"))
                .map(|(text, _)| text.to_owned())
        });
        inner.unwrap_or_default()
    }
}

pub struct Client {
    address: SocketAddr,
    pub id: String,
    pub secret: String,
    pub timeout: Duration,
}

impl Client {
    pub fn of(server: &LocalOss) -> Client {
        Client::at(server.address())
    }

    pub fn at(address: SocketAddr) -> Client {
        let timeout = Duration::from_secs(10);
        Client {
            address,
            id: "ak".to_owned(),
            secret: "sk".to_owned(),
            timeout,
        }
    }

    /// Sends a signed request for `examplebucket/<target>`; the key in the target must need no encoding.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut stream = self.connect()?;
        let written = stream
            .write_all(&self.head(method, target, headers, body.len()))
            .and_then(|()| stream.write_all(body));
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        // An response that arrived counts, even if the connection then broke.
        match parse(&bytes) {
            Some(response) => Ok(response),
            None => {
                written?;
                read?;
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "no whole response",
                ))
            }
        }
    }

    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    pub fn head(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Vec<u8> {
        let given = headers
            .iter()
            .find(|(name, _)| *name == "date")
            .map(|(_, value)| (*value).to_owned());
        let date = given.unwrap_or_else(|| httpdate::fmt_http_date(SystemTime::now()));
        let signature = self.sign(method, target, headers, &date);
        let mut head = format!(
            "{method} /examplebucket/{target} HTTP/1.1\r\nhost: {}\r\ndate: {date}\r\n",
            self.address
        );
        head += &format!(
            "authorization: OSS {}:{signature}\r\ncontent-length: {length}\r\n",
            self.id
        );
        for (name, value) in headers.iter().filter(|(name, _)| *name != "date") {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "connection") {
            head += "connection: close\r\n";
        }
        (head + "\r\n").into_bytes()
    }

    fn sign(&self, method: &str, target: &str, headers: &[(&str, &str)], date: &str) -> String {
        let value = |name| {
            headers
                .iter()
                .find(|(header, _)| *header == name)
                .map_or("", |(_, value)| value)
        };
        let mut text = format!(
            "{method}\n{}\n{}\n{date}\n",
            value("content-md5"),
            value("content-type")
        );
        let mut oss: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-oss-"))
            .collect();
        oss.sort();
        for (name, value) in oss {
            text += &format!("{name}:{value}\n");
        }
        let (key, query) = target.split_once('?').unwrap_or((target, ""));
        let mut signed: Vec<&str> = query
            .split('&')
            .filter(|pair| SIGNED.contains(&pair.split('=').next().unwrap_or_default()))
            .collect();
        signed.sort_unstable();
        text += &format!("/examplebucket/{key}");
        if !signed.is_empty() {
            text += &format!("?{}", signed.join("&"));
        }
        let mut mac =
            Hmac::<sha1::Sha1>::new_from_slice(self.secret.as_bytes()).expect("any key will do");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    /// Initiates an upload and returns its ID.
    pub fn initiate(&self, key: &str) -> String {
        let response = self
            .send("POST", &format!("{key}?uploads"), &[], b"")
            .expect("a response");
        assert_eq!(response.status, 200, "{}", response.text());
        response.element("UploadId")
    }

    pub fn part(&self, key: &str, id: &str, number: u32, body: &[u8]) -> io::Result<Response> {
        self.send(
            "PUT",
            &format!("{key}?partNumber={number}&uploadId={id}"),
            &[],
            body,
        )
    }

    /// Completes an upload with these parts.
    pub fn complete(
        &self,
        key: &str,
        id: &str,
        parts: &[(u32, &str)],
        headers: &[(&str, &str)],
    ) -> io::Result<Response> {
        let list: String = parts
            .iter()
            .map(|(number, etag)| {
                format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
            })
            .collect();
        let document = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        self.send(
            "POST",
            &format!("{key}?uploadId={id}"),
            headers,
            document.as_bytes(),
        )
    }
}

/// An response that is whole; `None` if it is not.
fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let response = Response {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    };
    let length = response
        .header("content-length")
        .and_then(|length| length.parse().ok());
    (length.unwrap_or(0) <= response.body.len()).then_some(response)
}

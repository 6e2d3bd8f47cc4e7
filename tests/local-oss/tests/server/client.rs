//! A minimal client: one connection per request, raw bytes, V1 signatures, and V4 where a test asks
//! for it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use local_oss::LocalOss;
use sha2::{Digest, Sha256};

/// The query parameters that are part of a V1 signature.
const SIGNED: [&str; 18] = [
    "append",
    "position",
    "symlink",
    "acl",
    "bucketInfo",
    "continuation-token",
    "delete",
    "location",
    "partNumber",
    "response-content-type",
    "sequential",
    "stat",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
    "versions",
    "x-oss-process",
];

/// A response as it was received.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .find(|(header, _)| header.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the text of the first element of this name.
    pub fn element(&self, name: &str) -> String {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let content = text
            .split_once(&open)
            .and_then(|(_, after)| after.split_once(&close));
        content.map_or(String::new(), |(content, _)| content.to_owned())
    }

    /// Returns the status, the error code and the EC.
    pub fn error(&self) -> (u16, String, String) {
        (self.status, self.element("Code"), self.element("EC"))
    }
}

pub struct Client {
    address: SocketAddr,
    pub id: String,
    pub secret: String,
    pub timeout: Duration,
}

/// The scope of a V4 signature, and how its date is sent.
pub struct V4<'a> {
    pub region: &'a str,
    pub product: &'a str,
    /// Whether the date is in `Date`, as an HTTP date, and not in `x-oss-date`.
    pub http_date: bool,
}

impl Client {
    pub fn of(server: &LocalOss) -> Client {
        Client::at(server.address())
    }

    pub fn at(address: SocketAddr) -> Client {
        Client {
            address,
            id: "ak".to_owned(),
            secret: "sk".to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    /// Sends a request for `examplebucket/<target>` with a V1 signature. The key in the target must
    /// need no encoding.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let head = self.head(method, target, headers, body.len());
        self.send_raw(&head, body)
    }

    /// Sends a request for the object `key` with a V4 signature.
    pub fn send_v4(&self, method: &str, key: &str, scope: &V4<'_>) -> io::Result<Response> {
        let now = SystemTime::now();
        let date = humantime::format_rfc3339_seconds(now).to_string();
        let date = date.replace(['-', ':'], "");
        let V4 {
            region, product, ..
        } = scope;
        let (mut signed, mut sent) = (String::new(), String::new());
        signed.push_str("x-oss-content-sha256:UNSIGNED-PAYLOAD\n");
        if scope.http_date {
            sent.push_str(&format!("date: {}\r\n", httpdate::fmt_http_date(now)));
        } else {
            signed.push_str(&format!("x-oss-date:{date}\n"));
            sent.push_str(&format!("x-oss-date: {date}\r\n"));
        }
        let canonical = format!("{method}\n/examplebucket/{key}\n\n{signed}\n\nUNSIGNED-PAYLOAD");
        let day = &date[..8];
        let scope = format!("{day}/{region}/{product}/aliyun_v4_request");
        let hash = hex(&Sha256::digest(canonical));
        let text = format!("OSS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
        let mut signature = format!("aliyun_v4{}", self.secret).into_bytes();
        for field in [day, region, product, "aliyun_v4_request", &text] {
            signature = hmac_sha256(&signature, field);
        }
        let head = format!(
            "{method} /examplebucket/{key} HTTP/1.1\r\nhost: {}\r\n{sent}\
             x-oss-content-sha256: UNSIGNED-PAYLOAD\r\ncontent-length: 0\r\nconnection: close\r\n\
             authorization: OSS4-HMAC-SHA256 Credential={}/{scope},Signature={}\r\n\r\n",
            self.address,
            self.id,
            hex(&signature)
        );
        self.send_raw(head.as_bytes(), b"")
    }

    pub fn send_raw(&self, head: &[u8], body: &[u8]) -> io::Result<Response> {
        let mut stream = self.connect()?;
        let written = stream.write_all(head).and_then(|()| stream.write_all(body));
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        // A response that arrived counts, even if the connection then broke.
        match parse(&bytes, head.starts_with(b"HEAD ")) {
            Some(response) => Ok(response),
            None => {
                written?;
                read?;
                let message = "no complete response";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, message))
            }
        }
    }

    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(stream)
    }

    /// Returns the head of a request for `examplebucket/<target>`, which is encoded already.
    pub fn head(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Vec<u8> {
        self.bucket_head("examplebucket", method, target, headers, length)
    }

    pub fn bucket_head(
        &self,
        bucket: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        length: usize,
    ) -> Vec<u8> {
        let given = headers.iter().find(|(name, _)| *name == "date");
        let date = match given {
            Some((_, date)) => (*date).to_owned(),
            None => httpdate::fmt_http_date(SystemTime::now()),
        };
        let path = format!("/{bucket}/{target}");
        let signature = self.sign(method, &path, headers, &date);
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ndate: {date}\r\n\
             authorization: OSS {}:{signature}\r\ncontent-length: {length}\r\n",
            self.address, self.id
        );
        for (name, value) in headers.iter().filter(|(name, _)| *name != "date") {
            head += &format!("{name}: {value}\r\n");
        }
        if !headers.iter().any(|(name, _)| *name == "connection") {
            head += "connection: close\r\n";
        }
        (head + "\r\n").into_bytes()
    }

    fn sign(&self, method: &str, path: &str, headers: &[(&str, &str)], date: &str) -> String {
        let value = |name| {
            headers
                .iter()
                .find(|(header, _)| *header == name)
                .map_or("", |(_, value)| value)
        };
        let (md5, content_type) = (value("content-md5"), value("content-type"));
        let mut text = format!("{method}\n{md5}\n{content_type}\n{date}\n");
        let mut oss: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-oss-"))
            .collect();
        oss.sort();
        for (name, value) in oss {
            text += &format!("{name}:{}\n", value.trim());
        }
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut signed: Vec<&str> = query
            .split('&')
            .filter(|pair| SIGNED.contains(&pair.split('=').next().unwrap_or_default()))
            .collect();
        signed.sort_unstable();
        text += &percent_encoding::percent_decode_str(&path.replace('+', " ")).decode_utf8_lossy();
        if !signed.is_empty() {
            text += &format!("?{}", signed.join("&"));
        }
        let mut mac =
            Hmac::<sha1::Sha1>::new_from_slice(self.secret.as_bytes()).expect("any key is valid");
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
        let target = format!("{key}?partNumber={number}&uploadId={id}");
        self.send("PUT", &target, &[], body)
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
        let target = format!("{key}?uploadId={id}");
        self.send("POST", &target, headers, document.as_bytes())
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key is valid");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a response; returns `None` if it is not complete. A response to HEAD has no body.
fn parse(bytes: &[u8], to_head: bool) -> Option<Response> {
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
    (to_head || length.unwrap_or(0) <= response.body.len()).then_some(response)
}

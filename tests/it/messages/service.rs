//! OSS says no, or something that is not OSS answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Callback, ClientBuilder, Credentials, Error, SignatureVersion, UploadOption, callback,
    checkpoint, forbid_overwrite,
};

use super::{Book, ID, SECRET, TOKEN, client, house, house_of};
use crate::callback::App;
use crate::house::{House, PART};

pub fn all(book: &mut Book) {
    credentials(book);
    clocks(book);
    places(book);
    rights(book);
    others(book);
    trouble(book);
    not_oss(book);
    untrue(book);
}

fn upload<'a>(house: &House, options: impl IntoIterator<Item = UploadOption<'a>>) -> Error {
    house
        .bucket
        .upload_file("dir/object.bin", house.file("f", 3 * PART), PART, options)
        .unwrap_err()
}

fn upload_by(house: &House, builder: ClientBuilder) -> Error {
    let bucket = builder.build().unwrap().bucket("examplebucket").unwrap();
    bucket
        .upload_file("dir/object.bin", house.file("f", 3 * PART), PART, [])
        .unwrap_err()
}

fn struck(fault: Fault, operation: Operation) -> Error {
    let house = house();
    house
        .server
        .inject(Rule::new(fault).on(operation).forever());
    upload(&house, [checkpoint(true, "")])
}

fn status(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

fn credentials(book: &mut Book) {
    let house = house();
    let by = |credentials| {
        upload_by(
            &house,
            client(&house.server.endpoint()).credentials(credentials),
        )
    };
    book.add(
        "the AccessKey id is unknown",
        by(Credentials::new("AKIDunknown", SECRET)),
    );
    book.add(
        "the AccessKey secret is another's",
        by(Credentials::new(ID, "hush-other")),
    );
    let token_too_many = Credentials::new(ID, SECRET).with_security_token(TOKEN);
    book.add(
        "a security token that does not belong to the key",
        by(token_too_many),
    );
    house
        .server
        .add_credentials("STS.example", SECRET, Some(TOKEN));
    book.add(
        "the security token is missing",
        by(Credentials::new("STS.example", SECRET)),
    );
    house.server.expire_credentials("STS.example");
    let expired = Credentials::new("STS.example", SECRET).with_security_token(TOKEN);
    book.add("the security token has expired", by(expired));
    let v1_closed = house_of(
        LocalOss::builder()
            .credentials(ID, SECRET)
            .allow_v1(false)
            .start()
            .unwrap(),
    );
    let v1 = client(&v1_closed.server.endpoint()).signature(SignatureVersion::V1);
    book.add("V1 signatures are refused", upload_by(&v1_closed, v1));
    let disabled = "<Code>UserDisable</Code><Message>UserDisable</Message><EC>0003-00000801</EC>";
    book.add(
        "the account is in arrears",
        upload_by(&house, client(&answering(403, "", &xml(disabled)))),
    );
}

fn clocks(book: &mut Book) {
    let skewed = status(403, "RequestTimeTooSkewed");
    book.add(
        "the clock is wrong, and OSS's does not help",
        struck(skewed, Operation::UploadPart),
    );
}

fn places(book: &mut Book) {
    let house = house();
    let elsewhere = client(&house.server.endpoint()).region("cn-beijing");
    book.add(
        "the region is not the bucket's",
        upload_by(&house, elsewhere),
    );
    let redirect = "<Code>AccessDenied</Code><Message>The bucket you are attempting to access must be addressed using the \
        specified endpoint. Please send all future requests to this endpoint.</Message>\
        <Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint><EC>0003-00001403</EC>";
    book.add(
        "the bucket is in another region",
        upload_by(&house, client(&answering(403, "", &xml(redirect)))),
    );
    let other = client(&house.server.endpoint())
        .build()
        .unwrap()
        .bucket("otherbucket")
        .unwrap();
    book.add(
        "the bucket is not there",
        other
            .upload_file("o", house.file("f", 1), PART, [])
            .unwrap_err(),
    );
    for code in [301, 307] {
        let location = "http://other.example.com/examplebucket/o".to_owned();
        let redirect = Fault::Redirect {
            status: code,
            location,
        };
        book.add(
            &format!("a redirect ({code})"),
            struck(redirect, Operation::InitiateMultipartUpload),
        );
    }
}

fn rights(book: &mut Book) {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::ListMultipartUploads,
        Operation::AbortMultipartUpload,
    ] {
        let house = house();
        house.server.inject(
            Rule::new(status(403, "AccessDenied"))
                .on(operation)
                .forever(),
        );
        let error = match operation {
            Operation::ListMultipartUploads => house
                .bucket
                .multipart_uploads("dir/")
                .next()
                .unwrap()
                .unwrap_err(),
            Operation::AbortMultipartUpload => {
                house.bucket.abort_multipart_upload("o", "ID").unwrap_err()
            }
            _ => upload(&house, [checkpoint(true, "")]),
        };
        book.add(&format!("no right to {operation:?}"), error);
    }
    book.add(
        "a refusal without a word",
        struck(status(403, ""), Operation::UploadPart),
    );
}

fn others(book: &mut Book) {
    let house = house();
    house
        .server
        .put_object("examplebucket", "dir/object.bin", b"there");
    book.add(
        "the object is there, and is not to be overwritten",
        upload(&house, [forbid_overwrite(true)]),
    );
    let failing = App::start(500, "{}");
    let error = upload(
        &house,
        [callback(Callback::new(failing.url("/done"), "body"))],
    );
    book.add("the callback fails", error);
    let expired = struck(Fault::ExpireUpload, Operation::UploadPart);
    book.add("somebody aborts the upload again and again", expired);
    for (mistake, code, http) in [
        ("an argument that OSS does not take", "InvalidArgument", 400),
        ("a part that OSS does not find", "InvalidPart", 400),
        ("the bucket is archived away", "InvalidObjectState", 403),
    ] {
        book.add(
            mistake,
            struck(status(http, code), Operation::CompleteMultipartUpload),
        );
    }
}

fn trouble(book: &mut Book) {
    for (mistake, fault) in [
        ("OSS is in trouble (500)", status(500, "InternalError")),
        ("OSS is busy (503)", status(503, "ServiceUnavailable")),
        ("too many requests (429)", status(429, "")),
        (
            "an error hides in a 200",
            Fault::ErrorInside200 {
                code: "InternalError".into(),
            },
        ),
    ] {
        book.add(mistake, struck(fault, Operation::UploadPart));
    }
}

fn not_oss(book: &mut Book) {
    book.add(
        "a page instead of an answer",
        struck(Fault::Html, Operation::InitiateMultipartUpload),
    );
    book.add(
        "a page instead of a part's answer",
        struck(Fault::Html, Operation::UploadPart),
    );
    let house = house();
    let portal =
        "<html>\r\n<head><title>Please log in</title></head><body>Hotel\u{7} Wi-Fi</body></html>";
    for (mistake, code) in [
        ("a portal refuses", 403),
        ("a gateway is in trouble", 502),
        ("a web server has no such page", 404),
    ] {
        book.add(
            mistake,
            upload_by(
                &house,
                client(&answering(code, "Content-Type: text/html\r\n", portal)),
            ),
        );
    }
    book.add(
        "an endless answer",
        struck(
            Fault::HugeResponse(1 << 30),
            Operation::InitiateMultipartUpload,
        ),
    );
}

fn untrue(book: &mut Book) {
    use Operation::{CompleteMultipartUpload, InitiateMultipartUpload, UploadPart};
    book.add(
        "the answer is cut",
        struck(Fault::TruncateXml, InitiateMultipartUpload),
    );
    book.add("the answer has no ETag", struck(Fault::NoEtag, UploadPart));
    book.add(
        "a part's CRC-64 is another",
        struck(Fault::WrongCrc, UploadPart),
    );
    book.add(
        "the object's CRC-64 is another",
        struck(Fault::WrongCrc, CompleteMultipartUpload),
    );
    book.add("damaged on the way", struck(Fault::CorruptBody, UploadPart));
    let house = house();
    let headers = "ETag: \"E\"\r\nx-oss-hash-crc64ecma: none\r\n";
    let bucket = client(&answering(200, headers, ""))
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let error = bucket
        .upload_file("o", house.file("f", 1), PART, [])
        .unwrap_err();
    book.add("the CRC-64 is no number", error);
}

fn xml(fields: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error>{fields}<RequestId>R1</RequestId><HostId>h</HostId></Error>"
    )
}

/// A server that answers everything with the same words; gives its endpoint.
fn answering(status: u16, headers: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let answer = format!(
        "HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    );
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = answer_one(stream, &answer);
        }
    });
    format!("http://{address}")
}

fn answer_one(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while {
        line.clear();
        reader.read_line(&mut line)? > 2
    } {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    stream.write_all(answer.as_bytes())
}

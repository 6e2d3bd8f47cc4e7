//! OSS responds with an error, or the response is not from OSS.

use local_oss::{Fault, LocalOss, Operation};
use oss_upload::{
    Callback, ClientBuilder, Credentials, Error, SignatureVersion, UploadOption, callback,
    checkpoint, forbid_overwrite,
};

use super::{
    ID, MessageSnapshot, SECRET, TOKEN, client, harness, harness_with, upload_error,
    upload_error_of,
};
use crate::harness::{
    CallbackServer, Harness, PART, RawServer, bucket, http_response, list_uploads,
    service_unavailable, status,
};

pub fn all(snapshot: &mut MessageSnapshot) {
    credentials(snapshot);
    clocks(snapshot);
    regions_and_buckets(snapshot);
    permissions(snapshot);
    others(snapshot);
    transient_errors(snapshot);
    foreign_responses(snapshot);
    wrong_responses(snapshot);
}

/// The error of an upload of a file of three parts.
fn upload<'a>(t: &Harness, options: impl IntoIterator<Item = UploadOption<'a>>) -> Error {
    t.file("f", 3 * PART);
    upload_error(t, options)
}

fn with_fault(fault: Fault, operation: Operation) -> Error {
    let t = harness();
    t.inject_always(operation, fault);
    upload(&t, [checkpoint(true, "")])
}

fn credentials(snapshot: &mut MessageSnapshot) {
    let t = harness();
    let by =
        |credentials| upload_error_of(&t, client(&t.server.endpoint()).credentials(credentials));
    snapshot.add(
        "the AccessKey id is unknown",
        by(Credentials::new("AKIDunknown", SECRET)),
    );
    snapshot.add(
        "the AccessKey secret is wrong",
        by(Credentials::new(ID, "hush-other")),
    );
    let token_too_many = Credentials::new(ID, SECRET).with_security_token(TOKEN);
    snapshot.add(
        "a security token that does not belong to the key",
        by(token_too_many),
    );
    t.server.add_credentials("STS.example", SECRET, Some(TOKEN));
    snapshot.add(
        "the security token is missing",
        by(Credentials::new("STS.example", SECRET)),
    );
    t.server.expire_credentials("STS.example");
    let expired = Credentials::new("STS.example", SECRET).with_security_token(TOKEN);
    snapshot.add("the security token has expired", by(expired));
    let v1_closed = harness_with(
        LocalOss::builder()
            .credentials(ID, SECRET)
            .allow_v1(false)
            .start()
            .unwrap(),
    );
    let v1 = client(&v1_closed.server.endpoint()).signature(SignatureVersion::V1);
    snapshot.add(
        "V1 signatures are rejected",
        upload_error_of(&v1_closed, v1),
    );
    let disabled = "<Code>UserDisable</Code><Message>UserDisable</Message><EC>0003-00000801</EC>";
    snapshot.add(
        "the account is in arrears",
        upload_error_of(&t, client_of_server(403, "", &xml(disabled))),
    );
}

fn clocks(snapshot: &mut MessageSnapshot) {
    let skewed = status(403, "RequestTimeTooSkewed");
    snapshot.add(
        "the clock is wrong and cannot be synchronized",
        with_fault(skewed, Operation::UploadPart),
    );
}

fn regions_and_buckets(snapshot: &mut MessageSnapshot) {
    let t = harness();
    let elsewhere = client(&t.server.endpoint()).region("cn-beijing");
    snapshot.add(
        "the region is not the bucket's",
        upload_error_of(&t, elsewhere),
    );
    let redirect = "<Code>AccessDenied</Code><Message>The bucket you are attempting to access must be addressed using the \
        specified endpoint. Please send all future requests to this endpoint.</Message>\
        <Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint><EC>0003-00001403</EC>";
    snapshot.add(
        "the bucket is in another region",
        upload_error_of(&t, client_of_server(403, "", &xml(redirect))),
    );
    let other = client(&t.server.endpoint())
        .build()
        .unwrap()
        .bucket("otherbucket")
        .unwrap();
    snapshot.add(
        "the bucket does not exist",
        other
            .upload_file("o", t.file("f", 1), PART, [])
            .unwrap_err(),
    );
    for code in [301, 307] {
        let location = "http://other.example.com/examplebucket/o".to_owned();
        let redirect = Fault::Redirect {
            status: code,
            location,
        };
        snapshot.add(
            &format!("a redirect ({code})"),
            with_fault(redirect, Operation::InitiateMultipartUpload),
        );
    }
}

fn permissions(snapshot: &mut MessageSnapshot) {
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::CompleteMultipartUpload,
        Operation::ListMultipartUploads,
        Operation::AbortMultipartUpload,
    ] {
        let t = harness();
        t.deny_always(operation);
        let error = match operation {
            Operation::ListMultipartUploads => list_uploads(&t.bucket, "dir/").unwrap_err(),
            Operation::AbortMultipartUpload => {
                t.bucket.abort_multipart_upload("o", "ID").unwrap_err()
            }
            _ => upload(&t, [checkpoint(true, "")]),
        };
        snapshot.add(&format!("no right to {operation:?}"), error);
    }
    snapshot.add(
        "an error response without a body",
        with_fault(status(403, ""), Operation::UploadPart),
    );
}

fn others(snapshot: &mut MessageSnapshot) {
    let t = harness();
    t.server
        .put_object("examplebucket", "dir/object.bin", b"there");
    snapshot.add(
        "the object exists, and must not be overwritten",
        upload(&t, [forbid_overwrite(true)]),
    );
    let failing = CallbackServer::start(500, "{}");
    let error = upload(&t, [callback(Callback::new(failing.url("/done"), "body"))]);
    snapshot.add("the callback fails", error);
    let expired = with_fault(Fault::ExpireUpload, Operation::UploadPart);
    snapshot.add(
        "the upload is aborted by another process, repeatedly",
        expired,
    );
    for (mistake, code, http) in [
        ("an argument that OSS rejects", "InvalidArgument", 400),
        ("a part that OSS does not have", "InvalidPart", 400),
        ("the object is archived", "InvalidObjectState", 403),
    ] {
        snapshot.add(
            mistake,
            with_fault(status(http, code), Operation::CompleteMultipartUpload),
        );
    }
}

fn transient_errors(snapshot: &mut MessageSnapshot) {
    for (mistake, fault) in [
        ("OSS fails (500)", status(500, "InternalError")),
        ("OSS is busy (503)", service_unavailable()),
        ("too many requests (429)", status(429, "")),
        (
            "a 200 response has an error document",
            Fault::ErrorInside200 {
                code: "InternalError".into(),
            },
        ),
    ] {
        snapshot.add(mistake, with_fault(fault, Operation::UploadPart));
    }
}

fn foreign_responses(snapshot: &mut MessageSnapshot) {
    snapshot.add(
        "an HTML page instead of a response",
        with_fault(Fault::Html, Operation::InitiateMultipartUpload),
    );
    snapshot.add(
        "an HTML page instead of a part's response",
        with_fault(Fault::Html, Operation::UploadPart),
    );
    let t = harness();
    let portal =
        "<html>\r\n<head><title>Please log in</title></head><body>Hotel\u{7} Wi-Fi</body></html>";
    for (mistake, code) in [
        ("a captive portal responds with 403", 403),
        ("a gateway responds with 502", 502),
        ("a web server has no such page", 404),
    ] {
        snapshot.add(
            mistake,
            upload_error_of(
                &t,
                client_of_server(code, "Content-Type: text/html\r\n", portal),
            ),
        );
    }
    snapshot.add(
        "a response without end",
        with_fault(
            Fault::HugeResponse(1 << 30),
            Operation::InitiateMultipartUpload,
        ),
    );
}

fn wrong_responses(snapshot: &mut MessageSnapshot) {
    use Operation::{CompleteMultipartUpload, InitiateMultipartUpload, UploadPart};
    snapshot.add(
        "the response is truncated",
        with_fault(Fault::TruncateXml, InitiateMultipartUpload),
    );
    snapshot.add(
        "the response has no ETag",
        with_fault(Fault::NoEtag, UploadPart),
    );
    snapshot.add(
        "a part's CRC-64 differs",
        with_fault(Fault::WrongCrc, UploadPart),
    );
    snapshot.add(
        "the object's CRC-64 differs",
        with_fault(Fault::WrongCrc, CompleteMultipartUpload),
    );
    snapshot.add(
        "the body is corrupted in transit",
        with_fault(Fault::CorruptBody, UploadPart),
    );
    let t = harness();
    let headers = "ETag: \"E\"\r\nx-oss-hash-crc64ecma: none\r\n";
    let bucket = bucket(client_of_server(200, headers, ""));
    let error = bucket
        .upload_file("o", t.file("f", 1), PART, [])
        .unwrap_err();
    snapshot.add("the CRC-64 is not a number", error);
}

fn xml(fields: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><Error>{fields}<RequestId>R1</RequestId><HostId>h</HostId></Error>"
    )
}

/// A client of a server that sends this response to every request.
fn client_of_server(status: u16, headers: &str, body: &str) -> ClientBuilder {
    client(&RawServer::responding(http_response(status, headers, body)).url(""))
}

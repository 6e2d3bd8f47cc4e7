//! Keys, responses, credentials and tokens as the whole call sees them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    CancelToken, Client, Credentials, Error, ProgressEvent, ProvideCredentials, RetryPolicy,
    cancel, checkpoint, delete_upload_on_cancelling, progress,
};

use crate::harness::{Harness, PART, client};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn status(status: u16, code: &str) -> Fault {
    Fault::Status {
        status,
        code: code.into(),
        retry_after: None,
    }
}

#[test]
fn key_with_control_characters_is_uploaded_and_one_with_nul_is_rejected() {
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    let key = "dir/\u{1}\u{1f} \u{7f}%\u{85}+中";
    t.bucket
        .upload_file(key, &path, PART, [checkpoint(true, "")])
        .unwrap();
    t.assert_stored(key, &path);
    let requests = t.server.requests().len();
    for key in ["a\0b", "\u{fffe}", "a\u{ffff}"] {
        let error = t.bucket.upload_file(key, &path, PART, []).unwrap_err();
        assert!(
            matches!(error, Error::InvalidOption { option: "key", .. }),
            "{error:?}"
        );
    }
    assert_eq!(t.server.requests().len(), requests);
}

#[test]
fn retry_of_request_timeout_with_status_400() {
    for (fault, size) in [
        (status(400, "RequestTimeout"), 2 * PART),
        (status(400, "RequestTimeout"), 1),
        (status(400, "BadRequest"), 2 * PART),
        (status(401, "Unauthorized"), 2 * PART),
    ] {
        let t = Harness::new();
        let path = t.file("f", size);
        let operation = if size == 1 {
            Operation::PutObject
        } else {
            Operation::UploadPart
        };
        t.server.inject(Rule::new(fault).on(operation));
        t.bucket.upload_file("o", &path, PART, []).unwrap();
        t.assert_stored("o", &path);
    }
}

/// A web server or a captive portal accepts everything, with an ETag.
#[test]
fn response_that_is_not_from_oss_is_not_a_success() {
    for response in [
        "HTTP/1.1 200 OK\r\nETag: \"AB\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: \"AB\"\r\nContent-Length: 13\r\n\r\n<html></html>",
        "HTTP/1.1 201 Created\r\nETag: \"AB\"\r\nx-oss-request-id: R\r\nContent-Length: 0\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\nx")
                    && stream.read(&mut byte).is_ok_and(|read| read == 1)
                {
                    request.push(byte[0]);
                }
                let _ = stream.write_all(response.as_bytes());
            }
        });
        let t = Harness::new();
        let path = t.path("f");
        std::fs::write(&path, "x").unwrap();
        let bucket = Client::builder(&format!("http://{address}"))
            .credentials(Credentials::new("ak", "sk"))
            .region("cn-hangzhou")
            .no_proxy()
            .retry(RetryPolicy::default().max_attempts(1))
            .build()
            .unwrap()
            .bucket("examplebucket")
            .unwrap();
        let error = bucket.upload_file("o", &path, PART, []).unwrap_err();
        assert!(
            matches!(error, Error::Response { .. }),
            "{response:?}: {error:?}"
        );
    }
}

/// Returns a revoked token until OSS has rejected it.
#[derive(Default)]
struct CachingProvider {
    refused: Mutex<Vec<Credentials>>,
    asked: AtomicUsize,
}

impl ProvideCredentials for CachingProvider {
    fn credentials(&self) -> Result<Credentials, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let token = if self.refused.lock().unwrap().is_empty() {
            "old"
        } else {
            "new"
        };
        Ok(Credentials::new("ak", "sk").with_security_token(token))
    }

    fn refused(&self, credentials: &Credentials) {
        self.refused.lock().unwrap().push(credentials.clone());
    }
}

#[test]
fn credentials_provider_is_told_which_ones_were_refused() {
    for code in [
        "InvalidAccessKeyId",
        "AccessKeyIdAndSecurityTokenNotMatch",
        "SecurityTokenExpired",
    ] {
        let t = Harness::new();
        let path = t.file("f", 1);
        t.server
            .inject(Rule::new(status(403, code)).on(Operation::PutObject));
        let provider = Arc::new(CachingProvider::default());
        let bucket = client(&t.server)
            .credentials(provider.clone())
            .build()
            .unwrap();
        let bucket = bucket.bucket("examplebucket").unwrap();
        // The server may reject the new token. The test checks only that it was sent.
        let _ = bucket.upload_file("o", &path, PART, []);
        let refused = provider.refused.lock().unwrap();
        let old = Credentials::new("ak", "sk").with_security_token("old");
        assert_eq!(refused.first(), Some(&old), "{code}");
        assert_eq!(t.requests(Operation::PutObject).len(), 2, "{code}");
    }
}

#[test]
fn pause_keeps_the_upload_and_the_same_call_resumes() {
    for pauses in [true, false] {
        let t = Harness::new();
        let path = t.file("f", 4 * PART);
        let token = CancelToken::new();
        let stop = |event: &ProgressEvent, parts_done: usize| {
            if *event == ProgressEvent::Transferred && parts_done == 2 {
                if pauses {
                    token.pause()
                } else {
                    token.cancel()
                }
            }
        };
        let options = [
            checkpoint(true, ""),
            delete_upload_on_cancelling(true),
            cancel(&token),
            progress(|p| stop(&p.event, p.parts_done)),
        ];
        t.server.inject(
            Rule::new(Fault::Delay(Duration::from_millis(300)))
                .on(Operation::UploadPart)
                .times(100),
        );
        let error = t.bucket.upload_file("o", &path, PART, options).unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
        assert_eq!(t.server.uploads().len(), usize::from(pauses));
        assert_eq!(t.path("f.cp").exists(), pauses);
        let uploaded = t
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap();
        assert_eq!(uploaded.parts_resumed >= 2, pauses);
    }
}

/// Proxies that compress or rewrite responses mark the ETag as weak.
#[test]
fn etag_with_a_weak_mark_is_that_of_the_part() {
    let t = Harness::with_server(LocalOss::builder().weak_etags(true).start().unwrap());
    let path = t.file("f", 2 * PART + 1);
    t.refuse_part(3);
    t.upload([checkpoint(true, "")]).unwrap_err();
    let uploaded = t.upload([checkpoint(true, "")]).unwrap();
    assert_eq!((uploaded.parts, uploaded.parts_resumed), (3, 2));
    assert_eq!(t.parts_sent(), [1, 2, 3, 3]);
    t.assert_stored("o", &path);
    let small = t.file("small", 1);
    t.bucket.upload_file("small", &small, PART, []).unwrap();
    t.assert_stored("small", &small);
}

//! Signature V4 (OSS documentation, "Include a V4 signature in the Authorization header").

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;
use crate::encoding::{percent_encode, percent_encode_path};
use crate::protocol::request::{Request, encode_query_pairs};
use crate::time;

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Adds the headers that sign the request. `region` is without `oss-`: `cn-hangzhou`.
///
/// The product is always `oss`: CloudBox, whose product is `oss-cloudbox`, is not supported.
pub(crate) fn sign(
    mut request: Request,
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
) -> Request {
    let timestamp = time::format_iso8601_basic(now);
    request = request
        .header("date", time::format_http_date(now))
        .header("x-oss-date", timestamp.as_str())
        .header("x-oss-content-sha256", PAYLOAD);
    if let Some(token) = credentials.security_token() {
        request = request.header("x-oss-security-token", token);
    }
    let scope = format!("{}/{region}/oss/aliyun_v4_request", &timestamp[..8]);
    let signature = signature(&request, credentials.secret(), &timestamp, &scope);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{scope},Signature={signature}",
        credentials.id()
    );
    request.header("authorization", authorization)
}

fn signature(request: &Request, secret: &str, timestamp: &str, scope: &str) -> String {
    let hash = hex(&Sha256::digest(canonical_request(request)));
    let string_to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{hash}");
    let key = scope
        .split('/')
        .fold(format!("aliyun_v4{secret}").into_bytes(), |key, step| {
            hmac(&key, step)
        });
    hex(&hmac(&key, &string_to_sign))
}

/// Returns the path that is signed. It has the bucket, even where the URL has it in the host or not
/// at all.
fn canonical_request(request: &Request) -> String {
    let uri = match request.bucket.as_str() {
        "" => "/".to_owned(),
        bucket => format!("/{bucket}/{}", percent_encode_path(&request.key)),
    };
    let mut query: Vec<_> = request
        .query
        .iter()
        .map(|(name, value)| (percent_encode(name), percent_encode(value)))
        .collect();
    query.sort_unstable();
    let headers = super::canonical_headers(request, &["content-type", "content-md5"]);
    format!(
        "{}\n{uri}\n{}\n{headers}\n\n{PAYLOAD}",
        request.method.name(),
        encode_query_pairs(query.into_iter())
    )
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::OperationKind;
    use crate::part::UploadedParts;
    use crate::protocol::complete::CompleteMultipartUpload;
    use crate::protocol::initiate::InitiateMultipartUpload;
    use crate::protocol::list_parts::ListParts;
    use crate::protocol::request::{Action, Method};
    use crate::protocol::upload_part::UploadPart;

    /// The operation is not signed.
    const ANY: OperationKind = OperationKind::PutObject;

    fn signed(request: Request, date: &str) -> String {
        let request = request
            .header("x-oss-date", date)
            .header("x-oss-content-sha256", PAYLOAD);
        let scope = format!("{}/cn-hangzhou/oss/aliyun_v4_request", &date[..8]);
        signature(&request, "sk", date, &scope)
    }

    fn with_query(request: Request) -> Request {
        let query = [
            ("param1", "value1"),
            ("+param1", "value3"),
            ("|param1", "value4"),
            ("+param2", ""),
            ("|param2", ""),
            ("param2", ""),
        ];
        query
            .into_iter()
            .fold(request, |request, (name, value)| request.query(name, value))
    }

    fn go_request() -> Request {
        with_query(Request::new(ANY, Method::Put, "bucket", "1234+-/123/1.txt"))
            .header("x-oss-head1", "value")
            .header("abc", "value")
            .header("zabc", "value")
            .header("xyz", "value")
            .header("content-type", "text/plain")
    }

    #[test]
    fn v4_canonical_request_literally() {
        let request = go_request()
            .header("x-oss-date", "20231216T162057Z")
            .header("x-oss-content-sha256", PAYLOAD);
        let canonical = canonical_request(&request);
        assert_eq!(
            canonical,
            "PUT\n/bucket/1234%2B-/123/1.txt\n\
             %2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n\
             content-type:text/plain\nx-oss-content-sha256:UNSIGNED-PAYLOAD\n\
             x-oss-date:20231216T162057Z\nx-oss-head1:value\n\
             \n\nUNSIGNED-PAYLOAD"
        );
        assert_eq!(
            hex(&Sha256::digest(canonical)),
            "f4613657f1b108998e8dbd10a1aa5da621dc2c6e02c9ddec0f163664848704c4"
        );
    }

    #[test]
    fn v4_vectors_of_the_go_sdk() {
        assert_eq!(
            signed(go_request(), "20231216T162057Z"),
            "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"
        );
        assert_eq!(
            signed(
                go_request().header("x-oss-security-token", "token"),
                "20231217T034736Z"
            ),
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"
        );
    }

    #[test]
    fn v4_vector_of_the_php_sdk() {
        let append = Request::new(ANY, Method::Post, "bucket", "object")
            .query("append", "")
            .query("position", 0)
            .header("content-type", "text/plain");
        assert_eq!(
            signed(append, "20231216T162057Z"),
            "f7a645f23a0434ea90d5e2bb2bca90d0fda9ef4bc54a9c5008b2134e7c9023f2"
        );
    }

    /// The names of the metadata differ only in punctuation, which decides their order.
    #[test]
    fn v4_vector_of_the_java_sdk_with_metadata() {
        let request = with_query(Request::new(ANY, Method::Put, "bucket", "1234+-/123/1.txt"))
            .header("x-oss-meta-zzz", "value1")
            .header("x-oss-meta-aaa", "value2")
            .header("x-oss-meta-123", "value3")
            .header("x-oss-meta-abc123", "value4")
            .header("x-oss-meta-abc-123", "value5")
            .header("x-oss-meta-abc_123", "value6")
            .header("x-oss-meta-abc", "value7")
            .header("content-type", "application/json")
            .header("content-md5", "md5hash");
        assert_eq!(
            signed(request, "20231216T162057Z"),
            "3e9a6ebd7789767059589cc62116d9e4ebc4787e11b937f1683d0f344cf2693e"
        );
    }

    #[test]
    fn v4_vectors_of_the_c_sdk() {
        let key = "test-sign-V4/-!@#$%^&*()/abcdefjhijklmnoqprstuvwxyz/123456789";
        let request = || {
            Request::new(ANY, Method::Put, "oss-bucket-test", key)
                .header("content-type", "application/octet-stream")
                .header("x-oss-head1", "value")
        };
        assert_eq!(
            signed(request(), "20221016T091431Z"),
            "5028172a0a3806285979896982bee6e36e915cbf428ee7100a809e1f0ff43b64"
        );
        assert_eq!(
            signed(with_query(request()), "20221016T040719Z"),
            "16e58322c5aafb55edd82813b02d6521caab8194882c786bf0e77b7987a63979"
        );
    }

    #[test]
    fn v4_vectors_of_the_multipart_requests() {
        let (bucket, key, upload_id) = ("bucket", "multi part+中.data", "0004B9895DBBB6EC98E36");
        let sign = |request: Request| signed(request, "20231216T162057Z");
        let headers = &[("content-type".into(), "application/octet-stream".into())];
        let initiate = InitiateMultipartUpload {
            bucket,
            key,
            sequential: false,
            headers,
        };
        assert_eq!(
            sign(initiate.request()),
            "bdac76cb81e4ca4a04b51d13a30e63c170d626c3ea58d3665cf096e43bea3903"
        );
        let part = UploadPart {
            bucket,
            key,
            upload_id,
            number: 1,
            content_md5: None,
            headers: &[],
        };
        assert_eq!(
            sign(part.request()),
            "9bc03f1da9f52137ce42de873b074a5e38c3df081f23467694ee710b1a739d2d"
        );
        let list = ListParts {
            bucket,
            key,
            upload_id,
            marker: 0,
            headers: &[],
        };
        assert_eq!(
            sign(list.request()),
            "9cdd75183e266a17c44d6b80ec24099f1299588740a37de66d0e190f7761bacc"
        );
        let complete = CompleteMultipartUpload {
            bucket,
            key,
            upload_id,
            parts: &UploadedParts::default(),
            headers: &[],
            has_callback: false,
        };
        assert_eq!(
            sign(complete.request()),
            "1f3b2decb238a8be6a5b81fe0fc5132f5cbc6ef3c66892f6d9eb26906f9b62b7"
        );
    }

    #[test]
    fn v4_header_as_a_whole() {
        let credentials = Credentials::new("ak", "sk").with_security_token("token");
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_702_743_657);
        let request = sign(go_request(), &credentials, "cn-hangzhou", at);
        let header = |name: &str| request.header_value(name).unwrap();
        assert_eq!(header("x-oss-date"), "20231216T162057Z");
        assert_eq!(header("date"), "Sat, 16 Dec 2023 16:20:57 GMT");
        assert!(header("authorization").starts_with(
            "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,Signature="
        ));
    }
}

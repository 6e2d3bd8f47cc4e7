//! Signature V4 (OSS documentation, "Include a V4 signature in the Authorization header").

use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;
use crate::dates;
use crate::encoding::{encoded, encoded_path};
use crate::protocol::request::{Request, join};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Adds the headers that make the request a signed one. `region` is without `oss-`: `cn-hangzhou`.
pub(crate) fn sign(
    mut request: Request,
    credentials: &Credentials,
    region: &str,
    now: SystemTime,
) -> Request {
    let timestamp = dates::compact(now);
    request = request
        .header("date", dates::http(now))
        .header("x-oss-date", timestamp.as_str())
        .header("x-oss-content-sha256", PAYLOAD);
    if let Some(token) = credentials.security_token() {
        request = request.header("x-oss-security-token", token);
    }
    let scope = format!("{}/{region}/oss/aliyun_v4_request", &timestamp[..8]);
    let signature = signature(&request, credentials.secret(), &timestamp, &scope);
    let authorization = format!("{ALGORITHM} Credential={}/{scope},Signature={signature}", credentials.id());
    request.header("authorization", authorization)
}

fn signature(request: &Request, secret: &str, timestamp: &str, scope: &str) -> String {
    let hash = hex(&Sha256::digest(canonical_request(request)));
    let string_to_sign = format!("{ALGORITHM}\n{timestamp}\n{scope}\n{hash}");
    let key = scope.split('/').fold(format!("aliyun_v4{secret}").into_bytes(), |key, step| hmac(&key, step));
    hex(&hmac(&key, &string_to_sign))
}

/// The bucket is in the path even where the URL has it in the host, or nowhere.
fn canonical_request(request: &Request) -> String {
    let uri = match request.bucket.as_str() {
        "" => "/".to_owned(),
        bucket => format!("/{bucket}/{}", encoded_path(&request.key)),
    };
    let mut query: Vec<_> =
        request.query.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    query.sort_unstable();
    let headers = super::canonical_headers(request, &["content-type", "content-md5"]);
    format!("{}\n{uri}\n{}\n{headers}\n\n{PAYLOAD}", request.method.name(), join(query.into_iter()))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::Method;
    use crate::protocol::{complete, initiate, list_parts, upload_part};

    fn signed(request: Request, date: &str) -> String {
        let request = request.header("x-oss-date", date).header("x-oss-content-sha256", PAYLOAD);
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
        query.into_iter().fold(request, |request, (name, value)| request.query(name, value))
    }

    fn go_request() -> Request {
        with_query(Request::new("", Method::Put, "bucket", "1234+-/123/1.txt"))
            .header("x-oss-head1", "value")
            .header("abc", "value")
            .header("zabc", "value")
            .header("xyz", "value")
            .header("content-type", "text/plain")
    }

    #[test]
    fn the_canonical_request_literally() {
        let request =
            go_request().header("x-oss-date", "20231216T162057Z").header("x-oss-content-sha256", PAYLOAD);
        let canonical = canonical_request(&request);
        assert_eq!(
            canonical,
            "PUT\n/bucket/1234%2B-/123/1.txt\n\
             %2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n\
             content-type:text/plain\nx-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20231216T162057Z\nx-oss-head1:value\n\
             \n\nUNSIGNED-PAYLOAD"
        );
        assert_eq!(
            hex(&Sha256::digest(canonical)),
            "f4613657f1b108998e8dbd10a1aa5da621dc2c6e02c9ddec0f163664848704c4"
        );
    }

    #[test]
    fn vectors_of_the_go_sdk() {
        assert_eq!(
            signed(go_request(), "20231216T162057Z"),
            "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"
        );
        assert_eq!(
            signed(go_request().header("x-oss-security-token", "token"), "20231217T034736Z"),
            "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"
        );
    }

    #[test]
    fn vectors_of_the_c_sdk() {
        let key = "test-sign-V4/-!@#$%^&*()/abcdefjhijklmnoqprstuvwxyz/123456789";
        let request = || {
            Request::new("", Method::Put, "oss-bucket-test", key)
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
    fn vectors_of_the_multipart_requests() {
        let (bucket, key, id) = ("bucket", "multi part+中.data", "0004B9895DBBB6EC98E36");
        let sign = |request: Request| signed(request, "20231216T162057Z");
        let content_type = [("content-type".into(), "application/octet-stream".into())];
        let initiate = initiate::request(bucket, key, false, &content_type).query("encoding-type", "url");
        assert_eq!(sign(initiate), "bdac76cb81e4ca4a04b51d13a30e63c170d626c3ea58d3665cf096e43bea3903");
        assert_eq!(
            sign(upload_part::request(bucket, key, id, 1, &[])),
            "9bc03f1da9f52137ce42de873b074a5e38c3df081f23467694ee710b1a739d2d"
        );
        assert_eq!(
            sign(list_parts::request(bucket, key, id, 0, &[])),
            "9cdd75183e266a17c44d6b80ec24099f1299588740a37de66d0e190f7761bacc"
        );
        assert_eq!(
            sign(complete::request(bucket, key, id, &[])),
            "1f3b2decb238a8be6a5b81fe0fc5132f5cbc6ef3c66892f6d9eb26906f9b62b7"
        );
    }

    #[test]
    fn the_header_as_a_whole() {
        let credentials = Credentials::new("ak", "sk").with_security_token("token");
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_702_743_657);
        let request = sign(go_request(), &credentials, "cn-hangzhou", at);
        let header = |name: &str| request.headers.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!(header("x-oss-date"), "20231216T162057Z");
        assert_eq!(header("date"), "Sat, 16 Dec 2023 16:20:57 GMT");
        assert!(header("authorization").starts_with(
            "OSS4-HMAC-SHA256 Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,Signature="
        ));
    }
}

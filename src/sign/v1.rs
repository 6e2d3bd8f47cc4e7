//! Signature V1 (OSS documentation, "Include a V1 signature in the Authorization header").

use std::time::SystemTime;

use hmac::digest::block_api::BlockSizeUser;
use hmac::digest::consts::{U20, U64};
use hmac::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};
use hmac::{KeyInit, Mac, SimpleHmac};

use crate::credentials::Credentials;
use crate::encoding::base64_encode;
use crate::protocol::request::Request;
use crate::time;

/// The query parameters that are part of the resource.
const SIGNED_QUERY: [&str; 16] = [
    "acl",
    "append",
    "callback",
    "callback-var",
    "objectMeta",
    "partNumber",
    "position",
    "resourceGroup",
    "restore",
    "security-token",
    "sequential",
    "symlink",
    "tagging",
    "uploadId",
    "uploads",
    "versionId",
];

/// Adds the headers that sign the request.
pub(crate) fn sign(mut request: Request, credentials: &Credentials, now: SystemTime) -> Request {
    request = request.header("date", time::format_http_date(now));
    if let Some(token) = credentials.security_token() {
        request = request.header("x-oss-security-token", token);
    }
    let signature = signature(&string_to_sign(&request), credentials.secret());
    let authorization = format!("OSS {}:{signature}", credentials.id());
    request.header("authorization", authorization)
}

fn string_to_sign(request: &Request) -> String {
    let header = |name: &str| request.header_value(name).unwrap_or_default();
    format!(
        "{}\n{}\n{}\n{}\n{}{}",
        request.method.name(),
        header("content-md5"),
        header("content-type"),
        header("date"),
        super::canonical_headers(request, &[]),
        resource(request)
    )
}

/// Returns the resource of the request. Key and values are not encoded here.
fn resource(request: &Request) -> String {
    let mut resource = match (request.bucket.as_str(), request.key.as_str()) {
        ("", _) => "/".to_owned(),
        (bucket, key) => format!("/{bucket}/{key}"),
    };
    let query = request
        .query
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    let mut query: Vec<(&str, &str)> = query.filter(|(name, _)| is_signed(name)).collect();
    query.sort_unstable();
    for (at, (name, value)) in query.into_iter().enumerate() {
        resource.push(if at == 0 { '?' } else { '&' });
        resource.push_str(name);
        if !value.is_empty() {
            resource.push('=');
            resource.push_str(value);
        }
    }
    resource
}

fn is_signed(name: &str) -> bool {
    SIGNED_QUERY.contains(&name) || name.starts_with("x-oss-") || name.starts_with("response-")
}

fn signature(text: &str, secret: &str) -> String {
    let mut mac = SimpleHmac::<Sha1>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes a key of any length");
    Mac::update(&mut mac, text.as_bytes());
    base64_encode(mac.finalize().into_bytes())
}

/// Implements the traits that `hmac` needs for `sha1_smol`.
#[derive(Clone, Default)]
struct Sha1(sha1_smol::Sha1);

impl HashMarker for Sha1 {}

impl OutputSizeUser for Sha1 {
    type OutputSize = U20;
}

impl BlockSizeUser for Sha1 {
    type BlockSize = U64;
}

impl Update for Sha1 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl FixedOutput for Sha1 {
    fn finalize_into(self, out: &mut Output<Self>) {
        out.copy_from_slice(&self.0.digest().bytes());
    }
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

    fn signed(request: &Request, secret: &str) -> String {
        signature(&string_to_sign(request), secret)
    }

    fn go_put(query: &[(&'static str, &str)]) -> Request {
        let date = "Wed, 28 Dec 2022 10:27:41 GMT";
        let request = Request::new(ANY, Method::Put, "examplebucket", "nelson")
            .header("content-md5", "eB5eJF1ptWaXm4bijSPyxw==")
            .header("content-type", "text/html")
            .header("x-oss-meta-magic", "abracadabra")
            .header("x-oss-meta-author", "alice")
            .header("x-oss-date", date)
            .header("date", date);
        query
            .iter()
            .fold(request, |request, (name, value)| request.query(name, value))
    }

    #[test]
    fn v1_vectors_of_the_go_sdk() {
        assert_eq!(signed(&go_put(&[]), "sk"), "kSHKmLxlyEAKtZPkJhG9bZb5k7M=");
        assert_eq!(
            signed(&go_put(&[("acl", "")]), "sk"),
            "/afkugFbmWDQ967j1vr6zygBLQk="
        );
        let date = "Wed, 28 Dec 2022 10:27:41 GMT";
        let get = || {
            let request = Request::new(ANY, Method::Get, "examplebucket", "");
            request
                .header("x-oss-date", date)
                .header("date", date)
                .query("resourceGroup", "")
        };
        let not_signed = get().query("non-resousce", "null");
        assert_eq!(signed(&not_signed, "sk"), "vkQmfuUDyi1uDi3bKt67oemssIs=");
        assert_eq!(
            signed(&get().query("acl", ""), "sk"),
            "x3E5TgOvl/i7PN618s5mEvpJDYk="
        );
    }

    #[test]
    fn v1_vectors_with_a_token() {
        let with_token =
            |query| signed(&go_put(query).header("x-oss-security-token", "token"), "sk");
        assert_eq!(with_token(&[]), "H3PAlN3Vucn74tPVEqaQC4AnLwQ=");
        assert_eq!(with_token(&[("acl", "")]), "yeceHMAsgusDPCR979RJcLtd7RI=");
        let with_other = [("acl", ""), ("non-signed-key", "value")];
        assert_eq!(with_token(&with_other), "yeceHMAsgusDPCR979RJcLtd7RI=");
    }

    #[test]
    fn v1_vectors_of_the_ruby_sdk() {
        let request = |method, bucket: &str, key: &str| {
            Request::new(ANY, method, bucket, key).header("date", "Fri, 30 Oct 2015 07:21:00 GMT")
        };
        let sign = |request: &Request| signed(request, "helloworld");
        assert_eq!(
            sign(&request(Method::Get, "", "")),
            "u8QKAAj/axKX4JhHXa5DYfYSPxE="
        );
        let put = || request(Method::Put, "bucket", "object-new");
        let copy = put().header("x-oss-copy-source", "/bucket/object-old");
        assert_eq!(sign(&copy), "McYUmBaErN//yvE9voWRhCgvsIc=");
        let append = put().query("append", "").query("position", 0);
        assert_eq!(sign(&append), "7Oh2wobzeg6dw/cWYbF/2m6s6qc=");
    }

    #[test]
    fn v1_hmac_sha1_vector_of_the_java_sdk() {
        let text = "/ListTable\nDate=Mon%2C%2028%20Nov%202011%2014%3A02%3A46%20GMT\
            &OTSAccessKeyId=csdev&APIVersion=1&SignatureMethod=HmacSHA1&SignatureVersion=1";
        assert_eq!(signature(text, "csdev"), "3mAoxRc8hd7WdaFB5Ii7dGNcwx0=");
    }

    #[test]
    fn v1_vectors_of_the_multipart_requests() {
        let (bucket, key, upload_id) = ("bucket", "multi part+中.data", "0004B9895DBBB6EC98E36");
        let sign = |request: Request| {
            signed(
                &request.header("date", "Fri, 24 Feb 2012 06:38:30 GMT"),
                "sk",
            )
        };
        let headers = &[("content-type".into(), "application/octet-stream".into())];
        let initiate = InitiateMultipartUpload {
            bucket,
            key,
            sequential: false,
            headers,
        };
        assert_eq!(sign(initiate.request()), "XVPEm+pT9+P3y5Z1zzpJWhvYI0A=");
        let part = UploadPart {
            bucket,
            key,
            upload_id,
            number: 1,
            content_md5: None,
            headers: &[],
        };
        assert_eq!(sign(part.request()), "GvxhWJagZw4GWBpqB1nlUtOJb20=");
        let list = ListParts {
            bucket,
            key,
            upload_id,
            marker: 0,
            headers: &[],
        };
        assert_eq!(sign(list.request()), "7vn2zE0RPq9BVMzgAWo1XNmiO3I=");
        let complete = CompleteMultipartUpload {
            bucket,
            key,
            upload_id,
            parts: &UploadedParts::default(),
            headers: &[],
            has_callback: false,
        };
        assert_eq!(sign(complete.request()), "Y4IsBi0SbbDhcP5vv38UBWol7ww=");
    }

    #[test]
    fn v1_signs_the_token() {
        let credentials = Credentials::new("ak", "sk").with_security_token("token");
        let request = Request::new(ANY, Method::Put, "b", "k");
        let request = sign(request, &credentials, SystemTime::UNIX_EPOCH);
        assert!(string_to_sign(&request).contains("\nx-oss-security-token:token\n"));
        assert!(
            request
                .header_value("authorization")
                .unwrap()
                .starts_with("OSS ak:")
        );
    }
}

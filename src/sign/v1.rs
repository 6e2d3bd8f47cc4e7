//! Signature V1 (OSS documentation, "Include a V1 signature in the Authorization header").

use std::time::SystemTime;

use hmac::digest::block_api::BlockSizeUser;
use hmac::digest::consts::{U20, U64};
use hmac::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};
use hmac::{KeyInit, Mac, SimpleHmac};

use crate::credentials::Credentials;
use crate::dates;
use crate::encoding::base64;
use crate::protocol::request::Request;

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

/// Adds the headers that make the request a signed one.
pub(crate) fn sign(mut request: Request, credentials: &Credentials, now: SystemTime) -> Request {
    request = request.header("date", dates::http(now));
    if let Some(token) = credentials.security_token() {
        request = request.header("x-oss-security-token", token);
    }
    let signature = signature(&string_to_sign(&request), credentials.secret());
    let authorization = format!("OSS {}:{signature}", credentials.id());
    request.header("authorization", authorization)
}

fn string_to_sign(request: &Request) -> String {
    let header =
        |name: &str| request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
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

/// Key and values stand here as they are, not encoded.
fn resource(request: &Request) -> String {
    let mut resource = match (request.bucket.as_str(), request.key.as_str()) {
        ("", _) => "/".to_owned(),
        (bucket, key) => format!("/{bucket}/{key}"),
    };
    let query = request.query.iter().map(|(name, value)| (*name, value.as_str()));
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
    let mut mac =
        SimpleHmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    Mac::update(&mut mac, text.as_bytes());
    base64(mac.finalize().into_bytes())
}

/// `sha1_smol` in the shape that `hmac` takes.
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
    use crate::protocol::request::Method;
    use crate::protocol::{complete, initiate, upload_part};

    fn signed(request: &Request, secret: &str) -> String {
        signature(&string_to_sign(request), secret)
    }

    #[test]
    fn vectors_of_the_go_sdk() {
        let date = "Wed, 28 Dec 2022 10:27:41 GMT";
        let put = |query: &[&'static str]| {
            let request = Request::new("", Method::Put, "examplebucket", "nelson")
                .header("content-md5", "eB5eJF1ptWaXm4bijSPyxw==")
                .header("content-type", "text/html")
                .header("x-oss-meta-magic", "abracadabra")
                .header("x-oss-meta-author", "alice")
                .header("x-oss-date", date)
                .header("date", date);
            query.iter().fold(request, |request, name| request.query(name, ""))
        };
        assert_eq!(signed(&put(&[]), "sk"), "kSHKmLxlyEAKtZPkJhG9bZb5k7M=");
        assert_eq!(signed(&put(&["acl"]), "sk"), "/afkugFbmWDQ967j1vr6zygBLQk=");
        let get = || {
            let request = Request::new("", Method::Get, "examplebucket", "");
            request.header("x-oss-date", date).header("date", date).query("resourceGroup", "")
        };
        assert_eq!(signed(&get().query("non-resousce", "null"), "sk"), "vkQmfuUDyi1uDi3bKt67oemssIs=");
        assert_eq!(signed(&get().query("acl", ""), "sk"), "x3E5TgOvl/i7PN618s5mEvpJDYk=");
    }

    #[test]
    fn vectors_of_the_ruby_sdk() {
        let request = |method, bucket: &str, key: &str| {
            Request::new("", method, bucket, key).header("date", "Fri, 30 Oct 2015 07:21:00 GMT")
        };
        let sign = |request: &Request| signed(request, "helloworld");
        assert_eq!(sign(&request(Method::Get, "", "")), "u8QKAAj/axKX4JhHXa5DYfYSPxE=");
        let copy =
            request(Method::Put, "bucket", "object-new").header("x-oss-copy-source", "/bucket/object-old");
        assert_eq!(sign(&copy), "McYUmBaErN//yvE9voWRhCgvsIc=");
        let append = request(Method::Put, "bucket", "object-new").query("append", "").query("position", 0);
        assert_eq!(sign(&append), "7Oh2wobzeg6dw/cWYbF/2m6s6qc=");
    }

    #[test]
    fn vectors_of_the_multipart_requests() {
        let (bucket, key, id) = ("bucket", "multi part+中.data", "0004B9895DBBB6EC98E36");
        let sign = |request: Request| signed(&request.header("date", "Fri, 24 Feb 2012 06:38:30 GMT"), "sk");
        let content_type = [("content-type".into(), "application/octet-stream".into())];
        assert_eq!(
            sign(initiate::request(bucket, key, false, &content_type)),
            "XVPEm+pT9+P3y5Z1zzpJWhvYI0A="
        );
        assert_eq!(sign(upload_part::request(bucket, key, id, 1, &[])), "GvxhWJagZw4GWBpqB1nlUtOJb20=");
        let list = crate::protocol::list_parts::request(bucket, key, id, 0, &[]);
        assert_eq!(sign(list), "7vn2zE0RPq9BVMzgAWo1XNmiO3I=");
        assert_eq!(sign(complete::request(bucket, key, id, &[])), "Y4IsBi0SbbDhcP5vv38UBWol7ww=");
    }

    #[test]
    fn the_token_is_signed_too() {
        let credentials = Credentials::new("ak", "sk").with_security_token("token");
        let request = sign(upload_part::request("b", "k", "i", 1, &[]), &credentials, SystemTime::UNIX_EPOCH);
        assert!(string_to_sign(&request).contains("\nx-oss-security-token:token\n"));
        assert!(
            request
                .headers
                .iter()
                .any(|(name, value)| name == "authorization" && value.starts_with("OSS ak:"))
        );
    }
}

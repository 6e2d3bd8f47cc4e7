//! The head of a request: its bucket, its object and its operation.

use std::net::IpAddr;

use hyper::http::request::Parts;

use crate::builder::Settings;
use crate::error::{OssError, Result};
use crate::faults::Operation;
use crate::text::decode;

/// The longest object key, in bytes.
const KEY_BYTES_MAX: usize = 1023;
/// Sub-resources that OSS knows. A parameter without a value is taken for one as well.
const SUB_RESOURCES: &str = "accessPoint accessPointPolicy acl append asyncFetch bucketArchiveDirectRead bucketInfo cname comp \
    cors delete encryption img inventory inventoryId lifecycle live location logging metaQuery objectInfo \
    objectMeta partNumber policy policyStatus position publicAccessBlock qos qosInfo referer regionList regions \
    replication replicationLocation replicationProgress requestPayment resourceGroup restore seal sequential \
    stat status style styleName symlink tagging transferAcceleration uploadId uploads versionId versioning \
    versions vod website worm wormExtend wormId x-oss-process x-oss-async-process";

/// The head of a request, as received and as interpreted.
pub(crate) struct Head {
    pub(crate) operation: Operation,
    pub(crate) method: String,
    /// The path as received.
    pub(crate) path: String,
    /// The query as received.
    pub(crate) query: String,
    /// All headers: names in lower case, values as received.
    pub(crate) received_headers: Vec<(String, Vec<u8>)>,
    /// The headers that the server sees. The front end of OSS drops those with an underscore in
    /// their name before the signature is verified.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// The decoded query.
    pub(crate) params: Vec<(String, String)>,
    /// Empty if the request addresses no bucket.
    pub(crate) bucket: String,
    /// Empty if the request addresses no object.
    pub(crate) key: String,
    /// Whether the path or the query is not percent-encoded UTF-8.
    undecodable: bool,
}

impl Head {
    pub(crate) fn read(parts: &Parts, settings: &Settings) -> Head {
        let received_headers: Vec<(String, Vec<u8>)> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_owned()))
            .collect();
        let mut headers = received_headers.clone();
        headers.retain(|(name, _)| !name.contains('_'));
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let host = parts
            .headers
            .get("host")
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        let mut undecodable = false;
        let (bucket, raw_key) = address(host, &path, settings);
        // Both in the path and in the query, an unencoded plus is a space.
        let key = decode_or_mark(&raw_key.replace('+', " "), &mut undecodable);
        let params = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let mut decoded =
                    |text: &str| decode_or_mark(&text.replace('+', " "), &mut undecodable);
                (decoded(name), decoded(value))
            })
            .collect();
        let method = parts.method.as_str().to_owned();
        let mut head = Head {
            operation: Operation::Other,
            method,
            path,
            query,
            received_headers,
            headers,
            params,
            bucket,
            key,
            undecodable,
        };
        head.operation = head.classify();
        head
    }

    /// Returns the first header of this name, if it is UTF-8.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value).ok()
    }

    /// Returns the first query parameter of this name; an empty string if it has no value.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(param, _)| param == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn part_number(&self) -> Option<u32> {
        self.param("partNumber")?.parse().ok()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Returns whether the client waits for a `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// Parses a header whose value must be `true` or `false`; without the header it is `false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.header(name) {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(OssError::invalid_argument(
                name,
                value,
                "The value must be true or false.",
            )),
        }
    }

    /// Parses a number in the query, which must be within the limits.
    pub(crate) fn number(
        &self,
        name: &'static str,
        default: usize,
        limits: (usize, usize),
    ) -> Result<usize> {
        let Some(text) = self.param(name).filter(|text| !text.is_empty()) else {
            return Ok(default);
        };
        match text.parse::<usize>() {
            Ok(number) if (limits.0..=limits.1).contains(&number) => Ok(number),
            _ => Err(OssError::invalid_argument(
                name,
                text,
                format!("Argument {name} is out of range."),
            )),
        }
    }

    /// Checks that the path can be decoded and that the key is valid.
    pub(crate) fn check_target(&self) -> Result<()> {
        if self.undecodable {
            let message = "The path or the query of the request is not percent-encoded UTF-8.";
            return Err(OssError::new(400, "InvalidURI", message));
        }
        if self.key.len() > KEY_BYTES_MAX {
            let message = "The length of the object name must be between 1 and 1023 bytes.";
            return Err(OssError::new(400, "InvalidObjectName", message));
        }
        if self.key.starts_with(['/', '\\']) {
            let message = "The object name must not start with a slash or a backslash.";
            return Err(OssError::new(400, "InvalidObjectName", message));
        }
        if self.key.contains('\0') {
            let message = "The object name must not contain a NUL character.";
            return Err(OssError::new(400, "InvalidObjectName", message));
        }
        Ok(())
    }

    /// Returns a parameter that asks for something that this server does not have.
    ///
    /// OSS ignores a parameter with a value that is not a sub-resource.
    pub(crate) fn unsupported_parameter(&self) -> Option<&str> {
        let supported = self.supported_parameters();
        let is_ignored = |name: &str| {
            (name.starts_with("x-oss-") && !name.ends_with("process"))
                || name.starts_with("response-")
                || ["OSSAccessKeyId", "Signature", "Expires", "security-token"].contains(&name)
        };
        let unsupported = |(name, value): &&(String, String)| {
            let is_sub_resource =
                value.is_empty() || SUB_RESOURCES.split_whitespace().any(|known| known == name);
            is_sub_resource
                && !supported.split_whitespace().any(|known| known == name)
                && !is_ignored(name)
        };
        self.params
            .iter()
            .find(unsupported)
            .map(|(name, _)| name.as_str())
    }

    /// The parameters that have an effect in a request of this method and address.
    fn supported_parameters(&self) -> &'static str {
        match (
            self.method.as_str(),
            self.bucket.is_empty(),
            self.key.is_empty(),
        ) {
            ("GET", true, _) => "prefix marker max-keys",
            ("GET", _, true) => {
                "acl bucketInfo location uploads prefix delimiter marker max-keys encoding-type list-type \
                 start-after continuation-token fetch-owner key-marker upload-id-marker max-uploads"
            }
            ("POST", false, true) => "delete encoding-type",
            ("GET", false, false) => {
                "acl tagging objectMeta uploadId max-parts part-number-marker encoding-type"
            }
            ("HEAD", false, false) => "objectMeta",
            ("POST", false, false) => {
                "uploads sequential uploadId encoding-type callback callback-var"
            }
            ("PUT", false, false) => "uploadId partNumber callback callback-var",
            ("DELETE", false, false) => "uploadId",
            _ => "",
        }
    }

    fn classify(&self) -> Operation {
        let has = |name| self.param(name).is_some();
        if self.bucket.is_empty() {
            return Operation::Other;
        }
        if self.key.is_empty() {
            let list = self.method == "GET" && has("uploads");
            return if list {
                Operation::ListMultipartUploads
            } else {
                Operation::Other
            };
        }
        let is_copy = self.header("x-oss-copy-source").is_some();
        match self.method.as_str() {
            _ if self.unsupported_parameter().is_some() => Operation::Other,
            "GET" if has("acl") || has("tagging") => Operation::Other,
            "POST" if has("uploads") => Operation::InitiateMultipartUpload,
            "POST" if has("uploadId") => Operation::CompleteMultipartUpload,
            "PUT" if is_copy => Operation::Other,
            "PUT" if has("uploadId") || has("partNumber") => Operation::UploadPart,
            "GET" if has("uploadId") => Operation::ListParts,
            "DELETE" if has("uploadId") => Operation::AbortMultipartUpload,
            "PUT" => Operation::PutObject,
            "GET" => Operation::GetObject,
            "HEAD" => Operation::HeadObject,
            "DELETE" => Operation::DeleteObject,
            _ => Operation::Other,
        }
    }
}

/// Splits the host and the path of a request into the bucket and the key, which is still encoded.
fn address<'a>(host: &str, path: &'a str, settings: &Settings) -> (String, &'a str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    let name = host_name(host);
    let mapped = [host, name]
        .into_iter()
        .find_map(|host| settings.cnames.get(&host.to_ascii_lowercase()));
    if let Some(bucket) = mapped {
        return (bucket.clone(), path);
    }
    let literal = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok();
    if literal || name.is_empty() || name.eq_ignore_ascii_case("localhost") {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        return (decode(bucket).unwrap_or_default(), key);
    }
    let bucket = name.split('.').next().unwrap_or_default();
    (bucket.to_owned(), path)
}

/// Returns the host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn decode_or_mark(text: &str, undecodable: &mut bool) -> String {
    decode(text).unwrap_or_else(|| {
        *undecodable = true;
        String::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, host: &str) -> Head {
        let request = hyper::Request::builder()
            .method(method)
            .uri(uri)
            .header("host", host)
            .body(());
        let (parts, ()) = request.expect("a request").into_parts();
        let mut settings = Settings::default();
        settings
            .cnames
            .insert("files.example.com".to_owned(), "mapped".to_owned());
        Head::read(&parts, &settings)
    }

    #[test]
    fn address_of_request() {
        for (uri, host, bucket, key) in [
            ("/a/b/c", "127.0.0.1:9000", "a", "b/c"),
            ("/a/b%2Fc", "localhost:9000", "a", "b/c"),
            ("/a/", "[::1]:9000", "a", ""),
            ("/", "127.0.0.1", "", ""),
            (
                "/b/c+%2B%E4%B8%AD",
                "a.oss-cn-hangzhou.aliyuncs.com",
                "a",
                "b/c +\u{4e2d}",
            ),
            (
                "/b//c/../d",
                "files.example.com:8080",
                "mapped",
                "b//c/../d",
            ),
        ] {
            let head = head("GET", uri, host);
            assert_eq!(
                (head.bucket.as_str(), head.key.as_str()),
                (bucket, key),
                "{uri} at {host}"
            );
            head.check_target().expect("a good target");
        }
        assert!(head("GET", "/a//b", "127.0.0.1").check_target().is_err());
        assert!(head("GET", "/a/%FF", "127.0.0.1").check_target().is_err());
    }

    #[test]
    fn query_decoding() {
        let head = head(
            "GET",
            "/b/?prefix=a+b%20c%2Bd&list-type=2&uploads",
            "127.0.0.1",
        );
        assert_eq!(head.param("prefix"), Some("a b c+d"));
        assert_eq!(
            (head.param("uploads"), head.param("list-type")),
            (Some(""), Some("2"))
        );
    }

    #[test]
    fn operation_of_request() {
        for (method, uri, operation) in [
            ("POST", "/b/k?uploads", Operation::InitiateMultipartUpload),
            ("PUT", "/b/k?partNumber=1&uploadId=2", Operation::UploadPart),
            ("GET", "/b/k?uploadId=2&max-parts=1", Operation::ListParts),
            (
                "POST",
                "/b/k?uploadId=2",
                Operation::CompleteMultipartUpload,
            ),
            ("DELETE", "/b/k?uploadId=2", Operation::AbortMultipartUpload),
            ("GET", "/b/?uploads", Operation::ListMultipartUploads),
            ("GET", "/b/k?tagging", Operation::Other),
            ("HEAD", "/b/k", Operation::HeadObject),
            ("PUT", "/b/", Operation::Other),
        ] {
            assert_eq!(
                head(method, uri, "127.0.0.1").operation,
                operation,
                "{method} {uri}"
            );
        }
    }
}

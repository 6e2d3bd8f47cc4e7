//! Signature version 1: HMAC-SHA1 over a few headers and the resource.

use std::time::{Duration, UNIX_EPOCH};

use super::{
    PresentedSignature, canonical_headers, check_skew, compare, credential, hmac_sha1, to_text,
    url_expired,
};
use crate::error::{OssError, Result};
use crate::request::Head;
use crate::state::Shared;
use crate::text::{base64, parse_http_date};

/// The query parameters that are part of the resource, besides those that start with `x-oss-`.
const SUB_RESOURCES: &str = "accessPoint acl append asyncFetch bucketInfo callback callback-var cname comp continuation-token \
    cors delete encryption endTime img inventory inventoryId lifecycle live location logging \
    metaQuery objectInfo objectMeta partNumber policy policyStatus position publicAccessBlock qos \
    qosInfo referer regionList replication replicationLocation replicationProgress requestPayment \
    resourceGroup response-cache-control response-content-disposition response-content-encoding \
    response-content-language response-content-type response-expires restore security-token \
    sequential startTime stat status style styleName symlink tagging transferAcceleration uploadId \
    uploads versionId versioning versions vod website worm wormExtend wormId";

/// The EC of a mismatch. It is documented for signed URLs of version 1; here headers have it, too.
const EC_MISMATCH: &str = "0002-00000040";

pub(super) fn verify_header(head: &Head, authorization: &str, shared: &Shared) -> Result<()> {
    check_allowed(shared)?;
    let malformed = || {
        OssError::invalid_argument(
            "Authorization",
            authorization,
            "Authorization header is malformed.",
        )
    };
    let fields = authorization.strip_prefix("OSS ").unwrap_or_default();
    let (access_key_id, signature) = fields.split_once(':').ok_or_else(malformed)?;
    let presented = PresentedSignature {
        access_key_id: access_key_id.to_owned(),
        signature: signature.to_owned(),
        token: head.header("x-oss-security-token").map(str::to_owned),
    };
    let credential = credential(&presented, shared)?;
    let date = head.header("date").or_else(|| head.header("x-oss-date"));
    let missing = || {
        OssError::new(
            403,
            "AccessDenied",
            "OSS authentication requires a valid Date.",
        )
    };
    let date = date.ok_or_else(missing)?;
    let signed_at = head.header("x-oss-date").unwrap_or(date);
    check_skew(parse_http_date(signed_at).ok_or_else(missing)?, shared)?;
    let resource = resource(&head.bucket, &head.key, &head.params);
    let text = string_to_sign(&head.method, date, &head.headers, &resource);
    // Some clients send both dates and sign `x-oss-date` in the place of `Date`.
    let other = string_to_sign(&head.method, signed_at, &head.headers, &resource);
    if presented.signature == sign(&credential.secret, &other) {
        return Ok(());
    }
    compare(
        &presented,
        &sign(&credential.secret, &text),
        &to_text(&text),
        EC_MISMATCH,
    )
}

pub(super) fn verify_query(head: &Head, shared: &Shared) -> Result<()> {
    check_allowed(shared)?;
    let param = |name: &str| {
        let missing =
            || OssError::invalid_argument(name, "", "A parameter of the signed URL is missing.");
        head.param(name).ok_or_else(missing)
    };
    let presented = PresentedSignature {
        access_key_id: param("OSSAccessKeyId")?.to_owned(),
        signature: param("Signature")?.to_owned(),
        token: head.param("security-token").map(str::to_owned),
    };
    let credential = credential(&presented, shared)?;
    let expires = param("Expires")?;
    let seconds = expires.parse::<u32>();
    let seconds = seconds
        .map_err(|_| OssError::invalid_argument("Expires", expires, "Expires is not a time."))?;
    let time = UNIX_EPOCH + Duration::from_secs(seconds.into());
    if shared.now() > time {
        return Err(url_expired(shared, time));
    }
    let resource = resource(&head.bucket, &head.key, &head.params);
    let text = string_to_sign(&head.method, expires, &head.headers, &resource);
    compare(
        &presented,
        &sign(&credential.secret, &text),
        &to_text(&text),
        EC_MISMATCH,
    )
}

fn check_allowed(shared: &Shared) -> Result<()> {
    if shared.settings.allow_v1 {
        return Ok(());
    }
    let message = "The V1 signature is not available for this bucket. Use the V4 signature.";
    Err(OssError::new(403, "AccessDenied", message).ec("0002-00000080"))
}

fn sign(secret: &str, string_to_sign: &[u8]) -> String {
    base64(hmac_sha1(secret.as_bytes(), string_to_sign))
}

fn string_to_sign(
    method: &str,
    date: &str,
    headers: &[(String, Vec<u8>)],
    resource: &str,
) -> Vec<u8> {
    let header = |wanted: &str| {
        let found = headers.iter().find(|(name, _)| name == wanted);
        found.map_or(&[][..], |(_, value)| value.as_slice())
    };
    let mut text = Vec::new();
    for line in [
        method.as_bytes(),
        header("content-md5"),
        header("content-type"),
        date.as_bytes(),
    ] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend(canonical_headers(headers, |name| {
        name.starts_with("x-oss-")
    }));
    text.extend_from_slice(resource.as_bytes());
    text
}

/// Returns `/bucket/key?sub&resources`, not encoded.
fn resource(bucket: &str, key: &str, params: &[(String, String)]) -> String {
    let mut resource = if bucket.is_empty() {
        "/".to_owned()
    } else {
        format!("/{bucket}/{key}")
    };
    let mut signed: Vec<&(String, String)> = params
        .iter()
        .filter(|(name, _)| {
            name.starts_with("x-oss-") || SUB_RESOURCES.split(' ').any(|signed| signed == name)
        })
        .collect();
    signed.sort();
    for (index, (name, value)) in signed.into_iter().enumerate() {
        resource.push(if index == 0 { '?' } else { '&' });
        resource.push_str(name);
        if !value.is_empty() {
            resource.push('=');
            resource.push_str(value);
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<V: for<'a> From<&'a str>>(list: &[(&str, &str)]) -> Vec<(String, V)> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), V::from(value)))
            .collect()
    }

    struct Case<'a> {
        secret: &'a str,
        method: &'a str,
        date: &'a str,
        headers: &'a [(&'a str, &'a str)],
        target: (&'a str, &'a str, &'a [(&'a str, &'a str)]),
        expected: &'a str,
    }

    impl Case<'_> {
        fn check(&self) {
            let (bucket, key, params) = self.target;
            let headers: Vec<(String, Vec<u8>)> = pairs::<String>(self.headers)
                .into_iter()
                .map(|(name, value)| (name, value.into_bytes()))
                .collect();
            let resource = resource(bucket, key, &pairs(params));
            let text = string_to_sign(self.method, self.date, &headers, &resource);
            assert_eq!(
                sign(self.secret, &text),
                self.expected,
                "{}",
                to_text(&text)
            );
        }
    }

    const DATE: &str = "Wed, 28 Dec 2022 10:27:41 GMT";

    #[test]
    fn v1_header_vectors() {
        let put: &[(&str, &str)] = &[
            ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="),
            ("content-type", "text/html"),
            ("x-oss-date", DATE),
            ("x-oss-meta-author", "alice"),
            ("x-oss-meta-magic", "abracadabra"),
        ];
        let get: &[(&str, &str)] = &[("x-oss-date", DATE)];
        type Row<'a> = (
            &'a str,
            &'a [(&'a str, &'a str)],
            (&'a str, &'a [(&'a str, &'a str)]),
            &'a str,
        );
        let rows: [Row; 4] = [
            ("PUT", put, ("nelson", &[]), "kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
            (
                "PUT",
                put,
                ("nelson", &[("acl", "")]),
                "/afkugFbmWDQ967j1vr6zygBLQk=",
            ),
            (
                "GET",
                get,
                ("", &[("resourceGroup", ""), ("non-resousce", "null")]),
                "vkQmfuUDyi1uDi3bKt67oemssIs=",
            ),
            (
                "GET",
                get,
                ("", &[("resourceGroup", ""), ("acl", "")]),
                "x3E5TgOvl/i7PN618s5mEvpJDYk=",
            ),
        ];
        for (method, headers, (key, params), expected) in rows {
            let target = ("examplebucket", key, params);
            Case {
                secret: "sk",
                method,
                date: DATE,
                headers,
                target,
                expected,
            }
            .check();
        }
    }

    #[test]
    fn v1_token_vectors() {
        let headers: &[(&str, &str)] = &[
            ("content-md5", "eB5eJF1ptWaXm4bijSPyxw=="),
            ("content-type", "text/html"),
            ("x-oss-date", DATE),
            ("x-oss-meta-author", "alice"),
            ("x-oss-meta-magic", "abracadabra"),
            ("x-oss-security-token", "token"),
        ];
        let acl: &[(&str, &str)] = &[("acl", "")];
        let unsigned: &[(&str, &str)] = &[("acl", ""), ("non-signed-key", "value")];
        for (params, expected) in [
            (&[][..], "H3PAlN3Vucn74tPVEqaQC4AnLwQ="),
            (acl, "yeceHMAsgusDPCR979RJcLtd7RI="),
            (unsigned, "yeceHMAsgusDPCR979RJcLtd7RI="),
        ] {
            Case {
                secret: "sk",
                method: "PUT",
                date: DATE,
                headers,
                target: ("examplebucket", "nelson", params),
                expected,
            }
            .check();
        }
    }

    #[test]
    fn v1_other_header_vectors() {
        let date = "Fri, 30 Oct 2015 07:21:00 GMT";
        let secret = "helloworld";
        let copy: &[(&str, &str)] = &[("x-oss-copy-source", "/bucket/object-old")];
        let append: &[(&str, &str)] = &[("position", "0"), ("append", "")];
        for (method, headers, target, expected) in [
            (
                "GET",
                &[][..],
                ("", "", &[][..]),
                "u8QKAAj/axKX4JhHXa5DYfYSPxE=",
            ),
            (
                "PUT",
                copy,
                ("bucket", "object-new", &[]),
                "McYUmBaErN//yvE9voWRhCgvsIc=",
            ),
            (
                "PUT",
                &[],
                ("bucket", "object-new", append),
                "7Oh2wobzeg6dw/cWYbF/2m6s6qc=",
            ),
        ] {
            Case {
                secret,
                method,
                date,
                headers,
                target,
                expected,
            }
            .check();
        }
    }

    #[test]
    fn v1_presigned_vectors() {
        let version: &[(&str, &str)] = &[
            ("versionId", "versionId"),
            ("OSSAccessKeyId", "ak"),
            ("Expires", "1"),
        ];
        let token: &[(&str, &str)] = &[("versionId", "versionId"), ("security-token", "token")];
        for (date, key, params, expected) in [
            ("1699807420", "key", version, "dcLTea+Yh9ApirQ8o8dOPqtvJXQ="),
            (
                "1699808204",
                "key+123",
                token,
                "jzKYRrM5y6Br0dRFPaTGOsbrDhY=",
            ),
        ] {
            let target = ("bucket", key, params);
            Case {
                secret: "sk",
                method: "GET",
                date,
                headers: &[],
                target,
                expected,
            }
            .check();
        }
    }

    #[test]
    fn v1_multipart_vectors() {
        let date = "Fri, 24 Feb 2012 06:38:30 GMT";
        let id = ("uploadId", "0004B9895DBBB6EC98E36");
        let octets: &[(&str, &str)] = &[("content-type", "application/octet-stream")];
        let xml: &[(&str, &str)] = &[("content-type", "application/xml")];
        for (method, headers, params, expected) in [
            (
                "POST",
                octets,
                &[("uploads", "")][..],
                "XVPEm+pT9+P3y5Z1zzpJWhvYI0A=",
            ),
            (
                "PUT",
                &[],
                &[id, ("partNumber", "1")],
                "GvxhWJagZw4GWBpqB1nlUtOJb20=",
            ),
            (
                "GET",
                &[],
                &[id, ("max-parts", "1000")],
                "7vn2zE0RPq9BVMzgAWo1XNmiO3I=",
            ),
            ("POST", xml, &[id], "Y4IsBi0SbbDhcP5vv38UBWol7ww="),
        ] {
            let target = ("bucket", "multi part+\u{4e2d}.data", params);
            Case {
                secret: "sk",
                method,
                date,
                headers,
                target,
                expected,
            }
            .check();
        }
    }
}

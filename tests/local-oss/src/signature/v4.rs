//! Signature version 4: HMAC-SHA256 over the whole request head, bound to a day and a region.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    PresentedSignature, canonical_headers, check_skew, compare, credential, hmac_sha256,
    url_expired,
};
use crate::error::{OssError, Result};
use crate::request::Head;
use crate::state::Shared;
use crate::text::{
    compact_date, encode_component, encode_path, hex_lower, parse_compact_date, parse_http_date,
};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// The longest lifetime of a signed URL: seven days.
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;

/// A credential scope: `<access key id>/<day>/<region>/<product>/aliyun_v4_request`.
struct Scope<'a> {
    access_key_id: &'a str,
    day: &'a str,
    region: &'a str,
    product: &'a str,
}

pub(super) fn verify_header(head: &Head, authorization: &str, shared: &Shared) -> Result<()> {
    let malformed = |what: &str| OssError::invalid_argument("Authorization", authorization, what);
    let (mut credential, mut signature, mut additional) = (None, None, None);
    let fields = authorization.strip_prefix(ALGORITHM).unwrap_or_default();
    for field in fields.split(',').map(str::trim) {
        match field.split_once('=') {
            Some(("Credential", value)) => credential = Some(value),
            Some(("Signature", value)) => signature = Some(value),
            Some(("AdditionalHeaders", value)) => additional = Some(value),
            _ => return Err(malformed("The authorization header has an unknown field.")),
        }
    }
    let (Some(scope), Some(signature)) = (credential, signature) else {
        return Err(malformed(
            "The authorization header lacks its Credential or its Signature.",
        ));
    };
    let scope = Scope::parse(scope).ok_or_else(|| malformed("The Credential is malformed."))?;
    let presented = PresentedSignature {
        access_key_id: scope.access_key_id.to_owned(),
        signature: signature.to_owned(),
        token: head.header("x-oss-security-token").map(str::to_owned),
    };
    let date = header_date(head);
    let date = date.as_str();
    let payload = head.header("x-oss-content-sha256").unwrap_or_default();
    if payload != PAYLOAD {
        let message = "The header x-oss-content-sha256 must be UNSIGNED-PAYLOAD.";
        return Err(
            OssError::invalid_argument("x-oss-content-sha256", payload, message)
                .ec("0002-00000204"),
        );
    }
    let wrong_scope = |what: &str| {
        let message = format!("Invalid signing {what} in Authorization header.");
        OssError::new(400, "InvalidArgument", message).with("Authorization", authorization)
    };
    let secret = credential_in_scope(&presented, &scope, date, shared, wrong_scope)?;
    let signed_at = parse_compact_date(date).ok_or_else(|| invalid_date(date))?;
    check_skew(signed_at, shared)?;
    let additional = additional_headers(additional, head)?;
    let canonical = canonical_request(head, &additional);
    compare_scoped(&presented, &scope, &secret, date, &canonical)
}

pub(super) fn verify_query(head: &Head, shared: &Shared) -> Result<()> {
    let param = |name: &str| {
        let missing =
            || OssError::invalid_argument(name, "", "A parameter of the signed URL is missing.");
        head.param(name).ok_or_else(missing)
    };
    let version = param("x-oss-signature-version")?;
    if version != ALGORITHM {
        let message = "The signature version is not supported.";
        return Err(OssError::invalid_argument(
            "x-oss-signature-version",
            version,
            message,
        ));
    }
    let credential = param("x-oss-credential")?;
    let malformed = || {
        OssError::invalid_argument(
            "x-oss-credential",
            credential,
            "The credential is malformed.",
        )
    };
    let scope = Scope::parse(credential).ok_or_else(malformed)?;
    let presented = PresentedSignature {
        access_key_id: scope.access_key_id.to_owned(),
        signature: param("x-oss-signature")?.to_owned(),
        token: head.param("x-oss-security-token").map(str::to_owned),
    };
    let date = param("x-oss-date")?;
    let wrong_scope = |what: &str| {
        let message = format!("The signing {what} in credential is invalid.");
        OssError::new(400, "InvalidArgument", message).with("Credential", credential)
    };
    let secret = credential_in_scope(&presented, &scope, date, shared, wrong_scope)?;
    let signed_at = parse_compact_date(date).ok_or_else(|| invalid_date(date))?;
    let expires = param("x-oss-expires")?;
    let lifetime = match expires.parse::<u64>() {
        Ok(seconds @ 1..=EXPIRES_SECONDS_MAX) => Duration::from_secs(seconds),
        _ => {
            return Err(OssError::invalid_argument(
                "x-oss-expires",
                expires,
                "The lifetime is out of range.",
            ));
        }
    };
    if shared.now() > signed_at + lifetime {
        return Err(url_expired(shared, signed_at + lifetime));
    }
    let additional = additional_headers(head.param("x-oss-additional-headers"), head)?;
    let canonical = canonical_request(head, &additional);
    compare_scoped(&presented, &scope, &secret, date, &canonical)
}

/// Returns the date of a request that is signed in its headers, as `20231216T162057Z`. A request
/// without `x-oss-date` may have an HTTP date in `Date`.
fn header_date(head: &Head) -> String {
    if let Some(date) = head.header("x-oss-date") {
        return date.to_owned();
    }
    let date = head.header("date").unwrap_or_default();
    parse_http_date(date).map_or_else(|| date.to_owned(), compact_date)
}

impl Scope<'_> {
    fn parse(text: &str) -> Option<Scope<'_>> {
        let fields: Vec<&str> = text.split('/').collect();
        match fields[..] {
            [access_key_id, day, region, product, "aliyun_v4_request"] => Some(Scope {
                access_key_id,
                day,
                region,
                product,
            }),
            _ => None,
        }
    }
}

/// Returns the secret of the credential if the scope has this date, and the product and the region
/// of this server.
fn credential_in_scope(
    presented: &PresentedSignature,
    scope: &Scope<'_>,
    date: &str,
    shared: &Shared,
    wrong_scope: impl Fn(&str) -> OssError,
) -> Result<String> {
    let credential = credential(presented, shared)?;
    if date.len() < 8 || !date.starts_with(scope.day) {
        return Err(invalid_date(date));
    }
    if scope.product != "oss" {
        return Err(wrong_scope("product").ec("0002-00000227"));
    }
    if scope.region != shared.settings.region {
        return Err(wrong_scope("region").ec("0002-00000226"));
    }
    Ok(credential.secret)
}

fn invalid_date(date: &str) -> OssError {
    let message = "Invalid signing date in Authorization header.";
    OssError::invalid_argument("x-oss-date", date, message).ec("0002-00000203")
}

fn default_signed(name: &str) -> bool {
    name == "content-type" || name == "content-md5" || name.starts_with("x-oss-")
}

/// Parses the additional headers, which must be sorted, present and not signed by default.
fn additional_headers(list: Option<&str>, head: &Head) -> Result<Vec<String>> {
    let Some(list) = list else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = list.split(';').map(str::to_owned).collect();
    let good = |name: &String| {
        !name.is_empty()
            && !default_signed(name)
            && !name.bytes().any(|byte| byte.is_ascii_uppercase())
            && head.headers.iter().any(|(header, _)| header == name)
    };
    if names.iter().all(good) && names.is_sorted() {
        return Ok(names);
    }
    let message =
        "AdditionalHeaders must be the sorted, lower-case names of headers that are present.";
    Err(OssError::invalid_argument("AdditionalHeaders", list, message).ec("0002-00000209"))
}

fn canonical_request(head: &Head, additional: &[String]) -> Vec<u8> {
    let uri = if head.bucket.is_empty() {
        "/".to_owned()
    } else {
        format!("/{}/{}", head.bucket, head.key)
    };
    let mut query: Vec<(String, String)> = head
        .params
        .iter()
        .filter(|(name, _)| name != "x-oss-signature")
        .map(|(name, value)| (encode_component(name), encode_component(value)))
        .collect();
    query.sort();
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| {
            if value.is_empty() {
                name
            } else {
                format!("{name}={value}")
            }
        })
        .collect();
    let mut text = format!(
        "{}\n{}\n{}\n",
        head.method,
        encode_path(&uri),
        query.join("&")
    )
    .into_bytes();
    text.extend(canonical_headers(&head.headers, |name| {
        default_signed(name) || additional.iter().any(|listed| listed == name)
    }));
    let payload = head.header("x-oss-content-sha256").unwrap_or(PAYLOAD);
    text.extend(format!("\n{}\n{payload}", additional.join(";")).into_bytes());
    text
}

fn compare_scoped(
    presented: &PresentedSignature,
    scope: &Scope<'_>,
    secret: &str,
    date: &str,
    canonical: &[u8],
) -> Result<()> {
    let (signature, text) = sign(scope, secret, date, canonical);
    compare(presented, &signature, &text, "0002-00000201")
        .map_err(|error| error.with("CanonicalRequest", String::from_utf8_lossy(canonical)))
}

/// Returns the signature and the string to sign.
fn sign(scope: &Scope<'_>, secret: &str, date: &str, canonical: &[u8]) -> (String, String) {
    let hash = hex_lower(&Sha256::digest(canonical));
    let Scope {
        day,
        region,
        product,
        ..
    } = scope;
    let text = format!("{ALGORITHM}\n{date}\n{day}/{region}/{product}/aliyun_v4_request\n{hash}");
    let key = [day, region, product, &"aliyun_v4_request"]
        .into_iter()
        .fold(format!("aliyun_v4{secret}").into_bytes(), |key, field| {
            hmac_sha256(&key, field.as_bytes())
        });
    (hex_lower(&hmac_sha256(&key, text.as_bytes())), text)
}

#[cfg(test)]
mod tests;

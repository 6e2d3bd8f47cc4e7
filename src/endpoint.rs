use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Error, Result};

const EXAMPLE: &str = "https://oss-cn-hangzhou.aliyuncs.com";

/// Regions whose endpoints have another name: the name between `oss-` and
/// `[-internal].aliyuncs.com`, or before `.oss.aliyuncs.com`, and the region ID that signatures
/// need.
const REGIONS_WITH_OTHER_NAMES: [(&str, &str); 9] = [
    ("cn-hzfinance", "cn-hangzhou-finance"),
    ("cn-hzjbp-a", "cn-hangzhou-finance"),
    ("cn-hzjbp-b", "cn-hangzhou-finance"),
    ("cn-szfinance", "cn-shenzhen-finance-1"),
    ("cn-shanghai-finance-1-pub", "cn-shanghai-finance-1"),
    ("cn-beijing-finance-1-pub", "cn-beijing-finance-1"),
    ("cn-shenzhen-finance-1-pub", "cn-shenzhen-finance-1"),
    ("cn-shanghai-finance", "cn-shanghai-finance-1"),
    ("cn-shenzhen-finance", "cn-shenzhen-finance-1"),
];

/// Finance regions whose endpoints have the name of the region.
const REGIONS_OF_FINANCE: [&str; 4] = [
    "cn-hangzhou-finance",
    "cn-shanghai-finance-1",
    "cn-shenzhen-finance-1",
    "cn-beijing-finance-1",
];

/// The server that requests are sent to, and the place of the bucket's name in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// Host and, if given, port; an IPv6 address in brackets.
    authority: String,
    style: AddressingStyle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressingStyle {
    /// `bucket.host/key`
    VirtualHosted,
    /// `host/bucket/key`
    Path,
    /// `host/key`: the host is a domain bound to the bucket
    Cname,
}

impl Endpoint {
    /// Parses an endpoint with or without a scheme; without one, https is meant. The name of a
    /// region stands for its endpoint.
    ///
    /// A path, a query or a fragment is an error, because no request would be sent there.
    pub(crate) fn parse(text: &str, cname: bool, path_style: bool) -> Result<Endpoint> {
        let of_region = match is_bare_name(text) {
            true => Some(endpoint_of_region(text, cname)?),
            false => None,
        };
        let text = of_region.as_deref().unwrap_or(text);
        // A password may precede an @, and a signature may follow a question mark.
        let shown = match text.contains('@') {
            true => "it".to_owned(),
            false => format!("{:?}", text.split(['?', '#']).next().unwrap_or_default()),
        };
        let wrong = |why: &str| {
            Error::option(
                "endpoint",
                format!("{shown} {why}; give one such as {EXAMPLE}"),
            )
        };
        if cname && path_style {
            let reason = "cname(true) means that no bucket is in the path; omit one of the two";
            return Err(Error::option("path_style", reason));
        }
        if text.is_empty() {
            return Err(Error::option(
                "endpoint",
                format!("must not be empty; give one such as {EXAMPLE}"),
            ));
        }
        let (tls, rest) = match text.split_once("://") {
            None => (true, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err(wrong("has a scheme other than http and https")),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err(Error::option(
                "endpoint",
                "it has an @; omit the user name and the password",
            ));
        }
        match rest.as_bytes() {
            [] | [b'/'] => {}
            [b'/', path @ ..] if path.first() != Some(&b'?') && path.first() != Some(&b'#') => {
                return Err(wrong(
                    "has a path; omit it, and give the bucket to Client::bucket",
                ));
            }
            _ => return Err(wrong("has a query or a fragment; omit it")),
        }
        let (host, port) = split_port(authority)
            .ok_or_else(|| wrong("has no port between 1 and 65535 after its colon"))?;
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let is_ip = is_ip_literal(host);
        let has_dns_chars = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !is_ip && (!has_dns_chars || host.starts_with(['.', '-']) || host.contains("..")) {
            return Err(wrong("is not a host name or an IP address"));
        }
        let host = host.to_ascii_lowercase();
        if let Some((bucket, endpoint)) = split_bucket_domain(&host).filter(|_| !cname) {
            let reason = format!(
                "{shown} names the bucket {bucket}; give the region's endpoint, {endpoint}, and the bucket to Client::bucket"
            );
            return Err(Error::option("endpoint", reason));
        }
        let style = if cname {
            AddressingStyle::Cname
        } else if path_style || is_ip || host == "localhost" {
            AddressingStyle::Path
        } else {
            AddressingStyle::VirtualHosted
        };
        let authority = match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        };
        Ok(Endpoint {
            tls,
            authority,
            style,
        })
    }

    /// Returns `https://host[:port]`, as it is saved in the checkpoint.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    pub(crate) fn url(&self, bucket: &str, encoded_key: &str, encoded_query: &str) -> String {
        let (scheme, authority) = (self.scheme(), &self.authority);
        let question_mark = if encoded_query.is_empty() { "" } else { "?" };
        match self.style {
            AddressingStyle::VirtualHosted => {
                format!(
                    "{scheme}://{bucket}.{authority}/{encoded_key}{question_mark}{encoded_query}"
                )
            }
            AddressingStyle::Path => {
                format!(
                    "{scheme}://{authority}/{bucket}/{encoded_key}{question_mark}{encoded_query}"
                )
            }
            AddressingStyle::Cname => {
                format!("{scheme}://{authority}/{encoded_key}{question_mark}{encoded_query}")
            }
        }
    }

    /// Returns the ID of the region that the host names: `oss-<region>[-internal].aliyuncs.com` or
    /// `<region>.oss.aliyuncs.com`.
    ///
    /// Returns `None` for the accelerate endpoints, which belong to no region, and for all other
    /// names. The caller then has to give the region. A CloudBox has no such endpoint, and its
    /// signatures are not supported.
    pub(crate) fn region(&self) -> Option<&str> {
        let host = split_port(&self.authority)?.0;
        let name = host.strip_suffix(".aliyuncs.com")?;
        if name == "oss-internal" {
            return Some("cn-hangzhou");
        }
        let region = match name.strip_suffix(".oss") {
            Some(region) => region,
            None => {
                let region = name.strip_prefix("oss-")?;
                region.strip_suffix("-internal").unwrap_or(region)
            }
        };
        if let Some((_, region)) = REGIONS_WITH_OTHER_NAMES
            .iter()
            .find(|(name, _)| *name == region)
        {
            return Some(region);
        }
        // An area and a place. Names of finance clouds that are not in the table cannot be
        // interpreted.
        let (area, place) = region.split_once('-')?;
        let is_region = is_region_id(region)
            && (2..=3).contains(&area.len())
            && !place.is_empty()
            && !["finance", "hzjbp", "-pub", "data-acc"]
                .iter()
                .any(|part| region.contains(part));
        (is_region || REGIONS_OF_FINANCE.contains(&region)).then_some(region)
    }

    /// Returns whether the endpoint is the bucket's own domain, so that the name of the bucket
    /// would be added a second time.
    pub(crate) fn is_bucket_domain_of(&self, bucket: &str) -> bool {
        self.style == AddressingStyle::VirtualHosted
            && self
                .authority
                .strip_prefix(bucket)
                .is_some_and(|rest| rest.starts_with(".oss-"))
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Whether the text is neither a URL nor a host with a domain or a port. `localhost` is a host.
fn is_bare_name(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(['.', '/', ':', '@', '?', '#'])
        && !text.eq_ignore_ascii_case("localhost")
}

/// Returns the endpoint of a region such as `cn-hangzhou`, with or without `oss-` before and
/// `-internal` behind it.
fn endpoint_of_region(text: &str, cname: bool) -> Result<String> {
    let name = text.to_ascii_lowercase();
    let name = name.strip_prefix("oss-").unwrap_or(&name);
    if !is_region_name(name) {
        let reason = format!(
            "{text:?} is neither a region such as \"cn-hangzhou\" nor an endpoint such as {EXAMPLE}; \
             for a host without a domain, write its scheme, too"
        );
        return Err(Error::option("endpoint", reason));
    }
    let endpoint = format!("https://oss-{name}.aliyuncs.com");
    if cname {
        let reason = format!(
            "{text:?} is a region, and cname(true) means a domain that is bound to the bucket; \
             give that domain, or omit cname"
        );
        return Err(Error::option("endpoint", reason));
    }
    Ok(endpoint)
}

/// Whether the text can stand between `oss-` and `.aliyuncs.com`: a region begins with two or three
/// letters and a hyphen.
pub(crate) fn is_region_name(text: &str) -> bool {
    is_region_id(text)
        && !text.ends_with('-')
        && text.split_once('-').is_some_and(|(area, place)| {
            (2..=3).contains(&area.len())
                && area.bytes().all(|byte| byte.is_ascii_lowercase())
                && !place.is_empty()
                && place != "internal"
        })
}

pub(crate) fn is_region_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// Splits `BUCKET.oss-REGION.aliyuncs.com` before `oss-`.
///
/// Hosts such as `ID.oss-data-acc.aliyuncs.com` look alike but are endpoints: a region starts with
/// two or three letters.
fn split_bucket_domain(host: &str) -> Option<(&str, &str)> {
    let (bucket, _) = host.split_once(".oss-")?;
    let own = &host[bucket.len() + 1..];
    let region = own.strip_prefix("oss-")?.strip_suffix(".aliyuncs.com")?;
    let area = region.split('-').next()?;
    let real = is_region_id(region)
        && ((2..=3).contains(&area.len()) && area != region || area == "accelerate");
    real.then_some((bucket, own))
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => return Some((authority, None)),
    };
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    Some((host, Some(port)))
}

fn is_ip_literal(host: &str) -> bool {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: &str, cname: bool, path_style: bool) -> String {
        Endpoint::parse(endpoint, cname, path_style)
            .unwrap()
            .url("b", "k/1", "uploads")
    }

    #[test]
    fn endpoint_url_follows_the_addressing_style() {
        assert_eq!(
            url("oss-cn-x.aliyuncs.com", false, false),
            "https://b.oss-cn-x.aliyuncs.com/k/1?uploads"
        );
        assert_eq!(
            url("HTTP://OSS-cn-x.aliyuncs.com:80/", false, true),
            "http://oss-cn-x.aliyuncs.com:80/b/k/1?uploads"
        );
        assert_eq!(
            url("https://files.example.com", true, false),
            "https://files.example.com/k/1?uploads"
        );
        for host in ["127.0.0.1", "[::1]:9000", "localhost:9000", "LOCALHOST"] {
            assert_eq!(
                url(host, false, false),
                format!("https://{}/b/k/1?uploads", host.to_lowercase())
            );
            assert_eq!(
                url(host, true, false),
                format!("https://{}/k/1?uploads", host.to_lowercase())
            );
        }
    }

    #[test]
    fn endpoint_of_a_region() {
        for (region, host) in [
            ("cn-hangzhou", "oss-cn-hangzhou"),
            ("oss-cn-hangzhou", "oss-cn-hangzhou"),
            ("CN-Hangzhou", "oss-cn-hangzhou"),
            ("cn-hangzhou-internal", "oss-cn-hangzhou-internal"),
            ("oss-cn-hangzhou-internal", "oss-cn-hangzhou-internal"),
            ("ap-southeast-1", "oss-ap-southeast-1"),
            ("cn-north-2-gov-1", "oss-cn-north-2-gov-1"),
            ("rg-china-mainland", "oss-rg-china-mainland"),
            ("cn-hzfinance", "oss-cn-hzfinance"),
        ] {
            let endpoint = Endpoint::parse(region, false, false).unwrap();
            assert_eq!(endpoint.origin(), format!("https://{host}.aliyuncs.com"));
            assert_eq!(endpoint.style, AddressingStyle::VirtualHosted, "{region}");
        }
        let region = |text| {
            Endpoint::parse(text, false, false)
                .unwrap()
                .region()
                .map(str::to_owned)
        };
        assert_eq!(
            region("cn-hangzhou-internal").as_deref(),
            Some("cn-hangzhou")
        );
        assert_eq!(
            region("cn-hzfinance").as_deref(),
            Some("cn-hangzhou-finance")
        );
    }

    #[test]
    fn endpoint_without_a_dot_that_is_no_region_is_refused() {
        for text in [
            "minio",
            "oss",
            "oss-",
            "oss-accelerate",
            "oss-internal",
            "cn-",
            "cn-internal",
            "cn-hangzhou-",
            "cn hangzhou",
            "backup-server",
            "c-n",
            "12-3",
            "中-x",
        ] {
            let error = Endpoint::parse(text, false, false).unwrap_err().to_string();
            assert!(error.contains("is neither a region"), "{text}: {error}");
        }
        for host in [
            "localhost",
            "Localhost",
            "https://minio",
            "minio:9000",
            "cn-hangzhou:80",
        ] {
            let origin = Endpoint::parse(host, false, false).unwrap().origin();
            assert!(!origin.contains("aliyuncs.com"), "{origin}");
        }
        let error = Endpoint::parse("cn-hangzhou", true, false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cname(true)"), "{error}");
    }

    #[test]
    fn endpoint_region_is_read_from_the_host() {
        let region = |host: &str| {
            Endpoint::parse(host, false, false)
                .unwrap()
                .region()
                .map(str::to_owned)
        };
        for host in [
            "oss-cn-hangzhou.aliyuncs.com",
            "http://oss-cn-hangzhou.aliyuncs.com:80",
            "oss-cn-hangzhou-internal.aliyuncs.com",
            "cn-hangzhou.oss.aliyuncs.com",
        ] {
            assert_eq!(region(host).as_deref(), Some("cn-hangzhou"), "{host}");
        }
        for host in [
            "oss-accelerate.aliyuncs.com",
            "oss-accelerate-overseas.aliyuncs.com",
            "example.com",
            "127.0.0.1",
        ] {
            assert_eq!(region(host), None, "{host}");
        }
    }

    #[test]
    fn endpoint_that_is_not_valid_is_an_error() {
        for wrong in [
            "",
            "https://",
            "ftp://host",
            "host:",
            "host:99999",
            "host:x",
            "ho st",
            "[::1",
            "[zz]",
            "a..b",
            ".a",
            "主机",
        ] {
            let error = Endpoint::parse(wrong, false, false)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("invalid endpoint: "), "{wrong}: {error}");
        }
        let error = Endpoint::parse("https://me:hunter2@host", false, false)
            .unwrap_err()
            .to_string();
        assert!(!error.contains("hunter2"), "{error}");
        for secret in [
            "ftp://me:hush@host",
            "oss://AK:hush@b.oss-cn-x.aliyuncs.com",
            "b.oss-cn-x.aliyuncs.com/k?Signature=hush",
        ] {
            let error = Endpoint::parse(secret, false, false)
                .unwrap_err()
                .to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn endpoint_of_a_bucket_is_recognized() {
        let endpoint =
            Endpoint::parse("https://b.oss-cn-hangzhou.example.com", false, false).unwrap();
        assert!(endpoint.is_bucket_domain_of("b"));
        assert!(!endpoint.is_bucket_domain_of("c"));
        for domain in [
            "https://b.oss-cn-hangzhou.aliyuncs.com",
            "B.OSS-cn-hangzhou-internal.aliyuncs.com:80",
        ] {
            let error = Endpoint::parse(domain, false, false)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("names the bucket") && error.contains("cn-hangzhou"),
                "{error}"
            );
            Endpoint::parse(domain, true, false).unwrap();
        }
        for endpoint in [
            "cn-hangzhou-j-internal.oss-data-acc.aliyuncs.com",
            "oss-cn-hangzhou.oss-accesspoint.aliyuncs.com",
            "cn-hangzhou.oss-dls.aliyuncs.com",
            "cn-hangzhou.oss.aliyuncs.com",
            "b.oss-cn-hangzhou.example.com",
        ] {
            Endpoint::parse(endpoint, false, false).unwrap();
        }
    }

    #[test]
    fn endpoint_region_table() {
        let region = |name: &str| {
            let host = format!("{name}.aliyuncs.com");
            Endpoint::parse(&host, false, false)
                .unwrap()
                .region()
                .map(str::to_owned)
        };
        for (name, wanted) in [
            ("oss-cn-hzfinance", Some("cn-hangzhou-finance")),
            ("oss-cn-hzfinance-internal", Some("cn-hangzhou-finance")),
            ("oss-cn-hzjbp-a-internal", Some("cn-hangzhou-finance")),
            ("oss-cn-hzjbp-b-internal", Some("cn-hangzhou-finance")),
            ("oss-cn-szfinance", Some("cn-shenzhen-finance-1")),
            ("oss-cn-szfinance-internal", Some("cn-shenzhen-finance-1")),
            (
                "oss-cn-shanghai-finance-1-pub",
                Some("cn-shanghai-finance-1"),
            ),
            (
                "oss-cn-shanghai-finance-1-pub-internal",
                Some("cn-shanghai-finance-1"),
            ),
            (
                "oss-cn-shanghai-finance-1-internal",
                Some("cn-shanghai-finance-1"),
            ),
            ("oss-cn-beijing-finance-1-pub", Some("cn-beijing-finance-1")),
            (
                "oss-cn-beijing-finance-1-pub-internal",
                Some("cn-beijing-finance-1"),
            ),
            ("cn-shanghai-finance.oss", Some("cn-shanghai-finance-1")),
            ("cn-shenzhen-finance.oss", Some("cn-shenzhen-finance-1")),
            ("oss-internal", Some("cn-hangzhou")),
            ("oss-us-west-1", Some("us-west-1")),
            ("oss-ap-southeast-1-internal", Some("ap-southeast-1")),
            ("oss-me-central-1", Some("me-central-1")),
            ("oss-rg-china-mainland", Some("rg-china-mainland")),
            ("oss-cn-north-2-gov-1", Some("cn-north-2-gov-1")),
            ("cn-hangzhou.oss", Some("cn-hangzhou")),
            ("oss-cn-wuhan-lr", Some("cn-wuhan-lr")),
            ("oss-cn-newfinance-7", None),
            ("oss-data-acc", None),
            ("oss-accelerate", None),
            ("oss-accelerate-overseas", None),
            ("oss", None),
            ("oss-x", None),
        ] {
            assert_eq!(region(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn endpoint_with_a_path_or_a_query_is_an_error() {
        for (wrong, what) in [
            ("https://h.example/gateway/oss", "has a path"),
            ("h.example/bucket", "has a path"),
            ("h.example//", "has a path"),
            ("h.example?x=1", "has a query"),
            ("h.example/?Signature=hush", "has a query"),
            ("h.example/#hush", "has a query"),
            ("h.example#hush", "has a query"),
        ] {
            let error = Endpoint::parse(wrong, false, false)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(what) && !error.contains("hush"),
                "{wrong}: {error}"
            );
        }
        assert_eq!(
            Endpoint::parse("h.example/", false, false)
                .unwrap()
                .origin(),
            "https://h.example"
        );
    }
}

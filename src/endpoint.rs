use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{Error, Result};

const EXAMPLE: &str = "https://oss-cn-hangzhou.aliyuncs.com";

/// Where requests go: scheme, host and port, and where the bucket's name is put.
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
    /// Accepts what the official SDKs accept: with or without a scheme (https is meant then); a path, a query
    /// and a fragment are dropped.
    pub(crate) fn parse(text: &str, cname: bool, path_style: bool) -> Result<Endpoint> {
        // What stands before an @ may be a password, and what stands behind a question mark a signature.
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
            let reason = "cname(true) means that no bucket is in the path: choose one of them";
            return Err(Error::option("path_style", reason));
        }
        if text.is_empty() {
            return Err(Error::option(
                "endpoint",
                format!("it is empty; give one such as {EXAMPLE}"),
            ));
        }
        let (tls, rest) = match text.split_once("://") {
            None => (true, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err(wrong("has a scheme other than http and https")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(Error::option(
                "endpoint",
                "it has an @: leave out the user name and the password",
            ));
        }
        let (host, port) = split_port(authority)
            .ok_or_else(|| wrong("has no port between 1 and 65535 after its colon"))?;
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let address = is_ip_literal(host);
        let name = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !address && (!name || host.starts_with(['.', '-']) || host.contains("..")) {
            return Err(wrong("is not a host name or an IP address"));
        }
        let host = host.to_ascii_lowercase();
        if let Some((bucket, own)) = split_bucket_domain(&host).filter(|_| !cname) {
            let reason = format!("names the bucket {bucket}; give the region's endpoint, {own}");
            return Err(Error::option(
                "endpoint",
                format!("{shown} {reason}, and the bucket to Client::bucket"),
            ));
        }
        let style = match (cname, path_style || address || host == "localhost") {
            (true, _) => AddressingStyle::Cname,
            (false, true) => AddressingStyle::Path,
            (false, false) => AddressingStyle::VirtualHosted,
        };
        let authority = port.map_or(host.clone(), |port| format!("{host}:{port}"));
        Ok(Endpoint {
            tls,
            authority,
            style,
        })
    }

    /// `https://host[:port]`, as the checkpoint remembers it.
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

    /// The region that the host names: `oss-<region>[-internal].aliyuncs.com` or `<region>.oss.aliyuncs.com`.
    /// The accelerate endpoints belong to no region.
    pub(crate) fn region(&self) -> Option<&str> {
        let host = split_port(&self.authority)?.0;
        let name = host.strip_suffix(".aliyuncs.com")?;
        let region = match name.strip_suffix(".oss") {
            Some(region) => region,
            None => {
                let region = name.strip_prefix("oss-")?;
                region.strip_suffix("-internal").unwrap_or(region)
            }
        };
        (is_region_id(region) && !region.starts_with("accelerate")).then_some(region)
    }

    /// The slip of pasting a bucket's own domain where the endpoint is wanted: the bucket's name would be
    /// put in front once more.
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

pub(crate) fn is_region_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `BUCKET.oss-REGION.aliyuncs.com`, cut before `oss-`. Hosts such as `ID.oss-data-acc.aliyuncs.com` look alike, but are
/// endpoints: a region has two or three letters first.
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
    fn the_bucket_goes_where_the_style_says() {
        assert_eq!(
            url("oss-cn-x.aliyuncs.com", false, false),
            "https://b.oss-cn-x.aliyuncs.com/k/1?uploads"
        );
        assert_eq!(
            url("HTTP://OSS-cn-x.aliyuncs.com:80/p?q#f", false, true),
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
    fn the_region_is_read_from_the_host() {
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
    fn what_is_no_endpoint_is_refused_by_name() {
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
    fn a_bucket_domain_is_noticed() {
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
}

//! Finds out which proxy is used, if any.

use std::fmt;

use super::HAS_TLS;
use super::no_proxy::NoProxy;
use crate::encoding::percent_decode;
use crate::{Error, Result};

#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyChoice {
    /// The proxy that [`from_environment`] finds.
    #[default]
    Environment,
    None,
    Url(String),
}

/// An HTTP proxy. Every connection through it is a `CONNECT` tunnel.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// The connection to the proxy itself uses TLS.
    pub(super) is_https: bool,
    /// As in a URL: an IPv6 address is in brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// User name and password.
    pub(super) credentials: Option<(String, String)>,
    pub(super) bypass: NoProxy,
}

impl ProxyChoice {
    pub(super) fn resolve(&self, endpoint: &str) -> Result<Option<Proxy>> {
        match self {
            ProxyChoice::Environment => from_environment(endpoint, |name| std::env::var(name).ok()),
            ProxyChoice::None => Ok(None),
            ProxyChoice::Url(url) => parse(url, "it").map(Some),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// Reads `HTTPS_PROXY` or `HTTP_PROXY`, depending on the endpoint's scheme, or else `ALL_PROXY`;
/// names in lower case count, too. Returns `None` where `NO_PROXY` names the endpoint.
///
/// In a CGI program the client decides what `HTTP_PROXY` holds, by a header named `Proxy`.
fn from_environment(
    endpoint: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>> {
    let own = if endpoint.starts_with("https:") {
        "HTTPS_PROXY"
    } else {
        "HTTP_PROXY"
    };
    let either = |name: &str| [name.to_owned(), name.to_ascii_lowercase()];
    let is_cgi = variable("REQUEST_METHOD").is_some();
    let is_from_client = |name: &str| {
        is_cgi && (name == "HTTP_PROXY" || cfg!(windows) && name.eq_ignore_ascii_case("HTTP_PROXY"))
    };
    let set = |name: String| Some((variable(&name).filter(|value| !value.is_empty())?, name));
    let names = either(own).into_iter().chain(either("ALL_PROXY"));
    let mut trusted = names.filter(|name| !is_from_client(name));
    let Some((url, name)) = trusted.find_map(set) else {
        return Ok(None);
    };
    let bypass = either("NO_PROXY")
        .into_iter()
        .find_map(set)
        .map(|(value, _)| value);
    let bypass = NoProxy::parse(&bypass.unwrap_or_default());
    if let Some((host, port)) = host_and_port(endpoint)
        && bypass.matches(&host, port)
    {
        return Ok(None);
    }
    Ok(Some(Proxy {
        bypass,
        ..parse(&url, &name)?
    }))
}

/// Returns the host and the port of an origin such as `https://h:8443`.
fn host_and_port(origin: &str) -> Option<(String, u16)> {
    let (scheme, rest) = origin.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) = split_port(authority)?;
    Some((
        host.to_owned(),
        port.unwrap_or(if scheme == "https" { 443 } else { 80 }),
    ))
}

/// Splits `h:80`, `h` or `[::1]:80`. Returns `None` if the port is invalid.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        0
    };
    match authority[host_end..].find(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(host_end + colon);
            let port = port[1..].parse().ok().filter(|port| *port > 0)?;
            Some((host, Some(port)))
        }
    }
}

/// Parses the URL of a proxy. Errors do not repeat it, because it may hold a password.
fn parse(url: &str, name: &str) -> Result<Proxy> {
    let wrong = |reason: &str| Error::option("proxy", format!("{name} {reason}"));
    let not_a_url = || wrong("is not a URL of the form http://[user:password@]host:port");
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let is_https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" if !HAS_TLS => {
            return Err(wrong(
                "names an https:// proxy, but this build has no TLS; enable the feature rustls or native-tls",
            ));
        }
        "https" => true,
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return Err(wrong(
                "names a SOCKS proxy, which is not supported; give an http:// proxy, or none with no_proxy()",
            ));
        }
        _ => return Err(not_a_url()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((user_info, host)) => (
            Some(parse_user_info(user_info).ok_or_else(not_a_url)?),
            host,
        ),
        None => (None, authority),
    };
    let (host, port) = split_port(host).ok_or_else(|| {
        wrong("has no valid port; it must be of the form http://[user:password@]host:port")
    })?;
    if !is_host(host) {
        return Err(not_a_url());
    }
    let port = port.unwrap_or(if is_https { 443 } else { 80 });
    let (host, bypass) = (host.to_owned(), NoProxy::default());
    Ok(Proxy {
        is_https,
        host,
        port,
        credentials,
        bypass,
    })
}

fn parse_user_info(text: &str) -> Option<(String, String)> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Some((percent_decode(user)?, percent_decode(password)?))
}

fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && host.bytes().all(is_name_byte)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match from_environment(endpoint, variable) {
            Ok(proxy) => Ok(proxy.map(|proxy| format!("{}:{}", proxy.host, proxy.port))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn proxy_variable_of_the_scheme_comes_first() {
        let all = [
            ("https_proxy", "http://s:1"),
            ("HTTP_PROXY", "http://p:2"),
            ("all_proxy", "socks5://127.0.0.1:7890"),
        ];
        assert_eq!(
            chosen("https://oss-cn-hangzhou.aliyuncs.com", &all),
            Ok(Some("s:1".into()))
        );
        assert_eq!(
            chosen("http://oss-cn-hangzhou.aliyuncs.com", &all),
            Ok(Some("p:2".into()))
        );
        assert_eq!(chosen("http://h", &all[..1]), Ok(None));
        assert_eq!(
            chosen(
                "http://h",
                &[("ALL_PROXY", "http://a:3"), ("http_proxy", "")]
            ),
            Ok(Some("a:3".into()))
        );
        assert_eq!(chosen("http://h", &[]), Ok(None));
    }

    #[test]
    fn proxy_of_a_cgi_program_does_not_come_from_its_client() {
        let cgi = [
            ("REQUEST_METHOD", "GET"),
            ("HTTP_PROXY", "http://attacker:1"),
        ];
        assert_eq!(chosen("http://h", &cgi), Ok(None));
        let with_all = [cgi[0], cgi[1], ("ALL_PROXY", "http://a:3")];
        assert_eq!(chosen("http://h", &with_all), Ok(Some("a:3".into())));
        let https = [cgi[0], ("HTTPS_PROXY", "http://s:2")];
        assert_eq!(chosen("https://h", &https), Ok(Some("s:2".into())));
    }

    #[test]
    fn proxy_that_can_not_be_used_is_named_unless_it_is_bypassed() {
        let socks = ("ALL_PROXY", "socks5://user:hush@127.0.0.1:7890");
        let error = chosen("https://oss-cn-hangzhou.aliyuncs.com", &[socks]).unwrap_err();
        assert!(
            error.contains("ALL_PROXY names a SOCKS proxy") && !error.contains("hush"),
            "{error}"
        );
        let bypass = ("NO_PROXY", "localhost aliyuncs.com");
        assert_eq!(
            chosen("https://oss-cn-hangzhou.aliyuncs.com", &[socks, bypass]),
            Ok(None)
        );
        let bypass = ("no_proxy", "127.0.0.1:9000");
        assert_eq!(chosen("http://127.0.0.1:9000", &[socks, bypass]), Ok(None));
        let error = chosen("https://h", &[("HTTPS_PROXY", "proxy.corp 8080")]).unwrap_err();
        assert!(error.contains("HTTPS_PROXY is not a URL"), "{error}");
    }

    #[test]
    fn proxy_urls() {
        for (url, host, port) in [
            ("http://h:8080", "h", 8080),
            ("HTTP://h:8080/", "h", 8080),
            ("h:8080", "h", 8080),
            ("h", "h", 80),
            ("me:p@h:1", "h", 1),
            ("http://[::1]:3128", "[::1]", 3128),
        ] {
            let proxy = parse(url, "it").unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{url}");
        }
        for url in [
            "",
            "::",
            "http://",
            "http://h:99999",
            "http://h:0",
            "http://h:",
            "http://h:8o",
            "ftp://h:1",
            "http://h h:1",
            "http://[::1",
            "http://[zz]:1",
            "http://u:%ff@h:1",
        ] {
            assert!(parse(url, "it").is_err(), "{url} is taken");
        }
    }

    #[test]
    fn proxy_credentials_are_decoded_once() {
        let variable =
            |name: &str| (name == "ALL_PROXY").then(|| "http://me:p%40ss@h:8".to_owned());
        let proxy = from_environment("http://x", variable).unwrap().unwrap();
        assert_eq!(proxy.credentials, Some(("me".into(), "p@ss".into())));
        assert!(!format!("{proxy:?}").contains("p@ss"));
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    #[test]
    fn proxy_by_https_needs_tls() {
        let error = parse("https://user:hush@h:1", "it")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no TLS") && !error.contains("hush"),
            "{error}"
        );
    }
}

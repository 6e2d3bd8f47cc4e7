use ureq::http::Uri;
use ureq::{Proxy, ProxyProtocol};

use crate::{Error, Result};

#[derive(Clone, Debug, Default)]
pub(crate) enum ProxyChoice {
    /// What [`from_environment`] finds.
    #[default]
    Environment,
    None,
    Url(String),
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

/// `HTTPS_PROXY` or `HTTP_PROXY`, as the endpoint's scheme is, else `ALL_PROXY`; in capitals or not. None where `NO_PROXY`
/// names the endpoint.
fn from_environment(endpoint: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Proxy>> {
    let own = if endpoint.starts_with("https:") { "HTTPS_PROXY" } else { "HTTP_PROXY" };
    let either = |name: &str| [name.to_owned(), name.to_ascii_lowercase()];
    let set = |name: String| Some((variable(&name).filter(|value| !value.is_empty())?, name));
    let Some((url, name)) = either(own).into_iter().chain(either("ALL_PROXY")).find_map(set) else {
        return Ok(None);
    };
    let others = either("NO_PROXY").into_iter().find_map(set).map(|(value, _)| value).unwrap_or_default();
    let bypass = |mut builder: ureq::ProxyBuilder| {
        for host in others.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            builder = builder.no_proxy(host);
        }
        builder.build()
    };
    let nowhere = bypass(Proxy::builder(ProxyProtocol::Http).host("localhost"));
    let endpoint = endpoint.parse::<Uri>();
    if matches!((nowhere, endpoint), (Ok(nowhere), Ok(endpoint)) if nowhere.is_no_proxy(&endpoint)) {
        return Ok(None);
    }
    let wanted = parse(&url, &name)?;
    let mut builder = Proxy::builder(wanted.protocol()).host(wanted.host()).port(wanted.port());
    if let Some(user) = wanted.username() {
        builder = builder.username(user);
    }
    if let Some(password) = wanted.password() {
        builder = builder.password(password);
    }
    bypass(builder).map(Some).map_err(|_| not_a_url(&name))
}

/// The value is not repeated in the message: it may hold a password.
fn parse(url: &str, name: &str) -> Result<Proxy> {
    let proxy = Proxy::new(url).map_err(|_| not_a_url(name))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => {
            let reason =
                "names a SOCKS proxy, which is not supported: give an http:// proxy, or none with no_proxy()";
            Err(Error::option("proxy", format!("{name} {reason}")))
        }
    }
}

fn not_a_url(name: &str) -> Error {
    Error::option("proxy", format!("{name} is not a URL of the form http://[user:password@]host:port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        match from_environment(endpoint, variable) {
            Ok(proxy) => Ok(proxy.map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_schemes_own_variable_comes_first() {
        let all = [
            ("https_proxy", "http://s:1"),
            ("HTTP_PROXY", "http://p:2"),
            ("all_proxy", "socks5://127.0.0.1:7890"),
        ];
        assert_eq!(chosen("https://oss-cn-hangzhou.aliyuncs.com", &all), Ok(Some("s:1".into())));
        assert_eq!(chosen("http://oss-cn-hangzhou.aliyuncs.com", &all), Ok(Some("p:2".into())));
        assert_eq!(chosen("http://h", &all[..1]), Ok(None));
        assert_eq!(
            chosen("http://h", &[("ALL_PROXY", "http://a:3"), ("http_proxy", "")]),
            Ok(Some("a:3".into()))
        );
        assert_eq!(chosen("http://h", &[]), Ok(None));
    }

    #[test]
    fn what_can_not_be_used_is_named_unless_nobody_needs_it() {
        let socks = ("ALL_PROXY", "socks5://user:hush@127.0.0.1:7890");
        let error = chosen("https://oss-cn-hangzhou.aliyuncs.com", &[socks]).unwrap_err();
        assert!(error.contains("ALL_PROXY names a SOCKS proxy") && !error.contains("hush"), "{error}");
        let bypass = ("NO_PROXY", "localhost, .aliyuncs.com");
        assert_eq!(chosen("https://oss-cn-hangzhou.aliyuncs.com", &[socks, bypass]), Ok(None));
        assert_eq!(chosen("http://127.0.0.1:9000", &[socks, ("no_proxy", "127.0.0.1")]), Ok(None));
        let error = chosen("https://h", &[("HTTPS_PROXY", "proxy.corp 8080")]).unwrap_err();
        assert!(error.contains("HTTPS_PROXY is not a URL"), "{error}");
    }

    #[test]
    fn user_and_password_stay() {
        let variable = |name: &str| (name == "ALL_PROXY").then(|| "http://me:p%40ss@h:8".to_owned());
        let proxy = from_environment("http://x", variable).unwrap().unwrap();
        assert_eq!((proxy.username(), proxy.password(), proxy.port()), (Some("me"), Some("p@ss"), 8));
    }
}

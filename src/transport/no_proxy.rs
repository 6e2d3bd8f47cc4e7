//! `NO_PROXY`, the list of hosts that are reached without the proxy. It is read as curl and Go read
//! it.

use std::net::IpAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Everything,
    /// The host itself and its subdomains.
    Domain(String, Option<u16>),
    Address(IpAddr, Option<u16>),
    /// Address and length of the prefix, in bits.
    Network(IpAddr, u32),
}

impl NoProxy {
    /// Entries are separated by commas or spaces. An invalid entry matches nothing.
    pub(super) fn parse(text: &str) -> NoProxy {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace());
        NoProxy(
            entries
                .filter(|entry| !entry.is_empty())
                .filter_map(parse_entry)
                .collect(),
        )
    }

    /// `host` may be a name, an address, or an IPv6 address in brackets.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .trim_end_matches('.');
        let host = host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let is_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        self.0.iter().any(|entry| match entry {
            Entry::Everything => true,
            Entry::Domain(domain, wanted) => {
                let is_below = || {
                    host.strip_suffix(domain.as_str())
                        .is_some_and(|start| start.ends_with('.'))
                };
                address.is_none() && is_port(wanted) && (host == *domain || is_below())
            }
            Entry::Address(wanted, port) => address == Some(*wanted) && is_port(port),
            Entry::Network(network, bits) => {
                address.is_some_and(|address| is_within(address, *network, *bits))
            }
        })
    }
}

fn parse_entry(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry::Everything);
    }
    if let Some((address, bits)) = text.split_once('/') {
        let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u32>().ok()?);
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        return (bits <= bits_max).then_some(Entry::Network(address, bits));
    }
    if let Ok(address) = text.parse() {
        return Some(Entry::Address(address, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (text, None),
    };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Entry::Address(address, port));
    }
    let domain = host
        .strip_prefix("*.")
        .or(host.strip_prefix('.'))
        .unwrap_or(host);
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(Entry::Domain(domain, port))
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_matches() {
        for (list, host, port) in [
            ("*", "anything", 80),
            ("aliyuncs.com", "b.oss-cn-hangzhou.aliyuncs.com", 443),
            (".aliyuncs.com", "b.oss-cn-hangzhou.aliyuncs.com", 443),
            ("*.aliyuncs.com", "b.oss-cn-hangzhou.aliyuncs.com", 443),
            ("AliyunCS.com.", "OSS.aliyuncs.COM", 443),
            ("aliyuncs.com", "aliyuncs.com", 80),
            (".aliyuncs.com", "aliyuncs.com", 80),
            ("aliyuncs.com:443", "x.aliyuncs.com", 443),
            ("a, b ,aliyuncs.com", "x.aliyuncs.com", 443),
            ("a b\taliyuncs.com", "x.aliyuncs.com", 443),
            ("127.0.0.1", "127.0.0.1", 9000),
            ("127.0.0.1:9000", "127.0.0.1", 9000),
            ("10.0.0.0/8", "10.200.3.4", 80),
            ("0.0.0.0/0", "192.0.2.1", 80),
            ("10.1.2.3/32", "10.1.2.3", 80),
            ("fd00::/8", "[fd12::1]", 80),
            ("::/0", "[fd12::1]", 80),
            ("::1", "[::1]", 80),
            ("[::1]", "[::1]", 80),
            ("[::1]:80", "[::1]", 80),
            ("0:0:0:0:0:0:0:1", "[::1]", 80),
        ] {
            assert!(
                NoProxy::parse(list).matches(host, port),
                "{list} should match {host}:{port}"
            );
        }
    }

    #[test]
    fn no_proxy_does_not_match() {
        for (list, host, port) in [
            ("", "h", 80),
            (" , ", "h", 80),
            ("yuncs.com", "x.aliyuncs.com", 443),
            ("x.aliyuncs.com", "aliyuncs.com", 443),
            ("aliyuncs.com:80", "x.aliyuncs.com", 443),
            ("127.0.0.1:1", "127.0.0.1", 9000),
            ("0.1", "127.0.0.1", 80),
            ("10.0.0.0/8", "11.0.0.1", 80),
            ("10.0.0.0/33", "10.0.0.1", 80),
            ("10.0.0.0/8", "10.example.com", 80),
            ("fd00::/8", "[fe80::1]", 80),
            ("0.0.0.0/0", "[::1]", 80),
            ("[::1]:81", "[::1]", 80),
            ("h:port", "h", 80),
        ] {
            assert!(
                !NoProxy::parse(list).matches(host, port),
                "{list} matches {host}:{port}"
            );
        }
    }
}

//! The `CONNECT` request to a proxy, and the proxy's response.

use super::proxy::Proxy;
use crate::encoding::base64_encode;
use crate::error::{FailureKind, TransportFailure, escape_control};

/// The largest response head that is read from a proxy.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;
const REASON_CHARS_MAX: usize = 80;

/// Returns the request for a tunnel to `target`, which is `host:port`.
pub(super) fn request(target: &str, user_agent: &str, proxy: &Proxy) -> String {
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if !user_agent.is_empty() {
        head.push_str(&format!("User-Agent: {user_agent}\r\n"));
    }
    head.push_str("Proxy-Connection: Keep-Alive\r\n");
    if let Some((user, password)) = &proxy.credentials {
        let credentials = base64_encode(format!("{user}:{password}"));
        head.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// Returns the number of bytes of the response's head, once all of it is there.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Returns an error unless the proxy has opened the tunnel. `head` is the head of its response;
/// `peer` and `target` are the names of the proxy and of the server in errors.
pub(super) fn check_response(
    head: &[u8],
    peer: &str,
    target: &str,
) -> Result<(), TransportFailure> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|status| status.parse::<u16>().ok());
    let shown: String = escape_control(&line)
        .chars()
        .take(REASON_CHARS_MAX)
        .collect();
    match status {
        Some(200..=299) => Ok(()),
        Some(407) => {
            let detail = format!("{peer} asks for credentials: {shown}");
            Err(TransportFailure::new(
                FailureKind::ProxyAuthRequired,
                detail,
            ))
        }
        Some(_) => {
            let detail = format!("{peer} did not connect to {target}: {shown}");
            Err(TransportFailure::new(FailureKind::ProxyRefused, detail))
        }
        None => Err(not_understood(peer, &format!("it responded {shown:?}"))),
    }
}

pub(super) fn not_understood(peer: &str, why: &str) -> TransportFailure {
    let detail = format!("{peer} did not respond to CONNECT as an HTTP proxy does: {why}");
    TransportFailure::new(FailureKind::ProxyResponse, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(head: &str) -> Option<FailureKind> {
        check_response(head.as_bytes(), "the proxy p:1", "h:443")
            .err()
            .map(|failure| failure.kind)
    }

    #[test]
    fn tunnel_response_kinds() {
        assert_eq!(kind("HTTP/1.1 200 Connection established\r\n\r\n"), None);
        assert_eq!(kind("HTTP/1.0 200\r\n\r\n"), None);
        assert_eq!(
            kind("HTTP/1.1 407 Auth\r\n\r\n"),
            Some(FailureKind::ProxyAuthRequired)
        );
        assert_eq!(
            kind("HTTP/1.1 403 Forbidden\r\n\r\n"),
            Some(FailureKind::ProxyRefused)
        );
        assert_eq!(
            kind("HTTP/1.1 502 Bad Gateway\r\n\r\n"),
            Some(FailureKind::ProxyRefused)
        );
        for head in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "\r\n\r\n",
            "HTTP/1.1 \u{e9}\u{e9}\r\n\r\n",
        ] {
            assert_eq!(kind(head), Some(FailureKind::ProxyResponse), "{head:?}");
        }
    }
}

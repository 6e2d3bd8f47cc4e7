//! What to do about an error, in a few words: the end of its message.

use std::fmt;
use std::io::{self, ErrorKind};

use super::Operation;
use super::code::{CHECK_ENDPOINT_AND_PROXY, rerun_hint};

const UNTRUSTED: &str =
    "trust its root with root_certificates_pem, or the system's roots with the feature platform-verifier";
const NO_PLACE: &str = "put it somewhere else with checkpoint(true, path) or checkpoint_dir(true, dir)";

pub(super) fn transport(operation: &Operation, source: &io::Error) -> &'static str {
    let words = source.to_string();
    let says = |some: &str| words.contains(some);
    match source.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there: check the endpoint and the proxy",
        ErrorKind::NotFound => "check the spelling of the endpoint, and the network",
        ErrorKind::TimedOut if says("connection") => {
            "look for a firewall or a missing proxy; an -internal endpoint is reached from inside Alibaba Cloud only"
        }
        _ if says("UnknownIssuer") => UNTRUSTED,
        _ if says("not valid for name") => "use the name that the certificate is for",
        _ if says("certificate") && (says("xpired") || says("not valid yet") || says("NotValidYet")) => {
            "check this machine's clock; else the server's owner has to renew it"
        }
        _ if says("InvalidContentType") => {
            "the port may speak plain http: check the endpoint's scheme and port"
        }
        _ if says("http parse fail") => {
            "it may be no http that is spoken there: check the endpoint's scheme and port"
        }
        _ if says("CONNECT proxy") && says("responded 407") => {
            "the proxy wants a password: proxy(\"http://user:password@host:port\")"
        }
        _ if says("CONNECT proxy") => {
            "the proxy does not let it through: ask whoever runs it, or do without by no_proxy()"
        }
        _ if says("is larger than") || says("too large") => CHECK_ENDPOINT_AND_PROXY,
        _ if says("Peer disconnected") => {
            "run the same call again; if it says the same, check the endpoint's scheme and port"
        }
        _ if is_final(source) => "what the server shows as its certificate can't be used: see to that first",
        _ => rerun_hint(operation.kind()),
    }
}

/// Would it fail again until somebody has acted? Other damage that TLS reports may pass.
pub(crate) fn is_final(source: &io::Error) -> bool {
    let words = source.to_string();
    let refused = words.contains("certificate") || words.contains("InvalidContentType");
    source.kind() == ErrorKind::InvalidInput || source.kind() == ErrorKind::InvalidData && refused
}

pub(super) fn response(operation: &Operation, reason: &str) -> &'static str {
    if reason.contains("CRC-64 of the object") {
        return "it is there, and it is wrong: delete it, or run the same call again";
    }
    if reason.contains("CRC-64 of the stored") { rerun_hint(operation.kind()) } else { CHECK_ENDPOINT_AND_PROXY }
}

pub(super) fn checkpoint(source: &io::Error) -> Option<&'static str> {
    let advice = match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => NO_PLACE,
        ErrorKind::NotFound => {
            "its directory has to be there; checkpoint_dir(true, dir) makes the one that it is given"
        }
        ErrorKind::AlreadyExists if source.raw_os_error().is_some() => {
            "it is a file, and has to be a directory"
        }
        ErrorKind::NotADirectory => "a part of this path is a file, and has to be a directory",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room and run the same call again",
        _ => return None,
    };
    Some(advice)
}

/// What to do, if there is anything to say.
pub(super) struct Then(pub(super) Option<&'static str>);

impl fmt::Display for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}

/// A value may be a whole file by mistake. What it begins with tells which one it is, and what is wrong comes last.
pub(super) fn shortened(reason: String) -> String {
    const WHOLE_CHARS: usize = 400;
    const HEAD_CHARS: usize = 80;
    const TAIL_CHARS: usize = 140;
    let count = reason.chars().count();
    if count <= WHOLE_CHARS {
        return reason;
    }
    let (head, tail) = (reason.chars().take(HEAD_CHARS), reason.chars().skip(count - TAIL_CHARS));
    head.chain(['…']).chain(tail).collect()
}

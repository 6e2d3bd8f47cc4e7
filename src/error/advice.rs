//! What to do about an error, in a few words: the end of its message.

use std::fmt;
use std::io::{self, ErrorKind};

use super::{Operation, ServiceError};

const LOOK_AROUND: &str = "what answers may not be OSS: check the endpoint, and look for a proxy in between";
const LOOK_AROUND_OR_AGAIN: &str = "run the same call again; if it says the same, what answers may not be OSS: check the endpoint, and look for a proxy";
const UNTRUSTED: &str =
    "trust its root with root_certificates_pem, or the system's roots with the feature platform-verifier";
const NO_PLACE: &str = "put it somewhere else with checkpoint(true, path) or checkpoint_dir(true, dir)";

/// What fails again if it is done again as it is has another advice.
fn again(operation: &Operation) -> &'static str {
    match operation.name {
        "UploadPart" | "CompleteMultipartUpload" | "ListParts" => {
            "run the same call again: with a checkpoint it carries on"
        }
        _ => "run the same call again",
    }
}

pub(super) fn service(error: &ServiceError) -> Option<&'static str> {
    let advice = match (error.status, error.code.as_str()) {
        _ if error.endpoint.is_some() => return None,
        (_, "InvalidAccessKeyId") => "check the AccessKey id; one from STS needs its security token, too",
        (_, "SignatureDoesNotMatch") => {
            "check the AccessKey secret; a domain that is bound to the bucket needs cname(true)"
        }
        (_, "SecurityTokenExpired") => "fetch a new security token and run the same call again",
        (_, "InvalidSecurityToken") => "give the security token that belongs to this AccessKey id",
        (_, "RequestTimeTooSkewed") => "set this machine's clock and run the same call again",
        (_, "NoSuchBucket") => "check the bucket's name and the endpoint",
        (_, "NoSuchUpload") => "somebody, or a lifecycle rule, has aborted it: run the same call again",
        (_, "FileAlreadyExists") => "take another key, or leave out forbid_overwrite",
        (_, "SecondLevelDomainForbidden") => {
            "give the endpoint by its name, not as an IP address, and leave out path_style"
        }
        (_, "UserDisable") => "the account is disabled: look for unpaid bills in the console",
        (_, "AccessDenied") => return Some(access_denied(error)),
        (300..=399, _) => "this is not the bucket's endpoint: give the one that the console shows",
        (_, "BadErrorResponse") if !error.is_temporary() => LOOK_AROUND,
        (_, "BadErrorResponse") if error.request_id.is_none() => LOOK_AROUND_OR_AGAIN,
        _ if error.is_temporary() => again(&error.operation),
        _ => return None,
    };
    Some(advice)
}

fn access_denied(error: &ServiceError) -> &'static str {
    if error.ec.as_deref() == Some("0002-00000080") {
        return "leave the signature at V4";
    }
    if error.message.contains("signing region") {
        return "give the bucket's region with ClientBuilder::region";
    }
    if error.message.is_empty() && error.request_id.is_none() {
        return LOOK_AROUND;
    }
    match error.operation.name {
        "ListParts" => "it needs the permission oss:ListParts on this object",
        "ListMultipartUploads" => "it needs the permission oss:ListMultipartUploads on this bucket",
        "AbortMultipartUpload" => "it needs the permission oss:AbortMultipartUpload on this object",
        "HeadObject" => "it needs the permission oss:GetObject on this object",
        "InitiateMultipartUpload" | "PutObject" => {
            "it needs the permission oss:PutObject on this object, by RAM and by the bucket's policy; for tags oss:PutObjectTagging, too"
        }
        _ => "it needs the permission oss:PutObject on this object, by RAM and by the bucket's policy",
    }
}

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
        _ if says("is larger than") || says("too large") => LOOK_AROUND,
        _ if says("Peer disconnected") => {
            "run the same call again; if it says the same, check the endpoint's scheme and port"
        }
        _ if is_final(source) => "what the server shows as its certificate can't be used: see to that first",
        _ => again(operation),
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
    if reason.contains("CRC-64 of the stored") { again(operation) } else { LOOK_AROUND }
}

pub(super) fn checkpoint(source: &io::Error) -> Option<&'static str> {
    let advice = match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::InvalidFilename => NO_PLACE,
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

mod advice;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use advice::Then;
pub(crate) use advice::is_final;

use crate::Uploaded;
use crate::credentials::NoCredentials;

/// What went wrong, one variant for each party that has to act.
///
/// Every error is printed on one line that names the operation and its object. The cause, where there is one,
/// is also the [`source`](std::error::Error::source). No error ever holds a secret, a token or a signature.
#[non_exhaustive]
pub enum Error {
    /// An argument or an option is wrong, or two contradict each other. Nothing has been sent.
    InvalidOption {
        /// The option's or the argument's name, as in the function that takes it.
        option: &'static str,
        /// What is wrong with it, with the value that was given.
        reason: String,
    },
    /// The local file can't be read.
    Source {
        /// The file; empty when an open file was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The local file was changed while it went up. No object was made of it; the same call starts over.
    SourceChanged {
        /// The file; empty when an open file was given.
        path: PathBuf,
        /// The path no longer leads to the file that was opened: it was deleted, or another one is in its place.
        replaced: bool,
    },
    /// The checkpoint can't be read or written.
    Checkpoint {
        /// The checkpoint file; `None` for a [`CheckpointStore`](crate::CheckpointStore).
        path: Option<PathBuf>,
        /// What the operating system, or the store, said.
        source: io::Error,
    },
    /// Another call, in this process or in another one, is using the checkpoint.
    CheckpointInUse {
        /// The checkpoint file.
        path: PathBuf,
    },
    /// What stands at the checkpoint's path is not a checkpoint of ours. It was left alone.
    NotACheckpoint {
        /// What stands there; empty for a [`CheckpointStore`](crate::CheckpointStore).
        path: PathBuf,
        /// What it is instead, and what to do about it.
        reason: String,
    },
    /// No usable credentials: the provider failed, or gave something that can't be sent.
    Credentials {
        /// What the provider said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came: name lookup, connection, TLS, a timeout, a reset.
    Transport {
        /// What was asked of OSS.
        operation: Operation,
        /// The part number of an `UploadPart`.
        part: Option<u32>,
        /// How many times it was tried.
        attempts: u32,
        /// What the last attempt failed with.
        source: io::Error,
    },
    /// OSS answered, and the answer is no.
    Service(Box<ServiceError>),
    /// The answer claims success but can't be trusted: no ETag, broken XML, another CRC-64 than the file's.
    Response {
        /// What was asked of OSS.
        operation: Operation,
        /// What is wrong with the answer.
        reason: String,
        /// The request id that the answer carried.
        request_id: Option<String>,
    },
    /// The object is complete, but the application server that OSS called back did not accept it (HTTP 203).
    Callback {
        /// The finished upload.
        uploaded: Box<Uploaded>,
        /// What OSS says of the callback.
        service: Box<ServiceError>,
    },
    /// The upload was cancelled through its [`CancelToken`](crate::CancelToken).
    Cancelled {
        /// The request that makes the object had already been sent: the object may exist.
        object_may_exist: bool,
    },
}

/// OSS's own words for a refusal.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// OSS error code such as `AccessDenied`; `BadErrorResponse` when the answer was not OSS's XML.
    pub code: String,
    /// OSS's message, or the beginning of a body that is not XML.
    pub message: String,
    /// The request id, for Alibaba Cloud's support.
    pub request_id: Option<String>,
    /// The host that answered.
    pub host_id: Option<String>,
    /// OSS's finer error code (`EC`), such as `0003-00000001`.
    pub ec: Option<String>,
    /// The endpoint that OSS says is the right one, when the bucket lies in another region.
    pub endpoint: Option<String>,
    /// What was asked of OSS.
    pub operation: Operation,
    /// The part number of an `UploadPart`.
    pub part: Option<u32>,
    /// How many times it was tried.
    pub attempts: u32,
}

/// A request to OSS: its API name, as which it compares and dereferences, and what it was of.
///
/// `UploadPart 7 of oss://examplebucket/dir/object.bin`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    name: &'static str,
    part: Option<u32>,
    object: Box<str>,
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Error {
        Error::InvalidOption { option, reason: advice::shortened(reason.into()) }
    }

    /// OSS's error code, such as `AccessDenied`, when OSS answered with one.
    pub fn service_code(&self) -> Option<&str> {
        self.service().map(|service| service.code.as_str())
    }

    /// The request id of the answer, to be given to Alibaba Cloud's support.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Error::Response { request_id, .. } => request_id.as_deref(),
            _ => self.service()?.request_id.as_deref(),
        }
    }

    /// Is the same call, with the same arguments, worth running again?
    ///
    /// True for the network, for a server in trouble, for expired credentials, for a full disk and a changed
    /// file, and for a call that was cancelled (with a new token); false for a wrong option, a file or a record that can't be
    /// opened, credentials that can't be any, a certificate that isn't trusted, a refusal that will be repeated, and a
    /// callback that failed (the object is complete).
    pub fn is_resumable(&self) -> bool {
        match self {
            Error::InvalidOption { .. } | Error::NotACheckpoint { .. } | Error::Callback { .. } => false,
            Error::Service(service) => service.is_temporary(),
            // What no key can be, or nothing at all.
            Error::Credentials { source } => !source.is::<NoCredentials>(),
            Error::Transport { source, .. } => !is_final(source),
            Error::Source { source, .. } | Error::Checkpoint { source, .. } => !is_in_the_way(source),
            _ => true,
        }
    }

    fn service(&self) -> Option<&ServiceError> {
        match self {
            Error::Service(service) | Error::Callback { service, .. } => Some(service),
            _ => None,
        }
    }
}

/// Until somebody has acted it would be the same again.
fn is_in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        PermissionDenied, ReadOnlyFilesystem,
    };
    let on_disk = matches!(
        error.kind(),
        InvalidFilename
            | InvalidInput
            | IsADirectory
            | NotADirectory
            | NotFound
            | PermissionDenied
            | ReadOnlyFilesystem
    );
    on_disk || error.kind() == AlreadyExists && error.raw_os_error().is_some()
}

impl ServiceError {
    fn is_temporary(&self) -> bool {
        const TEMPORARY: [&str; 9] = [
            // Also where they hide in a 200.
            "InternalError",
            "ServiceUnavailable",
            "RequestTimeout",
            "InvalidDigest",
            "SecurityTokenExpired",
            "InvalidSecurityToken",
            "RequestTimeTooSkewed",
            "NoSuchUpload",
            "InvalidPart",
        ];
        let in_trouble = self.status >= 500 && self.status != 501 || matches!(self.status, 408 | 429);
        in_trouble || TEMPORARY.contains(&self.code.as_str())
    }

    /// What Alibaba Cloud's support asks for.
    fn ids(&self) -> String {
        let known = [("request id", &self.request_id), ("EC", &self.ec)];
        let known: Vec<_> =
            known.iter().filter_map(|(what, id)| Some(format!("{what} {}", id.as_ref()?))).collect();
        if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidOption { option, reason } => write!(f, "invalid {option}: {reason}"),
            Error::Source { path, source } => {
                write!(f, "can't read {}: {}{}", name(path), line(source), seen_from(path, source))
            }
            Error::SourceChanged { path, replaced } => {
                let what = if *replaced { "deleted or replaced" } else { "changed" };
                write!(f, "{} was {what} while it was being uploaded; run the same call again", name(path))
            }
            Error::Checkpoint { path: Some(path), source } => {
                write!(f, "checkpoint {}: {}{}", name(path), line(source), Then(advice::checkpoint(source)))
            }
            Error::Checkpoint { path: None, source } => write!(f, "checkpoint store: {}", line(source)),
            Error::CheckpointInUse { path } => write!(
                f,
                "checkpoint {} is in use by another upload: wait for it, or give each its own with checkpoint_dir(true, dir)",
                name(path)
            ),
            Error::NotACheckpoint { path, reason } => match path.as_os_str().is_empty() {
                true => write!(f, "what the checkpoint store holds {reason}"),
                false => write!(f, "checkpoint {} {reason}", name(path)),
            },
            Error::Credentials { source } => write!(f, "no credentials: {}", line(source)),
            Error::Transport { operation, attempts, source, .. } => {
                let advice = Then(Some(advice::transport(operation, source)));
                write!(f, "{operation} failed{}: {}{advice}", Tried(*attempts), line(source))
            }
            Error::Service(service) => service.fmt(f),
            Error::Response { operation, reason, request_id } => {
                let advice = Then(Some(advice::response(operation, reason)));
                write!(f, "{operation}: the response can't be trusted: {}{advice}", printable(reason))?;
                match request_id {
                    Some(id) => write!(f, " (request id {id})"),
                    None => Ok(()),
                }
            }
            Error::Callback { uploaded, service } => {
                write!(
                    f,
                    "{} is uploaded, but its callback failed: {}; do not upload it again, but see to the application server{}",
                    service.operation.object(&uploaded.key),
                    service.message.trim_end_matches('.'),
                    service.ids()
                )
            }
            Error::Cancelled { object_may_exist: false } => write!(f, "the upload was cancelled"),
            Error::Cancelled { object_may_exist: true } => {
                let whether = "the object may exist; the same call again settles it";
                write!(f, "the upload was cancelled while it was being completed: {whether}")
            }
        }
    }
}

/// The same words: they are what a `main` that returns this error prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed{}: {} {}", self.operation, Tried(self.attempts), self.status, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, "; the bucket's endpoint is {endpoint}")?;
        }
        write!(f, "{}{}", Then(advice::service(self)), self.ids())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Source { source, .. }
            | Error::Checkpoint { source, .. }
            | Error::Transport { source, .. } => Some(source),
            Error::Credentials { source } => Some(&**source),
            // What OSS said stands in the message, all of it.
            _ => None,
        }
    }
}

impl std::error::Error for ServiceError {}

impl Operation {
    pub(crate) fn new(name: &'static str, part: Option<u32>, object: String) -> Operation {
        Operation { name, part, object: object.into() }
    }

    /// What it was of; the key alone where nobody has said.
    fn object(&self, key: &str) -> String {
        if self.object.is_empty() { printable(key) } else { self.object.to_string() }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "{} {part} of {}", self.name, self.object),
            None => write!(f, "{} of {}", self.name, self.object),
        }
    }
}

impl std::ops::Deref for Operation {
    type Target = str;

    fn deref(&self) -> &str {
        self.name
    }
}

impl PartialEq<str> for Operation {
    fn eq(&self, name: &str) -> bool {
        self.name == name
    }
}

impl PartialEq<&str> for Operation {
    fn eq(&self, name: &&str) -> bool {
        self.name == *name
    }
}

struct Tried(u32);

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, " after {} attempts", self.0) } else { Ok(()) }
    }
}

fn name(path: &Path) -> String {
    if path.as_os_str().is_empty() { "the open file".to_owned() } else { printable(&path.to_string_lossy()) }
}

/// A relative path that leads nowhere may have been meant from another place.
fn seen_from(path: &Path, source: &io::Error) -> String {
    match std::env::current_dir() {
        Ok(here)
            if source.kind() == io::ErrorKind::NotFound && path.is_relative() && path != Path::new("") =>
        {
            format!("; it was looked for in {}", name(&here))
        }
        _ => String::new(),
    }
}

fn line(source: &impl fmt::Display) -> String {
    printable(&source.to_string())
}

/// Names, and what others say, may hold line ends and control characters; an error is one line that colours nobody's terminal.
pub(crate) fn printable(text: &str) -> String {
    // Separators of lines, and what turns the direction of the text around.
    const UNSEEN: [std::ops::RangeInclusive<char>; 3] =
        ['\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{200e}'..='\u{200f}'];
    let mut printed = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || UNSEEN.iter().any(|range| range.contains(&character)) {
            printed.extend(character.escape_default());
        } else {
            printed.push(character);
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is in the result of every call.
    #[test]
    fn it_is_small() {
        assert!(size_of::<Error>() <= 96, "{} bytes", size_of::<Error>());
    }
}

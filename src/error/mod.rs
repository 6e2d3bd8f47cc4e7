mod code;
mod hint;
mod operation;
mod service;
mod text;
mod transport_failure;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub(crate) use code::{CHECK_ENDPOINT_AND_PROXY, ErrorCode, RetryDecision, classify, rerun_hint};
pub(crate) use hint::OBJECT_IS_WRONG;
pub use operation::Operation;
pub(crate) use operation::OperationKind;
pub use service::ServiceError;
pub(crate) use text::escape_control;
use text::{Attempts, display_cause, display_path};
pub(crate) use transport_failure::{FailureKind, TransportFailure};

use crate::Uploaded;
use crate::credentials::InvalidCredentials;

/// What went wrong. There is one variant for each party that can do something about it.
///
/// The message of every error is one line that names the operation and its object. It says what
/// failed, with its cause, and then what to do: [`hint`](Error::hint) returns that part alone. No
/// error ever holds a secret, a token or a signature.
///
/// A program that uploads until the object is complete:
///
/// ```no_run
/// # fn f(bucket: &oss_upload::Bucket) -> Result<(), Box<dyn std::error::Error>> {
/// use std::{thread, time::Duration};
/// use oss_upload::checkpoint;
///
/// for attempt in 1.. {
///     let options = [checkpoint(true, "")];
///     match bucket.upload_file("dir/object.bin", "file.bin", 8 << 20, options) {
///         Ok(_) => break,
///         Err(error) if error.is_resumable() && attempt < 100 => {
///             eprintln!("{error}");
///             thread::sleep(Duration::from_secs(30));
///         }
///         Err(error) => return Err(error.into()),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub enum Error {
    /// An argument or an option is wrong, or two contradict each other. Nothing has been sent.
    #[non_exhaustive]
    InvalidOption {
        /// The name of the option or the argument, as in the function that takes it.
        option: &'static str,
        /// What is wrong with it, with the value that was given.
        reason: String,
    },
    /// The local file cannot be read, or the reader of a stream has failed.
    #[non_exhaustive]
    Source {
        /// The absolute path of the file; empty if an open file or a reader was given.
        path: PathBuf,
        /// The error of the operating system, or of the reader.
        source: io::Error,
    },
    /// The local file was changed, replaced or deleted while it was being uploaded. No object was
    /// made of it. The same call starts again.
    #[non_exhaustive]
    SourceChanged {
        /// The absolute path of the file; empty if an open file was given.
        path: PathBuf,
        /// The path no longer leads to the file: it was deleted or replaced.
        replaced: bool,
    },
    /// The checkpoint cannot be read or written.
    #[non_exhaustive]
    Checkpoint {
        /// The checkpoint file; `None` for a [`CheckpointStore`](crate::CheckpointStore).
        path: Option<PathBuf>,
        /// The error of the operating system, or of the store.
        source: io::Error,
    },
    /// Another call, in this process or in another one, uses the checkpoint.
    #[non_exhaustive]
    CheckpointInUse {
        /// The checkpoint file.
        path: PathBuf,
    },
    /// What exists at the checkpoint's path is not a checkpoint of this crate. It was not
    /// modified.
    #[non_exhaustive]
    NotACheckpoint {
        /// What exists there; empty for a [`CheckpointStore`](crate::CheckpointStore).
        path: PathBuf,
        /// Why it cannot be used, and what to do about it.
        reason: String,
    },
    /// There are no usable credentials: the provider failed, or returned something that cannot be
    /// sent.
    #[non_exhaustive]
    Credentials {
        /// The error of the provider.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No response arrived: name lookup, connection, TLS, a timeout, a reset.
    #[non_exhaustive]
    Transport {
        /// The operation that failed.
        operation: Operation,
        /// The part number, for `UploadPart`.
        part: Option<u32>,
        /// How many times it was attempted.
        attempts: u32,
        /// Why the last attempt failed.
        source: io::Error,
    },
    /// OSS sent an error response.
    Service(Box<ServiceError>),
    /// The response claims success but cannot be trusted: no ETag, broken XML, or a CRC-64 that
    /// differs from the file's.
    #[non_exhaustive]
    Response {
        /// The operation that was performed.
        operation: Operation,
        /// What is wrong with the response.
        reason: String,
        /// The request ID of the response.
        request_id: Option<String>,
        #[doc(hidden)]
        hint: &'static str,
    },
    /// The object is complete, but the application server that OSS called back did not accept it
    /// (HTTP status 203).
    #[non_exhaustive]
    Callback {
        /// The finished upload.
        uploaded: Box<Uploaded>,
        /// What OSS says about the callback.
        service: Box<ServiceError>,
    },
    /// The upload was cancelled through its [`CancelToken`](crate::CancelToken).
    #[non_exhaustive]
    Cancelled {
        /// The request that makes the object had already been sent: the object may exist.
        object_may_exist: bool,
        /// The ID of an upload that could not be aborted, so that its parts are still stored, and
        /// billed. If there is a checkpoint, it is kept.
        upload_left: Option<String>,
    },
}

/// The result of a function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn option(option: &'static str, reason: impl Into<String>) -> Error {
        Error::InvalidOption {
            option,
            reason: text::shorten(reason.into()),
        }
    }

    /// Returns the error code of OSS, such as `AccessDenied`, if OSS sent an error response.
    pub fn service_code(&self) -> Option<&str> {
        self.service().map(|service| service.code.as_str())
    }

    /// Returns the request ID of the response, for the support of Alibaba Cloud.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Error::Response { request_id, .. } => request_id.as_deref(),
            _ => self.service()?.request_id.as_deref(),
        }
    }

    /// Returns whether retrying the same call, with the same arguments, may succeed.
    ///
    /// True for network failures, server errors, expired credentials, a full disk, a changed file,
    /// and a call that was cancelled (with a new token). False for an invalid option, a file or a
    /// checkpoint that cannot be opened, malformed credentials, an untrusted certificate, an error
    /// response that would be repeated, and a failed callback (the object is complete).
    pub fn is_resumable(&self) -> bool {
        match self {
            Error::InvalidOption { .. } | Error::NotACheckpoint { .. } | Error::Callback { .. } => {
                false
            }
            Error::Service(service) => classify(service).is_resumable,
            Error::Credentials { source } => !source.is::<InvalidCredentials>(),
            Error::Transport { source, .. } => !FailureKind::of(source).is_permanent(),
            Error::Source { source, .. } | Error::Checkpoint { source, .. } => {
                !needs_user_action(source)
            }
            Error::SourceChanged { .. }
            | Error::CheckpointInUse { .. }
            | Error::Response { .. }
            | Error::Cancelled { .. } => true,
        }
    }

    /// Returns what to do about the error, if there is something to say. The message ends with it.
    pub fn hint(&self) -> Option<&str> {
        hint::hint(self)
    }

    /// Returns whether the response says that this request is wrong.
    pub(crate) fn is_about_request(&self) -> bool {
        match self {
            Error::Service(service) => !classify(service).is_resumable,
            Error::Response { .. } => true,
            Error::Transport { source, .. } => {
                FailureKind::of(source) == FailureKind::ResponseTooLarge
            }
            _ => false,
        }
    }

    /// Returns the error code of OSS.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.service_code().map(ErrorCode::of)
    }

    fn service(&self) -> Option<&ServiceError> {
        match self {
            Error::Service(service) | Error::Callback { service, .. } => Some(service),
            _ => None,
        }
    }

    /// Describes what failed, without the hint.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InvalidOption { option, reason } => write!(f, "invalid {option}: {reason}"),
            Error::Source { path, source } => {
                let cause = display_cause(source);
                let path = match path.as_os_str().is_empty() {
                    true => "the source".to_owned(),
                    false => display_path(path),
                };
                write!(f, "cannot read {path}: {cause}")
            }
            Error::SourceChanged { path, replaced } => {
                let what = if *replaced {
                    "deleted or replaced"
                } else {
                    "changed"
                };
                let path = display_path(path);
                write!(f, "{path} was {what} while it was being uploaded")
            }
            Error::Checkpoint {
                path: Some(path),
                source,
            } => {
                let (path, cause) = (display_path(path), display_cause(source));
                write!(f, "checkpoint {path}: {cause}")
            }
            Error::Checkpoint { path: None, source } => {
                write!(f, "checkpoint store: {}", display_cause(source))
            }
            Error::CheckpointInUse { path } => {
                write!(
                    f,
                    "checkpoint {} is in use by another upload",
                    display_path(path)
                )
            }
            Error::NotACheckpoint { path, reason } => match path.as_os_str().is_empty() {
                true => write!(f, "what the checkpoint store holds {reason}"),
                false => write!(f, "checkpoint {} {reason}", display_path(path)),
            },
            Error::Credentials { source } => {
                write!(f, "no credentials: {}", display_cause(source))
            }
            Error::Transport {
                operation,
                attempts,
                source,
                ..
            } => {
                let (attempts, cause) = (Attempts(*attempts), display_cause(source));
                write!(f, "{operation} failed{attempts}: {cause}")
            }
            Error::Service(service) => service.describe(f),
            Error::Response {
                operation, reason, ..
            } => {
                let reason = escape_control(reason);
                write!(f, "{operation}: the response cannot be trusted: {reason}")
            }
            Error::Callback { uploaded, service } => {
                let object = service.operation.object(&uploaded.key);
                let message = service.message.trim_end_matches('.');
                write!(
                    f,
                    "{object} is uploaded, but its callback failed: {message}"
                )
            }
            Error::Cancelled {
                object_may_exist,
                upload_left,
            } => {
                f.write_str("the upload was cancelled")?;
                if *object_may_exist {
                    f.write_str(" while it was being completed; the object may exist")?;
                }
                match upload_left {
                    Some(id) => write!(f, "; upload {} could not be aborted", escape_control(id)),
                    None => Ok(()),
                }
            }
        }
    }

    /// Returns the IDs that the support of Alibaba Cloud asks for.
    fn support_ids(&self) -> String {
        match self {
            Error::Response {
                request_id: Some(id),
                ..
            } => format!(" (request id {})", escape_control(id)),
            _ => self
                .service()
                .map_or_else(String::new, ServiceError::support_ids),
        }
    }
}

/// Returns whether the error would happen again until the user has done something.
fn needs_user_action(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
        PermissionDenied, ReadOnlyFilesystem,
    };
    match error.kind() {
        InvalidFilename | InvalidInput | IsADirectory | NotADirectory | NotFound
        | PermissionDenied | ReadOnlyFilesystem => true,
        // Ours says that somebody put another file in the checkpoint's place meanwhile.
        AlreadyExists => error.raw_os_error().is_some(),
        _ => false,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)?;
        if let Some(hint) = self.hint() {
            write!(f, "; {hint}")?;
        }
        f.write_str(&self.support_ids())
    }
}

/// Shows the same as `Display`, because a `main` that returns this error prints it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The message holds the cause; the source is what is beneath the cause.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Source { source, .. }
            | Error::Checkpoint { source, .. }
            | Error::Transport { source, .. } => source.source(),
            Error::Credentials { source } => source.source(),
            _ => None,
        }
    }
}

/// Keeps the error as the inner one, and the kind of an error that it came from.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Source { source, .. }
            | Error::Checkpoint { source, .. }
            | Error::Transport { source, .. } => source.kind(),
            Error::InvalidOption { .. } => io::ErrorKind::InvalidInput,
            Error::CheckpointInUse { .. } => io::ErrorKind::ResourceBusy,
            Error::NotACheckpoint { .. } => io::ErrorKind::AlreadyExists,
            Error::Response { .. } => io::ErrorKind::InvalidData,
            Error::Service(service) if matches!(service.status, 401 | 403) => {
                io::ErrorKind::PermissionDenied
            }
            Error::Service(service) if service.status == 404 => io::ErrorKind::NotFound,
            Error::Cancelled { .. } => io::ErrorKind::Interrupted,
            Error::Credentials { .. } => io::ErrorKind::PermissionDenied,
            Error::SourceChanged { .. } | Error::Service(_) | Error::Callback { .. } => {
                io::ErrorKind::Other
            }
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// It is part of the result of every call, and must not make successful ones slow.
    #[test]
    fn error_size_is_bounded() {
        assert!(size_of::<Error>() <= 96, "{} bytes", size_of::<Error>());
    }

    #[test]
    fn error_shows_its_cause_once() {
        let cause = io::Error::other("the disk is on fire");
        let error = Error::Source {
            path: "/f".into(),
            source: cause,
        };
        assert_eq!(error.to_string(), "cannot read /f: the disk is on fire");
        assert!(error.source().is_none());
    }

    #[test]
    fn error_converts_to_an_io_error_and_back() {
        let error = Error::option("routines", "0 is out of range; use 1 to 100");
        let converted = io::Error::from(error);
        assert_eq!(converted.kind(), io::ErrorKind::InvalidInput);
        let inner = converted.into_inner().unwrap();
        assert!(matches!(
            *inner.downcast::<Error>().unwrap(),
            Error::InvalidOption {
                option: "routines",
                ..
            }
        ));
    }
}

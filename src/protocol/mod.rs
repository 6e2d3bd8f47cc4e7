//! Requests and responses of OSS as plain values. Nothing here touches a socket, a file or a clock.

pub(crate) mod abort;
pub(crate) mod complete;
pub(crate) mod error_response;
pub(crate) mod head_object;
pub(crate) mod initiate;
pub(crate) mod list_parts;
pub(crate) mod list_uploads;
pub(crate) mod put_object;
pub(crate) mod request;
pub(crate) mod retry;
pub(crate) mod upload_part;
mod xml;

use crate::error::escape_control;

/// Why a response that reports success is not accepted. The text has no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidResponse {
    pub(crate) reason: String,
    /// OSS has stored other bytes than those that were sent.
    pub(crate) is_damage: bool,
}

pub(crate) type ParseResult<T> = Result<T, InvalidResponse>;

impl<T: Into<String>> From<T> for InvalidResponse {
    fn from(reason: T) -> InvalidResponse {
        InvalidResponse {
            reason: escape_control(&reason.into()),
            is_damage: false,
        }
    }
}

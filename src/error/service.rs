use std::fmt;

use super::Operation;
use super::code::classify;
use super::text::Attempts;

/// An error response of OSS (OSS documentation, "Error responses").
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServiceError {
    /// The HTTP status.
    pub status: u16,
    /// The error code, such as `AccessDenied`. `BadErrorResponse` if the response was not OSS's
    /// XML.
    pub code: String,
    /// The message of OSS, or the beginning of a body that is not XML.
    pub message: String,
    /// The request ID, for the support of Alibaba Cloud.
    pub request_id: Option<String>,
    /// The host that responded.
    pub host_id: Option<String>,
    /// The detailed error code (`EC`), such as `0003-00000001`.
    pub ec: Option<String>,
    /// The right endpoint, if OSS says that the bucket is in another region.
    pub endpoint: Option<String>,
    /// The operation that failed.
    pub operation: Operation,
    /// The part number, for `UploadPart`.
    pub part: Option<u32>,
    /// How many times it was attempted.
    pub attempts: u32,
    /// The request carried a security token.
    pub(crate) has_token: bool,
}

impl ServiceError {
    /// Returns what to do about it, if there is something to say.
    pub fn hint(&self) -> Option<&str> {
        classify(self).hint
    }

    /// Describes what failed, without the hint and the IDs.
    pub(super) fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempts = Attempts(self.attempts);
        let (operation, status, code) = (&self.operation, self.status, &self.code);
        write!(f, "{operation} failed{attempts}: {status} {code}")?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message.trim_end_matches('.'))?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, "; the bucket's endpoint is {endpoint}"),
            None => Ok(()),
        }
    }

    /// Returns the IDs that the support of Alibaba Cloud asks for.
    pub(super) fn support_ids(&self) -> String {
        let id = self
            .request_id
            .as_ref()
            .map(|id| format!("request id {id}"));
        let ec = self.ec.as_ref().map(|ec| format!("EC {ec}"));
        let ids: Vec<_> = id.into_iter().chain(ec).collect();
        match ids.is_empty() {
            true => String::new(),
            false => format!(" ({})", ids.join(", ")),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)?;
        if let Some(hint) = self.hint() {
            write!(f, "; {hint}")?;
        }
        f.write_str(&self.support_ids())
    }
}

impl std::error::Error for ServiceError {}

use std::error::Error;
use std::fmt;

use crate::credentials::InvalidCredentials;
use crate::error::escape_control;

/// Why a source has no credentials. The message names the cause and what to do.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing says that this source is to be used.
    NotConfigured,
    /// The same happens again until somebody has acted.
    Final,
    /// It is worth a retry.
    Transient,
}

impl Failure {
    pub(super) fn not_configured(message: impl Into<String>) -> Failure {
        Failure::new(Kind::NotConfigured, message)
    }

    pub(super) fn permanent(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Final, message)
    }

    pub(super) fn transient(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Transient, message)
    }

    /// Messages quote names and the texts of others.
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: escape_control(&message.into()),
        }
    }

    /// Puts what was being done before the message.
    pub(super) fn context(self, context: impl fmt::Display) -> Failure {
        Failure::new(self.kind, format!("{context}: {}", self.message))
    }

    /// Returns the error of the public trait. The client retries all but [`InvalidCredentials`].
    pub(super) fn into_error(self) -> Box<dyn Error + Send + Sync> {
        match self.kind {
            Kind::NotConfigured | Kind::Final => InvalidCredentials(self.message).into(),
            Kind::Transient => Unavailable(self.message).into(),
        }
    }
}

/// There are no credentials now; there may be later.
#[derive(Debug)]
struct Unavailable(String);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unavailable {}

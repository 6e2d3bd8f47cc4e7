use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An AccessKey pair, with the security token that belongs to it when STS issued it.
///
/// `Debug` shows the AccessKey id and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    id: String,
    secret: String,
    security_token: Option<String>,
}

/// Where credentials come from. It is asked before every request, so a token may change in mid-upload;
/// an implementation that fetches them should keep them until they are about to expire.
///
/// Implemented for [`Credentials`], for closures and for `Arc<P>`:
///
/// ```
/// use oss_upload::{Client, Credentials};
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(|| Ok(Credentials::new("id", "secret").with_security_token("token")))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub trait ProvideCredentials: Send + Sync {
    /// The credentials to sign the next request with.
    ///
    /// # Errors
    /// Whatever keeps the provider from giving any; it becomes the source of [`Error::Credentials`].
    fn credentials(&self) -> std::result::Result<Credentials, BoxError>;
}

impl Credentials {
    /// An AccessKey pair: of a RAM user, or together with
    /// [`with_security_token`](Credentials::with_security_token) of an STS role.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Credentials {
        Credentials { id: id.into(), secret: secret.into(), security_token: None }
    }

    /// Adds the security token that STS gave with the pair.
    #[must_use]
    pub fn with_security_token(self, token: impl Into<String>) -> Credentials {
        Credentials { security_token: Some(token.into()), ..self }
    }

    /// Reads `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and, if set and not empty, `OSS_SESSION_TOKEN`: the
    /// names that the official SDKs for Go, Java and Python use.
    ///
    /// # Errors
    /// [`Error::Credentials`] names the variable that is not set, is empty or is not text.
    pub fn from_env() -> Result<Credentials> {
        let pair = Credentials::new(variable("OSS_ACCESS_KEY_ID")?, variable("OSS_ACCESS_KEY_SECRET")?);
        let credentials = match std::env::var("OSS_SESSION_TOKEN") {
            Ok(token) if !token.is_empty() => pair.with_security_token(token),
            _ => pair,
        };
        credentials.check().map_err(|source| Error::Credentials { source })?;
        Ok(credentials)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    pub(crate) fn security_token(&self) -> Option<&str> {
        self.security_token.as_deref()
    }

    /// Can these be put into a request at all? A line end at the end of a key is a common slip.
    pub(crate) fn check(&self) -> std::result::Result<(), BoxError> {
        let fields = [
            ("AccessKey id", Some(&self.id)),
            ("AccessKey secret", Some(&self.secret)),
            ("security token", self.security_token.as_ref()),
        ];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(NoCredentials(format!("the {name} is empty")).into());
            }
            // The value is not shown: only where to look.
            let visible = |byte: &u8| byte.is_ascii_graphic();
            let place = match (value.bytes().position(|byte| !visible(&byte)), value.bytes().last()) {
                (None, _) => continue,
                (Some(0), _) => "at its beginning: trim it",
                (Some(_), Some(last)) if !visible(&last) => "at its end: trim it",
                _ => "inside: copy it anew",
            };
            let what = "has a space, a line end or another character that no key has";
            return Err(NoCredentials(format!("the {name} {what}, {place}")).into());
        }
        Ok(())
    }
}

fn variable(name: &'static str) -> Result<String> {
    let problem = match std::env::var(name) {
        Ok(value) if !value.is_empty() => return Ok(value),
        Ok(_) => format!("{name} is empty"),
        Err(std::env::VarError::NotPresent) => format!("{name} is not set"),
        Err(std::env::VarError::NotUnicode(_)) => format!("{name} is not text"),
    };
    Err(Error::Credentials { source: NoCredentials(problem).into() })
}

/// They are none, and will be none the next time.
#[derive(Debug)]
pub(crate) struct NoCredentials(pub(crate) String);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoCredentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ProvideCredentials for Credentials {
    fn credentials(&self) -> std::result::Result<Credentials, BoxError> {
        Ok(self.clone())
    }
}

impl<F> ProvideCredentials for F
where
    F: Fn() -> std::result::Result<Credentials, BoxError> + Send + Sync,
{
    fn credentials(&self) -> std::result::Result<Credentials, BoxError> {
        self()
    }
}

impl<P: ProvideCredentials + ?Sized> ProvideCredentials for Arc<P> {
    fn credentials(&self) -> std::result::Result<Credentials, BoxError> {
        (**self).credentials()
    }
}

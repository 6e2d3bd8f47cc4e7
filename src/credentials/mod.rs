//! Who signs: an AccessKey pair, or a provider that fetches one.
#![cfg_attr(feature = "credential-providers", doc = "")]
#![cfg_attr(
    feature = "credential-providers",
    doc = include_str!("../docs/credential_providers.md")
)]

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

// Only the public path is here: the providers are built on the transport and the client's clock.
#[cfg(feature = "credential-providers")]
pub use crate::providers::{CredentialsUri, DefaultChain, EcsRamRole, OidcRole, Process, Profile};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An AccessKey pair, with its security token if STS issued it.
///
/// `Debug` shows the AccessKey ID and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    id: String,
    secret: String,
    security_token: Option<String>,
}

/// Provides credentials. It is asked before every request, so a token may change during an upload.
/// An implementation that fetches credentials should keep them until they are about to expire.
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
    /// Returns the credentials for the next request.
    ///
    /// # Errors
    /// Any error of the provider. It becomes the source of [`Error::Credentials`].
    fn credentials(&self) -> std::result::Result<Credentials, BoxError>;

    /// Called when OSS did not accept `credentials`, before the provider is asked once more.
    ///
    /// A provider that keeps credentials until they expire should drop these, because they may have
    /// been revoked. Does nothing by default.
    fn refused(&self, credentials: &Credentials) {
        let _ = credentials;
    }
}

impl Credentials {
    /// Creates credentials from an AccessKey pair. It belongs to a RAM user or, together with
    /// [`with_security_token`](Credentials::with_security_token), to an STS role.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Credentials {
        Credentials {
            id: id.into(),
            secret: secret.into(),
            security_token: None,
        }
    }

    /// Adds the security token that STS issued with the pair.
    #[must_use]
    pub fn with_security_token(self, token: impl Into<String>) -> Credentials {
        Credentials {
            security_token: Some(token.into()),
            ..self
        }
    }

    /// Reads the credentials from the environment.
    ///
    /// The variables are `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET` and, optionally,
    /// `OSS_SESSION_TOKEN`, which the SDKs of OSS use; or else `ALIBABA_CLOUD_ACCESS_KEY_ID`,
    /// `ALIBABA_CLOUD_ACCESS_KEY_SECRET` and, optionally, `ALIBABA_CLOUD_SECURITY_TOKEN`, which the
    /// other tools of Alibaba Cloud use. The two families are never mixed: if any `OSS_` variable
    /// of the three is set, the pair must be complete. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`Error::Credentials`] names the variable that is not set or is not UTF-8.
    pub fn from_env() -> Result<Credentials> {
        let credentials = required_variables(&|name| std::env::var_os(name));
        credentials.map_err(|problem| Error::Credentials {
            source: problem.into(),
        })
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

    /// Checks whether the credentials can be part of a request. A line end after a key is a common
    /// mistake.
    pub(crate) fn check(&self) -> std::result::Result<(), BoxError> {
        Ok(self.validate()?)
    }

    fn validate(&self) -> std::result::Result<(), InvalidCredentials> {
        let fields = [
            ("AccessKey ID", Some(&self.id)),
            ("AccessKey secret", Some(&self.secret)),
            ("security token", self.security_token.as_ref()),
        ];
        for (name, value) in fields {
            let Some(value) = value else { continue };
            if value.is_empty() {
                return Err(InvalidCredentials(format!("the {name} is empty")));
            }
            // The message says where in the value the mistake is. It does not show the value.
            let visible = |byte: u8| byte.is_ascii_graphic();
            let problem = match value.bytes().position(|byte| !visible(byte)) {
                None => continue,
                Some(0) => "starts with whitespace or another invalid character; trim it",
                Some(_) if !value.bytes().last().is_some_and(visible) => {
                    "ends with whitespace or another invalid character; trim it"
                }
                Some(_) => "contains whitespace or another invalid character; copy it again",
            };
            return Err(InvalidCredentials(format!("the {name} {problem}")));
        }
        Ok(())
    }
}

/// The names of an AccessKey ID, its secret and its token in the environment.
const FAMILIES: [[&str; 3]; 2] = [
    [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
    ],
    [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ],
];

fn required_variables(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> std::result::Result<Credentials, InvalidCredentials> {
    from_variables(variable)?.ok_or_else(|| {
        let [[oss, ..], [cloud, ..]] = FAMILIES;
        InvalidCredentials(format!("neither {oss} nor {cloud} is set"))
    })
}

/// Reads the first family of which any variable is set; returns `None` if none is.
pub(crate) fn from_variables(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> std::result::Result<Option<Credentials>, InvalidCredentials> {
    let value = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_set = |family: &&[&str; 3]| family.iter().any(|name| value(name).is_some());
    let Some([id, secret, token]) = FAMILIES.iter().find(is_set) else {
        return Ok(None);
    };
    let text = |name: &str| {
        value(name)
            .map(OsString::into_string)
            .transpose()
            .map_err(|_| InvalidCredentials(format!("{name} is not UTF-8")))
    };
    let required = |name: &str| {
        text(name)?.ok_or_else(|| InvalidCredentials(format!("{name} is not set or is empty")))
    };
    let credentials = Credentials {
        id: required(id)?,
        secret: required(secret)?,
        security_token: text(token)?,
    };
    credentials.validate()?;
    Ok(Some(credentials))
}

/// No request can be signed with these credentials, now or later.
#[derive(Debug)]
pub(crate) struct InvalidCredentials(pub(crate) String);

impl fmt::Display for InvalidCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidCredentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("id", &self.id)
            .finish_non_exhaustive()
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

    fn refused(&self, credentials: &Credentials) {
        (**self).refused(credentials);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> std::result::Result<Credentials, String> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        };
        required_variables(&variable).map_err(|error| error.to_string())
    }

    #[test]
    fn credentials_from_env_read_one_family() {
        let oss = [("OSS_ACCESS_KEY_ID", "a"), ("OSS_ACCESS_KEY_SECRET", "b")];
        let cloud = [
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "c"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "d"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "e"),
        ];
        assert_eq!(read(&oss), Ok(Credentials::new("a", "b")));
        assert_eq!(
            read(&cloud),
            Ok(Credentials::new("c", "d").with_security_token("e"))
        );
        // The token of the other family is not taken.
        assert_eq!(
            read(&[&oss[..], &cloud[..]].concat()),
            Ok(Credentials::new("a", "b"))
        );
        let empty = [("OSS_ACCESS_KEY_ID", ""), ("OSS_SESSION_TOKEN", "")];
        assert!(read(&[&empty[..], &cloud[..]].concat()).is_ok());
    }

    #[test]
    fn credentials_from_env_name_what_is_missing() {
        let message = read(&[]).unwrap_err();
        assert!(
            message.contains("OSS_ACCESS_KEY_ID")
                && message.contains("ALIBABA_CLOUD_ACCESS_KEY_ID")
        );
        for (variables, missing) in [
            (vec![("OSS_ACCESS_KEY_ID", "a")], "OSS_ACCESS_KEY_SECRET"),
            (vec![("OSS_ACCESS_KEY_SECRET", "a")], "OSS_ACCESS_KEY_ID"),
            (vec![("OSS_SESSION_TOKEN", "a")], "OSS_ACCESS_KEY_ID"),
            (
                vec![("ALIBABA_CLOUD_ACCESS_KEY_ID", "a")],
                "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            ),
            (
                vec![
                    ("OSS_ACCESS_KEY_ID", "a"),
                    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "c"),
                    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "d"),
                ],
                "OSS_ACCESS_KEY_SECRET",
            ),
        ] {
            let message = read(&variables).unwrap_err();
            assert!(message.contains(missing), "{message}");
        }
    }

    #[test]
    fn credentials_with_whitespace_are_refused_without_showing_them() {
        for (secret, place) in [
            ("hush\n", "ends"),
            (" hush", "starts"),
            ("hu sh", "contains"),
            ("", "empty"),
        ] {
            let error = Credentials::new("id", secret)
                .check()
                .unwrap_err()
                .to_string();
            assert!(error.contains(place) && !error.contains("sh "), "{error}");
        }
        assert!(Credentials::new("id", "secret").check().is_ok());
    }

    #[test]
    fn credentials_refused_reaches_a_shared_provider() {
        #[derive(Default)]
        struct Provider(Mutex<Vec<String>>);
        impl ProvideCredentials for Provider {
            fn credentials(&self) -> std::result::Result<Credentials, BoxError> {
                Ok(Credentials::new("id", "secret"))
            }
            fn refused(&self, credentials: &Credentials) {
                self.0.lock().unwrap().push(credentials.id().to_owned());
            }
        }
        let provider = Arc::new(Provider::default());
        let shared: Arc<dyn ProvideCredentials> = provider.clone();
        ProvideCredentials::refused(&shared, &Credentials::new("old", "secret"));
        assert_eq!(*provider.0.lock().unwrap(), ["old"]);
    }
}

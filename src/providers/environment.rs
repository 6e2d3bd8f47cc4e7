//! What the providers read of the environment, as a value, so that a test can give another one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;

pub(super) const CLI_PROFILE_DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
pub(super) const CONFIG_FILE: &str = "ALIBABA_CLOUD_CONFIG_FILE";
pub(super) const CREDENTIALS_FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";
pub(super) const CREDENTIALS_URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";
pub(super) const ECS_METADATA: &str = "ALIBABA_CLOUD_ECS_METADATA";
pub(super) const ECS_METADATA_DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
pub(super) const IMDS_V1_DISABLED: &str = "ALIBABA_CLOUD_IMDSV1_DISABLED";
pub(super) const OIDC_PROVIDER_ARN: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
pub(super) const OIDC_TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
pub(super) const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
pub(super) const ROLE_ARN: &str = "ALIBABA_CLOUD_ROLE_ARN";
pub(super) const ROLE_SESSION_NAME: &str = "ALIBABA_CLOUD_ROLE_SESSION_NAME";
pub(super) const STS_REGION: &str = "ALIBABA_CLOUD_STS_REGION";
pub(super) const VPC_ENDPOINT_ENABLED: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

#[derive(Clone)]
pub(super) struct Environment {
    lookup: Arc<Lookup>,
    home: fn(&Environment) -> Option<PathBuf>,
}

impl Environment {
    /// Returns the environment of this process; variables are looked up when they are needed.
    pub(super) fn of_process() -> Environment {
        Environment {
            lookup: Arc::new(|name| std::env::var_os(name)),
            home: |_| std::env::home_dir(),
        }
    }

    /// Returns an environment of these variables alone. `HOME` is the home directory.
    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), OsString::from(value));
        let variables: std::collections::HashMap<String, OsString> =
            variables.iter().map(owned).collect();
        Environment {
            lookup: Arc::new(move |name| variables.get(name).cloned()),
            home: |environment| environment.get("HOME").map(PathBuf::from),
        }
    }

    /// Returns a variable. An empty one counts as not set.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        let text = self.get(name).map(OsString::into_string).transpose();
        text.map_err(|_| Failure::permanent(format!("{name} is not UTF-8")))
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn home(&self) -> Option<PathBuf> {
        (self.home)(self).filter(|home| !home.as_os_str().is_empty())
    }

    pub(super) fn lookup(&self) -> &Lookup {
        &*self.lookup
    }
}

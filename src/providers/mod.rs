//! Providers that fetch credentials: their settings and requests, and the cache that they share.
//!
//! A source ([`Fetch`]) knows how to get credentials once. A provider is a source with a
//! [`Cache`](cache::Cache) in front of it. The profile and the default chain are sources that choose
//! among the other ones, so that credentials are kept in one place however they were found.

mod cache;
mod credentials_uri;
mod default_chain;
mod ecs_ram_role;
mod environment;
mod failure;
mod http;
mod json;
mod oidc_role;
mod process;
mod profile;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

pub use credentials_uri::CredentialsUri;
pub use default_chain::DefaultChain;
pub use ecs_ram_role::EcsRamRole;
pub use oidc_role::OidcRole;
pub use process::Process;
pub use profile::Profile;

use crate::client::Clock;
use crate::credentials::Credentials;
use failure::Failure;

/// Where credentials come from.
trait Fetch: Send + Sync {
    /// Returns what the messages of its failures begin with.
    fn name(&self) -> &'static str;

    /// Gets new credentials.
    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure>;
}

/// Credentials, and for how long they are valid from now on.
struct Fetched {
    credentials: Credentials,
    /// `None` if it is not known: they are used until OSS refuses them.
    lifetime: Option<Duration>,
}

impl Fetched {
    /// `now` is the time of whoever issued the credentials, as far as it is known: the local clock
    /// may be wrong.
    fn new(
        name: &str,
        credentials: Credentials,
        expiration: Option<SystemTime>,
        now: SystemTime,
    ) -> Fetched {
        let lifetime = expiration.map(|expiration| expiration.duration_since(now));
        if let Some(Err(since)) = &lifetime {
            log::warn!(
                "{name}: the credentials expired {} s ago, by the clock at hand; \
                 they are used until OSS refuses them",
                since.duration().as_secs()
            );
        }
        let lifetime = lifetime.and_then(Result::ok);
        Fetched {
            credentials,
            lifetime: lifetime.filter(|lifetime| !lifetime.is_zero()),
        }
    }
}

/// Implements the public trait for a provider that has a `source` and a `cache`.
macro_rules! provide_from_cache {
    ($provider:ty) => {
        impl $crate::credentials::ProvideCredentials for $provider {
            fn credentials(
                &self,
            ) -> Result<$crate::credentials::Credentials, Box<dyn std::error::Error + Send + Sync>>
            {
                self.cache.get(&self.source)
            }

            fn refused(&self, credentials: &$crate::credentials::Credentials) {
                self.cache.refused(credentials);
            }
        }
    };
}
use provide_from_cache;

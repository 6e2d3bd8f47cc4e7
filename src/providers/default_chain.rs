use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::cache::Cache;
use super::credentials_uri::UriSource;
use super::ecs_ram_role::EcsSource;
use super::environment::{CREDENTIALS_URI, Environment};
use super::failure::{Failure, Kind};
use super::oidc_role::OidcSource;
use super::profile::{Files, ProfileSource};
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::credentials::from_variables;

/// The first source that has credentials, in the order of Alibaba Cloud's own tools.
///
/// | | source | used if | switched by |
/// |---|---|---|---|
/// | 1 | variables of OSS | one is set | `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_SESSION_TOKEN` |
/// | 2 | variables of Alibaba Cloud | one is set | `ALIBABA_CLOUD_ACCESS_KEY_ID`, `ALIBABA_CLOUD_ACCESS_KEY_SECRET`, `ALIBABA_CLOUD_SECURITY_TOKEN` |
/// | 3 | [`OidcRole`](super::OidcRole) | one of the first two is set | `ALIBABA_CLOUD_OIDC_TOKEN_FILE`, `ALIBABA_CLOUD_OIDC_PROVIDER_ARN`, `ALIBABA_CLOUD_ROLE_ARN`, `ALIBABA_CLOUD_ROLE_SESSION_NAME` |
/// | 4 | the CLI's [`Profile`](super::Profile) | `~/.aliyun/config.json` exists | `ALIBABA_CLOUD_PROFILE`, `ALIBABA_CLOUD_CONFIG_FILE`, `ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true` |
/// | 5 | the SDKs' [`Profile`](super::Profile) | `~/.alibabacloud/credentials.ini` exists | `ALIBABA_CLOUD_PROFILE`, `ALIBABA_CLOUD_CREDENTIALS_FILE` |
/// | 6 | [`EcsRamRole`](super::EcsRamRole) | the metadata service can be reached | `ALIBABA_CLOUD_ECS_METADATA`, `ALIBABA_CLOUD_ECS_METADATA_DISABLED=true`, `ALIBABA_CLOUD_IMDSV1_DISABLED=true` |
/// | 7 | [`CredentialsUri`](super::CredentialsUri) | it is set | `ALIBABA_CLOUD_CREDENTIALS_URI` |
///
/// The order from 2 on is that of the default credential provider chain of Alibaba Cloud
/// Credentials (`credentials/providers/default.go` of
/// [credentials-go](https://github.com/aliyun/credentials-go),
/// `alibabacloud_credentials/provider/default.py` of
/// [credentials-python](https://github.com/aliyun/credentials-python)).
///
/// As there, a source that is set up wrongly is passed over; that is logged as a warning. A source
/// that cannot be reached is not: the chain fails, and is worth a retry, since the next source may
/// be another identity. The chain stays with the source that had credentials first.
///
/// Where nothing is set up, the metadata service takes a second to find out that this is not an ECS
/// instance; `ALIBABA_CLOUD_ECS_METADATA_DISABLED=true` saves it. With
/// `ALIBABA_CLOUD_ECS_METADATA` a metadata service that cannot be reached is worth a retry, as after
/// the start of an instance whose network is not ready.
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::DefaultChain;
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(DefaultChain::new())
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct DefaultChain {
    source: ChainSource,
    cache: Cache,
}

impl DefaultChain {
    /// Creates the chain. The environment is read when credentials are needed first.
    pub fn new() -> DefaultChain {
        DefaultChain {
            source: ChainSource::new(Environment::of_process()),
            cache: Cache::new(),
        }
    }
}

impl Default for DefaultChain {
    fn default() -> DefaultChain {
        DefaultChain::new()
    }
}

impl fmt::Debug for DefaultChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = self.source.chosen().map(|source| source.name());
        f.debug_struct("DefaultChain")
            .field("source", &chosen)
            .finish_non_exhaustive()
    }
}

provide_from_cache!(DefaultChain);

pub(super) struct ChainSource {
    environment: Environment,
    /// Instead of the metadata service's own, for tests.
    pub(super) metadata_endpoint: Option<String>,
    chosen: Mutex<Option<Link>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Variables,
    Oidc,
    CliProfile,
    CredentialsFile,
    EcsRamRole,
    Uri,
}

const LINKS: [Link; 6] = [
    Link::Variables,
    Link::Oidc,
    Link::CliProfile,
    Link::CredentialsFile,
    Link::EcsRamRole,
    Link::Uri,
];

impl Link {
    fn name(self) -> &'static str {
        match self {
            Link::Variables => "environment",
            Link::Oidc => "OIDC role",
            Link::CliProfile => "CLI profile",
            Link::CredentialsFile => "credentials file",
            Link::EcsRamRole => "ECS RAM role",
            Link::Uri => "credentials URI",
        }
    }
}

impl ChainSource {
    pub(super) fn new(environment: Environment) -> ChainSource {
        ChainSource {
            environment,
            metadata_endpoint: None,
            chosen: Mutex::default(),
        }
    }

    fn chosen(&self) -> Option<Link> {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetch_from(
        &self,
        link: Link,
        is_chosen: bool,
        clock: &dyn Clock,
    ) -> Result<Fetched, Failure> {
        let environment = &self.environment;
        match link {
            Link::Variables => {
                let credentials = from_variables(environment.lookup());
                match credentials {
                    Ok(Some(credentials)) => Ok(Fetched {
                        credentials,
                        lifetime: None,
                    }),
                    Ok(None) => {
                        let message =
                            "neither OSS_ACCESS_KEY_ID nor ALIBABA_CLOUD_ACCESS_KEY_ID is set";
                        Err(Failure::not_configured(message))
                    }
                    Err(problem) => Err(Failure::permanent(problem.to_string())),
                }
            }
            Link::Oidc => OidcSource::from_environment(environment)?.fetch(clock),
            Link::CliProfile => self.profile(Files::Cli).fetch(clock),
            Link::CredentialsFile => self.profile(Files::Ini).fetch(clock),
            Link::EcsRamRole => {
                let mut source = EcsSource::new(environment.clone());
                source.is_probe = !is_chosen;
                if let Some(endpoint) = &self.metadata_endpoint {
                    source.endpoint.clone_from(endpoint);
                }
                source.fetch(clock)
            }
            Link::Uri => match environment.text(CREDENTIALS_URI)? {
                Some(url) => UriSource::new(url).fetch(clock),
                None => {
                    let message = format!("{CREDENTIALS_URI} is not set");
                    Err(Failure::not_configured(message))
                }
            },
        }
    }

    fn profile(&self, files: Files) -> ProfileSource {
        let mut source = ProfileSource::new(self.environment.clone(), files);
        source.metadata_endpoint.clone_from(&self.metadata_endpoint);
        source
    }
}

impl Fetch for ChainSource {
    fn name(&self) -> &'static str {
        "default chain"
    }

    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure> {
        if let Some(link) = self.chosen() {
            let fetched = self.fetch_from(link, true, clock);
            return fetched.map_err(|failure| failure.context(link.name()));
        }
        let mut reasons = Vec::new();
        let mut is_any_configured = false;
        for link in LINKS {
            let failure = match self.fetch_from(link, false, clock) {
                Ok(fetched) => {
                    log::debug!("default chain: the credentials are from {}", link.name());
                    *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
                    return Ok(fetched);
                }
                Err(failure) => failure.context(link.name()),
            };
            match failure.kind {
                Kind::Transient => return Err(failure),
                Kind::Final => {
                    log::warn!(
                        "default chain: {}; the next source is tried",
                        failure.message
                    );
                    is_any_configured = true;
                }
                Kind::NotConfigured => {}
            }
            reasons.push(failure.message);
        }
        let reasons = reasons.join("; ");
        Err(Failure::permanent(match is_any_configured {
            true => format!("no source has credentials: {reasons}"),
            false => format!("no source of credentials is configured: {reasons}"),
        }))
    }
}

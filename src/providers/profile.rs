use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::Cache;
use super::credentials_uri::UriSource;
use super::ecs_ram_role::EcsSource;
use super::environment::{
    CLI_PROFILE_DISABLED, CONFIG_FILE, CREDENTIALS_FILE, Environment, OIDC_PROVIDER_ARN,
    OIDC_TOKEN_FILE, PROFILE, ROLE_ARN,
};
use super::failure::Failure;
use super::json::Object;
use super::oidc_role::{OidcSource, read_bounded, with_scheme};
use super::process::ProcessSource;
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::credentials::Credentials;

const FILE_BYTES_MAX: usize = 1024 * 1024;
const INI_PROFILE: &str = "default";
/// What to do about a profile that needs more than this crate does.
const INSTEAD: &str = "use a profile of another mode (AK, StsToken, EcsRamRole, OIDC, External, \
                       CredentialsURI), a command that prints credentials (Process), or temporary \
                       credentials in ALIBABA_CLOUD_ACCESS_KEY_ID, \
                       ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN";

/// A profile in the configuration of Alibaba Cloud CLI, or in the credentials file of Alibaba
/// Cloud's SDKs.
///
/// | file | modes |
/// |---|---|
/// | `~/.aliyun/config.json` | `AK`, `StsToken`, `EcsRamRole`, `OIDC`, `External`, `CredentialsURI` |
/// | `~/.alibabacloud/credentials.ini` | `access_key`, `sts`, `ecs_ram_role`, `oidc_role_arn` |
///
/// Other modes, such as `RamRoleArn` and `CloudSSO`, are not supported: the error names the mode and
/// what to use instead. The file is read when credentials are needed, again whenever they are
/// renewed, and after OSS refused them. Alibaba Cloud documentation: "Configure credentials" of the
/// CLI, "Manage access credentials" of the SDKs.
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::Profile;
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(Profile::new().name("uploads"))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct Profile {
    source: ProfileSource,
    cache: Cache,
}

impl Profile {
    /// Creates a provider with the default file and profile.
    pub fn new() -> Profile {
        Profile {
            source: ProfileSource::new(Environment::of_process(), Files::Any),
            cache: Cache::new(),
        }
    }

    /// Sets the file. One that ends with `.json` or begins with `{` is read as the CLI's
    /// configuration, any other one as an INI file.
    ///
    /// Defaults to the first that exists of `ALIBABA_CLOUD_CONFIG_FILE` or `~/.aliyun/config.json`
    /// (not with `ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true`), and `ALIBABA_CLOUD_CREDENTIALS_FILE`
    /// or `~/.alibabacloud/credentials.ini` or `~/.alibabacloud/credentials`. Limit: 1 MiB of UTF-8.
    /// Alibaba Cloud documentation: "Configure credentials" of the CLI.
    #[must_use]
    pub fn path(mut self, file: impl Into<PathBuf>) -> Profile {
        self.source.path = Some(file.into());
        self
    }

    /// Sets the name of the profile: the section, in an INI file.
    ///
    /// Defaults to `ALIBABA_CLOUD_PROFILE`, or else to the CLI's current profile or to the section
    /// `default`. Limit: none but that it exists. Alibaba Cloud documentation: "Configure
    /// credentials" of the CLI.
    #[must_use]
    #[doc(alias = "WithProfileName")]
    pub fn name(mut self, profile: impl Into<String>) -> Profile {
        self.source.profile = Some(profile.into());
        self
    }
}

impl Default for Profile {
    fn default() -> Profile {
        Profile::new()
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("path", &self.source.path)
            .field("name", &self.source.profile)
            .finish_non_exhaustive()
    }
}

provide_from_cache!(Profile);

/// Which of the default files are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    Any,
    Cli,
    Ini,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Cli,
    Ini,
}

pub(super) struct ProfileSource {
    path: Option<PathBuf>,
    profile: Option<String>,
    files: Files,
    environment: Environment,
    /// Instead of the metadata service's own, for tests.
    pub(super) metadata_endpoint: Option<String>,
}

impl ProfileSource {
    pub(super) fn new(environment: Environment, files: Files) -> ProfileSource {
        ProfileSource {
            path: None,
            profile: None,
            files,
            environment,
            metadata_endpoint: None,
        }
    }

    fn file(&self) -> Result<(PathBuf, Format, String), Failure> {
        if let Some(path) = &self.path {
            let text = read(path)?;
            let is_cli = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
                || text
                    .trim_start_matches('\u{feff}')
                    .trim_start()
                    .starts_with('{');
            let format = if is_cli { Format::Cli } else { Format::Ini };
            return Ok((path.clone(), format, text));
        }
        let mut missing = Vec::new();
        if self.files != Files::Ini {
            match self.environment.is_true(CLI_PROFILE_DISABLED) {
                true => missing.push(format!("{CLI_PROFILE_DISABLED} is true")),
                false => {
                    let defaults = [".aliyun/config.json"];
                    if let Some(path) = self.find(CONFIG_FILE, &defaults, &mut missing) {
                        let text = read(&path)?;
                        return Ok((path, Format::Cli, text));
                    }
                }
            }
        }
        if self.files != Files::Cli {
            let defaults = [".alibabacloud/credentials.ini", ".alibabacloud/credentials"];
            if let Some(path) = self.find(CREDENTIALS_FILE, &defaults, &mut missing) {
                let text = read(&path)?;
                return Ok((path, Format::Ini, text));
            }
        }
        Err(Failure::not_configured(missing.join(", ")))
    }

    /// Returns the file that a variable names, or the first of the default ones that exists.
    fn find(
        &self,
        variable: &str,
        defaults: &[&str],
        missing: &mut Vec<String>,
    ) -> Option<PathBuf> {
        if let Some(path) = self.environment.get(variable) {
            return Some(path.into());
        }
        let Some(home) = self.environment.home() else {
            missing.push(format!(
                "{variable} is not set and there is no home directory"
            ));
            return None;
        };
        for default in defaults {
            let path = home.join(default);
            // What cannot be looked at is reported when it is read.
            if !matches!(fs::metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound)
            {
                return Some(path);
            }
            missing.push(format!("~/{default} does not exist"));
        }
        None
    }

    fn inner(&self) -> Result<Box<dyn Fetch>, Failure> {
        let (path, format, text) = self.file()?;
        let name = match &self.profile {
            Some(name) => Some(name.clone()),
            None => self.environment.text(PROFILE)?,
        };
        let result = match format {
            Format::Cli => self.cli_profile(&text, name),
            Format::Ini => self.ini_profile(&text, name),
        };
        result.map_err(|failure| failure.context(path.display()))
    }

    fn cli_profile(&self, text: &str, name: Option<String>) -> Result<Box<dyn Fetch>, Failure> {
        let file = Object::parse(text.as_bytes())
            .map_err(|reason| Failure::permanent(format!("the file {reason}")))?;
        let name = name.or_else(|| file.text("current").map(str::to_owned));
        let name = name.ok_or_else(|| {
            let message = format!("it names no current profile; set {PROFILE} or Profile::name");
            Failure::permanent(message)
        })?;
        let profiles = file.objects("profiles");
        let profile = profiles
            .iter()
            .find(|profile| profile.text("name") == Some(name.as_str()))
            .ok_or_else(|| no_profile(&name))?;
        let fields = |field: &str| profile.text(field).map(str::to_owned);
        let settings = Settings {
            profile: &name,
            get: &fields,
        };
        match profile.text("mode") {
            Some("AK") => settings.fixed(None),
            Some("StsToken") => settings.fixed(Some("sts_token")),
            Some("EcsRamRole") => Ok(self.ecs(fields("ram_role_name"))),
            Some("OIDC") => {
                let session_name = fields("ram_session_name").or(fields("role_session_name"));
                let region = profile.text("sts_region");
                let is_vpc = profile.is_true("enable_vpc");
                let endpoint = match fields("sts_endpoint") {
                    Some(endpoint) => with_scheme(endpoint),
                    None => OidcSource::endpoint_of(&self.environment, region, is_vpc)?,
                };
                Ok(Box::new(OidcSource {
                    role_arn: self.or_variable(fields("ram_role_arn"), ROLE_ARN)?,
                    provider_arn: self
                        .or_variable(fields("oidc_provider_arn"), OIDC_PROVIDER_ARN)?,
                    token_file: self
                        .or_variable(fields("oidc_token_file"), OIDC_TOKEN_FILE)?
                        .into(),
                    session_name,
                    duration: profile.number("expired_seconds").and_then(to_seconds),
                    endpoint,
                }))
            }
            Some("External") => {
                let command = settings.required("process_command")?;
                Ok(Box::new(ProcessSource::new(command)))
            }
            Some("CredentialsURI") => {
                let url = settings.required("credentials_uri")?;
                Ok(Box::new(UriSource::new(url)))
            }
            mode => Err(settings.unsupported("mode", mode)),
        }
    }

    fn ini_profile(&self, text: &str, name: Option<String>) -> Result<Box<dyn Fetch>, Failure> {
        let name = name.unwrap_or_else(|| INI_PROFILE.to_owned());
        let section = section(text, &name).ok_or_else(|| no_profile(&name))?;
        let fields = |field: &str| {
            let found = section.iter().rev().find(|(known, _)| *known == field);
            found.map(|(_, value)| (*value).to_owned())
        };
        let settings = Settings {
            profile: &name,
            get: &fields,
        };
        match fields("type").as_deref() {
            Some("access_key") => settings.fixed(None),
            Some("sts") => settings.fixed(Some("security_token")),
            Some("ecs_ram_role") => Ok(self.ecs(fields("role_name"))),
            Some("oidc_role_arn") => Ok(Box::new(OidcSource {
                role_arn: self.or_variable(fields("role_arn"), ROLE_ARN)?,
                provider_arn: self.or_variable(fields("oidc_provider_arn"), OIDC_PROVIDER_ARN)?,
                token_file: self
                    .or_variable(fields("oidc_token_file_path"), OIDC_TOKEN_FILE)?
                    .into(),
                session_name: fields("role_session_name"),
                duration: None,
                endpoint: OidcSource::endpoint_of(&self.environment, None, false)?,
            })),
            mode => Err(settings.unsupported("type", mode)),
        }
    }

    fn ecs(&self, role: Option<String>) -> Box<dyn Fetch> {
        let mut source = EcsSource::new(self.environment.clone());
        source.role = role;
        if let Some(endpoint) = &self.metadata_endpoint {
            source.endpoint.clone_from(endpoint);
        }
        Box::new(source)
    }

    fn or_variable(&self, value: Option<String>, variable: &str) -> Result<String, Failure> {
        match value {
            Some(value) => Ok(value),
            None => self.environment.text(variable)?.ok_or_else(|| {
                let message = format!("neither the profile nor {variable} names it");
                Failure::permanent(message)
            }),
        }
    }
}

impl Fetch for ProfileSource {
    fn name(&self) -> &'static str {
        match self.files {
            Files::Any => "profile",
            Files::Cli => "CLI profile",
            Files::Ini => "credentials file",
        }
    }

    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure> {
        let inner = self.inner()?;
        let name = inner.name();
        let fetched = inner.fetch(clock);
        fetched.map_err(|failure| match name {
            "" => failure,
            name => failure.context(name),
        })
    }
}

/// The settings of one profile.
struct Settings<'a> {
    profile: &'a str,
    get: &'a dyn Fn(&str) -> Option<String>,
}

impl Settings<'_> {
    fn required(&self, field: &str) -> Result<String, Failure> {
        (self.get)(field).ok_or_else(|| {
            Failure::permanent(format!("the profile {:?} has no {field}", self.profile))
        })
    }

    /// Returns the key that stands in the profile itself.
    fn fixed(&self, token: Option<&str>) -> Result<Box<dyn Fetch>, Failure> {
        let (id, secret) = ("access_key_id", "access_key_secret");
        let mut credentials = Credentials::new(self.required(id)?, self.required(secret)?);
        if let Some(token) = token {
            credentials = credentials.with_security_token(self.required(token)?);
        }
        credentials.check().map_err(|problem| {
            Failure::permanent(format!("the profile {:?}: {problem}", self.profile))
        })?;
        Ok(Box::new(Fixed(credentials)))
    }

    fn unsupported(&self, field: &str, mode: Option<&str>) -> Failure {
        let profile = self.profile;
        Failure::permanent(match mode {
            None => format!("the profile {profile:?} has no {field}; {INSTEAD}"),
            Some(mode) => {
                let mode: String = mode.chars().take(64).collect();
                format!(
                    "the profile {profile:?} has the {field} {mode:?}, which is not supported; \
                     {INSTEAD}"
                )
            }
        })
    }
}

/// Credentials that stand in a file or in the environment.
struct Fixed(Credentials);

impl Fetch for Fixed {
    fn name(&self) -> &'static str {
        ""
    }

    fn fetch(&self, _: &dyn Clock) -> Result<Fetched, Failure> {
        Ok(Fetched {
            credentials: self.0.clone(),
            lifetime: None,
        })
    }
}

fn no_profile(name: &str) -> Failure {
    let message = format!("it has no profile {name:?}; set {PROFILE} or Profile::name");
    Failure::permanent(message)
}

fn read(path: &Path) -> Result<String, Failure> {
    read_bounded(path, FILE_BYTES_MAX).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory => Failure::transient(message),
            _ => Failure::permanent(message),
        }
    })
}

fn to_seconds(number: f64) -> Option<u32> {
    const DAY: f64 = 86_400.0;
    // The limits of STS are its own; these keep the number printable.
    let is_sane = number.is_finite() && (1.0..=DAY).contains(&number);
    is_sane
        .then(|| Duration::from_secs_f64(number).as_secs())
        .and_then(|seconds| u32::try_from(seconds).ok())
}

/// Returns the settings of a section of an INI file.
fn section<'a>(text: &'a str, name: &str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut settings: Option<Vec<_>> = None;
    let mut is_inside = false;
    for line in text.trim_start_matches('\u{feff}').lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            is_inside = rest
                .split(']')
                .next()
                .is_some_and(|found| found.trim() == name);
            if is_inside {
                settings.get_or_insert_default();
            }
            continue;
        }
        let (Some((key, value)), true) = (line.split_once('='), is_inside) else {
            continue;
        };
        let comment = [" #", "\t#", " ;", "\t;"]
            .iter()
            .filter_map(|mark| value.find(mark))
            .min();
        let value = value[..comment.unwrap_or(value.len())].trim();
        if !value.is_empty() {
            settings.get_or_insert_default().push((key.trim(), value));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_section_of_an_ini_file_is_read() {
        let text = "\u{feff}# c\n[other]\nid = no\n[ default ] # c\r\n ; c\r\n id=a=b \r\nempty =\nx = 1 # y\n\n[z]\nid = no\n";
        let settings = section(text, "default").unwrap();
        assert_eq!(settings, [("id", "a=b"), ("x", "1")]);
        assert_eq!(section("[a]\n[b]\nx=1", "a"), Some(Vec::new()));
        assert_eq!(section(text, "missing"), None);
        assert_eq!(section("", "default"), None);
        assert_eq!(section("x = 1\n[", ""), Some(Vec::new()));
    }

    #[test]
    fn profile_duration_is_a_number_of_seconds() {
        assert_eq!(to_seconds(900.0), Some(900));
        for number in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e12] {
            assert_eq!(to_seconds(number), None, "{number}");
        }
    }
}

//! The settings of a server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::LocalOss;
use crate::state::Credential;

/// Everything that can be set about a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) buckets: Vec<String>,
    pub(crate) any_bucket: bool,
    pub(crate) access_key_id: String,
    pub(crate) credential: Credential,
    pub(crate) region: String,
    pub(crate) allow_v1: bool,
    pub(crate) versioning: bool,
    pub(crate) discard: bool,
    pub(crate) latency: Duration,
    pub(crate) part_crc_in_list: bool,
    pub(crate) send_crc_header: bool,
    /// Bucket by lower-case host, with or without its port.
    pub(crate) cnames: HashMap<String, String>,
    pub(crate) log: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            address: "127.0.0.1:0".to_owned(),
            dir: None,
            buckets: vec!["examplebucket".to_owned()],
            any_bucket: false,
            access_key_id: "ak".to_owned(),
            credential: Credential {
                secret: "sk".to_owned(),
                token: None,
                expired: false,
            },
            region: "cn-hangzhou".to_owned(),
            allow_v1: true,
            versioning: false,
            discard: false,
            latency: Duration::ZERO,
            part_crc_in_list: true,
            send_crc_header: true,
            cnames: HashMap::new(),
            log: false,
        }
    }
}

/// Sets up a [`LocalOss`].
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// Where to listen. Defaults to `127.0.0.1:0`, a free port.
    pub fn address(mut self, address: &str) -> Builder {
        address.clone_into(&mut self.settings.address);
        self
    }

    /// Keeps objects and unfinished uploads in this directory. Defaults to memory.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.settings.dir = Some(path.into());
        self
    }

    /// Adds a bucket. There is always `examplebucket`.
    pub fn bucket(mut self, name: &str) -> Builder {
        self.settings.buckets.push(name.to_owned());
        self
    }

    /// Whether a bucket comes into being when it is first used. Defaults to no.
    pub fn any_bucket(mut self, yes: bool) -> Builder {
        self.settings.any_bucket = yes;
        self
    }

    /// The credentials that are accepted. Defaults to `ak` and `sk`.
    pub fn credentials(mut self, id: &str, secret: &str) -> Builder {
        id.clone_into(&mut self.settings.access_key_id);
        secret.clone_into(&mut self.settings.credential.secret);
        self
    }

    /// The security token that must come with these credentials. Defaults to none.
    pub fn token(mut self, token: &str) -> Builder {
        self.settings.credential.token = Some(token.to_owned());
        self
    }

    /// The region that V4 signatures must name. Defaults to `cn-hangzhou`.
    pub fn region(mut self, region: &str) -> Builder {
        region.clone_into(&mut self.settings.region);
        self
    }

    /// Whether V1 signatures are accepted. Defaults to yes.
    pub fn allow_v1(mut self, yes: bool) -> Builder {
        self.settings.allow_v1 = yes;
        self
    }

    /// Whether responses carry an `x-oss-version-id`. Defaults to no.
    pub fn versioning(mut self, yes: bool) -> Builder {
        self.settings.versioning = yes;
        self
    }

    /// Whether bodies are dropped once their CRC-64 is known, for measurements. Defaults to no.
    ///
    /// ETags are then made of the CRC-64, and objects have a size but no content.
    pub fn discard(mut self, yes: bool) -> Builder {
        self.settings.discard = yes;
        self
    }

    /// How long each request takes at least. Defaults to nothing.
    pub fn latency(mut self, latency: Duration) -> Builder {
        self.settings.latency = latency;
        self
    }

    /// Whether ListParts tells the CRC-64 of each part. Defaults to yes.
    pub fn part_crc_in_list(mut self, yes: bool) -> Builder {
        self.settings.part_crc_in_list = yes;
        self
    }

    /// Whether responses carry `x-oss-hash-crc64ecma`. Defaults to yes.
    pub fn send_crc_header(mut self, yes: bool) -> Builder {
        self.settings.send_crc_header = yes;
        self
    }

    /// Makes a host, given with or without its port, stand for a bucket.
    pub fn cname(mut self, host: &str, bucket: &str) -> Builder {
        self.settings
            .cnames
            .insert(host.to_ascii_lowercase(), bucket.to_owned());
        self
    }

    /// Whether each request is printed to standard error. Defaults to no.
    pub fn log(mut self, yes: bool) -> Builder {
        self.settings.log = yes;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// When the address can't be bound or the directory can't be read.
    pub fn start(self) -> std::io::Result<LocalOss> {
        LocalOss::spawn(self.settings)
    }
}

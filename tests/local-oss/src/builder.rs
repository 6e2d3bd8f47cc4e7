//! The settings of a server, and the builder that collects them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::LocalOss;
use crate::state::Credential;

/// All settings of a server.
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
    pub(crate) weak_etags: bool,
    pub(crate) omitted_headers: Vec<String>,
    pub(crate) extra_headers: Vec<(String, String)>,
    /// Buckets by lower-case host, with or without its port.
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
            weak_etags: false,
            omitted_headers: Vec::new(),
            extra_headers: Vec::new(),
            cnames: HashMap::new(),
            log: false,
        }
    }
}

/// Collects the settings of a [`LocalOss`], and starts it.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// The address to listen on. Default: `127.0.0.1:0`, which is a free port.
    pub fn address(mut self, address: &str) -> Builder {
        address.clone_into(&mut self.settings.address);
        self
    }

    /// Keeps objects and unfinished uploads in this directory. Default: in memory.
    pub fn dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.settings.dir = Some(path.into());
        self
    }

    /// Adds a bucket. The bucket `examplebucket` always exists.
    pub fn bucket(mut self, name: &str) -> Builder {
        self.settings.buckets.push(name.to_owned());
        self
    }

    /// Whether a bucket is created when it is first used. Default: no.
    pub fn any_bucket(mut self, yes: bool) -> Builder {
        self.settings.any_bucket = yes;
        self
    }

    /// The credentials that are accepted. Default: `ak` and `sk`.
    pub fn credentials(mut self, id: &str, secret: &str) -> Builder {
        id.clone_into(&mut self.settings.access_key_id);
        secret.clone_into(&mut self.settings.credential.secret);
        self
    }

    /// The security token that must be sent with these credentials. Default: none.
    pub fn token(mut self, token: &str) -> Builder {
        self.settings.credential.token = Some(token.to_owned());
        self
    }

    /// The region that V4 signatures must name. Default: `cn-hangzhou`.
    pub fn region(mut self, region: &str) -> Builder {
        region.clone_into(&mut self.settings.region);
        self
    }

    /// Whether V1 signatures are accepted. Default: yes.
    pub fn allow_v1(mut self, yes: bool) -> Builder {
        self.settings.allow_v1 = yes;
        self
    }

    /// Whether responses have an `x-oss-version-id`. Default: no.
    pub fn versioning(mut self, yes: bool) -> Builder {
        self.settings.versioning = yes;
        self
    }

    /// Whether bodies are discarded after their CRC-64 was computed, for benchmarks. Default: no.
    ///
    /// ETags are then derived from the CRC-64, and objects have a size but no content.
    pub fn discard(mut self, yes: bool) -> Builder {
        self.settings.discard = yes;
        self
    }

    /// The time that each request takes at least. Default: zero.
    pub fn latency(mut self, latency: Duration) -> Builder {
        self.settings.latency = latency;
        self
    }

    /// Whether ListParts includes the CRC-64 of each part. Default: yes.
    pub fn part_crc_in_list(mut self, yes: bool) -> Builder {
        self.settings.part_crc_in_list = yes;
        self
    }

    /// Whether responses have an `x-oss-hash-crc64ecma`. Default: yes.
    pub fn send_crc_header(mut self, yes: bool) -> Builder {
        self.settings.send_crc_header = yes;
        self
    }

    /// Whether all ETags in headers are weak (`W/"…"`), as behind a proxy that compresses. Default:
    /// no.
    pub fn weak_etags(mut self, yes: bool) -> Builder {
        self.settings.weak_etags = yes;
        self
    }

    /// Removes a header from all responses. This includes `x-oss-request-id`, and `content-length`
    /// of HEAD responses. Can be called more than once.
    pub fn omit_response_header(mut self, name: &str) -> Builder {
        self.settings.omitted_headers.push(name.to_owned());
        self
    }

    /// Adds a header to all responses. Can be called more than once.
    pub fn extra_response_header(mut self, name: &str, value: &str) -> Builder {
        let header = (name.to_owned(), value.to_owned());
        self.settings.extra_headers.push(header);
        self
    }

    /// Maps a host, with or without a port, to a bucket.
    pub fn cname(mut self, host: &str, bucket: &str) -> Builder {
        self.settings
            .cnames
            .insert(host.to_ascii_lowercase(), bucket.to_owned());
        self
    }

    /// Whether each request is printed to standard error. Default: no.
    pub fn log(mut self, yes: bool) -> Builder {
        self.settings.log = yes;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If the address can't be bound, or the directory can't be read.
    pub fn start(self) -> std::io::Result<LocalOss> {
        LocalOss::spawn(self.settings)
    }
}

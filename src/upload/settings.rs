//! The options of one call, folded and checked. Below this nobody checks them again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::headers::Headers;
use super::options::{CheckpointChoice, Flag, ServerSideEncryption, Setting, UploadOption};
use super::progress;
use crate::cancel::CancelToken;
use crate::part::PART_SIZE_MAX;
use crate::{Error, Result};

const ROUTINES: RangeInclusive<usize> = 1..=100;
/// Bits per second.
const TRAFFIC_LIMIT: RangeInclusive<u64> = 245_760..=838_860_800;
/// Bytes per second.
const BANDWIDTH_LIMIT_MIN: u64 = 1024;

pub(super) struct Settings {
    pub(super) routines: usize,
    pub(super) cancel: CancelToken,
    pub(super) delete_upload_on_cancelling: bool,
    pub(super) multipart_threshold: Option<u64>,
    pub(super) sequential: bool,
    pub(super) content_md5: bool,
    pub(super) verify_on_resume: bool,
    pub(super) adopt_unfinished: bool,
    pub(super) forbid_overwrite: bool,
    pub(super) bandwidth_limit: Option<u64>,
    pub(super) encrypted: bool,
    pub(super) headers: Headers,
}

/// What belongs to the calling thread and is used up by the call.
#[derive(Default)]
pub(super) struct Owned<'a> {
    pub(super) checkpoint: Option<CheckpointChoice<'a>>,
    pub(super) progress: Option<progress::Callback<'a>>,
}

/// Values by the names that make them unique.
#[derive(Default)]
struct Given {
    headers: BTreeMap<&'static str, (&'static str, String)>,
    meta: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn fold<'a>(
        options: &mut dyn Iterator<Item = UploadOption<'a>>,
    ) -> Result<(Settings, Owned<'a>)> {
        let (mut settings, mut owned, mut given) =
            (Settings::default(), Owned::default(), Given::default());
        for UploadOption(setting) in options {
            match setting {
                Setting::Checkpoint(choice) => owned.checkpoint = Some(choice),
                Setting::Progress(callback) => owned.progress = Some(callback),
                Setting::Header {
                    option,
                    header,
                    value,
                } => {
                    given.headers.insert(header, (option, value));
                }
                Setting::Meta(name, value) => {
                    given.meta.insert(Headers::meta_name(&name)?, value);
                }
                Setting::Tag(key, value) => {
                    given.tags.insert(key, value);
                }
                other => settings.set(other)?,
            }
        }
        if settings.sequential && settings.routines > 1 {
            let reason = format!(
                "parts go up one after the other, but routines is {}: choose one",
                settings.routines
            );
            return Err(Error::option("sequential", reason));
        }
        settings
            .headers
            .finish(given.headers, &given.meta, &given.tags)?;
        Ok((settings, owned))
    }

    fn set(&mut self, setting: Setting) -> Result<()> {
        match setting {
            Setting::Routines(n) if !ROUTINES.contains(&n) => {
                return Err(Error::option(
                    "routines",
                    format!("{n} is outside 1 to 100"),
                ));
            }
            Setting::Routines(n) => self.routines = n,
            Setting::Cancel(token) => self.cancel = token,
            Setting::MultipartThreshold(bytes) if bytes > PART_SIZE_MAX => {
                let reason = format!(
                    "{bytes} bytes are more than one PutObject takes; give {PART_SIZE_MAX} (5 GiB) at most"
                );
                return Err(Error::option("multipart_threshold", reason));
            }
            Setting::MultipartThreshold(bytes) => self.multipart_threshold = Some(bytes),
            Setting::Callback(callback) => {
                callback.check()?;
                self.headers.callback(&callback);
            }
            Setting::Expires(at) => self.headers.expires(at)?,
            Setting::Encryption(encryption) => {
                self.encrypted = encryption != ServerSideEncryption::Aes256;
                self.headers.encryption(encryption)?;
            }
            Setting::TrafficLimit(limit) if !TRAFFIC_LIMIT.contains(&limit) => {
                let reason = format!(
                    "{limit} bits/s is outside 245760 to 838860800; mind that these are bits"
                );
                return Err(Error::option("traffic_limit", reason));
            }
            Setting::TrafficLimit(limit) => self.headers.traffic_limit(limit),
            Setting::BandwidthLimit(limit) if limit < BANDWIDTH_LIMIT_MIN => {
                let reason = format!(
                    "{limit} bytes/s is less than {BANDWIDTH_LIMIT_MIN}; leave it away for no limit"
                );
                return Err(Error::option("bandwidth_limit", reason));
            }
            Setting::BandwidthLimit(limit) => self.bandwidth_limit = Some(limit),
            Setting::Flag(flag, on) => self.switch(flag, on),
            Setting::Checkpoint(_)
            | Setting::Progress(_)
            | Setting::Header { .. }
            | Setting::Meta(..)
            | Setting::Tag(..) => unreachable!("taken by fold"),
        }
        Ok(())
    }

    fn switch(&mut self, flag: Flag, on: bool) {
        match flag {
            Flag::DeleteUploadOnCancelling => self.delete_upload_on_cancelling = on,
            Flag::Sequential => self.sequential = on,
            Flag::ContentMd5 => self.content_md5 = on,
            Flag::VerifyOnResume => self.verify_on_resume = on,
            Flag::AdoptUnfinished => self.adopt_unfinished = on,
            Flag::ForbidOverwrite => {
                self.forbid_overwrite = on;
                self.headers.forbid_overwrite(on);
            }
            Flag::RequestPayer => self.headers.request_payer(on),
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            routines: 1,
            cancel: CancelToken::new(),
            delete_upload_on_cancelling: true,
            multipart_threshold: None,
            sequential: false,
            content_md5: false,
            verify_on_resume: false,
            adopt_unfinished: false,
            forbid_overwrite: false,
            bandwidth_limit: None,
            encrypted: false,
            headers: Headers::default(),
        }
    }
}

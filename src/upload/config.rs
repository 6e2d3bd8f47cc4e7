//! The checked options of one call. No other module of `upload` checks them again.

use std::ops::RangeInclusive;

use super::checkpoint::CheckpointLocation;
use super::headers::RequestHeaders;
use super::options::{OptionValue, UploadOption};
use super::progress;
use crate::cancel::{CancelReason, CancelToken};
use crate::client::BandwidthLimit;
use crate::part::PART_SIZE_MAX;
use crate::{Error, Result};

const ROUTINES: RangeInclusive<usize> = 1..=100;
/// Bits per second.
const TRAFFIC_LIMIT: RangeInclusive<u64> = 819_200..=838_860_800;
/// OSS ends a connection that is silent for a while, so each of them gets this many bytes per second at least.
const BANDWIDTH_PER_ROUTINE_MIN: u64 = 128;

#[derive(Clone)]
pub(super) struct UploadConfig {
    pub(super) routines: usize,
    pub(super) cancel: CancelToken,
    pub(super) delete_upload_on_cancelling: bool,
    pub(super) multipart_threshold: Option<u64>,
    pub(super) sequential: bool,
    pub(super) content_md5: bool,
    pub(super) verify_on_resume: bool,
    pub(super) adopt_unfinished: bool,
    pub(super) forbid_overwrite: bool,
    pub(super) skip_unchanged: bool,
    pub(super) bandwidth_limit: Option<BandwidthLimit>,
    pub(super) headers: RequestHeaders,
}

/// The options that belong to the calling thread.
pub(super) struct CallerOptions<'a> {
    pub(super) checkpoint: CheckpointLocation<'a>,
    pub(super) progress: Option<progress::Callback<'a>>,
}

impl UploadConfig {
    /// Applies the options one after the other; later ones win.
    pub(super) fn from_options<'a>(
        options: &mut dyn Iterator<Item = UploadOption<'a>>,
    ) -> Result<(UploadConfig, CallerOptions<'a>)> {
        let mut config = UploadConfig::default();
        let mut caller = CallerOptions {
            checkpoint: CheckpointLocation::Off,
            progress: None,
        };
        for option in options {
            match option.value {
                OptionValue::Apply(apply) => apply(&mut config)?,
                OptionValue::Checkpoint(location) => caller.checkpoint = location,
                OptionValue::Progress(callback) => caller.progress = Some(callback),
            }
        }
        config.headers.finish()?;
        config.check_combinations()?;
        Ok((config, caller))
    }

    /// Returns whether an upload that is being cancelled is deleted. A pause keeps it.
    pub(super) fn deletes_on_cancel(&self) -> bool {
        self.delete_upload_on_cancelling && self.cancel.reason() != Some(CancelReason::Pause)
    }

    pub(super) fn set_routines(&mut self, n: usize) -> Result<()> {
        if !ROUTINES.contains(&n) {
            return Err(Error::option(
                "routines",
                format!("{n} is out of range; use 1 to 100"),
            ));
        }
        self.routines = n;
        Ok(())
    }

    pub(super) fn set_multipart_threshold(&mut self, bytes: u64) -> Result<()> {
        if bytes > PART_SIZE_MAX {
            let reason = format!(
                "{bytes} bytes are more than one PutObject can hold; use {PART_SIZE_MAX} (5 GiB) at most"
            );
            return Err(Error::option("multipart_threshold", reason));
        }
        self.multipart_threshold = Some(bytes);
        Ok(())
    }

    pub(super) fn set_traffic_limit(&mut self, bits_per_second: u64) -> Result<()> {
        if !TRAFFIC_LIMIT.contains(&bits_per_second) {
            let reason = format!(
                "{bits_per_second} bits/s is out of range; use 819200 to 838860800, and note that these are bits"
            );
            return Err(Error::option("traffic_limit", reason));
        }
        self.headers.set_traffic_limit(bits_per_second);
        Ok(())
    }

    pub(super) fn set_bandwidth_limit(&mut self, limit: BandwidthLimit) -> Result<()> {
        limit.check()?;
        self.bandwidth_limit = Some(limit);
        Ok(())
    }

    pub(super) fn set_forbid_overwrite(&mut self, forbid: bool) {
        self.forbid_overwrite = forbid;
        self.headers.set_forbid_overwrite(forbid);
    }

    /// Refuses what needs the size or the content of the source before it has been read.
    pub(super) fn check_for_stream(&self) -> Result<()> {
        if self.multipart_threshold.is_some() {
            let reason = "does not apply to a stream, whose size is not known: it is one PutObject \
                          if it ends within the first part; omit it";
            return Err(Error::option("multipart_threshold", reason));
        }
        if self.skip_unchanged {
            let reason = "does not apply to a stream, which can be read only once; omit it";
            return Err(Error::option("skip_unchanged", reason));
        }
        Ok(())
    }

    fn check_combinations(&mut self) -> Result<()> {
        if self.sequential && self.routines > 1 {
            let reason = format!(
                "parts are uploaded one after the other, but routines is {}; omit one of the two",
                self.routines
            );
            return Err(Error::option("sequential", reason));
        }
        if let Some(limit) = &self.bandwidth_limit {
            let limit = limit.bytes_per_second();
            let fed = usize::try_from(limit / BANDWIDTH_PER_ROUTINE_MIN).unwrap_or(usize::MAX);
            self.routines = self.routines.min(fed);
        }
        Ok(())
    }
}

impl Default for UploadConfig {
    fn default() -> UploadConfig {
        UploadConfig {
            routines: 1,
            cancel: CancelToken::new(),
            delete_upload_on_cancelling: true,
            multipart_threshold: None,
            sequential: false,
            content_md5: false,
            verify_on_resume: false,
            adopt_unfinished: false,
            forbid_overwrite: false,
            skip_unchanged: false,
            bandwidth_limit: None,
            headers: RequestHeaders::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::*;
    use super::*;

    fn config<'a>(
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<(UploadConfig, CallerOptions<'a>)> {
        UploadConfig::from_options(&mut options.into_iter())
    }

    #[test]
    fn options_later_ones_win() {
        let options = [
            routines(2),
            checkpoint(true, "a"),
            routines(3),
            checkpoint_dir(true, "d"),
            forbid_overwrite(true),
            forbid_overwrite(false),
        ];
        let (config, caller) = config(options).unwrap();
        assert_eq!((config.routines, config.forbid_overwrite), (3, false));
        assert!(
            matches!(caller.checkpoint, CheckpointLocation::Dir(dir) if dir.as_os_str() == "d")
        );
        assert!(caller.progress.is_none());
    }

    #[test]
    fn options_checkpoint_locations() {
        let location = |option| config([option]).unwrap().1.checkpoint;
        assert!(matches!(
            location(checkpoint(false, "x")),
            CheckpointLocation::Off
        ));
        assert!(matches!(
            location(checkpoint(true, "")),
            CheckpointLocation::BesideSource
        ));
        assert!(matches!(
            location(checkpoint(true, "x")),
            CheckpointLocation::File(_)
        ));
        assert!(matches!(
            location(checkpoint_dir(false, "x")),
            CheckpointLocation::Off
        ));
        assert!(matches!(location(routines(1)), CheckpointLocation::Off));
    }

    #[test]
    fn options_ranges() {
        let fails = |option| config([option]).err().map(|error| error.to_string());
        for (option, name) in [
            (routines(0), "routines"),
            (routines(101), "routines"),
            (
                multipart_threshold(PART_SIZE_MAX + 1),
                "multipart_threshold",
            ),
            (traffic_limit(819_199), "traffic_limit"),
            (traffic_limit(838_860_801), "traffic_limit"),
            (bandwidth_limit(1023), "bandwidth_limit"),
            (bandwidth_limit(BandwidthLimit::new(0)), "bandwidth_limit"),
        ] {
            let message = fails(option).unwrap();
            assert!(
                message.starts_with(&format!("invalid {name}: ")),
                "{message}"
            );
        }
        for option in [
            routines(100),
            multipart_threshold(PART_SIZE_MAX),
            traffic_limit(819_200),
            traffic_limit(838_860_800),
            bandwidth_limit(1024),
        ] {
            assert_eq!(fails(option), None);
        }
    }

    #[test]
    fn options_that_contradict_are_an_error() {
        assert!(config([sequential(true), routines(2)]).is_err());
        assert!(config([sequential(true), routines(1)]).is_ok());
        assert!(config([sequential(true), routines(2), sequential(false)]).is_ok());
    }

    #[test]
    fn options_pause_keeps_the_upload() {
        let token = CancelToken::new();
        let (config, _) = config([cancel(&token)]).unwrap();
        assert!(config.deletes_on_cancel());
        token.pause();
        assert!(!config.deletes_on_cancel());
        token.cancel();
        assert!(config.deletes_on_cancel());
    }

    #[test]
    fn options_bandwidth_limit_bounds_the_routines() {
        let fed = |limit| {
            config([routines(100), bandwidth_limit(limit)])
                .unwrap()
                .0
                .routines
        };
        assert_eq!(fed(1024), 8);
        assert_eq!(fed(1 << 20), 100);
    }

    #[test]
    fn options_debug_shows_names_and_values() {
        let shown = |option: UploadOption| format!("{option:?}");
        assert_eq!(shown(routines(3)), "routines(3)");
        assert_eq!(shown(checkpoint(true, "a")), "checkpoint(true, \"a\")");
        assert_eq!(shown(checkpoint(false, "a")), "checkpoint(false, \"a\")");
        assert_eq!(
            shown(checkpoint_dir(true, "d")),
            "checkpoint_dir(true, \"d\")"
        );
        assert_eq!(shown(progress(|_| {})), "progress(..)");
        assert_eq!(shown(bandwidth_limit(2048)), "bandwidth_limit(2048)");
        assert_eq!(shown(meta("a", "b")), "meta(\"a\", \"b\")");
        assert_eq!(shown(content_type("t")), "content_type(\"t\")");
        assert_eq!(
            shown(object_acl(ObjectAcl::Private)),
            "object_acl(\"private\")"
        );
    }
}

//! What is remembered of an upload, and its text form. Pure: no file is touched here.
//!
//! The form: a first line with the version, then `name value` lines in a fixed order, values percent-encoded, and at the
//! end the MD5 of all lines before.
//!
//! ```text
//! oss-upload checkpoint 1
//! endpoint https%3A%2F%2Foss-cn-hangzhou.aliyuncs.com
//! bucket examplebucket
//! key exampledir%2Fexampleobject.txt
//! path %2Fhome%2Fli%2Fexamplefile.txt
//! size 262144000
//! mtime 1792425600000000000
//! identity 1792425600000000000 2049 131
//! part-size 8388608
//! headers 4a3f0d9a1ae8ef1f0e2a2f4c0d9b1a77
//! upload-id 0004B9894A22E5B1888A1E29F8236E2D
//! initiated 1792425601
//! part 1 3349DC700140D7F86A0784842780B9A7 11051210869376104954
//! completing 5981764153023615706
//! md5 8b1a9953c4611296a827abf8c47804d7
//! ```

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::encoding::{percent_decode, percent_encode, percent_encode_bytes};
use crate::md5_digest::Md5Digest;
use crate::names::is_bucket_name;
use crate::part::{PARTS_MAX, PartRange, UploadedPart, UploadedParts};
use crate::upload::progress::RestartReason;
use crate::upload::source::{Fingerprint, Identity};

/// Tells our checkpoints, of this version, from everything else.
pub(in crate::upload) const FIRST_LINE: &str = "oss-upload checkpoint 1\n";

/// What an upload is of. Where any of it differs, the parts are another upload's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upload) struct UploadIdentity {
    pub(in crate::upload) endpoint: String,
    pub(in crate::upload) bucket: String,
    pub(in crate::upload) key: String,
    /// Absolute, percent-encoded byte by byte since it need not be UTF-8; empty for an open file.
    path: String,
    pub(in crate::upload) fingerprint: Fingerprint,
    /// Bytes.
    part_size: u64,
    /// MD5 of what Initiate is given, in hex.
    headers: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upload) struct CheckpointState {
    pub(in crate::upload) identity: UploadIdentity,
    pub(in crate::upload) upload_id: String,
    /// By the server's clock, in whole seconds.
    pub(in crate::upload) initiated: SystemTime,
    /// Acknowledged parts by number.
    pub(in crate::upload) parts: UploadedParts,
    /// Complete is about to be sent, or was; the CRC-64 that the object is to have.
    pub(in crate::upload) completing: Option<u64>,
}

impl UploadIdentity {
    pub(in crate::upload) fn new(
        endpoint: String,
        bucket: &str,
        key: &str,
        path: &Path,
        fingerprint: Fingerprint,
        part_size: u64,
        headers: &str,
    ) -> UploadIdentity {
        UploadIdentity {
            endpoint,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            path: percent_encode_bytes(path.as_os_str().as_encoded_bytes()),
            fingerprint,
            part_size,
            headers: Md5Digest::of(headers).to_string(),
        }
    }

    /// Why an upload of `recorded` can't be carried on as one of `self`.
    pub(in crate::upload) fn mismatch(&self, recorded: &UploadIdentity) -> Option<RestartReason> {
        let (now, then) = (self, recorded);
        if (&now.endpoint, &now.bucket, &now.key) != (&then.endpoint, &then.bucket, &then.key) {
            return Some(RestartReason::TargetChanged);
        }
        let source = |identity: &UploadIdentity| {
            (
                identity.path.clone(),
                identity.fingerprint.size,
                identity.fingerprint.mtime,
            )
        };
        if source(now) != source(then) {
            return Some(RestartReason::SourceChanged);
        }
        if now.part_size != then.part_size {
            return Some(RestartReason::PartSizeChanged);
        }
        (now.headers != then.headers).then_some(RestartReason::OptionsChanged)
    }

    /// Size and mtime agree, but the file may have been edited all the same: only its bytes can tell. So it is wherever the
    /// system gives files no identity (Windows).
    pub(in crate::upload) fn needs_verification(&self, recorded: &UploadIdentity) -> bool {
        self.fingerprint.identity.is_none()
            || self.fingerprint.identity != recorded.fingerprint.identity
    }
}

impl CheckpointState {
    pub(in crate::upload) fn to_text(&self) -> String {
        let (identity, fingerprint) = (&self.identity, &self.identity.fingerprint);
        let mut text = String::with_capacity(1024 + self.parts.len() * 80);
        text.push_str(FIRST_LINE);
        let mut line = |name: &str, value: &str| {
            writeln!(text, "{name} {value}").expect("a String takes all");
        };
        line("endpoint", &percent_encode(&identity.endpoint));
        line("bucket", &percent_encode(&identity.bucket));
        line("key", &percent_encode(&identity.key));
        line("path", &identity.path);
        line("size", &fingerprint.size.to_string());
        line("mtime", &fingerprint.mtime.to_string());
        line(
            "identity",
            &match fingerprint.identity {
                Some(Identity {
                    ctime,
                    device,
                    inode,
                }) => format!("{ctime} {device} {inode}"),
                None => "-".to_owned(),
            },
        );
        line("part-size", &identity.part_size.to_string());
        line("headers", &identity.headers);
        line("upload-id", &percent_encode(&self.upload_id));
        line("initiated", &seconds(self.initiated).to_string());
        for part in self.parts.iter() {
            line(
                "part",
                &format!(
                    "{} {} {}",
                    part.number,
                    percent_encode(&part.etag),
                    part.crc64
                ),
            );
        }
        if let Some(crc64) = self.completing {
            line("completing", &crc64.to_string());
        }
        let sum = Md5Digest::of(&text);
        writeln!(text, "md5 {sum}").expect("a String takes all");
        text
    }

    /// `None` where any byte is not as it was written.
    pub(in crate::upload) fn from_text(text: &str) -> Option<CheckpointState> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = &text[..=body.len()];
        if sum.strip_prefix("md5 ")? != Md5Digest::of(body).to_string() {
            return None;
        }
        let mut lines = Lines(body.strip_prefix(FIRST_LINE)?.lines().peekable());
        let identity = UploadIdentity {
            endpoint: percent_decode(lines.value("endpoint")?)?,
            // A checksum keeps nobody from writing a record; and a bucket's name becomes part of a host.
            bucket: percent_decode(lines.value("bucket")?)
                .filter(|bucket| is_bucket_name(bucket))?,
            key: percent_decode(lines.value("key")?)?,
            path: lines.value("path")?.to_owned(),
            fingerprint: Fingerprint {
                size: lines.number("size")?,
                mtime: lines.number("mtime")?,
                identity: identity(lines.value("identity")?)?,
            },
            part_size: lines.number("part-size")?,
            headers: lines.value("headers")?.to_owned(),
        };
        let visible =
            |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        let upload_id = percent_decode(lines.value("upload-id")?).filter(visible)?;
        let initiated =
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(lines.number("initiated")?))?;
        let mut parts = UploadedParts::default();
        while let Some(part) = lines.value("part") {
            let part = parse_part(part, identity.fingerprint.size, identity.part_size)?;
            // A part beyond the end of the file is not a part of it.
            if part.size > 0 {
                parts.insert(part);
            }
        }
        let completing = match lines.value("completing") {
            Some(crc64) => Some(crc64.parse().ok()?),
            None => None,
        };
        lines.0.next().is_none().then_some(CheckpointState {
            identity,
            upload_id,
            initiated,
            parts,
            completing,
        })
    }
}

struct Lines<'a>(std::iter::Peekable<std::str::Lines<'a>>);

impl<'a> Lines<'a> {
    /// The value of the next line if it has this name.
    fn value(&mut self, name: &str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(name)?.strip_prefix(' ')?;
        self.0.next();
        Some(value)
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        self.value(name)?.parse().ok()
    }
}

fn identity(value: &str) -> Option<Option<Identity>> {
    if value == "-" {
        return Some(None);
    }
    let mut fields = value.split(' ');
    let identity = Identity {
        ctime: fields.next()?.parse().ok()?,
        device: fields.next()?.parse().ok()?,
        inode: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(Some(identity))
}

/// The size of a part is not in the text: it follows from its number.
fn parse_part(value: &str, file_size: u64, part_size: u64) -> Option<UploadedPart> {
    let mut fields = value.split(' ');
    let number = fields
        .next()?
        .parse()
        .ok()
        .filter(|number| (1..=PARTS_MAX).contains(&u64::from(*number)))?;
    let part = UploadedPart {
        number,
        size: PartRange::new(number, file_size, part_size).map_or(0, |range| range.size),
        etag: percent_decode(fields.next()?)
            .filter(|etag| !etag.is_empty())?
            .into(),
        crc64: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(part)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(parts: u32, completing: Option<u64>) -> CheckpointState {
        let fingerprint = Fingerprint {
            size: 1_024_000_000,
            mtime: -5,
            identity: Some(Identity {
                ctime: 1_792_425_600_123_456_789,
                device: 2049,
                inode: u64::MAX,
            }),
        };
        let path = Path::new("/tmp/a b\n中");
        let part = |number| UploadedPart {
            number,
            size: 102_400,
            etag: format!("E\"{number} %").into(),
            crc64: u64::MAX - u64::from(number),
        };
        CheckpointState {
            identity: UploadIdentity::new(
                "http://[::1]:9000".into(),
                "my-bucket",
                "k\n/% +",
                path,
                fingerprint,
                102_400,
                "headers",
            ),
            upload_id: "0004%B".into(),
            initiated: SystemTime::UNIX_EPOCH + Duration::from_secs(1_792_425_601),
            parts: (1..=parts).map(part).collect(),
            completing,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for record in [record(0, None), record(3, None), record(10_000, Some(0))] {
            assert_eq!(
                CheckpointState::from_text(&record.to_text()).as_ref(),
                Some(&record)
            );
        }
        let mut without = record(1, None);
        without.identity.fingerprint.identity = None;
        assert_eq!(
            CheckpointState::from_text(&without.to_text()),
            Some(without)
        );
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let text = record(3, Some(7)).to_text();
        for end in 0..text.len() {
            assert_eq!(
                CheckpointState::from_text(&text[..end]),
                None,
                "cut at {end}"
            );
        }
        for at in 0..text.len() {
            for flip in [1, 0x20, 0x10] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= flip;
                if let Ok(damaged) = String::from_utf8(bytes) {
                    assert_eq!(
                        CheckpointState::from_text(&damaged),
                        None,
                        "byte {at} of {damaged:?}"
                    );
                }
            }
        }
        assert_eq!(CheckpointState::from_text(&format!("{text}\n")), None);
        assert_eq!(
            CheckpointState::from_text(&text.replace('\n', "\r\n")),
            None
        );
    }

    #[test]
    fn a_record_can_not_name_a_host() {
        for bucket in ["203.0.113.7/", "evil.example/", "a@b", "", "ab", "UPPER"] {
            let mut hostile = record(1, None);
            hostile.identity.bucket = bucket.into();
            assert_eq!(
                CheckpointState::from_text(&hostile.to_text()),
                None,
                "{bucket}"
            );
        }
    }

    #[test]
    fn what_differs_is_named() {
        let then = record(1, None).identity;
        assert_eq!(then.mismatch(&then), None);
        let differs = |change: fn(&mut UploadIdentity)| {
            let mut now = then.clone();
            change(&mut now);
            now.mismatch(&then)
        };
        assert_eq!(
            differs(|now| now.endpoint.push('x')),
            Some(RestartReason::TargetChanged)
        );
        assert_eq!(
            differs(|now| now.bucket.push('x')),
            Some(RestartReason::TargetChanged)
        );
        assert_eq!(
            differs(|now| now.key.push('x')),
            Some(RestartReason::TargetChanged)
        );
        assert_eq!(
            differs(|now| now.path.push('x')),
            Some(RestartReason::SourceChanged)
        );
        assert_eq!(
            differs(|now| now.fingerprint.size += 1),
            Some(RestartReason::SourceChanged)
        );
        assert_eq!(
            differs(|now| now.fingerprint.mtime += 1),
            Some(RestartReason::SourceChanged)
        );
        assert_eq!(
            differs(|now| now.part_size += 1),
            Some(RestartReason::PartSizeChanged)
        );
        assert_eq!(
            differs(|now| now.headers.push('x')),
            Some(RestartReason::OptionsChanged)
        );
    }

    #[test]
    fn what_looks_the_same_may_be_doubtful() {
        let then = record(1, None).identity;
        assert!(!then.needs_verification(&then));
        let mut now = then.clone();
        now.fingerprint.identity = now.fingerprint.identity.map(|identity| Identity {
            ctime: identity.ctime + 1,
            ..identity
        });
        assert_eq!(now.mismatch(&then), None);
        assert!(now.needs_verification(&then));
        let mut open = then.clone();
        open.path.clear();
        assert!(!open.needs_verification(&open));
        open.fingerprint.identity = None;
        assert!(open.needs_verification(&open.clone()));
    }
}

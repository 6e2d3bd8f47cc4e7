//! The state of an unfinished upload, and its text form. Pure: no file is touched here.
//!
//! The text has a first line with the version, then `name value` lines in a fixed order with
//! percent-encoded values, and at the end the MD5 of all lines before. Version 1, which is still
//! read, has no `boot-id` and no `doubtful`.
//! What is not a file has `mtime -`, and a stream has `size -` as well.
//!
//! ```text
//! oss-upload checkpoint 2
//! endpoint https%3A%2F%2Foss-cn-hangzhou.aliyuncs.com
//! bucket examplebucket
//! key exampledir%2Fexampleobject.txt
//! path %2Fhome%2Fli%2Fexamplefile.txt
//! size 262144000
//! mtime 1792425600000000000
//! identity 1792425600000000000 2049 131
//! boot-id 2f1d3f0c1b9a4c7f8d5e6a7b8c9d0e1f
//! doubtful false
//! part-size 8388608
//! headers 4a3f0d9a1ae8ef1f0e2a2f4c0d9b1a77
//! upload-id 0004B9894A22E5B1888A1E29F8236E2D
//! initiated 1792425601
//! part 1 3349DC700140D7F86A0784842780B9A7 11051210869376104954
//! completing 5981764153023615706
//! md5 8b1a9953c4611296a827abf8c47804d7
//! ```

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::encoding::{percent_decode, percent_decode_bytes, percent_encode, percent_encode_bytes};
use crate::md5_digest::Md5Digest;
use crate::names::{check_key, is_bucket_name, is_upload_id};
use crate::part::{PARTS_MAX, PartRange, UploadedPart, UploadedParts};
use crate::upload::progress::RestartReason;
use crate::upload::source::{Fingerprint, Identity, SourceKind};

const MAGIC: &str = "oss-upload checkpoint ";
const VERSION: u32 = 2;
/// The content of a new checkpoint, before there is an upload.
pub(super) const FIRST_LINE: &str = "oss-upload checkpoint 2\n";
/// The most digits that a version may have.
const VERSION_DIGITS_MAX: usize = 9;
/// The longest ETag that is accepted, in bytes. Those of OSS are shorter, and it still fits into a
/// request.
const ID_BYTES_MAX: usize = 1024;
/// A value that the source does not have.
const UNKNOWN: &str = "-";

/// The object and the file of an upload, and what its parts depend on. An upload can only be
/// resumed with the same identity; see [`mismatch`](UploadIdentity::mismatch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::upload) struct UploadIdentity {
    pub(in crate::upload) endpoint: String,
    pub(in crate::upload) bucket: String,
    pub(in crate::upload) key: String,
    /// Absolute, percent-encoded byte by byte since it need not be UTF-8; `None` for an open file.
    path: Option<String>,
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
    /// The CRC-64 that the object will have, once CompleteMultipartUpload has been sent or is about
    /// to be sent.
    pub(in crate::upload) completing: Option<u64>,
}

/// The kind of a text, by its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// There is no text. It may be an empty file of another program.
    Empty,
    /// Our first line, of a version that can be read, or the beginning of it.
    Ours,
    /// Our first line, of a version that a later release writes.
    Newer(u32),
    Foreign,
}

impl Header {
    pub(super) fn of(text: &[u8]) -> Header {
        if text.is_empty() {
            return Header::Empty;
        }
        let Some(rest) = text.strip_prefix(MAGIC.as_bytes()) else {
            return if MAGIC.as_bytes().starts_with(text) {
                Header::Ours
            } else {
                Header::Foreign
            };
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let version = std::str::from_utf8(&rest[..digits])
            .ok()
            .filter(|text| !text.starts_with('0'));
        let version = version
            .filter(|text| text.len() <= VERSION_DIGITS_MAX)
            .and_then(|text| text.parse().ok());
        match (version, rest.get(digits)) {
            _ if rest.is_empty() => Header::Ours,
            (Some(1..=VERSION), None | Some(b'\n')) => Header::Ours,
            (Some(version), None | Some(b'\n')) => Header::Newer(version),
            _ => Header::Foreign,
        }
    }
}

/// Returns whether the text ends with the first line, or earlier: a call has created the file and
/// ended before it had an upload.
pub(super) fn is_blank(text: &[u8]) -> bool {
    matches!(Header::of(text), Header::Empty | Header::Ours)
        && text
            .iter()
            .position(|byte| *byte == b'\n')
            .is_none_or(|end| end + 1 == text.len())
}

impl UploadIdentity {
    pub(in crate::upload) fn new(
        endpoint: String,
        bucket: &str,
        key: &str,
        path: Option<&Path>,
        fingerprint: Fingerprint,
        part_size: u64,
        headers: &str,
    ) -> UploadIdentity {
        UploadIdentity {
            endpoint,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            path: path.map(|path| percent_encode_bytes(path.as_os_str().as_encoded_bytes())),
            fingerprint,
            part_size,
            headers: Md5Digest::of(headers).to_string(),
        }
    }

    /// Returns the path of the file. `None` for an open file, and where the system cannot have such a
    /// path.
    pub(in crate::upload) fn source_path(&self) -> Option<PathBuf> {
        let bytes = percent_decode_bytes(self.path.as_deref()?);
        #[cfg(unix)]
        let path: Option<OsString> = Some(std::os::unix::ffi::OsStringExt::from_vec(bytes));
        #[cfg(not(unix))]
        let path: Option<OsString> = String::from_utf8(bytes).ok().map(OsString::from);
        path.map(PathBuf::from)
    }

    /// Returns why an upload of `saved` cannot be resumed as one of `self`, or `None` if it can.
    ///
    /// Another path is not a reason, because a file may have been moved together with its
    /// checkpoint, or be reached by a link. See [`UploadIdentity::needs_verification`].
    pub(in crate::upload) fn mismatch(&self, saved: &UploadIdentity) -> Option<RestartReason> {
        let target = |of: &UploadIdentity| (of.endpoint.clone(), of.bucket.clone(), of.key.clone());
        if target(self) != target(saved) {
            return Some(RestartReason::TargetChanged);
        }
        let source = |of: &UploadIdentity| {
            let Fingerprint {
                kind, size, mtime, ..
            } = of.fingerprint;
            (kind, size, mtime)
        };
        if source(self) != source(saved) {
            return Some(RestartReason::SourceChanged);
        }
        if self.part_size != saved.part_size {
            return Some(RestartReason::PartSizeChanged);
        }
        (self.headers != saved.headers).then_some(RestartReason::OptionsChanged)
    }

    /// Returns whether the saved parts have to be compared with the file although nothing is known
    /// to differ.
    ///
    /// That is so if a fingerprint is doubtful, after a restart of the system, for another path,
    /// ctime or inode, and on systems whose files have no inodes (Windows).
    pub(in crate::upload) fn needs_verification(&self, saved: &UploadIdentity) -> bool {
        let (now, then) = (&self.fingerprint, &saved.fingerprint);
        now.identity.is_none()
            || (now.identity, now.boot_id, &self.path) != (then.identity, then.boot_id, &saved.path)
            || now.doubtful
            || then.doubtful
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
        line("path", identity.path.as_deref().unwrap_or_default());
        let or_unknown = |is_known: bool, value: i128| match is_known {
            true => value.to_string(),
            false => UNKNOWN.to_owned(),
        };
        let kind = fingerprint.kind;
        let size = or_unknown(kind != SourceKind::Stream, fingerprint.size.into());
        line("size", &size);
        let mtime = or_unknown(kind == SourceKind::File, fingerprint.mtime);
        line("mtime", &mtime);
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
        line(
            "boot-id",
            &fingerprint
                .boot_id
                .map_or("-".to_owned(), |id| format!("{id:032x}")),
        );
        line(
            "doubtful",
            if fingerprint.doubtful {
                "true"
            } else {
                "false"
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

    /// Returns `None` if any byte is not as it was written, or if a value is not what the call
    /// itself would take.
    pub(in crate::upload) fn from_text(text: &str) -> Option<CheckpointState> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = &text[..=body.len()];
        if sum.strip_prefix("md5 ")? != Md5Digest::of(body).to_string() {
            return None;
        }
        let (version, rest) = body.strip_prefix(MAGIC)?.split_once('\n')?;
        let version: u32 = ["1", "2"].iter().position(|known| *known == version)? as u32 + 1;
        let mut lines = Lines(rest.lines().peekable());
        // The checksum is not authentication: anyone can write a valid checkpoint. The bucket
        // becomes part of the request host, key and upload id become part of its path and query.
        let endpoint = percent_decode(lines.value("endpoint")?)?;
        let bucket =
            percent_decode(lines.value("bucket")?).filter(|bucket| is_bucket_name(bucket))?;
        let key = percent_decode(lines.value("key")?).filter(|key| check_key(key).is_ok())?;
        let path = Some(lines.value("path")?.to_owned()).filter(|path| !path.is_empty());
        let fingerprint = fingerprint(&mut lines, version)?;
        let part_size = lines.number("part-size")?;
        let headers = lines.value("headers")?.to_owned();
        let upload_id = percent_decode(lines.value("upload-id")?).filter(|id| is_upload_id(id))?;
        let initiated =
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(lines.number("initiated")?))?;
        // The sizes of a stream's parts are OSS's to tell. All but the last have this one.
        let size = match fingerprint.kind {
            SourceKind::File | SourceKind::Bytes => fingerprint.size,
            SourceKind::Stream => u64::MAX,
        };
        let mut parts = UploadedParts::default();
        while let Some(part) = lines.value("part") {
            let part = parse_part(part, size, part_size)?;
            if part.size > 0 {
                parts.insert(part);
            }
        }
        let completing = match lines.value("completing") {
            Some(crc64) => Some(crc64.parse().ok()?),
            None => None,
        };
        let identity = UploadIdentity {
            endpoint,
            bucket,
            key,
            path,
            fingerprint,
            part_size,
            headers,
        };
        let state = CheckpointState {
            identity,
            upload_id,
            initiated,
            parts,
            completing,
        };
        lines.0.next().is_none().then_some(state)
    }
}

/// Parses the fingerprint. A checkpoint of version 1 has no boot ID and counts as doubtful.
fn fingerprint(lines: &mut Lines<'_>, version: u32) -> Option<Fingerprint> {
    let (kind, size, mtime) = match (version, lines.value("size")?, lines.value("mtime")?) {
        (2.., UNKNOWN, UNKNOWN) => (SourceKind::Stream, 0, 0),
        (2.., size, UNKNOWN) => (SourceKind::Bytes, size.parse().ok()?, 0),
        (_, size, mtime) => (SourceKind::File, size.parse().ok()?, mtime.parse().ok()?),
    };
    let identity = parse_identity(lines.value("identity")?)?;
    let (boot_id, doubtful) = match version {
        1 => (None, true),
        _ => (
            parse_boot_id(lines.value("boot-id")?)?,
            lines.number("doubtful")?,
        ),
    };
    Some(Fingerprint {
        kind,
        size,
        mtime,
        identity,
        boot_id,
        doubtful,
    })
}

struct Lines<'a>(std::iter::Peekable<std::str::Lines<'a>>);

impl<'a> Lines<'a> {
    /// Returns the value of the next line if that has this name.
    fn value(&mut self, name: &str) -> Option<&'a str> {
        let value = self.0.peek()?.strip_prefix(name)?.strip_prefix(' ')?;
        self.0.next();
        Some(value)
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        self.value(name)?.parse().ok()
    }
}

/// The outer `None` is an error.
fn parse_identity(value: &str) -> Option<Option<Identity>> {
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

/// The outer `None` is an error.
fn parse_boot_id(value: &str) -> Option<Option<u128>> {
    match value {
        "-" => Some(None),
        _ => Some(Some(u128::from_str_radix(value, 16).ok()?)),
    }
}

fn parse_part(value: &str, file_size: u64, part_size: u64) -> Option<UploadedPart> {
    let mut fields = value.split(' ');
    let number = fields.next()?.parse().ok();
    let number = number.filter(|number| (1..=PARTS_MAX).contains(&u64::from(*number)))?;
    let part = UploadedPart {
        number,
        // A part beyond the end of the file has no bytes.
        size: PartRange::new(number, file_size, part_size).map_or(0, |range| range.size),
        etag: percent_decode(fields.next()?)
            .filter(|etag| is_etag(etag))?
            .into(),
        crc64: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(part)
}

/// Returns whether the text can be an ETag: not too long, and without characters that XML does not
/// allow.
fn is_etag(etag: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&etag.len()) && !etag.contains(char::is_control)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(parts: u32, completing: Option<u64>) -> CheckpointState {
        let fingerprint = Fingerprint {
            kind: SourceKind::File,
            size: 1_024_000_000,
            mtime: -5,
            identity: Some(Identity {
                ctime: 1_792_425_600_123_456_789,
                device: 2049,
                inode: u64::MAX,
            }),
            boot_id: Some(7),
            doubtful: false,
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
                Some(path),
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
    fn checkpoint_keeps_the_path_of_the_source() {
        let mut state = state(0, None);
        let path = Path::new("/tmp/a b\n中");
        assert_eq!(state.identity.source_path().as_deref(), Some(path));
        #[cfg(unix)]
        {
            state.identity.path = Some("%2F%FF".into());
            let path = state.identity.source_path().unwrap();
            assert_eq!(path.as_os_str().as_encoded_bytes(), b"/\xff");
        }
        state.identity.path = None;
        assert_eq!(state.identity.source_path(), None);
    }

    #[test]
    fn checkpoint_round_trips() {
        for state in [state(0, None), state(3, None), state(10_000, Some(0))] {
            assert_eq!(
                CheckpointState::from_text(&state.to_text()).as_ref(),
                Some(&state)
            );
        }
        let mut bare = state(1, None);
        bare.identity.path = None;
        bare.identity.fingerprint.identity = None;
        bare.identity.fingerprint.boot_id = None;
        bare.identity.fingerprint.doubtful = true;
        assert_eq!(
            CheckpointState::from_text(&bare.to_text()),
            Some(bare.clone())
        );
        bare.identity.fingerprint.kind = SourceKind::Bytes;
        bare.identity.fingerprint.mtime = 0;
        let text = bare.to_text();
        assert!(text.contains("\nsize 1024000000\nmtime -\n"), "{text}");
        assert_eq!(CheckpointState::from_text(&text), Some(bare.clone()));
        bare.identity.fingerprint.kind = SourceKind::Stream;
        bare.identity.fingerprint.size = 0;
        let text = bare.to_text();
        assert!(text.contains("\nsize -\nmtime -\n"), "{text}");
        assert_eq!(CheckpointState::from_text(&text), Some(bare));
    }

    /// Version 1 knew files only.
    #[test]
    fn checkpoint_version_1_is_always_of_a_file() {
        let text = include_str!("golden/v1-parts.txt").replace("\r\n", "\n");
        let (body, _) = text.trim_end().rsplit_once('\n').unwrap();
        let resealed = |body: &str| format!("{body}\nmd5 {}\n", Md5Digest::of(format!("{body}\n")));
        assert!(CheckpointState::from_text(&resealed(body)).is_some());
        let mtime = body
            .lines()
            .find(|line| line.starts_with("mtime "))
            .unwrap();
        let changed = resealed(&body.replace(mtime, "mtime -"));
        assert_eq!(CheckpointState::from_text(&changed), None);
    }

    /// Texts that release 0.1.0 wrote.
    #[test]
    fn checkpoint_version_1_is_read() {
        let read = |text: &str| CheckpointState::from_text(&text.replace("\r\n", "\n")).unwrap();
        let initiated = read(include_str!("golden/v1-initiated.txt"));
        assert_eq!((initiated.parts.len(), initiated.completing), (0, None));
        assert_eq!(initiated.upload_id, "0004B9894A22E5B1888A1E29F8236E2D");
        assert_eq!(initiated.identity.key, "dir/对象 1.bin");
        let parts = read(include_str!("golden/v1-parts.txt"));
        assert_eq!(
            parts.parts.get(2).map(|part| (&*part.etag, part.crc64)),
            Some((
                "0000000000002468ACF13579BDE026AE",
                11_051_210_869_376_104_956
            ))
        );
        let completing = read(include_str!("golden/v1-completing.txt"));
        assert_eq!(
            (completing.parts.len(), completing.completing),
            (3, Some(5_981_764_153_023_615_706))
        );
        let without = read(include_str!("golden/v1-no-identity.txt"));
        assert_eq!(without.identity.fingerprint.identity, None);
        // The same file today: resumed, but not without reading it.
        let today = UploadIdentity::new(
            "https://oss-cn-hangzhou.aliyuncs.com".into(),
            "examplebucket",
            "dir/对象 1.bin",
            Some(Path::new("/home/li/例 file.bin")),
            Fingerprint {
                kind: SourceKind::File,
                size: 262_144,
                mtime: 1_792_425_600_123_456_789,
                identity: Some(Identity {
                    ctime: 1_792_425_600_223_456_789,
                    device: 2049,
                    inode: 131,
                }),
                boot_id: None,
                doubtful: false,
            },
            102_400,
            "headers",
        );
        assert_eq!(today.mismatch(&parts.identity), None);
        assert!(today.needs_verification(&parts.identity));
    }

    #[test]
    fn checkpoint_detects_any_bit_flip() {
        assert_detects_any_bit_flip(&state(3, Some(7)).to_text());
        let mut stream = state(2, None);
        stream.identity.path = None;
        stream.identity.fingerprint = Fingerprint {
            kind: SourceKind::Stream,
            size: 0,
            mtime: 0,
            identity: None,
            boot_id: None,
            doubtful: true,
        };
        assert_detects_any_bit_flip(&stream.to_text());
    }

    #[track_caller]
    fn assert_detects_any_bit_flip(text: &str) {
        for end in 0..text.len() {
            assert_eq!(
                CheckpointState::from_text(&text[..end]),
                None,
                "cut at {end}"
            );
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
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
    fn checkpoint_first_line_tells_whose_it_is() {
        for ours in [
            "o",
            "oss-upload",
            MAGIC,
            "oss-upload checkpoint 1",
            "oss-upload checkpoint 1\nx",
            FIRST_LINE,
        ] {
            assert_eq!(Header::of(ours.as_bytes()), Header::Ours, "{ours:?}");
        }
        for (text, version) in [
            ("3\n", 3),
            ("10\n", 10),
            ("999999999\nendpoint x\n", 999_999_999),
        ] {
            assert_eq!(
                Header::of(format!("{MAGIC}{text}").as_bytes()),
                Header::Newer(version)
            );
        }
        for foreign in [
            "O",
            "\n",
            "oss-upload\n",
            "oss-upload checkpoint \n",
            "oss-upload checkpoint 0\n",
        ] {
            assert_eq!(
                Header::of(foreign.as_bytes()),
                Header::Foreign,
                "{foreign:?}"
            );
        }
        for foreign in ["02\n", "2 \n", "x", "-1\n", "2.0\n", "9999999999\n"] {
            assert_eq!(
                Header::of(format!("{MAGIC}{foreign}").as_bytes()),
                Header::Foreign,
                "{foreign:?}"
            );
        }
        assert_eq!(Header::of(b""), Header::Empty);
        assert!(FIRST_LINE.starts_with(MAGIC) && FIRST_LINE.ends_with(&format!("{VERSION}\n")));
    }

    #[test]
    fn checkpoint_without_an_upload_is_blank() {
        for blank in ["", "oss", "oss-upload checkpoint 1\n", FIRST_LINE] {
            assert!(is_blank(blank.as_bytes()), "{blank:?}");
        }
        for other in [
            &state(0, None).to_text(),
            "oss-upload checkpoint 2\nx",
            "x",
            "oss-upload checkpoint 3\n",
        ] {
            assert!(!is_blank(other.as_bytes()), "{other:?}");
        }
    }

    /// Whoever writes a checkpoint can make its checksum.
    #[test]
    fn checkpoint_values_are_checked_like_the_calls_own() {
        let is_read = |change: &dyn Fn(&mut CheckpointState)| {
            let mut planted = state(1, None);
            change(&mut planted);
            CheckpointState::from_text(&planted.to_text()).is_some()
        };
        assert!(is_read(&|_| {}));
        for bucket in ["203.0.113.7/", "evil.example/", "a@b", "", "ab", "UPPER"] {
            assert!(
                !is_read(&|planted| planted.identity.bucket = bucket.into()),
                "{bucket}"
            );
        }
        let long = |bytes| "k".repeat(bytes);
        for key in ["", "/", "/k", "\\k", &long(1024)] {
            assert!(
                !is_read(&|planted| planted.identity.key = key.into()),
                "{key}"
            );
        }
        assert!(is_read(&|planted| planted.identity.key = long(1023)));
        for id in ["", "a b", "a\nb", "é", &long(1025), &long(100_000)] {
            assert!(!is_read(&|planted| planted.upload_id = id.into()), "{id}");
        }
        assert!(is_read(&|planted| planted.upload_id = long(1024)));
        for etag in ["", "a\u{0}b", &long(1025)] {
            let part = UploadedPart {
                number: 1,
                size: 102_400,
                etag: etag.into(),
                crc64: 1,
            };
            assert!(
                !is_read(&|planted| planted.parts.insert(part.clone())),
                "{etag}"
            );
        }
    }

    #[test]
    fn checkpoint_mismatch_is_named() {
        let saved = state(1, None).identity;
        assert_eq!(saved.mismatch(&saved), None);
        let differs = |change: fn(&mut UploadIdentity)| {
            let mut now = saved.clone();
            change(&mut now);
            now.mismatch(&saved)
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
            differs(|now| now.fingerprint.size += 1),
            Some(RestartReason::SourceChanged)
        );
        assert_eq!(
            differs(|now| now.fingerprint.mtime += 1),
            Some(RestartReason::SourceChanged)
        );
        for kind in [
            |now: &mut UploadIdentity| now.fingerprint.kind = SourceKind::Bytes,
            |now: &mut UploadIdentity| now.fingerprint.kind = SourceKind::Stream,
        ] {
            assert_eq!(differs(kind), Some(RestartReason::SourceChanged));
        }
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
    fn checkpoint_verification_is_needed_where_metadata_does_not_prove() {
        let saved = state(1, None).identity;
        assert!(!saved.needs_verification(&saved));
        let changes: [fn(&mut UploadIdentity); 7] = [
            |it| it.fingerprint.identity.as_mut().unwrap().ctime += 1,
            |it| it.fingerprint.identity.as_mut().unwrap().inode -= 1,
            |it| it.fingerprint.boot_id = Some(8),
            |it| it.fingerprint.boot_id = None,
            |it| it.fingerprint.doubtful = true,
            |it| it.path = Some("%2Fmoved".into()),
            |it| it.path = None,
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut other = saved.clone();
            change(&mut other);
            assert_eq!(other.mismatch(&saved), None, "change {n}");
            assert!(
                other.needs_verification(&saved) && saved.needs_verification(&other),
                "change {n}"
            );
        }
        let mut open_file = saved.clone();
        open_file.path = None;
        assert!(!open_file.needs_verification(&open_file.clone()));
        open_file.fingerprint.identity = None;
        assert!(open_file.needs_verification(&open_file.clone()));
    }
}

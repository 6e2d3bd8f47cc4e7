//! The options of an upload: functions that return opaque values.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::checkpoint::{CheckpointLocation, CheckpointStore};
use super::config::UploadConfig;
use super::headers::{acl_value, storage_class_value};
use super::progress::Progress;
use crate::Result;
use crate::callback::Callback;
use crate::cancel::CancelToken;
use crate::client::BandwidthLimit;

/// One option of [`Bucket::upload_file`](crate::Bucket::upload_file), made by the functions of this
/// crate's root.
///
/// Options are given as anything that can be iterated: an array, `[]` for none, a `Vec`, an
/// `Option`, a chain. If an option is given twice, the later one counts; [`meta`] and [`tag`] add
/// up, by their names. The functions themselves never fail: values are checked when the call
/// starts, before any request, and a wrong one is
/// [`Error::InvalidOption`](crate::Error::InvalidOption) with the name of the option.
///
/// | for | options |
/// |---|---|
/// | speed | [`routines`], [`multipart_threshold`], [`sequential`] |
/// | bandwidth | [`bandwidth_limit`], [`traffic_limit`] |
/// | checkpoint | [`checkpoint`], [`checkpoint_dir`], [`checkpoint_store`] |
/// | resuming | [`verify_on_resume`], [`adopt_unfinished`] |
/// | progress and cancel | [`progress`], [`cancel`], [`delete_upload_on_cancelling`] |
/// | content headers | [`content_type`], [`content_encoding`], [`content_language`] |
/// | download headers | [`cache_control`], [`content_disposition`], [`expires`] |
/// | metadata and access | [`meta`], [`tag`], [`object_acl`] |
/// | storage | [`storage_class`], [`server_side_encryption`] |
/// | safety | [`forbid_overwrite`], [`content_md5`] |
/// | what need not be sent | [`skip_unchanged`] |
/// | after the upload | [`callback`] |
/// | who pays | [`request_payer`] |
///
/// An option is neither `Clone` nor `Send`, since it may hold a callback. To use the same ones
/// again, make a function of them:
///
/// ```
/// use oss_upload::{UploadOption, checkpoint, routines};
///
/// fn usual() -> [UploadOption<'static>; 2] {
///     [routines(4), checkpoint(true, "")]
/// }
/// # drop(usual());
/// ```
#[must_use = "an option does nothing until it is given to `upload_file`"]
pub struct UploadOption<'a> {
    /// The name of its function.
    name: &'static str,
    /// The arguments of its function, for `Debug`.
    arguments: String,
    pub(super) value: OptionValue<'a>,
}

pub(super) enum OptionValue<'a> {
    Checkpoint(CheckpointLocation<'a>),
    Progress(super::progress::Callback<'a>),
    /// Everything that outlives the call.
    Apply(Apply),
}

type Apply = Box<dyn FnOnce(&mut UploadConfig) -> Result<()>>;

impl UploadOption<'static> {
    fn new(
        name: &'static str,
        arguments: String,
        apply: impl FnOnce(&mut UploadConfig) -> Result<()> + 'static,
    ) -> UploadOption<'static> {
        UploadOption {
            name,
            arguments,
            value: OptionValue::Apply(Box::new(apply)),
        }
    }

    fn flag(
        name: &'static str,
        on: bool,
        apply: fn(&mut UploadConfig, bool),
    ) -> UploadOption<'static> {
        UploadOption::new(name, on.to_string(), move |config| {
            apply(config, on);
            Ok(())
        })
    }

    fn text(name: &'static str, header: &'static str, value: String) -> UploadOption<'static> {
        UploadOption::new(name, format!("{value:?}"), move |config| {
            config.headers.set_text(name, header, &value)
        })
    }
}

impl fmt::Debug for UploadOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.arguments)
    }
}

/// Who may read and write the object (`x-oss-object-acl`). OSS API: PutObjectACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectAcl {
    /// Only its owner.
    Private,
    /// Everybody may read it.
    PublicRead,
    /// Everybody may read and overwrite it.
    PublicReadWrite,
    /// The ACL of the bucket applies.
    Default,
}

/// How the object is stored and billed (`x-oss-storage-class`). OSS API: InitiateMultipartUpload,
/// PutObject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageClass {
    /// `Standard`
    Standard,
    /// `IA`
    InfrequentAccess,
    /// `Archive`
    Archive,
    /// `ColdArchive`
    ColdArchive,
    /// `DeepColdArchive`
    DeepColdArchive,
}

/// How OSS encrypts the object (`x-oss-server-side-encryption`). OSS API: InitiateMultipartUpload,
/// PutObject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerSideEncryption {
    /// AES-256 with keys that OSS manages.
    Aes256,
    /// Keys of the Key Management Service.
    Kms {
        /// The customer master key; `None` for the default key of KMS.
        key_id: Option<String>,
    },
    /// The SM4 algorithm.
    Sm4,
}

// ---- speed --------------------------------------------------------------------------------------

/// How many parts are uploaded at the same time, each by a thread and a connection of its own.
/// Limit: 1 to 100. Defaults to 1.
///
/// With a low [`bandwidth_limit`] fewer are used, so that no connection is silent for too long.
///
/// ```
/// let options = [oss_upload::routines(4)];
/// # drop(options);
/// ```
#[doc(alias = "taskNum")]
#[doc(alias = "ParallelNum")]
#[doc(alias = "num_threads")]
#[doc(alias = "parallel")]
#[doc(alias = "ParallelThreadCount")]
#[doc(alias = "threadNum")]
#[doc(alias = "thread_num")]
#[doc(alias = "threads")]
pub fn routines(n: usize) -> UploadOption<'static> {
    UploadOption::new("routines", n.to_string(), move |config| {
        config.set_routines(n)
    })
}

/// Uploads files smaller than this many bytes with one PutObject. Limit:
/// [`PART_SIZE_MAX`](crate::PART_SIZE_MAX). Defaults to files that one part holds: a file of
/// exactly `part_size` bytes is one PutObject.
///
/// An empty file is always one PutObject; with `0` every other file is uploaded in parts. A
/// PutObject that is interrupted starts from the beginning. OSS API: PutObject.
///
/// ```
/// let options = [oss_upload::multipart_threshold(64 << 20)];
/// # drop(options);
/// ```
pub fn multipart_threshold(bytes: u64) -> UploadOption<'static> {
    UploadOption::new("multipart_threshold", bytes.to_string(), move |config| {
        config.set_multipart_threshold(bytes)
    })
}

/// The bandwidth that this call uses at most, all its threads together, in **bytes** per second.
/// Limit: at least 1,024. Defaults to none.
///
/// A [`BandwidthLimit`] in place of the number can be shared by several calls, and changed while they run. The client
/// keeps the limit by waiting; for a limit that OSS keeps see [`traffic_limit`].
///
/// ```
/// let options = [oss_upload::bandwidth_limit(2 << 20)]; // 2 MiB/s
/// # drop(options);
/// ```
#[doc(alias = "LimitUploadSpeed")]
#[doc(alias = "UploadBandwidthlimit")]
#[doc(alias = "sendRateLimiter")]
pub fn bandwidth_limit(limit: impl Into<BandwidthLimit>) -> UploadOption<'static> {
    let limit = limit.into();
    let shown = limit.bytes_per_second().to_string();
    UploadOption::new("bandwidth_limit", shown, move |config| {
        config.set_bandwidth_limit(limit)
    })
}

/// The bandwidth that OSS allows each connection of this upload, in **bits** per second
/// (`x-oss-traffic-limit`). Limit: 819,200 (100 KB/s) to 838,860,800 (100 MB/s). Defaults to none.
///
/// With several [`routines`] the upload may use as many times this bandwidth. OSS documentation:
/// "Single-connection bandwidth throttling".
///
/// ```
/// let options = [oss_upload::traffic_limit(8_388_608)]; // 1 MiB/s
/// # drop(options);
/// ```
#[doc(alias = "TrafficLimitHeader")]
#[doc(alias = "TrafficLimit")]
pub fn traffic_limit(bits_per_second: u64) -> UploadOption<'static> {
    UploadOption::new(
        "traffic_limit",
        bits_per_second.to_string(),
        move |config| config.set_traffic_limit(bits_per_second),
    )
}

/// Uploads the parts one after the other; OSS then gives the object a `Content-MD5`. Defaults to
/// `false`.
///
/// Limit: not together with [`routines`] above 1. In such an upload a part cannot be replaced: if
/// OSS holds one with other bytes, the upload restarts. OSS API: InitiateMultipartUpload
/// (`?sequential`).
///
/// ```
/// let options = [oss_upload::sequential(true)];
/// # drop(options);
/// ```
#[doc(alias = "sequentialMode")]
#[doc(alias = "sequenceUpload")]
#[doc(alias = "sequentialMultipartUpload")]
pub fn sequential(sequential: bool) -> UploadOption<'static> {
    UploadOption::flag("sequential", sequential, |config, on| {
        config.sequential = on
    })
}

// ---- checkpoint and resume ----------------------------------------------------------------------

/// Saves the progress of the upload to a checkpoint file, so that the same call resumes it after a
/// crash. Defaults to `false`.
///
/// An empty `path` means `<file>.cp` beside the source. The file is created before the first
/// request, readable only by its owner, locked while the call runs, and removed when the object is
/// complete. Of `checkpoint`, [`checkpoint_dir`] and [`checkpoint_store`] the last one counts.
/// Limit: a regular file, or nothing yet, in a directory that exists and can be written; not the
/// source itself.
///
/// Two uploads of one file at the same time need two checkpoints: use [`checkpoint_dir`]. A file
/// that is uploaded with one PutObject has no checkpoint. What a checkpoint survives, and when it
/// is stale, is described in [`docs::checkpoint_format`](crate::docs::checkpoint_format). OSS
/// documentation: "Resumable upload" of each SDK.
///
/// ```
/// use oss_upload::checkpoint;
///
/// let beside_the_file = [checkpoint(true, "")];
/// let elsewhere = [checkpoint(true, "/var/tmp/backup.cp")];
/// # drop((beside_the_file, elsewhere));
/// ```
#[doc(alias = "enableCheckpoint")]
#[doc(alias = "enable_checkpoint")]
#[doc(alias = "checkpointFile")]
#[doc(alias = "checkpoint_path")]
#[doc(alias = "cpt_file")]
pub fn checkpoint(enable: bool, path: impl Into<PathBuf>) -> UploadOption<'static> {
    let path = path.into();
    let location = match path.as_os_str().is_empty() {
        true => CheckpointLocation::BesideSource,
        false => CheckpointLocation::File(path.clone()),
    };
    checkpoint_option("checkpoint", enable, path, location)
}

/// Saves the checkpoint in a directory, which is created if it is missing. Defaults to `false`.
///
/// The name of the file is made from the bucket, the key and the absolute path of the source, so
/// one directory serves many uploads; for anything but a path, from the bucket and the key.
/// Otherwise it is as [`checkpoint`].
///
/// ```
/// let options = [oss_upload::checkpoint_dir(true, "/var/tmp/uploads")];
/// # drop(options);
/// ```
#[doc(alias = "EnableCheckpoint")]
#[doc(alias = "CheckpointDir")]
#[doc(alias = "ResumableStore")]
#[doc(alias = "recordDirectory")]
#[doc(alias = "recordDirectoryPath")]
pub fn checkpoint_dir(enable: bool, dir: impl Into<PathBuf>) -> UploadOption<'static> {
    let dir = dir.into();
    let location = CheckpointLocation::Dir(dir.clone());
    checkpoint_option("checkpoint_dir", enable, dir, location)
}

fn checkpoint_option(
    name: &'static str,
    enable: bool,
    path: PathBuf,
    location: CheckpointLocation<'static>,
) -> UploadOption<'static> {
    let location = if enable {
        location
    } else {
        CheckpointLocation::Off
    };
    UploadOption {
        name,
        arguments: format!("{enable}, {path:?}"),
        value: OptionValue::Checkpoint(location),
    }
}

/// Saves the checkpoint in a store of the caller. Lend it with `&mut` to use it again. Defaults to
/// none.
///
/// Nothing locks a store, so two calls must not use one at the same time. Otherwise it is as
/// [`checkpoint`].
///
/// ```
/// use std::io;
/// use oss_upload::{CheckpointStore, checkpoint_store};
///
/// #[derive(Default)]
/// struct Memory(Option<String>);
///
/// impl CheckpointStore for Memory {
///     fn load(&mut self) -> io::Result<Option<String>> {
///         Ok(self.0.clone())
///     }
///     fn save(&mut self, text: &str) -> io::Result<()> {
///         self.0 = Some(text.to_owned());
///         Ok(())
///     }
///     fn remove(&mut self) -> io::Result<()> {
///         self.0 = None;
///         Ok(())
///     }
/// }
///
/// let mut memory = Memory::default();
/// let options = [checkpoint_store(&mut memory)];
/// # drop(options);
/// ```
#[doc(alias = "store")]
pub fn checkpoint_store<'a>(store: impl CheckpointStore + 'a) -> UploadOption<'a> {
    UploadOption {
        name: "checkpoint_store",
        arguments: "..".to_owned(),
        value: OptionValue::Checkpoint(CheckpointLocation::Store(Box::new(store))),
    }
}

/// Reads the parts of a checkpoint again and compares their CRC-64 before trusting them. Defaults
/// to `false`.
///
/// The parts are always read again if the metadata may not show an edit: if the path, ctime, device
/// or inode of the file differ from the checkpoint, if the system was restarted, or if the file had
/// been changed in the two seconds before a call
/// ([`docs::checkpoint_format`](crate::docs::checkpoint_format)). So are parts that the checkpoint
/// does not have. Set this option if metadata cannot be trusted at all, as on some network and
/// overlay file systems. It costs one reading of the parts that have been uploaded.
///
/// ```
/// let options = [oss_upload::checkpoint(true, ""), oss_upload::verify_on_resume(true)];
/// # drop(options);
/// ```
pub fn verify_on_resume(verify: bool) -> UploadOption<'static> {
    UploadOption::flag("verify_on_resume", verify, |config, on| {
        config.verify_on_resume = on
    })
}

/// Without a checkpoint, as on a fresh machine: looks on the server for the newest unfinished
/// upload of this key, and takes over the parts whose content equals the file's. Defaults to
/// `false`.
///
/// It is for keys that one job writes, with the same options each time: the object gets the headers
/// that the adopted upload was initiated with, and OSS does not report them. With it, a failure
/// leaves the upload on the server for the next machine, and cancelling deletes it only if this
/// call initiated it.
///
/// It needs `oss:ListMultipartUploads` and `oss:ListParts`
/// ([`docs::permissions`](crate::docs::permissions)). OSS API: ListMultipartUploads, ListParts.
///
/// ```
/// let options = [oss_upload::adopt_unfinished(true)];
/// # drop(options);
/// ```
pub fn adopt_unfinished(adopt: bool) -> UploadOption<'static> {
    UploadOption::flag("adopt_unfinished", adopt, |config, on| {
        config.adopt_unfinished = on
    })
}

// ---- progress and cancel ------------------------------------------------------------------------

/// Calls `callback` on the calling thread: when the upload starts, after every part, at most ten
/// times a second in between, and at the end. Defaults to none.
///
/// It may borrow local variables and need not be `Send`. The workers continue meanwhile, but no
/// checkpoint is saved until it returns, and after two parts each the workers wait for it, so it
/// should be quick. If the callback panics, the upload stops, the checkpoint is kept, and the panic
/// is resumed on the calling thread. The bytes in [`Progress`] never decrease.
///
/// ```
/// use oss_upload::progress;
///
/// let mut percent = 0;
/// let options = [progress(|p| percent = p.transferred * 100 / p.total.max(1))];
/// # drop(options);
/// # let _ = percent;
/// ```
#[doc(alias = "ProgressFn")]
#[doc(alias = "progressListener")]
#[doc(alias = "progress_callback")]
#[doc(alias = "StreamTransferProgress")]
#[doc(alias = "setProgressCallback")]
#[doc(alias = "uploadProgress")]
#[doc(alias = "setTransferProgress")]
pub fn progress<'a>(callback: impl FnMut(&Progress) + 'a) -> UploadOption<'a> {
    UploadOption {
        name: "progress",
        arguments: "..".to_owned(),
        value: OptionValue::Progress(Box::new(callback)),
    }
}

/// Lets `token` stop the upload. The call returns [`Error::Cancelled`](crate::Error::Cancelled)
/// within a second or two; only a name lookup or a TCP connect in progress may take
/// [`connect_timeout`](crate::ClientBuilder::connect_timeout). Defaults to none.
///
/// If it is cancelled in the moment in which OSS initiates the upload, the upload id may never
/// arrive. A lifecycle rule for unfinished parts removes such an upload
/// ([`docs::permissions`](crate::docs::permissions)).
///
/// ```
/// use oss_upload::{CancelToken, cancel};
///
/// let token = CancelToken::new();
/// let options = [cancel(&token)];
/// # drop(options);
/// ```
#[doc(alias = "Context")]
#[doc(alias = "OSSAsyncTask")]
#[doc(alias = "DisableRequest")]
pub fn cancel(token: &CancelToken) -> UploadOption<'static> {
    let token = token.clone();
    UploadOption::new("cancel", format!("{token:?}"), move |config| {
        config.cancel = token;
        Ok(())
    })
}

/// Sets whether cancelling deletes the checkpoint and the parts that OSS has (best effort: one
/// attempt of one second). With `false` the same call resumes later. Defaults to `true`. Without a
/// checkpoint the parts are always deleted.
///
/// [`CancelToken::pause`] keeps both, whatever this option says. Other failures keep both as well.
/// OSS API: AbortMultipartUpload.
///
/// ```
/// let options = [oss_upload::delete_upload_on_cancelling(false)];
/// # drop(options);
/// ```
#[doc(alias = "setDeleteUploadOnCancelling")]
#[doc(alias = "deleteUploadIdOnCancelling")]
pub fn delete_upload_on_cancelling(delete: bool) -> UploadOption<'static> {
    UploadOption::flag("delete_upload_on_cancelling", delete, |config, on| {
        config.delete_upload_on_cancelling = on;
    })
}

// ---- headers of the object ----------------------------------------------------------------------

/// The object's `Content-Type`. Limit: ASCII without control characters, as for all headers here.
/// Defaults to a guess from the name of the file, then from the key, then
/// `application/octet-stream`.
///
/// OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// let options = [oss_upload::content_type("text/plain; charset=utf-8")];
/// # drop(options);
/// ```
#[doc(alias = "mime")]
#[doc(alias = "Content-Type")]
pub fn content_type(value: impl Into<String>) -> UploadOption<'static> {
    UploadOption::text("content_type", "content-type", value.into())
}

/// The object's `Cache-Control`. Defaults to none. OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// let options = [oss_upload::cache_control("max-age=86400")];
/// # drop(options);
/// ```
pub fn cache_control(value: impl Into<String>) -> UploadOption<'static> {
    UploadOption::text("cache_control", "cache-control", value.into())
}

/// The object's `Content-Disposition`. Defaults to none. A name outside ASCII is written
/// `filename*=UTF-8''…`, percent-encoded. OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// let options = [oss_upload::content_disposition("attachment; filename=\"report.pdf\"")];
/// # drop(options);
/// ```
pub fn content_disposition(value: impl Into<String>) -> UploadOption<'static> {
    UploadOption::text("content_disposition", "content-disposition", value.into())
}

/// The object's `Content-Encoding`. Defaults to none. The file is sent as it is: compress it
/// yourself. OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// let options = [oss_upload::content_encoding("gzip")];
/// # drop(options);
/// ```
pub fn content_encoding(value: impl Into<String>) -> UploadOption<'static> {
    UploadOption::text("content_encoding", "content-encoding", value.into())
}

/// The object's `Content-Language`. Defaults to none. OSS API: PutObject.
///
/// ```
/// let options = [oss_upload::content_language("zh-CN")];
/// # drop(options);
/// ```
pub fn content_language(value: impl Into<String>) -> UploadOption<'static> {
    UploadOption::text("content_language", "content-language", value.into())
}

/// The object's `Expires`, in whole seconds. Limit: the years 1970 to 9999. Defaults to none.
///
/// A checkpoint remembers it: a time that is computed from the current time restarts the upload on
/// every call. OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// let new_year_2030 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000);
/// let options = [oss_upload::expires(new_year_2030)];
/// # drop(options);
/// ```
pub fn expires(at: SystemTime) -> UploadOption<'static> {
    UploadOption::new("expires", format!("{at:?}"), move |config| {
        config.headers.set_expires(at)
    })
}

// ---- metadata and storage -----------------------------------------------------------------------

/// An entry of user metadata, `x-oss-meta-<name>`. May be given many times. Defaults to none.
///
/// The name may have ASCII letters, digits and `-`; it is sent in lower case, and may be given with
/// its prefix. Characters outside ASCII in the value are percent-encoded; spaces and tabs at its
/// ends are removed, since HTTP does not transport them. Limit: no empty value; 90 entries; fewer
/// than 8,192 bytes of names and encoded values in all. OSS API: InitiateMultipartUpload,
/// PutObject.
///
/// ```
/// use oss_upload::meta;
///
/// let options = [meta("author", "li"), meta("build", "1024")];
/// # drop(options);
/// ```
#[doc(alias = "addUserMetadata")]
#[doc(alias = "metas")]
#[doc(alias = "x-oss-meta")]
pub fn meta(name: impl Into<String>, value: impl Into<String>) -> UploadOption<'static> {
    let (name, value) = (name.into(), value.into());
    UploadOption::new("meta", format!("{name:?}, {value:?}"), move |config| {
        config.headers.add_meta(&name, &value)
    })
}

/// A tag of the object (`x-oss-tagging`). May be given many times. Defaults to none.
///
/// Limit: 10 tags, with keys of up to 128 and values of up to 256 characters: letters, digits,
/// spaces and `+ - = . _ : /`. It needs `oss:PutObjectTagging`. OSS API: InitiateMultipartUpload,
/// PutObject.
///
/// ```
/// use oss_upload::tag;
///
/// let options = [tag("team", "storage"), tag("keep", "1y")];
/// # drop(options);
/// ```
#[doc(alias = "SetTagging")]
#[doc(alias = "setTagging")]
#[doc(alias = "x-oss-tagging")]
pub fn tag(key: impl Into<String>, value: impl Into<String>) -> UploadOption<'static> {
    let (key, value) = (key.into(), value.into());
    UploadOption::new("tag", format!("{key:?}, {value:?}"), move |config| {
        config.headers.add_tag(&key, &value)
    })
}

/// The object's ACL (`x-oss-object-acl`). Defaults to the ACL of the bucket.
///
/// It is sent with the request that initiates the upload and with the one that completes it. OSS
/// API: InitiateMultipartUpload, CompleteMultipartUpload, PutObject.
///
/// ```
/// use oss_upload::{ObjectAcl, object_acl};
///
/// let options = [object_acl(ObjectAcl::Private)];
/// # drop(options);
/// ```
#[doc(alias = "setAcl")]
#[doc(alias = "x-oss-object-acl")]
pub fn object_acl(acl: ObjectAcl) -> UploadOption<'static> {
    UploadOption::new(
        "object_acl",
        format!("{:?}", acl_value(acl)),
        move |config| {
            config.headers.set_object_acl(acl);
            Ok(())
        },
    )
}

/// The object's storage class (`x-oss-storage-class`). Defaults to that of the bucket. OSS API:
/// InitiateMultipartUpload, PutObject.
///
/// ```
/// use oss_upload::{StorageClass, storage_class};
///
/// let options = [storage_class(StorageClass::InfrequentAccess)];
/// # drop(options);
/// ```
#[doc(alias = "ObjectStorageClass")]
#[doc(alias = "x-oss-storage-class")]
pub fn storage_class(class: StorageClass) -> UploadOption<'static> {
    UploadOption::new(
        "storage_class",
        format!("{:?}", storage_class_value(class)),
        move |config| {
            config.headers.set_storage_class(class);
            Ok(())
        },
    )
}

/// Server-side encryption (`x-oss-server-side-encryption` and, for KMS, the id of the key).
/// Defaults to that of the bucket.
///
/// KMS needs `kms:GenerateDataKey` and `kms:Decrypt`. OSS API: InitiateMultipartUpload, PutObject.
///
/// ```
/// use oss_upload::{ServerSideEncryption, server_side_encryption};
///
/// let options = [server_side_encryption(ServerSideEncryption::Aes256)];
/// # drop(options);
/// ```
#[doc(alias = "ServerSideEncryptionKeyID")]
#[doc(alias = "x-oss-server-side-encryption")]
pub fn server_side_encryption(encryption: ServerSideEncryption) -> UploadOption<'static> {
    UploadOption::new(
        "server_side_encryption",
        format!("{encryption:?}"),
        move |config| config.headers.set_encryption(encryption),
    )
}

// ---- safety -------------------------------------------------------------------------------------

/// Fails with `FileAlreadyExists` if an object of this key exists, instead of overwriting it
/// (`x-oss-forbid-overwrite`). Defaults to `false`.
///
/// OSS checks it when the upload is initiated and again when it is completed. In a bucket with
/// versioning, enabled or suspended, OSS ignores it: nothing is lost there. OSS API:
/// InitiateMultipartUpload, CompleteMultipartUpload, PutObject.
///
/// ```
/// let options = [oss_upload::forbid_overwrite(true)];
/// # drop(options);
/// ```
#[doc(alias = "ForbidOverWrite")]
#[doc(alias = "x-oss-forbid-overwrite")]
pub fn forbid_overwrite(forbid: bool) -> UploadOption<'static> {
    UploadOption::flag(
        "forbid_overwrite",
        forbid,
        UploadConfig::set_forbid_overwrite,
    )
}

/// Sends `Content-MD5` with every part, or with the single PutObject. Defaults to `false`.
///
/// It costs a second reading of the file and the time of an MD5
/// ([`docs::costs`](crate::docs::costs)). CRC-64 is always compared. With `Content-MD5`, OSS
/// rejects bytes that were damaged in transit before it stores them; without it, a damaged
/// PutObject is detected, and sent again, after it has replaced the object. OSS API: UploadPart,
/// PutObject.
///
/// ```
/// let options = [oss_upload::content_md5(true)];
/// # drop(options);
/// ```
#[doc(alias = "EnableMD5")]
#[doc(alias = "disabledMD5")]
pub fn content_md5(send: bool) -> UploadOption<'static> {
    UploadOption::flag("content_md5", send, |config, on| config.content_md5 = on)
}

/// Sends nothing if the object already is the file. Defaults to `false`.
///
/// Before anything else, HeadObject asks what the object is. Nothing is sent if all of this is so:
///
/// * The object has the size of the file.
/// * It has every property that the call sets and that HeadObject reports: content headers, metadata, storage class and
///   encryption. The content type is one of them, even where it is guessed. Properties that the call does not set may be
///   anything.
/// * It has the CRC-64 of the file, which is read for that, by as many threads as [`routines`] says.
///
/// Then [`Uploaded::skipped`](crate::Uploaded::skipped) is true, the only event of [`progress`] is `Completed`, and what
/// an earlier call left is cleaned up: its unfinished upload is aborted, and its checkpoint is removed.
///
/// The file is sent if there is no object or it differs, if OSS reports no CRC-64, or if the call may not look at it
/// (logged as a warning). It is sent without a look if the call sets what HeadObject does not report: [`object_acl`],
/// [`tag`] or [`callback`].
///
/// It costs one request, and one reading of the file if everything but the CRC-64 is equal; two if the file was changed
/// within the last two seconds. Needs the permission `oss:GetObject`. With [`forbid_overwrite`], an object that already is
/// the file is a success, whoever uploaded it.
///
/// CRC-64 guards against accidents, not against attackers: whoever may write the object can give other content of the same
/// size the same CRC-64. OSS API: HeadObject.
///
/// ```no_run
/// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
/// use oss_upload::skip_unchanged;
///
/// let options = [skip_unchanged(true)];
/// let uploaded = bucket.upload_file("file.bin", "file.bin", 8 << 20, options)?;
/// if uploaded.skipped {
///     println!("{} is up to date", uploaded.key);
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias = "update")]
pub fn skip_unchanged(skip: bool) -> UploadOption<'static> {
    UploadOption::flag("skip_unchanged", skip, |config, on| {
        config.skip_unchanged = on
    })
}

// ---- after the upload, and who pays -------------------------------------------------------------

/// A request that OSS makes to an application server when the object is complete (`x-oss-callback`,
/// `x-oss-callback-var`). Defaults to none.
///
/// The response of the server is in [`Uploaded::callback_body`](crate::Uploaded::callback_body). If
/// the server does not accept, the object is complete nevertheless, and the call returns
/// [`Error::Callback`](crate::Error::Callback). OSS API: Callback.
///
/// ```
/// use oss_upload::{Callback, callback};
///
/// let notify = Callback::new("https://app.example.com/uploaded", "object=${object}&size=${size}");
/// let options = [callback(notify)];
/// # drop(options);
/// ```
#[doc(alias = "callbackParam")]
#[doc(alias = "setCallback")]
pub fn callback(callback: Callback) -> UploadOption<'static> {
    UploadOption::new("callback", format!("{callback:?}"), move |config| {
        config.headers.set_callback(&callback)
    })
}

/// The requester pays for the requests, not the owner of the bucket
/// (`x-oss-request-payer: requester`). Defaults to `false`.
///
/// It is sent with every request. OSS documentation: "Pay-by-requester".
///
/// ```
/// let options = [oss_upload::request_payer(true)];
/// # drop(options);
/// ```
#[doc(alias = "RequestPayer")]
#[doc(alias = "x-oss-request-payer")]
pub fn request_payer(requester: bool) -> UploadOption<'static> {
    UploadOption::flag("request_payer", requester, |config, on| {
        config.headers.set_request_payer(on)
    })
}

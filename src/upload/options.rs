//! The options of an upload: functions that return opaque values.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::progress::Progress;
use crate::callback::Callback;
use crate::cancel::CancelToken;

/// One option of [`Bucket::upload_file`](crate::Bucket::upload_file), made by the functions of this crate's root.
///
/// Options are given as anything that can be iterated: an array, `[]` for none, a `Vec`, an `Option`, a chain. Of an
/// option that is given twice the later one counts; [`meta`] and [`tag`] add up, by their names. The functions themselves
/// never fail: values are checked when the call begins, before any request, and a wrong one is
/// [`Error::InvalidOption`](crate::Error::InvalidOption) with the option's name.
///
/// An option is neither `Clone` nor `Send`, since it may hold a callback. To use the same ones again, make a function
/// of them:
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
pub struct UploadOption<'a>(pub(super) Setting<'a>);

pub(super) enum Setting<'a> {
    Routines(usize),
    Checkpoint(CheckpointChoice<'a>),
    Progress(super::progress::Callback<'a>),
    Cancel(CancelToken),
    Flag(Flag, bool),
    MultipartThreshold(u64),
    Callback(Callback),
    Header {
        option: &'static str,
        header: &'static str,
        value: String,
    },
    Expires(SystemTime),
    Meta(String, String),
    Tag(String, String),
    Encryption(ServerSideEncryption),
    TrafficLimit(u64),
    BandwidthLimit(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    DeleteUploadOnCancelling,
    Sequential,
    ContentMd5,
    VerifyOnResume,
    AdoptUnfinished,
    ForbidOverwrite,
    RequestPayer,
}

impl Flag {
    /// The option's function.
    fn name(self) -> &'static str {
        match self {
            Flag::DeleteUploadOnCancelling => "delete_upload_on_cancelling",
            Flag::Sequential => "sequential",
            Flag::ContentMd5 => "content_md5",
            Flag::VerifyOnResume => "verify_on_resume",
            Flag::AdoptUnfinished => "adopt_unfinished",
            Flag::ForbidOverwrite => "forbid_overwrite",
            Flag::RequestPayer => "request_payer",
        }
    }
}

pub(super) enum CheckpointChoice<'a> {
    Off,
    /// Empty: beside the source.
    File(PathBuf),
    Dir(PathBuf),
    Store(Box<dyn CheckpointStore + 'a>),
}

/// A place for the record of an upload that is not a file: a row of a database, memory.
///
/// The record is a short UTF-8 text without credentials, about 70 bytes a part; its form is in
/// [`docs::checkpoint_format`](crate::docs::checkpoint_format). It is loaded once, at the beginning of a call, saved when
/// the upload has begun, at most once a second, before it is completed and on the way out, and removed when the object is
/// complete. All calls come from the calling thread. JavaScript: the `checkpoint` object; Python: a `store` of one's own.
///
/// The example `sqlite-store` keeps it in a database.
pub trait CheckpointStore {
    /// The text that was saved last; `None` if there is none.
    ///
    /// # Errors
    /// Whatever keeps the store from telling; the upload is not begun.
    fn load(&mut self) -> io::Result<Option<String>>;
    /// Replaces the text as a whole. When this returns, it should survive a crash.
    ///
    /// # Errors
    /// Whatever keeps the store from saving; the upload fails with [`Error::Checkpoint`](crate::Error::Checkpoint).
    fn save(&mut self, text: &str) -> io::Result<()>;
    /// Forgets the text; no error if there is none.
    ///
    /// # Errors
    /// Whatever keeps the store from forgetting. It is logged; the upload succeeds all the same.
    fn remove(&mut self) -> io::Result<()>;
}

impl<T: CheckpointStore + ?Sized> CheckpointStore for &mut T {
    fn load(&mut self) -> io::Result<Option<String>> {
        (**self).load()
    }
    fn save(&mut self, text: &str) -> io::Result<()> {
        (**self).save(text)
    }
    fn remove(&mut self) -> io::Result<()> {
        (**self).remove()
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
    /// What the bucket's ACL says.
    Default,
}

/// How the object is stored and billed (`x-oss-storage-class`). OSS API: InitiateMultipartUpload, PutObject.
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

/// How OSS encrypts the object (`x-oss-server-side-encryption`). OSS API: InitiateMultipartUpload, PutObject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerSideEncryption {
    /// Keys that OSS manages.
    Aes256,
    /// Keys of the Key Management Service.
    Kms {
        /// The customer master key; `None` for the one that KMS gives by default.
        key_id: Option<String>,
    },
    /// The SM4 algorithm.
    Sm4,
}

/// How many parts go up at the same time, each on a thread and a connection of its own. Limit: 1 to 100. Defaults to 1.
///
/// Go: `oss.Routines`; Go v2: `ParallelNum`; Java: `taskNum`; Python: `num_threads`; JavaScript: `parallel`; C#:
/// `ParallelThreadCount`; Android, iOS, C++: `threadNum`; C: `thread_num`; Ruby: `:threads`. Go clamps what is outside its
/// limits; here it is an error.
pub fn routines(n: usize) -> UploadOption<'static> {
    UploadOption(Setting::Routines(n))
}

/// Whether the upload is recorded in a file, so that the same call carries it on after a crash, and in which. Defaults
/// to `false`.
///
/// An empty `path` means `<file>.cp` beside the source. The file is made before the first request, readable
/// by its owner only, locked while the call runs, and removed when the object is complete. Of `checkpoint`,
/// [`checkpoint_dir`] and [`checkpoint_store`] the last one counts. Limit: a regular file, or nothing yet, in a directory
/// that exists and can be written; not the source itself.
///
/// One file to two keys at the same time needs two records: use [`checkpoint_dir`]. A file that goes up in one PutObject
/// is not recorded. What it survives, and when it is stale: [`docs::checkpoint_format`](crate::docs::checkpoint_format).
///
/// Go: `oss.Checkpoint`; Java: `enableCheckpoint` and `checkpointFile`; C: `enable_checkpoint` and `checkpoint_path`; Ruby:
/// `:cpt_file`. OSS documentation: "Resumable upload" of each SDK.
pub fn checkpoint(enable: bool, path: impl Into<PathBuf>) -> UploadOption<'static> {
    choice(enable, CheckpointChoice::File(path.into()))
}

/// As [`checkpoint`], in a directory, which is made if it is missing. Defaults to `false`.
///
/// The file's name is made from bucket, key and the source's absolute path, so one directory serves many uploads; for an
/// open file from bucket and key.
///
/// Go: `oss.CheckpointDir`; Go v2: `EnableCheckpoint` and `CheckpointDir`; C#: `CheckpointDir`; C++: `checkpointDir`;
/// Python: `ResumableStore`; Android: `recordDirectory`; iOS: `recordDirectoryPath`.
pub fn checkpoint_dir(enable: bool, dir: impl Into<PathBuf>) -> UploadOption<'static> {
    choice(enable, CheckpointChoice::Dir(dir.into()))
}

fn choice(enable: bool, choice: CheckpointChoice<'static>) -> UploadOption<'static> {
    UploadOption(Setting::Checkpoint(if enable {
        choice
    } else {
        CheckpointChoice::Off
    }))
}

/// As [`checkpoint`], in a store of the caller's; lend it with `&mut` to use it again. Defaults to none.
///
/// Two calls must not use one store at the same time: nothing locks it. JavaScript: `checkpoint`; Python: `store`.
pub fn checkpoint_store<'a>(store: impl CheckpointStore + 'a) -> UploadOption<'a> {
    UploadOption(Setting::Checkpoint(CheckpointChoice::Store(Box::new(
        store,
    ))))
}

/// Called on the calling thread: when the upload begins, with every part, at most ten times a second in between, and
/// at the end. Defaults to none.
///
/// It may borrow what is around it and need not be `Send`. The threads go on meanwhile, but nothing is recorded until it
/// returns, and after two parts each they wait for it: be quick. If it panics, the upload stops as a cancelled one that is
/// kept, and the panic goes on. The bytes in [`Progress`] never go back.
///
/// Go: `oss.Progress`; Go v2: `ProgressFn`; Java: `progressListener`; Python: `progress_callback`; JavaScript: `progress`;
/// C#: `StreamTransferProgress`; Android: `setProgressCallback`; iOS: `uploadProgress`; C++: `setTransferProgress`;
/// C: `progress_callback`; Ruby: the block.
pub fn progress<'a>(callback: impl FnMut(&Progress) + 'a) -> UploadOption<'a> {
    UploadOption(Setting::Progress(Box::new(callback)))
}

/// Lets `token` stop the upload. The call returns [`Error::Cancelled`](crate::Error::Cancelled) within a second or
/// two; only a name lookup or a TCP connect in progress may take
/// [`connect_timeout`](crate::ClientBuilder::connect_timeout). Defaults to none.
///
/// Cancelled in the very moment in which OSS begins the upload, its id may never arrive here: what a lifecycle rule for
/// unfinished parts is for (see [`docs::permissions`](crate::docs::permissions)).
///
/// Go v2: `context.Context`; JavaScript: `client.cancel()`; Android: `OSSAsyncTask.cancel()`; iOS: `cancel`; C++:
/// `DisableRequest`.
pub fn cancel(token: &CancelToken) -> UploadOption<'static> {
    UploadOption(Setting::Cancel(token.clone()))
}

/// Whether cancelling deletes the record and the parts that OSS has (best effort: one attempt of one second). With
/// `false` the same call carries on later. Defaults to `true`, as on Android and iOS. Without a record the parts are
/// always deleted.
///
/// Only a cancel deletes; any other failure keeps both. Android: `setDeleteUploadOnCancelling`; iOS:
/// `deleteUploadIdOnCancelling`. OSS API: AbortMultipartUpload.
pub fn delete_upload_on_cancelling(delete: bool) -> UploadOption<'static> {
    flag(Flag::DeleteUploadOnCancelling, delete)
}

/// Files smaller than this many bytes go up in one PutObject. Limit: [`PART_SIZE_MAX`](crate::PART_SIZE_MAX). Defaults to
/// what one part holds, inclusive: a file of exactly `part_size` bytes is one PutObject.
///
/// An empty file is always one PutObject; with `0` every other file goes up in parts. A PutObject that is interrupted
/// begins again. Python: `multipart_threshold`. OSS API: PutObject.
pub fn multipart_threshold(bytes: u64) -> UploadOption<'static> {
    UploadOption(Setting::MultipartThreshold(bytes))
}

/// Parts go up one after the other, and OSS gives the object an ETag that is its MD5. Defaults to `false`.
///
/// Limit: not together with [`routines`] above 1. In such an upload a part can't be replaced: if OSS holds one with other
/// bytes, the call starts over. Go: `oss.Sequential`; Java: `sequentialMode`; Python: `params={'sequential': ''}`; Android:
/// `sequenceUpload`; iOS: `sequentialMultipartUpload`. OSS API: InitiateMultipartUpload (`?sequential`).
pub fn sequential(sequential: bool) -> UploadOption<'static> {
    flag(Flag::Sequential, sequential)
}

/// Send `Content-MD5` with every part, or with the single PutObject. Defaults to `false`.
///
/// It costs a second reading of the file, and the time of an MD5 ([`docs::costs`](crate::docs::costs)); CRC-64 is always
/// checked. With it, OSS refuses bytes that were damaged on their way before it stores them; without it, a damaged
/// PutObject is noticed, and sent again, after it has replaced the object.
///
/// Go: `oss.EnableMD5`; JavaScript: `disabledMD5: false`; Android and iOS always send it. OSS API: UploadPart, PutObject.
pub fn content_md5(send: bool) -> UploadOption<'static> {
    flag(Flag::ContentMd5, send)
}

/// Before trusting recorded parts, read them again and compare their CRC-64. Defaults to `false`.
///
/// Done anyway where the file's ctime, device or inode differ from the record, and for parts that the record does not
/// know. Choose it where even the inode can't be trusted: some network and overlay file systems. It costs one reading of
/// what is already there. No SDK has it.
pub fn verify_on_resume(verify: bool) -> UploadOption<'static> {
    flag(Flag::VerifyOnResume, verify)
}

/// Without a record at hand, as on a fresh machine: look on the server for the newest unfinished upload of this key,
/// and take over the parts whose content is proven equal. Defaults to `false`.
///
/// For keys that one job writes, with the same options each time: the object gets the headers that the adopted
/// upload was begun with, and OSS does not tell them. With it, a failure leaves the upload on the server for the next
/// machine, and cancelling deletes it only if this call began it.
///
/// It needs `oss:ListMultipartUploads` and `oss:ListParts` ([`docs::permissions`](crate::docs::permissions)). No SDK has
/// it. OSS API: ListMultipartUploads, ListParts.
pub fn adopt_unfinished(adopt: bool) -> UploadOption<'static> {
    flag(Flag::AdoptUnfinished, adopt)
}

/// Never overwrite an object of this key; the upload fails with `FileAlreadyExists` (`x-oss-forbid-overwrite`).
/// Defaults to `false`.
///
/// It is judged when the upload begins and again when it is completed. In a bucket with versioning, enabled or suspended,
/// OSS ignores it: nothing is lost there. Go: `oss.ForbidOverWrite`; elsewhere a header. OSS API: InitiateMultipartUpload,
/// CompleteMultipartUpload, PutObject.
pub fn forbid_overwrite(forbid: bool) -> UploadOption<'static> {
    flag(Flag::ForbidOverwrite, forbid)
}

/// The requester pays for the requests, not the bucket's owner (`x-oss-request-payer: requester`). Defaults to `false`.
///
/// It goes with every request. Go: `oss.RequestPayer`; Java, C#, C++: `RequestPayer`; Python, Android, iOS, Ruby: a header.
/// OSS documentation: "Pay-by-requester".
pub fn request_payer(requester: bool) -> UploadOption<'static> {
    flag(Flag::RequestPayer, requester)
}

fn flag(flag: Flag, on: bool) -> UploadOption<'static> {
    UploadOption(Setting::Flag(flag, on))
}

/// A request that OSS makes to an application server when the object is complete (`x-oss-callback`,
/// `x-oss-callback-var`). Defaults to none.
///
/// What the server answered is in [`Uploaded::callback_body`](crate::Uploaded::callback_body). If it does not accept, the
/// object is complete all the same, and the call returns [`Error::Callback`](crate::Error::Callback). Go: `oss.Callback`;
/// Java, JavaScript, Ruby: `callback`; Android, iOS: `callbackParam`; C++: `setCallback`. OSS API: Callback.
pub fn callback(callback: Callback) -> UploadOption<'static> {
    UploadOption(Setting::Callback(callback))
}

/// The object's `Content-Type`. Limit: ASCII without control characters, as for all headers here. Defaults to a guess
/// from the file's name, then from the key, then `application/octet-stream`.
///
/// Go: `oss.ContentType`; Java, C#, Android: `ObjectMetadata`; JavaScript: `mime`; Ruby: `:content_type`. OSS API:
/// InitiateMultipartUpload, PutObject.
pub fn content_type(value: impl Into<String>) -> UploadOption<'static> {
    header("content_type", "content-type", value)
}

/// The object's `Cache-Control`. Defaults to none. Go: `oss.CacheControl`. OSS API: InitiateMultipartUpload, PutObject.
pub fn cache_control(value: impl Into<String>) -> UploadOption<'static> {
    header("cache_control", "cache-control", value)
}

/// The object's `Content-Disposition`. Defaults to none. A name outside ASCII is written `filename*=UTF-8''…`,
/// percent-encoded. Go: `oss.ContentDisposition`. OSS API: InitiateMultipartUpload, PutObject.
pub fn content_disposition(value: impl Into<String>) -> UploadOption<'static> {
    header("content_disposition", "content-disposition", value)
}

/// The object's `Content-Encoding`. Defaults to none. The file is sent as it is: compress it yourself. Go:
/// `oss.ContentEncoding`. OSS API: InitiateMultipartUpload, PutObject.
pub fn content_encoding(value: impl Into<String>) -> UploadOption<'static> {
    header("content_encoding", "content-encoding", value)
}

/// The object's `Content-Language`. Defaults to none. Go: `oss.ContentLanguage`. OSS API: PutObject.
pub fn content_language(value: impl Into<String>) -> UploadOption<'static> {
    header("content_language", "content-language", value)
}

/// The object's `Expires`, in whole seconds. Limit: the years 1970 to 9999. Defaults to none.
///
/// It is part of what a record remembers: a time that is computed from now starts the upload over on every run. Go:
/// `oss.Expires`; C++: `setExpires`. OSS API: InitiateMultipartUpload, PutObject.
pub fn expires(at: SystemTime) -> UploadOption<'static> {
    UploadOption(Setting::Expires(at))
}

/// User metadata, `x-oss-meta-<name>`; may be given many times. Defaults to none.
///
/// The name may have letters, digits, `-`, `_` and `.` of ASCII; it is sent in lower case, and may come with its prefix.
/// Characters outside ASCII in the value are percent-encoded. Limit: 8 KiB of names and encoded values, all together.
/// Go: `oss.Meta`; Java, Android: `addUserMetadata`; JavaScript: `meta`; Ruby: `:metas`. OSS API:
/// InitiateMultipartUpload, PutObject.
pub fn meta(name: impl Into<String>, value: impl Into<String>) -> UploadOption<'static> {
    UploadOption(Setting::Meta(name.into(), value.into()))
}

/// The object's ACL (`x-oss-object-acl`). Defaults to the bucket's.
///
/// It goes with the request that begins the upload and with the one that completes it. Go: `oss.ObjectACL`; C++: `setAcl`.
/// OSS API: InitiateMultipartUpload, CompleteMultipartUpload, PutObject.
pub fn object_acl(acl: ObjectAcl) -> UploadOption<'static> {
    header(
        "object_acl",
        "x-oss-object-acl",
        match acl {
            ObjectAcl::Private => "private",
            ObjectAcl::PublicRead => "public-read",
            ObjectAcl::PublicReadWrite => "public-read-write",
            ObjectAcl::Default => "default",
        },
    )
}

/// The object's storage class (`x-oss-storage-class`). Defaults to the bucket's. Go: `oss.ObjectStorageClass`. OSS API:
/// InitiateMultipartUpload, PutObject.
pub fn storage_class(class: StorageClass) -> UploadOption<'static> {
    header(
        "storage_class",
        "x-oss-storage-class",
        match class {
            StorageClass::Standard => "Standard",
            StorageClass::InfrequentAccess => "IA",
            StorageClass::Archive => "Archive",
            StorageClass::ColdArchive => "ColdArchive",
            StorageClass::DeepColdArchive => "DeepColdArchive",
        },
    )
}

fn header(
    option: &'static str,
    header: &'static str,
    value: impl Into<String>,
) -> UploadOption<'static> {
    UploadOption(Setting::Header {
        option,
        header,
        value: value.into(),
    })
}

/// A tag of the object (`x-oss-tagging`); may be given many times. Defaults to none.
///
/// Limit: 10 tags, with keys of up to 128 and values of up to 256 characters: letters, digits, spaces and `+ - = . _ : /`.
/// It needs `oss:PutObjectTagging`. Go: `oss.SetTagging`; C++: `setTagging`. OSS API: InitiateMultipartUpload, PutObject.
pub fn tag(key: impl Into<String>, value: impl Into<String>) -> UploadOption<'static> {
    UploadOption(Setting::Tag(key.into(), value.into()))
}

/// Server-side encryption (`x-oss-server-side-encryption` and, for KMS, its key id). Defaults to the bucket's.
///
/// With KMS it needs `kms:GenerateDataKey` and `kms:Decrypt`. Go: `oss.ServerSideEncryption` and
/// `oss.ServerSideEncryptionKeyID`. OSS API: InitiateMultipartUpload, PutObject.
pub fn server_side_encryption(encryption: ServerSideEncryption) -> UploadOption<'static> {
    UploadOption(Setting::Encryption(encryption))
}

/// The bandwidth that OSS allows each connection of this upload, in bits per second (`x-oss-traffic-limit`). Defaults to
/// none.
///
/// Limit: 245,760 to 838,860,800 here. OSS documents 819,200 (100 KB/s) as the smallest, and may refuse what is below
/// with `InvalidArgument`. With [`routines`] the whole may be as many times as much. Go: `oss.TrafficLimitHeader`; Java,
/// C#, C++: `TrafficLimit`. OSS documentation: "Single-connection bandwidth throttling".
pub fn traffic_limit(bits_per_second: u64) -> UploadOption<'static> {
    UploadOption(Setting::TrafficLimit(bits_per_second))
}

/// The bandwidth that this call uses at most, all its threads together, in **bytes** per second. Limit: 1,024 at least.
/// Defaults to none.
///
/// It is kept on this side, by waiting. Go: `LimitUploadSpeed`, in KB/s for the whole client; Go v2:
/// `UploadBandwidthlimit`; C++: `sendRateLimiter`.
pub fn bandwidth_limit(bytes_per_second: u64) -> UploadOption<'static> {
    UploadOption(Setting::BandwidthLimit(bytes_per_second))
}

impl fmt::Debug for UploadOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Setting::Routines(n) => write!(f, "routines({n})"),
            Setting::Checkpoint(CheckpointChoice::Off) => write!(f, "checkpoint(false, ..)"),
            Setting::Checkpoint(CheckpointChoice::File(path)) => {
                write!(f, "checkpoint(true, {path:?})")
            }
            Setting::Checkpoint(CheckpointChoice::Dir(dir)) => {
                write!(f, "checkpoint_dir(true, {dir:?})")
            }
            Setting::Checkpoint(CheckpointChoice::Store(_)) => write!(f, "checkpoint_store(..)"),
            Setting::Progress(_) => write!(f, "progress(..)"),
            Setting::Cancel(token) => write!(f, "cancel({token:?})"),
            Setting::Flag(flag, on) => write!(f, "{}({on})", flag.name()),
            Setting::MultipartThreshold(bytes) => write!(f, "multipart_threshold({bytes})"),
            Setting::Callback(callback) => write!(f, "callback({callback:?})"),
            Setting::Header { option, value, .. } => write!(f, "{option}({value:?})"),
            Setting::Expires(at) => write!(f, "expires({at:?})"),
            Setting::Meta(name, value) => write!(f, "meta({name:?}, {value:?})"),
            Setting::Tag(key, value) => write!(f, "tag({key:?}, {value:?})"),
            Setting::Encryption(encryption) => write!(f, "server_side_encryption({encryption:?})"),
            Setting::TrafficLimit(limit) => write!(f, "traffic_limit({limit})"),
            Setting::BandwidthLimit(limit) => write!(f, "bandwidth_limit({limit})"),
        }
    }
}

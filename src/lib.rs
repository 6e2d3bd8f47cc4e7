//! [CHANGELOG.md]: https://github.com/oss-upload/oss-upload/blob/main/CHANGELOG.md
//! [CONTRIBUTING.md]: https://github.com/oss-upload/oss-upload/blob/main/CONTRIBUTING.md
//! [LICENSE-APACHE]: https://github.com/oss-upload/oss-upload/blob/main/LICENSE-APACHE
//! [LICENSE-MIT]: https://github.com/oss-upload/oss-upload/blob/main/LICENSE-MIT
//! [background]: docs::background
//! [checkpoint_format]: docs::checkpoint_format
//! [coming_from]: docs::coming_from
//! [comparison]: docs::comparison
//! [costs]: docs::costs
//! [permissions]: docs::permissions
//! [static_binaries]: docs::static_binaries
//! [troubleshooting]: docs::troubleshooting
//! [which_call]: docs::which_call
//!
#![doc = include_str!("../README.md")]
//!
//! ## Where to start in this reference
//!
//! * [`Client::from_env`] and [`Client::builder`] make a client,
//!   [`Client::bucket`] names the bucket.
//! * [`Bucket::upload_file`] uploads a file, and [`Bucket::upload_dir`] a tree.
//!   Their options are the functions of this page, such as [`routines`],
//!   [`checkpoint()`], [`progress`] and [`cancel()`].
//! * [`docs::which_call`] helps to choose the call and its options.
//! * [`Uploaded`] is the result, [`Error`] says what went wrong, and
//!   [`Error::is_resumable`] whether the same call may succeed later.
//! * [`docs`] has pages to read.
#![warn(unreachable_pub)]

mod bucket;
mod client;
mod protocol;
#[cfg(feature = "credential-providers")]
mod providers;
mod sign;
mod transport;
mod upload;

mod callback;
mod cancel;
mod crc64;
#[cfg(not(feature = "credential-providers"))]
mod credentials;
mod encoding;
mod endpoint;
mod error;
mod md5_digest;
mod names;
mod part;
mod time;
mod uploaded;

#[cfg(feature = "credential-providers")]
pub mod credentials;
pub mod docs;

// Not part of the public API: it is for the benchmarks of this repository.
#[cfg(feature = "_bench")]
#[doc(hidden)]
pub mod _bench;

pub use bucket::Bucket;
pub use callback::Callback;
pub use cancel::CancelToken;
pub use client::{BandwidthLimit, Client, ClientBuilder};
pub use credentials::{Credentials, ProvideCredentials};
pub use error::{Error, Operation, Result, ServiceError};
pub use part::{PART_SIZE_MAX, PART_SIZE_MIN, PARTS_MAX, determine_part_size};
pub use protocol::list_uploads::MultipartUpload;
pub use protocol::retry::RetryPolicy;
pub use sign::SignatureVersion;
pub use upload::checkpoint::CheckpointStore;
pub use upload::options::{
    ObjectAcl, ServerSideEncryption, StorageClass, UploadOption, adopt_unfinished, bandwidth_limit,
    cache_control, callback, cancel, checkpoint, checkpoint_dir, checkpoint_store,
    content_disposition, content_encoding, content_language, content_md5, content_type,
    delete_upload_on_cancelling, expires, forbid_overwrite, meta, multipart_threshold, object_acl,
    progress, request_payer, routines, sequential, server_side_encryption, skip_unchanged,
    storage_class, tag, traffic_limit, verify_on_resume,
};
pub use upload::pending::{PendingUpload, pending_uploads};
pub use upload::progress::{Progress, ProgressEvent, RestartReason};
pub use upload::source::part_size_for;
pub use upload::tree::UploadedDir;
pub use uploaded::Uploaded;

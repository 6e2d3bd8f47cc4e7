//! [`adopt_unfinished`]: adopt_unfinished
//! [background]: docs::background
//! [checkpoint]: checkpoint()
//! [checkpoint_format]: docs::checkpoint_format
//! [coming_from]: docs::coming_from
//! [comparison]: docs::comparison
//! [costs]: docs::costs
//! [permissions]: docs::permissions
//! [static_binaries]: docs::static_binaries
//! [troubleshooting]: docs::troubleshooting
//!
#![doc = include_str!("../README.md")]
#![warn(unreachable_pub)]

mod bucket;
mod client;
mod protocol;
mod sign;
mod transport;
mod upload;

mod callback;
mod cancel;
mod crc64;
mod credentials;
mod encoding;
mod endpoint;
mod error;
mod md5_digest;
mod names;
mod part;
mod time;
mod uploaded;

pub mod docs;

pub use bucket::Bucket;
pub use callback::Callback;
pub use cancel::CancelToken;
pub use client::{Client, ClientBuilder};
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
    progress, request_payer, routines, sequential, server_side_encryption, storage_class, tag,
    traffic_limit, verify_on_resume,
};
pub use upload::progress::{Progress, ProgressEvent, RestartReason};
pub use uploaded::Uploaded;

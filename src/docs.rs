//! Pages to read. There is no code here.
//!
//! 1. [`coming_from`]: the official SDKs' resumable uploads, parameter by
//!    parameter, each with a snippet.
//! 2. [`permissions`]: RAM actions, an STS policy, and the lifecycle rule that
//!    deletes unfinished uploads.
//! 3. [`troubleshooting`]: the messages that people meet, their causes, and
//!    what to do.
//! 4. [`background`]: an upload on a thread of its own.
//! 5. [`checkpoint_format`]: the checkpoint's text, its life on disk, and the
//!    failures it survives.
//! 6. [`comparison`]: what the official SDKs and other crates do, with file and
//!    line.
//! 7. [`costs`] and [`static_binaries`]: measurements.

#[doc = include_str!("docs/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("docs/checkpoint_format.md")]
pub mod checkpoint_format {}

#[doc = include_str!("docs/permissions.md")]
pub mod permissions {}

#[doc = include_str!("docs/troubleshooting.md")]
pub mod troubleshooting {}

#[doc = include_str!("docs/background.md")]
pub mod background {}

#[doc = include_str!("docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("docs/costs.md")]
pub mod costs {}

#[doc = include_str!("docs/static_binaries.md")]
pub mod static_binaries {}

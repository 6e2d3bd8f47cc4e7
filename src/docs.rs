//! Pages to read. There is no code here.
//!
//! 1. [`which_call`]: a file, a tree, bytes, a stream or an open file; once or
//!    repeatedly; with or without a checkpoint; who signs.
//! 2. [`coming_from`]: the official SDKs' resumable uploads, parameter by
//!    parameter, each with a snippet.
//! 3. [`permissions`]: RAM actions, an STS policy, and the lifecycle rule that
//!    deletes unfinished uploads.
//! 4. [`troubleshooting`]: the messages that people meet, their causes, and
//!    what to do.
//! 5. [`background`]: an upload on a thread of its own.
//! 6. [`checkpoint_format`]: the checkpoint's text, its life on disk, and the
//!    failures it survives.
//! 7. [`comparison`]: what the official SDKs and other crates do, with file and
//!    line.
//! 8. [`costs`] and [`static_binaries`]: measurements.

#[doc = include_str!("docs/which_call.md")]
pub mod which_call {}

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

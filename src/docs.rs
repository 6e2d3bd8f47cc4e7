//! Pages to read; there is no code here.

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

#[doc = include_str!("docs/costs.md")]
pub mod costs {}

#[doc = include_str!("docs/static_binaries.md")]
pub mod static_binaries {}

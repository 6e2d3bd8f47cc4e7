//! A strict local stand-in for Alibaba Cloud OSS.
//!
//! [`LocalOss::start`] runs a server on a free port of the loopback interface. It verifies the
//! signature of every request, keeps objects in memory or in a directory, and injects faults on
//! request:
//!
//! ```
//! use local_oss::{Fault, LocalOss, Operation, Rule};
//!
//! let server = LocalOss::start();
//! server.inject(Rule::new(Fault::ResetAfterApply).on(Operation::UploadPart).part(2));
//! let endpoint = server.endpoint(); // for the client under test: bucket `examplebucket`, `ak`, `sk`
//! # let _ = endpoint;
//! assert!(server.object("examplebucket", "key").is_none());
//! ```
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod builder;
mod callback;
mod digest;
mod error;
mod exchange;
mod faults;
mod header_validation;
mod operations;
mod request;
mod request_body;
mod request_log;
mod response;
mod rule_parser;
mod server;
mod signature;
mod state;
mod store;
mod stream;
mod text;
mod xml;

pub use builder::Builder;
pub use faults::{Fault, Operation, Rule};
pub use request_log::RecordedRequest;
pub use server::LocalOss;
pub use store::{Object, Upload};

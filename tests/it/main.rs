//! Everything that can be seen from outside: the public API against a real socket, with real files.

mod harness;

mod bytes;
mod callback;
mod cancel;
mod checkpoint;
mod checkpoint_file;
mod connections;
mod crash;
mod credentials;
mod faults;
mod http;
mod live;
mod logging;
mod malicious_input;
mod messages;
mod options;
mod resource_usage;
mod resume;
mod sdk_defects;
mod sdk_parity;
mod source_files;
mod streams;
mod tidy;
#[cfg(feature = "rustls")]
mod tls;
mod unfinished_uploads;
mod upload;
mod validation;
mod values;

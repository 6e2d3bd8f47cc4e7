//! Everything that can be seen from outside: the public API against a real socket, with real files.

mod harness;

mod bandwidth;
mod bytes;
mod callback;
mod cancel;
mod checkpoint;
mod checkpoint_file;
mod connections;
mod crash;
mod credential_providers;
mod credentials;
mod faults;
mod foreign_objects;
mod http;
mod interactions;
mod live;
mod logging;
mod malicious_input;
mod messages;
mod options;
mod outages;
mod part_size;
mod pending;
#[cfg(feature = "credential-providers")]
mod providers;
mod public_types;
#[cfg(feature = "rustls")]
mod regions;
mod resource_usage;
mod resume;
mod sdk_defects;
mod sdk_parity;
mod source_files;
mod streams;
mod tidy;
#[cfg(feature = "rustls")]
mod tls;
mod trees;
mod unchanged;
mod unfinished_uploads;
mod upload;
mod urls;
mod validation;
mod values;

//! Everything that can be seen from outside: the public API against a real socket, with real files.

mod house;

mod callback;
mod cancel;
mod checkpoint;
mod checkpoint_file;
mod coming_from;
mod connections;
mod cost;
mod crash;
mod credentials;
mod faults;
mod hostile;
mod housekeeping;
mod live;
mod logging;
mod messages;
mod options;
#[cfg(feature = "credential-providers")]
mod providers;
mod refused;
mod resume;
mod sdk_defects;
mod source_files;
mod tidy;
#[cfg(feature = "rustls")]
mod tls;
mod upload;
mod values;
mod wire;

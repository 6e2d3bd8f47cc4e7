//! Everything that can be seen from outside: the public API against a real socket, with real files.

mod house;

mod bandwidth;
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
mod part_size;
mod pending;
mod refused;
#[cfg(feature = "rustls")]
mod regions;
mod resume;
mod sdk_defects;
mod source_files;
mod tidy;
#[cfg(feature = "rustls")]
mod tls;
mod unchanged;
mod upload;
mod urls;
mod values;
mod wire;

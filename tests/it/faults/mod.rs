//! The network, the server, the file and the disk fail, at every point where they can.

mod disk;
mod lost_responses;
mod network;
mod scenario;
mod source;
mod stalls;

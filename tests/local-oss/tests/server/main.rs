//! The server as its clients see it.

mod callback;
mod client;
mod errors;
mod faults;
mod headers;
mod lists;
mod load;
mod objects;
mod program;
mod protocol;
mod stores;

use std::time::{Duration, Instant};

/// Waits until another thread has made the condition true.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{what} did not happen"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns `count` pseudo-random bytes.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(step).collect()
}

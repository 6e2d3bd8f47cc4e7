//! The network, the server, the file and the disk fail, each at every point where it can.

mod bench;
mod disk;
mod lost;
mod network;
mod source;
mod stalls;

use std::fmt::Debug;
use std::panic::resume_unwind;
use std::thread;

/// Runs all cases at the same time, each on a thread whose name tells in a panic which case it was.
pub fn each<C: Debug + Send>(cases: impl IntoIterator<Item = C>, test: impl Fn(C) + Sync) {
    let test = &test;
    thread::scope(|scope| {
        let spawn = |case: C| {
            let name = format!("{case:?}");
            thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, move || test(case))
                .unwrap()
        };
        let threads: Vec<_> = cases.into_iter().map(spawn).collect();
        let panics: Vec<_> = threads
            .into_iter()
            .filter_map(|thread| thread.join().err())
            .collect();
        if let Some(first) = panics.into_iter().next() {
            resume_unwind(first);
        }
    });
}

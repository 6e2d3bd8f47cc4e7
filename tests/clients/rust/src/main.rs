//! Runs a Rust client against local-oss: ENDPOINT V4|V1 CLIENT.
#![forbid(unsafe_code)]

mod ali_oss;
mod dal;

use std::fmt::Debug;

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub const BUCKET: &str = "examplebucket";
pub const PART: usize = 100 * 1024;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (endpoint, sign, client) = match &arguments[..] {
        [endpoint, sign, client] => (endpoint, sign, client),
        _ => return Err("usage: rust-clients ENDPOINT V4|V1 CLIENT".into()),
    };
    println!("version {}", version(client));
    match (client.as_str(), sign.as_str()) {
        ("opendal", "V1") => dal::run(endpoint).await,
        ("ali-oss-rs", "V4") => ali_oss::run(endpoint).await,
        _ => Err(format!("{client} does not sign with {sign}").into()),
    }
}

/// Returns the version of a package in the lock file.
fn version(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock
        .split_once(&format!("name = \"{package}\"\nversion = \""))
        .map(|(_, rest)| rest);
    entry
        .and_then(|rest| rest.split_once('"'))
        .map_or("?", |(version, _)| version)
}

/// Prints the result of a step.
pub fn step(name: &str, result: Result) {
    println!("{name} {}", if result.is_ok() { "ok" } else { "FAILED" });
    if let Err(error) = result {
        eprintln!("{name}: {error}");
    }
}

pub fn assert_same<T: PartialEq + Debug>(left: T, right: T) -> Result {
    if left == right {
        return Ok(());
    }
    Err(format!("{left:?} is not equal to {right:?}")
        .chars()
        .take(300)
        .collect::<String>()
        .into())
}

/// Returns three full parts and a short one.
pub fn data() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..3 * PART + 7).map(step).collect()
}

//! Somebody presses the button half-way, and begins again; OSS is played by a server in the process.

use std::error::Error;

use local_oss::LocalOss;
use oss_upload::{Client, Credentials, Progress};

use crate::{PART_SIZE, start, window};

const KEY: &str = "examplefile.bin";
/// Bytes.
const SIZE: usize = 16 << 20;
/// Bytes per second, so that there is something to see.
const LIMIT: Option<u64> = Some(8 << 20);

pub fn run() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join(KEY);
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&path, &bytes)?;

    let half_way = |now: &Progress| now.transferred >= SIZE as u64 / 2;
    match window(start(&bucket, KEY, &path, LIMIT), half_way) {
        Err(error @ oss_upload::Error::Cancelled { .. }) => println!("Cancel is pressed: {error}"),
        other => return Err(format!("the upload was not stopped: {other:?}").into()),
    }
    let uploaded = window(start(&bucket, KEY, &path, LIMIT), |_| false)?;
    println!("begun again: {} of {} parts were there", uploaded.parts_resumed, uploaded.parts);
    let is_whole = server.object("examplebucket", KEY).is_some_and(|object| object.bytes == bytes);
    println!("the object {} the file", if is_whole { "equals" } else { "is not" });
    let found = uploaded.parts_resumed as u64 * PART_SIZE;
    match is_whole && found > 0 && uploaded.bytes_sent + found == SIZE as u64 && server.uploads().is_empty() {
        true => Ok(()),
        false => Err("that is not what was promised".into()),
    }
}

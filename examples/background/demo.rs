//! Cancels an upload half-way and resumes it, on a local server.

use std::error::Error;

use local_oss::LocalOss;
use oss_upload::{Client, Credentials, Progress};

use crate::{PART_SIZE, render_loop, start};

const KEY: &str = "examplefile.bin";
const PARTS: usize = 8;
const SIZE: usize = PARTS * PART_SIZE as usize;
/// Bytes per second, so that there is something to see.
const LIMIT: Option<u64> = Some(32 << 20);

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

    let half_done = |now: &Progress| now.parts_done >= now.parts_total / 2;
    match render_loop(start(&bucket, KEY, &path, LIMIT), half_done) {
        Err(error @ oss_upload::Error::Cancelled { .. }) => println!("call 1: {error}"),
        other => return Err(format!("the upload was not cancelled: {other:?}").into()),
    }
    let uploaded = render_loop(start(&bucket, KEY, &path, LIMIT), |_| false)?;
    println!(
        "call 2: resumed {} of {} parts",
        uploaded.parts_resumed, uploaded.parts
    );

    let object = server.object("examplebucket", KEY);
    let is_equal = object.is_some_and(|object| object.bytes == bytes);
    println!(
        "the object {} the file",
        if is_equal { "equals" } else { "differs from" }
    );
    let resumed = uploaded.parts_resumed as u64 * PART_SIZE;
    let nothing_sent_twice = uploaded.bytes_sent + resumed == SIZE as u64;
    match is_equal && resumed > 0 && nothing_sent_twice && server.uploads().is_empty() {
        true => Ok(()),
        false => Err("the upload did not resume as expected".into()),
    }
}

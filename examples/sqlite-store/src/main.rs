//! The record of an upload in a database: the first run fails half-way, the second finds its row and carries it on.
//!
//! `cargo run -p sqlite-store-example`; no account is needed, OSS is played by a server in the process.

mod store;

use std::error::Error;
use std::path::Path;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{Bucket, CheckpointStore, Client, Credentials, Uploaded, checkpoint_store, routines};
use store::Row;

const KEY: &str = "examplefile.bin";
/// What the program calls this upload.
const JOB: &str = "nightly backup";
/// Bytes.
const SIZE: usize = 16 << 20;
const PART_SIZE: u64 = 1 << 20;
const PARTS: usize = SIZE / PART_SIZE as usize;
/// The part that OSS refuses in the first run.
const REFUSED: u32 = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let (file, database) = (dir.path().join(KEY), dir.path().join("uploads.sqlite"));
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&file, &bytes)?;

    let refusal = Fault::Status { status: 403, code: "AccessDenied".into(), retry_after: None };
    server.inject(Rule::new(refusal).on(Operation::UploadPart).part(REFUSED));
    println!("run 1");
    match upload(&bucket, &file, &database)? {
        Err(error @ oss_upload::Error::Service(_)) => println!("  {error}"),
        other => return Err(format!("the first run should have been refused: {other:?}").into()),
    }
    let stored = server.uploads().first().map_or(0, |upload| upload.parts.len());
    println!("  {stored} of {PARTS} parts are on the server");

    println!("run 2");
    let uploaded = upload(&bucket, &file, &database)??;
    println!("  found {} parts, sent {} bytes", uploaded.parts_resumed, uploaded.bytes_sent);

    let is_whole = server.object("examplebucket", KEY).is_some_and(|object| object.bytes == bytes);
    println!("the object {} the file", if is_whole { "equals" } else { "is not" });
    let row_is_gone = Row::open(&database, JOB)?.load()?.is_none();
    println!("the row {}", if row_is_gone { "is gone" } else { "is still there" });

    let sent = (PARTS - stored) as u64 * PART_SIZE;
    let carried_on = stored > 0 && uploaded.parts_resumed == stored && uploaded.bytes_sent == sent;
    match carried_on && is_whole && row_is_gone && server.uploads().is_empty() {
        true => Ok(()),
        false => Err("that is not what was promised".into()),
    }
}

/// The call that matters, the same in both runs. The outer error is the database's, the inner one the upload's.
fn upload(
    bucket: &Bucket,
    file: &Path,
    database: &Path,
) -> Result<oss_upload::Result<Uploaded>, Box<dyn Error>> {
    let mut row = Row::open(database, JOB)?;
    match row.load()? {
        Some(record) => println!("  the database has a record of {} lines", record.lines().count()),
        None => println!("  the database has no record"),
    }
    Ok(bucket.upload_file(KEY, file, PART_SIZE, [routines(4), checkpoint_store(&mut row)]))
}

//! The checkpoint of an upload in a database. The first call fails half-way; the second one finds
//! the row and resumes.
//!
//! `cargo run -p sqlite-store-example`. No account is needed: it uses a local OSS server.

mod store;

use std::error::Error;
use std::path::Path;

use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{Bucket, CheckpointStore, Client, Credentials, Uploaded};
use oss_upload::{checkpoint_store, routines};
use store::Row;

const KEY: &str = "examplefile.bin";
/// The program's own name for this upload.
const JOB: &str = "backup of the database";
const PARTS: usize = 8;
const PART_SIZE: u64 = 8 << 20;
const SIZE: usize = PARTS * PART_SIZE as usize;
/// The part that OSS denies in the first call.
const DENIED_PART: u32 = 6;

fn main() -> Result<(), Box<dyn Error>> {
    let server = LocalOss::start();
    let client = Client::builder(&server.endpoint())
        .credentials(Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy()
        .build()?;
    let bucket = client.bucket("examplebucket")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join(KEY);
    let database = dir.path().join("uploads.sqlite");
    let mut bytes = vec![0; SIZE];
    fastrand::fill(&mut bytes);
    std::fs::write(&file, &bytes)?;

    println!("call 1");
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    server.inject(
        Rule::new(denied)
            .on(Operation::UploadPart)
            .part(DENIED_PART),
    );
    match upload(&bucket, &file, &database)? {
        Err(error @ oss_upload::Error::Service(_)) => println!("  {error}"),
        other => return Err(format!("the first call did not fail: {other:?}").into()),
    }
    let stored = server
        .uploads()
        .first()
        .map_or(0, |upload| upload.parts.len());
    println!("  OSS has {stored} of {PARTS} parts");

    println!("call 2");
    let uploaded = upload(&bucket, &file, &database)??;
    println!(
        "  resumed {} parts, sent {} bytes",
        uploaded.parts_resumed, uploaded.bytes_sent
    );

    let object = server.object("examplebucket", KEY);
    let is_equal = object.is_some_and(|object| object.bytes == bytes);
    println!(
        "the object {} the file",
        if is_equal { "equals" } else { "differs from" }
    );
    let row_is_gone = Row::open(&database, JOB)?.load()?.is_none();
    println!(
        "the row {}",
        if row_is_gone {
            "was removed"
        } else {
            "still exists"
        }
    );

    let missing = (PARTS - stored) as u64 * PART_SIZE;
    let resumed = stored > 0 && uploaded.parts_resumed == stored && uploaded.bytes_sent == missing;
    match resumed && is_equal && row_is_gone && server.uploads().is_empty() {
        true => Ok(()),
        false => Err("the upload did not resume as expected".into()),
    }
}

/// The upload, the same in both calls. The outer error is the database's, the inner one the
/// upload's.
fn upload(
    bucket: &Bucket,
    file: &Path,
    database: &Path,
) -> Result<oss_upload::Result<Uploaded>, Box<dyn Error>> {
    let mut row = Row::open(database, JOB)?;
    match row.load()? {
        Some(text) => println!(
            "  the row has a checkpoint of {} lines",
            text.lines().count()
        ),
        None => println!("  the database has no row"),
    }
    let options = [routines(4), checkpoint_store(&mut row)];
    Ok(bucket.upload_file(KEY, file, PART_SIZE, options))
}

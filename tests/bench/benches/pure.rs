//! What needs no network, as far as the public API reaches it: a client, a refused plan, a record that is read. Signing,
//! XML and CRC-64 are in `private`; `steps` shows the record's writing.
//!
//! `cargo bench -p oss-upload-bench --bench pure`

use std::fs::File;
use std::io;
use std::path::PathBuf;

use divan::Bencher;
use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, CheckpointStore, Client, cancel, checkpoint_store, delete_upload_on_cancelling,
    multipart_threshold, routines,
};
use oss_upload_bench::bucket;

const PART: u64 = 100 << 10;

fn main() {
    divan::main();
}

struct Memory(Option<String>);

impl CheckpointStore for Memory {
    fn load(&mut self) -> io::Result<Option<String>> {
        Ok(self.0.clone())
    }

    fn save(&mut self, text: &str) -> io::Result<()> {
        self.0 = Some(text.to_owned());
        Ok(())
    }

    fn remove(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sparse(size: u64) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("there is a directory for temporary files");
    let path = directory.path().join("sparse");
    File::create(&path).and_then(|file| file.set_len(size)).expect("the file system has sparse files");
    (directory, path)
}

#[divan::bench]
fn client_and_bucket() -> Bucket {
    let client = Client::new("https://oss-cn-hangzhou.aliyuncs.com", "ak", "sk").expect("it is an endpoint");
    client.bucket("examplebucket").expect("it is a name")
}

/// Options, the source, and a plan of one part too many.
#[divan::bench]
fn plan(bencher: Bencher) {
    let (_directory, path) = sparse(10_000 * PART + 1);
    let bucket = bucket("http://127.0.0.1:1", None).expect("it is an endpoint");
    bencher.bench(|| bucket.upload_file("o", &path, PART, [routines(4)]).expect_err("it is too large"));
}

/// Read, checked, and then the call finds itself cancelled.
#[divan::bench(args = [1, 100, 10_000], sample_count = 30)]
fn read_record(bencher: Bencher, parts: u64) {
    let server = LocalOss::builder().discard(true).start().expect("there is a free port");
    let (_directory, path) = sparse(parts * PART);
    let bucket = bucket(&server.endpoint(), None).expect("it is an endpoint");
    let mut record = Memory(None);
    let never = Fault::Status { status: 403, code: "AccessDenied".into(), retry_after: None };
    server.inject(Rule::new(never).on(Operation::CompleteMultipartUpload).forever());
    let options = [multipart_threshold(0), checkpoint_store(&mut record)];
    bucket.upload_file("o", &path, PART, options).expect_err("completing is refused");
    let (token, requests) = (CancelToken::new(), server.requests().len());
    token.cancel();
    bencher.bench_local(|| {
        let options = [
            multipart_threshold(0),
            checkpoint_store(&mut record),
            cancel(&token),
            delete_upload_on_cancelling(false),
        ];
        bucket.upload_file("o", &path, PART, options).expect_err("it is cancelled")
    });
    assert_eq!(server.requests().len(), requests, "a cancelled call makes no request");
}

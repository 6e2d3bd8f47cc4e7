//! Benchmarks of the public API that need no network: building a client, planning an upload, and
//! loading a checkpoint. Signing, XML and CRC-64 are in `internals`; saving a checkpoint is in
//! `resume`.
//!
//! `cargo bench -p oss-upload-bench --bench setup`

use std::fs::File;
use std::io;
use std::path::PathBuf;

use divan::Bencher;
use local_oss::{Fault, LocalOss, Operation, Rule};
use oss_upload::{
    Bucket, CancelToken, CheckpointStore, Client, cancel, checkpoint_store,
    delete_upload_on_cancelling, multipart_threshold, routines,
};
use oss_upload_bench::bucket;

const PART: u64 = 100 << 10;

fn main() {
    divan::main();
}

struct MemoryStore(Option<String>);

impl CheckpointStore for MemoryStore {
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
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("sparse");
    File::create(&path)
        .and_then(|file| file.set_len(size))
        .expect("a sparse file");
    (directory, path)
}

#[divan::bench]
fn client_and_bucket() -> Bucket {
    let client =
        Client::new("https://oss-cn-hangzhou.aliyuncs.com", "ak", "sk").expect("a valid endpoint");
    client.bucket("examplebucket").expect("a valid bucket name")
}

/// Reads the options and the source, and plans one part too many.
#[divan::bench]
fn plan_upload(bencher: Bencher) {
    let (_directory, path) = sparse(10_000 * PART + 1);
    let bucket = bucket("http://127.0.0.1:1", None).expect("a valid endpoint");
    bencher.bench(|| {
        bucket
            .upload_file("o", &path, PART, [routines(4)])
            .expect_err("the file is too large")
    });
}

/// Loads and validates a checkpoint; the call is then cancelled.
#[divan::bench(args = [1, 100, 10_000], sample_count = 30)]
fn load_checkpoint(bencher: Bencher, parts: u64) {
    let server = LocalOss::builder().discard(true).start().expect("a server");
    let (_directory, path) = sparse(parts * PART);
    let bucket = bucket(&server.endpoint(), None).expect("a valid endpoint");
    let mut store = MemoryStore(None);
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    server.inject(
        Rule::new(denied)
            .on(Operation::CompleteMultipartUpload)
            .forever(),
    );
    let options = [multipart_threshold(0), checkpoint_store(&mut store)];
    bucket
        .upload_file("o", &path, PART, options)
        .expect_err("CompleteMultipartUpload is denied");
    let (token, requests) = (CancelToken::new(), server.requests().len());
    token.cancel();
    bencher.bench_local(|| {
        let options = [
            multipart_threshold(0),
            checkpoint_store(&mut store),
            cancel(&token),
            delete_upload_on_cancelling(false),
        ];
        bucket
            .upload_file("o", &path, PART, options)
            .expect_err("the call is cancelled")
    });
    assert_eq!(
        server.requests().len(),
        requests,
        "a cancelled call sends no request"
    );
}

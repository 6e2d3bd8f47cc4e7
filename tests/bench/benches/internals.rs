//! What no caller sees: signatures, CRC-64, XML, MD5. The sources are compiled once more, as modules of this program, since
//! nothing of this is public.
//!
//! `cargo bench -p oss-upload-bench --bench private`
#![allow(dead_code, unused_imports, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use divan::Bencher;
use divan::counter::BytesCount;

#[path = "../../../src/crc64.rs"]
mod crc64;
#[path = "../../../src/credentials.rs"]
mod credentials;
#[path = "../../../src/encoding.rs"]
mod encoding;
#[path = "../../../src/error/mod.rs"]
mod error;
#[path = "../../../src/md5_digest.rs"]
mod md5_digest;
#[path = "../../../src/names.rs"]
mod names;
#[path = "../../../src/part.rs"]
mod part;
#[path = "../../../src/protocol/mod.rs"]
mod protocol;
#[path = "../../../src/sign/mod.rs"]
mod sign;
#[path = "../../../src/time.rs"]
mod time;

pub use error::{Error, Result};
/// Errors have one in them.
pub use oss_upload::Uploaded;

use credentials::Credentials;
use part::{UploadedPart, UploadedParts};
use protocol::complete::CompleteMultipartUpload;
use protocol::list_parts::ListParts;
use protocol::request::{Action, Request, Response, Sent};
use protocol::upload_part::UploadPart;

const PARTS: [u32; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

fn request() -> Request {
    let action = UploadPart {
        bucket: "examplebucket",
        key: "dir/an object of mine.bin",
        upload_id: "0004B9895DBBB6EC98E36",
        number: 7,
        content_md5: None,
        headers: &[],
    };
    action.request()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

#[divan::bench]
fn sign_v1(bencher: Bencher) {
    let credentials = Credentials::new("ak", "sk");
    bencher
        .with_inputs(request)
        .bench_values(|request| sign::v1::sign(request, &credentials, now()));
}

#[divan::bench]
fn sign_v4(bencher: Bencher) {
    let credentials = Credentials::new("ak", "sk");
    bencher
        .with_inputs(request)
        .bench_values(|request| sign::v4::sign(request, &credentials, "cn-hangzhou", now()));
}

#[divan::bench]
fn crc64_of_a_mebibyte(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut digest = crc64::Digest::new();
        digest.update(black_box(&bytes));
        digest.finish()
    });
}

#[divan::bench]
fn md5_of_a_mebibyte(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| md5_digest::Md5Digest::of(black_box(&bytes)).0);
}

#[divan::bench(args = PARTS)]
fn crc64_of_the_whole(parts: u32) -> u64 {
    crc64::combine((0..parts).map(|number| (u64::from(number), 8 << 20)))
}

#[divan::bench(args = PARTS)]
fn the_part_list(bencher: Bencher, count: u32) {
    let etag = "5D41402ABC4B2A76B9719D911017C592";
    let parts: UploadedParts = (1..=count)
        .map(|number| UploadedPart {
            number,
            size: 1,
            etag: etag.into(),
            crc64: 1,
        })
        .collect();
    let action = CompleteMultipartUpload {
        bucket: "b",
        key: "k",
        upload_id: "i",
        parts: &parts,
        headers: &[],
        has_callback: false,
    };
    bencher.bench(|| action.body().map(|chunk| chunk.len()).sum::<usize>());
}

/// One page: OSS lists 1,000 parts at a time.
#[divan::bench(args = [1, 100, 1_000])]
fn a_page_of_list_parts(bencher: Bencher, count: u32) {
    let part = |number: u32| {
        format!(
            "<Part><PartNumber>{number}</PartNumber><LastModified>2026-11-20T07:00:00.000Z</LastModified>\
             <ETag>\"5D41402ABC4B2A76B9719D911017C592\"</ETag><HashCrc64ecma>{number}</HashCrc64ecma><Size>102400</Size></Part>"
        )
    };
    let parts: String = (1..=count).map(part).collect();
    let body =
        format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>");
    let response = Response {
        status: 200,
        headers: vec![("x-oss-request-id".into(), "R".into())],
        body: body.into_bytes(),
    };
    let action = ListParts {
        bucket: "b",
        key: "k",
        upload_id: "i",
        marker: 0,
        headers: &[],
    };
    bencher.bench(|| match action.parse(&response, &Sent::EMPTY) {
        Ok(page) => page.parts.len(),
        Err(invalid) => panic!("{}", invalid.reason),
    });
}

//! Benchmarks of private modules: signatures, CRC-64, XML and MD5. These sources are compiled again as modules of this
//! program, because they are not public.
//!
//! `cargo bench -p oss-upload-bench --bench internals`
#![allow(dead_code, unused_imports, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use divan::Bencher;
use divan::counter::BytesCount;

#[path = "../../../src/crc64.rs"]
mod crc64;
#[path = "../../../src/credentials.rs"]
mod credentials;
#[path = "../../../src/dates.rs"]
mod dates;
#[path = "../../../src/encoding.rs"]
mod encoding;
#[path = "../../../src/error/mod.rs"]
mod error;
#[path = "../../../src/md5sum.rs"]
mod md5sum;
#[path = "../../../src/part.rs"]
mod part;
#[path = "../../../src/protocol/mod.rs"]
mod protocol;
#[path = "../../../src/sign/mod.rs"]
mod sign;

pub use error::{Error, Result};
/// The error type contains it.
pub use oss_upload::Uploaded;

use credentials::Credentials;
use part::{Part, Parts};
use protocol::request::{Request, Response};
use protocol::{complete, list_parts, upload_part};

const PARTS: [u32; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

fn request() -> Request {
    upload_part::request(
        "examplebucket",
        "dir/an object of mine.bin",
        "0004B9895DBBB6EC98E36",
        7,
        &[],
    )
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
fn crc64_of_1_mib(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut digest = crc64::Digest::new();
        digest.write(black_box(&bytes));
        digest.sum()
    });
}

#[divan::bench]
fn md5_of_1_mib(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| md5sum::Md5Sum::of(black_box(&bytes)).0);
}

#[divan::bench(args = PARTS)]
fn crc64_of_object(parts: u32) -> u64 {
    crc64::joined((0..parts).map(|number| (u64::from(number), 8 << 20)))
}

#[divan::bench(args = PARTS)]
fn complete_document(bencher: Bencher, count: u32) {
    let etag = "5D41402ABC4B2A76B9719D911017C592";
    let parts: Parts = (1..=count)
        .map(|number| Part {
            number,
            etag: etag.into(),
            crc64: 1,
        })
        .collect();
    bencher.bench(|| {
        complete::body(&parts)
            .map(|chunk| chunk.len())
            .sum::<usize>()
    });
}

/// Parses one page; OSS lists 1,000 parts per page.
#[divan::bench(args = [1, 100, 1_000])]
fn parse_list_parts(bencher: Bencher, count: u32) {
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
        headers: Vec::new(),
        body: body.into_bytes(),
    };
    bencher.bench(|| match list_parts::parse(&response, 0) {
        Ok(page) => page.parts.len(),
        Err(error) => panic!("{}", error.0),
    });
}

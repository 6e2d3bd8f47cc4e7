//! What no caller sees: signatures, CRC-64, XML, MD5. The sources are compiled once more, as
//! modules of this program, since nothing of this is public.
//!
//! `cargo bench -p oss-upload-bench --bench internals`
#![allow(dead_code, unused_imports, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use divan::Bencher;
use divan::counter::BytesCount;
use oss_upload::_bench::{PartList, PartRequest, PartsPage, combine_crc64, crc64, md5};
use oss_upload::Credentials;

const PARTS: [u32; 3] = [1, 100, 10_000];

fn main() {
    divan::main();
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

#[divan::bench]
fn sign_v1(bencher: Bencher) {
    let credentials = Credentials::new("ak", "sk");
    bencher
        .with_inputs(PartRequest::new)
        .bench_values(|request| request.sign_v1(&credentials, now()));
}

#[divan::bench]
fn sign_v4(bencher: Bencher) {
    let credentials = Credentials::new("ak", "sk");
    bencher
        .with_inputs(PartRequest::new)
        .bench_values(|request| request.sign_v4(&credentials, "cn-hangzhou", now()));
}

#[divan::bench]
fn crc64_of_a_mebibyte(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| crc64(black_box(&bytes)));
}

#[divan::bench]
fn md5_of_a_mebibyte(bencher: Bencher) {
    let bytes = vec![0x5a; 1 << 20];
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench(|| md5(black_box(&bytes)));
}

#[divan::bench(args = PARTS)]
fn crc64_of_the_object(parts: u32) -> u64 {
    combine_crc64((0..parts).map(|number| (u64::from(number), 8 << 20)))
}

#[divan::bench(args = PARTS)]
fn document_of_complete(bencher: Bencher, count: u32) {
    let parts = PartList::new(count);
    bencher.bench(|| parts.write_document());
}

/// One page: OSS lists 1,000 parts at a time.
#[divan::bench(args = [1, 100, 1_000])]
fn page_of_list_parts(bencher: Bencher, count: u32) {
    let page = PartsPage::new(count);
    assert_eq!(page.parse(), Ok(count as usize));
    bencher.bench(|| page.parse());
}

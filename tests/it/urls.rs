//! The URL of an uploaded object.

use local_oss::LocalOss;
use oss_upload::multipart_threshold;

use crate::harness::{Harness, PART, client};

const KEY: &str = "dir//a b+c%/中.bin";
const ENCODED: &str = "dir//a%20b%2Bc%25/%E4%B8%AD.bin";

#[test]
fn url_is_that_of_the_request_for_both_kinds_of_upload() {
    let t = Harness::new();
    let path = t.file("f", PART + 1);
    let expected = format!("{}/examplebucket/{ENCODED}", t.server.endpoint());
    for threshold in [0, u64::from(u32::MAX)] {
        let options = [multipart_threshold(threshold)];
        let uploaded = t.bucket.upload_file(KEY, &path, PART, options).unwrap();
        assert_eq!(uploaded.upload_id.is_some(), threshold == 0);
        assert_eq!(uploaded.url(), expected);
        t.assert_stored(KEY, &path);
    }
    let paths: Vec<String> = t
        .server
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert!(
        paths
            .iter()
            .all(|path| *path == format!("/examplebucket/{ENCODED}")),
        "{paths:?}"
    );
}

#[test]
fn url_of_a_cname_has_no_bucket() {
    let server = LocalOss::builder()
        .cname("127.0.0.1", "examplebucket")
        .start()
        .unwrap();
    let t = Harness::with_server(server);
    let path = t.file("f", 3);
    let bucket = client(&t.server)
        .cname(true)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let uploaded = bucket.upload_file(KEY, &path, PART, []).unwrap();
    let expected = format!("{}/{ENCODED}", t.server.endpoint());
    assert_eq!(uploaded.url(), expected);
    t.assert_stored(KEY, &path);
}

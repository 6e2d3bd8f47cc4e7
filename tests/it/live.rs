//! A real bucket: this test needs an account. `.ci/run` and `cargo test -- --include-ignored`
//! report it as skipped.

use oss_upload::{Client, checkpoint, routines};

use crate::harness::{Harness, PART, list_uploads, report_skipped};

#[test]
#[ignore = "needs a bucket of yours: set OSS_TEST_BUCKET, OSS_ENDPOINT, OSS_REGION and OSS_ACCESS_KEY_{ID,SECRET}"]
fn live_upload_to_a_real_bucket() {
    let Ok(bucket) = std::env::var("OSS_TEST_BUCKET") else {
        report_skipped("live_upload_to_a_real_bucket did not run: OSS_TEST_BUCKET is not set");
        return;
    };
    let t = Harness::new();
    let path = t.file("f", 5 * PART + 1);
    let bucket = Client::from_env().unwrap().bucket(&bucket).unwrap();
    for (key, part_size) in [
        ("oss-upload-test/multipart", PART),
        ("oss-upload-test/put", 6 * PART),
    ] {
        let uploaded = bucket
            .upload_file(key, &path, part_size, [routines(3), checkpoint(true, "")])
            .unwrap();
        assert_eq!(uploaded.size, 5 * PART + 1);
        assert!(uploaded.crc64.is_some());
    }
    assert_eq!(list_uploads(&bucket, "oss-upload-test/").unwrap(), []);
}

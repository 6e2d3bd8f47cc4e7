//! Against the real OSS: only where an account is given; otherwise it says so and is skipped.

use oss_upload::{Client, checkpoint, routines};

use crate::house::{House, PART};

#[test]
fn a_real_bucket() {
    let Ok(bucket) = std::env::var("OSS_TEST_BUCKET") else {
        eprintln!(
            "skipped: OSS_TEST_BUCKET, OSS_ENDPOINT, OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET are not set"
        );
        return;
    };
    let house = House::new();
    let path = house.file("f", 5 * PART + 1);
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
    assert_eq!(
        bucket
            .multipart_uploads("oss-upload-test/")
            .collect::<Result<Vec<_>, _>>()
            .unwrap(),
        []
    );
}

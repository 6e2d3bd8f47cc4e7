//! A part size by the size of the file.

use std::io::ErrorKind;

use oss_upload::{determine_part_size, part_size_for};

use crate::harness::Harness;

#[test]
fn part_size_for_a_file_uploads_it() {
    const MIB: u64 = 1 << 20;
    let t = Harness::new();
    for (size, parts) in [(0, 1), (8 * MIB, 1), (8 * MIB + 1, 2)] {
        let path = t.file("f", size);
        let part_size = part_size_for(&path).unwrap();
        assert_eq!(part_size, determine_part_size(size, 8 * MIB));
        let uploaded = t.bucket.upload_file("o", &path, part_size, []).unwrap();
        assert_eq!(uploaded.parts, parts);
        t.assert_stored("o", &path);
    }
}

#[test]
fn part_size_for_what_cannot_be_uploaded_is_an_error() {
    let t = Harness::new();
    let missing = part_size_for(t.path("missing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let dir = part_size_for(t.path("")).unwrap_err();
    assert_eq!(dir.kind(), ErrorKind::IsADirectory);
    assert_eq!(t.server.requests().len(), 0);
}

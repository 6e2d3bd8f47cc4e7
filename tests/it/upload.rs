//! Uploads without faults, of all sizes.

use std::cell::RefCell;

use local_oss::Operation;
use oss_upload::{ProgressEvent, checkpoint, progress, routines};

use crate::harness::{Harness, PART};

#[test]
fn upload_in_parts_leaves_nothing_behind() {
    let t = Harness::new();
    let path = t.file("f", 5 * PART + 7);
    let uploaded = t
        .bucket
        .upload_file(
            "dir/o.bin",
            &path,
            PART,
            [routines(3), checkpoint(true, "")],
        )
        .unwrap();
    t.assert_stored("dir/o.bin", &path);
    t.assert_nothing_left(&["f"]);
    let object = t.server.object("examplebucket", "dir/o.bin").unwrap();
    assert_eq!(
        (uploaded.key.as_str(), uploaded.size),
        ("dir/o.bin", 5 * PART + 7)
    );
    assert_eq!((uploaded.parts, uploaded.parts_resumed), (6, 0));
    assert_eq!(uploaded.crc64, Some(object.crc64));
    assert_eq!(format!("\"{}\"", uploaded.etag), object.etag);
    assert_eq!(uploaded.bytes_sent, uploaded.size);
    assert!(
        uploaded.upload_id.is_some()
            && uploaded.request_id.is_some()
            && uploaded.location.is_some()
    );
    assert_eq!(t.parts_sent(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(t.requests(Operation::ListParts).len(), 0);
}

#[test]
fn put_object_is_used_for_up_to_one_part() {
    for size in [0, 1, PART - 1, PART] {
        let t = Harness::new();
        let path = t.file("f", size);
        let uploaded = t.upload([checkpoint(true, "")]).unwrap();
        t.assert_stored("o", &path);
        t.assert_nothing_left(&["f"]);
        assert_eq!(t.server.requests().len(), 1, "{size}");
        assert_eq!(
            (uploaded.parts, uploaded.size, uploaded.upload_id),
            (1, size, None)
        );
        assert!(uploaded.crc64.is_some());
    }
}

#[test]
fn progress_starts_grows_and_completes() {
    for (size, parts) in [(0, 1), (PART, 1), (4 * PART, 4)] {
        let t = Harness::new();
        t.file("f", size);
        let seen = RefCell::new(Vec::new());
        t.upload([progress(|p| seen.borrow_mut().push(p.clone()))])
            .unwrap();
        let seen = seen.into_inner();
        assert_eq!(seen[0].event, ProgressEvent::Started);
        assert_eq!(
            (seen[0].transferred, seen[0].total, seen[0].parts_total),
            (0, size, parts)
        );
        let last = seen.last().unwrap();
        assert_eq!(last.event, ProgressEvent::Completed);
        assert_eq!((last.transferred, last.parts_done), (size, parts));
        assert!(seen.is_sorted_by_key(|p| (p.transferred, p.parts_done)));
        assert_eq!(
            seen.iter()
                .filter(|p| p.event == ProgressEvent::Completed)
                .count(),
            1
        );
    }
}

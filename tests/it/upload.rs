//! The plain case, in all its sizes.

use std::cell::RefCell;

use local_oss::Operation;
use oss_upload::{ProgressEvent, checkpoint, progress, routines};

use crate::house::{House, PART};

#[test]
fn a_file_goes_up_in_parts_and_nothing_stays() {
    let house = House::new();
    let path = house.file("f", 5 * PART + 7);
    let uploaded = house
        .bucket
        .upload_file(
            "dir/o.bin",
            &path,
            PART,
            [routines(3), checkpoint(true, "")],
        )
        .unwrap();
    house.assert_stored("dir/o.bin", &path);
    house.assert_nothing_left(&["f"]);
    let object = house.server.object("examplebucket", "dir/o.bin").unwrap();
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
    assert_eq!(house.parts_sent(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(house.requests(Operation::ListParts).len(), 0);
}

#[test]
fn an_empty_file_and_a_file_of_one_part_are_one_request() {
    for size in [0, 1, PART - 1, PART] {
        let house = House::new();
        let path = house.file("f", size);
        let uploaded = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, "")])
            .unwrap();
        house.assert_stored("o", &path);
        house.assert_nothing_left(&["f"]);
        assert_eq!(house.server.requests().len(), 1, "{size}");
        assert_eq!(
            (uploaded.parts, uploaded.size, uploaded.upload_id),
            (1, size, None)
        );
        assert!(uploaded.crc64.is_some());
    }
}

#[test]
fn progress_begins_grows_and_ends() {
    for (size, parts) in [(0, 1), (PART, 1), (4 * PART, 4)] {
        let house = House::new();
        let path = house.file("f", size);
        let seen = RefCell::new(Vec::new());
        house
            .bucket
            .upload_file(
                "o",
                &path,
                PART,
                [progress(|p| seen.borrow_mut().push(p.clone()))],
            )
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

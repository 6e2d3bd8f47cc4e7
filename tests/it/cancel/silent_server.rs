//! A cancelled call whose abort is not answered.

use oss_upload::{CancelToken, Error, cancel, checkpoint};

use super::*;

/// The checkpoint is the only thing that knows of the upload, so it stays, although cancelling was
/// to delete it.
#[test]
fn cancel_while_server_is_silent_keeps_checkpoint_and_names_upload() {
    for_each_case_parallel([true, false], |with_checkpoint| {
        let t = harness();
        t.server.inject(Rule::new(Fault::Stall).nth(3).forever());
        let token = CancelToken::new();
        let (result, took) = cancel_when_fault_fires(&t, &token, || {
            t.upload([checkpoint(with_checkpoint, ""), cancel(&token)])
        });
        assert!(took < SILENT_SERVER_LIMIT, "{took:?}");
        let uploads = t.server.uploads();
        assert_eq!(uploads.len(), 1);
        let id = uploads[0].upload_id.as_str();
        let error = result.unwrap_err();
        let Error::Cancelled {
            object_may_exist,
            upload_left,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert!(!object_may_exist);
        assert_eq!(upload_left.as_deref(), Some(id));
        assert!(error.to_string().contains(id), "{error}");
        assert!(
            error
                .hint()
                .is_some_and(|hint| error.to_string().contains(hint))
        );

        t.server.clear_faults();
        let sent = t.requests(UploadPart);
        if with_checkpoint {
            t.assert_files(&["f", "f.cp"]);
            let uploaded = t.upload([checkpoint(true, "")]).unwrap();
            assert_eq!(uploaded.upload_id.as_deref(), Some(id));
            assert_nothing_sent_again(&t, &sent);
        } else {
            t.assert_files(&["f"]);
            t.bucket.abort_multipart_upload("o", id).unwrap();
            t.upload([]).unwrap();
        }
        t.assert_stored("o", &t.path("f"));
        t.assert_nothing_left(&["f"]);
    });
}

/// An abort that is answered leaves nothing to name.
#[test]
fn cancel_with_answered_abort_names_no_upload() {
    let t = harness();
    t.inject_part_always(2, Fault::Stall);
    let token = CancelToken::new();
    let (result, _) = cancel_when_fault_fires(&t, &token, || {
        t.upload([checkpoint(true, ""), cancel(&token)])
    });
    let error = result.unwrap_err();
    let Error::Cancelled { upload_left, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*upload_left, None);
    t.assert_nothing_left(&["f"]);
}

//! Options: what each of them does to the requests and to the object.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, Operation};
use oss_upload::{
    Callback, CancelToken, Error, ObjectAcl, ProgressEvent, RestartReason, ServerSideEncryption,
    SignatureVersion, StorageClass, UploadOption, Uploaded, adopt_unfinished, bandwidth_limit,
    cache_control, callback, cancel, checkpoint, checkpoint_dir, content_disposition,
    content_encoding, content_language, content_md5, content_type, delete_upload_on_cancelling,
    expires, forbid_overwrite, meta, multipart_threshold, object_acl, progress, request_payer,
    routines, sequential, server_side_encryption, storage_class, tag, traffic_limit,
    verify_on_resume,
};

use crate::harness::{CallbackServer, Harness, PART, RecordedRequest, bucket, client, content};

/// The small files are uploaded with PutObject, the large one in parts.
const SIZES: [u64; 3] = [0, 1, 2 * PART + 7];

/// Headers that every request can have.
const COMMON: [&str; 11] = [
    "host",
    "connection",
    "accept",
    "user-agent",
    "accept-encoding",
    "date",
    "authorization",
    "x-oss-date",
    "x-oss-content-sha256",
    "content-length",
    "expect",
];

/// The other headers of a request, sorted by name.
fn headers(request: &RecordedRequest) -> Vec<(&str, &str)> {
    let all = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut own: Vec<_> = all.filter(|(name, _)| !COMMON.contains(name)).collect();
    own.sort_unstable();
    own
}

fn sorted<'a>(lists: &[&[(&'a str, &'a str)]]) -> Vec<(&'a str, &'a str)> {
    let mut all = lists.concat();
    all.sort_unstable();
    all
}

/// Every option that is sent as a header.
fn every_header(app: &CallbackServer) -> Vec<UploadOption<'static>> {
    let key_id = Some("9468da86-3509-4f8d-a61e-6eab1eac0001".to_owned());
    vec![
        content_type("text/plain; charset=utf-8"),
        cache_control("no-cache"),
        content_disposition("attachment; filename*=UTF-8''%E4%B8%AD.txt"),
        content_encoding("gzip"),
        content_language("zh-CN"),
        expires(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_999)),
        meta("author", "李 & co"),
        meta("x-oss-meta-Month", "0"),
        object_acl(ObjectAcl::PublicRead),
        storage_class(StorageClass::InfrequentAccess),
        tag("team", "storage 1"),
        server_side_encryption(ServerSideEncryption::Kms { key_id }),
        forbid_overwrite(true),
        request_payer(true),
        traffic_limit(838_860_800),
        callback(Callback::new(app.url("/"), "body").var("x:a", "b")),
    ]
}

const OBJECT: [(&str, &str); 12] = [
    ("cache-control", "no-cache"),
    (
        "content-disposition",
        "attachment; filename*=UTF-8''%E4%B8%AD.txt",
    ),
    ("content-encoding", "gzip"),
    ("content-language", "zh-CN"),
    ("content-type", "text/plain; charset=utf-8"),
    ("expires", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("x-oss-meta-author", "%E6%9D%8E & co"),
    ("x-oss-meta-month", "0"),
    ("x-oss-server-side-encryption", "KMS"),
    (
        "x-oss-server-side-encryption-key-id",
        "9468da86-3509-4f8d-a61e-6eab1eac0001",
    ),
    ("x-oss-storage-class", "IA"),
    ("x-oss-tagging", "team=storage%201"),
];
const AT_BOTH_ENDS: [(&str, &str); 2] = [
    ("x-oss-forbid-overwrite", "true"),
    ("x-oss-object-acl", "public-read"),
];
const TRAFFIC: (&str, &str) = ("x-oss-traffic-limit", "838860800");
const PAYER: (&str, &str) = ("x-oss-request-payer", "requester");
const XML: (&str, &str) = ("content-type", "application/xml");

#[test]
fn options_send_headers_only_where_they_belong() {
    let (t, app) = (Harness::new(), CallbackServer::start(200, "{}"));
    let path = t.file("f", 3 * PART);
    let upload = |key: &str, more: UploadOption<'static>| {
        t.bucket.upload_file(
            key,
            &path,
            PART,
            every_header(&app).into_iter().chain([more]),
        )
    };
    t.refuse_part(2);
    upload("without-checkpoint", checkpoint(false, "")).unwrap_err();
    t.refuse_part(2);
    upload("o", checkpoint(true, "")).unwrap_err();
    t.inject(Operation::CompleteMultipartUpload, Fault::ResetAfterApply);
    upload("o", checkpoint(true, "")).unwrap();
    upload("adopting", adopt_unfinished(true)).unwrap();
    t.bucket
        .upload_file("small", t.file("g", 1), PART, every_header(&app))
        .unwrap();

    let call = [("x-oss-callback", ""), ("x-oss-callback-var", "")];
    let mut seen = Vec::new();
    for request in t.server.requests() {
        let wanted = match request.operation {
            Operation::InitiateMultipartUpload => sorted(&[&OBJECT, &AT_BOTH_ENDS, &[PAYER]]),
            Operation::UploadPart => sorted(&[&[TRAFFIC, PAYER]]),
            Operation::CompleteMultipartUpload => sorted(&[&AT_BOTH_ENDS, &call, &[PAYER, XML]]),
            Operation::PutObject => sorted(&[&OBJECT, &AT_BOTH_ENDS, &call, &[TRAFFIC, PAYER]]),
            _ => vec![PAYER],
        };
        let mut sent = headers(&request);
        for (_, value) in sent
            .iter_mut()
            .filter(|(name, _)| name.starts_with("x-oss-callback"))
        {
            assert!(
                STANDARD.decode(&value).unwrap().starts_with(b"{\""),
                "{value}"
            );
            *value = "";
        }
        assert_eq!(sent, wanted, "{:?}", request.operation);
        seen.push(request.operation);
    }
    for operation in [
        Operation::InitiateMultipartUpload,
        Operation::UploadPart,
        Operation::ListParts,
        Operation::CompleteMultipartUpload,
        Operation::AbortMultipartUpload,
        Operation::ListMultipartUploads,
        Operation::PutObject,
        Operation::HeadObject,
    ] {
        assert!(seen.contains(&operation), "{operation:?} was not sent");
    }
    for key in ["o", "adopting", "small"] {
        let object = t.server.object("examplebucket", key).unwrap();
        let mut kept: Vec<_> = object
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, OBJECT[..11], "{key}");
        assert_eq!(object.tagging.as_deref(), Some("team=storage%201"));
        assert_eq!(object.acl.as_deref(), Some("public-read"));
    }
}

#[test]
fn options_default_to_the_content_type_alone() {
    for size in SIZES {
        let t = Harness::new();
        t.bucket
            .upload_file("o", t.file("f", size), PART, [])
            .unwrap();
        for request in t.server.requests() {
            let wanted = match request.operation {
                Operation::UploadPart => vec![],
                Operation::CompleteMultipartUpload => vec![XML],
                _ => vec![("content-type", "application/octet-stream")],
            };
            assert_eq!(headers(&request), wanted, "{:?}", request.operation);
        }
    }
}

#[test]
fn options_header_values_are_signed_as_sent() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        for size in SIZES {
            let t = Harness::new();
            let bucket = bucket(client(&t.server).signature(signature));
            let options = [
                content_type(" text/plain "),
                cache_control("  no-cache"),
                meta("spaces", "  two  words  "),
                meta("100", "100% =&?;\"'<>~|"),
            ];
            bucket
                .upload_file("o", t.file("f", size), PART, options)
                .unwrap();
            let object = t.server.object("examplebucket", "o").unwrap();
            for (name, value) in [
                ("content-type", "text/plain"),
                ("cache-control", "no-cache"),
                ("x-oss-meta-spaces", "two  words"),
                ("x-oss-meta-100", "100% =&?;\"'<>~|"),
            ] {
                assert!(
                    object.headers.contains(&(name.into(), value.into())),
                    "{:?}",
                    object.headers
                );
            }
        }
    }
}

#[test]
fn content_type_is_guessed_from_file_then_key() {
    for size in SIZES {
        let t = Harness::new();
        for (name, key, wanted) in [
            ("f.html", "o.json", "text/html"),
            ("F.PNG", "o", "image/png"),
            ("f", "dir.d/o.json", "application/json"),
            ("f.unheard-of", "o.txt", "text/plain"),
            ("f", "o.json/none", "application/octet-stream"),
        ] {
            let path = t.file(name, size);
            t.bucket.upload_file(key, &path, PART, []).unwrap();
            assert_eq!(stored_type(&t, key), wanted, "{name} to {key}");
            let wanted = if key.ends_with(".json") {
                "application/json"
            } else {
                "text/plain"
            };
            if key.contains('.') && !key.ends_with("none") {
                t.bucket
                    .upload_open_file(key, File::open(path).unwrap(), PART, [])
                    .unwrap();
                assert_eq!(stored_type(&t, key), wanted, "open file to {key}");
            }
        }
    }
}

fn stored_type(t: &Harness, key: &str) -> String {
    let object = t.server.object("examplebucket", key).unwrap();
    object
        .headers
        .into_iter()
        .find(|(name, _)| name == "content-type")
        .unwrap()
        .1
}

/// Asserts what headers and ACL an object has that is uploaded with these options, in one request
/// and in parts.
#[track_caller]
fn assert_objects_have<const N: usize>(
    options: impl Fn() -> [UploadOption<'static>; N],
    wanted: &[(&str, &str)],
    acl: Option<&str>,
) {
    for size in SIZES {
        let t = Harness::new();
        let path = t.file("f", size);
        t.upload(options()).unwrap();
        t.assert_stored("o", &path);
        let object = t.server.object("examplebucket", "o").unwrap();
        let own = object
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-oss-"));
        let mut own: Vec<_> = own
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        own.sort_unstable();
        assert_eq!(own, wanted);
        assert_eq!(object.acl.as_deref(), acl);
    }
}

#[test]
fn object_acl_values_are_sent() {
    for (acl, wanted) in [
        (ObjectAcl::Private, "private"),
        (ObjectAcl::PublicRead, "public-read"),
        (ObjectAcl::PublicReadWrite, "public-read-write"),
        (ObjectAcl::Default, "default"),
    ] {
        assert_objects_have(|| [object_acl(acl)], &[], Some(wanted));
    }
}

#[test]
fn storage_class_values_are_sent() {
    for (class, wanted) in [
        (StorageClass::Standard, "Standard"),
        (StorageClass::InfrequentAccess, "IA"),
        (StorageClass::Archive, "Archive"),
        (StorageClass::ColdArchive, "ColdArchive"),
        (StorageClass::DeepColdArchive, "DeepColdArchive"),
    ] {
        assert_objects_have(
            || [storage_class(class)],
            &[("x-oss-storage-class", wanted)],
            None,
        );
    }
}

#[test]
fn server_side_encryption_values_are_sent() {
    const METHOD: &str = "x-oss-server-side-encryption";
    let kms = |key_id: Option<&str>| ServerSideEncryption::Kms {
        key_id: key_id.map(str::to_owned),
    };
    for (encryption, wanted) in [
        (ServerSideEncryption::Aes256, vec![(METHOD, "AES256")]),
        (ServerSideEncryption::Sm4, vec![(METHOD, "SM4")]),
        (kms(None), vec![(METHOD, "KMS")]),
        (
            kms(Some("id-1")),
            vec![
                (METHOD, "KMS"),
                ("x-oss-server-side-encryption-key-id", "id-1"),
            ],
        ),
    ] {
        // The last value replaces the earlier one as a whole, with its key id.
        let earlier = || server_side_encryption(kms(Some("earlier")));
        assert_objects_have(
            || [earlier(), server_side_encryption(encryption.clone())],
            &wanted,
            None,
        );
    }
}

#[test]
fn meta_names_ignore_case_and_prefix() {
    assert_objects_have(
        || {
            [
                meta("Author", "a"),
                meta("X-OSS-Meta-AUTHOR", "李"),
                meta("x-oss-meta-b", "1"),
                meta("c-D-9", "ok"),
            ]
        },
        &[
            ("x-oss-meta-author", "%E6%9D%8E"),
            ("x-oss-meta-b", "1"),
            ("x-oss-meta-c-d-9", "ok"),
        ],
        None,
    );
}

#[test]
fn tag_values_are_encoded_and_last_one_wins() {
    for size in SIZES {
        let t = Harness::new();
        let tags = [
            tag("a", "1"),
            tag("团队", "x +-=._:/"),
            tag("a", "2"),
            tag("empty", ""),
        ];
        t.bucket
            .upload_file("o", t.file("f", size), PART, tags)
            .unwrap();
        let object = t.server.object("examplebucket", "o").unwrap();
        let wanted = "a=2&empty=&%E5%9B%A2%E9%98%9F=x%20%2B-%3D._%3A%2F";
        assert_eq!(object.tagging.as_deref(), Some(wanted));
    }
}

#[test]
fn options_accept_largest_values() {
    for size in SIZES {
        let t = Harness::new();
        let tags = (0..10).map(|n| tag(format!("{n}{}", "键".repeat(127)), "值".repeat(256)));
        let metas = (0..4).map(|n| meta(n.to_string(), "v".repeat(2000)));
        let limits = [
            traffic_limit(819_200),
            routines(100),
            multipart_threshold(5 << 30),
            multipart_threshold(2),
        ];
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let options = tags.chain(metas).chain(limits).chain([expires(last)]);
        t.bucket
            .upload_file("o", t.file("f", size), PART, options)
            .unwrap();
        let object = t.server.object("examplebucket", "o").unwrap();
        let expires = (
            "expires".to_owned(),
            "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(),
        );
        assert!(object.headers.contains(&expires), "{:?}", object.headers);
    }
}

#[test]
fn options_reject_invalid_values_before_any_request() {
    let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let kms = |id: &str| {
        server_side_encryption(ServerSideEncryption::Kms {
            key_id: Some(id.into()),
        })
    };
    let app = |url: &str| callback(Callback::new(url, "body"));
    let good = || Callback::new("http://h/", "body");
    let mut wrong = vec![
        ("content_type", content_type("")),
        ("content_type", content_type(" ")),
        ("expires", expires(before)),
        ("expires", expires(after(253_402_300_800))),
        ("meta", meta("", "v")),
        ("meta", meta("x-oss-meta-", "v")),
        ("meta", meta("a b", "v")),
        ("meta", meta("a:b", "v")),
        ("meta", meta("名", "v")),
        ("meta", meta("a\n", "v")),
        ("meta", meta("a", "v\r\nx-oss-object-acl: public-read")),
        ("meta", meta("a", "v\0")),
        ("meta", meta("a", "v".repeat(8 * 1024))),
        ("meta", meta("a", "中".repeat(1024))),
        ("tag", tag("", "v")),
        ("tag", tag("k".repeat(129), "v")),
        ("tag", tag("k", "v".repeat(257))),
        ("tag", tag("k!", "v")),
        ("tag", tag("k", "a&b")),
        ("tag", tag("k", "a\n")),
        ("server_side_encryption", kms("")),
        ("server_side_encryption", kms("a\nb")),
        ("server_side_encryption", kms("中")),
        ("traffic_limit", traffic_limit(0)),
        ("traffic_limit", traffic_limit(245_759)),
        ("traffic_limit", traffic_limit(838_860_801)),
        ("bandwidth_limit", bandwidth_limit(0)),
        ("multipart_threshold", multipart_threshold((5 << 30) + 1)),
        ("routines", routines(0)),
        ("routines", routines(101)),
        ("callback", app("")),
        ("callback", app("ftp://h/")),
        ("callback", app("http://h/杭")),
        (
            "callback",
            app("http://h/;http://h/;http://h/;http://h/;http://h/;http://h/"),
        ),
        ("callback", callback(Callback::new("http://h/", ""))),
        ("callback", callback(good().var("name", "v"))),
        ("callback", callback(good().var("x:Name", "v"))),
        ("checkpoint_dir", checkpoint_dir(true, "")),
    ];
    for bad in ["a\nb", "a\r\nb", "a\tb", "a\0b", "\u{7f}", "中"] {
        wrong.extend([
            ("content_type", content_type(bad)),
            ("cache_control", cache_control(bad)),
            ("content_disposition", content_disposition(bad)),
            ("content_encoding", content_encoding(bad)),
            ("content_language", content_language(bad)),
        ]);
    }
    wrong.push(("callback", callback(good().body_type("text/plain"))));
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    for (name, option) in wrong {
        let shown = format!("{option:?}");
        let error = t.upload([checkpoint(true, ""), option]).unwrap_err();
        assert_option(&error, name, &shown);
        assert!(!error.is_resumable());
    }
    let eleven = (0..11).map(|n| tag(n.to_string(), ""));
    assert_option(&t.upload(eleven).unwrap_err(), "tag", "11 tags");
    let both = [sequential(true), routines(2)];
    assert_option(&t.upload(both).unwrap_err(), "sequential", "both");
    let itself = [checkpoint(true, &path)];
    assert_option(&t.upload(itself).unwrap_err(), "checkpoint", "itself");
    assert_eq!(t.server.requests().len(), 0);
    t.assert_files(&["f"]);
    assert!(std::fs::read(&path).unwrap() == content("f", 2 * PART));
}

#[track_caller]
fn assert_option(error: &Error, name: &str, shown: &str) {
    let Error::InvalidOption { option, reason, .. } = error else {
        panic!("{shown}: {error:?}")
    };
    assert_eq!(*option, name, "{shown}: {reason}");
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("invalid {name}: ")) && !text.contains(['\n', '\r', '\0']),
        "{text:?}"
    );
}

#[test]
fn forbid_overwrite_keeps_existing_object() {
    for size in SIZES {
        let t = Harness::new();
        t.server.put_object("examplebucket", "o", b"first");
        let options = [forbid_overwrite(true), checkpoint(true, "")];
        let error = t
            .bucket
            .upload_file("o", t.file("f", size), PART, options)
            .unwrap_err();
        assert_eq!(error.service_code(), Some("FileAlreadyExists"));
        assert!(!error.is_resumable());
        assert_eq!(
            t.server.object("examplebucket", "o").unwrap().bytes,
            b"first"
        );
        assert_eq!(t.server.requests().len(), 1);
        t.assert_nothing_left(&["f"]);
        t.bucket
            .upload_file("o", t.path("f"), PART, [forbid_overwrite(false)])
            .unwrap();
        t.assert_stored("o", &t.path("f"));
        assert!(
            t.server
                .requests()
                .iter()
                .skip(1)
                .all(|r| r.header("x-oss-forbid-overwrite").is_none())
        );
    }
}

#[test]
fn forbid_overwrite_keeps_object_that_appears_during_upload() {
    let t = Harness::new();
    t.file("f", 2 * PART);
    let rival = |_: &oss_upload::Progress| t.server.put_object("examplebucket", "o", b"rival");
    let error = t
        .upload([forbid_overwrite(true), progress(rival)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("FileAlreadyExists"));
    assert_eq!(
        t.server.object("examplebucket", "o").unwrap().bytes,
        b"rival"
    );
    assert_eq!(t.requests(Operation::CompleteMultipartUpload).len(), 1);
    t.assert_nothing_left(&["f"]);
}

/// Interrupts an upload after one part, and uploads again. Returns the old upload id, and the first
/// event and the result of the second call.
fn interrupted<'a>(
    t: &Harness,
    first: Vec<UploadOption<'a>>,
    second: Vec<UploadOption<'a>>,
) -> (String, ProgressEvent, Uploaded) {
    let path = t.file("f", 3 * PART);
    t.refuse_part(2);
    t.upload(first.into_iter().chain([checkpoint(true, "")]))
        .unwrap_err();
    let old = t.server.uploads()[0].upload_id.clone();
    let events = RefCell::new(Vec::new());
    let more = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    let uploaded = t.upload(second.into_iter().chain(more)).unwrap();
    t.assert_stored("o", &path);
    t.assert_nothing_left(&["f"]);
    let first = events.borrow()[0];
    (old, first, uploaded)
}

#[test]
fn resume_with_other_object_options_restarts() {
    let changes: [fn() -> UploadOption<'static>; 12] = [
        || meta("a", "2"),
        || meta("b", "1"),
        || content_type("text/plain"),
        || cache_control("no-cache"),
        || content_language("en"),
        || expires(SystemTime::UNIX_EPOCH),
        || object_acl(ObjectAcl::Private),
        || storage_class(StorageClass::Archive),
        || tag("a", "1"),
        || server_side_encryption(ServerSideEncryption::Aes256),
        || forbid_overwrite(true),
        || sequential(true),
    ];
    for change in changes {
        let shown = format!("{:?}", change());
        let t = Harness::new();
        let (old, event, uploaded) =
            interrupted(&t, vec![meta("a", "1")], vec![meta("a", "1"), change()]);
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::OptionsChanged),
            "{shown}"
        );
        assert_eq!(uploaded.parts_resumed, 0);
        let aborted = t.requests(Operation::AbortMultipartUpload);
        assert_eq!(aborted.len(), 1, "{shown}");
        assert_eq!(aborted[0].upload_id.as_ref(), Some(&old), "{shown}");
        assert_ne!(uploaded.upload_id, Some(old));
    }
}

#[test]
fn resume_with_other_request_options_keeps_parts() {
    let (t, app) = (Harness::new(), CallbackServer::start(200, "{}"));
    let first = vec![
        meta("a", "1"),
        meta("b", "2"),
        request_payer(true),
        traffic_limit(838_860_800),
    ];
    let second = vec![
        meta("X-Oss-Meta-B", "2"),
        meta("a", "1"),
        traffic_limit(819_200),
        routines(3),
        content_md5(true),
        verify_on_resume(true),
        bandwidth_limit(1 << 30),
        callback(Callback::new(app.url("/"), "body")),
    ];
    let (old, event, uploaded) = interrupted(&t, first, second);
    assert_eq!(event, ProgressEvent::Resumed);
    assert_eq!((uploaded.upload_id, uploaded.parts_resumed), (Some(old), 1));
    assert_eq!(t.parts_sent(), [1, 2, 2, 3]);
}

#[test]
fn multipart_threshold_decides_on_put_object() {
    let t = Harness::new();
    for (size, threshold, parts) in [
        (3 * PART, 3 * PART + 1, None),
        (3 * PART, 3 * PART, Some(3)),
        (PART, PART, Some(1)),
        (1, 1, Some(1)),
        (1, 0, Some(1)),
        (1, 2, None),
        (0, 0, None),
    ] {
        let path = t.file("f", size);
        t.server.clear_requests();
        let uploaded = t.upload([multipart_threshold(threshold)]).unwrap();
        t.assert_stored("o", &path);
        assert_eq!(
            uploaded.parts,
            parts.unwrap_or(1),
            "{size} bytes below {threshold}"
        );
        assert_eq!(uploaded.upload_id.is_some(), parts.is_some());
        assert_eq!(
            t.server.requests().len(),
            parts.map_or(1, |parts| parts + 2)
        );
    }
}

#[test]
fn sequential_sends_parts_in_order_and_yields_content_md5() {
    let t = Harness::new();
    let path = t.file("f", 5 * PART + 7);
    let uploaded = t.upload([sequential(true)]).unwrap();
    t.assert_stored("o", &path);
    assert!(uploaded.etag.ends_with("-6"), "{}", uploaded.etag);
    let md5 = STANDARD.encode(md5::compute(std::fs::read(&path).unwrap()).0);
    let object = t.server.object("examplebucket", "o").unwrap();
    assert_eq!(object.content_md5, Some(md5));
    let initiate = &t.requests(Operation::InitiateMultipartUpload)[0];
    assert!(
        initiate.query.split('&').any(|param| param == "sequential"),
        "{}",
        initiate.query
    );
    let sent: Vec<_> = t
        .requests(Operation::UploadPart)
        .iter()
        .map(|request| request.part_number.unwrap())
        .collect();
    assert_eq!(sent, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn open_file_is_read_from_the_start() {
    for size in [0, 1, 2 * PART + 7] {
        let t = Harness::new();
        let path = t.file("f", size);
        let mut file = File::open(&path).unwrap();
        file.seek(SeekFrom::Start(size / 2 + 1)).unwrap();
        let uploaded = t
            .bucket
            .upload_open_file("o", file, PART, [routines(2)])
            .unwrap();
        assert_eq!(uploaded.size, size);
        t.assert_stored("o", &path);
    }
}

#[test]
fn open_file_needs_an_explicit_checkpoint_path() {
    let t = Harness::new();
    let file = File::open(t.file("f", 2 * PART)).unwrap();
    let error = t
        .bucket
        .upload_open_file("o", file, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_option(&error, "checkpoint", "an open file");
    assert!(
        error.to_string().contains("open file") && error.to_string().contains("checkpoint_dir"),
        "{error}"
    );
    assert_eq!(t.server.requests().len(), 0);
}

#[test]
fn open_file_resumes_with_checkpoint_dir_or_path() {
    let t = Harness::new();
    let (path, dir) = (t.file("f", 3 * PART), t.path("checkpoints"));
    let checkpoints: [fn(&std::path::Path) -> UploadOption<'static>; 2] = [
        |dir| checkpoint_dir(true, dir.join("made/for/it")),
        |dir| checkpoint(true, dir.join("cp")),
    ];
    for (key, checkpoint_in) in ["o1", "o2"].into_iter().zip(checkpoints) {
        t.server.clear_requests();
        t.refuse_part(2);
        let file = || File::open(&path).unwrap();
        t.bucket
            .upload_open_file(key, file(), PART, [checkpoint_in(&dir)])
            .unwrap_err();
        let uploaded = t
            .bucket
            .upload_open_file(key, file(), PART, [checkpoint_in(&dir)])
            .unwrap();
        assert_eq!(uploaded.parts_resumed, 1);
        assert_eq!(t.parts_sent(), [1, 2, 2, 3]);
        t.assert_stored(key, &path);
    }
    std::fs::remove_dir(dir.join("made/for/it")).expect("the directory is empty");
}

#[test]
fn open_file_does_not_resume_parts_of_another_file() {
    let t = Harness::new();
    let (first, second, checkpoints) = (
        t.file("f", 3 * PART),
        t.file("g", 3 * PART),
        t.path("checkpoints"),
    );
    let time = SystemTime::now() - Duration::from_secs(60);
    let open = |path: &std::path::Path| {
        let file = File::options().read(true).write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
        file
    };
    t.refuse_part(3);
    t.bucket
        .upload_open_file(
            "o",
            open(&first),
            PART,
            [checkpoint_dir(true, &checkpoints)],
        )
        .unwrap_err();
    let uploaded = t
        .bucket
        .upload_open_file(
            "o",
            open(&second),
            PART,
            [checkpoint_dir(true, &checkpoints)],
        )
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    t.assert_stored("o", &second);
}

#[test]
fn content_md5_is_sent_with_every_body() {
    for size in SIZES {
        let t = Harness::new();
        let path = t.file("f", size);
        t.upload([content_md5(true)]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let md5 = |bytes| STANDARD.encode(md5::compute(bytes).0);
        for request in t.requests(Operation::UploadPart) {
            let from = (request.part_number.unwrap() as usize - 1) * PART as usize;
            let part = &bytes[from..bytes.len().min(from + PART as usize)];
            assert_eq!(request.header("content-md5"), Some(md5(part).as_str()));
        }
        for request in t.requests(Operation::PutObject) {
            assert_eq!(request.header("content-md5"), Some(md5(&bytes).as_str()));
        }
    }
}

#[test]
fn retry_resends_corrupted_body_with_and_without_content_md5() {
    for (size, operation) in [(1, Operation::PutObject), (2 * PART, Operation::UploadPart)] {
        for wanted in [false, true] {
            let t = Harness::new();
            let path = t.file("f", size);
            t.inject(operation, Fault::CorruptBody);
            t.upload([content_md5(wanted)]).unwrap();
            t.assert_stored("o", &path);
            assert_eq!(t.server.faults_fired(), 1);
        }
    }
}

#[test]
fn bandwidth_limit_is_shared_by_all_workers() {
    for (size, routines_) in [(4 * PART, 4), (PART, 1)] {
        let t = Harness::new();
        let path = t.file("f", size);
        let started = Instant::now();
        let limits = [bandwidth_limit(size * 2), routines(routines_)];
        t.upload(limits).unwrap();
        assert!(
            started.elapsed() >= Duration::from_millis(250),
            "{:?}",
            started.elapsed()
        );
        t.assert_stored("o", &path);
    }
}

#[test]
fn options_accept_any_iterator() {
    let t = Harness::new();
    t.file("f", 1);
    let upload = |options: &mut dyn Iterator<Item = UploadOption<'static>>| {
        t.upload(options).unwrap();
        stored_type(&t, "o")
    };
    let (first, second) = (|| content_type("a/1"), || content_type("a/2"));
    assert_eq!(upload(&mut None.into_iter()), "application/octet-stream");
    assert_eq!(upload(&mut Some(first()).into_iter()), "a/1");
    assert_eq!(upload(&mut [first(), second()].into_iter()), "a/2");
    assert_eq!(upload(&mut vec![second(), first()].into_iter()), "a/1");
    assert_eq!(
        upload(&mut [first()].into_iter().chain(Some(second()))),
        "a/2"
    );
    t.upload([]).unwrap();
    t.upload(None).unwrap();
    t.upload(Some(first())).unwrap();
    t.upload(vec![first()]).unwrap();
}

#[test]
fn options_last_value_wins() {
    let t = Harness::new();
    let path = t.file("f", 2 * PART);
    let options = [
        checkpoint(true, &path),
        checkpoint_dir(true, ""),
        checkpoint(false, ""),
        sequential(true),
        sequential(false),
        routines(1),
        routines(2),
        multipart_threshold(5 << 30),
        multipart_threshold(0),
        forbid_overwrite(true),
        forbid_overwrite(false),
        request_payer(true),
        request_payer(false),
        traffic_limit(819_200),
        traffic_limit(819_201),
        expires(SystemTime::UNIX_EPOCH),
        expires(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
    ];
    t.upload(options).unwrap();
    let (initiate, part) = (
        t.requests(Operation::InitiateMultipartUpload),
        t.requests(Operation::UploadPart),
    );
    assert!(!initiate[0].query.contains("sequential"));
    let wanted = [
        ("content-type", "application/octet-stream"),
        ("expires", "Thu, 01 Jan 1970 00:00:01 GMT"),
    ];
    assert_eq!(headers(&initiate[0]), wanted);
    assert_eq!(headers(&part[0]), [("x-oss-traffic-limit", "819201")]);
    t.assert_nothing_left(&["f"]);
}

#[test]
fn options_debug_shows_the_call() {
    let token = CancelToken::new();
    for (option, shown) in [
        (routines(3), "routines(3)"),
        (checkpoint(true, "a"), "checkpoint(true, \"a\")"),
        (checkpoint_dir(true, "a"), "checkpoint_dir(true, \"a\")"),
        (progress(|_| ()), "progress(..)"),
        (sequential(true), "sequential(true)"),
        (
            delete_upload_on_cancelling(false),
            "delete_upload_on_cancelling(false)",
        ),
        (content_type("a/b"), "content_type(\"a/b\")"),
        (meta("a", "b"), "meta(\"a\", \"b\")"),
        (traffic_limit(819_200), "traffic_limit(819200)"),
        (object_acl(ObjectAcl::Private), "object_acl(\"private\")"),
    ] {
        assert_eq!(format!("{option:?}"), shown);
    }
    assert!(format!("{:?}", cancel(&token)).starts_with("cancel("));
}

//! The options: what each of them does to the requests and to the object.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::{Fault, Operation, RecordedRequest, Rule};
use oss_upload::{
    Callback, CancelToken, Error, ObjectAcl, ProgressEvent, RestartReason, ServerSideEncryption,
    SignatureVersion, StorageClass, UploadOption, Uploaded, adopt_unfinished, bandwidth_limit,
    cache_control, callback, cancel, checkpoint, checkpoint_dir, content_disposition,
    content_encoding, content_language, content_md5, content_type, delete_upload_on_cancelling,
    expires, forbid_overwrite, meta, multipart_threshold, object_acl, progress, request_payer,
    routines, sequential, server_side_encryption, storage_class, tag, traffic_limit,
    verify_on_resume,
};

use crate::callback::App;
use crate::house::{House, PART, client, content};

/// The small ones go up in a PutObject, the large one in parts.
const SIZES: [u64; 3] = [0, 1, 2 * PART + 7];

/// Whatever every request has.
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

/// What a request was given beyond that, in the order of names.
fn headers(logged: &RecordedRequest) -> Vec<(&str, &str)> {
    let all = logged
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

/// Every option that becomes a header.
fn every_header(app: &App) -> Vec<UploadOption<'static>> {
    let key_id = Some("9468da86-3509-4f8d-a61e-6eab1eac0001".to_owned());
    vec![
        content_type("text/plain; charset=utf-8"),
        cache_control("no-cache"),
        content_disposition("attachment; filename*=UTF-8''%E4%B8%AD.txt"),
        content_encoding("gzip"),
        content_language("zh-CN"),
        expires(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_999)),
        meta("author", "李 & co"),
        meta("x-oss-meta-Empty", ""),
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
    ("x-oss-meta-empty", ""),
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
fn every_header_goes_where_it_belongs_and_nowhere_else() {
    let (house, app) = (House::new(), App::start(200, "{}"));
    let path = house.file("f", 3 * PART);
    let upload = |key: &str, more: UploadOption<'static>| {
        house.bucket.upload_file(
            key,
            &path,
            PART,
            every_header(&app).into_iter().chain([more]),
        )
    };
    house.refuse_part(2);
    upload("without-record", checkpoint(false, "")).unwrap_err();
    house.refuse_part(2);
    upload("o", checkpoint(true, "")).unwrap_err();
    house
        .server
        .inject(Rule::new(Fault::ResetAfterApply).on(Operation::CompleteMultipartUpload));
    upload("o", checkpoint(true, "")).unwrap();
    upload("adopting", adopt_unfinished(true)).unwrap();
    house
        .bucket
        .upload_file("small", house.file("g", 1), PART, every_header(&app))
        .unwrap();

    let call = [("x-oss-callback", ""), ("x-oss-callback-var", "")];
    let mut seen = Vec::new();
    for logged in house.server.requests() {
        let wanted = match logged.operation {
            Operation::InitiateMultipartUpload => sorted(&[&OBJECT, &AT_BOTH_ENDS, &[PAYER]]),
            Operation::UploadPart => sorted(&[&[TRAFFIC, PAYER]]),
            Operation::CompleteMultipartUpload => sorted(&[&AT_BOTH_ENDS, &call, &[PAYER, XML]]),
            Operation::PutObject => sorted(&[&OBJECT, &AT_BOTH_ENDS, &call, &[TRAFFIC, PAYER]]),
            _ => vec![PAYER],
        };
        let mut sent = headers(&logged);
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
        assert_eq!(sent, wanted, "{:?}", logged.operation);
        seen.push(logged.operation);
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
        let object = house.server.object("examplebucket", key).unwrap();
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
fn without_options_only_the_content_type_is_sent() {
    for size in SIZES {
        let house = House::new();
        house
            .bucket
            .upload_file("o", house.file("f", size), PART, [])
            .unwrap();
        for logged in house.server.requests() {
            let wanted = match logged.operation {
                Operation::UploadPart => vec![],
                Operation::CompleteMultipartUpload => vec![XML],
                _ => vec![("content-type", "application/octet-stream")],
            };
            assert_eq!(headers(&logged), wanted, "{:?}", logged.operation);
        }
    }
}

#[test]
fn values_are_signed_as_they_arrive() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        for size in SIZES {
            let house = House::new();
            let bucket = client(&house.server).signature(signature).build().unwrap();
            let bucket = bucket.bucket("examplebucket").unwrap();
            let options = [
                content_type(" text/plain "),
                cache_control("  no-cache"),
                meta("spaces", "  two  words  "),
                meta("empty", ""),
                meta("100", "100% =&?;\"'<>~|"),
            ];
            bucket
                .upload_file("o", house.file("f", size), PART, options)
                .unwrap();
            let object = house.server.object("examplebucket", "o").unwrap();
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
fn the_content_type_is_guessed_from_the_file_then_from_the_key() {
    for size in SIZES {
        let house = House::new();
        for (name, key, wanted) in [
            ("f.html", "o.json", "text/html"),
            ("F.PNG", "o", "image/png"),
            ("f", "dir.d/o.json", "application/json"),
            ("f.unheard-of", "o.txt", "text/plain"),
            ("f", "o.json/none", "application/octet-stream"),
        ] {
            let path = house.file(name, size);
            house.bucket.upload_file(key, &path, PART, []).unwrap();
            assert_eq!(stored_type(&house, key), wanted, "{name} to {key}");
            let wanted = if key.ends_with(".json") {
                "application/json"
            } else {
                "text/plain"
            };
            if key.contains('.') && !key.ends_with("none") {
                house
                    .bucket
                    .upload_open_file(key, File::open(path).unwrap(), PART, [])
                    .unwrap();
                assert_eq!(stored_type(&house, key), wanted, "open file to {key}");
            }
        }
    }
}

fn stored_type(house: &House, key: &str) -> String {
    let object = house.server.object("examplebucket", key).unwrap();
    object
        .headers
        .into_iter()
        .find(|(name, _)| name == "content-type")
        .unwrap()
        .1
}

/// The object that is made with these options, once in one request and once in parts.
#[track_caller]
fn assert_objects_have<const N: usize>(
    options: impl Fn() -> [UploadOption<'static>; N],
    wanted: &[(&str, &str)],
    acl: Option<&str>,
) {
    for size in SIZES {
        let house = House::new();
        let path = house.file("f", size);
        house
            .bucket
            .upload_file("o", &path, PART, options())
            .unwrap();
        house.assert_stored("o", &path);
        let object = house.server.object("examplebucket", "o").unwrap();
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
fn every_acl() {
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
fn every_storage_class() {
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
fn every_encryption() {
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
        // The later one wins as a whole: no key id of the earlier one stays.
        let earlier = || server_side_encryption(kms(Some("earlier")));
        assert_objects_have(
            || [earlier(), server_side_encryption(encryption.clone())],
            &wanted,
            None,
        );
    }
}

#[test]
fn metadata_by_names_without_case_and_with_or_without_prefix() {
    assert_objects_have(
        || {
            [
                meta("Author", "a"),
                meta("X-OSS-Meta-AUTHOR", "李"),
                meta("x-oss-meta-b", "1"),
                meta("c-d_e.f", "ok"),
            ]
        },
        &[
            ("x-oss-meta-author", "%E6%9D%8E"),
            ("x-oss-meta-b", "1"),
            ("x-oss-meta-c-d_e.f", "ok"),
        ],
        None,
    );
}

#[test]
fn tags_are_encoded_and_the_later_value_wins() {
    for size in SIZES {
        let house = House::new();
        let tags = [
            tag("a", "1"),
            tag("团队", "x +-=._:/"),
            tag("a", "2"),
            tag("empty", ""),
        ];
        house
            .bucket
            .upload_file("o", house.file("f", size), PART, tags)
            .unwrap();
        let object = house.server.object("examplebucket", "o").unwrap();
        let wanted = "a=2&empty=&%E5%9B%A2%E9%98%9F=x%20%2B-%3D._%3A%2F";
        assert_eq!(object.tagging.as_deref(), Some(wanted));
    }
}

#[test]
fn the_largest_values_that_are_taken() {
    for size in SIZES {
        let house = House::new();
        let tags = (0..10).map(|n| tag(format!("{n}{}", "键".repeat(127)), "值".repeat(256)));
        let metas = (0..4).map(|n| meta(n.to_string(), "v".repeat(2000)));
        let limits = [
            traffic_limit(245_760),
            routines(100),
            multipart_threshold(5 << 30),
            multipart_threshold(2),
        ];
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let options = tags.chain(metas).chain(limits).chain([expires(last)]);
        house
            .bucket
            .upload_file("o", house.file("f", size), PART, options)
            .unwrap();
        let object = house.server.object("examplebucket", "o").unwrap();
        let expires = (
            "expires".to_owned(),
            "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(),
        );
        assert!(object.headers.contains(&expires), "{:?}", object.headers);
    }
}

#[test]
fn wrong_values_are_named_before_any_request() {
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
    let house = House::new();
    let path = house.file("f", 2 * PART);
    for (name, option) in wrong {
        let shown = format!("{option:?}");
        let error = house
            .bucket
            .upload_file("o", &path, PART, [checkpoint(true, ""), option])
            .unwrap_err();
        assert_option(&error, name, &shown);
        assert!(!error.is_resumable());
    }
    let eleven = (0..11).map(|n| tag(n.to_string(), ""));
    assert_option(
        &house
            .bucket
            .upload_file("o", &path, PART, eleven)
            .unwrap_err(),
        "tag",
        "11 tags",
    );
    let both = [sequential(true), routines(2)];
    assert_option(
        &house
            .bucket
            .upload_file("o", &path, PART, both)
            .unwrap_err(),
        "sequential",
        "both",
    );
    let itself = [checkpoint(true, &path)];
    assert_option(
        &house
            .bucket
            .upload_file("o", &path, PART, itself)
            .unwrap_err(),
        "checkpoint",
        "itself",
    );
    assert_eq!(house.server.requests().len(), 0);
    house.assert_files(&["f"]);
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
fn an_existing_object_is_not_overwritten() {
    for size in SIZES {
        let house = House::new();
        house.server.put_object("examplebucket", "o", b"first");
        let options = [forbid_overwrite(true), checkpoint(true, "")];
        let error = house
            .bucket
            .upload_file("o", house.file("f", size), PART, options)
            .unwrap_err();
        assert_eq!(error.service_code(), Some("FileAlreadyExists"));
        assert!(!error.is_resumable());
        assert_eq!(
            house.server.object("examplebucket", "o").unwrap().bytes,
            b"first"
        );
        assert_eq!(house.server.requests().len(), 1);
        house.assert_nothing_left(&["f"]);
        house
            .bucket
            .upload_file("o", house.path("f"), PART, [forbid_overwrite(false)])
            .unwrap();
        house.assert_stored("o", &house.path("f"));
        assert!(
            house
                .server
                .requests()
                .iter()
                .skip(1)
                .all(|r| r.header("x-oss-forbid-overwrite").is_none())
        );
    }
}

#[test]
fn an_object_that_appears_meanwhile_is_not_overwritten() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
    let rival = |_: &oss_upload::Progress| house.server.put_object("examplebucket", "o", b"rival");
    let error = house
        .bucket
        .upload_file("o", &path, PART, [forbid_overwrite(true), progress(rival)])
        .unwrap_err();
    assert_eq!(error.service_code(), Some("FileAlreadyExists"));
    assert_eq!(
        house.server.object("examplebucket", "o").unwrap().bytes,
        b"rival"
    );
    assert_eq!(house.requests(Operation::CompleteMultipartUpload).len(), 1);
    house.assert_nothing_left(&["f"]);
}

/// Runs twice; the first time only one part goes up. Gives the old upload's id and what the second call reported first.
fn interrupted<'a>(
    house: &House,
    first: Vec<UploadOption<'a>>,
    second: Vec<UploadOption<'a>>,
) -> (String, ProgressEvent, Uploaded) {
    let path = house.file("f", 3 * PART);
    house.refuse_part(2);
    house
        .bucket
        .upload_file(
            "o",
            &path,
            PART,
            first.into_iter().chain([checkpoint(true, "")]),
        )
        .unwrap_err();
    let old = house.server.uploads()[0].upload_id.clone();
    let events = RefCell::new(Vec::new());
    let more = [
        checkpoint(true, ""),
        progress(|progress| events.borrow_mut().push(progress.event)),
    ];
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, second.into_iter().chain(more))
        .unwrap();
    house.assert_stored("o", &path);
    house.assert_nothing_left(&["f"]);
    let first = events.borrow()[0];
    (old, first, uploaded)
}

#[test]
fn what_is_given_when_an_upload_begins_can_not_change_later() {
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
        let house = House::new();
        let (old, event, uploaded) =
            interrupted(&house, vec![meta("a", "1")], vec![meta("a", "1"), change()]);
        assert_eq!(
            event,
            ProgressEvent::Restarted(RestartReason::OptionsChanged),
            "{shown}"
        );
        assert_eq!(uploaded.parts_resumed, 0);
        let aborted = house.requests(Operation::AbortMultipartUpload);
        assert_eq!(aborted.len(), 1, "{shown}");
        assert_eq!(aborted[0].upload_id.as_ref(), Some(&old), "{shown}");
        assert_ne!(uploaded.upload_id, Some(old));
    }
}

#[test]
fn what_is_given_with_each_request_may_change() {
    let (house, app) = (House::new(), App::start(200, "{}"));
    let first = vec![
        meta("a", "1"),
        meta("b", "2"),
        request_payer(true),
        traffic_limit(838_860_800),
    ];
    let second = vec![
        meta("X-Oss-Meta-B", "2"),
        meta("a", "1"),
        traffic_limit(245_760),
        routines(3),
        content_md5(true),
        verify_on_resume(true),
        bandwidth_limit(1 << 30),
        callback(Callback::new(app.url("/"), "body")),
    ];
    let (old, event, uploaded) = interrupted(&house, first, second);
    assert_eq!(event, ProgressEvent::Resumed);
    assert_eq!((uploaded.upload_id, uploaded.parts_resumed), (Some(old), 1));
    assert_eq!(house.parts_sent(), [1, 2, 2, 3]);
}

#[test]
fn files_below_the_threshold_are_one_request() {
    let house = House::new();
    for (size, threshold, parts) in [
        (3 * PART, 3 * PART + 1, None),
        (3 * PART, 3 * PART, Some(3)),
        (PART, PART, Some(1)),
        (1, 1, Some(1)),
        (1, 0, Some(1)),
        (1, 2, None),
        (0, 0, None),
    ] {
        let path = house.file("f", size);
        house.server.clear_requests();
        let uploaded = house
            .bucket
            .upload_file("o", &path, PART, [multipart_threshold(threshold)])
            .unwrap();
        house.assert_stored("o", &path);
        assert_eq!(
            uploaded.parts,
            parts.unwrap_or(1),
            "{size} bytes below {threshold}"
        );
        assert_eq!(uploaded.upload_id.is_some(), parts.is_some());
        assert_eq!(
            house.server.requests().len(),
            parts.map_or(1, |parts| parts + 2)
        );
    }
}

#[test]
fn sequential_parts_go_up_in_order_and_make_an_md5() {
    let house = House::new();
    let path = house.file("f", 5 * PART + 7);
    let uploaded = house
        .bucket
        .upload_file("o", &path, PART, [sequential(true)])
        .unwrap();
    house.assert_stored("o", &path);
    assert_eq!(
        uploaded.etag,
        format!("{:X}", md5::compute(std::fs::read(&path).unwrap()))
    );
    let initiate = &house.requests(Operation::InitiateMultipartUpload)[0];
    assert!(
        initiate.query.split('&').any(|param| param == "sequential"),
        "{}",
        initiate.query
    );
    let sent: Vec<_> = house
        .requests(Operation::UploadPart)
        .iter()
        .map(|logged| logged.part_number.unwrap())
        .collect();
    assert_eq!(sent, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn an_open_file_is_read_from_its_beginning() {
    for size in [0, 1, 2 * PART + 7] {
        let house = House::new();
        let path = house.file("f", size);
        let mut file = File::open(&path).unwrap();
        file.seek(SeekFrom::Start(size / 2 + 1)).unwrap();
        let uploaded = house
            .bucket
            .upload_open_file("o", file, PART, [routines(2)])
            .unwrap();
        assert_eq!(uploaded.size, size);
        house.assert_stored("o", &path);
    }
}

#[test]
fn an_open_file_has_no_place_beside_it_for_the_checkpoint() {
    let house = House::new();
    let file = File::open(house.file("f", 2 * PART)).unwrap();
    let error = house
        .bucket
        .upload_open_file("o", file, PART, [checkpoint(true, "")])
        .unwrap_err();
    assert_option(&error, "checkpoint", "an open file");
    assert!(
        error.to_string().contains("open file") && error.to_string().contains("checkpoint_dir"),
        "{error}"
    );
    assert_eq!(house.server.requests().len(), 0);
}

#[test]
fn an_open_file_resumes_by_a_directory_or_a_path() {
    let house = House::new();
    let (path, dir) = (house.file("f", 3 * PART), house.path("records"));
    let records: [fn(&std::path::Path) -> UploadOption<'static>; 2] = [
        |dir| checkpoint_dir(true, dir.join("made/for/it")),
        |dir| checkpoint(true, dir.join("cp")),
    ];
    for (key, record) in ["o1", "o2"].into_iter().zip(records) {
        house.server.clear_requests();
        house.refuse_part(2);
        let file = || File::open(&path).unwrap();
        house
            .bucket
            .upload_open_file(key, file(), PART, [record(&dir)])
            .unwrap_err();
        let uploaded = house
            .bucket
            .upload_open_file(key, file(), PART, [record(&dir)])
            .unwrap();
        assert_eq!(uploaded.parts_resumed, 1);
        assert_eq!(house.parts_sent(), [1, 2, 2, 3]);
        house.assert_stored(key, &path);
    }
    std::fs::remove_dir(dir.join("made/for/it")).expect("the directory is empty");
}

#[test]
fn another_open_file_does_not_get_the_parts_of_the_first() {
    let house = House::new();
    let (first, second, records) = (
        house.file("f", 3 * PART),
        house.file("g", 3 * PART),
        house.path("records"),
    );
    let time = SystemTime::now() - Duration::from_secs(60);
    let open = |path: &std::path::Path| {
        let file = File::options().read(true).write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
        file
    };
    house.refuse_part(3);
    house
        .bucket
        .upload_open_file("o", open(&first), PART, [checkpoint_dir(true, &records)])
        .unwrap_err();
    let uploaded = house
        .bucket
        .upload_open_file("o", open(&second), PART, [checkpoint_dir(true, &records)])
        .unwrap();
    assert_eq!(uploaded.parts_resumed, 0);
    house.assert_stored("o", &second);
}

#[test]
fn every_body_has_its_md5_when_wanted() {
    for size in SIZES {
        let house = House::new();
        let path = house.file("f", size);
        house
            .bucket
            .upload_file("o", &path, PART, [content_md5(true)])
            .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let md5 = |bytes| STANDARD.encode(md5::compute(bytes).0);
        for logged in house.requests(Operation::UploadPart) {
            let from = (logged.part_number.unwrap() as usize - 1) * PART as usize;
            let part = &bytes[from..bytes.len().min(from + PART as usize)];
            assert_eq!(logged.header("content-md5"), Some(md5(part).as_str()));
        }
        for logged in house.requests(Operation::PutObject) {
            assert_eq!(logged.header("content-md5"), Some(md5(&bytes).as_str()));
        }
    }
}

#[test]
fn a_body_that_is_damaged_on_its_way_is_sent_again_with_and_without_md5() {
    for (size, operation) in [(1, Operation::PutObject), (2 * PART, Operation::UploadPart)] {
        for wanted in [false, true] {
            let house = House::new();
            let path = house.file("f", size);
            house
                .server
                .inject(Rule::new(Fault::CorruptBody).on(operation));
            house
                .bucket
                .upload_file("o", &path, PART, [content_md5(wanted)])
                .unwrap();
            house.assert_stored("o", &path);
            assert_eq!(house.server.faults_fired(), 1);
        }
    }
}

#[test]
fn the_bandwidth_limit_holds_for_all_threads_together() {
    for (size, routines_) in [(4 * PART, 4), (PART, 1)] {
        let house = House::new();
        let path = house.file("f", size);
        let started = Instant::now();
        let limits = [bandwidth_limit(size * 2), routines(routines_)];
        house.bucket.upload_file("o", &path, PART, limits).unwrap();
        assert!(
            started.elapsed() >= Duration::from_millis(250),
            "{:?}",
            started.elapsed()
        );
        house.assert_stored("o", &path);
    }
}

#[test]
fn options_come_in_anything_that_can_be_iterated_and_later_ones_win() {
    let house = House::new();
    let path = house.file("f", 1);
    let upload = |options: &mut dyn Iterator<Item = UploadOption<'static>>| {
        house.bucket.upload_file("o", &path, PART, options).unwrap();
        stored_type(&house, "o")
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
    house.bucket.upload_file("o", &path, PART, []).unwrap();
    house.bucket.upload_file("o", &path, PART, None).unwrap();
    house
        .bucket
        .upload_file("o", &path, PART, Some(first()))
        .unwrap();
    house
        .bucket
        .upload_file("o", &path, PART, vec![first()])
        .unwrap();
}

#[test]
fn of_every_option_the_later_one_counts() {
    let house = House::new();
    let path = house.file("f", 2 * PART);
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
        traffic_limit(245_760),
        traffic_limit(245_761),
        expires(SystemTime::UNIX_EPOCH),
        expires(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
    ];
    house.bucket.upload_file("o", &path, PART, options).unwrap();
    let (initiate, part) = (
        house.requests(Operation::InitiateMultipartUpload),
        house.requests(Operation::UploadPart),
    );
    assert!(!initiate[0].query.contains("sequential"));
    let wanted = [
        ("content-type", "application/octet-stream"),
        ("expires", "Thu, 01 Jan 1970 00:00:01 GMT"),
    ];
    assert_eq!(headers(&initiate[0]), wanted);
    assert_eq!(headers(&part[0]), [("x-oss-traffic-limit", "245761")]);
    house.assert_nothing_left(&["f"]);
}

#[test]
fn debug_shows_an_option_as_it_was_written() {
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
        (traffic_limit(245_760), "traffic_limit(245760)"),
        (object_acl(ObjectAcl::Private), "object_acl(\"private\")"),
    ] {
        assert_eq!(format!("{option:?}"), shown);
    }
    assert!(format!("{:?}", cancel(&token)).starts_with("cancel("));
}

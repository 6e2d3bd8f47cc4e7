//! Keys, part sizes and options. Nothing is sent.

use std::fs::File;
use std::time::{Duration, SystemTime};

use oss_upload::{
    Callback, ServerSideEncryption, UploadOption, bandwidth_limit, cache_control, callback,
    checkpoint, checkpoint_dir, content_disposition, content_encoding, content_language,
    content_type, expires, meta, multipart_threshold, routines, sequential, server_side_encryption,
    tag, traffic_limit,
};

use super::{MessageSnapshot, harness};
use crate::harness::{Harness, PART};

pub fn all(snapshot: &mut MessageSnapshot) {
    let t = harness();
    snapshot.hide(&t);
    t.file("f", 1);
    keys(snapshot, &t);
    part_sizes(snapshot, &t);
    let mut refused = |mistake: &str, options: Vec<UploadOption<'static>>| {
        snapshot.add(mistake, t.upload(options).unwrap_err());
    };
    numbers(&mut refused);
    headers(&mut refused);
    meta_and_tags(&mut refused);
    callbacks(&mut refused);
    checkpoints(snapshot, &t);
    assert_eq!(t.server.requests().len(), 0);
}

fn keys(snapshot: &mut MessageSnapshot, t: &Harness) {
    let path = t.path("f");
    for (mistake, key) in [
        ("the key is empty", ""),
        ("the key begins with a slash", "/dir/object.bin"),
        ("the key begins with a backslash", "\\dir\\object.bin"),
        ("the key is too long", &"中".repeat(342)),
    ] {
        snapshot.add(
            mistake,
            t.bucket.upload_file(key, &path, PART, []).unwrap_err(),
        );
    }
    snapshot.add(
        "the upload id is empty",
        t.bucket.abort_multipart_upload("o", "").unwrap_err(),
    );
}

fn part_sizes(snapshot: &mut MessageSnapshot, t: &Harness) {
    let path = t.path("f");
    for (mistake, part_size) in [
        ("the part size is 0", 0),
        ("the part size is too small", 64 * 1024),
        ("the part size is too large", 5 * 1024 * 1024 * 1024 + 1),
    ] {
        snapshot.add(
            mistake,
            t.bucket.upload_file("o", &path, part_size, []).unwrap_err(),
        );
    }
    let large = t.path("large");
    let file = File::create(&large).unwrap();
    file.set_len(10_000 * PART + 1).unwrap();
    snapshot.add(
        "too many parts",
        t.bucket.upload_file("o", &large, PART, []).unwrap_err(),
    );
    std::fs::remove_file(large).unwrap();
}

fn numbers(refused: &mut dyn FnMut(&str, Vec<UploadOption<'static>>)) {
    refused("routines is 0", vec![routines(0)]);
    refused("routines is 101", vec![routines(101)]);
    refused(
        "sequential, and several routines",
        vec![sequential(true), routines(4)],
    );
    refused(
        "multipart_threshold is too large",
        vec![multipart_threshold(6 << 30)],
    );
    refused("traffic_limit is too small", vec![traffic_limit(1024)]);
    refused(
        "traffic_limit is too large",
        vec![traffic_limit(1_000_000_000)],
    );
    refused("bandwidth_limit is 0", vec![bandwidth_limit(0)]);
    refused(
        "expires is before 1970",
        vec![expires(SystemTime::UNIX_EPOCH - Duration::from_secs(1))],
    );
}

fn headers(refused: &mut dyn FnMut(&str, Vec<UploadOption<'static>>)) {
    refused("content_type is empty", vec![content_type("")]);
    refused(
        "content_type has a line end",
        vec![content_type("text/plain\r\nx: y")],
    );
    refused(
        "content_disposition is not ASCII",
        vec![content_disposition("attachment; filename=\"合同.pdf\"")],
    );
    refused(
        "cache_control has a control character",
        vec![cache_control("no-cache\u{7f}")],
    );
    refused(
        "content_language is only spaces",
        vec![content_language("  ")],
    );
    refused(
        "content_encoding is very long and not ASCII",
        vec![content_encoding("é".repeat(5_000))],
    );
    let kms = ServerSideEncryption::Kms {
        key_id: Some(String::new()),
    };
    refused("the KMS key id is empty", vec![server_side_encryption(kms)]);
}

fn meta_and_tags(refused: &mut dyn FnMut(&str, Vec<UploadOption<'static>>)) {
    refused("the name of a meta is empty", vec![meta("", "v")]);
    refused("the name of a meta has a space", vec![meta("my name", "v")]);
    refused(
        "the name of a meta is very long",
        vec![meta("n ".repeat(5_000), "v")],
    );
    refused(
        "the value of a meta has a line end",
        vec![meta("author", "Li\nEve")],
    );
    refused("too much metadata", vec![meta("author", "x".repeat(9_000))]);
    refused("the key of a tag is empty", vec![tag("", "v")]);
    refused(
        "a tag has a character that is not allowed",
        vec![tag("project", "a&b")],
    );
    refused(
        "the key of a tag is too long",
        vec![tag("k".repeat(129), "v")],
    );
    refused(
        "the value of a tag is too long",
        vec![tag("project", "v".repeat(5_000))],
    );
    refused(
        "too many tags",
        (0..11).map(|n| tag(format!("k{n}"), "v")).collect(),
    );
}

fn callbacks(refused: &mut dyn FnMut(&str, Vec<UploadOption<'static>>)) {
    let url = "http://app.example.com/done";
    for (mistake, wrong) in [
        ("callback: no URL", Callback::new("", "body")),
        (
            "callback: an unsupported scheme",
            Callback::new("ftp://app.example.com", "body"),
        ),
        (
            "callback: a URL without a host",
            Callback::new("http:///done", "body"),
        ),
        (
            "callback: a URL with a space",
            Callback::new("http://app.example.com/my app", "body"),
        ),
        (
            "callback: six URLs",
            Callback::new([url; 6].join(";"), "body"),
        ),
        ("callback: no body", Callback::new(url, "")),
        (
            "callback: an unknown body type",
            Callback::new(url, "body").body_type("text/plain"),
        ),
        (
            "callback: a variable without x:",
            Callback::new(url, "body").var("user", "li"),
        ),
        (
            "callback: a variable in capitals",
            Callback::new(url, "body").var("x:User", "li"),
        ),
        (
            "callback: a very long URL",
            Callback::new("ü".repeat(5_000), "body"),
        ),
    ] {
        refused(mistake, vec![callback(wrong)]);
    }
}

fn checkpoints(snapshot: &mut MessageSnapshot, t: &Harness) {
    let path = t.path("f");
    let refused = |option| {
        t.bucket
            .upload_file("o", &path, PART, [option])
            .unwrap_err()
    };
    snapshot.add(
        "the checkpoint is the file to upload",
        refused(checkpoint(true, &path)),
    );
    snapshot.add(
        "the checkpoint's directory has no name",
        refused(checkpoint_dir(true, "")),
    );
    let file = File::open(&path).unwrap();
    let error = t
        .bucket
        .upload_open_file("o", file, PART, [checkpoint(true, "")])
        .unwrap_err();
    snapshot.add("a checkpoint beside an open file", error);
}

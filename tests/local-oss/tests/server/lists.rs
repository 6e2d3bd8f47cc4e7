//! Lists: common prefixes, pages and their order. And the deletion of many objects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_oss::LocalOss;

use crate::client::{Client, Response};

const KEYS: [&str; 6] = ["a", "b/1", "b/2", "b c/+", "d/e/f", "g"];

fn server() -> LocalOss {
    let server = LocalOss::start();
    for key in KEYS {
        server.put_object("examplebucket", key, b"x");
    }
    server
}

fn get(client: &Client, query: &str) -> Response {
    let response = client
        .send("GET", &format!("?{query}"), &[], b"")
        .expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// Returns the keys of a page, and its common prefixes in brackets.
fn entries(response: &Response) -> Vec<String> {
    let text = response.text();
    let inside = |chunk: &str, end: &str| chunk.split(end).next().unwrap_or_default().to_owned();
    let keys = text
        .split("<Key>")
        .skip(1)
        .map(|chunk| inside(chunk, "</Key>"));
    let groups = text
        .split("<CommonPrefixes><Prefix>")
        .skip(1)
        .map(|chunk| inside(chunk, "</Prefix>"));
    keys.chain(groups.map(|group| format!("[{group}]")))
        .collect()
}

#[test]
fn objects_are_grouped() {
    let server = server();
    let client = Client::of(&server);
    for (query, expected) in [
        ("", &["a", "b c/+", "b/1", "b/2", "d/e/f", "g"][..]),
        ("delimiter=/", &["a", "g", "[b c/]", "[b/]", "[d/]"]),
        ("delimiter=%2F&prefix=d/", &["[d/e/]"]),
        ("delimiter=/&prefix=d", &["[d/]"]),
        ("delimiter=/&prefix=b+c/", &["b c/+"]),
        (
            "delimiter=/&prefix=b%20c/&encoding-type=url",
            &["b%20c%2F%2B"],
        ),
        ("delimiter=/e", &["a", "b c/+", "b/1", "b/2", "g", "[d/e]"]),
        ("delimiter=/&marker=b/", &["g", "[d/]"]),
        ("list-type=2&start-after=b/1", &["b/2", "d/e/f", "g"]),
    ] {
        assert_eq!(entries(&get(&client, query)), expected, "{query}");
    }
    assert_eq!(
        get(&client, "prefix=g").element("ID"),
        "0",
        "version 1 includes the owner"
    );
    assert_eq!(get(&client, "prefix=g&list-type=2").element("ID"), "");
    assert_eq!(
        get(&client, "prefix=g&list-type=2&fetch-owner=true").element("ID"),
        "0"
    );
}

#[test]
fn objects_are_paged() {
    let server = server();
    let client = Client::of(&server);
    for (query, next, parameter) in [
        ("max-keys=1&delimiter=/", "NextMarker", "marker"),
        (
            "max-keys=1&delimiter=/&list-type=2",
            "NextContinuationToken",
            "continuation-token",
        ),
    ] {
        let (mut found, mut more) = (Vec::new(), String::new());
        loop {
            let page = get(&client, &format!("{query}{more}"));
            found.extend(entries(&page));
            if page.element("IsTruncated") == "false" {
                break;
            }
            more = format!("&{parameter}={}", page.element(next).replace(' ', "%20"));
        }
        assert_eq!(found, ["a", "[b c/]", "[b/]", "[d/]", "g"], "{query}");
    }
    let response = client
        .send("GET", "?list-type=2&continuation-token=b/1", &[], b"")
        .expect("a response");
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (400, "InvalidArgument"),
        "not a token of this server"
    );
}

#[test]
fn uploads_are_grouped_and_paged() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    for key in ["a", "b/1", "b/2", "c"] {
        client.initiate(key);
    }
    assert_eq!(
        entries(&get(&client, "uploads&delimiter=/")),
        ["a", "c", "[b/]"]
    );
    let page = get(&client, "uploads&delimiter=/&max-uploads=2");
    assert_eq!(entries(&page), ["a", "[b/]"]);
    assert_eq!(
        (
            page.element("NextKeyMarker"),
            page.element("NextUploadIdMarker")
        ),
        ("b/".into(), "".into())
    );
    let page = get(&client, "uploads&delimiter=/&max-uploads=2&key-marker=b/");
    assert_eq!(
        (entries(&page), page.element("IsTruncated")),
        (vec!["c".to_owned()], "false".to_owned())
    );
}

#[test]
fn delete_of_many_objects() {
    let server = server();
    let client = Client::of(&server);
    let delete = |query: &str, document: &str| {
        let md5 = STANDARD.encode(md5::compute(document).0);
        let headers = [("content-md5", md5.as_str())];
        client
            .send("POST", query, &headers, document.as_bytes())
            .expect("a response")
    };
    let document =
        "<Delete><Object><Key>b c/+</Key></Object><Object><Key>none</Key></Object></Delete>";
    assert_eq!(
        entries(&delete("?delete&encoding-type=url", document)),
        ["b%20c%2F%2B", "none"]
    );
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>g</Key></Object></Delete>";
    let response = delete("?delete", quiet);
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(entries(&get(&client, "")), ["a", "b/1", "b/2", "d/e/f"]);
    let version = "<Delete><Object><Key>a</Key><VersionId>v</VersionId></Object></Delete>";
    assert_eq!(delete("?delete", version).status, 501);
    assert_eq!(
        delete("?delete", "<Delete></Delete>").element("Code"),
        "MalformedXML"
    );
    let response = client
        .send("POST", "?delete", &[], quiet.as_bytes())
        .expect("a response");
    assert_eq!(
        (response.status, response.element("Code").as_str()),
        (400, "MissingArgument"),
        "no Content-MD5"
    );
    let wrong = [("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    let response = client
        .send("POST", "?delete", &wrong, quiet.as_bytes())
        .expect("a response");
    assert_eq!(response.element("Code"), "InvalidDigest");
    assert!(server.object("examplebucket", "a").is_some());
}

#[test]
fn uploads_of_one_key_are_sorted_by_id() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let mut ids: Vec<String> = (0..5).map(|_| client.initiate("key")).collect();
    ids.sort();
    let listed = |response: &Response| -> Vec<String> {
        let text = response.text();
        let ids = text.split("<UploadId>").skip(1);
        ids.map(|id| id.split('<').next().unwrap_or_default().to_owned())
            .collect()
    };
    let page = get(&client, "uploads");
    assert_eq!(listed(&page), ids);
    assert_eq!(page.element("IsTruncated"), "false");
    assert_eq!(page.element("NextKeyMarker"), "key");
    assert_eq!(page.element("NextUploadIdMarker"), ids[4]);
    let page = get(&client, &format!("uploads&upload-id-marker={}", ids[2]));
    assert_eq!(listed(&page), ids, "the marker needs a key-marker");
    let query = format!("uploads&key-marker=key&upload-id-marker={}", ids[2]);
    assert_eq!(listed(&get(&client, &query)), ids[3..]);
}

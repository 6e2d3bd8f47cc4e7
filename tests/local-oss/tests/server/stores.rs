//! The stores: in memory, in a directory, or none.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use local_oss::LocalOss;

use crate::client::Client;
use crate::noise;

/// A directory for one test, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("local-oss-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn directory_outlives_the_server() {
    let scratch = Scratch::new("outlive");
    let open = || {
        LocalOss::builder()
            .dir(&scratch.0)
            .start()
            .expect("a server")
    };
    let server = open();
    assert!(
        LocalOss::builder().dir(&scratch.0).start().is_err(),
        "the directory is taken"
    );
    let client = Client::of(&server);
    let id = client
        .send("POST", "dir/key?uploads", &[("x-oss-meta-a", "b")], b"")
        .expect("a response")
        .element("UploadId");
    let part = noise(100 * 1024);
    client
        .part("dir/key", &id, 1, b"an older part")
        .expect("a response");
    client.part("dir/key", &id, 1, &part).expect("a response");
    server.put_object(
        "examplebucket",
        "dir",
        b"a file where a directory is needed",
    );
    server.put_object("examplebucket", "../out/./there", b"kept inside");
    let before = server.uploads();
    server.stop();

    let server = open();
    let client = Client::of(&server);
    let after = server.uploads();
    assert_eq!(after.len(), 1);
    assert_eq!(
        (&after[0].parts, &after[0].headers),
        (&before[0].parts, &before[0].headers)
    );
    let etag = after[0].parts[0].2.clone();
    let response = client
        .complete("dir/key", &id, &[(1, &etag)], &[])
        .expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    server.stop();

    let server = open();
    let object = server.object("examplebucket", "dir/key").expect("stored");
    assert_eq!((object.bytes, object.headers[0].1.as_str()), (part, "b"));
    assert_eq!(
        server.object("examplebucket", "dir").expect("stored").bytes,
        b"a file where a directory is needed"
    );
    let path = server
        .object_path("examplebucket", "../out/./there")
        .expect("a path");
    assert!(
        path.starts_with(scratch.0.canonicalize().expect("a path")),
        "{}",
        path.display()
    );
    assert_eq!(std::fs::read(path).expect("a file"), b"kept inside");
    assert!(server.uploads().is_empty());
    server.remove_object("examplebucket", "dir");
    assert!(server.object("examplebucket", "dir").is_none());
}

fn binary(scratch: &Scratch) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_local-oss"))
        .args(["--port", "0", "--quiet", "--dir"])
        .arg(&scratch.0)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut line)
        .expect("a line");
    (
        child,
        line.rsplit("//")
            .next()
            .expect("an address")
            .trim()
            .to_owned(),
    )
}

/// Puts objects and parts until the server is killed; returns how many of each were confirmed.
fn write_until_killed(client: &Client, round: u32, id: &str) -> (u32, u32) {
    let body = noise(300 * 1024);
    let good = |response: std::io::Result<crate::client::Response>| {
        response.is_ok_and(|response| response.status == 200)
    };
    for count in 0.. {
        if !good(client.send("PUT", &format!("round{round}/{count}"), &[], &body)) {
            return (count, count);
        }
        if !good(client.part("upload", id, count + 1, &body)) {
            return (count + 1, count);
        }
    }
    unreachable!("the server is killed before that")
}

#[test]
fn directory_survives_a_kill() {
    let scratch = Scratch::new("kill");
    let body = noise(300 * 1024);
    for round in 0..4 {
        let (mut child, address) = binary(&scratch);
        let client = Client::at(address.parse().expect("an address"));
        let id = client.initiate("upload");
        let kept = id.clone();
        let writer = std::thread::spawn(move || write_until_killed(&client, round, &id));
        std::thread::sleep(std::time::Duration::from_millis(
            150 + u64::from(round) * 31,
        ));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let (objects, parts) = writer.join().expect("the writer");
        assert!(parts > 0);
        let server = LocalOss::builder()
            .dir(&scratch.0)
            .start()
            .expect("a server");
        for index in 0..objects {
            let object = server.object("examplebucket", &format!("round{round}/{index}"));
            assert!(object.expect("an object that was confirmed").bytes == body);
        }
        let uploads = server.uploads();
        assert_eq!(uploads.len(), 1, "only the upload is left");
        assert_eq!(uploads[0].upload_id, kept);
        let found = u32::try_from(uploads[0].parts.len()).expect("few parts");
        assert!((parts..=parts + 1).contains(&found), "{found} of {parts}");
        assert!(
            uploads[0]
                .parts
                .iter()
                .all(|(_, size, _)| *size == body.len() as u64)
        );
        let all = [("x-oss-complete-all", "yes")];
        let response =
            Client::of(&server).send("POST", &format!("upload?uploadId={kept}"), &all, b"");
        assert_eq!(response.expect("a response").status, 200);
        assert!(
            server
                .object("examplebucket", "upload")
                .expect("stored")
                .bytes
                == body.repeat(found as usize)
        );
    }
}

#[test]
fn discard_keeps_no_content() {
    let server = LocalOss::builder().discard(true).start().expect("a server");
    let client = Client::of(&server);
    let response = client
        .send("PUT", "key", &[], b"123456789")
        .expect("a response");
    assert_eq!(
        response.header("x-oss-hash-crc64ecma"),
        Some("11051210869376104954")
    );
    let object = server.object("examplebucket", "key").expect("its facts");
    assert_eq!((object.size, object.bytes.len()), (9, 0));
    assert_eq!(
        client
            .send("GET", "key", &[], b"")
            .expect("a response")
            .status,
        500
    );
}

#[test]
fn program_reports_a_port_in_use() {
    let server = LocalOss::start();
    let port = server.address().port().to_string();
    for arguments in [
        vec!["--port", &port],
        vec!["--port", "no"],
        vec!["--nonsense"],
        vec!["--fault", "No"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_local-oss"))
            .args(&arguments)
            .output()
            .expect("a run");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), message.lines().count()),
            (Some(1), 1),
            "{message}"
        );
        assert!(message.starts_with("local-oss: "), "{message}");
    }
}

//! Runs the program twice against a local server. In the first run the server denies one part of
//! the largest file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use std::{env, fs, io};

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::{BoxError, PART_SIZE};

const PAGES: usize = 60;
const PAGE_SIZE: usize = 64 << 10;
const TOOL_SIZE: usize = 8 * PART_SIZE as usize;
const DENIED_PART: u32 = 6;
const TOTAL: usize = TOOL_SIZE + PAGES * PAGE_SIZE;

pub fn run() -> Result<(), BoxError> {
    let server = LocalOss::builder()
        .latency(Duration::from_millis(20))
        .start()?;
    let dir = tempfile::tempdir()?;
    let files = build(&dir.path().join("dist"))?;
    let state = dir.path().join("state");

    println!("run 1: OSS denies a part of bin/tool");
    let denied = Fault::Status {
        status: 403,
        code: "AccessDenied".into(),
        retry_after: None,
    };
    server.inject(
        Rule::new(denied)
            .on(Operation::UploadPart)
            .part(DENIED_PART),
    );
    let first = publish(&server, dir.path())?;
    let published = fs::read_to_string(state.join("published"))?.lines().count();
    let parts = server
        .uploads()
        .first()
        .map_or(0, |upload| upload.parts.len());

    println!("run 2");
    server.clear_requests();
    let second = publish(&server, dir.path())?;
    let bytes_of = |operation| -> usize {
        let requests = server.requests();
        let requests = requests
            .iter()
            .filter(|request| request.operation == operation);
        requests.map(|request| request.body_bytes as usize).sum()
    };
    let sent = bytes_of(Operation::PutObject) + bytes_of(Operation::UploadPart);
    println!("sent {sent} of {TOTAL} bytes; not sent again: {published} files, {parts} parts");
    let is_equal = files.iter().all(|(key, bytes)| {
        let object = server.object("examplebucket", key);
        object.is_some_and(|object| object.bytes.as_slice() == bytes)
    });
    println!(
        "the objects {} the files",
        if is_equal { "equal" } else { "differ from" }
    );

    let resumed = !first.success() && published > 0 && parts > 0 && second.success();
    let nothing_sent_twice = sent == TOTAL - published * PAGE_SIZE - parts * PART_SIZE as usize;
    let is_clean = server.uploads().is_empty() && fs::read_dir(&state)?.count() == 1;
    match resumed && nothing_sent_twice && is_equal && is_clean {
        true => Ok(()),
        false => Err("the second run did not resume as expected".into()),
    }
}

/// Runs the program as CI does.
fn publish(server: &LocalOss, dir: &Path) -> io::Result<ExitStatus> {
    Command::new(env::current_exe()?)
        .args(["dist", "oss://examplebucket/v1.2/", "state"])
        .current_dir(dir)
        .env("OSS_ENDPOINT", server.endpoint())
        .env("OSS_REGION", "cn-hangzhou")
        .env("OSS_ACCESS_KEY_ID", "ak")
        .env("OSS_ACCESS_KEY_SECRET", "sk")
        .env_remove("OSS_SESSION_TOKEN")
        .env("NO_PROXY", "127.0.0.1")
        .status()
}

/// Creates the files. Returns the content of each, by its key.
fn build(dir: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let pages = (0..PAGES).map(|page| (format!("doc/page-{page}.html"), PAGE_SIZE));
    for (name, size) in pages.chain([("bin/tool".to_owned(), TOOL_SIZE)]) {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        let path = dir.join(&name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, &bytes)?;
        files.insert(format!("v1.2/{name}"), bytes);
    }
    Ok(files)
}

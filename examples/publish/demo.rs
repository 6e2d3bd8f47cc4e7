//! Runs the program twice against a local server, which refuses a part of the largest file in the first run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use std::{env, fs, io};

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::{BoxError, PART_SIZE};

const PAGES: usize = 60;
/// Bytes.
const PAGE: usize = 64 << 10;
const TOOL: usize = 16 * PART_SIZE as usize;
const TOTAL: usize = TOOL + PAGES * PAGE;

pub fn run() -> Result<(), BoxError> {
    let server = LocalOss::builder().latency(Duration::from_millis(20)).start()?;
    let dir = tempfile::tempdir()?;
    let files = build(&dir.path().join("dist"))?;
    let state = dir.path().join("state");

    println!("run 1: OSS refuses a part of bin/tool");
    let refusal = Fault::Status { status: 403, code: "AccessDenied".into(), retry_after: None };
    server.inject(Rule::new(refusal).on(Operation::UploadPart).part(9));
    let first = publish(&server, dir.path())?;
    let published = fs::read_to_string(state.join("published"))?.lines().count();
    let parts = server.uploads().first().map_or(0, |upload| upload.parts.len());

    println!("run 2");
    server.clear_requests();
    let second = publish(&server, dir.path())?;
    let bodies = |operation| {
        let requests = server.requests().into_iter().filter(move |request| request.operation == operation);
        requests.map(|request| request.body_bytes as usize).sum::<usize>()
    };
    let sent = bodies(Operation::PutObject) + bodies(Operation::UploadPart);
    println!("sent {sent} of {TOTAL} bytes; not again: {published} files, {parts} parts of bin/tool");
    let equal = files.iter().all(|(key, bytes)| {
        server.object("examplebucket", key).is_some_and(|object| object.bytes.as_slice() == bytes)
    });
    println!("the objects {} the files", if equal { "equal" } else { "are not" });

    let in_order = !first.success() && published > 0 && parts > 0 && second.success();
    let nothing_twice = sent == TOTAL - published * PAGE - parts * PART_SIZE as usize;
    let is_clean = server.uploads().is_empty() && fs::read_dir(&state)?.count() == 1;
    match in_order && nothing_twice && equal && is_clean {
        true => Ok(()),
        false => Err("that is not what was promised".into()),
    }
}

/// As CI runs it.
fn publish(server: &LocalOss, dir: &Path) -> io::Result<ExitStatus> {
    Command::new(env::current_exe()?)
        .args(["dist", "oss://examplebucket/v1.2/", "state"])
        .current_dir(dir)
        .env("OSS_ENDPOINT", server.endpoint())
        .envs([("OSS_REGION", "cn-hangzhou"), ("OSS_ACCESS_KEY_ID", "ak"), ("OSS_ACCESS_KEY_SECRET", "sk")])
        .env_remove("OSS_SESSION_TOKEN")
        .env("NO_PROXY", "127.0.0.1")
        .status()
}

/// The content of each file, by the key that it is to have.
fn build(dir: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let pages = (0..PAGES).map(|page| (format!("doc/page-{page}.html"), PAGE));
    for (name, size) in pages.chain([("bin/tool".to_owned(), TOOL)]) {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        let path = dir.join(&name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, &bytes)?;
        files.insert(format!("v1.2/{name}"), bytes);
    }
    Ok(files)
}

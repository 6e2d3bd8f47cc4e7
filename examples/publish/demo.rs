//! Runs the program three times against a local server. The first run is killed while it uploads
//! the largest file, the second one resumes, and the third one has nothing to send.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use local_oss::{Fault, LocalOss, Operation, Rule};

use crate::{BoxError, PART_SIZE};

const PAGES: usize = 12;
const PAGE_SIZE: usize = 64 << 10;
const TOOL_PARTS: u32 = 8;
/// The parts of `bin/tool` that the server has stored when the first run is killed.
const STORED_PARTS: u32 = 4;

pub fn run() -> Result<(), BoxError> {
    let server = LocalOss::start();
    let dir = tempfile::tempdir()?;
    let files = build(&dir.path().join("dist"))?;

    println!("run 1: killed in the middle of bin/tool");
    for part in STORED_PARTS + 1..=TOOL_PARTS {
        let stall = Rule::new(Fault::Stall).on(Operation::UploadPart);
        server.inject(stall.part(part));
    }
    let mut first = publish(&server, dir.path()).spawn()?;
    let killed = wait_for_parts(&server).and_then(|()| Ok(first.kill()?));
    first.wait()?;
    killed?;
    server.clear_faults();

    println!("run 2: resumes");
    server.clear_requests();
    let second = publish(&server, dir.path()).status()?;
    let (puts, parts) = (
        count(&server, Operation::PutObject),
        count(&server, Operation::UploadPart),
    );
    println!("{parts} parts and {puts} other files were sent");

    println!("run 3: nothing has changed");
    server.clear_requests();
    let third = publish(&server, dir.path()).status()?;
    let heads = count(&server, Operation::HeadObject);
    let sends_nothing = heads == server.requests().len() && heads == files.len();

    let is_equal = files.iter().all(|(key, bytes)| {
        let object = server.object("examplebucket", key);
        object.is_some_and(|object| object.bytes.as_slice() == bytes)
    });
    let verb = if is_equal { "equal" } else { "differ from" };
    println!("the objects {verb} the files");
    let resumed = puts == 0 && parts == (TOOL_PARTS - STORED_PARTS) as usize;
    let is_clean =
        server.uploads().is_empty() && fs::read_dir(dir.path().join("state"))?.count() == 0;
    let succeeded = second.success() && third.success();
    match succeeded && resumed && sends_nothing && is_equal && is_clean {
        true => Ok(()),
        false => Err("the tree was not published as expected".into()),
    }
}

/// Returns the command as CI runs it.
fn publish(server: &LocalOss, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap_or_default());
    command
        .args(["dist", "oss://examplebucket/v1.2", "state"])
        .current_dir(dir)
        .env("OSS_ENDPOINT", server.endpoint())
        .env("OSS_REGION", "cn-hangzhou")
        .env("OSS_ACCESS_KEY_ID", "ak")
        .env("OSS_ACCESS_KEY_SECRET", "sk")
        .env_remove("OSS_SESSION_TOKEN")
        .env("NO_PROXY", "127.0.0.1");
    command
}

fn wait_for_parts(server: &LocalOss) -> Result<(), BoxError> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let uploads = server.uploads();
        if uploads
            .iter()
            .any(|upload| upload.parts.len() == STORED_PARTS as usize)
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err("the first run did not send the parts".into())
}

fn count(server: &LocalOss, operation: Operation) -> usize {
    let requests = server.requests();
    let matching = requests
        .iter()
        .filter(|request| request.operation == operation);
    matching.count()
}

/// Creates the files. Returns the content of each, by its key.
fn build(dir: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let pages = (0..PAGES).map(|page| (format!("doc/page-{page}.html"), PAGE_SIZE));
    let tool = (
        "bin/tool".to_owned(),
        TOOL_PARTS as usize * PART_SIZE as usize,
    );
    for (name, size) in pages.chain([tool]) {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        let path = dir.join(&name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, &bytes)?;
        files.insert(format!("v1.2/{name}"), bytes);
    }
    Ok(files)
}

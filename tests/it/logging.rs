//! What is logged: a line for each request, and each retry with its reason. Nothing that must not be known.

use std::sync::Mutex;

use local_oss::{Fault, LocalOss, Operation, Rule};
use log::Level;
use oss_upload::{Credentials, checkpoint};

use crate::house::{House, PART, alone, client};

const SECRETS: [&str; 4] = ["hush-secret", "hush-token", "Signature=", "OSS4-HMAC"];

/// Keeps everything that anybody logs, but for the dump of the wire that only `ureq_proto=trace` gives.
struct Collector(Mutex<Vec<(Level, String, String)>>);

static COLLECTOR: Collector = Collector(Mutex::new(Vec::new()));

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() != "ureq_proto::util" || metadata.level() < Level::Trace
    }
    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let entry = (
                record.level(),
                record.target().to_owned(),
                record.args().to_string(),
            );
            self.0.lock().unwrap().push(entry);
        }
    }
    fn flush(&self) {}
}

/// Our own lines since the last look; that nobody tells a secret is looked at on the way.
fn taken() -> Vec<(Level, String)> {
    let all = std::mem::take(&mut *COLLECTOR.0.lock().unwrap());
    for (level, target, line) in &all {
        for secret in SECRETS {
            assert!(
                !line.contains(secret),
                "{level} {target} tells {secret}: {line}"
            );
        }
    }
    let ours = all
        .into_iter()
        .filter(|(_, target, _)| target.starts_with("oss_upload"));
    ours.map(|(level, _, line)| (level, line)).collect()
}

fn at(level: Level, lines: &[(Level, String)]) -> Vec<&str> {
    lines
        .iter()
        .filter(|(its, _)| *its == level)
        .map(|(_, line)| line.as_str())
        .collect()
}

/// There is one log for a process: this test has one for itself.
#[test]
fn a_line_for_each_request_and_a_warning_for_each_retry() {
    if !alone("logging::a_line_for_each_request_and_a_warning_for_each_retry") {
        return;
    }
    log::set_logger(&COLLECTOR).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let server = LocalOss::builder()
        .credentials("sts-id", "hush-secret")
        .token("hush-token")
        .start()
        .unwrap();
    let house = House::with(server);
    let sts = Credentials::new("sts-id", "hush-secret").with_security_token("hush-token");
    let bucket = client(&house.server)
        .credentials(sts)
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let path = house.file("f", 3 * PART);

    bucket
        .upload_file("dir/o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    let lines = taken();
    assert_eq!(
        at(Level::Debug, &lines).len(),
        house.server.requests().len(),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), 5, "{lines:#?}");
    let parts = lines
        .iter()
        .filter(|(_, line)| line.starts_with("UploadPart"))
        .count();
    assert_eq!(parts, 3, "{lines:#?}");
    for (_, line) in &lines {
        let told = line.contains("oss://examplebucket/dir/o")
            && line.contains(": 200 in ")
            && line.ends_with(" ms");
        assert!(told && !line.contains('\n'), "{line}");
    }

    house.server.clear_requests();
    let busy = Fault::Status {
        status: 503,
        code: "ServiceUnavailable".into(),
        retry_after: None,
    };
    house
        .server
        .inject(Rule::new(busy).on(Operation::UploadPart).part(2));
    house
        .server
        .inject(Rule::new(Fault::CloseBeforeResponse).on(Operation::CompleteMultipartUpload));
    bucket.upload_file("dir/o", &path, PART, []).unwrap();
    let lines = taken();
    assert_eq!(
        at(Level::Debug, &lines).len(),
        house.server.requests().len(),
        "{lines:#?}"
    );
    let warnings = at(Level::Warn, &lines);
    assert_eq!(warnings.len(), 2, "{lines:#?}");
    for (warning, operation, reason) in [
        (warnings[0], "UploadPart", ": 503 ServiceUnavailable"),
        (warnings[1], "CompleteMultipartUpload", ": "),
    ] {
        assert!(
            warning.starts_with(operation) && warning.contains("oss://examplebucket/dir/o"),
            "{warning}"
        );
        assert!(
            warning.contains("attempt 1 of 5") && warning.contains(" ms: "),
            "{warning}"
        );
        assert!(warning.contains(reason), "{warning}");
    }

    // What is final is the error's business, not the log's.
    house.server.expire_credentials("sts-id");
    let error = bucket.upload_file("dir/o", &path, PART, []).unwrap_err();
    let lines = taken();
    assert!(
        at(Level::Warn, &lines).is_empty() && at(Level::Error, &lines).is_empty(),
        "{error}: {lines:#?}"
    );
}

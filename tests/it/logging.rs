//! Logging: one line for each request, one warning for each retry, and no secrets.

use std::sync::Mutex;

use local_oss::{Fault, LocalOss, Operation};
use log::Level;
use oss_upload::{Credentials, checkpoint};

use crate::harness::{Harness, PART, bucket, client, run_in_subprocess, service_unavailable};

const SECRETS: [&str; 4] = ["hush-secret", "hush-token", "Signature=", "OSS4-HMAC"];

/// Keeps every log record, except the dump of the protocol that only `ureq_proto=trace` enables.
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

/// The lines of this crate since the last call. Asserts that no line, of any crate, has a secret.
fn take_lines() -> Vec<(Level, String)> {
    let all = std::mem::take(&mut *COLLECTOR.0.lock().unwrap());
    for (level, target, line) in &all {
        for secret in SECRETS {
            assert!(
                !line.contains(secret),
                "{level} {target} prints {secret}: {line}"
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

/// A process has only one logger, so this test has a process of its own.
#[test]
fn logging_has_a_line_per_request_and_a_warning_per_retry() {
    if !run_in_subprocess("logging::logging_has_a_line_per_request_and_a_warning_per_retry") {
        return;
    }
    log::set_logger(&COLLECTOR).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let server = LocalOss::builder()
        .credentials("sts-id", "hush-secret")
        .token("hush-token")
        .start()
        .unwrap();
    let t = Harness::with_server(server);
    let sts = Credentials::new("sts-id", "hush-secret").with_security_token("hush-token");
    let bucket = bucket(client(&t.server).credentials(sts));
    let path = t.file("f", 3 * PART);

    bucket
        .upload_file("dir/o", &path, PART, [checkpoint(true, "")])
        .unwrap();
    let lines = take_lines();
    assert_eq!(
        at(Level::Debug, &lines).len(),
        t.server.requests().len(),
        "{lines:#?}"
    );
    assert_eq!(lines.len(), at(Level::Debug, &lines).len(), "{lines:#?}");
    let parts = lines
        .iter()
        .filter(|(_, line)| line.starts_with("UploadPart"))
        .count();
    assert_eq!(parts, 3, "{lines:#?}");
    for (_, line) in &lines {
        let well_formed = line.contains("oss://examplebucket/dir/o")
            && line.contains(": 200 in ")
            && line.ends_with(" ms");
        assert!(well_formed && !line.contains('\n'), "{line}");
    }

    t.server.clear_requests();
    t.inject_part(2, service_unavailable());
    t.inject(
        Operation::CompleteMultipartUpload,
        Fault::CloseBeforeResponse,
    );
    bucket.upload_file("dir/o", &path, PART, []).unwrap();
    let lines = take_lines();
    assert_eq!(
        at(Level::Debug, &lines).len(),
        t.server.requests().len(),
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
            warning.contains(" failed (attempt 1), retrying in ") && warning.contains(" ms: "),
            "{warning}"
        );
        assert!(warning.contains(reason), "{warning}");
    }

    // A permanent failure is reported by the error and not logged.
    t.server.expire_credentials("sts-id");
    let error = bucket.upload_file("dir/o", &path, PART, []).unwrap_err();
    let lines = take_lines();
    assert!(
        at(Level::Warn, &lines).is_empty() && at(Level::Error, &lines).is_empty(),
        "{error}: {lines:#?}"
    );
}

use std::fs;
use std::path::Path;

use super::super::process::ProcessSource;
use super::*;

/// A script in `dir` that notes each of its runs in the file `runs`.
fn script(dir: &Path, body: &str) -> Provider<ProcessSource> {
    let path = dir.join("script.sh");
    let runs = dir.join("runs");
    fs::write(&path, format!("echo run >> '{}'\n{body}\n", runs.display())).unwrap();
    Provider::new(ProcessSource::new(format!(
        "/bin/sh '{}' hush-argument",
        path.display()
    )))
}

fn runs(dir: &Path) -> usize {
    fs::read_to_string(dir.join("runs"))
        .unwrap()
        .lines()
        .count()
}

fn prints(json: &str) -> String {
    format!("cat <<'END'\n{json}\nEND")
}

#[test]
fn process_output_is_read_and_kept_until_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let expiration = time::format_rfc3339(VirtualClock::new().now() + Duration::from_secs(3600));
    let json = format!(
        r#"{{"mode":"StsToken","access_key_id":"id1","access_key_secret":"hush-secret",
            "sts_token":"hush-token","expiration":"{expiration}"}}"#
    );
    let provider = script(dir.path(), &prints(&json));
    let credentials = provider.cache.get(&provider.source).unwrap();
    let expected = Credentials::new("id1", "hush-secret").with_security_token("hush-token");
    assert!(credentials == expected);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(runs(dir.path()), 1);
    provider.advance(3600 - 15 * 60);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(runs(dir.path()), 2);
}

#[test]
fn process_credentials_without_an_expiration_are_kept_until_they_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let json = r#"{"mode":"AK","access_key_id":"id1","access_key_secret":"hush-secret"}"#;
    let provider = script(dir.path(), &prints(json));
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(24 * 3600);
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(runs(dir.path()), 1);
    provider
        .cache
        .refused(&Credentials::new("id1", "hush-secret"));
    assert_eq!(provider.id().unwrap(), "id1");
    assert_eq!(runs(dir.path()), 2);
}

#[test]
fn process_outputs_that_are_wrong_are_final() {
    let pair = r#""access_key_id":"id1","access_key_secret":"hush-secret""#;
    for (json, expected) in [
        ("hush".to_owned(), "is not valid JSON"),
        (String::new(), "is empty"),
        (
            r#"{"mode":"AK","access_key_id":"id1"}"#.into(),
            "has no access_key_secret",
        ),
        (
            format!(r#"{{"mode":"StsToken",{pair}}}"#),
            "has no sts_token",
        ),
        (
            format!(r#"{{"mode":"RamRoleArn",{pair}}}"#),
            "has the mode \"RamRoleArn\"",
        ),
        (
            format!(r#"{{{pair},"expiration":"soon"}}"#),
            "an expiration that is not a time",
        ),
        (
            r#"{"access_key_id":"id1","access_key_secret":"hush "}"#.into(),
            "the AccessKey secret ends with whitespace",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let message = script(dir.path(), &prints(&json)).final_failure();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn process_that_fails_is_named_with_its_exit_code_and_the_first_line_of_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let provider = script(
        dir.path(),
        "echo hush-stdout; echo >&2; echo 'no session of LTAI5tHUSHhush12345678, log in' >&2; \
         echo hush >&2; exit 3",
    );
    let message = provider.transient_failure();
    assert_eq!(
        message,
        "process: \"/bin/sh\" failed: exit code 3: no session of [redacted], log in"
    );
    let quiet = script(dir.path(), "kill -9 $$");
    let message = quiet.transient_failure();
    assert!(message.contains("signal: 9"), "{message}");
}

#[test]
fn process_that_cannot_be_run_is_final() {
    for (command, expected) in [
        ("", "the command is empty"),
        ("/no/such/program hush", "cannot run \"/no/such/program\""),
        ("'hush", "a quote that is not closed"),
        ("/dev/null", "cannot run \"/dev/null\""),
    ] {
        let message = Provider::new(ProcessSource::new(command.into())).final_failure();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn process_that_does_not_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let body = format!("echo $$ > '{}'; exec sleep 1000", pid_file.display());
    let mut provider = script(dir.path(), &body);
    provider.source.time_limit = Duration::from_secs(3);
    let started = std::time::Instant::now();
    let message = provider.transient_failure();
    assert!(
        message.contains("did not end within 3 s and was killed"),
        "{message}"
    );
    assert!(started.elapsed() < Duration::from_secs(50));
    let pid = fs::read_to_string(pid_file).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    assert!(!Path::new("/proc/self").exists() || !process.exists());
}

#[test]
fn process_output_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    // It would go on for ever.
    let message = script(dir.path(), "exec yes hush").final_failure();
    assert!(
        message.contains("printed more than 65536 bytes"),
        "{message}"
    );
    let much = "head -c 70000 /dev/zero";
    assert!(
        script(dir.path(), much)
            .final_failure()
            .contains("printed more than")
    );
}

#[test]
fn process_with_a_child_that_keeps_its_output_open_does_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let body = format!("sleep 30 2>&1 & {}", prints(r#"{"access_key_id":"id"}"#));
    let message = script(dir.path(), &body).transient_failure();
    assert!(
        message.contains("another process holds its standard output open"),
        "{message}"
    );
}

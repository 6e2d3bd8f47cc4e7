//! The error messages: for each mistake that a user can make, what the error says. All of them are
//! in `messages.txt`, so that a change of a message shows in review. `UPDATE_MESSAGES=1 cargo test
//! --test it messages` accepts changes.

mod arguments;
mod files;
mod network;
mod service;
mod settings;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_oss::LocalOss;
use oss_upload::{Client, ClientBuilder, Credentials, Error, RetryPolicy, UploadOption};

use crate::harness::{Harness, PART, bucket, report_skipped};

pub const ID: &str = "AKIDexample";
pub const SECRET: &str = "hush-secret-0123456789";
pub const TOKEN: &str = "hush-token-0123456789";
/// Parts of secrets, and of headers that have secrets. No message may contain one.
const SECRET_MARKERS: [&str; 6] = [
    "hush",
    "Authorization:",
    "Signature",
    "Credential=",
    "signature=",
    "OSS4-HMAC",
];
/// The longest message that a user still reads, in characters.
const LENGTH_MAX: usize = 500;

const HEADER: &str = "The error message for each mistake. [again]: the same call may succeed if it is made again.\n\
    Written by tests/it/messages.rs: UPDATE_MESSAGES=1 cargo test --test it messages\n";

/// The messages of this run, to be compared with those of `messages.txt`.
pub struct MessageSnapshot {
    text: String,
    /// The content of `messages.txt`.
    kept: String,
    dirs: Vec<PathBuf>,
    problems: Vec<String>,
}

impl MessageSnapshot {
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/messages.txt")
    }

    fn new() -> MessageSnapshot {
        let kept = std::fs::read_to_string(MessageSnapshot::path())
            .unwrap_or_default()
            .replace("\r\n", "\n");
        MessageSnapshot {
            text: HEADER.to_owned(),
            kept,
            dirs: Vec::new(),
            problems: Vec::new(),
        }
    }

    fn section(&mut self, title: &str) {
        self.text += &format!("\n# {title}\n");
    }

    /// Shows the directory of the harness as `<dir>`.
    pub fn hide(&mut self, t: &Harness) {
        self.dirs.push(t.path(""));
    }

    /// Adds the message of the error, after checking that it can be read.
    pub fn add(&mut self, mistake: &str, error: Error) {
        let output = error.to_string();
        let source = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        for (is_so, problem) in [
            (
                output != format!("{error:?}"),
                "a main function that returns it prints something else",
            ),
            (
                has_secret(&output) || has_secret(&source),
                "it prints a secret",
            ),
            (output.lines().count() != 1, "it is not one line"),
            (
                output.chars().any(char::is_control),
                "it has a control character",
            ),
            (
                output.ends_with(['.', ' ', ':', ';']),
                "it does not end with a word",
            ),
            (
                [".;", ".)", ";;", ": :"]
                    .iter()
                    .any(|odd| output.contains(odd)),
                "its punctuation is wrong",
            ),
            (output.chars().count() > LENGTH_MAX, "it is too long"),
            (
                self.text.contains(&format!("\n{mistake}\n")),
                "the title is used twice",
            ),
        ] {
            if is_so {
                self.problems
                    .push(format!("{mistake}: {problem}: {output}"));
            }
        }
        let again = if error.is_resumable() { " [again]" } else { "" };
        self.text += &format!("\n{mistake}{again}\n    {}\n", self.normalize(output));
    }

    /// Keeps the message of a mistake that cannot be made on this machine.
    pub fn skip(&mut self, mistake: &str) {
        report_skipped(&format!("the message for: {mistake}"));
        let titles = [format!("\n{mistake}\n"), format!("\n{mistake} [again]\n")];
        let kept = titles
            .iter()
            .find_map(|title| self.kept.find(title))
            .map(|at| &self.kept[at + 1..]);
        let entry = kept
            .and_then(|kept| kept.split("\n\n").next())
            .unwrap_or(mistake);
        self.text += &format!("\n{}\n", entry.trim_end());
    }

    /// Replaces what differs from run to run by placeholders.
    fn normalize(&self, message: String) -> String {
        let mut text = message;
        for dir in &self.dirs {
            text = text.replace(&*dir.to_string_lossy(), "<dir>/");
        }
        if let Ok(here) = std::env::current_dir() {
            text = text.replace(&*here.to_string_lossy(), "<here>");
        }
        text = replace_word(&text, "127.0.0.1:", "<port>");
        text = replace_word(&text, "localhost:", "<port>");
        replace_word(&text, "request id ", "<request id>")
    }

    /// Fails unless the messages are those of `messages.txt`, or accepts them.
    fn compare(&self) {
        if self.text == self.kept {
            return;
        }
        if std::env::var_os("UPDATE_MESSAGES").is_some() {
            std::fs::write(MessageSnapshot::path(), &self.text).unwrap();
            return;
        }
        let before: HashSet<_> = self.kept.split("\n\n").collect();
        let now: HashSet<_> = self.text.split("\n\n").collect();
        let difference: String = before
            .difference(&now)
            .map(|entry| format!("- {entry}\n"))
            .chain(now.difference(&before).map(|entry| format!("+ {entry}\n")))
            .collect();
        panic!(
            "the messages differ from messages.txt:\n{difference}\
             If they are better: UPDATE_MESSAGES=1 cargo test --test it messages"
        );
    }
}

/// Replaces each word after `before`.
fn replace_word(text: &str, before: &str, placeholder: &str) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |replaced, part| {
        let end = part.find(|c| "/ ;,:)\"".contains(c)).unwrap_or(part.len());
        replaced + before + placeholder + &part[end..]
    })
}

fn has_secret(message: &str) -> bool {
    // An error code of OSS.
    let message = message.replace("SignatureDoesNotMatch", "");
    SECRET_MARKERS.iter().any(|marker| message.contains(marker))
}

/// A harness whose credentials have markers that show in a message.
pub fn harness() -> Harness {
    harness_with(LocalOss::builder().credentials(ID, SECRET).start().unwrap())
}

pub fn harness_with(server: LocalOss) -> Harness {
    let client = client(&server.endpoint());
    Harness::with_client(server, client)
}

pub fn client(endpoint: &str) -> ClientBuilder {
    Client::builder(endpoint)
        .credentials(Credentials::new(ID, SECRET))
        .region("cn-hangzhou")
        .no_proxy()
        .retry(
            RetryPolicy::default()
                .max_attempts(3)
                .base_delay(Duration::from_millis(1)),
        )
        .stall_timeout(Duration::from_secs(2))
}

/// The error of an upload of the file `f`.
fn upload_error<'a>(t: &Harness, options: impl IntoIterator<Item = UploadOption<'a>>) -> Error {
    t.bucket
        .upload_file("dir/object.bin", t.path("f"), PART, options)
        .unwrap_err()
}

/// The error of an upload of a file of three parts by this client.
fn upload_error_of(t: &Harness, client: ClientBuilder) -> Error {
    bucket(client)
        .upload_file("dir/object.bin", t.file("f", 3 * PART), PART, [])
        .unwrap_err()
}

#[test]
fn messages_match_the_snapshot() {
    let mut snapshot = MessageSnapshot::new();
    for (title, section) in [
        ("The client", settings::all as fn(&mut MessageSnapshot)),
        ("Arguments and options", arguments::all),
        ("The file and its checkpoint", files::all),
        ("What OSS responds", service::all),
        ("The network", network::all),
    ] {
        snapshot.section(title);
        section(&mut snapshot);
    }
    assert!(
        snapshot.problems.is_empty(),
        "\n{}",
        snapshot.problems.join("\n")
    );
    // Other systems, and other TLS libraries, have other texts.
    if cfg!(all(
        target_os = "linux",
        feature = "rustls",
        not(feature = "native-tls"),
        not(feature = "platform-verifier")
    )) {
        snapshot.compare();
    } else {
        report_skipped("the comparison of messages: the snapshot is that of Linux and rustls");
    }
}

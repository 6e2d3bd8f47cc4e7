//! Error messages, read aloud: for each mistake that a person can make, what it says. All of them stand in `messages.txt`, to be
//! read by people; a change shows there.

mod arguments;
mod files;
mod network;
mod service;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use local_oss::LocalOss;
use oss_upload::{Client, ClientBuilder, Credentials, Error, RetryPolicy};

use crate::house::House;

/// Set to anything, it accepts the messages as they are.
const UPDATE: &str = "UPDATE_MESSAGES";
/// What is shown in a message; in bytes. A longer one is not read.
const LENGTH_MAX: usize = 500;

pub const ID: &str = "AKIDexample";
pub const SECRET: &str = "hush-secret-0123456789";
pub const TOKEN: &str = "hush-token-0123456789";
/// Of what no message may ever have in it.
const NEVER: [&str; 6] = [
    "hush",
    "Authorization:",
    "Signature",
    "Credential=",
    "signature=",
    "OSS4-HMAC",
];

/// What is collected, by the titles of the mistakes.
pub struct Book {
    entries: Vec<(String, Option<String>)>,
    dirs: Vec<(PathBuf, &'static str)>,
    unreadable: Vec<String>,
}

impl Book {
    fn new() -> Book {
        Book {
            entries: Vec::new(),
            dirs: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Shows the house's directory as `<dir>`.
    pub fn hide(&mut self, house: &House) {
        self.dirs.push((house.path(""), "<dir>/"));
    }

    pub fn add(&mut self, mistake: &str, error: Error) {
        let message = error.to_string();
        let source = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        let problems = [
            (
                message != format!("{error:?}"),
                "a main that returns it says something else",
            ),
            (
                tells_a_secret(&message) || tells_a_secret(&source),
                "it tells a secret",
            ),
        ];
        let problems = problems
            .into_iter()
            .chain(unreadable(&message))
            .filter(|(is_so, _)| *is_so);
        self.unreadable
            .extend(problems.map(|(_, what)| format!("{mistake}: {what}: {message}")));
        let again = if error.is_resumable() { " [again]" } else { "" };
        self.entries.push((
            format!("{mistake}{again}"),
            Some(self.without_chance(&message)),
        ));
    }

    /// A mistake that can't be made on this machine; the message stays as it is.
    pub fn skip(&mut self, mistake: &str) {
        eprintln!("skipped: {mistake}");
        self.entries.push((mistake.to_owned(), None));
    }

    /// Placeholders for what differs from run to run.
    fn without_chance(&self, message: &str) -> String {
        let mut text = message.to_owned();
        for (dir, placeholder) in &self.dirs {
            text = text.replace(&*dir.to_string_lossy(), placeholder);
        }
        if let Ok(here) = std::env::current_dir() {
            text = text.replace(&*here.to_string_lossy(), "<here>");
        }
        for (before, ends, placeholder) in [
            ("127.0.0.1:", "/ ;,:)\"", "<port>"),
            ("localhost:", "/ ;,:)\"", "<port>"),
            ("request id ", ",)", "<request id>"),
        ] {
            text = replaced(&text, before, ends, placeholder);
        }
        text
    }
}

/// Every word after `before`, up to one of `ends`.
fn replaced(text: &str, before: &str, ends: &str, placeholder: &str) -> String {
    let mut pieces = text.split(before);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let word = piece.find(|c| ends.contains(c)).unwrap_or(piece.len());
        write!(out, "{before}{placeholder}{}", &piece[word..]).unwrap();
    }
    out
}

/// What keeps a message from being read, and whether this one has it.
fn unreadable(message: &str) -> [(bool, &'static str); 5] {
    [
        (message.lines().count() != 1, "it is not one line"),
        (
            message.chars().any(char::is_control),
            "it has a control character",
        ),
        (
            message.ends_with(['.', ' ', ':', ';']),
            "it does not end with a word",
        ),
        (
            [".;", ".)", ";;", ": :"]
                .iter()
                .any(|odd| message.contains(odd)),
            "it is put together oddly",
        ),
        (message.chars().count() > LENGTH_MAX, "it is too long"),
    ]
}

fn tells_a_secret(message: &str) -> bool {
    // OSS's error code is none.
    let message = message.replace("SignatureDoesNotMatch", "");
    NEVER.iter().any(|never| message.contains(never))
}

/// With credentials that would be noticed if a message told them.
pub fn house() -> House {
    house_of(LocalOss::builder().credentials(ID, SECRET).start().unwrap())
}

pub fn house_of(server: LocalOss) -> House {
    let bucket = client(&server.endpoint())
        .build()
        .unwrap()
        .bucket("examplebucket")
        .unwrap();
    let mut house = House::with(server);
    house.bucket = bucket;
    house
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

#[test]
fn every_message_can_be_acted_on() {
    let mut book = Book::new();
    for (heading, chapter) in [
        ("The client", settings::all as fn(&mut Book)),
        ("Arguments and options", arguments::all),
        ("The file and its record", files::all),
        ("What OSS says", service::all),
        ("The network", network::all),
    ] {
        book.entries
            .push((format!("# {heading}"), Some(String::new())));
        chapter(&mut book);
    }
    assert!(
        book.unreadable.is_empty(),
        "\n{}",
        book.unreadable.join("\n")
    );
    let titles: BTreeSet<_> = book.entries.iter().map(|(title, _)| title).collect();
    assert_eq!(titles.len(), book.entries.len(), "a title stands twice");
    // What the system, and the TLS library, say is theirs.
    let comparable = cfg!(all(
        target_os = "linux",
        feature = "rustls",
        not(feature = "native-tls"),
        not(feature = "platform-verifier")
    ));
    if comparable {
        compare(&book)
    } else {
        eprintln!("not compared: the messages are those of Linux and rustls")
    }
}

fn compare(book: &Book) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/messages.txt");
    let kept = std::fs::read_to_string(&path)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    let before = parsed(&kept);
    let mut now = String::from(
        "For each mistake, what is said. [again]: the same call is worth running again.\n\
         Kept by tests/it/messages.rs; UPDATE_MESSAGES=1 cargo test --test it messages writes it anew.\n",
    );
    for (title, message) in &book.entries {
        let kept = |title: &String| before.get(title).cloned();
        let again = || kept(&format!("{title} [again]"));
        let (title, message) = match message {
            Some(message) => (title.clone(), message.clone()),
            None if again().is_some() => (format!("{title} [again]"), again().unwrap_or_default()),
            None => (title.clone(), kept(title).unwrap_or_else(|| "?".to_owned())),
        };
        let end = if message.is_empty() { "" } else { "\n" };
        write!(
            now,
            "\n{title}\n{}{end}",
            if message.is_empty() {
                "".into()
            } else {
                format!("    {message}")
            }
        )
        .unwrap();
    }
    if now == kept {
        return;
    }
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    panic!(
        "\n{}\nThe messages are others than those of {}.\nIf they are better: {UPDATE}=1 cargo test --test it messages\n",
        difference(&before, &parsed(&now)),
        path.display()
    );
}

/// Messages by their titles.
fn parsed(text: &str) -> BTreeMap<String, String> {
    let entry = |paragraph: &str| {
        let (title, message) = paragraph
            .trim_matches('\n')
            .split_once('\n')
            .unwrap_or((paragraph.trim(), ""));
        (title.to_owned(), message.trim().to_owned())
    };
    text.split("\n\n").skip(1).map(entry).collect()
}

fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let titles: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    for title in titles
        .into_iter()
        .filter(|title| before.get(*title) != now.get(*title))
    {
        writeln!(text, "{title}").unwrap();
        for (sign, side) in [("-", before), ("+", now)] {
            match side.get(title) {
                Some(message) => writeln!(text, "  {sign} {message}").unwrap(),
                None => writeln!(text, "  {sign} (is not there)").unwrap(),
            }
        }
    }
    if text.is_empty() {
        "Only the order or the spacing differs.\n".to_owned()
    } else {
        text
    }
}

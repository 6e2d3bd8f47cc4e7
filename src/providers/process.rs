use std::fmt;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::failure::Failure;
use super::http::BODY_BYTES_MAX;
use super::json::Object;
use super::{Fetch, Fetched, provide_from_cache};
use crate::client::Clock;
use crate::credentials::Credentials;
use crate::time;

/// How long the command may run.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How often it is checked whether the command has ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long the output is waited for when the command has ended: a process that it started may
/// have inherited the pipe.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);
const STDERR_CHARS_MAX: usize = 200;
const STACK_BYTES: usize = 64 * 1024;

/// A command that prints credentials as JSON, as in the mode `External` of Alibaba Cloud CLI.
///
/// Its standard output must be
///
/// ```json
/// {
///   "mode": "StsToken",
///   "access_key_id": "…",
///   "access_key_secret": "…",
///   "sts_token": "…",
///   "expiration": "2026-12-02T09:00:00Z"
/// }
/// ```
///
/// `sts_token` may be missing where `mode` is `AK`. With an `expiration`, the credentials are
/// renewed 15 minutes before it. Without one, they are kept until OSS refuses them; then the command
/// is run again. It may run for 60 seconds and print 64 KiB; then it is killed. Its standard input is
/// empty. The first line of its standard error becomes part of the error if it fails; what looks
/// like a key in it is replaced. Alibaba Cloud documentation: "Configure credentials" of the CLI.
///
/// ```no_run
/// use oss_upload::Client;
/// use oss_upload::credentials::Process;
///
/// let client = Client::builder("https://oss-cn-hangzhou.aliyuncs.com")
///     .credentials(Process::new("/usr/local/bin/issue-credentials --role upload"))
///     .build()?;
/// # Ok::<(), oss_upload::Error>(())
/// ```
pub struct Process {
    source: ProcessSource,
    cache: Cache,
}

impl Process {
    /// Creates a provider that runs this command line.
    ///
    /// No shell reads it. Whitespace separates the arguments; single or double quotes keep an
    /// argument with whitespace together. A backslash takes away the meaning of the next character,
    /// except on Windows, where it separates the parts of a path.
    pub fn new(command: impl Into<String>) -> Process {
        Process {
            source: ProcessSource::new(command.into()),
            cache: Cache::new(),
        }
    }
}

/// Shows the program without its arguments, which may hold a secret.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = split(&self.source.command, cfg!(windows)).unwrap_or_default();
        f.debug_struct("Process")
            .field("program", &words.first())
            .finish_non_exhaustive()
    }
}

provide_from_cache!(Process);

pub(super) struct ProcessSource {
    command: String,
    pub(super) time_limit: Duration,
}

impl ProcessSource {
    pub(super) fn new(command: String) -> ProcessSource {
        ProcessSource {
            command,
            time_limit: TIME_LIMIT,
        }
    }
}

impl Fetch for ProcessSource {
    fn name(&self) -> &'static str {
        "process"
    }

    fn fetch(&self, clock: &dyn Clock) -> Result<Fetched, Failure> {
        let words = split(&self.command, cfg!(windows));
        let words = words.map_err(|reason| Failure::permanent(format!("the command {reason}")))?;
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::permanent("the command is empty"));
        };
        let output = run(program, arguments, self.time_limit)?;
        if !output.status.success() {
            let message = format!("{program:?} failed: {}", describe(output.status));
            return Err(Failure::transient(match first_line(&output.stderr) {
                None => message,
                Some(line) => format!("{message}: {line}"),
            }));
        }
        let fetched = read_output(self.name(), &output.stdout, clock);
        fetched.map_err(|reason| Failure::permanent(format!("the output of {program:?} {reason}")))
    }
}

/// What is wrong with the output follows the name of the program.
fn read_output(name: &str, stdout: &[u8], clock: &dyn Clock) -> Result<Fetched, String> {
    let object = Object::parse(stdout)?;
    let field = |field: &str| {
        let value = object.text(field);
        value.ok_or_else(|| format!("has no {field}"))
    };
    let mut credentials = Credentials::new(field("access_key_id")?, field("access_key_secret")?);
    match object.text("mode") {
        None | Some("AK") => {
            if let Some(token) = object.text("sts_token") {
                credentials = credentials.with_security_token(token);
            }
        }
        Some("StsToken") => credentials = credentials.with_security_token(field("sts_token")?),
        Some(mode) => {
            let mode: String = mode.chars().take(64).collect();
            return Err(format!(
                "has the mode {mode:?}; it must be \"AK\" or \"StsToken\""
            ));
        }
    }
    credentials
        .check()
        .map_err(|problem| format!("cannot be used: {problem}"))?;
    let expiration = object.text("expiration").map(|text| {
        let expiration = time::parse_rfc3339(text);
        expiration.ok_or("has an expiration that is not a time such as 2026-12-02T09:00:00Z")
    });
    Ok(Fetched::new(
        name,
        credentials,
        expiration.transpose()?,
        clock.now(),
    ))
}

struct Output {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// A child that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it is killed and its exit status collected.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[String], time_limit: Duration) -> Result<Output, Failure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    hide_window(&mut command);
    let child = command.spawn().map_err(|error| {
        let message = format!("cannot run {program:?}: {error}");
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                Failure::permanent(message)
            }
            _ => Failure::transient(message),
        }
    })?;
    let mut running = Running(child);
    let lost = |error: io::Error| Failure::transient(format!("{program:?}: {error}"));
    let stdout = read_on_thread(running.0.stdout.take()).map_err(lost)?;
    let stderr = read_on_thread(running.0.stderr.take()).map_err(lost)?;
    let started = Instant::now();
    let mut printed = None;
    let status = loop {
        // A command that prints too much, or closes its output, is waited for as well.
        if printed.is_none() {
            printed = stdout.recv_timeout(CHECK_INTERVAL).ok();
        } else {
            thread::sleep(CHECK_INTERVAL);
        }
        if printed
            .as_ref()
            .is_some_and(|bytes| bytes.len() > BODY_BYTES_MAX)
        {
            let message = format!("{program:?} printed more than {BODY_BYTES_MAX} bytes");
            return Err(Failure::permanent(message));
        }
        if let Some(status) = running.0.try_wait().map_err(lost)? {
            break status;
        }
        if started.elapsed() >= time_limit {
            let seconds = time_limit.as_secs();
            let message = format!("{program:?} did not end within {seconds} s and was killed");
            return Err(Failure::transient(message));
        }
    };
    let rest = |pipe: &Receiver<Vec<u8>>| pipe.recv_timeout(OUTPUT_GRACE).ok();
    let printed = printed.or_else(|| rest(&stdout)).ok_or_else(|| {
        let reason = "ended, but another process holds its standard output open";
        Failure::transient(format!("{program:?} {reason}"))
    })?;
    if printed.len() > BODY_BYTES_MAX {
        let message = format!("{program:?} printed more than {BODY_BYTES_MAX} bytes");
        return Err(Failure::permanent(message));
    }
    Ok(Output {
        status,
        stdout: printed,
        stderr: rest(&stderr).unwrap_or_default(),
    })
}

/// Reads a pipe on a thread of its own, up to one byte more than is allowed.
fn read_on_thread(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What arrived before a failure is all there is.
            let _ = pipe.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    };
    thread::Builder::new()
        .name("oss-upload-process".into())
        .stack_size(STACK_BYTES)
        .spawn(read)?;
    Ok(receiver)
}

#[cfg(windows)]
fn hide_window(command: &mut Command) {
    use std::os::windows::process::CommandExt;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    command.creation_flags(CREATE_NO_WINDOW);
}

#[cfg(not(windows))]
fn hide_window(_: &mut Command) {}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

/// Returns the first line that is not empty, without what looks like a key or a token.
fn first_line(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(redact(line).chars().take(STDERR_CHARS_MAX).collect())
}

/// AccessKey secrets have 30 letters and digits, IDs 16 or more, tokens hundreds in Base64.
fn redact(line: &str) -> String {
    const KEY_BYTES_MIN: usize = 16;
    let is_part_of_key = |c: char| c.is_ascii_alphanumeric() || "+=_".contains(c);
    let mut redacted = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part_of_key(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
        let is_key =
            word.len() >= KEY_BYTES_MIN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
        redacted.push_str(if is_key { "[redacted]" } else { word });
        let mut others = after.chars();
        redacted.extend(others.next());
        rest = others.as_str();
    }
    redacted
}

/// Splits a command line into its words; the error follows "the command".
fn split(line: &str, is_windows: bool) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    // `None` between words: a word may be empty if it is quoted.
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) if quote != Some('\'') && !is_windows => {
                let next = characters.next().ok_or("ends with a backslash")?;
                let is_escape = quote.is_none() || "\"\\$`".contains(next);
                let word = word.get_or_insert_default();
                if !is_escape {
                    word.push('\\');
                }
                word.push(next);
            }
            ('\\', Some('"')) if characters.peek() == Some(&'"') => {
                characters.next();
                word.get_or_insert_default().push('"');
            }
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, None) if character.is_whitespace() => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err("has a quote that is not closed");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_command_is_split_as_a_shell_does() {
        let unix = |line| split(line, false).unwrap();
        assert_eq!(unix("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(
            unix(r#"'a b' "c \"d\\" e\ f '' "\x""#),
            ["a b", "c \"d\\", "e f", "", "\\x"]
        );
        assert_eq!(unix(r"a'b'c"), ["abc"]);
        assert!(unix("  ").is_empty());
        for line in ["'a", "\"a", "a\\"] {
            assert!(split(line, false).is_err(), "{line}");
        }
    }

    #[test]
    fn process_command_keeps_backslashes_on_windows() {
        let windows = |line| split(line, true).unwrap();
        assert_eq!(windows(r"C:\tools\a.exe --x"), [r"C:\tools\a.exe", "--x"]);
        assert_eq!(
            windows(r#""C:\Program Files\a.exe" "say \"x\"""#),
            [r"C:\Program Files\a.exe", "say \"x\""]
        );
        assert_eq!(windows(r"a\"), [r"a\"]);
    }

    #[test]
    fn process_stderr_is_one_line_without_keys() {
        let stderr = b"\n  token CAISfh30Jh8abcdefgh/123 of LTAI5tABCDEFGHIJKLMNOP refused at /opt/x\nsecond";
        let line = first_line(stderr).unwrap();
        assert_eq!(line, "token [redacted]/123 of [redacted] refused at /opt/x");
        assert_eq!(first_line(b" \n\n"), None);
        let long = "word ".repeat(100);
        assert_eq!(
            first_line(long.as_bytes()).unwrap().chars().count(),
            STDERR_CHARS_MAX
        );
        assert_eq!(
            redact("中 configuration-of-2026 é"),
            "中 configuration-of-2026 é"
        );
    }
}

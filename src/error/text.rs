use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

/// Line separators, and characters that change the direction of text.
const INVISIBLE: [RangeInclusive<char>; 3] = [
    '\u{2028}'..='\u{202e}',
    '\u{2066}'..='\u{2069}',
    '\u{200e}'..='\u{200f}',
];

/// Escapes characters that would break a message into lines or change the terminal. Names and texts
/// from outside may have any character.
pub(crate) fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let is_invisible = INVISIBLE.iter().any(|range| range.contains(&character));
        if character.is_control() || is_invisible {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

pub(super) fn display_path(path: &Path) -> String {
    match path.as_os_str().is_empty() {
        true => "the open file".to_owned(),
        false => escape_control(&path.to_string_lossy()),
    }
}

pub(super) fn display_cause(cause: &impl fmt::Display) -> String {
    escape_control(&cause.to_string())
}

/// Shortens a reason that quotes a whole file by mistake. The start of the text shows which file it
/// is, and the end says what is wrong.
pub(super) fn shorten(reason: String) -> String {
    const WHOLE_CHARS: usize = 400;
    const HEAD_CHARS: usize = 80;
    const TAIL_CHARS: usize = 140;
    let count = reason.chars().count();
    if count <= WHOLE_CHARS {
        return reason;
    }
    let head = reason.chars().take(HEAD_CHARS);
    let tail = reason.chars().skip(count - TAIL_CHARS);
    head.chain(['…']).chain(tail).collect()
}

/// ` after 3 attempts`, if there was more than one.
pub(super) struct Attempts(pub(super) u32);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            attempts => write!(f, " after {attempts} attempts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_on_one_line_and_in_one_direction() {
        assert_eq!(escape_control("a\nb\u{1b}[1m"), "a\\nb\\u{1b}[1m");
        assert_eq!(escape_control("x\u{202e}y\u{9b}"), "x\\u{202e}y\\u{9b}");
        assert_eq!(escape_control("中 é"), "中 é");
    }

    #[test]
    fn text_that_is_too_long_keeps_its_beginning_and_its_end() {
        let text = format!("begin{}end", "x".repeat(1000));
        let shortened = shorten(text);
        assert!(shortened.starts_with("begin") && shortened.ends_with("end"));
        assert_eq!(shortened.chars().count(), 221);
        assert_eq!(shorten("short".into()), "short");
    }
}

//! JSON of others: bounded before it is parsed, and never quoted in a message.

use std::collections::HashMap;

use tinyjson::JsonValue;

/// The parser recurses.
const DEPTH_MAX: usize = 32;

pub(super) struct Object(HashMap<String, JsonValue>);

impl Object {
    /// Returns why `bytes` are not a JSON object; the reason follows the name of what they are.
    pub(super) fn parse(bytes: &[u8]) -> Result<Object, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Err("is empty".into());
        }
        if is_too_deep(text) {
            return Err("is nested too deeply".into());
        }
        // The parser's own message may quote a secret.
        let value = text.parse::<JsonValue>().map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("is not valid JSON (line {line}, column {column})")
        })?;
        Object::of(value).ok_or_else(|| "is not a JSON object".to_owned())
    }

    /// Returns a text. An empty one counts as missing.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let text = self.0.get(name)?.get::<String>()?;
        Some(text.as_str()).filter(|text| !text.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.get::<f64>().copied()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.0.get(name).and_then(JsonValue::get::<bool>) == Some(&true)
    }

    pub(super) fn object(&self, name: &str) -> Option<Object> {
        Object::of(self.0.get(name)?.clone())
    }

    /// Returns the objects of an array, or nothing.
    pub(super) fn objects(&self, name: &str) -> Vec<Object> {
        let array = self.0.get(name).and_then(JsonValue::get::<Vec<JsonValue>>);
        let items = array.into_iter().flatten().cloned();
        items.filter_map(Object::of).collect()
    }

    fn of(value: JsonValue) -> Option<Object> {
        match value {
            JsonValue::Object(members) => Some(Object(members)),
            _ => None,
        }
    }
}

fn is_too_deep(text: &str) -> bool {
    let (mut depth, mut is_in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'[' | b'{' if !is_in_string => depth += 1,
            b']' | b'}' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        Object::parse(text.as_bytes()).err().unwrap()
    }

    #[test]
    fn json_object_is_read() {
        let text = "\u{feff} {\"a\": \"x\\n\", \"b\": \"\", \"n\": 900, \"t\": true, \"l\": [{\"a\": \"y\"}, 1]}\n";
        let object = Object::parse(text.as_bytes()).unwrap();
        assert_eq!(object.text("a"), Some("x\n"));
        assert_eq!((object.text("b"), object.text("n")), (None, None));
        assert_eq!(object.number("n"), Some(900.0));
        assert!(object.is_true("t") && !object.is_true("a"));
        let items = object.objects("l");
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].text("a"), Some("y"));
        assert!(object.objects("a").is_empty() && object.object("l").is_none());
    }

    #[test]
    fn json_that_is_wrong_is_named_without_quoting_it() {
        for (text, expected) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("[]", "is not a JSON object"),
            ("<html>hush</html>", "is not valid JSON"),
            ("{\"hush\": \"hush", "is not valid JSON"),
            ("{\"AccessKeySecret\" \"hush\"}", "is not valid JSON"),
            ("{1: \"hush\"}", "is not valid JSON"),
            ("{} {}", "is not valid JSON"),
        ] {
            let reason = reason(text);
            assert!(
                reason.starts_with(expected) && !reason.contains("hush"),
                "{text}: {reason}"
            );
        }
        let not_utf8 = Object::parse(b"{\"a\": \"\xff\"}").err().unwrap();
        assert_eq!(not_utf8, "is not UTF-8");
    }

    #[test]
    fn json_depth_is_bounded_before_it_is_parsed() {
        for open in ["[", "{\"a\":"] {
            assert_eq!(reason(&open.repeat(20_000)), "is nested too deeply");
        }
        let in_string = format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(1000));
        assert!(Object::parse(in_string.as_bytes()).is_ok());
    }
}

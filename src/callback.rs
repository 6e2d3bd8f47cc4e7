use std::fmt::Write;

use crate::encoding::{base64_encode, percent_encode};
use crate::{Error, Result};

/// The largest size of each of the two headers, as Base64. OSS API: Callback.
const HEADER_BYTES_MAX: usize = 5 * 1024;

/// A request that OSS makes to an application server when the object is complete (OSS
/// documentation, "Callback").
///
/// OSS waits up to 5 seconds for the response of the server and returns it in
/// [`Uploaded::callback_body`](crate::Uploaded::callback_body). If the server does not accept the
/// callback, the object is complete nevertheless, and the upload returns [`Error::Callback`] with
/// it.
///
/// ```
/// use oss_upload::Callback;
///
/// let body = "bucket=${bucket}&object=${object}&by=${x:user}";
/// let callback = Callback::new("http://203.0.113.7:23450/callback", body)
///     .query("source", "backup")
///     .var("x:user", "li");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    url: String,
    query: Vec<(String, String)>,
    body: String,
    host: Option<String>,
    body_type: Option<String>,
    sni: Option<bool>,
    vars: Vec<(String, String)>,
}

impl Callback {
    /// Creates a callback that posts `body` to `url`.
    ///
    /// * `url`: http or https, percent-encoded. Up to five, separated by `;`, are tried in their
    ///   order.
    /// * `body`: not empty. OSS replaces `${bucket}`, `${object}`, `${etag}`, `${size}`,
    ///   `${mimeType}`, `${crc64}`, `${x:name}` and others.
    ///
    /// Limit: URLs, body and the rest have at most 5 KiB as Base64, and so have the variables.
    /// Nothing is checked before the upload is called, which returns [`Error::InvalidOption`] for a
    /// wrong value.
    pub fn new(url: impl Into<String>, body: impl Into<String>) -> Callback {
        Callback {
            url: url.into(),
            query: Vec::new(),
            body: body.into(),
            host: None,
            body_type: None,
            sni: None,
            vars: Vec::new(),
        }
    }

    /// Adds a parameter to the query of every URL; it is percent-encoded here.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Callback {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sets the `Host` header of the callback. Defaults to the host of the URL.
    #[doc(alias = "callbackHost")]
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Callback {
        Callback {
            host: Some(host.into()),
            ..self
        }
    }

    /// Sets the content type of the body: `application/x-www-form-urlencoded` (the default of OSS)
    /// or `application/json`.
    #[doc(alias = "callbackBodyType")]
    #[doc(alias = "contentType")]
    #[must_use]
    pub fn body_type(self, body_type: impl Into<String>) -> Callback {
        Callback {
            body_type: Some(body_type.into()),
            ..self
        }
    }

    /// Sets whether OSS sends the server name in the TLS handshake of an https callback. Defaults
    /// to no, by OSS.
    #[doc(alias = "callbackSNI")]
    #[must_use]
    pub fn sni(self, sni: bool) -> Callback {
        Callback {
            sni: Some(sni),
            ..self
        }
    }

    /// Adds a custom variable, `${x:name}` in the body. Its name must start with `x:` and be in
    /// lower case.
    #[doc(alias = "CallbackVar")]
    #[doc(alias = "customValue")]
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl Into<String>) -> Callback {
        self.vars.push((name.into(), value.into()));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::option("callback", reason));
        let urls: Vec<_> = self.url.split(';').collect();
        if urls.len() > 5 {
            return wrong(format!("it has {} URLs; give 5 at most", urls.len()));
        }
        for url in urls {
            let host = url
                .strip_prefix("http://")
                .or_else(|| url.strip_prefix("https://"));
            if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
                return wrong(format!(
                    "the URL {url:?} has to begin with http:// or https:// and a host"
                ));
            }
            if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
                return wrong(format!(
                    "the URL {url:?} has to be percent-encoded, a space as %20"
                ));
            }
        }
        if self.body.is_empty() {
            return wrong(
                "the body is empty; give one such as object=${object}&size=${size}".into(),
            );
        }
        const BODY_TYPES: [&str; 2] = ["application/x-www-form-urlencoded", "application/json"];
        if let Some(other) = self
            .body_type
            .as_deref()
            .filter(|body_type| !BODY_TYPES.contains(body_type))
        {
            return wrong(format!(
                "the body type {other:?} is not known; give {}",
                BODY_TYPES.join(" or ")
            ));
        }
        for (name, _) in &self.vars {
            let known = name.strip_prefix("x:").is_some_and(|rest| !rest.is_empty());
            if !known || name.chars().any(char::is_uppercase) {
                return wrong(format!(
                    "the variable {name:?} has to begin with x: and to be in lower case"
                ));
            }
        }
        self.check_header_sizes()
    }

    /// Checks the values before anything is sent, because OSS checks them only when the object is
    /// complete.
    fn check_header_sizes(&self) -> Result<()> {
        let headers = [
            ("the callback", Some(self.header())),
            ("its variables", self.vars_header()),
        ];
        for (what, header) in headers {
            let bytes = header.map_or(0, |header| header.len());
            if bytes > HEADER_BYTES_MAX {
                let reason = format!(
                    "{what}, encoded for a header, have {bytes} bytes; OSS accepts {HEADER_BYTES_MAX}, so shorten the values"
                );
                return Err(Error::option("callback", reason));
            }
        }
        Ok(())
    }

    /// Returns the value of `x-oss-callback`.
    pub(crate) fn header(&self) -> String {
        let url = self
            .url
            .split(';')
            .map(|url| self.with_query(url))
            .collect::<Vec<_>>()
            .join(";");
        let mut json = Json::new();
        json.push_str("callbackUrl", &url);
        json.push_str("callbackBody", &self.body);
        if let Some(body_type) = &self.body_type {
            json.push_str("callbackBodyType", body_type);
        }
        if let Some(host) = &self.host {
            json.push_str("callbackHost", host);
        }
        if let Some(sni) = self.sni {
            json.push_raw("callbackSNI", if sni { "true" } else { "false" });
        }
        base64_encode(json.finish())
    }

    /// Returns the value of `x-oss-callback-var`.
    pub(crate) fn vars_header(&self) -> Option<String> {
        let mut json = Json::new();
        for (name, value) in &self.vars {
            json.push_str(name, value);
        }
        (!self.vars.is_empty()).then(|| base64_encode(json.finish()))
    }

    fn with_query(&self, url: &str) -> String {
        let mut url = url.to_owned();
        for (name, value) in &self.query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!(
                "{}={}",
                percent_encode(name),
                percent_encode(value)
            ));
        }
        url
    }
}

/// A flat JSON object under construction.
struct Json(String);

impl Json {
    fn new() -> Json {
        Json(String::new())
    }

    fn push_str(&mut self, name: &str, value: &str) {
        let mut quoted = String::with_capacity(value.len() + 2);
        quote(&mut quoted, value);
        self.push_raw(name, &quoted);
    }

    fn push_raw(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        quote(&mut self.0, name);
        self.0.push(':');
        self.0.push_str(value);
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\u{0}'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("a String takes all")
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::base64_decode;

    #[test]
    fn callback_header_equals_that_of_the_ruby_sdk() {
        let callback = Callback::new("http://app.server.com/callback", "hello world")
            .query("id", "1")
            .query("name", "杭州")
            .body_type("application/x-www-form-urlencoded")
            .host("server.com");
        assert_eq!(
            callback.header(),
            "eyJjYWxsYmFja1VybCI6Imh0dHA6Ly9hcHAuc2VydmVyLmNvbS9jYWxsYmFjaz9pZD0xJm5hbWU9JUU2JTlEJUFEJUU1JUI3JTlFIiw\
             iY2FsbGJhY2tCb2R5IjoiaGVsbG8gd29ybGQiLCJjYWxsYmFja0JvZHlUeXBlIjoiYXBwbGljYXRpb24veC13d3ctZm9ybS11cmxlb\
             mNvZGVkIiwiY2FsbGJhY2tIb3N0Ijoic2VydmVyLmNvbSJ9"
        );
        let callback = callback.var("x:var1", "value1").var("x:var2", "value2");
        assert_eq!(
            callback.vars_header().unwrap(),
            "eyJ4OnZhcjEiOiJ2YWx1ZTEiLCJ4OnZhcjIiOiJ2YWx1ZTIifQ=="
        );
    }

    #[test]
    fn callback_json_is_escaped() {
        let mut json = Json::new();
        json.push_str("a", "\"\\\n\u{1}é中");
        json.push_raw("b", "true");
        assert_eq!(
            json.finish(),
            "{\"a\":\"\\\"\\\\\\u000a\\u0001é中\",\"b\":true}"
        );
    }

    #[test]
    fn callback_query_is_added_to_every_url() {
        let callback = Callback::new("http://a/x;https://b/y?z=1", "b").query("q", "1 2");
        let json = String::from_utf8(base64_decode(&callback.header()).unwrap()).unwrap();
        assert!(
            json.contains("\"http://a/x?q=1%202;https://b/y?z=1&q=1%202\""),
            "{json}"
        );
    }

    #[test]
    fn callback_mistakes_are_named() {
        let check = |callback: Callback| callback.check().unwrap_err().to_string();
        assert!(check(Callback::new("", "b")).contains("http://"));
        assert!(check(Callback::new("ftp://x", "b")).contains("ftp://x"));
        assert!(check(Callback::new("http://x/杭", "b")).contains("percent-encoded"));
        assert!(check(Callback::new("http://x", "")).contains("body"));
        assert!(check(Callback::new("http://x", "b").var("name", "v")).contains("x:"));
        assert!(check(Callback::new("http://x", "b").var("x:Name", "v")).contains("lower case"));
        assert!(check(Callback::new("http://x;".repeat(6), "b")).contains("5 at most"));
    }

    #[test]
    fn callback_headers_are_limited() {
        let with_body = |bytes: usize| Callback::new("http://x", "b".repeat(bytes));
        let fits = HEADER_BYTES_MAX / 4 * 3 - base64_decode(&with_body(0).header()).unwrap().len();
        assert_eq!(with_body(fits).header().len(), HEADER_BYTES_MAX);
        assert!(with_body(fits).check().is_ok());
        let error = with_body(fits + 1).check().unwrap_err().to_string();
        assert!(error.contains("5120"), "{error}");
        let with_var = |bytes: usize| with_body(1).var("x:a", "v".repeat(bytes));
        assert!(with_var(3_000).check().is_ok());
        assert!(
            with_var(4_000)
                .check()
                .unwrap_err()
                .to_string()
                .contains("variables")
        );
    }
}

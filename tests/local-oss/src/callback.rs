//! Upload callbacks: requests to an application server after an object has been stored.

use std::collections::HashMap;
use std::time::Duration;

use tinyjson::JsonValue;

use crate::error::{OssError, Result};
use crate::request::Head;
use crate::text::{encode_component, from_base64};

/// The timeout of a request to an application server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response of an application server that is passed on.
const RESPONSE_BYTES_MAX: u64 = 3 << 20;
/// The largest `x-oss-callback` or `x-oss-callback-var`, in bytes of Base64.
const HEADER_BYTES_MAX: usize = 5 * 1024;
const URLS_MAX: usize = 5;

/// A callback as the client specified it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Callback {
    urls: Vec<String>,
    host: Option<String>,
    body: String,
    json: bool,
    /// Custom variables; their names include the `x:`.
    variables: HashMap<String, String>,
    /// Why the callback fails without a request to the application server.
    defect: Option<&'static str>,
}

impl Callback {
    /// Parses the callback in the headers or in the query of a request.
    pub(crate) fn of(head: &Head) -> Result<Option<Callback>> {
        let given = |header: &str, param: &str| {
            head.header(header)
                .or_else(|| head.param(param))
                .or_else(|| head.param(header))
                .map(str::to_owned)
        };
        let Some(callback) = given("x-oss-callback", "callback") else {
            return Ok(None);
        };
        let variables = given("x-oss-callback-var", "callback-var");
        for (name, value, ec) in [
            ("x-oss-callback", Some(&callback), "0007-00000001"),
            ("x-oss-callback-var", variables.as_ref(), "0007-00000101"),
        ] {
            if value.is_some_and(|value| value.len() > HEADER_BYTES_MAX) {
                let message = format!("The {name} is larger than 5 KB.");
                let error = OssError::new(400, "InvalidArgument", message);
                return Err(error.with("ArgumentName", name).ec(ec));
            }
        }
        Callback::decode(&callback, variables.as_deref()).map(Some)
    }

    fn decode(callback: &str, variables: Option<&str>) -> Result<Callback> {
        let invalid = |message: &str| {
            OssError::invalid_argument(
                "callback",
                callback,
                format!("The callback configuration is not valid: {message}."),
            )
            .ec("0007-00000006")
        };
        let fields = flat_object(callback)
            .ok_or_else(|| invalid("it is not the Base64 of a JSON object"))?;
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(|value| value.get::<String>())
                .cloned()
        };
        let urls = text("callbackUrl").ok_or_else(|| invalid("callbackUrl is missing"))?;
        let urls: Vec<String> = urls.split(';').map(|url| url.trim().to_owned()).collect();
        let is_http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        let is_url = |url: &String| is_http(url) || !(url.is_empty() || url.contains("://"));
        if urls.len() > URLS_MAX || !urls.iter().all(is_url) {
            return Err(invalid("callbackUrl must be one to five HTTP URLs"));
        }
        let mut defect = None;
        if !urls.iter().all(is_http) {
            defect = Some("The callback URL has no scheme.");
        }
        let body = text("callbackBody").filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| invalid("callbackBody is missing"))?;
        let json = match text("callbackBodyType").as_deref() {
            None | Some("application/x-www-form-urlencoded") => false,
            Some("application/json") => true,
            Some(_) => return Err(invalid("callbackBodyType is unknown")),
        };
        let variables = match variables {
            None => HashMap::new(),
            Some(variables) => read_variables(variables).ok_or_else(|| {
                OssError::invalid_argument(
                    "callback-var",
                    variables,
                    "The callback variables are not valid.",
                )
            })?,
        };
        if variables.keys().any(|name| !name.starts_with("x:")) {
            defect = Some("The name of a callback variable does not begin with x:.");
        }
        Ok(Callback {
            defect,
            urls,
            host: text("callbackHost").filter(|host| !host.is_empty()),
            body,
            json,
            variables,
        })
    }

    /// Returns the body to post, with the values of all variables.
    fn fill(&self, system: &HashMap<&str, String>) -> String {
        let mut filled = String::new();
        let mut rest = self.body.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else {
                break;
            };
            filled.push_str(before);
            let value = self.variables.get(name).or_else(|| system.get(name));
            filled.push_str(&self.quote(value.map_or("", String::as_str)));
            rest = tail;
        }
        filled + rest
    }

    /// Encodes a value as the type of the body requires.
    fn quote(&self, value: &str) -> String {
        if !self.json {
            return encode_component(value);
        }
        JsonValue::String(value.to_owned())
            .stringify()
            .unwrap_or_default()
    }

    /// Posts the callback. Returns the JSON of the response, or the reason why there is none.
    pub(crate) fn post(
        &self,
        system: &HashMap<&str, String>,
    ) -> std::result::Result<Vec<u8>, String> {
        if let Some(defect) = self.defect {
            return Err(defect.to_owned());
        }
        let body = self.fill(system);
        let mut failure = String::new();
        for url in &self.urls {
            match self.post_to(url, &body) {
                Ok(response) => return Ok(response),
                Err(reason) => failure = reason,
            }
        }
        Err(failure)
    }

    fn post_to(&self, url: &str, body: &str) -> std::result::Result<Vec<u8>, String> {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("aliyun-oss-callback")
            .build()
            .new_agent();
        let content_type = if self.json {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let mut request = agent.post(url).header("content-type", content_type);
        if let Some(host) = &self.host {
            request = request.header("host", host);
        }
        let mut response = request.send(body).map_err(|error| match error {
            ureq::Error::Timeout(_) => "Cost too long time".to_owned(),
            error => format!("Could not connect: {error}"),
        })?;
        if response.status() != 200 {
            return Err(format!("Error status : {}.", response.status().as_u16()));
        }
        let response = response
            .body_mut()
            .with_config()
            .limit(RESPONSE_BYTES_MAX)
            .read_to_vec();
        let response = response.map_err(|error| format!("Could not read the response: {error}"))?;
        let is_json =
            std::str::from_utf8(&response).is_ok_and(|text| text.parse::<JsonValue>().is_ok());
        if is_json {
            Ok(response)
        } else {
            Err("Response body is not valid json format.".to_owned())
        }
    }
}

/// Returns the members of a Base64-encoded JSON object.
fn flat_object(encoded: &str) -> Option<HashMap<String, JsonValue>> {
    let json = String::from_utf8(from_base64(encoded)?).ok()?;
    match json.parse::<JsonValue>().ok()? {
        JsonValue::Object(members) => Some(members),
        _ => None,
    }
}

fn read_variables(encoded: &str) -> Option<HashMap<String, String>> {
    let variable = |(name, value): (String, JsonValue)| {
        let good = !name.chars().any(char::is_uppercase);
        good.then_some((name, value.get::<String>()?.clone()))
    };
    flat_object(encoded)?.into_iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::base64;

    const VECTOR: &str = "eyJjYWxsYmFja1VybCI6Imh0dHA6Ly9hcHAuc2VydmVyLmNvbS9jYWxsYmFjaz9pZD0xJm5hbWU9JUU2JTlEJUFEJ\
        UU1JUI3JTlFIiwiY2FsbGJhY2tCb2R5IjoiaGVsbG8gd29ybGQiLCJjYWxsYmFja0JvZHlUeXBlIjoiYXBwbGljYXRpb24veC13d3ctZm9\
        ybS11cmxlbmNvZGVkIiwiY2FsbGJhY2tIb3N0Ijoic2VydmVyLmNvbSJ9";

    #[test]
    fn callback_vectors() {
        let variables = "eyJ4OnZhcjEiOiJ2YWx1ZTEiLCJ4OnZhcjIiOiJ2YWx1ZTIifQ==";
        let callback = Callback::decode(VECTOR, Some(variables)).expect("a good callback");
        assert_eq!(
            callback.urls,
            ["http://app.server.com/callback?id=1&name=%E6%9D%AD%E5%B7%9E"]
        );
        assert_eq!(
            (callback.host.as_deref(), callback.body.as_str()),
            (Some("server.com"), "hello world")
        );
        assert_eq!(callback.variables["x:var1"], "value1");
        assert_eq!(callback.variables["x:var2"], "value2");
        assert!(!callback.json);
    }

    #[test]
    fn callback_body_is_filled_in() {
        let variables = base64(r#"{"x:who":"a \"b\" & c"}"#);
        let system = HashMap::from([("size", "7".to_owned()), ("etag", "\"AB\"".to_owned())]);
        for (kind, body, filled) in [
            (
                "application/json",
                r#"{\"who\":${x:who},\"size\":${size}}"#,
                r#"{"who":"a \"b\" & c","size":"7"}"#,
            ),
            (
                "application/x-www-form-urlencoded",
                "who=${x:who}&etag=${etag}&none=${none}&${",
                "who=a%20%22b%22%20%26%20c&etag=%22AB%22&none=&${",
            ),
        ] {
            let json = format!(
                r#"{{"callbackUrl":"http://x/","callbackBody":"{body}","callbackBodyType":"{kind}"}}"#
            );
            let callback =
                Callback::decode(&base64(json), Some(&variables)).expect("a good callback");
            assert_eq!(callback.fill(&system), filled);
        }
    }

    #[test]
    fn callback_validation() {
        for wrong in [
            "not json",
            "[]",
            r#"{"callbackBody":"b"}"#,
            r#"{"callbackUrl":"http://x/"}"#,
            r#"{"callbackUrl":"ftp://x/","callbackBody":"b"}"#,
            r#"{"callbackUrl":"http://x/","callbackBody":"b","callbackBodyType":"text/plain"}"#,
        ] {
            assert!(Callback::decode(&base64(wrong), None).is_err(), "{wrong}");
        }
        assert!(Callback::decode("%%%", None).is_err());
        assert!(Callback::decode(VECTOR, Some(&base64(r#"{"x:Who":"x"}"#))).is_err());
    }
}

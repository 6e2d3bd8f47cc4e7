//! The answer that says no (OSS documentation, "Error responses").

use super::request::{Request, Response};
use super::xml;
use crate::encoding::from_base64;
use crate::error::{ServiceError, printable};

/// How much of a body that is not OSS's XML is repeated in the error: bytes.
const SNIPPET_BYTES_MAX: usize = 256;

/// How much of a field of OSS's XML is kept; a real message has less than 300 characters.
const FIELD_CHARS_MAX: usize = 1024;

/// The refusal, with what retrying and resuming have to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) service: ServiceError,
    /// The server's clock, in the error's own words.
    pub(crate) server_time: Option<String>,
    /// The part that is there already (`PartAlreadyExist`).
    pub(crate) part_etag: Option<String>,
}

/// Reads a refusal. A `HEAD` has no body: OSS puts the XML into `x-oss-err` then.
pub(crate) fn parse(request: &Request, response: &Response, attempts: u32) -> Failure {
    let header = response.header("x-oss-err").and_then(from_base64);
    let body = if response.body.is_empty() { header.as_deref().unwrap_or_default() } else { &response.body };
    let error = xml::parse(body, "Error").ok();
    let field = |name: &str| error.as_ref().and_then(|error| error.text(name)).map(one_line);
    let service = ServiceError {
        status: response.status,
        code: field("Code").unwrap_or_else(|| code_without_xml(request, response, body).into()),
        message: field("Message").unwrap_or_else(|| one_line(&snippet(body))),
        request_id: response.request_id().map(one_line).or_else(|| field("RequestId")),
        host_id: field("HostId"),
        ec: response.header("x-oss-ec").map(one_line).or_else(|| field("EC")),
        endpoint: field("Endpoint"),
        operation: request.operation(),
        part: request.part,
        attempts,
    };
    Failure { service, server_time: field("ServerTime"), part_etag: field("PartEtag") }
}

/// An `<Error>` that hides in the body of a 200.
pub(crate) fn hides_in(response: &Response) -> bool {
    xml::parse(&response.body, "Error").is_ok()
}

fn code_without_xml(request: &Request, response: &Response, body: &[u8]) -> &'static str {
    match (response.status, body.is_empty()) {
        (404, true) if request.operation == "HeadObject" => "NoSuchKey",
        (403, true) => "AccessDenied",
        (203, _) => "CallbackFailed",
        _ => "BadErrorResponse",
    }
}

/// Some servers answer with the request, and so with its signature and its token.
fn snippet(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SNIPPET_BYTES_MAX)]);
    let lower = text.to_ascii_lowercase();
    if ["authorization", "signature=", "security-token"].iter().any(|word| lower.contains(word)) {
        return "(it repeats the request)".into();
    }
    text.into_owned()
}

/// Errors are one line each, whatever a server or a box in the middle wrote.
fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_control() || character.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    printable(&line.chars().take(FIELD_CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::request::Method;
    use super::*;

    fn failure(status: u16, headers: &[(&str, &str)], body: &str) -> Failure {
        let request = Request::new("UploadPart", Method::Put, "b", "k");
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        parse(&request, &Response { status, headers, body: body.into() }, 2)
    }

    #[test]
    fn every_field_is_kept() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>No\n way.</Message><RequestId>R1</RequestId>\
            <HostId>h</HostId><EC>0003-1</EC><Endpoint>oss-cn-x.aliyuncs.com</Endpoint></Error>";
        let service = failure(403, &[], body).service;
        assert_eq!(
            (service.status, service.code.as_str(), service.message.as_str()),
            (403, "AccessDenied", "No way.")
        );
        assert_eq!(service.request_id.as_deref(), Some("R1"));
        assert_eq!(service.ec.as_deref(), Some("0003-1"));
        assert_eq!(
            service.to_string(),
            "UploadPart of oss://b/k failed after 2 attempts: 403 AccessDenied: No way; \
             the bucket's endpoint is oss-cn-x.aliyuncs.com (request id R1, EC 0003-1)"
        );
    }

    #[test]
    fn a_head_has_its_error_in_a_header() {
        let xml = crate::encoding::base64("<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>");
        assert_eq!(failure(404, &[("x-oss-err", &xml)], "").service.code, "NoSuchBucket");
    }

    #[test]
    fn an_echo_of_the_request_is_not_repeated() {
        let echo = r#"{"headers": {"Authorization": "OSS4-HMAC-SHA256 Credential=ak/x,Signature=4d14a791"}}"#;
        let message = failure(403, &[], echo).service.message;
        assert!(!message.contains("4d14") && !message.is_empty(), "{message}");
    }

    #[test]
    fn what_is_not_xml_is_shown_in_part_and_on_one_line() {
        let service = failure(502, &[], &format!("<html>\r\nBad gateway{}", "x".repeat(10_000))).service;
        assert_eq!(service.code, "BadErrorResponse");
        assert!(
            service.message.starts_with("<html> Bad gateway") && service.message.len() <= SNIPPET_BYTES_MAX
        );
        assert_eq!(failure(500, &[], "").service.message, "");
    }

    #[test]
    fn part_already_exist_tells_the_etag() {
        let body = "<Error><Code>PartAlreadyExist</Code><PartEtag>\"AB\"</PartEtag><PartNumber>42</PartNumber></Error>";
        assert_eq!(failure(409, &[], body).part_etag.as_deref(), Some("\"AB\""));
    }
}

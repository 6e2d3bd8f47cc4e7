//! Error responses (OSS documentation, "Error responses").

use super::request::{Request, Response};
use super::xml::{self, clean_text};
use crate::encoding::base64_decode;
use crate::error::{OperationKind, ServiceError};

/// The length of the excerpt of a body that is not an error document, in bytes.
const EXCERPT_BYTES_MAX: usize = 256;
/// Replaces secrets of the request that an error response repeats.
const REDACTED: &str = "***";

/// An error response, with what retrying and resuming need to know of it.
#[derive(Clone, Debug)]
pub(crate) struct ErrorResponse {
    pub(crate) service: ServiceError,
    /// The time of the server, as the error document gives it.
    pub(crate) server_time: Option<String>,
    /// The ETag of the part that exists already (`PartAlreadyExist`).
    pub(crate) part_etag: Option<String>,
}

/// Returns whether a response reports an error: by its status, by an error document in a 200, or by
/// a failed callback.
pub(crate) fn is_error(request: &Request, response: &Response) -> bool {
    let has_callback = request.header_value("x-oss-callback").is_some();
    match response.status {
        203 => has_callback,
        // With a callback, the body is the response of the application server.
        200..=299 => !has_callback && has_error_body(response),
        _ => true,
    }
}

/// Reads an error response.
///
/// `signed` is the request as it was sent. Its token and its signature are removed from all texts
/// of the response.
pub(crate) fn parse(signed: &Request, response: &Response, attempts: u32) -> ErrorResponse {
    // The response to a HEAD has no body; OSS puts the document into a header.
    let in_header = response.header("x-oss-err").and_then(base64_decode);
    let body = match response.body.is_empty() {
        true => in_header.as_deref().unwrap_or_default(),
        false => &response.body,
    };
    let document = xml::parse(body, "Error").ok();
    let secrets = Secrets::of(signed);
    let clean = |text: &str| clean_text(&secrets.redact(text));
    let field = |name: &str| {
        document
            .as_ref()
            .and_then(|error| error.text(name))
            .map(clean)
    };
    let service = ServiceError {
        status: response.status,
        code: field("Code").unwrap_or_else(|| code_without_document(signed, response, body).into()),
        message: field("Message").unwrap_or_else(|| clean(&body_excerpt(body, &secrets))),
        request_id: response
            .header("x-oss-request-id")
            .map(clean)
            .or_else(|| field("RequestId")),
        host_id: field("HostId"),
        ec: response
            .header("x-oss-ec")
            .map(clean)
            .or_else(|| field("EC")),
        endpoint: field("Endpoint"),
        operation: signed.operation(),
        part: signed.part,
        attempts,
        has_token: signed.header_value(TOKEN_HEADER).is_some(),
    };
    ErrorResponse {
        service,
        server_time: field("ServerTime"),
        part_etag: field("PartEtag"),
    }
}

/// Returns whether the body is an error document, regardless of the status.
pub(crate) fn has_error_body(response: &Response) -> bool {
    xml::parse(&response.body, "Error").is_ok()
}

fn code_without_document(request: &Request, response: &Response, body: &[u8]) -> &'static str {
    match (response.status, body.is_empty()) {
        (404, true) if request.operation == OperationKind::HeadObject => "NoSuchKey",
        (403, true) => "AccessDenied",
        (203, _) => "CallbackFailed",
        _ => "BadErrorResponse",
    }
}

/// Returns the beginning of a body that is not an error document.
fn body_excerpt(body: &[u8], secrets: &Secrets) -> String {
    // Secrets are removed first, because one that is cut off would not be found.
    let text = secrets.redact(&String::from_utf8_lossy(body));
    let end = (0..=EXCERPT_BYTES_MAX.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let text = &text[..end.unwrap_or(0)];
    let lower = text.to_ascii_lowercase();
    // Some servers echo the request, and the excerpt may end within its signature.
    if ["authorization", "signature=", "security-token"]
        .iter()
        .any(|word| lower.contains(word))
    {
        return "(it repeats the request)".into();
    }
    text.to_owned()
}

const TOKEN_HEADER: &str = "x-oss-security-token";

/// Returns the secrets of a request, which must not be part of any text.
struct Secrets<'a>(Vec<&'a str>);

impl<'a> Secrets<'a> {
    fn of(signed: &'a Request) -> Secrets<'a> {
        let authorization = signed.header_value("authorization");
        // V4: `…,Signature=<signature>`; V1: `OSS <id>:<signature>`.
        let signature = authorization.and_then(|text| {
            text.rsplit_once("Signature=")
                .or_else(|| text.rsplit_once(':'))
                .map(|(_, signature)| signature)
        });
        let secrets = [signed.header_value(TOKEN_HEADER), authorization, signature];
        Secrets(
            secrets
                .into_iter()
                .flatten()
                .filter(|secret| !secret.is_empty())
                .collect(),
        )
    }

    fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret, REDACTED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Method;
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn request() -> Request {
        Request::new(OperationKind::UploadPart, Method::Put, "b", "k")
    }

    fn error(status: u16, headers: &[(&str, &str)], body: &str) -> ErrorResponse {
        parse(&request(), &foreign_response(status, headers, body), 2)
    }

    #[test]
    fn error_response_keeps_every_field() {
        let body = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>No\n way.</Message>\
            <RequestId>R1</RequestId><HostId>h</HostId><EC>0003-1</EC>\
            <Endpoint>oss-cn-x.aliyuncs.com</Endpoint></Error>";
        let service = error(403, &[], body).service;
        assert_eq!(
            (service.status, service.code.as_str()),
            (403, "AccessDenied")
        );
        assert_eq!(service.message, "No way.");
        assert_eq!(service.request_id.as_deref(), Some("R1"));
        assert_eq!(service.ec.as_deref(), Some("0003-1"));
        assert_eq!(
            service.to_string(),
            "UploadPart of oss://b/k failed after 2 attempts: 403 AccessDenied: No way; \
             the bucket's endpoint is oss-cn-x.aliyuncs.com (request id R1, EC 0003-1)"
        );
    }

    #[test]
    fn error_response_of_a_head_is_in_a_header() {
        let document = "<Error><Code>NoSuchBucket</Code><Message>m</Message></Error>";
        let header = crate::encoding::base64_encode(document);
        assert_eq!(
            error(404, &[("x-oss-err", &header)], "").service.code,
            "NoSuchBucket"
        );
    }

    #[test]
    fn error_response_does_not_repeat_the_request() {
        let echo = r#"{"headers": {"Authorization": "OSS4-HMAC-SHA256 Credential=ak/x,Signature=4d14a791"}}"#;
        let message = error(403, &[], echo).service.message;
        assert!(
            !message.contains("4d14") && !message.is_empty(),
            "{message}"
        );
    }

    #[test]
    fn error_response_is_redacted_in_every_field() {
        let v1 = request()
            .header("x-oss-security-token", "TOKEN+/=")
            .header("authorization", "OSS ak:SIG1=");
        let v4 = request()
            .header("x-oss-security-token", "TOKEN+/=")
            .header("authorization", "OSS4 a=b,Signature=SIG1=");
        let echo = "HTTP_X=TOKEN+/= SIG1=";
        let document = format!(
            "<Error><Code>{echo}</Code><Message>{echo}</Message><RequestId>{echo}</RequestId>\
             <HostId>{echo}</HostId><EC>{echo}</EC><Endpoint>{echo}</Endpoint></Error>"
        );
        let padded = format!("{}{echo}", "x".repeat(EXCERPT_BYTES_MAX - 10));
        for signed in [&v1, &v4] {
            for body in [&document, &padded, &echo.to_owned()] {
                let headers = [("x-oss-request-id", echo), ("x-oss-ec", echo)];
                let error = parse(signed, &foreign_response(403, &headers, body), 1);
                let text = format!("{error:?} {}", error.service);
                assert!(!text.contains("TOK") && !text.contains("SIG1"), "{text}");
            }
        }
        assert!(
            parse(&v4, &foreign_response(403, &[], &document), 1)
                .service
                .has_token
        );
        assert!(!error(403, &[], &document).service.has_token);
    }

    #[test]
    fn error_response_is_one_line_without_control_characters() {
        let headers = [
            ("x-oss-request-id", "a\u{9b}31m\u{202e}b"),
            ("x-oss-ec", "1\r\n2"),
        ];
        let text = error(403, &headers, "<Error><Code>C\u{202e}</Code></Error>")
            .service
            .to_string();
        let unsafe_character = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!text.contains(unsafe_character), "{text:?}");
    }

    #[test]
    fn error_response_without_document_shows_an_excerpt() {
        let service = error(
            502,
            &[],
            &format!("<html>\r\nBad gateway{}", "x".repeat(10_000)),
        )
        .service;
        assert_eq!(service.code, "BadErrorResponse");
        assert!(service.message.starts_with("<html> Bad gateway"));
        assert!(service.message.len() <= EXCERPT_BYTES_MAX);
        assert_eq!(error(500, &[], "").service.message, "");
    }

    #[test]
    fn error_response_part_already_exist_has_the_etag() {
        let body = "<Error><Code>PartAlreadyExist</Code><PartEtag>\"AB\"</PartEtag>\
            <PartNumber>42</PartNumber></Error>";
        assert_eq!(error(409, &[], body).part_etag.as_deref(), Some("\"AB\""));
    }

    #[test]
    fn error_response_is_recognized() {
        let document = "<Error><Code>InternalError</Code></Error>";
        let with_callback = request().header("x-oss-callback", "e30=");
        assert!(is_error(&request(), &response(200, &[], document)));
        assert!(!is_error(&request(), &response(200, &[], "<Ok/>")));
        assert!(!is_error(&request(), &response(204, &[], "")));
        assert!(!is_error(&with_callback, &response(200, &[], document)));
        assert!(is_error(&with_callback, &response(203, &[], "{}")));
        for status in [100, 301, 304, 400, 403, 404, 500] {
            assert!(is_error(&request(), &response(status, &[], "")), "{status}");
        }
    }
}

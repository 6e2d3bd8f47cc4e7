//! The error codes of OSS, and the one table that says what each error response means.

use super::{OperationKind, ServiceError};

/// The OSS error codes that this crate distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    AccessDenied,
    /// `AccessKeyIdAndSecurityTokenNotMatch`.
    AccessKeyTokenMismatch,
    /// Not a code of OSS: the response had no error document.
    BadErrorResponse,
    BadRequest,
    CallbackFailed,
    FileAlreadyExists,
    InternalError,
    InvalidAccessKeyId,
    InvalidArgument,
    InvalidDigest,
    /// `InvalidPart`, and what older services say in its place.
    InvalidPart,
    InvalidSecurityToken,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PartAlreadyExist,
    PartNotSequential,
    RequestTimeTooSkewed,
    RequestTimeout,
    SecondLevelDomainForbidden,
    SecurityTokenExpired,
    ServiceUnavailable,
    SignatureDoesNotMatch,
    UserDisable,
    Other,
}

impl ErrorCode {
    pub(crate) fn of(code: &str) -> ErrorCode {
        match code {
            "AccessDenied" => ErrorCode::AccessDenied,
            "AccessKeyIdAndSecurityTokenNotMatch" => ErrorCode::AccessKeyTokenMismatch,
            "BadErrorResponse" => ErrorCode::BadErrorResponse,
            "BadRequest" => ErrorCode::BadRequest,
            "CallbackFailed" => ErrorCode::CallbackFailed,
            "FileAlreadyExists" => ErrorCode::FileAlreadyExists,
            "InternalError" => ErrorCode::InternalError,
            "InvalidAccessKeyId" => ErrorCode::InvalidAccessKeyId,
            "InvalidArgument" => ErrorCode::InvalidArgument,
            "InvalidDigest" => ErrorCode::InvalidDigest,
            "InvalidPart" | "FilePartNotExist" | "FilePartStale" => ErrorCode::InvalidPart,
            "InvalidSecurityToken" => ErrorCode::InvalidSecurityToken,
            "NoSuchBucket" => ErrorCode::NoSuchBucket,
            "NoSuchKey" => ErrorCode::NoSuchKey,
            "NoSuchUpload" => ErrorCode::NoSuchUpload,
            "PartAlreadyExist" => ErrorCode::PartAlreadyExist,
            "PartNotSequential" => ErrorCode::PartNotSequential,
            "RequestTimeTooSkewed" => ErrorCode::RequestTimeTooSkewed,
            "RequestTimeout" => ErrorCode::RequestTimeout,
            "SecondLevelDomainForbidden" => ErrorCode::SecondLevelDomainForbidden,
            "SecurityTokenExpired" => ErrorCode::SecurityTokenExpired,
            "ServiceUnavailable" => ErrorCode::ServiceUnavailable,
            "SignatureDoesNotMatch" => ErrorCode::SignatureDoesNotMatch,
            "UserDisable" => ErrorCode::UserDisable,
            _ => ErrorCode::Other,
        }
    }
}

/// What to do with a request after an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Wait, then retry.
    Backoff,
    /// The clocks differ: synchronize ours and retry immediately.
    SyncClock,
    /// The credentials are no longer valid: ask the provider for others and retry immediately.
    RefreshCredentials,
    /// A retry would fail in the same way.
    GiveUp,
}

/// What an error response means for the request, for the next call, and for the reader of the
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classification {
    pub(crate) retry: RetryDecision,
    /// The same call may succeed when it is made again.
    pub(crate) is_resumable: bool,
    pub(crate) hint: Option<&'static str>,
}

pub(crate) const CHECK_ENDPOINT_AND_PROXY: &str =
    "the response may not come from OSS; check the endpoint and any proxy in between";
pub(super) const RETRY_OR_CHECK_ENDPOINT: &str = "run the same call again; if the error persists, the response may not come from OSS: \
     check the endpoint and any proxy in between";
const GIVE_REGION: &str = "give the bucket's region with ClientBuilder::region or OSS_REGION";

/// Classifies an error response. The first row of the table that matches counts.
pub(crate) fn classify(error: &ServiceError) -> Classification {
    use ErrorCode as Code;
    use RetryDecision::{Backoff, GiveUp, RefreshCredentials, SyncClock};

    let message = |part: &str| error.message.contains(part);
    let rerun = rerun_hint(error.operation.kind());
    let (retry, is_resumable, hint) = match (error.status, ErrorCode::of(&error.code)) {
        // The object exists; whatever the status is, sending it again is wrong.
        (_, Code::CallbackFailed) => (GiveUp, false, None),

        // The clock.
        (_, Code::RequestTimeTooSkewed) => (SyncClock, true, Some(SET_CLOCK)),
        (400, Code::InvalidArgument) if message("Invalid signing date") => {
            (SyncClock, true, Some(SET_CLOCK))
        }

        // Credentials. The service reports an ended STS session by several codes.
        (_, Code::SecurityTokenExpired) => (
            RefreshCredentials,
            true,
            Some("fetch a new security token and run the same call again"),
        ),
        (_, Code::InvalidSecurityToken | Code::AccessKeyTokenMismatch) => (
            RefreshCredentials,
            true,
            Some(
                "give the security token that belongs to this AccessKey ID; its session may have ended",
            ),
        ),
        (_, Code::InvalidAccessKeyId) if error.has_token => (
            RefreshCredentials,
            true,
            Some("check the AccessKey ID and its security token; the session may have ended"),
        ),
        (_, Code::InvalidAccessKeyId) => (
            GiveUp,
            false,
            Some("check the AccessKey ID; one that STS issued also needs its security token"),
        ),
        (_, Code::SignatureDoesNotMatch) => (
            GiveUp,
            false,
            Some(
                "check the AccessKey secret; a domain that is bound to the bucket needs cname(true)",
            ),
        ),
        (400, Code::InvalidArgument) if message("signing region") => {
            (GiveUp, false, Some(GIVE_REGION))
        }
        (400, Code::InvalidArgument) if message("signing product") => (
            GiveUp,
            false,
            Some("check the endpoint; CloudBox and other products are not supported"),
        ),

        // The names.
        (404, Code::NoSuchBucket) => (
            GiveUp,
            false,
            Some("check the name of the bucket and the endpoint"),
        ),
        (_, Code::SecondLevelDomainForbidden) => (
            GiveUp,
            false,
            Some("give the endpoint by its name, not as an IP address, and omit path_style"),
        ),
        (_, Code::UserDisable) => (
            GiveUp,
            false,
            Some("the account is disabled; look for unpaid bills in the console"),
        ),

        // The state of the upload and of the object.
        (_, Code::NoSuchUpload) => (
            GiveUp,
            true,
            Some("the upload was aborted, perhaps by a lifecycle rule; run the same call again"),
        ),
        (_, Code::InvalidPart) => (GiveUp, true, Some(rerun)),
        (_, Code::FileAlreadyExists) => (
            GiveUp,
            false,
            Some(
                "choose another key, or omit forbid_overwrite; in a bucket with a hierarchical namespace \
                 a directory may have this name",
            ),
        ),

        // A body that was damaged in transit, or that did not arrive in time. It is read again.
        (400, Code::InvalidDigest | Code::RequestTimeout) => (Backoff, true, Some(rerun)),
        // The code in a 200 that contains an error is all that says what it is.
        (200, Code::InternalError | Code::ServiceUnavailable | Code::RequestTimeout) => {
            (Backoff, true, Some(rerun))
        }
        // The official SDKs retry both. Their causes are not documented, so the next call is not
        // promised anything.
        (401, Code::BadErrorResponse) => (Backoff, false, Some(CHECK_ENDPOINT_AND_PROXY)),
        (401, _) | (400, Code::BadRequest) => (Backoff, false, None),

        (403 | 200, Code::AccessDenied) => (GiveUp, false, Some(access_denied_hint(error))),
        (300..=399, _) => (
            GiveUp,
            false,
            Some("this is not the endpoint of the bucket; use the one that the console shows"),
        ),

        // Not implemented: waiting does not help.
        (501, Code::BadErrorResponse) => (GiveUp, false, Some(CHECK_ENDPOINT_AND_PROXY)),
        (501, _) => (GiveUp, false, None),
        (408 | 429 | 500.., Code::BadErrorResponse) if error.request_id.is_none() => {
            (Backoff, true, Some(RETRY_OR_CHECK_ENDPOINT))
        }
        (408 | 429 | 500.., _) => (Backoff, true, Some(rerun)),

        (_, Code::BadErrorResponse) => (GiveUp, false, Some(CHECK_ENDPOINT_AND_PROXY)),
        _ => (GiveUp, false, None),
    };
    Classification {
        retry,
        is_resumable,
        // The message already names the right endpoint.
        hint: hint.filter(|_| error.endpoint.is_none()),
    }
}

const SET_CLOCK: &str = "set this machine's clock and run the same call again";

/// Returns what to do after a transient failure.
pub(crate) fn rerun_hint(operation: Option<OperationKind>) -> &'static str {
    match operation {
        Some(
            OperationKind::UploadPart
            | OperationKind::CompleteMultipartUpload
            | OperationKind::ListParts,
        ) => "run the same call again; with a checkpoint it resumes",
        _ => "run the same call again",
    }
}

fn access_denied_hint(error: &ServiceError) -> &'static str {
    /// V1 signatures are not accepted from this account or bucket.
    const EC_V1_REFUSED: &str = "0002-00000080";

    if error.ec.as_deref() == Some(EC_V1_REFUSED) {
        return "leave the signature version at its default, V4";
    }
    if error.message.contains("signing region") {
        return GIVE_REGION;
    }
    if error.message.is_empty() && error.request_id.is_none() {
        return CHECK_ENDPOINT_AND_PROXY;
    }
    match error.operation.kind() {
        Some(OperationKind::ListParts) => "grant oss:ListParts on this object",
        Some(OperationKind::ListMultipartUploads) => {
            "grant oss:ListMultipartUploads on this bucket"
        }
        Some(OperationKind::AbortMultipartUpload) => {
            "grant oss:AbortMultipartUpload on this object"
        }
        Some(OperationKind::HeadObject) => "grant oss:GetObject on this object",
        Some(OperationKind::InitiateMultipartUpload | OperationKind::PutObject) => {
            "grant oss:PutObject on this object, by RAM and by the bucket policy; \
             tags need oss:PutObjectTagging as well"
        }
        _ => "grant oss:PutObject on this object, by RAM and by the bucket policy",
    }
}

#[cfg(test)]
mod tests {
    use super::RetryDecision::{Backoff, GiveUp, RefreshCredentials, SyncClock};
    use super::*;
    use crate::error::Operation;

    fn error(status: u16, code: &str, message: &str) -> ServiceError {
        ServiceError {
            status,
            code: code.into(),
            message: message.into(),
            operation: Operation::new(OperationKind::UploadPart, Some(1), "oss://b/k".into()),
            ..ServiceError::default()
        }
    }

    fn decision(status: u16, code: &str, message: &str) -> (RetryDecision, bool) {
        let row = classify(&error(status, code, message));
        (row.retry, row.is_resumable)
    }

    fn hint(error: &ServiceError) -> &'static str {
        classify(error).hint.unwrap_or("")
    }

    #[test]
    fn retry_classifies_statuses() {
        for status in [408, 429, 500, 502, 503, 504, 599] {
            for code in [
                "BadErrorResponse",
                "Whatever",
                "AccessDenied",
                "NoSuchBucket",
            ] {
                assert_eq!(
                    decision(status, code, ""),
                    (Backoff, true),
                    "{status} {code}"
                );
            }
        }
        for status in [200, 301, 307, 400, 403, 404, 405, 409, 411, 413, 501] {
            for code in ["BadErrorResponse", "Whatever"] {
                assert_eq!(
                    decision(status, code, ""),
                    (GiveUp, false),
                    "{status} {code}"
                );
            }
        }
        assert_eq!(decision(401, "Whatever", ""), (Backoff, false));
        assert_eq!(decision(401, "BadErrorResponse", ""), (Backoff, false));
    }

    #[test]
    fn retry_classifies_codes() {
        let table = [
            (400, "InvalidDigest", Backoff, true),
            (400, "RequestTimeout", Backoff, true),
            (408, "RequestTimeout", Backoff, true),
            (400, "BadRequest", Backoff, false),
            (400, "InvalidArgument", GiveUp, false),
            (200, "InternalError", Backoff, true),
            (200, "ServiceUnavailable", Backoff, true),
            (200, "RequestTimeout", Backoff, true),
            (200, "AccessDenied", GiveUp, false),
            (203, "CallbackFailed", GiveUp, false),
            (500, "CallbackFailed", GiveUp, false),
            (403, "RequestTimeTooSkewed", SyncClock, true),
            (403, "SecurityTokenExpired", RefreshCredentials, true),
            (403, "InvalidSecurityToken", RefreshCredentials, true),
            (
                403,
                "AccessKeyIdAndSecurityTokenNotMatch",
                RefreshCredentials,
                true,
            ),
            (403, "InvalidAccessKeyId", GiveUp, false),
            (403, "SignatureDoesNotMatch", GiveUp, false),
            (403, "AccessDenied", GiveUp, false),
            (404, "NoSuchUpload", GiveUp, true),
            (404, "NoSuchBucket", GiveUp, false),
            (400, "InvalidPart", GiveUp, true),
            (400, "FilePartNotExist", GiveUp, true),
            (400, "FilePartStale", GiveUp, true),
            (409, "FileAlreadyExists", GiveUp, false),
            (409, "PartAlreadyExist", GiveUp, false),
            (501, "NotImplemented", GiveUp, false),
        ];
        for (status, code, retry, is_resumable) in table {
            assert_eq!(
                decision(status, code, ""),
                (retry, is_resumable),
                "{status} {code}"
            );
        }
    }

    #[test]
    fn retry_refreshes_an_unknown_access_key_that_has_a_token() {
        let refused = ServiceError {
            has_token: true,
            ..error(403, "InvalidAccessKeyId", "")
        };
        let row = classify(&refused);
        assert_eq!((row.retry, row.is_resumable), (RefreshCredentials, true));
        assert!(hint(&refused).contains("session may have ended"));
    }

    #[test]
    fn retry_reads_the_message_of_invalid_argument() {
        let date = "Invalid signing date in Authorization header.";
        assert_eq!(decision(400, "InvalidArgument", date), (SyncClock, true));
        let region = "Invalid signing region in Authorization header.";
        assert_eq!(decision(400, "InvalidArgument", region), (GiveUp, false));
        assert!(hint(&error(400, "InvalidArgument", region)).contains("ClientBuilder::region"));
        assert!(hint(&error(403, "AccessDenied", region)).contains("ClientBuilder::region"));
        let product = "Invalid signing product in Authorization header.";
        assert!(hint(&error(400, "InvalidArgument", product)).contains("CloudBox"));
        assert_eq!(hint(&error(400, "InvalidArgument", "else")), "");
    }

    #[test]
    fn hint_follows_the_operation_and_the_origin() {
        let denied = |kind| ServiceError {
            operation: Operation::new(kind, None, "oss://b/k".into()),
            request_id: Some("R".into()),
            ..error(403, "AccessDenied", "no")
        };
        assert!(hint(&denied(OperationKind::HeadObject)).contains("oss:GetObject"));
        assert!(hint(&denied(OperationKind::ListParts)).contains("oss:ListParts"));
        assert!(hint(&denied(OperationKind::PutObject)).contains("oss:PutObjectTagging"));
        assert_eq!(
            hint(&error(403, "AccessDenied", "")),
            CHECK_ENDPOINT_AND_PROXY
        );
        assert_eq!(
            hint(&error(502, "BadErrorResponse", "")),
            RETRY_OR_CHECK_ENDPOINT
        );
        let from_oss = ServiceError {
            request_id: Some("R".into()),
            ..error(502, "BadErrorResponse", "")
        };
        assert!(hint(&from_oss).contains("with a checkpoint"));
        let elsewhere = ServiceError {
            endpoint: Some("oss-cn-x.aliyuncs.com".into()),
            ..error(403, "AccessDenied", "no")
        };
        assert_eq!(classify(&elsewhere).hint, None);
    }
}

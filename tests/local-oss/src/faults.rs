//! Injected faults, and the rules that select the requests they apply to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::request::Head;

/// Something that goes wrong with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset as soon as the request head has been read, before the body.
    Reset,
    /// The connection is reset after about half of the body has been read.
    ResetMidBody,
    /// The request is applied completely, then the connection is reset without a response.
    ResetAfterApply,
    /// The request is applied completely, then the connection is closed without a response.
    CloseAfterApply,
    /// The body is read, the request is not applied, and the connection is closed.
    CloseBeforeResponse,
    /// The body is not read, and nothing is sent until the client disconnects.
    Stall,
    /// About half of the body is read; then nothing happens until the client disconnects.
    StallMidBody,
    /// The body is read, the request is not applied, and nothing is sent.
    StallBeforeResponse,
    /// The request is applied, and nothing is sent.
    StallAfterApply,
    /// The body is read at this rate; the response is normal.
    Slow {
        /// The rate in bytes per second.
        bytes_per_second: u64,
    },
    /// The response is normal, but delayed.
    Delay(Duration),
    /// The body is read, and an error response is sent; the request is not applied.
    Status {
        /// The HTTP status.
        status: u16,
        /// The error code; if it is empty, the response has no body.
        code: String,
        /// The seconds of a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// The body is read, and an error response with `x-oss-qos-delay-time` is sent; the request is
    /// not applied.
    Throttled {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
        /// The value of `x-oss-qos-delay-time`.
        delay_ms: u64,
    },
    /// An error response is sent before the body is read, and the connection is closed with data
    /// unread.
    EarlyStatus {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// A client that sent `Expect: 100-continue` receives this error response instead of the 100.
    /// Any other client receives it as with [`Fault::EarlyStatus`].
    StatusBeforeContinue {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// The body is read, and a redirect is sent; the request is not applied.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The `Location` header.
        location: String,
    },
    /// The request is applied; the response ends before its `Content-Length` is reached.
    TruncateResponse,
    /// The request is applied; the response is framed correctly, but its XML ends in the middle.
    TruncateXml,
    /// The body is read, and a 200 with an HTML page is sent, as a captive portal does: without a
    /// request ID or any other header of the service. The request is not applied.
    Html,
    /// The body is read, and a 200 with a body of this many bytes is sent; the request is not
    /// applied.
    HugeResponse(u64),
    /// The body is read, and bytes that are not HTTP are sent; the request is not applied.
    InvalidHttp,
    /// The request is applied; the response has no ETag.
    NoEtag,
    /// The request is applied; the response has a wrong ETag.
    WrongEtag,
    /// The request is applied; the ETag of the response is weak (`W/"…"`), as behind a proxy that
    /// compresses.
    WeakEtag,
    /// The request is applied; the response has no CRC-64.
    NoCrc,
    /// The request is applied; the response has a wrong CRC-64.
    WrongCrc,
    /// The request is applied; these headers are missing in the response. That includes
    /// `x-oss-request-id`, and `content-length` of a HEAD response.
    WithoutHeaders(Vec<String>),
    /// The request is applied; the response has these headers in addition.
    ExtraHeaders(Vec<(String, String)>),
    /// The request is applied; `Last-Modified` of the response is moved by so many seconds.
    ShiftLastModified(i64),
    /// One bit of the body is flipped before it is stored. ETag and CRC-64 describe the flipped
    /// bytes.
    CorruptBody,
    /// The body is read, and a 200 with an error document is sent; the request is not applied.
    ErrorInside200 {
        /// The error code.
        code: String,
    },
    /// The upload of this request disappears before the request is handled.
    ExpireUpload,
    /// The server's clock is off by so many seconds from this request on.
    SkewClock(i64),
    /// A 403 `SecurityTokenExpired` is sent; the request is not applied.
    ExpireToken,
}

impl Fault {
    /// An error response with this status and code, without `Retry-After`.
    pub fn status(status: u16, code: &str) -> Fault {
        Fault::Status {
            status,
            code: code.to_owned(),
            retry_after: None,
        }
    }

    /// The 400 `RequestTimeout` that OSS sends when a connection was idle for too long.
    pub fn request_timeout() -> Fault {
        Fault::status(400, "RequestTimeout")
    }

    /// [`Fault::WithoutHeaders`] with these names.
    pub fn without_headers<'a>(names: impl IntoIterator<Item = &'a str>) -> Fault {
        Fault::WithoutHeaders(names.into_iter().map(str::to_owned).collect())
    }

    /// [`Fault::ExtraHeaders`] with these names and values.
    pub fn extra_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Fault {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Fault::ExtraHeaders(headers.into_iter().map(owned).collect())
    }
}

/// A fault and the requests that it applies to; by default the next request, once.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    operation: Option<Operation>,
    part: Option<u32>,
    first: usize,
    times: usize,
    seen: usize,
    fired: usize,
}

/// The operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /key?uploads`
    InitiateMultipartUpload,
    /// `PUT /key?partNumber&uploadId`
    UploadPart,
    /// `GET /key?uploadId`
    ListParts,
    /// `POST /key?uploadId`
    CompleteMultipartUpload,
    /// `DELETE /key?uploadId`
    AbortMultipartUpload,
    /// `GET /?uploads`
    ListMultipartUploads,
    /// `PUT /key`
    PutObject,
    /// `GET /key`
    GetObject,
    /// `HEAD /key`
    HeadObject,
    /// `DELETE /key`
    DeleteObject,
    /// Any other request.
    Other,
}

impl Rule {
    /// Creates a rule that applies to the next request of any operation.
    pub fn new(fault: Fault) -> Rule {
        Rule {
            fault,
            operation: None,
            part: None,
            first: 1,
            times: 1,
            seen: 0,
            fired: 0,
        }
    }

    /// Applies only to requests of this operation.
    pub fn on(mut self, operation: Operation) -> Rule {
        self.operation = Some(operation);
        self
    }

    /// Applies only to requests with this part number.
    pub fn part(mut self, number: u32) -> Rule {
        self.part = Some(number);
        self
    }

    /// Applies from the `n`-th matching request on, counted from 1.
    pub fn nth(mut self, n: usize) -> Rule {
        self.first = n;
        self
    }

    /// Applies `n` times. Default: once.
    pub fn times(mut self, n: usize) -> Rule {
        self.times = n;
        self
    }

    /// Applies to every matching request.
    pub fn forever(self) -> Rule {
        self.times(usize::MAX)
    }

    fn matches(&self, head: &Head) -> bool {
        self.operation
            .is_none_or(|operation| operation == head.operation)
            && self
                .part
                .is_none_or(|part| Some(part) == head.part_number())
    }
}

/// The rules in force.
#[derive(Default)]
pub(crate) struct Faults {
    rules: Mutex<Rules>,
}

#[derive(Default)]
struct Rules {
    list: Vec<Rule>,
    fired: usize,
}

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        self.rules().list.push(rule);
    }

    pub(crate) fn clear(&self) {
        self.rules().list.clear();
    }

    pub(crate) fn fired(&self) -> usize {
        self.rules().fired
    }

    /// Returns the fault of the first rule that is due for this request. Every matching rule counts
    /// the request.
    pub(crate) fn take_fault(&self, head: &Head) -> Option<Fault> {
        let mut rules = self.rules();
        let mut taken = None;
        for rule in rules.list.iter_mut().filter(|rule| rule.matches(head)) {
            rule.seen += 1;
            if taken.is_none() && rule.seen >= rule.first && rule.fired < rule.times {
                rule.fired += 1;
                taken = Some(rule.fault.clone());
            }
        }
        rules.fired += usize::from(taken.is_some());
        taken
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

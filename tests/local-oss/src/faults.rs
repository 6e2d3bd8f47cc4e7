//! Faults on purpose: what may go wrong, and which requests it strikes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::request::Head;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset as soon as the request head has been read, before the body.
    Reset,
    /// The connection is reset after about half of the body was read.
    ResetMidBody,
    /// The request is applied in full, then the connection is reset without an response.
    ResetAfterApply,
    /// The request is applied in full, then the connection is closed in order, without an response.
    CloseAfterApply,
    /// The body is read, the request is not applied, and the connection is closed.
    CloseBeforeResponse,
    /// The body is not read and nothing is answered until the client goes away.
    Stall,
    /// About half of the body is read, then silence.
    StallMidBody,
    /// The body is read, the request is not applied, then silence.
    StallBeforeResponse,
    /// The request is applied, then silence.
    StallAfterApply,
    /// The body is read at this rate, then the response is normal.
    Slow {
        /// The rate in bytes per second.
        bytes_per_second: u64,
    },
    /// The response is normal, but late.
    Delay(Duration),
    /// The body is read, then an error is answered; the request is not applied.
    Status {
        /// The HTTP status.
        status: u16,
        /// The error code; empty for an response without a body.
        code: String,
        /// The seconds of a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// An error is answered before the body is read, and the connection is closed with data unread.
    EarlyStatus {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// A client that sent `Expect: 100-continue` gets this error in place of the 100; any other client gets
    /// it as with [`Fault::EarlyStatus`].
    StatusBeforeContinue {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: String,
    },
    /// The body is read, then the client is sent elsewhere; the request is not applied.
    Redirect {
        /// The HTTP status.
        status: u16,
        /// The `Location` header.
        location: String,
    },
    /// The request is applied; the response ends before its `Content-Length` is reached.
    TruncateResponse,
    /// The request is applied; the response is well framed, but its XML stops in the middle.
    TruncateXml,
    /// The body is read, then a 200 with an HTML page is answered; the request is not applied.
    Html,
    /// The body is read, then a 200 with a body of so many bytes is answered; the request is not applied.
    HugeResponse(u64),
    /// The body is read, then something is sent that is not HTTP; the request is not applied.
    InvalidHttp,
    /// The request is applied; the response lacks its ETag.
    NoEtag,
    /// The request is applied; the response carries a wrong ETag.
    WrongEtag,
    /// The request is applied; the response lacks its CRC-64.
    NoCrc,
    /// The request is applied; the response carries a wrong CRC-64.
    WrongCrc,
    /// One bit of the body is flipped before it is stored; ETag and CRC-64 describe the flipped bytes.
    CorruptBody,
    /// The body is read, then a 200 with an error document is answered; the request is not applied.
    ErrorInside200 {
        /// The error code.
        code: String,
    },
    /// The upload that this request belongs to vanishes before the request is handled.
    ExpireUpload,
    /// The server's clock is off by so many seconds from this request on.
    SkewClock(i64),
    /// The request is answered with 403 `SecurityTokenExpired`.
    ExpireToken,
}

/// Which requests a fault strikes: by default any request, once.
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

/// What a request asks for.
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
    /// Anything else.
    Other,
}

impl Rule {
    /// A rule that strikes the next request, whatever it is.
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

    /// Strikes only requests of this operation.
    pub fn on(mut self, operation: Operation) -> Rule {
        self.operation = Some(operation);
        self
    }

    /// Strikes only requests with this part number.
    pub fn part(mut self, number: u32) -> Rule {
        self.part = Some(number);
        self
    }

    /// Starts at the `n`-th matching request, counted from 1.
    pub fn nth(mut self, n: usize) -> Rule {
        self.first = n;
        self
    }

    /// Strikes so many times. Defaults to once.
    pub fn times(mut self, n: usize) -> Rule {
        self.times = n;
        self
    }

    /// Never stops.
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
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    rules: Vec<Rule>,
    fired: usize,
}

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        self.book().rules.push(rule);
    }

    pub(crate) fn clear(&self) {
        self.book().rules.clear();
    }

    pub(crate) fn fired(&self) -> usize {
        self.book().fired
    }

    /// The fault that strikes this request: of the first rule that is due. Every matching rule counts it.
    pub(crate) fn strike(&self, head: &Head) -> Option<Fault> {
        let mut book = self.book();
        let mut struck = None;
        for rule in book.rules.iter_mut().filter(|rule| rule.matches(head)) {
            rule.seen += 1;
            if struck.is_none() && rule.seen >= rule.first && rule.fired < rule.times {
                rule.fired += 1;
                struck = Some(rule.fault.clone());
            }
        }
        book.fired += usize::from(struck.is_some());
        struck
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

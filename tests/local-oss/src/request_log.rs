//! The record of all requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::faults::Operation;
use crate::request::Head;

/// A request as it was received, and what came of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// What it asked for.
    pub operation: Operation,
    /// The HTTP method.
    pub method: String,
    /// The path as received.
    pub path: String,
    /// The query as received, without its question mark.
    pub query: String,
    /// The headers, with names in lower case, in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The bucket, or an empty text.
    pub bucket: String,
    /// The decoded object key, or an empty text.
    pub key: String,
    /// The `partNumber` of the query.
    pub part_number: Option<u32>,
    /// The `uploadId` of the query.
    pub upload_id: Option<String>,
    /// The bytes of the body that were really received.
    pub body_bytes: u64,
    /// The body, if it is not that of an object or a part and not larger than 1 MiB.
    pub body: Vec<u8>,
    /// The status that was answered; `None` when there was no response, or not yet.
    pub status: Option<u16>,
    /// The error code that was answered.
    pub error_code: Option<String>,
    /// The fault that struck this request, in its `Debug` form.
    pub fault: Option<String>,
    /// Which connection it came over, counted from 1.
    pub connection: usize,
}

impl RecordedRequest {
    /// The first header of this name, which is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// The requests in order of arrival.
#[derive(Default)]
pub(crate) struct RequestLog {
    pages: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next: u64,
    entries: Vec<(u64, RecordedRequest)>,
}

impl RequestLog {
    /// Records a request that has arrived; returns the number to close it with.
    pub(crate) fn open(&self, head: &Head, connection: usize) -> u64 {
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        let logged = RecordedRequest {
            operation: head.operation,
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect(),
            bucket: head.bucket.clone(),
            key: head.key.clone(),
            part_number: head.part_number(),
            upload_id: head.param("uploadId").map(str::to_owned),
            body_bytes: 0,
            body: Vec::new(),
            status: None,
            error_code: None,
            fault: None,
            connection,
        };
        let mut pages = self.pages();
        let number = pages.next;
        pages.next += 1;
        pages.entries.push((number, logged));
        number
    }

    /// Changes the record of a request, unless it was cleared.
    pub(crate) fn update(&self, number: u64, change: impl FnOnce(&mut RecordedRequest)) {
        let mut pages = self.pages();
        if let Ok(index) = pages
            .entries
            .binary_search_by_key(&number, |(number, _)| *number)
        {
            change(&mut pages.entries[index].1);
        }
    }

    pub(crate) fn entries(&self) -> Vec<RecordedRequest> {
        self.pages()
            .entries
            .iter()
            .map(|(_, logged)| logged.clone())
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.pages().entries.clear();
    }

    fn pages(&self) -> MutexGuard<'_, Entries> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The log of all requests, for tests to look at.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::faults::Operation;
use crate::request::Head;

/// A request as it was received, and the response to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// The operation.
    pub operation: Operation,
    /// The HTTP method.
    pub method: String,
    /// The path as received.
    pub path: String,
    /// The query as received, without its question mark.
    pub query: String,
    /// The headers in order of arrival, with names in lower case. This includes headers that the
    /// server ignores because of an underscore in their name.
    pub headers: Vec<(String, String)>,
    /// The bucket, or an empty string.
    pub bucket: String,
    /// The decoded object key, or an empty string.
    pub key: String,
    /// The `partNumber` of the query.
    pub part_number: Option<u32>,
    /// The `uploadId` of the query.
    pub upload_id: Option<String>,
    /// The number of body bytes that were received.
    pub body_bytes: u64,
    /// The body, unless it is that of an object or a part, or larger than 1 MiB.
    pub body: Vec<u8>,
    /// The status of the response; `None` if there was no response, or not yet.
    pub status: Option<u16>,
    /// The error code of the response.
    pub error_code: Option<String>,
    /// The fault that was applied to this request, in its `Debug` form.
    pub fault: Option<String>,
    /// The number of the connection, counted from 1.
    pub connection: usize,
}

impl RecordedRequest {
    /// Returns the first header of this name, ignoring case.
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
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    next_id: u64,
    list: Vec<(u64, RecordedRequest)>,
}

impl RequestLog {
    /// Adds a request that has arrived; returns the ID of its entry.
    pub(crate) fn add(&self, head: &Head, connection: usize) -> u64 {
        let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
        let request = RecordedRequest {
            operation: head.operation,
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            headers: head
                .received_headers
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
        let mut entries = self.lock();
        let id = entries.next_id;
        entries.next_id += 1;
        entries.list.push((id, request));
        id
    }

    /// Changes an entry, unless it has been cleared.
    pub(crate) fn update(&self, id: u64, change: impl FnOnce(&mut RecordedRequest)) {
        let mut entries = self.lock();
        if let Ok(index) = entries.list.binary_search_by_key(&id, |(id, _)| *id) {
            change(&mut entries.list[index].1);
        }
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        let entries = self.lock();
        entries
            .list
            .iter()
            .map(|(_, request)| request.clone())
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.lock().list.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

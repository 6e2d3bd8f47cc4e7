//! CompleteMultipartUpload (OSS documentation of that name).

use std::iter;

use super::request::{
    Action, Header, Method, Request, Response, Sent, SuccessBody, check_success, is_clean,
};
use super::upload_part::etag;
use super::{ParseResult, xml};
use crate::error::OperationKind;
use crate::part::{UploadedPart, UploadedParts, normalize_etag};

pub(crate) struct CompleteMultipartUpload<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a str,
    pub(crate) upload_id: &'a str,
    pub(crate) parts: &'a UploadedParts,
    pub(crate) headers: &'a [Header],
    /// The headers have a callback, so the body of the response is that of the application server.
    pub(crate) has_callback: bool,
}

/// The properties of an object, as OSS reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectInfo {
    pub(crate) etag: String,
    pub(crate) crc64: Option<u64>,
    pub(crate) version_id: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) callback_body: Option<Vec<u8>>,
}

impl<'a> CompleteMultipartUpload<'a> {
    /// Returns the list of parts in chunks, because that of 10,000 parts has a megabyte.
    pub(crate) fn body(&self) -> impl Iterator<Item = String> + use<'a> {
        let part = |part: &UploadedPart| {
            let (number, etag) = (part.number, xml::escape(&part.etag));
            format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
        };
        let open = iter::once("<CompleteMultipartUpload>".to_owned());
        let close = iter::once("</CompleteMultipartUpload>".to_owned());
        open.chain(self.parts.iter().map(part)).chain(close)
    }
}

impl Action for CompleteMultipartUpload<'_> {
    type Output = ObjectInfo;

    fn request(&self) -> Request {
        let kind = OperationKind::CompleteMultipartUpload;
        Request::new(kind, Method::Post, self.bucket, self.key)
            .query("uploadId", self.upload_id)
            .query("encoding-type", "url")
            .header("content-type", "application/xml")
            .headers(self.headers)
    }

    fn parse(&self, response: &Response, sent: &Sent) -> ParseResult<ObjectInfo> {
        if self.has_callback {
            check_success(response, 200, SuccessBody::Callback, sent)?;
            return Ok(ObjectInfo {
                callback_body: callback_body(response, true),
                ..ObjectInfo::from_headers(response)?
            });
        }
        check_success(response, 200, SuccessBody::Document, sent)?;
        let result = xml::parse(&response.body, "CompleteMultipartUploadResult")?;
        let etag = match result.text("ETag").and_then(normalize_etag) {
            Some(etag) => etag.to_owned(),
            None => etag(response)?,
        };
        Ok(ObjectInfo {
            location: result.text("Location").map(xml::clean_text),
            etag,
            ..ObjectInfo::without_etag(response)?
        })
    }
}

pub(super) fn callback_body(response: &Response, has_callback: bool) -> Option<Vec<u8>> {
    has_callback.then(|| response.body.clone())
}

impl ObjectInfo {
    pub(super) fn from_headers(response: &Response) -> ParseResult<ObjectInfo> {
        Ok(ObjectInfo {
            etag: etag(response)?,
            ..ObjectInfo::without_etag(response)?
        })
    }

    fn without_etag(response: &Response) -> ParseResult<ObjectInfo> {
        let version_id = response
            .header("x-oss-version-id")
            .filter(|id| is_clean(id));
        Ok(ObjectInfo {
            crc64: response.crc64()?,
            version_id: version_id.map(str::to_owned),
            request_id: response.request_id().map(str::to_owned),
            ..ObjectInfo::default()
        })
    }

    /// Reads the headers of a 203: the object exists, but its callback failed. Missing headers are
    /// no error then.
    pub(crate) fn from_failed_callback(response: &Response) -> ObjectInfo {
        ObjectInfo {
            etag: response
                .header("etag")
                .and_then(normalize_etag)
                .unwrap_or_default()
                .to_owned(),
            crc64: response.crc64().ok().flatten(),
            version_id: response
                .header("x-oss-version-id")
                .filter(|id| is_clean(id))
                .map(str::to_owned),
            request_id: response.request_id().map(str::to_owned),
            ..ObjectInfo::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::tests::{foreign_response, response};
    use super::*;

    fn parse(response: &Response, has_callback: bool) -> Option<ObjectInfo> {
        let action = CompleteMultipartUpload {
            bucket: "b",
            key: "k",
            upload_id: "I1",
            parts: &UploadedParts::default(),
            headers: &[],
            has_callback,
        };
        action.parse(response, &Sent::EMPTY).ok()
    }

    #[test]
    fn complete_body_lists_the_parts_in_order() {
        let part = |(number, etag): (u32, &str)| UploadedPart {
            number,
            size: 1,
            etag: etag.into(),
            crc64: 0,
        };
        let action = CompleteMultipartUpload {
            bucket: "b",
            key: "k",
            upload_id: "I1",
            parts: &[(2, "<C>"), (1, "AB")].into_iter().map(part).collect(),
            headers: &[],
            has_callback: false,
        };
        assert_eq!(
            action.body().collect::<String>(),
            "<CompleteMultipartUpload>\
             <Part><PartNumber>1</PartNumber><ETag>&quot;AB&quot;</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>&quot;&lt;C&gt;&quot;</ETag></Part>\
             </CompleteMultipartUpload>"
        );
    }

    #[test]
    fn complete_response_with_and_without_callback() {
        let headers = [("etag", "\"H\""), ("x-oss-hash-crc64ecma", "9")];
        let document = "<CompleteMultipartUploadResult><Location>http://b.x/k</Location>\
            <ETag>\"X-2\"</ETag></CompleteMultipartUploadResult>";
        let object = parse(&response(200, &headers, document), false).unwrap();
        assert_eq!((object.etag.as_str(), object.crc64), ("X-2", Some(9)));
        assert_eq!(object.location.as_deref(), Some("http://b.x/k"));
        let called_back = response(200, &headers, "{\"ok\":1}");
        let object = parse(&called_back, true).unwrap();
        assert_eq!(object.etag, "H");
        assert_eq!(object.callback_body.as_deref(), Some(&b"{\"ok\":1}"[..]));
        assert_eq!(parse(&called_back, false), None);
        assert_eq!(parse(&response(200, &[], ""), true), None);
        assert_eq!(
            parse(&foreign_response(200, &headers[..1], document), false),
            None
        );
        assert_eq!(parse(&response(203, &headers, document), false), None);
    }

    #[test]
    fn complete_with_a_failed_callback_reads_what_there_is() {
        let headers = [("etag", "W/\"H\""), ("x-oss-version-id", "v\u{9b}")];
        let object = ObjectInfo::from_failed_callback(&response(203, &headers, "x"));
        assert_eq!((object.etag.as_str(), object.version_id), ("H", None));
        assert_eq!(
            ObjectInfo::from_failed_callback(&Response::default()),
            ObjectInfo::default()
        );
    }
}

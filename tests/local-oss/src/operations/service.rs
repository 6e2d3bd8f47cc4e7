//! Buckets: their list, their creation and what can be asked about them.

use std::ops::Bound;

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::response::Response;
use crate::text::{Xml, iso_date};

use super::listing::owner;

const BUCKETS_MAX: usize = 1000;

pub(super) fn create_bucket(exchange: &Exchange) -> Result<Response> {
    let bucket = &exchange.head.bucket;
    exchange.shared.store.create_bucket(bucket)?;
    let mut response = Response::empty(200);
    response.set("location", &format!("/{bucket}"));
    Ok(response)
}

/// Lists the buckets. Any other request without a bucket is not implemented.
pub(super) fn list_buckets(exchange: &Exchange) -> Result<Response> {
    let head = &exchange.head;
    if head.method != "GET" {
        return Err(OssError::not_implemented("this request"));
    }
    let limit = head.number("max-keys", 100, (1, BUCKETS_MAX))?;
    let prefix = head.param("prefix").unwrap_or_default();
    let marker = head.param("marker").unwrap_or_default();
    let buckets = exchange.shared.store.buckets();
    let after = buckets.range::<str, _>((Bound::Excluded(marker), Bound::Unbounded));
    let mut page: Vec<&String> = after.filter(|name| name.starts_with(prefix)).collect();
    let is_truncated = page.len() > limit;
    page.truncate(limit);
    let mut xml = Xml::document("ListAllMyBucketsResult");
    xml.element("Prefix", prefix);
    xml.element("Marker", marker);
    xml.element("MaxKeys", &limit.to_string());
    xml.element("IsTruncated", &is_truncated.to_string());
    if let Some(last) = page.last().filter(|_| is_truncated) {
        xml.element("NextMarker", last);
    }
    owner(&mut xml);
    xml.open("Buckets");
    for bucket in page {
        xml.open("Bucket");
        describe(exchange, &mut xml, bucket);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    Ok(Response::xml(200, xml))
}

pub(super) fn bucket_location(exchange: &Exchange) -> Response {
    let location = location(exchange);
    Response::xml(200, Xml::text_document("LocationConstraint", &location))
}

pub(super) fn bucket_info(exchange: &Exchange) -> Response {
    let mut xml = Xml::document("BucketInfo");
    xml.open("Bucket");
    describe(exchange, &mut xml, &exchange.head.bucket);
    owner(&mut xml);
    access_control_list(&mut xml);
    xml.close("Bucket");
    Response::xml(200, xml)
}

pub(super) fn bucket_acl() -> Response {
    let mut xml = Xml::document("AccessControlPolicy");
    owner(&mut xml);
    access_control_list(&mut xml);
    Response::xml(200, xml)
}

fn describe(exchange: &Exchange, xml: &mut Xml, bucket: &str) {
    let host = exchange.head.header("host").unwrap_or_default();
    xml.element("Name", bucket);
    xml.element("Location", &location(exchange));
    xml.element("Region", &exchange.shared.settings.region);
    xml.element("CreationDate", &iso_date(exchange.shared.started));
    xml.element("StorageClass", "Standard");
    xml.element("ExtranetEndpoint", host);
    xml.element("IntranetEndpoint", host);
}

fn access_control_list(xml: &mut Xml) {
    xml.open("AccessControlList");
    xml.element("Grant", "private");
    xml.close("AccessControlList");
}

fn location(exchange: &Exchange) -> String {
    format!("oss-{}", exchange.shared.settings.region)
}

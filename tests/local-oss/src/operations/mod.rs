//! What each request does.

mod complete;
mod listing;
mod multipart;
mod object;
mod read;

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::faults::Operation;
use crate::header_validation::check_headers;
use crate::response::Response;
use crate::signature;
use crate::text::Xml;

/// Checks a request and carries it out.
pub(crate) async fn perform(exchange: &mut Exchange) -> Result<Response> {
    let head = &exchange.head;
    signature::verify(head, &exchange.shared)?;
    head.check_target()?;
    check_headers(head)?;
    if head.bucket.is_empty() {
        return service(exchange);
    }
    if head.key.is_empty() && head.method == "PUT" && head.params.is_empty() {
        exchange.shared.store.create_bucket(&head.bucket)?;
        return Ok(Response::empty(200));
    }
    exchange.shared.store.check_bucket(&head.bucket)?;
    match head.operation {
        Operation::InitiateMultipartUpload => multipart::initiate(exchange),
        Operation::UploadPart => multipart::upload_part(exchange).await,
        Operation::ListParts => listing::parts(exchange),
        Operation::CompleteMultipartUpload => complete::complete(exchange).await,
        Operation::AbortMultipartUpload => multipart::abort(exchange),
        Operation::ListMultipartUploads => listing::uploads(exchange),
        Operation::PutObject => object::put(exchange).await,
        Operation::GetObject => read::get(exchange),
        Operation::HeadObject => read::head(exchange),
        Operation::DeleteObject => object::delete(exchange),
        Operation::Other => other(exchange).await,
    }
}

async fn other(exchange: &mut Exchange) -> Result<Response> {
    let head = &exchange.head;
    let has = |name| head.param(name).is_some();
    match (head.method.as_str(), head.key.is_empty()) {
        ("GET", false) if has("tagging") => read::tagging(exchange),
        ("GET", false) if has("acl") => read::acl(exchange),
        ("GET", true) if has("location") => Ok(Response::xml(
            200,
            Xml::text_document("LocationConstraint", &location(exchange)),
        )),
        ("GET", true) if has("bucketInfo") => Ok(bucket_info(exchange)),
        ("GET" | "HEAD", true) => listing::objects(exchange),
        ("POST", true) if has("delete") => object::delete_many(exchange).await,
        _ => Err(not_implemented()),
    }
}

fn not_implemented() -> OssError {
    OssError::new(
        501,
        "NotImplemented",
        "This local server does not know this request.",
    )
}

fn location(exchange: &Exchange) -> String {
    format!("oss-{}", exchange.shared.settings.region)
}

fn bucket_info(exchange: &Exchange) -> Response {
    let mut xml = Xml::document("BucketInfo");
    xml.open("Bucket");
    xml.element("Name", &exchange.head.bucket);
    xml.element("Location", &location(exchange));
    xml.element("StorageClass", "Standard");
    xml.element(
        "ExtranetEndpoint",
        exchange.head.header("host").unwrap_or_default(),
    );
    xml.close("Bucket");
    Response::xml(200, xml)
}

/// Requests that address no bucket: only the list of all buckets is known.
fn service(exchange: &Exchange) -> Result<Response> {
    if exchange.head.method != "GET" {
        return Err(not_implemented());
    }
    let mut xml = Xml::document("ListAllMyBucketsResult");
    xml.open("Buckets");
    for bucket in exchange.shared.store.buckets() {
        xml.open("Bucket");
        xml.element("Name", &bucket);
        xml.element("Location", &location(exchange));
        xml.element("StorageClass", "Standard");
        xml.close("Bucket");
    }
    xml.close("Buckets");
    Ok(Response::xml(200, xml))
}

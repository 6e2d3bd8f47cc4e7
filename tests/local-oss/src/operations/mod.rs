//! The operations of the service.

mod complete;
mod listing;
mod multipart;
mod object;
mod read;
mod service;

use crate::error::{OssError, Result};
use crate::exchange::Exchange;
use crate::faults::Operation;
use crate::header_validation::check_headers;
use crate::response::Response;
use crate::signature;

/// Verifies a request and performs its operation.
pub(crate) async fn perform(exchange: &mut Exchange) -> Result<Response> {
    let operation = exchange.head.operation;
    let result = verify_and_dispatch(exchange).await;
    result.map_err(|error| error.for_operation(operation))
}

async fn verify_and_dispatch(exchange: &mut Exchange) -> Result<Response> {
    let head = &exchange.head;
    let store = &exchange.shared.store;
    let creates_bucket = head.method == "PUT" && head.key.is_empty();
    // The service looks up the bucket before the access key.
    if !head.bucket.is_empty() && !creates_bucket {
        store.check_bucket(&head.bucket)?;
    }
    signature::verify(head, &exchange.shared)?;
    head.check_target()?;
    if let Some(parameter) = head.unsupported_parameter() {
        return Err(OssError::not_implemented(&format!("?{parameter} here")));
    }
    check_headers(head)?;
    if head.bucket.is_empty() {
        return service::list_buckets(exchange);
    }
    store.create_bucket_if_allowed(&head.bucket)?;
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
        ("GET", true) if has("location") => Ok(service::bucket_location(exchange)),
        ("GET", true) if has("bucketInfo") => Ok(service::bucket_info(exchange)),
        ("GET", true) if has("acl") => Ok(service::bucket_acl()),
        ("GET", true) => listing::objects(exchange),
        ("HEAD", true) => Ok(Response::empty(200)),
        ("PUT", true) => service::create_bucket(exchange),
        ("POST", true) if has("delete") => object::delete_many(exchange).await,
        _ => Err(OssError::not_implemented("this request")),
    }
}

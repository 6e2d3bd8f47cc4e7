//! Shared code of the benchmarks: a server in a process of its own, and the cost of a child
//! process.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cost;
pub mod server;
pub mod sign;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The bucket that always exists.
pub const BUCKET: &str = "examplebucket";

/// Returns the bucket of the server at `endpoint`. `roots` is a file with certificates for HTTPS.
///
/// # Errors
/// If the client can't be built.
pub fn bucket(endpoint: &str, roots: Option<&str>) -> Result<oss_upload::Bucket> {
    let mut builder = oss_upload::Client::builder(endpoint)
        .credentials(oss_upload::Credentials::new("ak", "sk"))
        .region("cn-hangzhou")
        .no_proxy();
    if let Some(roots) = roots {
        builder = builder.root_certificates_pem(std::fs::read(roots)?);
    }
    Ok(builder.build()?.bucket(BUCKET)?)
}

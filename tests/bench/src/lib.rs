//! What the benches share: the server in a process of its own, and the cost of a child process.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod cost;
pub mod server;
pub mod sign;

/// The error of everything here: a bench that can't go on says why.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The bucket that the server always has.
pub const BUCKET: &str = "examplebucket";

/// A client of the server at `endpoint`, and its bucket. `roots`: a file of certificates, for https.
///
/// # Errors
/// Those of the client's builder.
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

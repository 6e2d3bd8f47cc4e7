//! MD5: the ETag of a part that is not encrypted, the value of `Content-MD5`, and the checksum of a
//! checkpoint.

use std::fmt;

/// Computes an MD5 incrementally.
pub(crate) struct Md5(md5::Context);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Md5Digest(pub(crate) [u8; 16]);

impl Md5 {
    pub(crate) fn new() -> Md5 {
        Md5(md5::Context::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.consume(bytes);
    }

    pub(crate) fn finish(self) -> Md5Digest {
        Md5Digest(self.0.finalize().0)
    }
}

impl Md5Digest {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Md5Digest {
        Md5Digest(md5::compute(bytes).0)
    }

    /// Compares the digest with an ETag. Case does not matter, because OSS writes ETags in capitals
    /// and other servers do not.
    pub(crate) fn matches_etag(self, etag: &str) -> bool {
        etag.eq_ignore_ascii_case(&self.to_string())
    }
}

/// Shows the digest in lower-case hex.
impl fmt::Display for Md5Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&md5::Digest(self.0), f)
    }
}

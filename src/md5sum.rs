//! MD5: the ETag of a part that is not encrypted, the value of `Content-MD5`, and a checksum of our own texts.

use std::fmt;

/// Grows with what it is fed.
pub(crate) struct Md5(md5::Context);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Md5Sum(pub(crate) [u8; 16]);

impl Md5 {
    pub(crate) fn new() -> Md5 {
        Md5(md5::Context::new())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.consume(bytes);
    }

    pub(crate) fn sum(self) -> Md5Sum {
        Md5Sum(self.0.finalize().0)
    }
}

impl Md5Sum {
    pub(crate) fn of(bytes: impl AsRef<[u8]>) -> Md5Sum {
        Md5Sum(md5::compute(bytes).0)
    }

    /// ETags are written in capitals, but need not be.
    pub(crate) fn is_etag(self, etag: &str) -> bool {
        etag.eq_ignore_ascii_case(&self.to_string())
    }
}

/// In lower case.
impl fmt::Display for Md5Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&md5::Digest(self.0), f)
    }
}

//! MD5, CRC-64, and the ETags that are derived from them.

use crate::text::hex_upper;

/// The reflected polynomial of CRC-64/XZ.
const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;

/// Computes the digests of a body incrementally.
pub(crate) struct Digester {
    md5: Option<md5::Context>,
    crc64: crc64fast::Digest,
    size: u64,
}

/// The digests of a body.
#[derive(Clone, Debug)]
pub(crate) struct Digests {
    /// `None` if the MD5 was not computed.
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) crc64: u64,
    pub(crate) size: u64,
}

impl Digester {
    pub(crate) fn new(with_md5: bool) -> Digester {
        Digester {
            md5: with_md5.then(md5::Context::new),
            crc64: crc64fast::Digest::new(),
            size: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.consume(bytes);
        }
        self.crc64.write(bytes);
        self.size += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Digests {
        let md5 = self.md5.map(|context| context.finalize().0);
        Digests {
            md5,
            crc64: self.crc64.sum64(),
            size: self.size,
        }
    }
}

impl Digests {
    pub(crate) fn of(bytes: &[u8]) -> Digests {
        let mut digester = Digester::new(true);
        digester.update(bytes);
        digester.finish()
    }

    /// Returns the quoted ETag of this body as a part or as an object of PutObject. With a salt,
    /// for KMS or SM4 encryption, it is not the MD5. Without an MD5 it is derived from the CRC-64.
    pub(crate) fn etag(&self, salt: Option<&str>) -> String {
        match (self.md5, salt) {
            (Some(md5), None) => quoted(&md5),
            (Some(md5), Some(salt)) => {
                let mut context = md5::Context::new();
                context.consume(md5);
                context.consume(salt.as_bytes());
                quoted(&context.finalize().0)
            }
            (None, _) => format!("\"{:016X}{:016X}\"", self.crc64, self.size),
        }
    }
}

/// Returns the ETag of a multipart object: 32 hexadecimal digits, a hyphen and the number of parts.
pub(crate) fn multipart_etag<'a>(part_etags: impl Iterator<Item = &'a str>) -> String {
    let mut context = md5::Context::new();
    let mut count = 0;
    for etag in part_etags {
        context.consume(etag.trim_matches('"').as_bytes());
        count += 1;
    }
    format!("\"{}-{count}\"", hex_upper(&context.finalize().0))
}

fn quoted(md5: &[u8; 16]) -> String {
    format!("\"{}\"", hex_upper(md5))
}

/// Computes the CRC-64 of two concatenated blocks from the CRC-64 of each and the length of the
/// second.
pub(crate) fn combine_crc64(first: u64, second: u64, second_length: u64) -> u64 {
    // `operator` appends zero bits to the data of a CRC: one bit, then two, four, …
    let mut operator: [u64; 64] =
        std::array::from_fn(|bit| if bit == 0 { POLYNOMIAL } else { 1 << (bit - 1) });
    let mut crc = first;
    let mut bits = u128::from(second_length) * 8;
    while bits > 0 {
        if bits & 1 == 1 {
            crc = multiply(&operator, crc);
        }
        operator = std::array::from_fn(|bit| multiply(&operator, operator[bit]));
        bits >>= 1;
    }
    crc ^ second
}

/// Multiplies a matrix over GF(2), given by its columns, with a vector.
fn multiply(matrix: &[u64; 64], vector: u64) -> u64 {
    matrix
        .iter()
        .enumerate()
        .filter(|(bit, _)| (vector >> bit) & 1 == 1)
        .fold(0, |sum, (_, column)| sum ^ column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        Digests::of(bytes).crc64
    }

    #[test]
    fn crc_vectors() {
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(
            crc(b"This is a test of the emergency broadcast system."),
            0x27DB_187F_C15B_BC72
        );
        assert_eq!(crc(b"hello world"), 5_981_764_153_023_615_706);
        let live = "hello from the typescript sdk \u{4e16}\u{754c}".as_bytes();
        assert_eq!(crc(live), 2_861_621_986_004_973_752);
        assert_eq!(
            crc(b"test\0hello\x01world\x02!\x03"),
            6_745_424_696_046_691_431
        );
    }

    #[test]
    fn crc_combine() {
        let (first, second) = (6_745_424_696_046_691_431, 5_981_764_153_023_615_706);
        assert_eq!(combine_crc64(first, second, 11), 13_027_479_509_578_346_683);
        assert_eq!(combine_crc64(first, 0, 0), first);
        let text: &[u8] =
            b"Even if I could be Shakespeare, I think I should still choose to be Faraday. \
            - A. Huxley";
        assert_eq!(crc(text), 0x7AD2_5FAF_A171_0407);
        for at in 0..=text.len() {
            let (left, right) = text.split_at(at);
            assert_eq!(
                combine_crc64(crc(left), crc(right), right.len() as u64),
                0x7AD2_5FAF_A171_0407
            );
        }
    }

    #[test]
    fn etags() {
        assert_eq!(
            Digests::of(b"hello world").etag(None),
            "\"5EB63BBBE01EEED093CB22BB8F5ACDC3\""
        );
        assert_ne!(
            Digests::of(b"a").etag(Some("salt")),
            Digests::of(b"a").etag(None)
        );
        assert!(multipart_etag(["\"AB\"", "\"CD\""].into_iter()).ends_with("-2\""));
    }
}

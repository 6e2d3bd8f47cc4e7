//! CRC-64/XZ, which OSS calls `crc64ecma`. The crate `crc64fast` computes it. This module combines
//! the checksums of parts.

/// The reflected polynomial.
const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;

/// Computes a CRC-64 incrementally.
#[derive(Clone)]
pub(crate) struct Digest(crc64fast::Digest);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest(crc64fast::Digest::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.sum64()
    }
}

/// Returns the CRC of the concatenation of parts, from the CRC and the length in bytes of each.
///
/// A CRC is a polynomial over GF(2), modulo [`POLYNOMIAL`]. To append `b` to `a`, the CRC of `a` is
/// multiplied by x to the power of the number of bits in `b`. That power is found by squaring, in
/// as many steps as the length has bits. It is kept from part to part, because all parts but the
/// last are equally long.
pub(crate) fn combine(parts: impl Iterator<Item = (u64, u64)>) -> u64 {
    let mut whole = 0;
    let mut previous_length = 0;
    let mut factor = X0;
    for (crc, length) in parts {
        if length != previous_length {
            previous_length = length;
            factor = x_pow_8n(length);
        }
        whole = gf2_mul(whole, factor) ^ crc;
    }
    whole
}

/// x⁰. The bits are reflected: the highest one is x⁰, the lowest x⁶³.
const X0: u64 = 1 << 63;

/// Returns x to the power of 8 × `n`.
fn x_pow_8n(mut n: u64) -> u64 {
    let mut result = X0;
    let mut square = X0 >> 8;
    while n != 0 {
        if n & 1 == 1 {
            result = gf2_mul(result, square);
        }
        square = gf2_mul(square, square);
        n >>= 1;
    }
    result
}

/// Multiplies two polynomials over GF(2), modulo [`POLYNOMIAL`].
fn gf2_mul(a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    for power in 0..64 {
        if a & (X0 >> power) != 0 {
            product ^= b;
        }
        let overflows = b & 1 == 1;
        b >>= 1;
        if overflows {
            b ^= POLYNOMIAL;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut digest = Digest::new();
        digest.update(bytes);
        digest.finish()
    }

    fn combine_two(a: u64, b: u64, length_of_b: u64) -> u64 {
        combine([(a, 1), (b, length_of_b)].into_iter())
    }

    #[test]
    fn crc64_published_values() {
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(
            crc(b"This is a test of the emergency broadcast system."),
            0x27DB_187F_C15B_BC72
        );
        assert_eq!(crc(b"hello world"), 5_981_764_153_023_615_706);
        assert_eq!(
            crc(b"test\0hello\x01world\x02!\x03"),
            6_745_424_696_046_691_431
        );
    }

    /// Measured on the service itself.
    #[test]
    fn crc64_value_of_the_service() {
        let text = "hello from the typescript sdk 世界";
        assert_eq!(text.len(), 36);
        assert_eq!(crc(text.as_bytes()), 2_861_621_986_004_973_752);
    }

    #[test]
    fn crc64_combine_two() {
        let (a, b) = (6_745_424_696_046_691_431, 5_981_764_153_023_615_706);
        assert_eq!(combine_two(a, b, 11), 13_027_479_509_578_346_683);
        let a = crc(b"123456789");
        let b = crc(b"This is a test of the emergency broadcast system.");
        assert_eq!(combine_two(a, b, 49), 0x6A7A_A19F_CBF4_8688);
        assert_eq!(combine_two(a, 0, 0), a);
        assert_eq!(combine_two(0, a, 9), a);
    }

    #[test]
    fn crc64_combine_equal_parts_and_a_shorter_one() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let parts = bytes.chunks(64).map(|part| (crc(part), part.len() as u64));
        assert_eq!(combine(parts), crc(&bytes));
        assert_eq!(combine(std::iter::empty()), crc(b""));
    }

    #[test]
    fn crc64_combine_at_every_split_point() {
        let whole =
            b"Even if I could be Shakespeare, I think I should still choose to be Faraday. - A. Huxley";
        for split in 0..=whole.len() {
            let (a, b) = whole.split_at(split);
            assert_eq!(
                combine_two(crc(a), crc(b), b.len() as u64),
                0x7AD2_5FAF_A171_0407
            );
        }
    }
}

//! CRC-64/XZ, which OSS calls `crc64ecma`. The digest is `crc64fast`'s; joining two of them is ours.

/// The reflected polynomial.
const POLYNOMIAL: u64 = 0xC96C_5795_D787_0F42;

/// A CRC-64 that grows with what it is fed.
#[derive(Clone)]
pub(crate) struct Digest(crc64fast::Digest);

impl Digest {
    pub(crate) fn new() -> Digest {
        Digest(crc64fast::Digest::new())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.sum64()
    }
}

/// The CRC of pieces one after the other, from the CRC of each and its length in bytes.
///
/// A CRC is a polynomial over GF(2), modulo [`POLYNOMIAL`]; to append `b` to `a` is to multiply the CRC of `a` by
/// x to the power of the bits in `b`. That power is found by squaring, in as many steps as the length has bits; pieces are
/// mostly as long as the one before.
pub(crate) fn joined(pieces: impl Iterator<Item = (u64, u64)>) -> u64 {
    let (mut whole, mut length_before, mut factor) = (0, 0, ONE);
    for (crc, length) in pieces {
        if length != length_before {
            (length_before, factor) = (length, x_to_the(length));
        }
        whole = product(whole, factor) ^ crc;
    }
    whole
}

/// x⁰. The bits are reflected: the highest one is x⁰, the lowest x⁶³.
const ONE: u64 = 1 << 63;

/// x to the power of 8 × `bytes`.
fn x_to_the(mut bytes: u64) -> u64 {
    let (mut result, mut square) = (ONE, ONE >> 8);
    while bytes != 0 {
        if bytes & 1 == 1 {
            result = product(result, square);
        }
        square = product(square, square);
        bytes >>= 1;
    }
    result
}

fn product(a: u64, mut b: u64) -> u64 {
    let mut sum = 0;
    for power in 0..64 {
        if a & (ONE >> power) != 0 {
            sum ^= b;
        }
        let overflows = b & 1 == 1;
        b >>= 1;
        if overflows {
            b ^= POLYNOMIAL;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut digest = Digest::new();
        digest.write(bytes);
        digest.sum()
    }

    fn combine(a: u64, b: u64, length_of_b: u64) -> u64 {
        joined([(a, 1), (b, length_of_b)].into_iter())
    }

    #[test]
    fn published_values() {
        assert_eq!(crc(b""), 0);
        assert_eq!(crc(b"123456789"), 0x995D_C9BB_DF19_39FA);
        assert_eq!(crc(b"This is a test of the emergency broadcast system."), 0x27DB_187F_C15B_BC72);
        assert_eq!(crc(b"hello world"), 5_981_764_153_023_615_706);
        assert_eq!(crc(b"test\0hello\x01world\x02!\x03"), 6_745_424_696_046_691_431);
    }

    #[test]
    fn parts_join_to_the_whole() {
        let (a, b) = (6_745_424_696_046_691_431, 5_981_764_153_023_615_706);
        assert_eq!(combine(a, b, 11), 13_027_479_509_578_346_683);
        let (a, b) = (crc(b"123456789"), crc(b"This is a test of the emergency broadcast system."));
        assert_eq!(combine(a, b, 49), 0x6A7A_A19F_CBF4_8688);
        assert_eq!(combine(a, 0, 0), a);
        assert_eq!(combine(0, a, 9), a);
    }

    #[test]
    fn many_pieces_of_one_length_and_a_shorter_one() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let pieces = bytes.chunks(64).map(|piece| (crc(piece), piece.len() as u64));
        assert_eq!(joined(pieces), crc(&bytes));
        assert_eq!(joined(std::iter::empty()), crc(b""));
    }

    #[test]
    fn every_split_point_gives_the_same_whole() {
        let whole =
            b"Even if I could be Shakespeare, I think I should still choose to be Faraday. - A. Huxley";
        for split in 0..=whole.len() {
            let (a, b) = whole.split_at(split);
            assert_eq!(combine(crc(a), crc(b), b.len() as u64), 0x7AD2_5FAF_A171_0407);
        }
    }
}

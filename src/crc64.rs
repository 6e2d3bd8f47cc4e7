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

/// The CRC of `a ‖ b` from the CRC of `a`, the CRC of `b` and the length of `b` in bytes.
///
/// Appending zero bits to `a` is a linear map over GF(2); its matrix is squared once for each bit of the
/// length, so this takes 64 squarings at most.
pub(crate) fn combine(crc_a: u64, crc_b: u64, mut len_b: u64) -> u64 {
    let mut operator = one_zero_byte();
    let mut crc = crc_a;
    while len_b != 0 {
        if len_b & 1 == 1 {
            crc = times(&operator, crc);
        }
        operator = squared(&operator);
        len_b >>= 1;
    }
    crc ^ crc_b
}

type Matrix = [u64; 64];

fn one_zero_byte() -> Matrix {
    let mut one_zero_bit = [0; 64];
    one_zero_bit[0] = POLYNOMIAL;
    for (bit, row) in one_zero_bit.iter_mut().enumerate().skip(1) {
        *row = 1 << (bit - 1);
    }
    squared(&squared(&squared(&one_zero_bit)))
}

fn times(matrix: &Matrix, vector: u64) -> u64 {
    (0..64).filter(|bit| vector >> bit & 1 == 1).fold(0, |sum, bit| sum ^ matrix[bit])
}

fn squared(matrix: &Matrix) -> Matrix {
    matrix.map(|row| times(matrix, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u64 {
        let mut digest = Digest::new();
        digest.write(bytes);
        digest.sum()
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
    fn every_split_point_gives_the_same_whole() {
        let whole =
            b"Even if I could be Shakespeare, I think I should still choose to be Faraday. - A. Huxley";
        for split in 0..=whole.len() {
            let (a, b) = whole.split_at(split);
            assert_eq!(combine(crc(a), crc(b), b.len() as u64), 0x7AD2_5FAF_A171_0407);
        }
    }
}

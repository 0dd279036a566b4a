//! Key hashes of flare-protocol.md 1.7, as an x86-64 node computes them (`char` is signed there).

/// The hash that decides a key's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHash {
    Simple,
    Bitshift,
    Crc32,
    Adler32,
    Murmur,
    Jenkins,
}

impl KeyHash {
    /// By the word of `META key-hash-algorithm`.
    pub(crate) fn named(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"simple" => Self::Simple,
            b"bitshift" => Self::Bitshift,
            b"crc32" => Self::Crc32,
            b"adler32" => Self::Adler32,
            b"murmur" => Self::Murmur,
            b"jenkins" => Self::Jenkins,
            _ => return None,
        })
    }

    /// The value before the sign is dropped, over the bytes up to the first NUL.
    fn raw(self, key: &[u8]) -> i32 {
        let key = key.split(|b| *b == 0).next().unwrap_or_default();
        match self {
            Self::Simple => key.iter().fold(0, |sum: i32, b| sum.wrapping_add(signed(*b))),
            Self::Bitshift => {
                key.iter().fold(19_790_217, |h: i32, b| h.wrapping_mul(37).wrapping_add(signed(*b)))
            }
            Self::Crc32 => crc32fast::hash(key).cast_signed(),
            Self::Adler32 => adler32(key).cast_signed(),
            Self::Murmur => murmur2(key).cast_signed(),
            Self::Jenkins => lookup3(key, 13).cast_signed(),
        }
    }

    /// Never negative. Upstream leaves -2^31 as it is and then reads out of bounds (Q24); here it
    /// is 2^31.
    pub(crate) fn of(self, key: &[u8]) -> u32 {
        self.raw(key).unsigned_abs()
    }
}

fn signed(byte: u8) -> i32 {
    i32::from(byte.cast_signed())
}

fn adler32(key: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in key {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

/// A little-endian number from up to four bytes.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, b| value << 8 | u32::from(*b))
}

/// MurmurHash2, 32 bit, with upstream's seed.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    // keys are at most 8191 bytes long
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut h = 0xdead_beef_u32.wrapping_mul(length) ^ length;
    let mut blocks = key.chunks_exact(4);
    for block in &mut blocks {
        let mut k = little_endian(block).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        h = (h ^ little_endian(tail)).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ h >> 15
}

/// Bob Jenkins's lookup3 `hashlittle`.
fn lookup3(key: &[u8], initval: u32) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length).wrapping_add(initval);
    let mut state = [start; 3];
    if key.is_empty() {
        return start;
    }
    let mut rest = key;
    while rest.len() > 12 {
        add_block(&mut state, &rest[..12]);
        mix(&mut state);
        rest = &rest[12..];
    }
    add_block(&mut state, rest);
    finish(&mut state);
    state[2]
}

fn add_block(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
        *word = word.wrapping_add(little_endian(bytes));
    }
}

fn mix([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: &mut u32, z: &mut u32, turn: u32| {
        *x = x.wrapping_sub(*z) ^ z.rotate_left(turn);
        *z = z.wrapping_add(*y);
    };
    step(a, b, c, 4);
    step(b, c, a, 6);
    step(c, a, b, 8);
    step(a, b, c, 16);
    step(b, c, a, 19);
    step(c, a, b, 4);
}

fn finish([a, b, c]: &mut [u32; 3]) {
    let step = |x: &mut u32, y: u32, turn: u32| {
        *x = (*x ^ y).wrapping_sub(y.rotate_left(turn));
    };
    step(c, *b, 14);
    step(a, *c, 11);
    step(b, *a, 25);
    step(c, *b, 16);
    step(a, *c, 4);
    step(b, *a, 14);
    step(c, *b, 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// flare-protocol.md 1.7: key, simple, crc32 raw, jenkins raw, murmur raw.
    const REFERENCE: [(&str, u32, u32, u32, u32); 7] = [
        ("a", 97, 3_904_355_907, 3_768_813_200, 1_262_581_116),
        ("key1", 378, 744_252_496, 3_541_214_983, 1_050_118_838),
        ("key2", 379, 3_042_260_458, 3_012_554_998, 2_111_865_733),
        ("foo", 324, 2_356_372_769, 2_583_187_353, 3_303_027_599),
        ("user:1001", 699, 3_899_860_853, 2_493_643_546, 1_285_847_563),
        ("session:abcdef0123456789", 1952, 1_163_480_487, 3_976_764_586, 4_177_512_458),
        ("é", 148, 235_179_326, 934_048_990, 2_111_574_343),
    ];

    #[test]
    fn reference_values() {
        for (key, simple, crc32, jenkins, murmur) in REFERENCE {
            let raw = |hash: KeyHash| hash.raw(key.as_bytes()).cast_unsigned();
            assert_eq!(KeyHash::Simple.of(key.as_bytes()), simple, "{key}");
            assert_eq!(raw(KeyHash::Crc32), crc32, "{key}");
            assert_eq!(raw(KeyHash::Jenkins), jenkins, "{key}");
            assert_eq!(raw(KeyHash::Murmur), murmur, "{key}");
        }
    }

    #[test]
    fn negative_values_lose_their_sign() {
        assert_eq!(KeyHash::Crc32.of(b"a"), 390_611_389);
        assert_eq!(KeyHash::Crc32.of(b"key2"), 1_252_706_838);
        assert_eq!(KeyHash::Crc32.of(b"user:1001"), 395_106_443);
        assert_eq!(KeyHash::Jenkins.of(b"a"), 526_154_096);
        assert_eq!(KeyHash::Jenkins.of(b"session:abcdef0123456789"), 318_202_710);
    }

    #[test]
    fn a_key_ends_at_its_first_nul_and_adler32_is_zlibs() {
        assert_eq!(KeyHash::Simple.of(b"a\0b"), 97);
        assert_eq!(KeyHash::Adler32.of(b"Wikipedia"), 0x11E6_0398);
    }
}

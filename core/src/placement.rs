//! Which partition a key belongs to: key hash and resolver table, as nodes work them out
//! (flare-protocol.md 1.7 and 1.8).
//!
//! The index passes no keys on; it has to know only where a key of its own would go.

use crate::model::{HashAlgorithm, HashSettings};

/// `initval` of lookup3 (flare-protocol.md 1.7).
const JENKINS_SEED: u32 = 13;

/// The hash of a key that has only ASCII bytes: the others depend on the machine.
fn key_hash(algorithm: HashAlgorithm, key: &str) -> u32 {
    debug_assert!(key.is_ascii(), "{key} hashes differently on different machines");
    let raw = match algorithm {
        HashAlgorithm::Simple => key.bytes().map(u32::from).fold(0, u32::wrapping_add),
        HashAlgorithm::Crc32 => crc32fast::hash(key.as_bytes()),
        HashAlgorithm::Jenkins => lookup3(key.as_bytes(), JENKINS_SEED),
    };
    raw.cast_signed().unsigned_abs()
}

/// Two neighbouring rows of the resolver table: where keys lie with so many partitions, and with
/// one more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    algorithm: HashAlgorithm,
    now: Vec<u32>,
    next: Vec<u32>,
}

impl Rows {
    /// The rows of `partitions` and `partitions + 1`; `None` where there are no partitions, or
    /// settings that no node could work with.
    pub(crate) fn new(hash: &HashSettings, partitions: u32) -> Option<Self> {
        let HashSettings { algorithm, modular_hint, modular_virtual, .. } = *hash;
        if partitions == 0 || modular_hint == 0 || modular_virtual == 0 {
            return None;
        }
        // Rows up to the hint stand for themselves, the others follow from the row before.
        let from = partitions.min(modular_hint);
        let first: Vec<u32> = (0..modular_virtual).map(|slot| slot % from).collect();
        let grow = |row: &[u32], size: u32| match size <= modular_hint {
            true => (0..modular_virtual).map(|slot| slot % size).collect(),
            false => split(row, size),
        };
        let now = (from + 1..=partitions).fold(first, |row, size| grow(&row, size));
        let next = grow(&now, partitions.saturating_add(1));
        Some(Self { algorithm, now, next })
    }

    /// The partition of this key now, and with one partition more.
    pub(crate) fn of(&self, key: &str) -> (u32, u32) {
        let slot = key_hash(self.algorithm, key) as usize % self.now.len();
        (self.now[slot], self.next[slot])
    }
}

/// The row of `size` partitions, from the one before it.
fn split(row: &[u32], size: u32) -> Vec<u32> {
    let mut counts = vec![0_u32; size as usize];
    let moved = row.iter().map(|&partition| {
        let count = &mut counts[partition as usize];
        *count += 1;
        if *count % size == size - 1 { size - 1 } else { partition }
    });
    moved.collect()
}

/// Bob Jenkins' lookup3, `hashlittle`.
fn lookup3(key: &[u8], seed: u32) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    // The last twelve bytes, or fewer, are mixed in another way.
    let whole = key.len().saturating_sub(1) / 12;
    let add = |word: u32, block: &[u8], at: usize| {
        let bytes = block.iter().skip(at).take(4).enumerate();
        bytes.fold(word, |sum, (place, byte)| sum.wrapping_add(u32::from(*byte) << (8 * place)))
    };
    for (number, block) in key.chunks(12).enumerate() {
        (a, b, c) = (add(a, block, 0), add(b, block, 4), add(c, block, 8));
        if number < whole {
            for (first, second) in [(4, 6), (8, 16), (19, 4)] {
                a = a.wrapping_sub(c) ^ c.rotate_left(first);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(second);
                a = a.wrapping_add(c);
                (a, b, c) = (b, c, a);
                (a, b, c) = (b, c, a);
            }
        }
    }
    if key.is_empty() {
        return c;
    }
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(algorithm: HashAlgorithm) -> HashSettings {
        HashSettings { algorithm, ..HashSettings::default() }
    }

    /// flare-protocol.md 1.7: what upstream's hash functions make of keys.
    #[test]
    fn hashes_are_upstreams() {
        use HashAlgorithm::{Crc32, Jenkins, Simple};
        for (key, simple, crc32, jenkins) in [
            ("a", 97, 390_611_389, 526_154_096),
            ("key1", 378, 744_252_496, 753_752_313),
            ("key2", 379, 1_252_706_838, 1_282_412_298),
            ("foo", 324, 1_938_594_527, 1_711_779_943),
            ("user:1001", 699, 395_106_443, 1_801_323_750),
            ("session:abcdef0123456789", 1952, 1_163_480_487, 318_202_710),
        ] {
            assert_eq!(key_hash(Simple, key), simple, "{key}");
            assert_eq!(key_hash(Crc32, key), crc32, "{key}");
            assert_eq!(key_hash(Jenkins, key), jenkins, "{key}");
        }
    }

    /// flare-protocol.md 1.8: the worked tables, and sample keys.
    #[test]
    fn tables_are_upstreams() {
        let row = |hint, partitions| {
            let hash =
                HashSettings { modular_hint: hint, modular_virtual: 16, ..HashSettings::default() };
            let rows = Rows::new(&hash, partitions).expect("settings that work");
            [rows.now, rows.next].map(|row| row.iter().map(u32::to_string).collect::<String>())
        };
        assert_eq!(row(1, 2), ["1010101010101010", "1022101022101022"]);
        assert_eq!(row(1, 4), ["1022103332101022", "1022103332104442"]);
        assert_eq!(row(3, 2), ["0101010101010101", "0120120120120120"]);
        assert_eq!(row(3, 4), ["0120123330120120", "0120123330124440"]);
        let rows = |algorithm, n| Rows::new(&with(algorithm), n).expect("settings that work");
        assert_eq!(rows(HashAlgorithm::Simple, 2).of("user:1001"), (0, 2));
        assert_eq!(rows(HashAlgorithm::Crc32, 2).of("key2"), (1, 2));
        assert_eq!(rows(HashAlgorithm::Jenkins, 3).of("user:1001"), (1, 3));
        assert_eq!(rows(HashAlgorithm::Simple, 8).of("key2").0, 7);
    }

    #[test]
    fn settings_that_no_node_could_work_with_have_no_table() {
        assert_eq!(Rows::new(&with(HashAlgorithm::Simple), 0), None);
        let hash = HashSettings { modular_hint: 0, ..HashSettings::default() };
        assert_eq!(Rows::new(&hash, 1), None);
    }
}

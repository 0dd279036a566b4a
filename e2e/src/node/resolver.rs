//! The `modular` key resolver of flare-protocol.md 1.8: which partition holds a key, for a given
//! number of partitions. Rows are computed when they are first asked for.

use super::hash::KeyHash;

/// What the index says in `META`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Partitions usable, one in preparation included, are below this number.
    pub(crate) partition_size: usize,
    pub(crate) hash: KeyHash,
    /// At least 1 (0 makes upstream crash, Q2).
    pub(crate) hint: usize,
    /// Slots of a row, at least 1.
    pub(crate) virtuals: usize,
}

/// Rows of partition numbers; row `i` serves `i` partitions.
#[derive(Debug)]
pub(crate) struct Resolver {
    meta: Meta,
    /// `rows[0]` is row 1.
    rows: Vec<Vec<u16>>,
}

impl Resolver {
    pub(crate) fn new(meta: Meta) -> Self {
        Self { meta, rows: Vec::new() }
    }

    /// The partition of a key among `partitions`; none if there is no such row: no partition at
    /// all, or as many as `partition-size` (upstream reads out of bounds there, Q1).
    pub(crate) fn partition(&mut self, key: &[u8], partitions: usize) -> Option<usize> {
        let slot = self.meta.hash.of(key) as usize % self.meta.virtuals;
        self.row(partitions).map(|row| usize::from(row[slot]))
    }

    fn row(&mut self, partitions: usize) -> Option<&[u16]> {
        if partitions == 0 || partitions >= self.meta.partition_size {
            return None;
        }
        while self.rows.len() < partitions {
            let next = self.next_row();
            self.rows.push(next);
        }
        self.rows.get(partitions - 1).map(Vec::as_slice)
    }

    fn next_row(&self) -> Vec<u16> {
        let size = self.rows.len() + 1;
        // partition-size is held to u16 where META is read
        let number = |partition: usize| u16::try_from(partition).unwrap_or(u16::MAX);
        let previous = match self.rows.last() {
            Some(row) if size > self.meta.hint => row,
            _ => return (0..self.meta.virtuals).map(|slot| number(slot % size)).collect(),
        };
        let mut counters = vec![0usize; size];
        let moves = |owner: &u16| {
            let counter = &mut counters[usize::from(*owner)];
            *counter += 1;
            if *counter % size == size - 1 { number(size - 1) } else { *owner }
        };
        previous.iter().map(moves).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn resolver(hint: usize, virtuals: usize) -> Resolver {
        Resolver::new(Meta { partition_size: 1024, hash: KeyHash::Simple, hint, virtuals })
    }

    #[test]
    fn worked_tables_of_16_slots() {
        for (hint, partitions, expected) in [
            (1, 2, "1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"),
            (1, 3, "1 0 2 2 1 0 1 0 2 2 1 0 1 0 2 2"),
            (1, 4, "1 0 2 2 1 0 3 3 3 2 1 0 1 0 2 2"),
            (1, 5, "1 0 2 2 1 0 3 3 3 2 1 0 4 4 4 2"),
            (3, 2, "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1"),
            (3, 3, "0 1 2 0 1 2 0 1 2 0 1 2 0 1 2 0"),
            (3, 4, "0 1 2 0 1 2 3 3 3 0 1 2 0 1 2 0"),
            (3, 5, "0 1 2 0 1 2 3 3 3 0 1 2 4 4 4 0"),
        ] {
            let mut resolver = resolver(hint, 16);
            let row: Vec<String> =
                resolver.row(partitions).unwrap().iter().map(u16::to_string).collect();
            assert_eq!(row.join(" "), expected, "hint {hint}, {partitions} partitions");
        }
    }

    #[test]
    fn full_rows_have_the_reference_digests() {
        for (hint, partitions, digest, smallest, largest) in [
            (1, 2, "9ae18805ae1f2a7656a924652b52e94d", 2048, 2048),
            (1, 3, "a78b5050024287d43860a0be32abd18a", 1365, 1366),
            (1, 4, "fbfd7f7e3bb9a28382b81c0907f0635b", 1023, 1025),
            (1, 5, "7dc71796043ec78badc9547232e58048", 819, 820),
            (1, 8, "8428ab0ed063a6522c34dbd7f1f90472", 510, 514),
            (1, 16, "93819e2959abaa0c1f63db35e3307b9f", 250, 260),
            (1, 32, "6176c17a31aae0a6d49259d651121486", 110, 134),
            (1, 64, "7eca65b1f796ef66aa6519a1d3a6c93c", 37, 79),
            (4, 4, "638d223b3f122c027c954adb76117cf7", 1024, 1024),
            (4, 5, "d81b5af9901ae57d2cd83464c93bd6c2", 0, 4096),
            (4, 8, "e6143f19e3c5eb4a6420ce9eedf7890c", 0, 4096),
        ] {
            let mut resolver = resolver(hint, 4096);
            let row = resolver.row(partitions).unwrap();
            let bytes: Vec<u8> = row.iter().map(|p| u8::try_from(*p).unwrap()).collect();
            let hex: String =
                Sha256::digest(&bytes)[..16].iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, digest, "hint {hint}, {partitions} partitions");
            for partition in 0..u8::try_from(partitions).unwrap() {
                let share = bytes.iter().filter(|b| **b == partition).count();
                assert!((smallest..=largest).contains(&share), "{partition}: {share}");
            }
        }
    }

    #[test]
    fn partitions_of_the_sample_keys() {
        let counts = [2, 3, 4, 8];
        for (key, hash, slot, expected) in [
            ("a", KeyHash::Simple, 97, [0, 0, 0, 7]),
            ("a", KeyHash::Crc32, 445, [0, 0, 0, 0]),
            ("a", KeyHash::Jenkins, 2416, [1, 1, 1, 1]),
            ("key1", KeyHash::Simple, 378, [1, 1, 3, 7]),
            ("key1", KeyHash::Crc32, 1104, [1, 1, 1, 7]),
            ("key1", KeyHash::Jenkins, 2297, [0, 0, 0, 7]),
            ("key2", KeyHash::Simple, 379, [0, 0, 3, 7]),
            ("key2", KeyHash::Crc32, 2582, [1, 2, 2, 2]),
            ("key2", KeyHash::Jenkins, 3850, [1, 1, 1, 6]),
            ("foo", KeyHash::Simple, 324, [1, 1, 1, 6]),
            ("foo", KeyHash::Crc32, 2783, [0, 0, 0, 5]),
            ("foo", KeyHash::Jenkins, 103, [0, 0, 3, 3]),
            ("user:1001", KeyHash::Simple, 699, [0, 2, 2, 6]),
            ("user:1001", KeyHash::Crc32, 2187, [0, 2, 2, 2]),
            ("user:1001", KeyHash::Jenkins, 1254, [1, 1, 3, 5]),
            ("session:abcdef0123456789", KeyHash::Simple, 1952, [1, 2, 3, 7]),
            ("session:abcdef0123456789", KeyHash::Crc32, 3495, [0, 2, 2, 2]),
            ("session:abcdef0123456789", KeyHash::Jenkins, 854, [1, 2, 2, 4]),
        ] {
            let meta = Meta { partition_size: 1024, hash, hint: 1, virtuals: 4096 };
            let mut resolver = Resolver::new(meta);
            assert_eq!(hash.of(key.as_bytes()) % 4096, slot, "{key} {hash:?}");
            let found = counts.map(|n| resolver.partition(key.as_bytes(), n).unwrap());
            assert_eq!(found, expected, "{key} {hash:?}");
        }
    }

    #[test]
    fn growth_beyond_the_hint_moves_slots_only_into_the_new_partition() {
        let mut resolver = resolver(1, 4096);
        for partitions in 2..=63 {
            let before = resolver.row(partitions - 1).unwrap().to_vec();
            let after = resolver.row(partitions).unwrap();
            for (old, new) in before.iter().zip(after) {
                assert!(old == new || usize::from(*new) == partitions - 1);
            }
        }
    }

    #[test]
    fn there_is_no_row_for_none_or_for_partition_size() {
        let meta = Meta { partition_size: 2, hash: KeyHash::Simple, hint: 1, virtuals: 16 };
        let mut resolver = Resolver::new(meta);
        assert_eq!(resolver.partition(b"a", 0), None);
        assert_eq!(resolver.partition(b"a", 1), Some(0));
        assert_eq!(resolver.partition(b"a", 2), None);
    }
}

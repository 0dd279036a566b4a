//! Damage to a real flared's database file, as a kill leaves it that meets a deletion or a record
//! that moves because it grows: where the hash table leads to the key's record, there is free space
//! already. The key cannot be read then, all others can, one by one and in turn. The file is Tokyo
//! Cabinet's hash database, which a running flared has mapped into its memory, so that it meets the
//! damage at once.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

/// The database file in a flared's data folder.
const FILE: &str = "flare.hdb";
/// First byte of a record that is in use, and of free space. Behind the latter comes its size.
const RECORD: u8 = 0xc8;
const FREE: u8 = 0xb0;
/// Where in the file the number of buckets lies, in eight bytes. Libraries are built for either
/// order of bytes: in the right one it is below 2^32.
const BUCKETS_AT: usize = 40;
/// Where in a record the size of its padding lies, in two bytes, and behind that those of its key
/// and its value.
const PADDING_AT: usize = 10;
const SIZES_AT: usize = 12;
/// Bytes that the size of a key and that of a value take together, for a short key.
const SIZES_BYTES: std::ops::RangeInclusive<usize> = 2..=6;

/// Damages the record of a key, of up to 127 bytes, in the data folder of a flared without
/// `storage-large`.
///
/// # Errors
/// There is no record of that key.
pub fn damage_flared(folder: &Path, key: &str) -> Result<()> {
    let path = folder.join(FILE);
    let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let order = Order::of(&content).ok_or_else(|| anyhow!("{} is too short", path.display()))?;
    let found = content.windows(key.len()).enumerate().filter(|(_, part)| *part == key.as_bytes());
    let (at, size) = found
        .flat_map(|(key_at, _)| SIZES_BYTES.map(move |bytes| (key_at, bytes)))
        .find_map(|(key_at, bytes)| {
            let at = key_at.checked_sub(SIZES_AT + bytes)?;
            let size = record_size(&content[at..], key.len(), bytes, order)?;
            Some((at, size))
        })
        .ok_or_else(|| anyhow!("{} has no record of {key}", path.display()))?;
    let mut file = OpenOptions::new().write(true).open(&path)?;
    file.seek(SeekFrom::Start(at.try_into()?))?;
    let mut size = u32::try_from(size)?.to_be_bytes();
    order.turn(&mut size);
    Ok(file.write_all(&[&[FREE][..], &size].concat())?)
}

/// Which byte of a number comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Highest,
    Lowest,
}

impl Order {
    fn of(content: &[u8]) -> Option<Self> {
        let buckets = content.get(BUCKETS_AT..BUCKETS_AT + 8)?;
        Some(if buckets.starts_with(&[0; 4]) { Self::Highest } else { Self::Lowest })
    }

    /// From this order to the highest byte first, or back.
    fn turn(self, number: &mut [u8]) {
        if self == Self::Lowest {
            number.reverse();
        }
    }
}

/// The size of the record that begins here, if one does, with a key of this size and its two sizes
/// in so many bytes.
fn record_size(content: &[u8], key: usize, bytes: usize, order: Order) -> Option<usize> {
    if content.first() != Some(&RECORD) {
        return None;
    }
    let mut padding: [u8; 2] = content.get(PADDING_AT..SIZES_AT)?.try_into().ok()?;
    order.turn(&mut padding);
    let padding = usize::from(u16::from_be_bytes(padding));
    let (key_size, rest) = number(content.get(SIZES_AT..SIZES_AT + bytes)?)?;
    let (value_size, rest) = number(rest)?;
    let fits = key_size == key && rest.is_empty();
    fits.then_some(SIZES_AT + bytes + key_size + value_size + padding)
}

/// A number in groups of seven bits, the lowest first, all but the last of them inverted.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().position(|byte| *byte < 0x80)?;
    let (groups, rest) = bytes.split_at(last + 1);
    let group = |byte: u8| usize::from(if byte < 0x80 { byte } else { !byte });
    Some((groups.iter().rev().fold(0, |sum, byte| (sum << 7) + group(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as Tokyo Cabinet writes it: padding 3, a key of 2 bytes, a value of 300.
    fn record(order: Order) -> Vec<u8> {
        let mut padding = [0, 3];
        order.turn(&mut padding);
        let mut record = vec![RECORD, 9, 1, 0, 0, 0, 2, 0, 0, 0];
        record.extend(padding);
        record.extend([2, !44, 2]);
        record.extend(b"k1");
        record.extend([7; 300]);
        record.extend([0; 3]);
        record
    }

    #[test]
    fn a_record_becomes_free_space_of_its_size_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for order in [Order::Highest, Order::Lowest] {
            let mut buckets = [0, 0, 0, 0, 0, 1, 255, 255];
            order.turn(&mut buckets);
            let mut content = vec![0; BUCKETS_AT];
            content.extend(buckets);
            // a removed record of the same key stands before it
            content.extend(record(order));
            content[BUCKETS_AT + 8] = FREE;
            let start = content.len();
            content.extend(record(order));
            fs::write(&path, &content).unwrap();
            damage_flared(folder.path(), "k1").unwrap();
            let mut size = [0, 0, 1, 64];
            order.turn(&mut size);
            content[start] = FREE;
            content[start + 1..start + 5].copy_from_slice(&size);
            assert_eq!(fs::read(&path).unwrap(), content);
            assert!(damage_flared(folder.path(), "k1").is_err(), "there is none any more");
        }
    }
}

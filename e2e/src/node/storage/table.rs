//! The entries in memory, in the order in which upstream's hash file would iterate over them: the
//! order of first insertion, a record of the same size taking the place of a removed one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::Entry;

/// A record takes its key, its data and this much, rounded up to [`ALIGNMENT`].
const RECORD_OVERHEAD: usize = 14 + 28;
/// `storage-ap` 4: records are aligned to 2^4 bytes.
const ALIGNMENT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Bytes, (u64, Entry)>,
    /// Keys whose records cannot be read: as if they were not there, and in the way of new ones.
    damaged: HashSet<Bytes>,
    order: BTreeMap<u64, Bytes>,
    /// Places of removed records by their size.
    free: BTreeMap<usize, BTreeSet<u64>>,
    next: u64,
    /// Sum of the record sizes.
    bytes: usize,
}

fn size(entry: &Entry) -> usize {
    (RECORD_OVERHEAD + entry.key.len() + entry.data.len()).next_multiple_of(ALIGNMENT)
}

impl Table {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key).map(|(_, entry)| entry)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        let size = size(&entry);
        if let Some((_, old)) = self.entries.get(&entry.key) {
            // a record that fits is written over where it stands
            if size > self::size(old) {
                let key = entry.key.clone();
                self.remove(&key);
            }
        }
        let place = match self.entries.get(&entry.key) {
            Some((place, old)) => {
                self.bytes -= self::size(old);
                *place
            }
            None => self.take_place(size),
        };
        self.bytes += size;
        self.order.insert(place, entry.key.clone());
        self.entries.insert(entry.key.clone(), (place, entry));
    }

    fn take_place(&mut self, size: usize) -> u64 {
        if let Some(place) = self.free.get_mut(&size).and_then(BTreeSet::pop_first) {
            return place;
        }
        self.next += 1;
        self.next
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let (place, entry) = self.entries.remove(key)?;
        self.order.remove(&place);
        self.free.entry(size(&entry)).or_default().insert(place);
        self.bytes -= size(&entry);
        Some(entry)
    }

    pub(super) fn damage(&mut self, key: Bytes) {
        self.remove(&key);
        self.damaged.insert(key);
    }

    pub(super) fn is_damaged(&self, key: &[u8]) -> bool {
        self.damaged.contains(key)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.damaged.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The entry after a place (0 is before all), and its own place.
    pub(super) fn after(&self, place: u64) -> Option<(u64, &Entry)> {
        let (place, key) = self.order.range(place + 1..).next()?;
        self.get(key).map(|entry| (*place, entry))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }
}

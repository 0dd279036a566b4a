//! What a flared keeps: entries with their versions, and, as long as its process lives, what it
//! remembers of deleted ones (flare-protocol.md 4.5).

use std::collections::BTreeMap;
use std::ops::Bound;

/// One key of a client; its hash is the number itself.
pub(crate) type Key = u64;

/// What a client wrote; no two writes write the same.
pub(crate) type Value = u64;

/// A value and the version that flared gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    version: u64,
    pub(crate) value: Value,
}

/// What became of a client's write at the key's master, as that passes it on to other nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Set(Entry),
    Delete { version: u64 },
}

/// All that one node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Data {
    entries: BTreeMap<Key, Entry>,
    tombstones: BTreeMap<Key, u64>,
}

impl Data {
    pub(crate) fn value(&self, key: Key) -> Option<Value> {
        self.entries.get(&key).map(|entry| entry.value)
    }

    pub(crate) fn items(&self) -> u64 {
        u64::try_from(self.entries.len()).expect("few keys")
    }

    /// The first entry behind a key, or of all, that is wanted.
    pub(crate) fn next(
        &self,
        behind: Option<Key>,
        wanted: impl Fn(Key) -> bool,
    ) -> Option<(Key, Entry)> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self.entries.range((from, Bound::Unbounded));
        entries.find(|(key, _)| wanted(**key)).map(|(key, entry)| (*key, *entry))
    }

    /// A client writes here.
    pub(crate) fn set(&mut self, key: Key, value: Value) -> Change {
        let entry = Entry { version: self.version(key) + 1, value };
        self.put(key, entry);
        Change::Set(entry)
    }

    /// A client deletes here; `None`: there is nothing to delete.
    pub(crate) fn delete(&mut self, key: Key) -> Option<Change> {
        let Entry { version, .. } = self.entries.remove(&key)?;
        self.tombstones.insert(key, version);
        Some(Change::Delete { version })
    }

    /// A master passes on what became of a write: older than what is there it means nothing, but
    /// a deletion that is remembered keeps nothing away.
    pub(crate) fn take(&mut self, key: Key, change: Change) {
        match change {
            Change::Set(entry) => {
                if self.entries.get(&key).is_none_or(|own| entry.version > own.version) {
                    self.put(key, entry);
                }
            }
            Change::Delete { version } if version >= self.version(key) => {
                self.entries.remove(&key);
                self.tombstones.insert(key, version);
            }
            Change::Delete { .. } => {}
        }
    }

    /// An entry of another node's dump: taken only if it is newer than what is there, or was.
    pub(crate) fn import(&mut self, key: Key, entry: Entry) {
        if entry.version > self.version(key) {
            self.put(key, entry);
        }
    }

    /// Is what is there newer than this?
    pub(crate) fn outdates(&self, key: Key, entry: Entry) -> bool {
        self.entries.get(&key).is_some_and(|own| own.version > entry.version)
    }

    /// `flush_all`, or a disk that is lost.
    pub(crate) fn empty(&mut self) -> BTreeMap<Key, Entry> {
        std::mem::take(self).entries
    }

    /// Deletions are remembered in memory only.
    pub(crate) fn process_ended(&mut self) {
        self.tombstones.clear();
    }

    /// Of what is there, or was as far as it is remembered; 0 for a key that was never seen.
    fn version(&self, key: Key) -> u64 {
        let entry = self.entries.get(&key).map(|entry| entry.version);
        entry.or(self.tombstones.get(&key).copied()).unwrap_or(0)
    }

    fn put(&mut self, key: Key, entry: Entry) {
        self.tombstones.remove(&key);
        self.entries.insert(key, entry);
    }
}

/// The partition of a key among `count`: keys move only into new partitions, as with flared's
/// resolver above the hint (flare-protocol.md 1.8).
pub(crate) fn partition_of(key: Key, count: i32) -> i32 {
    let mut partition = 0;
    for candidate in 1..count {
        let among = u64::try_from(candidate).expect("not negative") + 1;
        if (key / 7 + key * 13 + among * 5).is_multiple_of(among) {
            partition = candidate;
        }
    }
    partition
}

//! A node's entries and what each command does to them: versions, expiry, tombstones
//! (flare-protocol.md 1.9, 4.5). It knows nothing of partitions, other nodes or the wire.

mod disk;
mod table;
mod tombstones;

use std::path::Path;

use bytes::{Bytes, BytesMut};

pub(crate) use disk::FILE_NAME;
use disk::{Disk, DiskError};
use table::Table;
use tombstones::{Tombstone, Tombstones};

use super::clock::unix_seconds;

/// One stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) flag: u32,
    /// Absolute Unix seconds; 0 is never.
    pub(crate) expire: u64,
    pub(crate) version: u64,
    pub(crate) data: Bytes,
}

impl Entry {
    fn expired(&self, now: u64) -> bool {
        self.expire > 0 && self.expire <= now
    }
}

/// The ways to store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    /// An entry that arrives through a reconstruction's dump.
    Import,
}

/// What came of storing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the entry as it now is.
    Stored(Entry),
    NotStored,
    Exists,
    NotFound,
}

/// Why an entry could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is a record of this key, and it cannot be read.
    #[error("the record of {0:?} is damaged")]
    Damaged(Bytes),
}

/// Why there is no entry to go on with.
enum Life {
    Alive,
    Tombstone,
    Gone,
}

/// All entries of a node.
#[derive(Debug)]
pub(crate) struct Storage {
    table: Table,
    tombstones: Tombstones,
    disk: Option<Disk>,
    /// Whether a change has failed: upstream remembers that until its process ends.
    sick: bool,
    /// Whether a `dump`, `dump_key` or the dump of a cluster replication is under way.
    iterating: bool,
    /// Counts the flushes: an iteration does not survive one.
    generation: u64,
}

impl Storage {
    /// In memory, or in a directory that must exist.
    pub(crate) fn open(directory: Option<&Path>, tombstones: usize) -> Result<Self, StorageError> {
        let disk = directory.map(Disk::open).transpose()?;
        let mut table = Table::default();
        if let Some(disk) = &disk {
            disk.load()?.into_iter().for_each(|entry| table.insert(entry));
            disk.damaged()?.into_iter().for_each(|key| table.damage(key));
        }
        Ok(Self {
            table,
            tombstones: Tombstones::new(tombstones),
            disk,
            sick: false,
            iterating: false,
            generation: 0,
        })
    }

    /// The stored header, or the tombstone's, or version 0; and which of the three it is.
    fn current(&self, key: &[u8]) -> (Life, u64) {
        let now = unix_seconds();
        if let Some(entry) = self.table.get(key) {
            let life = if entry.expired(now) { Life::Gone } else { Life::Alive };
            return (life, entry.version);
        }
        match self.tombstones.get(key) {
            Some(stone) if stone.expire > now => (Life::Tombstone, stone.version),
            Some(stone) => (Life::Gone, stone.version),
            None => (Life::Gone, 0),
        }
    }

    /// The `set` family; `given.version` 0 means that none was given.
    pub(crate) fn store(&mut self, verb: Verb, given: Entry) -> Result<Outcome, StorageError> {
        let (life, version) = self.current(&given.key);
        let alive = matches!(life, Life::Alive);
        let gone = matches!(life, Life::Gone);
        match verb {
            Verb::Add if !gone => return Ok(Outcome::NotStored),
            Verb::Replace | Verb::Append | Verb::Prepend if !alive => {
                return Ok(Outcome::NotStored);
            }
            Verb::Cas if gone => return Ok(Outcome::NotFound),
            Verb::Cas if given.version != version => return Ok(Outcome::Exists),
            _ => {}
        }
        let mut entry = given;
        if verb == Verb::Cas {
            entry.version = entry.version.wrapping_add(1);
        } else if entry.version == 0 {
            entry.version = version.wrapping_add(1);
        } else if (alive || verb == Verb::Import) && entry.version <= version {
            return Ok(Outcome::NotStored);
        }
        if matches!(verb, Verb::Append | Verb::Prepend) {
            self.join(verb, &mut entry);
        }
        self.put(entry.clone())?;
        Ok(Outcome::Stored(entry))
    }

    /// Adds the old data; the old flag and expire stay.
    fn join(&self, verb: Verb, entry: &mut Entry) {
        let Some(old) = self.table.get(&entry.key) else { return };
        let (first, second) = match verb {
            Verb::Append => (&old.data, &entry.data),
            _ => (&entry.data, &old.data),
        };
        let mut data = BytesMut::with_capacity(first.len() + second.len());
        data.extend_from_slice(first);
        data.extend_from_slice(second);
        entry.data = data.freeze();
        entry.flag = old.flag;
        entry.expire = old.expire;
    }

    fn put(&mut self, entry: Entry) -> Result<(), StorageError> {
        let written = self.write(&entry);
        self.sick |= written.is_err();
        written?;
        self.table.insert(entry);
        Ok(())
    }

    fn write(&self, entry: &Entry) -> Result<(), StorageError> {
        if self.table.is_damaged(&entry.key) {
            return Err(StorageError::Damaged(entry.key.clone()));
        }
        match &self.disk {
            Some(disk) => Ok(disk.put(entry)?),
            None => Ok(()),
        }
    }

    /// Does to the record of a key what a kill under load can do to upstream's: it is counted, and
    /// cannot be read, nor written until all is flushed. Everything else goes on.
    pub(crate) fn damage(&mut self, key: Bytes) -> Result<(), StorageError> {
        if let Some(disk) = &self.disk {
            disk.damage(&key)?;
        }
        self.table.damage(key);
        Ok(())
    }

    /// Has it show for the rest of its life that something failed, as upstream does after a failed
    /// change, or when its time watcher finds an access too slow.
    pub(crate) fn fall_sick(&mut self) {
        self.sick = true;
    }

    pub(crate) fn is_sick(&self) -> bool {
        self.sick
    }

    /// Changes the expire of an entry that is alive; the version stays.
    pub(crate) fn touch(&mut self, key: &[u8], expire: u64) -> Result<Option<Entry>, StorageError> {
        let Some(entry) = self.get(key)? else { return Ok(None) };
        let entry = Entry { expire, ..entry };
        self.put(entry.clone())?;
        Ok(Some(entry))
    }

    /// `incr` and `decr`: the entry as it now is, or none if there was none alive.
    pub(crate) fn count(
        &mut self,
        key: &[u8],
        amount: u64,
        up: bool,
    ) -> Result<Option<Entry>, StorageError> {
        let Some(mut entry) = self.get(key)? else { return Ok(None) };
        let value = leading_number(&entry.data);
        let value = if up { value.saturating_add(amount) } else { value.saturating_sub(amount) };
        entry.data = Bytes::from(value.to_string());
        entry.version = entry.version.wrapping_add(1);
        self.put(entry.clone())?;
        Ok(Some(entry))
    }

    /// Removes an entry; the version that the deletion has, or none for NOT_FOUND.
    pub(crate) fn remove(
        &mut self,
        key: &Bytes,
        expire: u64,
        version: u64,
    ) -> Result<Option<u64>, StorageError> {
        let (life, current) = self.current(key);
        if version != 0 && version < current {
            return Ok(None);
        }
        let removed = self.take(key)?;
        if removed.is_none() && version == 0 {
            return Ok(None);
        }
        let stone = Tombstone {
            expire: if expire > 0 { expire } else { unix_seconds() },
            version: if version != 0 { version } else { current },
        };
        self.tombstones.set(key, stone);
        Ok((removed.is_some() && matches!(life, Life::Alive)).then_some(stone.version))
    }

    fn take(&mut self, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        if self.table.get(key).is_none() {
            return Ok(None);
        }
        if let Some(disk) = &self.disk {
            disk.remove(key)?;
        }
        Ok(self.table.remove(key))
    }

    /// The entry, if it is alive; a dead one is removed by this.
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        match self.table.get(key) {
            Some(entry) if entry.expired(unix_seconds()) => {
                let key = entry.key.clone();
                self.remove(&key, 0, 0)?;
                Ok(None)
            }
            found => Ok(found.cloned()),
        }
    }

    /// Empties storage and tombstones.
    pub(crate) fn flush(&mut self) -> Result<(), StorageError> {
        if let Some(disk) = &self.disk {
            disk.clear()?;
        }
        self.table.clear();
        self.tombstones.clear();
        self.generation += 1;
        Ok(())
    }

    /// Claims the only iterator, for the entries of this generation; none if it is taken.
    pub(crate) fn begin_iteration(&mut self) -> Option<u64> {
        (!std::mem::replace(&mut self.iterating, true)).then_some(self.generation)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn end_iteration(&mut self) {
        self.iterating = false;
    }

    /// The entry after a place (0 is before all), dead ones included, and its place.
    pub(crate) fn after(&self, place: u64) -> Option<(u64, &Entry)> {
        self.table.after(place)
    }

    /// Whether an entry of an iteration is dead.
    pub(crate) fn is_dead(entry: &Entry) -> bool {
        entry.expired(unix_seconds())
    }

    /// Keys with a prefix, in byte order, at most `limit`.
    pub(crate) fn keys(&self, prefix: &[u8], limit: usize) -> Vec<Bytes> {
        let mut keys: Vec<Bytes> =
            self.table.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        keys.sort_unstable();
        keys.truncate(limit);
        keys
    }

    /// Entries, dead ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes of all records.
    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// The digits at the start of a value; none, or more than fit, count as 0.
fn leading_number(data: &[u8]) -> u64 {
    let digits = data.iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&data[..digits]).ok().and_then(|d| d.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;

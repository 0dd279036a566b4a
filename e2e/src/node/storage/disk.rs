//! The data directory: every change is written through to a redb file, so that a node's data
//! outlive its process. Like upstream's Tokyo Cabinet file it is never synced to the medium: a
//! killed process loses nothing that was acknowledged, a power cut may.

use std::fs::OpenOptions;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{BackendError, Database, ReadableDatabase, ReadableTable, StorageBackend};
use redb::{TableDefinition, TableError};

use super::Entry;

/// Key to flag, expire, version, data.
const ENTRIES: TableDefinition<&[u8], (u32, u64, u64, &[u8])> = TableDefinition::new("entries");

/// Keys whose records are damaged.
const DAMAGED: TableDefinition<&[u8], ()> = TableDefinition::new("damaged");

/// The database file in the data directory.
pub(crate) const FILE_NAME: &str = "flare.redb";

/// The page cache of one node's file. The entries are in memory anyway, so it only has to hold
/// the pages of a few writes.
const CACHE_BYTES: usize = 1024 * 1024;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("database {}: {source}", path.display())]
pub(crate) struct DiskError {
    path: PathBuf,
    source: Box<redb::Error>,
}

/// An open database file.
#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
    path: PathBuf,
}

impl Disk {
    /// Opens or creates the file; a directory that does not exist is an error, as upstream's.
    pub(super) fn open(directory: &Path) -> Result<Self, DiskError> {
        let path = directory.join(FILE_NAME);
        let open = || -> Result<Database, redb::Error> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(redb::Error::Io)?;
            let backend = Unsynced(FileBackend::new(file)?);
            let database =
                redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
            Ok(database)
        };
        match open() {
            Ok(database) => Ok(Self { database, path }),
            Err(source) => Err(DiskError { path, source: Box::new(source) }),
        }
    }

    fn context<T>(&self, result: Result<T, redb::Error>) -> Result<T, DiskError> {
        result.map_err(|source| DiskError { path: self.path.clone(), source: Box::new(source) })
    }

    /// Everything in the file, in key order.
    pub(super) fn load(&self) -> Result<Vec<Entry>, DiskError> {
        self.context(self.read_all())
    }

    fn read_all(&self) -> Result<Vec<Entry>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(ENTRIES) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut entries = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let (flag, expire, version, data) = value.value();
            entries.push(Entry {
                key: Bytes::copy_from_slice(key.value()),
                flag,
                expire,
                version,
                data: Bytes::copy_from_slice(data),
            });
        }
        Ok(entries)
    }

    /// The keys whose records are damaged.
    pub(super) fn damaged(&self) -> Result<Vec<Bytes>, DiskError> {
        self.context((|| {
            let read = self.database.begin_read()?;
            let table = match read.open_table(DAMAGED) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let key = |row: Result<(redb::AccessGuard<'_, &[u8]>, _), redb::StorageError>| {
                row.map(|(key, _)| Bytes::copy_from_slice(key.value()))
            };
            Ok(table.iter()?.map(key).collect::<Result<_, _>>()?)
        })())
    }

    /// Makes a record one that cannot be read any more.
    pub(super) fn damage(&self, key: &[u8]) -> Result<(), DiskError> {
        self.context((|| {
            let write = self.database.begin_write()?;
            write.open_table(ENTRIES)?.remove(key)?;
            write.open_table(DAMAGED)?.insert(key, ())?;
            Ok(write.commit()?)
        })())
    }

    pub(super) fn put(&self, entry: &Entry) -> Result<(), DiskError> {
        self.context((|| {
            let write = self.database.begin_write()?;
            let value = (entry.flag, entry.expire, entry.version, &entry.data[..]);
            write.open_table(ENTRIES)?.insert(&entry.key[..], value)?;
            Ok(write.commit()?)
        })())
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<(), DiskError> {
        self.context((|| {
            let write = self.database.begin_write()?;
            write.open_table(ENTRIES)?.remove(key)?;
            Ok(write.commit()?)
        })())
    }

    pub(super) fn clear(&self) -> Result<(), DiskError> {
        self.context((|| {
            let write = self.database.begin_write()?;
            write.delete_table(ENTRIES)?;
            write.delete_table(DAMAGED)?;
            Ok(write.commit()?)
        })())
    }
}

/// A file that is written but not synced.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

//! The map in a file: written beside the old one, forced to the disk, then put in its place.
//!
//! A data folder holds `topology` (the map that is in force), `topology.previous` (the generation
//! before it), for a moment `topology.new`, and `lock`, which one index holds as long as it
//! lives. A folder never loses `topology`: the previous generation is a second name of the old
//! file, and the new one takes its name in one step. Bytes are `flare_core::store_format`'s.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use flare_core::store_format::{self, StoreFormatError};
use flare_core::stored::StoredTopology;
use flare_core::topology::StoreFailure;

use super::Medium;

/// The map that is in force.
pub const CURRENT: &str = "topology";
/// The generation before it.
pub const PREVIOUS: &str = "topology.previous";
/// The generation that is being written.
const NEW: &str = "topology.new";
/// A second name of the current file on its way to becoming the previous one.
const OUTGOING: &str = "topology.outgoing";
/// Locked as long as an index uses the folder.
const LOCK: &str = "lock";

/// How long the lock is waited for: an index that was just killed may hold it until its last write
/// to the disk returns, and whoever starts the next one does not wait for that.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// How often it is tried meanwhile.
const LOCK_RETRY: Duration = Duration::from_millis(50);
/// Upstream's own file (flare-protocol.md 9).
pub const FLARE_XML: &str = "flare.xml";

/// The largest file that is read, in bytes: a map of 100,000 nodes is a quarter of that. A larger
/// one is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A data folder that this process has for itself.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    /// Locked; the lock ends with the process, however it ends.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug)]
pub enum OpenError {
    /// The system refused.
    Io {
        /// What was tried, as in "cannot … `path`".
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process uses the folder.
    InUse(PathBuf),
    /// The map is there and cannot be read.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<StoreFormatError>,
        /// What the file of the previous generation holds, if it is good.
        previous: Option<Previous>,
    },
    /// There is no map, but a previous generation of one.
    Lost {
        /// The file that is missing.
        path: PathBuf,
        /// What is left.
        previous: Option<Previous>,
    },
    /// There is no map, but upstream's.
    NotImported(PathBuf),
    /// There is a map already.
    Exists(PathBuf),
}

/// A good previous generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its file.
    pub path: PathBuf,
    /// Its generation.
    pub generation: u64,
    /// The version of its map.
    pub version: u64,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { tried, path, error } => {
                write!(f, "cannot {tried} {}: {error}", path.display())
            }
            Self::InUse(path) => write!(
                f,
                "another index uses this data folder ({} is locked); stop it, or choose another \
                 --data-dir",
                path.display()
            ),
            Self::Damaged { path, error, previous } => {
                write!(f, "the stored map {} is damaged: {error}. ", path.display())?;
                write_remedy(f, path, previous.as_ref())
            }
            Self::Lost { path, previous } => {
                write!(f, "the stored map {} is missing. ", path.display())?;
                write_remedy(f, path, previous.as_ref())
            }
            Self::NotImported(path) => write!(
                f,
                "the data folder holds upstream's {} and no map of ours; take it over with \
                 `flare-operator import --from {} --data-dir {}`",
                path.display(),
                path.display(),
                path.parent().unwrap_or(Path::new(".")).display()
            ),
            Self::Exists(path) => write!(
                f,
                "there is a stored map already: {}; nothing was changed. Move it away first if it \
                 is to be replaced",
                path.display()
            ),
        }
    }
}

fn write_remedy(
    f: &mut fmt::Formatter<'_>,
    path: &Path,
    previous: Option<&Previous>,
) -> fmt::Result {
    let Some(good) = previous else {
        return write!(
            f,
            "No good previous generation is left beside it: restore it from a backup. The index \
             does not start empty in its place"
        );
    };
    write!(
        f,
        "The generation before it is good: {}, generation {}, map version {}. To go on from there \
         (the last change is lost): `cp {} {}`",
        good.path.display(),
        good.generation,
        good.version,
        good.path.display(),
        path.display()
    )
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Damaged { error, .. } => Some(&**error),
            _ => None,
        }
    }
}

impl FileStore {
    /// Takes `folder` for this process; it is made if it is not there.
    ///
    /// # Errors
    /// When another index uses it, or the system refuses.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let fail = |tried, path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { tried, path, error }
        };
        fs::create_dir_all(folder).map_err(fail("make the data folder", folder))?;
        let path = folder.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(fail("open the lock file", &path))?;
        let began = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { folder: folder.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_PATIENCE => {
                    // Nothing else runs yet: the index begins with its store.
                    thread::sleep(LOCK_RETRY);
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path)),
                Err(TryLockError::Error(error)) => return Err(fail("lock", &path)(error)),
            }
        }
    }

    /// The stored map; `None` when the folder has never held one.
    ///
    /// # Errors
    /// When there is, or was, a map that cannot be read: never answered by an empty one.
    pub fn load(&self) -> Result<Option<StoredTopology>, OpenError> {
        let path = self.folder.join(CURRENT);
        match self.read(CURRENT)? {
            Some(Ok(stored)) => Ok(Some(stored)),
            Some(Err(error)) => {
                Err(OpenError::Damaged { path, error: Box::new(error), previous: self.previous() })
            }
            None if self.folder.join(PREVIOUS).exists() => {
                Err(OpenError::Lost { path, previous: self.previous() })
            }
            None if self.folder.join(FLARE_XML).exists() => {
                Err(OpenError::NotImported(self.folder.join(FLARE_XML)))
            }
            None => Ok(None),
        }
    }

    /// Puts the first map into a folder that has none (`import`).
    ///
    /// # Errors
    /// When there is one, or it cannot be written.
    pub fn create(&mut self, stored: &StoredTopology) -> Result<(), OpenError> {
        for name in [CURRENT, PREVIOUS] {
            let path = self.folder.join(name);
            if path.exists() {
                return Err(OpenError::Exists(path));
            }
        }
        self.replace(stored).map_err(|error| OpenError::Io {
            tried: "write the map to",
            path: self.folder.join(CURRENT),
            error,
        })
    }

    fn previous(&self) -> Option<Previous> {
        let stored = self.read(PREVIOUS).ok()??.ok()?;
        let path = self.folder.join(PREVIOUS);
        Some(Previous { path, generation: stored.generation, version: stored.version })
    }

    /// One file of the folder: `None` when there is none.
    fn read(
        &self,
        name: &str,
    ) -> Result<Option<Result<StoredTopology, StoreFormatError>>, OpenError> {
        let path = self.folder.join(name);
        let fail = |error| OpenError::Io { tried: "read", path: path.clone(), error };
        let length = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        if length > FILE_BYTES_MAX {
            let error = format!("it has {length} bytes, and {FILE_BYTES_MAX} are the most");
            return Err(fail(io::Error::other(error)));
        }
        Ok(Some(store_format::decode(&fs::read(&path).map_err(fail)?)))
    }

    /// New file, fsync, second name for the old one, rename, fsync of the folder.
    fn replace(&self, stored: &StoredTopology) -> io::Result<()> {
        let [current, previous, new, outgoing] =
            [CURRENT, PREVIOUS, NEW, OUTGOING].map(|name| self.folder.join(name));
        let mut file = File::create(&new)?;
        file.write_all(&store_format::encode(stored))?;
        file.sync_all()?;
        drop(file);
        if current.exists() {
            remove_if_there(&outgoing)?;
            // Where the file system has no hard links a copy does as well, only slower.
            fs::hard_link(&current, &outgoing)
                .or_else(|_| fs::copy(&current, &outgoing).map(drop))?;
            fs::rename(&outgoing, &previous)?;
        }
        fs::rename(&new, &current)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Medium for FileStore {
    fn write(&mut self, stored: &StoredTopology) -> Result<(), StoreFailure> {
        self.replace(stored).map_err(|error| {
            // What was begun is worth nothing, and on a full disk its room is needed.
            let _ = remove_if_there(&self.folder.join(NEW));
            StoreFailure::Unwritable(format!("{}: {error}", self.folder.join(CURRENT).display()))
        })
    }
}

//! One file per cluster that is locked for as long as the harness lives. The kernel gives the
//! lock back when its holders end, however they end, so a free lock beside a cluster's folder
//! means that nobody will clean it up any more.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};

use super::paths::Paths;

/// The lock of one cluster; given back when all copies of the file are closed.
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock, or `None` if somebody has it.
    pub(crate) fn try_take(paths: &Paths) -> Result<Option<Self>> {
        let path = paths.lock();
        loop {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .with_context(|| format!("open {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    bail!("lock {}: {error}", path.display());
                }
            }
            // The holder before us removes the file as its last deed, perhaps after we opened it.
            let ours = file.metadata().with_context(|| format!("read {}", path.display()))?.ino();
            if fs::metadata(&path).is_ok_and(|found| found.ino() == ours) {
                return Ok(Some(Self(file)));
            }
        }
    }

    /// Another handle on the same lock, for a process that is to hold it too.
    pub(crate) fn share(&self) -> Result<File> {
        self.0.try_clone().context("share the cluster's lock")
    }

    /// The same lock once more.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        self.share().map(Self)
    }

    /// Gives the lock back and removes its file.
    pub(crate) fn remove(self, paths: &Paths) -> Result<()> {
        let path = paths.lock();
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_nothing_stays() {
        let scratch = tempfile::tempdir().expect("scratch");
        let folder = || Some(scratch.path().to_path_buf());
        let paths = Paths::new("lab", folder(), folder()).expect("paths");
        let lock = Lock::try_take(&paths).expect("opens").expect("free");
        assert!(Lock::try_take(&paths).expect("opens").is_none());
        let shared = lock.share().expect("shared");
        drop(lock);
        assert!(Lock::try_take(&paths).expect("opens").is_none(), "a shared lock is held on");
        drop(shared);
        let lock = Lock::try_take(&paths).expect("opens").expect("free again");
        lock.remove(&paths).expect("removed");
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0);
    }
}

//! Ending a cluster: its processes, control groups and files. Mounts and namespaces need no
//! hand: they live in the namespaces of the cluster's processes and go with them.

use std::fs;
use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::cgroups;
use super::lock::Lock;
use super::paths::Paths;
use super::record::{LOOK_AGAIN, Record};

/// Files that a process held open a moment ago may still come and go.
const FILES_DEADLINE: Duration = Duration::from_secs(10);

/// Ends and removes everything of a cluster, whatever state it is in. The caller holds the lock,
/// or stands in for the process that does. May be called again.
pub(crate) fn everything(paths: &Paths) -> Result<()> {
    if let Some(record) = Record::load(paths) {
        let me = std::process::id();
        for process in [record.supervisor, record.door, Some(record.keeper), record.guard] {
            if let Some(process) = process.filter(|process| process.pid != me) {
                process.end()?;
            }
        }
    }
    cgroups::remove(&paths.cgroup())?;
    remove_files(paths)
}

/// Cleans up after a harness that was killed together with its guard. Whether there was anything.
pub(crate) fn after_a_crash(paths: &Paths, lock: Lock) -> Result<bool> {
    let left = paths.state().exists() || cgroups::count(&paths.cgroup())? > 0;
    if left {
        everything(paths)?;
    }
    lock.remove(paths)?;
    Ok(left)
}

fn remove_files(paths: &Paths) -> Result<()> {
    let (state, since) = (paths.state(), Instant::now());
    loop {
        match fs::remove_dir_all(&state) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if since.elapsed() > FILES_DEADLINE => {
                return Err(error).with_context(|| format!("remove {}", state.display()));
            }
            Err(_) => thread::sleep(LOOK_AGAIN),
        }
    }
}

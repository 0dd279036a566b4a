//! Which processes a cluster consists of, seen from the machine, written down so that whoever
//! cleans up after a crash ends those and no others: a process id is used again, but not together
//! with the same start time.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::paths::Paths;

/// A killed process is gone at once, unless it waits for a disk.
const END_DEADLINE: Duration = Duration::from_secs(20);

/// How often something is looked at while it is waited for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A process that is told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since the machine started (`/proc/PID/stat`, field 22).
    start: u64,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn now(pid: u32) -> Result<Self> {
        let start = start_of(pid).with_context(|| format!("process {pid} has ended"))?;
        Ok(Self { pid, start })
    }

    /// Whether it still runs; one that ended and was not waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        start_of(self.pid) == Some(self.start)
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn end(self) -> Result<()> {
        let since = Instant::now();
        while self.is_alive() {
            if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
                // It may have ended between the look and the signal.
                let _ = kill_process(pid, Signal::KILL);
            }
            if since.elapsed() > END_DEADLINE {
                bail!("process {} does not end within {END_DEADLINE:?} of SIGKILL", self.pid);
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

/// The start time of a process, `None` if there is none or it is a zombie.
fn start_of(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may itself hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The processes of one cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Starts the others and cleans up after them.
    pub(crate) keeper: Process,
    /// Cleans up if the keeper is killed.
    pub(crate) guard: Option<Process>,
    /// The parent of the first process in the cluster's own process namespace.
    pub(crate) door: Option<Process>,
    /// That first process. Everything in the cluster ends with it.
    pub(crate) supervisor: Option<Process>,
}

impl Record {
    /// Replaces what is written down, whole.
    pub(crate) fn store(&self, paths: &Paths) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the record")?;
        let (path, next) = (paths.record(), paths.record().with_extension("next"));
        fs::write(&next, text)
            .and_then(|()| fs::rename(&next, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// What is written down, if anything is.
    pub(crate) fn load(paths: &Paths) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(paths.record()).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start_and_can_be_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
        let process = Process::now(child.id()).expect("alive");
        assert!(process.is_alive());
        let other = Process { start: process.start + 1, ..process };
        assert!(!other.is_alive(), "a later process with the same number is another");
        other.end().expect("nothing to end");
        assert!(process.is_alive());
        process.end().expect("ended");
        assert!(!process.is_alive(), "a zombie is not alive");
        child.wait().expect("reaped");
    }
}

//! The programs that the supervisor started: their logs, their ends. A part that ends without
//! having been told to is a death, and is reported with the last lines that it wrote.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

/// How much of a dead part's log is shown.
const LAST_LINES: usize = 12;

/// How much of a log is read to find its last lines, in bytes.
const LAST_BYTES: usize = 16_000;

/// A part that ended by itself.
#[derive(Clone, Debug)]
pub(crate) struct Death {
    pub(crate) part: String,
    /// The exit code or the signal.
    pub(crate) how: String,
    pub(crate) last_lines: Vec<String>,
}

struct Child {
    command: Vec<String>,
    pid: Option<Pid>,
    /// Told to end, so its end is no news.
    told: bool,
}

/// All parts of a cluster, by name.
pub(crate) struct Children {
    logs: PathBuf,
    environment: Vec<(String, String)>,
    children: BTreeMap<String, Child>,
}

impl Children {
    /// No parts yet. Their logs go to the folder `logs`.
    pub(crate) fn new(logs: PathBuf, environment: Vec<(String, String)>) -> Self {
        Self { logs, environment, children: BTreeMap::new() }
    }

    /// Adds a part and starts it.
    pub(crate) fn add(&mut self, name: &str, command: Vec<String>) -> Result<()> {
        let child = Child { command, pid: None, told: false };
        self.children.insert(name.to_owned(), child);
        self.start(name)
    }

    /// Starts a part that does not run. Whether there was anything to do.
    pub(crate) fn start_again(&mut self, name: &str) -> Result<bool> {
        if self.is_running(name) {
            return Ok(false);
        }
        self.start(name).map(|()| true)
    }

    /// Whether a part runs.
    pub(crate) fn is_running(&self, name: &str) -> bool {
        self.children.get(name).is_some_and(|child| child.pid.is_some())
    }

    /// The number of a running part's process.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        let pid = self.children.get(name)?.pid?;
        u32::try_from(pid.as_raw_nonzero().get()).ok()
    }

    /// The names of all parts.
    pub(crate) fn names(&self) -> Vec<String> {
        self.children.keys().cloned().collect()
    }

    /// Sends a signal to a part. One that ends it makes its end expected.
    pub(crate) fn signal(&mut self, name: &str, signal: Signal) -> Result<()> {
        let Some(child) = self.children.get_mut(name) else {
            bail!("there is no part {name}");
        };
        let Some(pid) = child.pid else {
            bail!("{name} does not run");
        };
        child.told |= matches!(signal, Signal::KILL | Signal::TERM);
        kill_process(pid, signal).with_context(|| format!("signal {name}"))
    }

    /// Takes in everything that ended, orphans of containers included, as the first process of a
    /// namespace must; the parts among them that nobody had told to.
    pub(crate) fn reap(&mut self) -> Vec<Death> {
        let mut deaths = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let ended = self.children.iter_mut().find(|(_, child)| child.pid == Some(pid));
            let Some((name, child)) = ended else { continue };
            child.pid = None;
            if !child.told {
                deaths.push(Death {
                    part: name.clone(),
                    how: text_of(status),
                    last_lines: last_lines(&log_of(&self.logs, name), LAST_LINES),
                });
            }
        }
        deaths
    }

    fn start(&mut self, name: &str) -> Result<()> {
        let child = self.children.get_mut(name).with_context(|| format!("no part {name}"))?;
        let log = log_of(&self.logs, name);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let share = |file: &File| file.try_clone().context("share a log");
        let (program, arguments) = child.command.split_first().context("an empty command")?;
        let started = Command::new(program)
            .args(arguments)
            .envs(self.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(share(&file)?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}: {program}"))?;
        // Its end is seen by `reap`, which knows it by this number; the handle is not needed.
        child.pid = i32::try_from(started.id()).ok().and_then(Pid::from_raw);
        child.told = false;
        Ok(())
    }
}

/// The log of a part: `node1/kubelet` writes to `node1-kubelet.log`.
pub(crate) fn log_of(logs: &Path, part: &str) -> PathBuf {
    logs.join(format!("{}.log", part.replace('/', "-")))
}

/// The last lines of a file, few enough to read.
pub(crate) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let bytes = fs::read(path).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(LAST_BYTES)..];
    let text = String::from_utf8_lossy(tail);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

fn text_of(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "for no reason that the kernel gives".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_the_last() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("log");
        let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        fs::write(&path, text).expect("written");
        assert_eq!(last_lines(&path, 2), ["line 4998", "line 4999"]);
        assert!(last_lines(&scratch.path().join("none"), 2).is_empty());
    }
}

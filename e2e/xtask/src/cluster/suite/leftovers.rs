//! Counting what a cluster leaves behind: processes, namespaces, mounts, control groups, files and
//! settings of the machine. Others work on the machine meanwhile, so what is counted is what only
//! this cluster, or any cluster, could have left.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::cgroups;
use super::super::paths::Paths;
use super::super::record::Record;

/// How long ending may take when nobody waits for it, as after a crash.
const DEADLINE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where containers, their networks and the tools around them usually write.
const FOLDERS: [&str; 10] = [
    "/run/netns",
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni",
    "/tmp/hostpath_pv",
    "/run/xtables.lock",
];

/// Settings that a kubelet changes if it is let.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The machine before there was a cluster.
pub(super) struct Before {
    paths: Paths,
    files: BTreeSet<String>,
    mounts: BTreeSet<String>,
    settings: Vec<String>,
}

/// The namespaces of a cluster, while it lives.
pub(super) struct Namespaces(BTreeSet<String>);

impl Before {
    /// Takes down how the machine is.
    pub(super) fn now(paths: &Paths) -> Result<Self> {
        Ok(Self {
            paths: paths.clone(),
            files: files(paths),
            mounts: mounts()?,
            settings: settings(),
        })
    }

    /// Waits until the machine is as it was; names what is left if it does not become so.
    pub(super) fn is_again(&self, namespaces: &Namespaces) -> Result<()> {
        let since = Instant::now();
        loop {
            let left = self.left(namespaces)?;
            if left.is_empty() {
                return Ok(());
            }
            if since.elapsed() > DEADLINE {
                bail!("left behind after {DEADLINE:?}:\n{}", left.join("\n"));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    fn left(&self, namespaces: &Namespaces) -> Result<Vec<String>> {
        let mut left = Vec::new();
        left.extend(processes(&self.paths, namespaces));
        left.extend(mounts()?.difference(&self.mounts).map(|line| format!("mount: {line}")));
        left.extend(files(&self.paths).difference(&self.files).map(|name| format!("file: {name}")));
        let groups = cgroups::count(&self.paths.cgroup())?;
        if groups > 0 {
            left.push(format!("{groups} control groups"));
        }
        if settings() != self.settings {
            left.push(format!("settings: {:?}, before: {:?}", settings(), self.settings));
        }
        Ok(left)
    }
}

impl Namespaces {
    /// Those of a running cluster's processes that are not the machine's.
    pub(super) fn of(paths: &Paths) -> Result<Self> {
        let record = Record::load(paths).context("no cluster runs")?;
        let supervisor = record.supervisor.context("the cluster has no supervisor yet")?;
        let machine = namespaces_of("self");
        let own = namespaces_of(&supervisor.pid.to_string());
        let world = own.iter().find(|name| name.starts_with("pid:")).cloned();
        let world = world.context("the supervisor has ended")?;
        let members = numbers().into_iter().map(|pid| namespaces_of(&pid));
        let all: BTreeSet<String> =
            members.filter(|names| names.contains(&world)).flatten().collect();
        Ok(Self(all.difference(&machine).cloned().collect()))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Processes in the cluster's namespaces, and those of the harness.
fn processes(paths: &Paths, namespaces: &Namespaces) -> Vec<String> {
    let name = format!("--name={}", paths.name());
    let me = std::process::id().to_string();
    let mut left = Vec::new();
    for pid in numbers().into_iter().filter(|pid| *pid != me) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let harness = line.contains(" cluster ") && line.split(' ').any(|word| word == name);
        if harness || !namespaces_of(&pid).is_disjoint(&namespaces.0) {
            left.push(format!("process {pid}: {line}"));
        }
    }
    left
}

/// The numbers of all processes.
fn numbers() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// `net:[4026531840]` and so on.
fn namespaces_of(pid: &str) -> BTreeSet<String> {
    ["net", "mnt", "pid", "ipc", "uts"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect()
}

fn mounts() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn files(paths: &Paths) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let kube = env::var_os("HOME").map(|home| Path::new(&home).join(".kube"));
    for folder in FOLDERS.iter().map(PathBuf::from).chain(kube) {
        if folder.exists() {
            found.insert(folder.display().to_string());
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            found.insert(entry.path().display().to_string());
        }
    }
    for path in [paths.state(), paths.lock()] {
        if path.exists() {
            found.insert(path.display().to_string());
        }
    }
    found
}

fn settings() -> Vec<String> {
    let read = |name: &&str| fs::read_to_string(Path::new("/proc/sys").join(name));
    SETTINGS.iter().map(|name| read(name).unwrap_or_default().trim().to_owned()).collect()
}

//! The control groups of a cluster: one group of its own name in every hierarchy of the machine,
//! with a group per node in it, below which the kubelets make theirs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::record::LOOK_AGAIN;

/// A group of killed processes empties within milliseconds; a busy machine takes longer.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);

/// Makes `group` with one group per node in it, in every hierarchy.
pub(crate) fn create(group: &str, nodes: &[String]) -> Result<()> {
    for hierarchy in hierarchies()? {
        let top = hierarchy.join(group);
        make(&hierarchy, &top)?;
        for node in nodes {
            make(&top, &top.join(node))?;
        }
    }
    Ok(())
}

/// Removes `group` and everything in it, from every hierarchy. Its processes must have ended.
pub(crate) fn remove(group: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let top = hierarchy.join(group);
        let since = Instant::now();
        while top.exists() {
            match remove_tree(&top) {
                Ok(()) => {}
                Err(error) if since.elapsed() > REMOVE_DEADLINE => {
                    let members = members(&top);
                    bail!("remove {}: {error}; processes in it: {members:?}", top.display());
                }
                Err(_) => thread::sleep(LOOK_AGAIN),
            }
        }
    }
    Ok(())
}

/// How many groups of that name there are, with those in them.
pub(crate) fn count(group: &str) -> Result<usize> {
    let tops = hierarchies()?.into_iter().map(|hierarchy| hierarchy.join(group));
    Ok(tops.filter(|top| top.exists()).map(|top| 1 + below(&top).len()).sum())
}

/// Where the hierarchies are mounted: several for version 1, one for version 2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let mut found = mounted(&mounts);
    if found.is_empty() {
        bail!("no control groups are mounted; on most systems they are below /sys/fs/cgroup");
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// The controllers that hierarchies of this machine have: `cpu`, `memory` and so on.
pub(crate) fn controllers() -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let mut found = controllers_of(&mounts);
    for hierarchy in hierarchies()? {
        let text = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
        found.extend(text.split_whitespace().map(str::to_owned));
    }
    Ok(found)
}

/// Version 1 names the controllers of a hierarchy among its mount's options.
fn controllers_of(mounts: &str) -> Vec<String> {
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .filter(|fields| fields.get(2) == Some(&"cgroup"))
        .flat_map(|fields| fields.get(3).map_or_else(Vec::new, |o| o.split(',').collect()))
        .map(str::to_owned)
        .collect()
}

fn mounted(mounts: &str) -> Vec<PathBuf> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(path))
        })
        .collect()
}

fn make(parent: &Path, group: &Path) -> Result<()> {
    // Version 2 gives a group only the controllers that its parent passes on.
    if let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) {
        let wanted: Vec<String> =
            controllers.split_whitespace().map(|name| format!("+{name}")).collect();
        if !wanted.is_empty() {
            let path = parent.join("cgroup.subtree_control");
            fs::write(&path, wanted.join(" "))
                .with_context(|| format!("write {}", path.display()))?;
        }
    }
    match fs::create_dir(group) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make {}", group.display()));
        }
        _ => {}
    }
    // Version 1 refuses processes in a group that has no processors and memory assigned.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let (Ok(value), true) =
            (fs::read_to_string(parent.join(file)), parent.join("cgroup.clone_children").exists())
        {
            let path = group.join(file);
            fs::write(&path, value.trim()).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes a group after those in it. Its files are the kernel's and go with it.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    for inner in below(group).into_iter().rev() {
        fs::remove_dir(inner)?;
    }
    fs::remove_dir(group)
}

/// All groups below one, parents first.
fn below(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            found.push(path.clone());
            found.extend(below(&path));
        }
    }
    found
}

fn members(group: &Path) -> Vec<String> {
    let mut groups = below(group);
    groups.push(group.to_path_buf());
    let read = |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).ok();
    groups
        .iter()
        .filter_map(read)
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      tmpfs /run tmpfs rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let wanted = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(mounted(mounts), wanted);
        assert_eq!(controllers_of(mounts), ["rw", "cpu"]);
    }
}

//! Where a cluster keeps its things. Everything that one cluster writes is below one folder
//! (plus one lock beside it), so that ending it is removing that folder; what is built once and
//! shared by all clusters is in the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Longest name of a cluster, in bytes. It is part of the names of control groups and folders.
const NAME_MAX_BYTES: usize = 20;

/// The folders and names of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    name: String,
    cache: PathBuf,
    root: PathBuf,
}

impl Paths {
    /// The paths of the cluster `name`. `cache` and `state` stand in for the folders that the
    /// XDG base directories give. Both folders are made if missing.
    pub(crate) fn new(name: &str, cache: Option<PathBuf>, state: Option<PathBuf>) -> Result<Self> {
        check_name(name)?;
        let cache = folder(cache, "XDG_CACHE_HOME", ".cache")?;
        let root = folder(state, "XDG_STATE_HOME", ".local/state")?;
        Ok(Self { name: name.to_owned(), cache, root })
    }

    /// The cluster's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The paths of another cluster beside this one, named after it.
    pub(crate) fn beside(&self, suffix: &str) -> Result<Self> {
        let name = format!("{}-{suffix}", self.name);
        Self::new(&name, Some(self.cache.clone()), Some(self.root.clone()))
    }

    /// The same folder as everything inside the cluster sees it: /run/cluster.
    pub(crate) fn inside(&self) -> Self {
        Self { name: "cluster".into(), cache: self.cache.clone(), root: "/run".into() }
    }

    /// The folder of built parts, shared by all clusters.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The folder of this cluster. It exists as long as the cluster does.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Locked by the harness for as long as the cluster lives.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join(format!("{}.lock", self.name))
    }

    /// What the keeper knows: processes to end, what to remove.
    pub(crate) fn record(&self) -> PathBuf {
        self.state().join("record.json")
    }

    /// The number, outside, of the supervisor's process.
    pub(crate) fn supervisor(&self) -> PathBuf {
        self.state().join("supervisor.pid")
    }

    /// What the cluster was asked to be.
    pub(crate) fn plan(&self) -> PathBuf {
        self.state().join("plan.json")
    }

    /// What happened so far, a line per event.
    pub(crate) fn events(&self) -> PathBuf {
        self.state().join("events.jsonl")
    }

    /// The socket on which the supervisor takes orders.
    pub(crate) fn control(&self) -> PathBuf {
        self.state().join("control.sock")
    }

    /// The folder of logs, one file per part.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state().join("logs")
    }

    /// The administrator's kubeconfig. Its server is reachable from the cluster's network only.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }

    /// The control group of the cluster, relative to the root of each hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("flare-cluster-{}", self.name)
    }

    /// The arguments that make another process of the harness use the same paths.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            format!("--name={}", self.name),
            format!("--cache={}", text(&self.cache)),
            format!("--state={}", text(&self.root)),
        ]
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ensure!(
        fits,
        "a cluster's name is 1 to {NAME_MAX_BYTES} of a-z, 0-9 and '-', and begins with a letter; \
         {name:?} is not"
    );
    Ok(())
}

fn folder(given: Option<PathBuf>, variable: &str, below_home: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => base(variable, below_home)?.join("flare-operator/cluster"),
    };
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    // The cluster sees a /run of its own, which would hide it.
    if path.starts_with("/run") {
        bail!("{} is below /run, where the cluster cannot see it; name another", path.display());
    }
    Ok(path)
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let home = env::var_os("HOME")
        .with_context(|| format!("neither HOME nor {variable} is set; name the folders by hand"))?;
    Ok(Path::new(&home).join(below_home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for name in ["lab", "a", "ci-2"] {
            check_name(name).expect(name);
        }
        for name in ["", "..", "a/b", "Lab", "2lab", "-x", "abcdefghijklmnopqrstu", "a b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn folders_that_the_cluster_would_hide_are_refused() {
        let error = folder(Some("/run".into()), "NONE", "").expect_err("below /run");
        assert!(error.to_string().contains("below /run"), "{error}");
    }
}

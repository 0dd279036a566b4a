//! The programs a cluster is made of: which Go module pins each, and building them once into the
//! cache. A module's folder there is named after everything that its programs are made from, so a
//! changed go.sum builds anew and two checkouts that agree share what is built.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::command::{run, words};
use super::go;
use super::needs;
use super::paths::Paths;
use crate::retry;

/// How the name of a program ends while it is built; the number of the process follows.
const UNFINISHED: &str = "unfinished-";

/// One program, and where it comes from.
struct Part {
    name: &'static str,
    /// A folder below e2e/cluster/parts.
    module: &'static str,
    package: &'static str,
}

const fn part(name: &'static str, module: &'static str, package: &'static str) -> Part {
    Part { name, module, package }
}

/// In the order in which they are built: short ones first, so that a typing error in a go.mod
/// shows early.
const PARTS: &[Part] = &[
    part("pause", "pods", "./pause"),
    part("probe", "pods", "./probe"),
    part("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    part("containerd", "containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    part(
        "containerd-shim-runc-v2",
        "containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    ),
    part("ctr", "containerd", "github.com/containerd/containerd/v2/cmd/ctr"),
    part("coredns", "coredns", "."),
    part("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    part("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    part("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    part("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    part("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet"),
    part("kube-proxy", "kubernetes", "k8s.io/kubernetes/cmd/kube-proxy"),
];

/// Where the built programs are.
pub(crate) struct Built {
    folder: PathBuf,
    /// From a part's name to its path below `folder`.
    programs: BTreeMap<&'static str, PathBuf>,
}

impl Built {
    /// Looks up what is built, without building. `is_complete` says whether anything is missing.
    pub(crate) fn look_up(paths: &Paths) -> Result<Self> {
        let mut programs = BTreeMap::new();
        for part in PARTS {
            programs.insert(part.name, Path::new(&key(part.module)?).join(part.name));
        }
        Ok(Self { folder: paths.cache().join("parts"), programs })
    }

    /// Builds what is missing, a line per part. What an earlier, cut-off build finished is kept,
    /// also inside a part: Go's own cache holds each package that was compiled.
    pub(crate) fn complete(paths: &Paths) -> Result<Self> {
        let built = Self::look_up(paths)?;
        if built.is_complete() {
            return Ok(built);
        }
        needs::check_for_build()?;
        fs::create_dir_all(&built.folder)
            .with_context(|| format!("make {}", built.folder.display()))?;
        let lock_path = built.folder.join("build.lock");
        let lock =
            File::create(&lock_path).with_context(|| format!("open {}", lock_path.display()))?;
        if lock.try_lock().is_err() {
            say!("another build is under way; waiting for it");
            lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
        }
        built.remove_unfinished()?;
        say!("building the parts in {} (about ten minutes, once)", built.folder.display());
        let go = go::program()?;
        for (index, part) in PARTS.iter().enumerate() {
            built.build(&go, part, index + 1)?;
        }
        Ok(built)
    }

    /// Whether every part is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.programs.values().all(|program| self.folder.join(program).exists())
    }

    /// The folder that holds all parts.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A part's program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(self.below(name))
    }

    /// A part's program, relative to [`Self::folder`].
    pub(crate) fn below(&self, name: &str) -> &Path {
        self.programs.get(name).expect("callers name a part of the table above")
    }

    /// Removes what cut-off builds left. Whoever calls this holds the lock.
    fn remove_unfinished(&self) -> Result<()> {
        for program in self.programs.values() {
            let folder = self.folder.join(program.parent().unwrap_or(program));
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let kind = path.extension().and_then(|extension| extension.to_str());
                if kind.is_some_and(|kind| kind.starts_with(UNFINISHED)) {
                    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
                }
            }
        }
        Ok(())
    }

    fn build(&self, go: &Path, part: &Part, number: usize) -> Result<()> {
        let program = self.program(part.name);
        let position = format!("[{number}/{}] {}", PARTS.len(), part.name);
        if program.exists() {
            say!("{position}: there already");
            return Ok(());
        }
        say!("{position}: building");
        let started = Instant::now();
        let folder = program.parent().expect("a program is in its module's folder");
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        // Named away first, so that a build that is cut off leaves no half program behind.
        let unfinished = program.with_extension(format!("{UNFINISHED}{}", std::process::id()));
        // Go gets modules as it needs them, and keeps what it got and what it compiled.
        let mut go_build = go_build(go, part, &unfinished)?;
        retry::fetching(&format!("build {}", part.name), || run(&mut go_build))
            .context("start again to go on")?;
        fs::rename(&unfinished, &program).with_context(|| format!("name {}", program.display()))?;
        let size = fs::metadata(&program).map_or(0, |found| found.len());
        say!("{position}: {} MB in {:.0?}", size / 1_000_000, started.elapsed());
        Ok(())
    }
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/parts")
}

fn go_build(go: &Path, part: &Part, output: &Path) -> Result<Command> {
    // Whoever ends this program, however, ends the build with it: `go` by the kernel's signal, and
    // the compilers that it started as members of its namespace, which only root can make.
    let root = rustix::process::geteuid().is_root();
    let mut command = words(match root {
        true => "setpriv --pdeathsig KILL unshare --pid --fork --kill-child=KILL",
        false => "setpriv --pdeathsig INT",
    });
    // Others may work on this machine; on an idle one this costs nothing.
    command.args(["nice", "-n", "19"]).arg(go).args(["build", "-mod=readonly", "-trimpath"]);
    // btrfs needs C headers; nothing here is on btrfs.
    command.args(["-tags", "no_btrfs", "-ldflags", &linker_flags(part.module)?, "-o"]);
    command.arg(output).arg(part.package);
    command.current_dir(modules().join(part.module));
    command.env("CGO_ENABLED", "0").env("GOWORK", "off").env("GOTOOLCHAIN", "auto");
    Ok(command)
}

/// Strips the program. Kubernetes also has to be told its own version, or the server says v0.0.0
/// and clients that check it refuse.
fn linker_flags(module: &str) -> Result<String> {
    let mut flags = "-s -w".to_owned();
    if module == "kubernetes" {
        let version = kubernetes_version()?;
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or(""), numbers.next().unwrap_or(""));
        for (name, value) in
            [("gitVersion", version.as_str()), ("gitMajor", major), ("gitMinor", minor)]
        {
            flags += &format!(" -X k8s.io/component-base/version.{name}={value}");
        }
    }
    Ok(flags)
}

/// The version that the go.mod of the module "kubernetes" requires.
fn kubernetes_version() -> Result<String> {
    let path = modules().join("kubernetes/go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let required = text.lines().find_map(|line| {
        line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes v")
    });
    match required {
        // A comment may follow.
        Some(rest) => Ok(format!("v{}", rest.split_whitespace().next().unwrap_or_default())),
        None => bail!("{} does not require k8s.io/kubernetes", path.display()),
    }
}

/// The name of a module's folder in the cache: everything that makes its programs what they are.
fn key(module: &str) -> Result<String> {
    let folder = modules().join(module);
    let mut files = Vec::new();
    sources(&folder, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    hash.update(std::env::consts::ARCH);
    hash.update(linker_flags(module)?);
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
        let name = file.strip_prefix(&folder).unwrap_or(&file);
        hash.update(format!("\0{} {}\0", name.display(), bytes.len()));
        hash.update(bytes);
    }
    let digits: String = hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{module}-{digits}"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            sources(&path, found)?;
        } else if matches!(kind, Some("go" | "mod" | "sum")) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_pinned_by_a_module() {
        for part in PARTS {
            let folder = modules().join(part.module);
            let text = fs::read_to_string(folder.join("go.mod")).expect("go.mod");
            let own = part.package.starts_with('.');
            assert!(own || text.contains(part.package), "{}", part.name);
            assert!(part.module == "pods" || folder.join("go.sum").exists(), "{}", part.name);
        }
    }

    #[test]
    fn kubernetes_is_told_its_version() {
        let flags = linker_flags("kubernetes").expect("flags");
        assert!(flags.contains("version.gitVersion=v1."), "{flags}");
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
        assert!(flags.split_whitespace().all(|w| w.starts_with('-') || w.contains('=')), "{flags}");
    }

    #[test]
    fn modules_have_keys_of_their_own() {
        let keys = ["pods", "etcd", "containerd", "coredns", "kubernetes"].map(|module| {
            let found = key(module).expect("key");
            assert!(found.starts_with(module), "{found}");
            found
        });
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
        assert_eq!(key("etcd").expect("key"), keys[1]);
    }
}

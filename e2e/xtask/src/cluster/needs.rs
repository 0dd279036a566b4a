//! What the machine must have before a cluster can start, and how to get what is missing. All of
//! it is looked for at once, so that nobody has to come back once per program.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::install::{self, Program};

/// A program, what it is for, and the packages that hold it on Debian and on Fedora.
struct Need(&'static str, &'static str, &'static str, &'static str);

const NEEDS: &[Need] = &[
    Need("runc", "runs the containers", "runc", "runc"),
    Need("nft", "writes the rules of Services", "nftables", "nftables"),
    Need("ip", "makes the network", "iproute2", "iproute"),
    Need("mount", "makes the mounts", "mount", "util-linux"),
    Need("nsenter", "enters namespaces", "util-linux", "util-linux"),
    Need("unshare", "makes namespaces", "util-linux", "util-linux"),
    Need("openssl", "makes the key that signs service accounts' tokens", "openssl", "openssl"),
    SETPRIV,
    Need("pgrep", "finds a part for the suite", "procps", "procps-ng"),
];

const SETPRIV: Need =
    Need("setpriv", "ends a build together with this program", "util-linux", "util-linux");

const GO: Need = Need(
    "go",
    "builds Kubernetes, once (any version gets the one it takes)",
    "golang-go",
    "golang",
);

const CNI: Need = Need(
    "ptp, host-local",
    "network plugins that connect pods",
    "containernetworking-plugins",
    "containernetworking-plugins",
);

/// Where distributions put the network plugins.
const CNI_FOLDERS: [&str; 4] =
    ["/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin", "/usr/local/lib/cni"];

/// What is missing for a start, or for the build that comes before it.
fn missing(parts_are_built: bool) -> Vec<&'static Need> {
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|need| find(need.0).is_none()).collect();
    if cni_folder().is_err() {
        missing.push(&CNI);
    }
    if !parts_are_built && find("go").is_none() {
        missing.push(&GO);
    }
    missing
}

/// Installs what is missing, as [`install::packages`] may.
pub(crate) fn install(parts_are_built: bool) -> Result<()> {
    let named = |Need(program, purpose, debian, _): &Need| Program {
        name: program,
        package: debian,
        used_by: purpose,
    };
    let wanted: Vec<Program> = missing(parts_are_built).into_iter().map(named).collect();
    install::packages(&wanted.iter().collect::<Vec<_>>())
}

/// Refuses to go on unless everything that starting a cluster needs is here.
pub(crate) fn check_for_start(parts_are_built: bool) -> Result<()> {
    let missing = missing(parts_are_built);
    let root = rustix::process::geteuid().is_root();
    if root && missing.is_empty() {
        return Ok(());
    }
    bail!("{}", report(root, &missing));
}

/// Refuses to go on unless the parts can be built.
pub(crate) fn check_for_build() -> Result<()> {
    let needed = [&GO, &SETPRIV].into_iter().filter(|need| find(need.0).is_none());
    match needed.collect::<Vec<_>>()[..] {
        [] => Ok(()),
        ref missing => bail!("{}", report(true, missing)),
    }
}

/// The folder that holds the network plugins.
pub(crate) fn cni_folder() -> Result<PathBuf> {
    CNI_FOLDERS
        .iter()
        .map(PathBuf::from)
        .find(|folder| folder.join("ptp").exists() && folder.join("host-local").exists())
        .with_context(|| format!("no network plugins in any of {}", CNI_FOLDERS.join(", ")))
}

/// The first program of that name on PATH, or where administrators' programs are.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_file(candidate))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

fn report(root: bool, missing: &[&Need]) -> String {
    let mut text = "a cluster cannot start on this machine yet:\n".to_owned();
    if !root {
        text += "  it makes namespaces, mounts and control groups, which only root may: \
                 run it with sudo\n";
    }
    for Need(program, purpose, ..) in missing {
        let _ = writeln!(text, "  {program} is missing ({purpose})");
    }
    for (tool, column) in [("apt-get install", 0), ("dnf install", 1)] {
        let mut packages: Vec<&str> = missing
            .iter()
            .map(|Need(_, _, debian, fedora)| if column == 0 { *debian } else { *fedora })
            .collect();
        packages.sort_unstable();
        packages.dedup();
        if !packages.is_empty() {
            let _ = writeln!(text, "  get it with: {tool} {}", packages.join(" "));
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_together_with_the_way_to_get_it() {
        let text = report(false, &[&NEEDS[0], &GO, &CNI]);
        assert!(text.contains("run it with sudo"), "{text}");
        assert!(text.contains("runc is missing (runs the containers)"), "{text}");
        assert!(
            text.contains("apt-get install containernetworking-plugins golang-go runc"),
            "{text}"
        );
        assert!(text.contains("dnf install containernetworking-plugins golang runc"), "{text}");
    }

    #[test]
    fn programs_are_found_on_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}

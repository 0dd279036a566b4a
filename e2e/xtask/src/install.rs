//! Makes sure that the programs a test needs are there: installs them where it may (Debian, root),
//! else names them and how to get them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{retry, run};

/// A program that tests need beside the Rust tool chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// The name it is started by.
    pub(crate) name: &'static str,
    /// The Debian package that brings it.
    pub(crate) package: &'static str,
    /// What needs it, for a person.
    pub(crate) used_by: &'static str,
}

/// Checks the format of `/metrics`.
pub(crate) const PROMTOOL: Program =
    Program { name: "promtool", package: "prometheus", used_by: "the test of /metrics" };

/// The browser that opens the page.
pub(crate) const CHROMIUM: Program =
    Program { name: "chromium", package: "chromium", used_by: "the test of the page" };

/// The newcomer's way to talk to a node; a test runs the lines that the sandbox prints.
pub(crate) const NETCAT: Program =
    Program { name: "nc", package: "netcat-openbsd", used_by: "the test of the sandbox" };

/// Installs those of `programs` that are missing, all in one go.
pub(crate) fn programs(programs: &[Program]) -> Result<()> {
    packages(&programs.iter().filter(|p| find(p.name).is_none()).collect::<Vec<_>>())
}

/// Installs the packages of programs that are missing, all in one go.
pub(crate) fn packages(missing: &[&Program]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    if !may_install() {
        let named: Vec<String> =
            missing.iter().map(|p| format!("`{}` ({})", p.name, p.used_by)).collect();
        bail!(
            "these programs are missing: {}. On Debian: apt-get install {}",
            named.join(", "),
            packages.join(" ")
        );
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    // Together: an update that got only a part of the lists succeeds, and fails what follows.
    retry::fetching(&format!("install {}", packages.join(", ")), || {
        apt(&["update"])?;
        apt(&install)
    })
}

/// Where a program is, by the search path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Packages are installed only where that needs no question: as root, on a Debian.
fn may_install() -> bool {
    let root = Command::new("id").arg("-u").output();
    let is_root = root.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && find("apt-get").is_some()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    // A machine that was just started may be installing its own updates.
    let patience = ["--option=Acquire::Retries=3", "--option=DPkg::Lock::Timeout=300"];
    command.arg("--quiet").args(patience).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    run::must(&mut command)
}

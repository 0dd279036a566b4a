//! The Go that builds the parts. What a distribution brings is often older than what the parts
//! ask for; from 1.21 on `go` gets a newer one by itself, for an older one it is done here: Go's
//! releases are modules too, so they come checked from where modules come from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::command::run;
use crate::retry;

/// What is got where `go` is too old to get it by itself: as new as any part asks for.
const RELEASE: &str = "1.26.8";

/// The first 1.x that gets newer ones by itself.
const GETS_NEWER: u32 = 21;

/// A `go` that builds the parts.
pub(super) fn program() -> Result<PathBuf> {
    let version = run(Command::new("go").args(["env", "GOVERSION"]))?;
    match minor(&version) {
        Some(minor) if minor >= GETS_NEWER => Ok("go".into()),
        Some(_) => get().with_context(|| format!("get Go {RELEASE}; the one here is {version}")),
        None => bail!("`go env GOVERSION` says {version:?}, which is no version of Go"),
    }
}

/// 21 for `go1.21.3`.
fn minor(version: &str) -> Option<u32> {
    version.trim().strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn get() -> Result<PathBuf> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let module = format!("golang.org/toolchain@v0.0.1-go{RELEASE}.linux-{architecture}");
    say!("getting Go {RELEASE}");
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", &module]).env("GOFLAGS", "-mod=mod");
    // Not inside a module, whose go.mod the old one could not read.
    download.current_dir("/");
    let said = retry::fetching("get Go", || run(&mut download))?;
    let answer: Value = serde_json::from_str(&said).context("read what go says")?;
    let folder = Path::new(answer["Dir"].as_str().context("go does not say where it is")?);
    // Modules hold no programs, so nothing in one may be started.
    may_be_started(&folder.join("bin"))?;
    may_be_started(&folder.join(format!("pkg/tool/linux_{architecture}")))?;
    Ok(folder.join("bin/go"))
}

fn may_be_started(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o555))
            .with_context(|| format!("make {} a program", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    #[test]
    fn versions_are_read() {
        assert_eq!(minor("go1.19.8\n"), Some(19));
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.21rc2"), Some(21));
        assert_eq!(minor("devel +abc"), None);
    }

    #[test]
    fn what_is_got_is_new_enough_for_every_part() {
        let numbers = |text: &str| -> Vec<u32> {
            text.split('.').map(|number| number.parse().expect(text)).collect()
        };
        let parts = repository().join("e2e/cluster/parts");
        for folder in fs::read_dir(parts).expect("the parts") {
            let path = folder.expect("a part").path().join("go.mod");
            let text = fs::read_to_string(&path).expect("go.mod");
            let wanted = text.lines().find_map(|line| line.strip_prefix("go ")).expect("a version");
            assert!(numbers(wanted) <= numbers(RELEASE), "{}: {wanted}", path.display());
        }
    }
}

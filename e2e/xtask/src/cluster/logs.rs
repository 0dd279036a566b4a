//! `logs`: which there are, and what is in one.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, bail};

use super::children::{last_lines, log_of};
use super::paths::Paths;
use super::record::LOOK_AGAIN;

/// Shows the last lines of a part's log, or which logs there are.
pub(crate) fn show(
    paths: &Paths,
    part: Option<&str>,
    lines: usize,
    follow: bool,
) -> Result<ExitCode> {
    let names = names(paths)?;
    let Some(part) = part else {
        say!("{}", names.join("\n"));
        return Ok(ExitCode::SUCCESS);
    };
    let path = log_of(&paths.logs(), part);
    if !path.exists() {
        bail!("there is no log of {part:?}; there are: {}", names.join(", "));
    }
    for line in last_lines(&path, lines) {
        say!("{line}");
    }
    if follow {
        let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        file.seek(SeekFrom::End(0)).context("find the log's end")?;
        // Until the cluster and its logs are gone.
        while path.exists() {
            let mut more = Vec::new();
            file.read_to_end(&mut more).with_context(|| format!("read {}", path.display()))?;
            std::io::stdout().write_all(&more).context("show the log")?;
            thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn names(paths: &Paths) -> Result<Vec<String>> {
    let folder = paths.logs();
    let entries =
        fs::read_dir(&folder).with_context(|| format!("there is no cluster {:?}", paths.name()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".log").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

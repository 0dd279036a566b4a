//! `flare-e2e suite` and `flare-e2e replay`: their arguments, and what is run from them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use regex_lite::Regex;

use super::cases;
use super::context::Env;
use super::index::IndexProgram;
use super::node::NodeProgram;
use super::ports::Ports;
use super::runner::{Case, Plan, run};

/// Run the end-to-end suites; writes TAP version 14.
#[derive(Debug, clap::Args)]
pub struct SuiteArgs {
    #[command(flatten)]
    common: RunArgs,
    /// Use upstream's flared for the nodes instead of the stand-in.
    #[arg(long, value_name = "PATH")]
    real_flared: Option<PathBuf>,
}

/// Replay the recorded transcripts of an index; writes TAP version 14.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    common: RunArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// List the names of the tests that would run, and run none.
    #[arg(long)]
    list: bool,
    /// Run only tests whose name matches this regular expression.
    #[arg(long, value_name = "RE")]
    filter: Option<Regex>,
    /// The index under test: flare-operator, or upstream's flarei (known by its file name).
    /// Default: flare-operator beside this program.
    #[arg(long, value_name = "PATH")]
    index: Option<PathBuf>,
    /// How many tests run at a time. They wait most of the time.
    #[arg(long, default_value_t = 4, value_name = "N")]
    jobs: usize,
    /// Folder for the tests' scratch folders. Default: a new one in memory (/dev/shm), so that a
    /// busy disk does not slow the tests down, or in the temporary folder.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Keep the scratch folders of tests that pass, too.
    #[arg(long)]
    keep: bool,
}

impl SuiteArgs {
    /// Runs what the arguments ask for; true if nothing failed.
    pub async fn run(self) -> Result<bool> {
        let nodes = match &self.real_flared {
            Some(path) => NodeProgram::Flared(existing(path)?),
            None => NodeProgram::StandIn(own_path()?),
        };
        self.common.run(cases::suites(), nodes).await
    }
}

impl ReplayArgs {
    /// Runs what the arguments ask for; true if nothing failed.
    pub async fn run(self) -> Result<bool> {
        // nodes are played from the recording
        let nodes = NodeProgram::StandIn(own_path()?);
        self.common.run(crate::replay_index::cases(), nodes).await
    }
}

impl RunArgs {
    async fn run(self, cases: Vec<Case>, nodes: NodeProgram) -> Result<bool> {
        let wanted = |case: &Case| self.filter.as_ref().is_none_or(|re| re.is_match(case.name));
        let cases: Vec<Case> = cases.into_iter().filter(wanted).collect();
        if self.list {
            let mut out = io::stdout().lock();
            for case in &cases {
                writeln!(out, "{}", case.name)?;
            }
            return Ok(true);
        }
        if cases.is_empty() {
            bail!("no test matches the filter; --list shows all names");
        }
        let index = index_program(self.index.as_deref())?;
        let env = Arc::new(Env { index, nodes, ports: Ports::new() });
        let scratch = match self.scratch {
            Some(folder) => folder,
            None => tempfile::Builder::new().prefix("flare-suite-").tempdir_in(roomy())?.keep(),
        };
        let plan = Plan { cases, env, jobs: self.jobs, scratch: scratch.clone(), keep: self.keep };
        let passed = run(plan, io::stdout()).await?;
        // only an empty folder goes: what a failed test left stays
        std::fs::remove_dir(&scratch).ok();
        Ok(passed)
    }
}

/// Where scratch folders are made by default.
fn roomy() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn own_path() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

fn index_program(given: Option<&Path>) -> Result<IndexProgram> {
    let path = match given {
        Some(path) => existing(path)?,
        None => existing(&own_path()?.with_file_name("flare-operator"))
            .context("build it (cargo build), or name the index under test with --index")?,
    };
    let upstream = path.file_name().is_some_and(|name| name.to_string_lossy().contains("flarei"));
    Ok(if upstream { IndexProgram::Flarei(path) } else { IndexProgram::Ours(path) })
}

fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("there is no program {}", path.display()))
}

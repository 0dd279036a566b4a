//! `cargo xtask cluster suite`: shows that what the tests of this repository rely on is there, by
//! using each thing once on a cluster that it starts and ends, and that nothing stays behind when
//! a cluster ends, however it ends. Writes TAP version 14.

mod cases;
mod harness;
mod index;
mod lab;
mod leftovers;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use flare_e2e::suite::tap::{Tap, Verdict};

use super::paths::Paths;
use super::plan::Plan;
use super::up::{self, Held};
use crate::repository;
use lab::Lab;
use leftovers::{Before, Namespaces};

/// How a cluster of the suite is shaped: a zone per node, as the operator's tests want it.
const PLAN: Plan = Plan { nodes: 3, zones: 3, dns_cache_s: 5 };

/// One test.
struct Case {
    /// Its name in the report, `group/what-holds`.
    name: &'static str,
    run: fn(&Lab) -> Result<()>,
}

const fn case(name: &'static str, run: fn(&Lab) -> Result<()>) -> Case {
    Case { name, run }
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// The cluster itself and its harness.
    Cluster,
    /// deploy/index: the index and nodes in pods.
    Index,
}

/// What is asked of a run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// What to test
    #[arg(value_enum, default_value_t = Subject::Cluster)]
    subject: Subject,
    /// Only tests with this in their name
    #[arg(long, default_value = "")]
    filter: String,
    /// Name the tests, and run none
    #[arg(long)]
    list: bool,
    /// A flared of your own for the pods of `suite index`, instead of the stand-in
    #[arg(long, value_name = "PROGRAM")]
    flared: Option<PathBuf>,
    /// How many seconds the cluster's DNS keeps an answer; most clusters have 30
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    dns_cache: u32,
}

/// Runs the tests that are asked for.
pub(super) fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let chosen = |case: &Case| case.name.contains(&options.filter);
    let (inside, outside) = match options.subject {
        Subject::Cluster => (cases::all(), harness::all()),
        Subject::Index => (index::all(), Vec::new()),
    };
    let inside: Vec<Case> = inside.into_iter().filter(chosen).collect();
    let outside: Vec<Case> = outside.into_iter().filter(chosen).collect();
    if options.list {
        inside.iter().chain(&outside).for_each(|case| say!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    let count = inside.len() + outside.len() + usize::from(!inside.is_empty());
    if count == 0 {
        bail!("no test has a name with {:?} in it; --list shows all", options.filter);
    }
    up::ready_to_start(paths)?;
    let started = Instant::now();
    let lab = Lab::new(paths.beside("suite")?).with_flared(options.flared.clone());
    let mut tap = Tap::start(io::stdout(), count).context("write the report")?;
    if !inside.is_empty() {
        on_a_cluster(&lab, options, &inside, &mut tap)?;
    }
    for case in outside {
        report(&mut tap, &case, &lab)?;
    }
    let took = started.elapsed().as_secs_f64();
    tap.comment(&format!("all in {took:.1} s")).context("write the report")?;
    let passed = tap.finish().context("write the report")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs tests on one cluster, one after another.
fn on_a_cluster(
    lab: &Lab,
    options: &Options,
    cases: &[Case],
    tap: &mut Tap<io::Stdout>,
) -> Result<()> {
    let (plan, prepare): (_, fn(&Lab) -> Result<()>) = match options.subject {
        Subject::Cluster => (PLAN, cases::prepare),
        Subject::Index => (Plan { dns_cache_s: options.dns_cache, ..PLAN }, index::prepare),
    };
    let started = Instant::now();
    let before = Before::now(lab.paths())?;
    let held = lab.start(&plan);
    let prepared = held.and_then(|held| match prepare(lab) {
        Ok(()) => Ok(held),
        Err(error) => {
            keep_logs(lab, "prepare");
            Err(error)
        }
    });
    let after = started.elapsed().as_secs_f64();
    tap.comment(&format!("prepared after {after:.1} s")).context("write the report")?;
    for case in cases {
        if let Err(error) = &prepared {
            let why = Verdict::Failed(format!("no cluster to test: {error:#}"));
            tap.point(case.name, &why, Duration::ZERO, None).context("write the report")?;
        } else {
            report(tap, case, lab)?;
        }
    }
    let started = Instant::now();
    let verdict = match prepared.and_then(|held| nothing_stays_behind(lab, held, &before)) {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    let name = "harness/nothing-stays-behind-of-it";
    tap.point(name, &verdict, started.elapsed(), None).context("write the report")
}

/// Ends the cluster, with all pods and volumes that its tests left in it.
fn nothing_stays_behind(lab: &Lab, held: Held, before: &Before) -> Result<()> {
    let namespaces = Namespaces::of(lab.paths())?;
    held.end()?;
    before.is_again(&namespaces)
}

fn report(tap: &mut Tap<io::Stdout>, case: &Case, lab: &Lab) -> Result<()> {
    let started = Instant::now();
    // A part that died fails the test during which it died, and no other.
    let outcome = (case.run)(lab).and_then(|()| lab.check_parts());
    let (verdict, logs) = match outcome {
        Ok(()) => (Verdict::Passed, None),
        Err(error) => (Verdict::Failed(format!("{error:#}")), keep_logs(lab, case.name)),
    };
    let logs = logs.as_deref();
    for note in lab.notes() {
        tap.comment(&note).context("write the report")?;
    }
    tap.point(case.name, &verdict, started.elapsed(), logs).context("write the report")
}

/// Copies the logs of all parts as they were when a test failed, for whoever looks into it.
fn keep_logs(lab: &Lab, name: &str) -> Option<PathBuf> {
    let target = repository().join("target/cluster-suite").join(name.replace('/', "-"));
    let _ = fs::remove_dir_all(&target);
    fs::create_dir_all(&target).ok()?;
    for entry in fs::read_dir(lab.paths().logs()).ok()?.flatten() {
        fs::copy(entry.path(), target.join(entry.file_name())).ok()?;
    }
    for words in [
        "get pods --output=wide",
        "get events",
        "logs --prefix --selector=app=flare \
                   --tail=500",
        "logs --selector=app=flare-index --tail=2000",
    ] {
        let said = lab.kubectl(words).unwrap_or_else(|error| format!("{error:#}"));
        let name: String = words.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        fs::write(target.join(format!("kubectl-{name}.txt")), said).ok()?;
    }
    Some(target)
}

//! `cargo xtask cluster suite`: shows that what the tests of this repository rely on is there, by
//! using each thing once on a cluster that it starts and ends, and that nothing stays behind when
//! a cluster ends, however it ends. Writes TAP version 14.

mod cases;
mod harness;
mod lab;
mod leftovers;

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use flare_e2e::suite::tap::{Tap, Verdict};

use super::paths::Paths;
use super::plan::Plan;
use super::up;
use crate::repository;
use lab::Lab;

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

/// Runs the tests whose name contains `filter`; with `list` only names them.
pub(super) fn run(paths: &Paths, filter: &str, list: bool) -> Result<ExitCode> {
    let chosen = |case: &Case| case.name.contains(filter);
    let inside: Vec<Case> = cases::all().into_iter().filter(chosen).collect();
    let outside: Vec<Case> = harness::all().into_iter().filter(chosen).collect();
    if list {
        inside.iter().chain(&outside).for_each(|case| println!("{}", case.name));
        return Ok(ExitCode::SUCCESS);
    }
    let count = inside.len() + outside.len();
    if count == 0 {
        bail!("no test has a name with {filter:?} in it; --list shows all");
    }
    up::ready_to_start(paths)?;
    let started = Instant::now();
    let lab = Lab::new(paths.beside("suite")?);
    let mut tap = Tap::start(io::stdout(), count).context("write the report")?;
    if !inside.is_empty() {
        let prepared = lab.start(&PLAN).and_then(|held| cases::prepare(&lab).map(|()| held));
        let after = started.elapsed().as_secs_f64();
        tap.comment(&format!("prepared after {after:.1} s")).context("write the report")?;
        for case in inside {
            match &prepared {
                Ok(_) => report(&mut tap, &case, &lab)?,
                Err(error) => {
                    let why = Verdict::Failed(format!("no cluster to test: {error:#}"));
                    tap.point(case.name, &why, Duration::ZERO, None).context("write the report")?;
                }
            }
        }
        if let Ok(held) = prepared {
            held.end()?;
        }
    }
    for case in outside {
        report(&mut tap, &case, &lab)?;
    }
    let took = started.elapsed().as_secs_f64();
    tap.comment(&format!("all in {took:.1} s")).context("write the report")?;
    let passed = tap.finish().context("write the report")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    tap.point(case.name, &verdict, started.elapsed(), logs).context("write the report")
}

/// Copies the logs of all parts as they were when a test failed, for whoever looks into it.
fn keep_logs(lab: &Lab, name: &str) -> Option<std::path::PathBuf> {
    let target = repository().join("target/cluster-suite").join(name.replace('/', "-"));
    let _ = fs::remove_dir_all(&target);
    fs::create_dir_all(&target).ok()?;
    for entry in fs::read_dir(lab.paths().logs()).ok()?.flatten() {
        fs::copy(entry.path(), target.join(entry.file_name())).ok()?;
    }
    Some(target)
}

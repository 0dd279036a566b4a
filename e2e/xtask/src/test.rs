//! `cargo xtask test`: every kind of test, one after the other, and one sum at the end.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::install;
use crate::run;
use crate::tally::{Dialect, Tally};

#[derive(Args)]
pub(crate) struct Options {
    /// Run only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// The kinds of tests, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit, script, property, actor and integration tests
    Cargo,
    /// The recorded wire transcripts, against the index and the stand-in node
    Replay,
    /// The end-to-end suites: the shipped binary and stand-in nodes on real sockets
    Suites,
}

const ALL: [Part; 3] = [Part::Cargo, Part::Replay, Part::Suites];

/// Runs the chosen parts and prints what they came to.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    let mut tally = Tally::default();
    let parts = if options.only.is_empty() { &ALL[..] } else { &options.only };
    for part in parts {
        run_part(*part, &mut tally);
    }
    Ok(finish(&tally))
}

/// Runs all parts, for `cargo xtask ci`.
pub(crate) fn all(tally: &mut Tally) {
    for part in ALL {
        run_part(part, tally);
    }
}

/// Prints the sum as the last line; the exit code says the same.
pub(crate) fn finish(tally: &Tally) -> ExitCode {
    print!("{}", tally.summary());
    if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_part(part: Part, tally: &mut Tally) {
    match part {
        Part::Cargo => {
            tally.add(run::step("programs for cargo test", || {
                install::programs(&[install::PROMTOOL])
            }));
            let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
            tally.add(run::counted("cargo test", Dialect::Cargo, &mut command));
        }
        Part::Replay => end_to_end("wire replay", "replay", tally),
        Part::Suites => end_to_end("end-to-end suites", "suite", tally),
    }
}

/// Runs a subcommand of `flare-e2e` that prints TAP, after building what it starts.
fn end_to_end(part: &str, subcommand: &str, tally: &mut Tally) {
    if !crate::repository().join("e2e/src/main.rs").exists() {
        return;
    }
    let built = run::step("build the binaries", || {
        run::must(&mut cargo(&["build", "--workspace", "--bins", "--locked"]))
    });
    let could_build = built.failed == 0;
    tally.add(built);
    if could_build {
        let mut command = cargo(&["run", "--quiet", "--locked", "--package", "flare-e2e", "--"]);
        command.arg(subcommand);
        tally.add(run::counted(part, Dialect::Tap, &mut command));
    }
}

/// A cargo command at the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(crate::repository());
    command
}

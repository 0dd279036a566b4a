//! `cargo xtask test`: every kind of test, one after the other, and one sum at the end.

use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cluster;
use crate::install;
use crate::retry;
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
    /// The page, in a real browser
    Browser,
    /// A real Kubernetes, and the index and nodes in its pods; needs root, and runs only when named
    Kubernetes,
}

/// Those that any machine can run.
const ALL: [Part; 4] = [Part::Cargo, Part::Replay, Part::Suites, Part::Browser];

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
    say!("{}", tally.summary().trim_end());
    if tally.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_part(part: Part, tally: &mut Tally) {
    match part {
        Part::Cargo => {
            let programs = [install::PROMTOOL, install::NETCAT];
            needed("cargo test", tally, || install::programs(&programs));
            let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
            // Tests that compare with upstream's program are ignored where there is none.
            if std::env::var_os("FLARE_REAL_FLARED").is_some() {
                command.args(["--", "--include-ignored"]);
            }
            tally.add(run::counted("cargo test", Dialect::Cargo, &mut command));
        }
        Part::Replay => end_to_end("wire replay", "replay", tally),
        Part::Suites => end_to_end("end-to-end suites", "suite", tally),
        Part::Browser => browser(tally),
        Part::Kubernetes => {
            if kubernetes_can_run(tally) {
                kubernetes(tally);
            }
        }
    }
}

/// Installs what a cluster needs, and tells what in this machine is in its way.
pub(crate) fn kubernetes_can_run(tally: &mut Tally) -> bool {
    needed("Kubernetes", tally, || {
        cluster::install_needs()?;
        run::must(beside("xtask").args(["cluster", "check"]))
    })
}

/// Builds a cluster's parts, if they are not there, and runs the suites that need one.
pub(crate) fn kubernetes(tally: &mut Tally) {
    // Its own name, so that neither another run nor somebody's cluster is in its way.
    let name = format!("ci-{}", std::process::id());
    let cluster = |words: &[&str]| {
        let mut command = beside("xtask");
        command.arg("cluster").args(words).args(["--name", &name]);
        command
    };
    if !needed("Kubernetes", tally, || build().and_then(|()| run::must(&mut cluster(&["build"])))) {
        return;
    }
    tally.add(run::counted("Kubernetes", Dialect::Tap, &mut cluster(&["suite"])));
    for seconds in ["0", "30"] {
        let part = format!("the index in pods, DNS cache {seconds} s");
        let mut suite = cluster(&["suite", "index", "--dns-cache", seconds]);
        tally.add(run::counted(&part, Dialect::Tap, &mut suite));
    }
}

/// Does what a part needs first. Nothing is counted if it works; if not, the part's own failure
/// says what was missing.
fn needed(part: &str, tally: &mut Tally, work: impl FnOnce() -> Result<()>) -> bool {
    let row = run::step(&format!("what {part} needs"), work);
    let worked = row.failed == 0;
    if !worked {
        tally.add(row);
    }
    worked
}

/// Runs a subcommand of `flare-e2e` that prints TAP, after building what it starts.
fn end_to_end(part: &str, subcommand: &str, tally: &mut Tally) {
    if needed(part, tally, build) {
        let mut command = beside("flare-e2e");
        in_memory(&mut command);
        tally.add(run::counted(part, Dialect::Tap, command.arg(subcommand)));
    }
}

/// Scratch folders lie here where there is room: on a disk that others write to, a sync can take
/// longer than a node waits for its index, and tests of deadlines would depend on it.
const MEMORY_FOLDER: &str = "/dev/shm";

/// So much is free, in KiB; all scratch folders of a run together take a fraction of it.
const ROOM_KIB: u64 = 1024 * 1024;

/// Has a program make its scratch folders in memory, where there is room.
fn in_memory(command: &mut Command) {
    if has_room(MEMORY_FOLDER) {
        command.env("TMPDIR", MEMORY_FOLDER);
    }
}

fn has_room(folder: &str) -> bool {
    let output = Command::new("df").args(["--output=avail", "-k", folder]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok())
        .is_some_and(|free: u64| free > ROOM_KIB)
}

fn browser(tally: &mut Tally) {
    let part = "browser test";
    let folder = crate::repository().join("e2e/browser");
    let ready = needed(part, tally, || {
        install::programs(&[install::CHROMIUM])?;
        build()?;
        // npm puts what it has once fetched into a cache of its own.
        let mut install = Command::new("npm");
        install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder);
        retry::fetching("install what the browser test needs", || run::must(&mut install))
    });
    if ready {
        let sandbox = beside("flare-sandbox");
        let mut npm = Command::new("npm");
        npm.arg("test").current_dir(&folder).env("FLARE_SANDBOX", sandbox.get_program());
        in_memory(&mut npm);
        tally.add(run::counted(part, Dialect::Tap, &mut npm));
    }
}

/// The binaries that the tests start.
fn build() -> Result<()> {
    run::must(&mut cargo(&["build", "--workspace", "--bins", "--locked"]))
}

/// A program of this workspace: cargo puts them all into the folder that this one is in.
fn beside(program: &str) -> Command {
    let path = std::env::current_exe().map(|me| me.with_file_name(program));
    Command::new(path.unwrap_or_else(|_| program.into()))
}

/// A cargo command at the root of the repository.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(crate::repository());
    command
}

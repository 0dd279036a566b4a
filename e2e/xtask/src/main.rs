//! `cargo xtask`: the commands that README names, for a person and for CI alike.
//!
//! `test` runs every kind of test there is and says how many passed; `ci` runs what gates a
//! landing. Each subcommand is a module; this file only reads the command line.

#![deny(clippy::print_stdout)]

#[macro_use]
mod say;

mod bench;
mod ci;
mod cluster;
mod fuzz;
mod image;
mod install;
mod retry;
mod run;
mod skips;
mod tally;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of this repository", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests: unit and integration tests, wire replay, end-to-end suites, browser
    Test(test::Options),
    /// Run what gates a landing: format, clippy, docs, a short fuzz, and all tests
    Ci,
    /// Measure the index beside its floor, and beside upstream's flarei if told where it is
    #[command(disable_help_flag = true)]
    Bench(bench::Options),
    /// A real Kubernetes of several nodes on this machine, for tests
    Cluster(cluster::Args),
    /// The images of this repository, made without a container engine
    Image(image::Args),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test(options) => test::main(&options),
        Task::Ci => ci::main(),
        Task::Bench(options) => bench::main(&options),
        Task::Cluster(args) => cluster::run(args),
        Task::Image(args) => image::run(args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cargo xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// The repository's root folder: two above this package.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_path_buf()
}

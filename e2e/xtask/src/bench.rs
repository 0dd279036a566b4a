//! `cargo xtask bench`: builds the index and the benchmark program with optimisation and runs it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::run;
use crate::test::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// Handed on to the benchmark program; `--help` lists what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Prints the table of figures on standard output.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    run::must(&mut cargo(&["build", "--release", "--locked", "--package", "flare-operator"]))?;
    let mut bench = cargo(&["bench", "--locked", "--package", "flare-e2e", "--bench", "index"]);
    run::must(bench.arg("--").args(&options.arguments))?;
    Ok(ExitCode::SUCCESS)
}

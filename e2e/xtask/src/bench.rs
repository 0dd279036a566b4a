//! `cargo xtask bench [handover]`: builds what is measured and the benchmark program with
//! optimisation and runs it.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::run;
use crate::test::cargo;

#[derive(Args)]
pub(crate) struct Options {
    /// `handover` measures swaps of masters, without it the index is measured. The rest is handed
    /// on to the benchmark program; `--help` lists what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Prints the table of figures on standard output.
pub(crate) fn main(options: &Options) -> Result<ExitCode> {
    let (bench, arguments) = match options.arguments.split_first() {
        Some((first, rest)) if first == "handover" => ("handover", rest),
        _ => ("index", options.arguments.as_slice()),
    };
    let mut build = cargo(&["build", "--release", "--locked", "--package", "flare-operator"]);
    if bench == "handover" {
        // its nodes, unless they are upstream's
        build.args(["--package", "flare-e2e"]);
    }
    run::must(&mut build)?;
    let mut program = cargo(&["bench", "--locked", "--package", "flare-e2e", "--bench", bench]);
    run::must(program.arg("--").args(arguments))?;
    Ok(ExitCode::SUCCESS)
}

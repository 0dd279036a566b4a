//! `flare-e2e`: the test tools as one program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flare_e2e::suite::SuiteArgs;

/// Test tools for an index of GREE Flare: suites and what they need.
#[derive(Debug, Parser)]
#[command(name = "flare-e2e", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Suite(SuiteArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Suite(args) => args.run().await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flare-e2e: {error:#}");
            ExitCode::from(2)
        }
    }
}

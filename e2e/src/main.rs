//! `flare-e2e`: the test tools as one program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flare_e2e::cli::node::{NodeArgs, run as run_node};
use flare_e2e::load::LoadArgs;
use flare_e2e::suite::network::enter_own;
use flare_e2e::suite::{ReplayArgs, SuiteArgs};

/// Status of a node that does not start, as flared's.
const REFUSED: u8 = 255;

/// Test tools for an index of GREE Flare: suites, stand-in nodes and what they need.
#[derive(Debug, Parser)]
#[command(name = "flare-e2e", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Suite(SuiteArgs),
    Replay(ReplayArgs),
    Load(LoadArgs),
    /// Run a stand-in flared node until SIGTERM
    Node(Box<NodeArgs>),
}

fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => run(args.command),
        Err(error) => {
            // nothing is left to do if the text cannot be printed either
            let _ = error.print();
            let node = std::env::args().nth(1).is_some_and(|name| name == "node");
            match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if node => ExitCode::from(REFUSED),
                _ => ExitCode::from(2),
            }
        }
    }
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Suite(args) => match enter_own() {
            Ok(()) => run_tests(args.run()),
            Err(error) => {
                eprintln!("flare-e2e: {error:#}");
                ExitCode::from(2)
            }
        },
        Command::Replay(args) => run_tests(args.run()),
        Command::Load(args) => run_tests(args.run()),
        // it brings its own runtime: a node's process is single-threaded but for the node
        Command::Node(args) => run_node(*args),
    }
}

#[tokio::main]
async fn run_tests(tests: impl Future<Output = anyhow::Result<bool>>) -> ExitCode {
    match tests.await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flare-e2e: {error:#}");
            ExitCode::from(2)
        }
    }
}

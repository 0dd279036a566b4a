//! `flare-sandbox`: an index, stand-in nodes and the page on one machine, in one command.
//!
//! One binary plays all parts: as `flare-sandbox index …` it is flare-operator, as `flare-sandbox
//! node …` a stand-in node; else it starts those two kinds as child processes, does to them what
//! the page orders, and takes everything with it when it ends.

mod cluster;
mod control;
mod settings;
mod stop;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use flare_e2e::cli::node::NodeArgs;

use settings::Settings;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("index") => flare_operator::main(),
        Some("node") => match NodeProcess::parse() {
            NodeProcess::Node(args) => flare_e2e::cli::node::run(*args),
        },
        _ => sandbox(Settings::parse()),
    }
}

#[derive(Parser)]
enum NodeProcess {
    Node(Box<NodeArgs>),
}

fn sandbox(settings: Settings) -> ExitCode {
    // One thread: the kernel ends the children when the thread that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, cluster::run(settings))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flare-sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. A reader that has gone away is no reason to end: nodes may still be looked at.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

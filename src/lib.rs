//! The wiring of the binary: reads settings, starts the actors, listens to signals. Decides
//! nothing.
//!
//! * [`cli`]: the command line. [`flarei_conf`]: flarei's own settings, as flags and as its file.
//! * [`index`]: `flare-operator index`. [`transfer`]: `import` and `export` of flarei's map.
//! * [`ask`]: the commands for an index that runs. [`simulate`]: `flare-operator simulate`.

mod ask;
mod cli;
mod columns;
mod flarei_conf;
mod index;
mod limits;
mod outcome;
mod settings;
mod simulate;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

/// Runs the command line of this process. Errors are sentences on stderr; see
/// `flare-operator --help` for the exit codes.
pub fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Index(flags) => index::run(*flags),
        cli::Command::Status(flags) => ask::status(&flags),
        cli::Command::Switchover(flags) => ask::switchover(&flags),
        cli::Command::Leave(flags) => ask::leave(&flags),
        cli::Command::Recover(flags) => ask::recover(&flags),
        cli::Command::Breaker(order) => ask::breaker(&order),
        cli::Command::Import(flags) => transfer::import(&flags),
        cli::Command::Export(flags) => transfer::export(&flags),
        cli::Command::Simulate(simulate) => simulate::run(&simulate),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flare-operator: {error:#}");
            if error.is::<outcome::Misuse>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

//! Measures planned handovers: many swaps of a master with its slave under load, each followed by
//! a look at every key at every node.
//!
//! `cargo xtask bench handover --flared PATH --swaps 100 [--sync] [--pause] …` prints one line of a
//! table. Clients set, overwrite, delete, count and read the same keys through all nodes but the
//! old master (unless `--clients-at-old-master`), before, during and after each swap. What is
//! counted is what a client would notice, and whether the copies are equal afterwards.

mod swap;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use flare_e2e::suite::context::{Context, Env};
use flare_e2e::suite::index::IndexProgram;
use flare_e2e::suite::node::NodeProgram;
use flare_e2e::suite::ports::Ports;

use swap::{Course, Variant};
use table::Figures;

#[derive(Parser)]
#[command(name = "handover", about = "Measures swaps of masters under load")]
struct Args {
    /// The flare-operator to measure; the one built beside this program if left out
    #[arg(long)]
    index: Option<PathBuf>,
    /// Upstream's flared for the nodes; the stand-in if left out
    #[arg(long)]
    flared: Option<PathBuf>,
    /// How many swaps
    #[arg(long, default_value_t = 20)]
    swaps: usize,
    /// How many rounds without a swap, to see what the machine itself does
    #[arg(long, default_value_t = 10)]
    quiet: usize,
    /// Operations before each swap, and again after it
    #[arg(long, default_value_t = 1300)]
    operations: u64,
    /// Clients at the same time
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Makes the clients' choices repeatable; drawn and printed if left out
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    variant: Variant,
    /// Passed by `cargo bench`; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = std::env::current_exe().context("where is this program?")?;
    let folder = folder.ancestors().nth(2).context("it lies in no target folder")?.to_owned();
    let found = |given: Option<PathBuf>, name: &str| -> Result<PathBuf> {
        let path = given.unwrap_or_else(|| folder.join(name));
        ensure!(path.exists(), "there is no {}: build it first", path.display());
        Ok(path.canonicalize()?)
    };
    let index = IndexProgram::Ours(found(args.index, "flare-operator")?);
    let nodes = match args.flared {
        Some(flared) => NodeProgram::Flared(found(Some(flared), "flared")?),
        None => NodeProgram::StandIn(found(None, "flare-e2e")?),
    };
    let scratch = tempfile::Builder::new().prefix("flare-handover-").tempdir()?;
    let env = Arc::new(Env { index, nodes, ports: Ports::new() });
    let ctx = Context::new("handover", env, scratch.path().to_owned());

    let seed = args.seed.unwrap_or_else(rand::random);
    eprintln!("{}, seed {seed}", args.variant);
    let (operations, clients) = (args.operations, args.clients);
    let mut course = Course::start(&ctx, args.variant, operations, clients, seed).await?;
    let mut figures = Figures::default();
    for round in 0..args.quiet {
        let seen = course.round(&format!("q{round}-"), false).await?;
        seen.tell(&format!("round {round} without a swap"));
        figures.quiet(&seen);
    }
    for number in 0..args.swaps {
        let seen = course.round(&format!("s{number}-"), true).await?;
        seen.tell(&format!("swap {number}"));
        figures.swap(&seen);
    }
    if figures.is_troubled() {
        // logs and data tell what went wrong
        eprintln!("kept: {}", scratch.keep().display());
    }
    print!("{}", figures.markdown(&args.variant.to_string()));
    Ok(())
}

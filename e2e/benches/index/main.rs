//! Measures an index with fake nodes, and beside it the floor and upstream's flarei.
//!
//! `cargo xtask bench [--flarei PATH]` builds what it needs and prints a table. The *floor* is a
//! bare tokio loop in a process of its own that answers or pushes the same bytes without thinking
//! and without storing; the very same client measures it in the same run, so that the machine and
//! the client cancel out. The fake nodes are sockets that say `OK` and keep the version they were
//! told; they run on one thread, so that two cores are enough for both sides.

mod fleet;
mod floor;
mod measure;
mod server;
mod table;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use measure::Sizes;
use server::Program;

#[derive(Parser)]
#[command(name = "index", about = "Measures an index beside its floor and beside upstream's")]
struct Args {
    /// The flare-operator to measure; the one built beside this program if left out
    #[arg(long)]
    index: Option<PathBuf>,
    /// Upstream's flarei, to be measured beside it
    #[arg(long)]
    flarei: Option<PathBuf>,
    /// How many fake nodes, one round each
    #[arg(long, value_delimiter = ',', default_values_t = [40, 200, 1000])]
    nodes: Vec<usize>,
    /// How many idle connections
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Where the index keeps its data; a folder on the disk that you want to know about
    #[arg(long)]
    data: Option<PathBuf>,
    /// Passed by `cargo bench`; means nothing here
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Subcommand)]
enum Hidden {
    /// Be the floor: the server that does not think
    #[command(hide = true)]
    Floor {
        /// Push the first map once so many nodes have registered
        nodes: usize,
    },
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    if let Some(Hidden::Floor { nodes }) = args.hidden {
        return tasks.block_on(&runtime, floor::serve(nodes));
    }
    tasks.block_on(&runtime, measure_all(args))
}

async fn measure_all(args: Args) -> Result<()> {
    let me = std::env::current_exe().context("cannot find this program itself")?;
    let beside = me.ancestors().nth(2).map(|folder| folder.join("flare-operator"));
    let ours = args.index.or(beside).context("where is flare-operator? give --index PATH")?;
    ensure!(ours.exists(), "there is no {}: cargo build --release first", ours.display());
    let mut programs = vec![Program::Floor(me), Program::Ours(ours)];
    programs.extend(args.flarei.map(Program::Flarei));
    let mut table = table::Table::default();
    for nodes in args.nodes {
        for program in &programs {
            eprintln!("{nodes} nodes, {}", program.name());
            let sizes = Sizes { nodes, idle: args.idle };
            measure::one_round(program, sizes, args.data.as_deref(), &mut table).await?;
        }
    }
    print!("{}", table.markdown());
    Ok(())
}

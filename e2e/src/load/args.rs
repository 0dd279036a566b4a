//! `flare-e2e load`: its arguments and what it prints.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::{Load, Outcome, Shape};
use crate::suite::eventually;

/// How long nodes may take to agree after the load has ended: queues towards slaves drain.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);

/// Put load on a cluster: many clients, through any nodes, on the same keys; then check every key
/// at every node. Ends with status 1 if one is missing, old, or deleted and back.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// Nodes to talk to, as ADDRESS:PORT,ADDRESS:PORT
    #[arg(long, required = true, value_delimiter = ',', value_name = "NODES")]
    nodes: Vec<SocketAddr>,
    /// Clients at the same time
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Keys at a time that are set, overwritten, read and deleted
    #[arg(long, default_value_t = 50)]
    values: usize,
    /// Keys that are counted
    #[arg(long, default_value_t = 10)]
    counters: usize,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Begins the name of each key; a new one per run, else keys of an older run are found wrong
    #[arg(long, default_value_t = format!("load{}-", std::process::id()))]
    prefix: String,
    /// Makes the clients' choices repeatable
    #[arg(long, default_value_t = rand::random())]
    seed: u64,
}

impl LoadArgs {
    /// Runs the load; true if every key is right at every node afterwards.
    pub async fn run(self) -> Result<bool> {
        let Self { nodes, clients, values, counters, prefix, seed, .. } = self;
        println!("seed {seed}");
        let (patience, rest) = (super::PATIENCE, Duration::ZERO);
        let through = nodes.clone();
        let (kept, from) = (super::KEPT, None);
        let shape = Shape {
            nodes: through,
            clients,
            values,
            counters,
            kept,
            prefix,
            seed,
            patience,
            resent_after: super::PATIENCE,
            rest,
            from,
        };
        let load = Load::start(&shape)?;
        tokio::time::sleep(Duration::from_secs(self.seconds)).await;
        let outcome = load.stop().await?;
        print(&outcome);
        let mut right = outcome.seen.contradictions.is_empty();
        for node in nodes {
            let checked = eventually(SETTLE_WITHIN, "all keys to be right", || outcome.check(node));
            match checked.await {
                Ok(()) => println!("{node}: all {} keys are right", outcome.keys.len()),
                Err(reason) => {
                    right = false;
                    println!("{node}: {reason:#}");
                }
            }
        }
        Ok(right)
    }
}

fn print(outcome: &Outcome) {
    let seen = &outcome.seen;
    let millis = |quantile| seen.latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "{} changes acknowledged, {} without a clear answer, {} not sent; {} reads, of which {} \
         found nothing and {} an older value",
        seen.acknowledged, seen.unclear, seen.unsent, seen.reads, seen.reads_missed, seen.reads_old
    );
    println!(
        "answers after {:.1} ms (median), {:.1} ms (99 %), {:.1} ms (longest); \
         longest refusal of a key {:.1} ms",
        millis(0.5),
        millis(0.99),
        millis(1.0),
        seen.longest_refusal.as_secs_f64() * 1000.0
    );
    if let Some(last) = &seen.last_unclear {
        println!("last unclear answer: {last}");
    }
    for contradiction in &seen.contradictions {
        println!("contradiction: {contradiction}");
    }
}

//! The commands of `flare-operator` for an index that runs: what they order happens, and their exit
//! codes say so.

use anyhow::{Result, ensure};

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::index::Manifest;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("commands/switchover moves the master and keeps every key", switchover),
    case!("commands/leave hands the partition over before the node is stopped", leave),
];

/// What a command must end with, and say.
async fn says(cluster: &Cluster, args: &[&str], code: i32, sentence: &str) -> Result<()> {
    let (ended, said) = cluster.index.run_command(args).await?;
    ensure!(ended == Some(code) && said.contains(sentence), "{args:?} ended {ended:?}: {said}");
    Ok(())
}

async fn switchover(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (old, slaves) = (cluster.master(0).await?, cluster.slaves(0).await?);
    says(&cluster, &["status"], 0, &old).await?;
    let new = slaves.first().map(String::as_str).unwrap_or_default();
    let order = ["switchover", "--partition", "0", "--to", new];
    says(&cluster, &order, 0, &format!("{new} is the master of partition 0 now.")).await?;
    ensure!(cluster.master(0).await? == new, "the master did not move");
    says(&cluster, &order, 1, "refused: ").await?;
    says(&cluster, &["switchover", "--partition", "0", "--pause"], 0, &old).await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn leave(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let old = cluster.master(0).await?;
    says(&cluster, &["leave", "--node", &old], 0, "may be stopped now").await?;
    let new = cluster.master(0).await?;
    ensure!(new != old, "the master that leaves is master still");
    says(&cluster, &["status"], 0, &format!("{old} (leaving)")).await?;
    cluster.node_mut(&old)?.terminate().await?;
    cluster.readable(&ledger).await?;
    // Nobody could take over from the one that is left.
    says(&cluster, &["leave", "--node", &new], 1, "do not stop it").await?;
    says(&cluster, &["leave", "--node", &new, "--cancel"], 0, "stays").await?;
    cluster.node_mut(&old)?.start().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

//! The commands of `flare-operator` for an index that runs: what they order happens, and their exit
//! codes say so.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case;
use super::returning_lost::lose_master;
use crate::suite::cluster::{Cluster, SWAP_TRIES};
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("commands/switchover moves the master and keeps every key", switchover),
    case!("commands/leave hands the partition over before the node is stopped", leave),
    case!("commands/recover goes on with the copy that a person chooses", recover),
];

/// How long the index may take to see what came back.
const SOON: Duration = Duration::from_secs(30);

/// What a command must end with, and say.
async fn says(cluster: &Cluster, args: &[&str], code: i32, sentence: &str) -> Result<()> {
    let (ended, said) = cluster.index.run_command(args).await?;
    ensure!(ended == Some(code) && said.contains(sentence), "{args:?} ended {ended:?}: {said}");
    Ok(())
}

/// A command that swaps the master of partition 0, which `old` is: once more if it was taken back.
async fn swaps(cluster: &Cluster, args: &[&str], old: &str, sentence: &str) -> Result<()> {
    for _ in 0..SWAP_TRIES {
        let (ended, said) = cluster.index.run_command(args).await?;
        if ended == Some(0) {
            ensure!(said.contains(sentence), "{args:?} said {said}");
            return Ok(());
        }
        ensure!(ended == Some(1), "{args:?} ended {ended:?}: {said}");
        cluster.still_leads(old, &said).await?;
    }
    anyhow::bail!("{args:?}: the swap was taken back {SWAP_TRIES} times")
}

async fn switchover(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (old, slaves) = (cluster.master(0).await?, cluster.slaves(0).await?);
    says(&cluster, &["status"], 0, &old).await?;
    let new = slaves.first().map(String::as_str).unwrap_or_default();
    let order = ["switchover", "0", "--to", new];
    swaps(&cluster, &order, &old, &format!("{new} is the master of partition 0 now.")).await?;
    ensure!(cluster.master(0).await? == new, "the master did not move");
    says(&cluster, &order, 1, "refused: ").await?;
    swaps(&cluster, &["switchover", "0", "--pause"], new, &old).await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn leave(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let old = cluster.master(0).await?;
    // It waits for a swap, which may be taken back; who asks again is told the end of it.
    let order = ["leave", &old];
    eventually(PATIENCE, "the node to be free to go", || {
        says(&cluster, &order, 0, "may be stopped now")
    })
    .await?;
    let new = cluster.master(0).await?;
    ensure!(new != old, "the master that leaves is master still");
    says(&cluster, &["status"], 0, &format!("{old} (leaving)")).await?;
    cluster.node_mut(&old)?.terminate().await?;
    cluster.readable(&ledger).await?;
    // Nobody could take over from the one that is left.
    says(&cluster, &["leave", &new], 1, "do not stop it").await?;
    says(&cluster, &["leave", &new, "--cancel"], 0, "stays").await?;
    cluster.node_mut(&old)?.start().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

/// The master loses its data, and the slave's copy may not take over by itself: what a person is
/// shown, and what they order.
async fn recover(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 2).without_breaker().without_lapsed_masters();
    let mut cluster = Cluster::auto(&ctx, manifest, 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (master, slave) = (cluster.master(0).await?, cluster.slaves(0).await?.remove(0));
    lose_master(&mut cluster, &master, &slave).await?;
    cluster.node_mut(&master)?.start().await?;
    let asked = || async {
        let (_, told) = cluster.index.run_command(&["status"]).await?;
        let row = told.lines().find(|line| line.starts_with(&slave)).unwrap_or_default();
        let words: Vec<&str> = row.split_whitespace().collect();
        // one more, when the node ended before the index deleted what it had written for a moment
        let counted = words.get(1).is_some_and(|items| ["40", "41"].contains(items));
        let evidence = "the best: it was a whole copy up to map version";
        ensure!(counted && words[2..].join(" ").starts_with(evidence), "{told}");
        says(&cluster, &["status"], 0, "the master itself came back empty").await?;
        let command = format!("flare-operator recover 0 --from {slave}");
        says(&cluster, &["status"], 0, &command).await
    };
    eventually(SOON, "a person to be asked", asked).await?;
    says(&cluster, &["recover", "0", "--from", "127.0.0.1:1"], 1, "there is no such node").await?;
    says(&cluster, &["recover", "7", "--from", &slave], 1, "nothing is to be recovered").await?;
    let done = format!("{slave} is the master of partition 0 now.");
    says(&cluster, &["recover", "0", "--from", &slave], 0, &done).await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await?;
    says(&cluster, &["recover", "0", "--from", &slave], 1, "nothing is to be recovered").await
}

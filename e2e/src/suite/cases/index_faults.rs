//! The index fails in other ways than by dying: it stands still, or it alone is cut off. Its nodes
//! are well and serve all the time, so nothing may move for it, whatever it believes of them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::case;
use crate::load::Load;
use crate::suite::blow::Blow;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::network::{Cut, Verdict, require_own};
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("index faults/one that stood still holds nobody dead", stood_still(3)),
    case!("index faults/one that stood still, and one missed ping is a death", stood_still(1)),
    case!("index faults/a master that died while it stood still is replaced", died_meanwhile),
    case!("index faults/one partition of two that it cannot reach", cut_off(1, true)),
    case!("index faults/two partitions of two that it cannot reach", cut_off(2, true)),
    case!("index faults/nodes that it cannot reach, without the breaker", cut_off(1, false)),
];

/// How long the index stands still, or is cut off: three pings of each node are missed several
/// times over.
const AWAY: Duration = Duration::from_secs(10);

/// How long nothing may move when it is back: three pings are missed within less.
const WATCHED: Duration = Duration::from_secs(3);

/// For so long the nodes must be well before a breaker closes by itself.
const RECOVERY: Duration = Duration::from_secs(10);

fn stage(manifest: Manifest) -> Stage {
    let nodes = usize::try_from(manifest.partitions * manifest.replicas).unwrap_or(2);
    Stage { manifest, nodes, mode: Mode::Sync, settings: &[] }
}

/// Clients go on for so long.
async fn goes_on(load: &mut Load, period: Duration) -> Result<()> {
    let end = Instant::now() + period;
    while Instant::now() < end {
        load.flows(20).await?;
    }
    Ok(())
}

/// The map stays that of this version for a while.
async fn nothing_moves(cluster: &Cluster, version: u64, period: Duration) -> Result<()> {
    throughout(period, "nothing moves", || async {
        let now = cluster.index.version().await?;
        ensure!(now == version, "version {version} became {now}:\n{}", cluster.index.map().await?);
        Ok(())
    })
    .await
}

/// It has asked every node something when it begins to stand still, and the answers come while it
/// does: all are late when it looks at the clock.
async fn stood_still(ctx: Context, threshold: u32) -> Result<()> {
    let manifest = Manifest::shape(2, 2).quick();
    let lapse_millis = manifest.lapse_millis;
    let interval = Duration::from_millis(manifest.interval_millis.into());
    let trial = Trial::begin(&ctx, stage(manifest.silence(threshold, lapse_millis))).await?;
    let mut load = trial.load().await?;
    load.flows(100).await?;
    let version = trial.cluster.index.version().await?;
    for node in &trial.cluster.nodes {
        node.freeze()?;
        node.frozen().await?;
    }
    // each is pinged once in this time, and nobody is answered
    sleep(interval).await;
    trial.cluster.index.signal(Signal::STOP)?;
    for node in &trial.cluster.nodes {
        node.thaw()?;
    }
    goes_on(&mut load, AWAY).await?;
    trial.cluster.index.signal(Signal::CONT)?;
    nothing_moves(&trial.cluster, version, WATCHED).await?;
    trial.end_with(load.stop().await?).await.map(drop)
}

/// What is late is not forgotten.
async fn died_meanwhile(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 2).quick();
    let mut trial = Trial::begin(&ctx, Stage { nodes: 3, ..stage(manifest) }).await?;
    let old = trial.cluster.master(0).await?;
    let mut load = trial.load().await?;
    load.flows(100).await?;
    trial.cluster.index.signal(Signal::STOP)?;
    load.avoid([trial.cluster.node(&old)?.addr()].into()).await?;
    let wound = Blow::Kill.strike(&mut trial.cluster, &old).await?;
    goes_on(&mut load, AWAY / 4).await?;
    trial.cluster.index.signal(Signal::CONT)?;
    trial.replaced(&old, 0).await?;
    wound.heal(&mut trial.cluster).await?;
    trial.end_with(load.stop().await?).await.map(drop)
}

/// No node hears from the index any more; clients and nodes hear of each other as ever.
fn cut(cluster: &Cluster) -> Result<Vec<Cut>> {
    let index = cluster.index.addr().port();
    let nodes = cluster.nodes.iter().map(|node| node.addr().port());
    nodes.map(|node| Cut::between(index, node, Verdict::Vanish)).collect()
}

/// The index, which hears from nobody, holds nobody dead. Had it called one node dead before it
/// saw that all are silent, it would demote a master that serves, or empty a slave that is whole,
/// as soon as they are reached again.
async fn cut_off(ctx: Context, partitions: u32, breaker: bool) -> Result<()> {
    require_own()?;
    let manifest = Manifest { breaker, ..Manifest::shape(partitions, 2).quick() };
    let trial = Trial::begin(&ctx, stage(manifest)).await?;
    let mut load = trial.load().await?;
    load.flows(100).await?;
    let version = trial.cluster.index.version().await?;
    let cuts = cut(&trial.cluster)?;
    if breaker {
        breaker_is(&trial.cluster, true).await?;
    }
    goes_on(&mut load, AWAY).await?;
    nothing_moves(&trial.cluster, version, Duration::from_millis(1)).await?;
    cuts.into_iter().try_for_each(Cut::heal)?;
    nothing_moves(&trial.cluster, version, WATCHED).await.context("after the cut")?;
    if breaker {
        breaker_is(&trial.cluster, false).await?;
    }
    ensure!(trial.cluster.index.version().await? == version, "the map has changed");
    trial.end_with(load.stop().await?).await.map(drop)
}

async fn breaker_is(cluster: &Cluster, open: bool) -> Result<()> {
    let what = if open { "the breaker to open" } else { "the breaker to close" };
    eventually(RECOVERY + PATIENCE, what, || async {
        ensure!(cluster.index.breaker_is_open().await? == open, "it is not");
        Ok(())
    })
    .await
}

//! The manifest changes while the index runs: more partitions, without losing a key or hiding one
//! for a moment; fewer, which is refused.

use std::fs::File;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::keys::{Ledger, Traffic};
use crate::suite::map::{NodeMap, Role};
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("scale-out/keys survive one more partition under traffic", one_more),
    case!("scale-out/keys survive from one partition to three", to_three),
    case!(
        "scale-out/the index is killed at every step and goes on",
        killed_at_every_step,
        super::LONG
    ),
    case!("scale-out/fewer partitions are refused and all goes on", shrink),
];

/// No read of a key that was there before may fail, and no acknowledged write may be lost.
async fn under_traffic(cluster: &Cluster, steady: Ledger, traffic: Traffic) -> Result<Ledger> {
    let report = traffic.stop().await?;
    ensure!(report.misses.is_empty(), "keys were hidden for a moment: {:?}", report.misses);
    ensure!(report.writes > 0, "nothing was written: {:?}", report.refused);
    let mut ledger = steady;
    ledger.merge(report.ledger);
    cluster.readable(&ledger).await?;
    ensure!(report.refused.is_empty(), "writes were refused: {:?}", report.refused);
    Ok(ledger)
}

/// Traffic through every node but the masters, which are to give up keys.
///
/// A master that carries a write out while it takes in the map that ends its ownership keeps that
/// write to itself: begun under the old map, ended under the new one (measured on upstream's
/// flared, as in flare-protocol.md 12). What comes through other nodes is safe if they are told
/// first, and the old masters last, when nothing is on its way to them any more (20 activations
/// with 427,766 writes: none lost; all told at once: writes lost in 7 of 10). What a client gives
/// to such a master itself, in that moment, no order of telling can save (2 of 10).
async fn traffic(
    ctx: &Context,
    cluster: &Cluster,
    steady: &Ledger,
    pause: Duration,
) -> Result<Traffic> {
    let map = cluster.agree("one map", |_| Ok(())).await?;
    let is_master = |key: &str| map.node(key).is_ok_and(|entry| entry.role == Role::Master);
    let others = cluster.running().filter(|node| !is_master(&node.key()));
    // keys of an earlier round are steady now, and must not be written again
    let prefix = format!("traffic-{}-", steady.len());
    let log = File::create(ctx.scratch().join(format!("{prefix}log")))?;
    Ok(Traffic::start(others.map(|node| node.addr()).collect(), &prefix, steady, pause, log))
}

async fn one_more(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 4).await?;
    let steady = cluster.fill("steady", 100).await?;
    let mut traffic = traffic(&ctx, &cluster, &steady, Duration::ZERO).await?;
    traffic.flows(20).await?;
    cluster.index.set_manifest(Manifest::shape(2, 2))?;
    cluster.takes_shape(2, 2).await?;
    traffic.flows(20).await?;
    under_traffic(&cluster, steady, traffic).await?;
    let new = cluster.master(1).await?;
    ensure!(cluster.node(&new)?.items().await? > 0, "the new partition holds nothing");
    Ok(())
}

async fn to_three(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 1), 3).await?;
    let mut ledger = cluster.fill("steady", 100).await?;
    for partitions in [2, 3] {
        let mut traffic = traffic(&ctx, &cluster, &ledger, Duration::ZERO).await?;
        traffic.flows(20).await?;
        cluster.index.set_manifest(Manifest::shape(partitions, 1))?;
        cluster.takes_shape(partitions, 1).await?;
        traffic.flows(20).await?;
        ledger = under_traffic(&cluster, ledger, traffic).await?;
    }
    Ok(())
}

/// The pause per key of a copy, in µs: copies of 100 keys last half a second, so that the steps
/// around them are seen one by one.
const COPY_PAUSE_MICROS: u32 = 5_000;

/// The pause between writes beside such a slow copy. A copy takes in what is written meanwhile, so
/// it must be the faster of the two, or it never ends.
const SLOW_TRAFFIC: Duration = Duration::from_millis(20);

/// Every new version of the map is a step; after each the index is killed and started again. The
/// scale-out is made to wait at each of its stages (copies are held, a node comes late), so that
/// none goes by unseen while this program does not run.
async fn killed_at_every_step(ctx: Context) -> Result<()> {
    let mut index = ctx.auto_index(Manifest::shape(1, 2))?;
    index.start().await?;
    let mut nodes = ctx.nodes(4, &index)?;
    for node in &mut nodes {
        node.setting("reconstruction-interval", &COPY_PAUSE_MICROS);
        if !node.is_real() {
            node.with_control(ctx.env().ports.take()?);
        }
    }
    let mut cluster = Cluster { index, nodes };
    for node in &mut cluster.nodes[..3] {
        node.start().await?;
    }
    cluster.takes_shape(1, 2).await?;
    let steady = cluster.fill("steady", 100).await?;
    let mut traffic = traffic(&ctx, &cluster, &steady, SLOW_TRAFFIC).await?;
    traffic.flows(10).await?;
    let numbers = thread_types(&cluster).await?;
    cluster.hold_copies(true).await?;
    let mut version = cluster.index.version().await?;
    cluster.index.set_manifest(Manifest::shape(2, 2))?;
    let mut steps = Vec::new();
    for stage in STAGES {
        match stage {
            Stage::MasterPrepares => {}
            Stage::MasterServes | Stage::Whole => cluster.hold_copies(false).await?,
            Stage::SlavePrepares => {
                cluster.nodes[3].start().await?;
                cluster.hold_copies(true).await?;
            }
        }
        version = kill_up_to(&mut cluster, stage, version, &mut steps).await?;
    }
    ensure!(steps.len() >= STAGES.len(), "only these steps were seen: {steps:#?}");
    cluster.takes_shape(2, 2).await?;
    let now = thread_types(&cluster).await?;
    ensure!(numbers.iter().all(|old| now.contains(old)), "a node got another thread type");
    traffic.flows(20).await?;
    under_traffic(&cluster, steady, traffic).await.map(drop)
}

/// Where a scale-out from one partition to two stands; each comes with a write of its own at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The new partition's master to be copies.
    MasterPrepares,
    /// It is active.
    MasterServes,
    /// Its slave to be copies.
    SlavePrepares,
    /// All is there, balances too.
    Whole,
}

const STAGES: [Stage; 4] =
    [Stage::MasterPrepares, Stage::MasterServes, Stage::SlavePrepares, Stage::Whole];

impl Stage {
    /// An error unless this is reached, or more.
    fn is_reached(self, map: &NodeMap) -> Result<()> {
        let of_new = |role| map.0.values().any(|e| e.partition == 1 && e.role == role);
        let reached = match self {
            Self::MasterPrepares => of_new(Role::Master),
            Self::MasterServes => map.master(1).is_some(),
            Self::SlavePrepares => of_new(Role::Slave),
            Self::Whole => {
                map.require_shape(2, 2)?;
                map.0.values().all(|e| e.role == Role::Proxy || e.balance == 1)
            }
        };
        ensure!(reached, "{self:?} is not reached:\n{map}");
        Ok(())
    }
}

/// Kills the index after every version above `version` until a stage is reached; the last version.
async fn kill_up_to(
    cluster: &mut Cluster,
    stage: Stage,
    mut version: u64,
    steps: &mut Vec<String>,
) -> Result<u64> {
    while let Some((now, map)) = next_step(cluster, stage, version).await? {
        cluster.index.kill().await?;
        steps.push(format!("{stage:?}, version {now}:\n{map}"));
        cluster.index.start().await?;
        let stored = cluster.index.version().await?;
        ensure!(stored >= now, "version {stored} after the restart, {now} before it");
        version = now;
    }
    Ok(version)
}

/// Waits for a version above `version`; none when the stage is reached instead. Asks without
/// pause, on one connection, so as to miss no step.
async fn next_step(
    cluster: &Cluster,
    stage: Stage,
    version: u64,
) -> Result<Option<(u64, NodeMap)>> {
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut client = cluster.index.client().await?;
    loop {
        // the version last: what it counts is in the map, or newer
        let map = NodeMap::from_stats(&client.stats("stats nodes").await?)?;
        let stats = client.stats("stats").await?;
        let now = stats.get("node_map_version").ok_or_else(|| anyhow!("no version"))?.parse()?;
        if now > version {
            return Ok(Some((now, map)));
        }
        let Err(why) = stage.is_reached(&map) else { return Ok(None) };
        ensure!(tokio::time::Instant::now() < end, "the scale-out stands still: {why:#}");
    }
}

async fn thread_types(cluster: &Cluster) -> Result<Vec<(String, u32)>> {
    let map = cluster.agree("one map", |_| Ok(())).await?;
    Ok(map.0.into_iter().map(|(key, entry)| (key, entry.thread_type)).collect())
}

async fn shrink(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(2, 1), 3).await?;
    let ledger = cluster.fill("k", 60).await?;
    let before = cluster.agreed().await?;
    cluster.index.set_manifest(Manifest::shape(1, 1))?;
    let said = || async {
        let log = cluster.index.log_text()?;
        let said = log.contains("UNSAFE PARTITION REDUCTION DETECTED");
        said.then_some(()).ok_or_else(|| anyhow!("the log does not say it"))
    };
    eventually(PATIENCE, "the refusal in the log", said).await?;
    throughout(Duration::from_secs(2), "the map stays", || async {
        let map = cluster.index.map().await?;
        ensure!(map == before, "the map became\n{map}");
        Ok(())
    })
    .await?;
    cluster.readable(&ledger).await?;
    cluster.fill("after", 20).await?;

    // a growing manifest is taken again
    cluster.index.set_manifest(Manifest::shape(3, 1))?;
    cluster.takes_shape(3, 1).await?;
    cluster.readable(&ledger).await
}

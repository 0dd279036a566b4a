//! The index is killed while a failover goes on: right after the blow, before it can have noticed,
//! and after every single change of the map that follows, until all is settled; and again when the
//! struck node comes back. Each time it goes on from what it stored.

use anyhow::{Result, anyhow, ensure};
use tokio::time::Instant;

use super::case;
use crate::suite::blow::Blow;
use crate::suite::client::Client;
use crate::suite::context::Context;
use crate::suite::eventually::PATIENCE;
use crate::suite::index::Manifest;
use crate::suite::map::{NodeMap, Role, State};
use crate::suite::network::require_own;
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("restarts/a master is killed", through(&MASTER_KILLED)),
    case!("restarts/a master ends in an orderly way", through(&MASTER_ENDS)),
    case!("restarts/a master hangs", through(&MASTER_HANGS)),
    case!("restarts/a master cannot be reached", through(&MASTER_UNREACHABLE)),
    case!("restarts/a master comes back empty", through(&MASTER_EMPTY)),
    case!("restarts/a slave comes back empty", through(&SLAVE_EMPTY)),
    case!("restarts/master and slave die", through(&BOTH)),
    case!("restarts/a new partition's master dies while it copies", through(&GROWING)),
];

/// Whom a blow strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Master,
    Slave,
    /// The master of a partition in preparation.
    New,
}

/// What happens, and what the index has to go through it with.
#[derive(Debug)]
struct Story {
    blows: &'static [(Who, Blow)],
    /// Whether the struck nodes lose their data before they come back.
    empty: bool,
    /// Nodes beside the two of the partition.
    spare: usize,
    /// Partitions that are wanted, from one.
    partitions: u32,
}

const ONE: Story = Story { blows: &[], empty: false, spare: 1, partitions: 1 };
const MASTER_KILLED: Story = Story { blows: &[(Who::Master, Blow::Kill)], ..ONE };
const MASTER_ENDS: Story = Story { blows: &[(Who::Master, Blow::Terminate)], ..ONE };
const MASTER_HANGS: Story = Story { blows: &[(Who::Master, Blow::Stop)], ..ONE };
const MASTER_UNREACHABLE: Story = Story { blows: &[(Who::Master, Blow::Vanish)], ..ONE };
const MASTER_EMPTY: Story =
    Story { blows: &[(Who::Master, Blow::Kill)], empty: true, spare: 0, ..ONE };
const SLAVE_EMPTY: Story =
    Story { blows: &[(Who::Slave, Blow::Kill)], empty: true, spare: 0, ..ONE };
const BOTH: Story =
    Story { blows: &[(Who::Master, Blow::Kill), (Who::Slave, Blow::Kill)], spare: 0, ..ONE };
const GROWING: Story = Story { blows: &[(Who::New, Blow::Kill)], spare: 2, partitions: 2, ..ONE };

/// Copies last about half a second, so that the steps around them are seen one by one.
const COPIES: &[(&str, &str)] = &[("reconstruction-interval", "8000")];

async fn through(ctx: Context, story: &'static Story) -> Result<()> {
    if story.blows.iter().any(|(_, blow)| *blow == Blow::Vanish) {
        require_own()?;
    }
    let manifest = Manifest::shape(1, 2).quick().without_breaker();
    let wanted = Manifest { partitions: story.partitions, ..manifest.clone() };
    let stage = Stage { manifest, nodes: 2 + story.spare, mode: Mode::Sync, settings: COPIES };
    let mut trial = Trial::begin(&ctx, stage).await?;
    let mut load = trial.load().await?;
    load.flows(300).await?;
    // through who is struck last, or not at all: the others are to become slaves again, and what
    // a master that gives keys up takes from clients at that moment may be lost (scale_out.rs)
    let (who, _) = story.blows.first().ok_or_else(|| anyhow!("a story without a blow"))?;
    let avoided = find(&trial, if *who == Who::New { Who::Master } else { *who }).await?;
    load.avoid([trial.cluster.node(&avoided)?.addr()].into()).await?;
    // what a master acknowledges after it has announced its end may be lost (masters.rs)
    let ends = story.blows.iter().any(|(_, blow)| *blow == Blow::Terminate);
    let (load, before) = if ends { (None, Some(load.stop().await?)) } else { (Some(load), None) };
    if story.partitions > 1 {
        trial.cluster.hold_copies(true).await?;
        trial.grow(wanted)?;
    }

    let mut targets = Vec::new();
    for (who, blow) in story.blows {
        targets.push((find(&trial, *who).await?, blow));
    }
    let version = trial.cluster.index.version().await?;
    let mut wounds = Vec::new();
    for (key, blow) in targets {
        wounds.push((key.clone(), blow.strike(&mut trial.cluster, &key).await?));
    }
    trial.cluster.hold_copies(false).await?;
    let lost: Vec<&str> = wounds.iter().map(|(key, _)| key.as_str()).collect();
    let mut steps = kill_at_every_step(&mut trial, version, |map| noticed(map, &lost)).await?;
    let version = trial.cluster.index.version().await?;
    for (key, wound) in wounds {
        if story.empty {
            trial.cluster.node(&key)?.lose_data()?;
        }
        wound.heal(&mut trial.cluster).await?;
    }
    let (partitions, alive) = (i32::try_from(story.partitions)?, 2 + story.spare);
    let is_whole = |map: &NodeMap| whole(map, partitions, alive);
    steps += kill_at_every_step(&mut trial, version, is_whole).await?;
    // that somebody is down, and that he is back
    ensure!(steps >= 2, "only {steps} steps were seen");
    let outcome = match load {
        Some(load) => load.stop().await?,
        None => before.ok_or_else(|| anyhow!("there was no load"))?,
    };
    trial.end_with(outcome).await.map(drop)
}

async fn find(trial: &Trial, who: Who) -> Result<String> {
    match who {
        Who::Master => trial.cluster.master(0).await,
        Who::Slave => trial.cluster.slave(0).await,
        Who::New => super::copying::copies(&trial.cluster, Role::Master).await,
    }
}

/// The lost nodes are down; whoever is left has found his place.
fn noticed(map: &NodeMap, lost: &[&str]) -> Result<()> {
    for key in lost {
        ensure!(map.node(key)?.state == State::Down, "{key} is not down:\n{map}");
    }
    let busy = |e: &&crate::suite::map::Entry| matches!(e.state, State::Prepare | State::Ready);
    ensure!(map.0.values().find(busy).is_none(), "somebody prepares:\n{map}");
    Ok(())
}

fn whole(map: &NodeMap, partitions: i32, alive: usize) -> Result<()> {
    map.require_shape(partitions, 2)?;
    let active = map.0.values().filter(|e| e.state == State::Active).count();
    ensure!(active == alive, "{active} of {alive} nodes are active:\n{map}");
    Ok(())
}

/// Kills the index and starts it again: at once, and then after every new version of the map until
/// `settled`. How many versions above `version` were seen: it is the one before the blow, since the
/// index may have noticed that before it is killed first.
async fn kill_at_every_step(
    trial: &mut Trial,
    mut version: u64,
    settled: impl Fn(&NodeMap) -> Result<()>,
) -> Result<usize> {
    let mut steps = 0;
    loop {
        trial.cluster.index.kill().await?;
        trial.cluster.index.start().await?;
        let stored = trial.cluster.index.version().await?;
        ensure!(stored >= version, "version {stored} after a restart, {version} before it");
        match next_step(trial.cluster.index.client().await?, version, &settled).await? {
            Some(now) => version = now,
            None => return Ok(steps),
        }
        steps += 1;
    }
}

/// Waits for a version above `version`; none when all is settled instead. Asks without pause, on
/// one connection, so as to miss no step.
async fn next_step(
    mut client: Client,
    version: u64,
    settled: impl Fn(&NodeMap) -> Result<()>,
) -> Result<Option<u64>> {
    let end = Instant::now() + PATIENCE;
    loop {
        // the version last: what it counts is in the map, or newer
        let map = NodeMap::from_stats(&client.stats("stats nodes").await?)?;
        let stats = client.stats("stats").await?;
        let now = stats.get("node_map_version").ok_or_else(|| anyhow!("no version"))?.parse()?;
        if now > version {
            return Ok(Some(now));
        }
        let Err(why) = settled(&map) else { return Ok(None) };
        ensure!(Instant::now() < end, "it stands still: {why:#}");
    }
}

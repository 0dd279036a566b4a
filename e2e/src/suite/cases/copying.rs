//! Deaths while a copy is made: of its source, of the node that copies, of a partition's master to
//! be. What was half copied is not promoted, and is made again from the start.

use anyhow::{Result, ensure};

use super::case;
use crate::suite::blow::Blow;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::map::{NodeMap, Role, State};
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};
use crate::suite::witness::Witness;

pub(super) const CASES: &[Case] = &[
    case!("copying/the source of a copy is killed", source(Blow::Kill)),
    case!("copying/the source of a copy hangs", source(Blow::Stop)),
    case!("copying/the node that copies is killed", copier(Blow::Kill)),
    case!("copying/the node that copies ends in an orderly way", copier(Blow::Terminate)),
    case!("copying/the node that copies hangs", copier(Blow::Stop)),
    case!("copying/a new partition's master is killed in prepare", new_master(Blow::Kill)),
    case!("copying/a new partition's master hangs in prepare", new_master(Blow::Stop)),
    case!("copying/a new partition's source is killed", new_source),
    case!("copying/a new partition's master is killed in ready", ready),
];

/// The pause per key of a copy, in µs: one of 60 keys takes a second and a half. That is for real
/// nodes; the stand-in's copies are held until what is to happen beside them has happened.
const SLOW_COPIES: &[(&str, &str)] = &[("reconstruction-interval", "25000")];

/// How long a half copy is watched that must not be promoted.
const WATCHED: std::time::Duration = std::time::Duration::from_millis(700);

fn stage(nodes: usize) -> Stage {
    let manifest = Manifest::shape(1, 2).quick().without_breaker();
    Stage { manifest, nodes, mode: Mode::Sync, settings: SLOW_COPIES }
}

/// Waits until the index has given a node this role, in preparation, and the node copies.
pub(super) async fn copies(cluster: &Cluster, role: Role) -> Result<String> {
    eventually(PATIENCE, "a copy to run", || async {
        let map = cluster.index.map().await?;
        let entry = map.0.iter().find(|(_, e)| e.role == role && e.state == State::Prepare);
        let Some((key, _)) = entry else { anyhow::bail!("nobody prepares:\n{map}") };
        let types = cluster.node(key)?.thread_types().await?;
        ensure!(types.contains(&3), "{key} does not copy: {types:?}");
        Ok(key.clone())
    })
    .await
}

/// The slave dies, the spare node copies from the master, and the master is struck: nobody has all
/// keys but the master.
async fn source(ctx: Context, blow: Blow) -> Result<()> {
    let mut trial = Trial::begin(&ctx, stage(3)).await?;
    let master = trial.cluster.master(0).await?;
    let slave = trial.cluster.slave(0).await?;
    trial.cluster.hold_copies(true).await?;
    let lost_slave = Blow::Kill.strike(&mut trial.cluster, &slave).await?;
    let copier = copies(&trial.cluster, Role::Slave).await?;
    trial.life_goes_on("beside-the-copy").await?;
    let lost_master = blow.strike(&mut trial.cluster, &master).await?;
    trial.cluster.hold_copies(false).await?;
    trial.nobody_serves().await?;
    throughout(WATCHED, "the half copy is not promoted", || async {
        let map = trial.cluster.index.map().await?;
        ensure!(map.node(&copier)?.role != Role::Master, "{map}");
        ensure!(map.node(&master)?.role == Role::Master, "{map}");
        Ok(())
    })
    .await?;
    lost_slave.heal(&mut trial.cluster).await?;
    lost_master.heal(&mut trial.cluster).await?;
    trial.recovers().await?;
    ensure!(trial.cluster.master(0).await? == master, "the only whole copy is not master");
    trial.end().await.map(drop)
}

async fn copier(ctx: Context, blow: Blow) -> Result<()> {
    let mut trial = Trial::begin(&ctx, stage(3)).await?;
    let slave = trial.cluster.slave(0).await?;
    trial.cluster.hold_copies(true).await?;
    let lost_slave = Blow::Kill.strike(&mut trial.cluster, &slave).await?;
    let copier = copies(&trial.cluster, Role::Slave).await?;
    let lost_copier = blow.strike(&mut trial.cluster, &copier).await?;
    trial.cluster.hold_copies(false).await?;
    trial.cluster.sees(&copier, "down", |e| e.state == State::Down).await?;
    // deleted while the copier holds them: they must not come back with it
    trial.life_goes_on("without-the-copier").await?;
    lost_copier.heal(&mut trial.cluster).await?;
    // one that hung holds its copy still
    trial.cluster.hold_copies(false).await?;
    trial.recovers().await?;
    lost_slave.heal(&mut trial.cluster).await?;
    trial.end().await.map(drop)
}

/// From one partition to two, on four nodes. The copy is held.
async fn growing(ctx: &Context) -> Result<(Trial, String)> {
    let mut trial = Trial::begin(ctx, stage(4)).await?;
    trial.cluster.hold_copies(true).await?;
    trial.grow(Manifest { partitions: 2, ..stage(4).manifest })?;
    let new = copies(&trial.cluster, Role::Master).await?;
    Ok((trial, new))
}

async fn new_master(ctx: Context, blow: Blow) -> Result<()> {
    let (mut trial, new) = growing(&ctx).await?;
    trial.life_goes_on("beside-the-copy").await?;
    let wound = blow.strike(&mut trial.cluster, &new).await?;
    trial.cluster.hold_copies(false).await?;
    trial.cluster.sees(&new, "down and nothing", is_down_proxy).await?;
    trial.life_goes_on("without-the-new-one").await?;
    wound.heal(&mut trial.cluster).await?;
    trial.cluster.hold_copies(false).await?;
    trial.end().await.map(drop)
}

fn is_down_proxy(entry: &crate::suite::map::Entry) -> bool {
    entry.role == Role::Proxy && entry.state == State::Down
}

async fn new_source(ctx: Context) -> Result<()> {
    let (mut trial, _) = growing(&ctx).await?;
    let source = trial.cluster.master(0).await?;
    let wound = Blow::Kill.strike(&mut trial.cluster, &source).await?;
    trial.cluster.hold_copies(false).await?;
    trial.replaced(&source, 0).await?;
    trial.life_goes_on("without-the-source").await?;
    wound.heal(&mut trial.cluster).await?;
    trial.end().await.map(drop)
}

/// In manual mode, since the automatic one activates what is ready at once.
async fn ready(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::manual(&ctx, 2).await?;
    let addrs: Vec<_> = cluster.nodes.iter().map(|node| node.addr()).collect();
    let witness = Witness::begin(cluster.index.addr(), addrs.into_iter());
    let (first, second) = (cluster.nodes[0].args(), cluster.nodes[1].args());
    cluster.index.accepts(&format!("node role {first} master 1 0")).await?;
    cluster.master(0).await?;
    let ledger = cluster.fill("k", 60).await?;
    let new = cluster.nodes[1].key();
    let is_ready = |map: &NodeMap| {
        ensure!(map.node(&new)?.state == State::Ready, "{map}");
        Ok(())
    };

    cluster.index.accepts(&format!("node role {second} master 1 1")).await?;
    cluster.agree("the new master to be ready", is_ready).await?;
    cluster.nodes[1].kill().await?;
    cluster.sees(&new, "down and nothing", is_down_proxy).await?;
    cluster.readable(&ledger).await?;

    cluster.nodes[1].start().await?;
    cluster.sees(&new, "back", |e| e.state == State::Active).await?;
    let answer = cluster.nodes[1].client().await?.command("flush_all").await?;
    ensure!(answer == "OK", "flush_all: {answer}");
    cluster.index.accepts(&format!("node role {second} master 1 1")).await?;
    cluster.agree("the new master to be ready again", is_ready).await?;
    cluster.index.accepts(&format!("node state {second} active")).await?;
    cluster.takes_shape(2, 1).await?;
    cluster.readable(&ledger).await?;
    witness.end().await.map(drop)
}

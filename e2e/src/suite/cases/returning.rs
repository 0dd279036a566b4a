//! Nodes that come back: before anyone noticed that they were gone, later, without their data,
//! with data from before.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::keys::Ledger;
use crate::suite::map::{Role, State};
use crate::suite::network::{Cut, Verdict, require_own};
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("returning/a slave that restarts at once is a full copy again", slave_fast),
    case!("returning/a slave that was down is a full copy again", slave_slow),
    case!("returning/a slave without its data is a full copy again", slave_empty),
    case!("returning/a slave with old data does not bring deleted keys back", slave_old_data),
    case!("returning/a master that restarts at once does not lose a key", master_fast),
    case!("returning/a master that was down comes back as a copy", master_slow),
    case!("returning/a master with old data does not bring deleted keys back", master_old_data),
    case!("returning/a master without its data comes back as a copy", master_empty),
    case!("returning/a master gets no role while a write is on its way to it", master_owed),
    case!("returning/the only copy keeps its data when it restarts at once", only_copy_fast),
];

/// 1 x 2 with 40 keys; the key of the master and of the slave.
async fn pair(ctx: &Context) -> Result<(Cluster, Ledger, String, String)> {
    let cluster = Cluster::auto(ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let master = cluster.master(0).await?;
    let slaves = cluster.slaves(0).await?;
    ensure!(slaves.len() == 1, "slaves: {slaves:?}");
    let slave = slaves.into_iter().next().expect("there is one");
    Ok((cluster, ledger, master, slave))
}

/// Changes the data while one node is away: new keys, new values, deletions.
async fn life_goes_on(cluster: &Cluster, ledger: &mut Ledger) -> Result<()> {
    let nodes: Vec<_> = cluster.running().map(|node| node.addr()).collect();
    let gone: Vec<String> = ledger.present().take(15).map(ToOwned::to_owned).collect();
    ledger.delete(nodes[0], &gone).await?;
    let changed: Vec<String> = ledger.present().take(10).map(ToOwned::to_owned).collect();
    let mut client = cluster.running().next().expect("a node runs").client().await?;
    for key in changed {
        let answer = client.set(&key, "newer").await?;
        ensure!(answer == "STORED", "set {key}: {answer}");
        ledger.wrote(&key, "newer");
    }
    ledger.write(&nodes, "later", 20).await
}

/// All nodes are in their places and each serves exactly the ledger. Slaves are read, so a slave
/// that lacks a key, or has one too many, shows.
async fn whole(cluster: &Cluster, ledger: &Ledger) -> Result<()> {
    cluster.takes_shape(1, 2).await?;
    cluster.readable(ledger).await
}

/// Waits until the rest of the cluster has noticed that the node is gone.
async fn noticed(cluster: &Cluster, key: &str) -> Result<()> {
    cluster.sees(key, "down", |e| e.state == State::Down).await
}

async fn slave_fast(ctx: Context) -> Result<()> {
    let (mut cluster, ledger, _, slave) = pair(&ctx).await?;
    cluster.node_mut(&slave)?.kill().await?;
    cluster.node_mut(&slave)?.start().await?;
    whole(&cluster, &ledger).await
}

async fn slave_slow(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, _, slave) = pair(&ctx).await?;
    cluster.node_mut(&slave)?.kill().await?;
    noticed(&cluster, &slave).await?;
    ledger.merge(cluster.fill("meanwhile", 20).await?);
    cluster.node_mut(&slave)?.start().await?;
    whole(&cluster, &ledger).await
}

async fn slave_empty(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, _, slave) = pair(&ctx).await?;
    cluster.node_mut(&slave)?.kill().await?;
    cluster.node_mut(&slave)?.lose_data()?;
    noticed(&cluster, &slave).await?;
    life_goes_on(&cluster, &mut ledger).await?;
    cluster.node_mut(&slave)?.start().await?;
    whole(&cluster, &ledger).await
}

async fn slave_old_data(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, _, slave) = pair(&ctx).await?;
    cluster.node_mut(&slave)?.terminate().await?;
    noticed(&cluster, &slave).await?;
    life_goes_on(&cluster, &mut ledger).await?;
    cluster.node_mut(&slave)?.start().await?;
    whole(&cluster, &ledger).await
}

/// Whether it was master or slave when it came back, no key may be missing.
async fn master_fast(ctx: Context) -> Result<()> {
    let (mut cluster, ledger, master, _) = pair(&ctx).await?;
    cluster.node_mut(&master)?.restart_at_once().await?;
    whole(&cluster, &ledger).await
}

async fn master_slow(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, master, slave) = pair(&ctx).await?;
    cluster.node_mut(&master)?.kill().await?;
    cluster.sees(&slave, "master", |e| e.role == Role::Master && e.state == State::Active).await?;
    ledger.merge(cluster.fill("meanwhile", 20).await?);
    cluster.node_mut(&master)?.start().await?;
    whole(&cluster, &ledger).await?;
    ensure!(cluster.master(0).await? == slave, "the heir lost its role");
    Ok(())
}

async fn master_old_data(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, master, slave) = pair(&ctx).await?;
    cluster.node_mut(&master)?.terminate().await?;
    cluster.sees(&slave, "master", |e| e.role == Role::Master && e.state == State::Active).await?;
    life_goes_on(&cluster, &mut ledger).await?;
    cluster.node_mut(&master)?.start().await?;
    whole(&cluster, &ledger).await
}

async fn master_empty(ctx: Context) -> Result<()> {
    let (mut cluster, mut ledger, master, slave) = pair(&ctx).await?;
    cluster.node_mut(&master)?.kill().await?;
    cluster.node_mut(&master)?.lose_data()?;
    cluster.sees(&slave, "master", |e| e.role == Role::Master && e.state == State::Active).await?;
    life_goes_on(&cluster, &mut ledger).await?;
    cluster.node_mut(&master)?.start().await?;
    whole(&cluster, &ledger).await
}

/// How long it is watched that a node gets no role: without the rule it gets one at once, and with
/// it that long at least (`core/src/topology/drain.rs`).
const NO_ROLE_FOR: Duration = Duration::from_secs(4);

/// A third node has sent the master a write when that dies, and goes on trying when it is back. As
/// a slave it would carry the write out, and nobody else would have it.
async fn master_owed(ctx: Context) -> Result<()> {
    require_own()?;
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 3), 3).await?;
    let mut ledger = cluster.fill("k", 20).await?;
    let map = cluster.takes_shape(1, 3).await?;
    let (old, third) = (cluster.master(0).await?, cluster.slave(0).await?);
    let (at, towards) = (cluster.node(&third)?.addr(), map.node(&old)?.thread_type);
    let cut = Cut::between(at.port(), cluster.node(&old)?.addr().port(), Verdict::Vanish)?;
    let write = tokio::spawn(async move {
        Client::connect(at).await?.answer_within(2 * PATIENCE).set("owed", "1").await
    });
    let owes = || async {
        let owed = cluster.node(&third)?.owes(towards).await?;
        ensure!(owed > 0, "nothing is on its way to {old}");
        Ok(())
    };
    eventually(PATIENCE, "a write on its way", owes).await?;
    cluster.node_mut(&old)?.restart_at_once().await?;
    cluster.sees(&old, "back", |e| e.role == Role::Proxy && e.state == State::Active).await?;
    throughout(NO_ROLE_FOR, "no role while a write is on its way", || async {
        let map = cluster.index.map().await?;
        ensure!(map.node(&old)?.role == Role::Proxy, "{map}");
        ensure!(cluster.node(&third)?.owes(towards).await? > 0, "nothing is on its way");
        Ok(())
    })
    .await?;
    cut.heal()?;
    if write.await?? == "STORED" {
        ledger.wrote("owed", "1");
    }
    cluster.takes_shape(1, 3).await?;
    cluster.copies_are_equal(0, 1).await?;
    cluster.readable(&ledger).await
}

async fn only_copy_fast(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 1).without_breaker();
    let mut cluster = Cluster::auto(&ctx, manifest, 2).await?;
    let ledger = cluster.fill("k", 40).await?;
    let master = cluster.master(0).await?;
    // in an orderly way, so that its own disk has all keys
    cluster.node_mut(&master)?.terminate().await?;
    cluster.node_mut(&master)?.start().await?;
    cluster
        .sees(&master, "master again", |e| e.role == Role::Master && e.state == State::Active)
        .await?;
    cluster.readable(&ledger).await
}

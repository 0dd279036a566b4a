//! Masters that die or hang, with and without someone to take over.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::map::{Role, State};
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("failover/an active slave takes over from a killed master", with_slave),
    case!("failover/a master without slave keeps its role while it is dead", without_slave),
    case!("failover/a slave that is connected to the others takes over", connected, super::LONG),
    case!("failover/a hung master is replaced and comes back as a copy", hung),
    case!("failover/a node that ends in an orderly way is replaced at once", orderly),
    case!("failover/keys stay readable through every node while a slave takes over", readable),
];

async fn with_slave(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(2, 2), 5).await?;
    let mut ledger = cluster.fill("k", 60).await?;
    let old = cluster.master(0).await?;
    let heir = cluster.slaves(0).await?;
    cluster.node_mut(&old)?.kill().await?;
    let map = cluster
        .agree("another master", |map| {
            ensure!(map.master(0).is_some_and(|now| now != old), "{map}");
            Ok(())
        })
        .await?;
    let new = map.master(0).ok_or_else(|| anyhow!("no master"))?;
    ensure!(heir.iter().any(|slave| slave == new), "{new} was no slave of the partition");
    ensure!(map.node(&old)?.state == State::Down, "{old} is not down:\n{map}");
    cluster.readable(&ledger).await?;
    ledger.merge(cluster.fill("after", 40).await?);
    // the proxy is made a slave by itself, and is a full copy
    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await
}

/// Twice, since who comes back is the newest slave then. The index is restarted before each: whom a
/// node has connections to it has from the nodes.
async fn connected(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 3), 3).await?;
    let mut ledger = cluster.fill("k", 40).await?;
    for turn in ["first", "second"] {
        cluster.takes_shape(1, 3).await?;
        let old = cluster.master(0).await?;
        let heirs = connected_slaves(&cluster).await?;
        cluster.index.kill().await?;
        cluster.index.start().await?;
        cluster.seen().await?;
        cluster.node_mut(&old)?.kill().await?;
        let map = cluster
            .agree("another master", |map| {
                ensure!(map.master(0).is_some_and(|now| now != old), "{map}");
                Ok(())
            })
            .await?;
        let new = map.master(0).unwrap_or_default();
        ensure!(heirs.iter().any(|heir| heir == new), "{new} took over, connected were {heirs:?}");
        ledger.merge(cluster.fill(turn, 40).await?);
        cluster.node_mut(&old)?.start().await?;
    }
    cluster.takes_shape(1, 3).await?;
    cluster.copies_are_equal(0, 1).await?;
    cluster.readable(&ledger).await
}

/// The slaves of partition 0 that have connections to the other one, as soon as there is one.
async fn connected_slaves(cluster: &Cluster) -> Result<Vec<String>> {
    eventually(PATIENCE, "a slave to be connected to the other", || async {
        let map = cluster.agreed().await?;
        let slaves = map.slaves(0);
        let mut connected = Vec::new();
        for (slave, other) in slaves.iter().zip(slaves.iter().rev()) {
            let towards = map.node(other)?.thread_type;
            if cluster.node(slave)?.connections_to(towards).await? > 0 {
                connected.push((*slave).to_owned());
            }
        }
        ensure!(!connected.is_empty(), "none is:\n{map}");
        Ok(connected)
    })
    .await
}

async fn without_slave(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(2, 1).without_breaker();
    let mut cluster = Cluster::auto(&ctx, manifest, 2).await?;
    let ledger = cluster.fill("k", 60).await?;
    let dead = cluster.master(1).await?;
    let other = cluster.master(0).await?;
    cluster.node_mut(&dead)?.kill().await?;
    cluster
        .sees(&dead, "a master that is down", |e| e.role == Role::Master && e.state == State::Down)
        .await?;
    let alive = cluster.node(&other)?.addr();
    let answers = write_many(alive, "while-dead").await?;
    ensure!(answers.iter().any(|a| a == "STORED"), "the other partition refuses: {answers:?}");
    ensure!(
        answers.iter().any(|a| a == "SERVER_ERROR proxy failure"),
        "no write is refused though a partition has no master: {answers:?}"
    );

    cluster.node_mut(&dead)?.start().await?;
    cluster.takes_shape(2, 1).await?;
    cluster.readable(&ledger).await?;
    ensure!(cluster.master(1).await? == dead, "someone else became master of the lost data");
    cluster.fill("after", 30).await?;
    Ok(())
}

async fn write_many(node: std::net::SocketAddr, prefix: &str) -> Result<Vec<String>> {
    let mut client = Client::connect(node).await?;
    let mut answers = Vec::new();
    for i in 0..30 {
        answers.push(client.set(&format!("{prefix}{i}"), "x").await?);
    }
    Ok(answers)
}

async fn hung(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let mut ledger = cluster.fill("k", 60).await?;
    let old = cluster.master(0).await?;
    cluster.node(&old)?.freeze()?;
    cluster.node(&old)?.frozen().await?;
    eventually(PATIENCE, "another master", || async {
        let map = cluster.agreed_without(&old).await?;
        ensure!(map.master(0).is_some_and(|now| now != old), "{map}");
        Ok(())
    })
    .await?;
    let others: Vec<_> =
        cluster.running().filter(|n| n.key() != old).map(|node| node.addr()).collect();
    ledger.write(&others, "while-hung", 30).await?;
    let gone: Vec<String> = ledger.present().take(20).map(ToOwned::to_owned).collect();
    ledger.delete(others[0], &gone).await?;

    cluster.node(&old)?.thaw()?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await?;
    // it serves reads again: what it missed while it hung would show
    let current = cluster.master(0).await?;
    ensure!(current != old, "the hung master is master again without a copy");
    cluster.fill("after", 30).await.map(drop)
}

async fn orderly(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let ledger = cluster.fill("k", 60).await?;
    let old = cluster.master(0).await?;
    let status = cluster.node_mut(&old)?.terminate().await?;
    ensure!(status.code() == Some(0), "the node ended with {status}");
    cluster
        .agree("another master", |map| {
            ensure!(map.master(0).is_some_and(|now| now != old), "{map}");
            ensure!(map.node(&old)?.state == State::Down, "{map}");
            Ok(())
        })
        .await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

/// Reads go to masters and slaves alike, so with one of three copies dead a key is still found,
/// except for what a node asks of the dead one before it knows.
async fn readable(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 3), 4).await?;
    let ledger = cluster.fill("k", 40).await?;
    let old = cluster.master(0).await?;
    cluster.node_mut(&old)?.kill().await?;
    let started = tokio::time::Instant::now();
    for node in cluster.running() {
        let addr = node.addr();
        eventually(PATIENCE, "all keys after a kill", || ledger.check(addr)).await?;
    }
    ensure!(started.elapsed() < PATIENCE + Duration::from_secs(1), "it took too long");
    cluster.takes_shape(1, 3).await?;
    cluster.readable(&ledger).await
}

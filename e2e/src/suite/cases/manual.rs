//! `--assign manual`: what flare-tools send builds a cluster, rebuilds a slave and adds a
//! partition (flare-protocol.md 11.2). These also hold for upstream's flarei, which is how the
//! harness itself is tested.

use anyhow::{Result, anyhow, ensure};

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::map::{Role, State};
use crate::suite::node::Node;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("manual/nodes register as proxies", registers),
    case!("manual/first master, slave, second partition", grows),
    case!("manual/a slave is rebuilt the way flare-admin does", rebuilds),
    case!("manual/writes that cross on the same keys end alike everywhere", crossing),
    case!("manual/a killed master's slave takes over", fails_over),
    case!("manual/a master without slave comes back as master", preserved),
];

async fn registers(ctx: Context) -> Result<()> {
    let cluster = Cluster::manual(&ctx, 3).await?;
    push_to_all(&cluster).await?;
    let map = cluster.agree("three proxies", |map| {
        ensure!(map.count(Role::Proxy, State::Active) == 3, "{map}");
        Ok(())
    });
    let map = map.await?;
    let numbers: Vec<_> = map.0.values().map(|entry| entry.thread_type).collect();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    ensure!(sorted == [16, 17, 18], "thread types {numbers:?}");
    Ok(())
}

/// A node that was just added may have missed its first map (flare-protocol.md 3.2): upstream
/// tells it with the next change. This is the harmless change.
async fn push_to_all(cluster: &Cluster) -> Result<()> {
    let node = cluster.nodes.first().ok_or_else(|| anyhow!("no nodes"))?;
    cluster.index.accepts(&format!("node role {} proxy", node.args())).await
}

async fn set_role(cluster: &Cluster, node: &Node, role: &str) -> Result<()> {
    cluster.index.accepts(&format!("node role {} {role}", node.args())).await
}

async fn flush(node: &Node) -> Result<()> {
    let answer = node.client().await?.command("flush_all").await?;
    ensure!(answer == "OK", "{} answered flush_all: {answer}", node.key());
    Ok(())
}

/// flare-admin's way to a slave that serves reads: empty it, role with balance 0, wait until it
/// is active, then the balance.
async fn add_slave(cluster: &Cluster, i: usize, partition: i32) -> Result<()> {
    let node = &cluster.nodes[i];
    flush(node).await?;
    set_role(cluster, node, &format!("slave 0 {partition}")).await?;
    cluster
        .sees(&node.key(), "an active slave", |e| e.role == Role::Slave && e.state == State::Active)
        .await?;
    set_role(cluster, node, &format!("slave 1 {partition}")).await?;
    cluster.sees(&node.key(), "a slave with balance", |e| e.balance == 1).await
}

async fn first_master(cluster: &Cluster) -> Result<()> {
    let node = &cluster.nodes[0];
    flush(node).await?;
    set_role(cluster, node, "master 1 0").await?;
    cluster.sees(&node.key(), "master", |e| e.role == Role::Master).await
}

/// One partition of two, nodes 0 and 1; the rest are proxies.
async fn pair(ctx: &Context, nodes: usize) -> Result<Cluster> {
    let cluster = Cluster::manual(ctx, nodes).await?;
    first_master(&cluster).await?;
    add_slave(&cluster, 1, 0).await?;
    Ok(cluster)
}

async fn grows(ctx: Context) -> Result<()> {
    let cluster = pair(&ctx, 5).await?;
    let mut ledger = cluster.fill("before", 60).await?;

    let third = &cluster.nodes[2];
    flush(third).await?;
    set_role(&cluster, third, "master 1 1").await?;
    cluster
        .sees(&third.key(), "ready", |e| e.role == Role::Master && e.state == State::Ready)
        .await?;
    cluster.index.accepts(&format!("node state {} active", third.args())).await?;
    cluster.sees(&third.key(), "active", |e| e.state == State::Active).await?;
    add_slave(&cluster, 3, 1).await?;

    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await?;
    ledger.merge(cluster.fill("after", 60).await?);
    cluster.readable(&ledger).await?;
    ensure!(third.items().await? > 0, "the new partition holds no key");
    Ok(())
}

async fn rebuilds(ctx: Context) -> Result<()> {
    let cluster = pair(&ctx, 3).await?;
    let mut ledger = cluster.fill("k", 40).await?;
    let slave = &cluster.nodes[1];
    cluster.index.accepts(&format!("node state {} down", slave.args())).await?;
    cluster
        .sees(&slave.key(), "back as proxy", |e| e.role == Role::Proxy && e.state == State::Active)
        .await?;
    let gone: Vec<String> = ledger.present().take(10).map(ToOwned::to_owned).collect();
    ledger.delete(cluster.nodes[0].addr(), &gone).await?;
    add_slave(&cluster, 1, 0).await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

/// No fault at all: what remains is that clients write the same keys through different nodes.
async fn crossing(ctx: Context) -> Result<()> {
    let cluster = pair(&ctx, 3).await?;
    cluster.takes_shape(1, 2).await?;
    // A real flared refuses writes for a moment after it took the map, while its connection to
    // the new master is made.
    eventually(PATIENCE, "writes to pass through every node", || async {
        for node in &cluster.nodes {
            let answer = node.client().await?.set("warm", "x").await?;
            ensure!(answer == "STORED", "{}: {answer}", node.key());
        }
        Ok(())
    })
    .await?;
    let mut load = cluster.load("x", 6)?;
    load.flows(1_500).await?;
    let outcome = load.stop().await?;
    ensure!(outcome.seen.unclear == 0, "refused: {:?}", outcome.seen.last_unclear);
    cluster.right(&outcome).await
}

async fn fails_over(ctx: Context) -> Result<()> {
    let mut cluster = pair(&ctx, 3).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (old, new) = (cluster.nodes[0].key(), cluster.nodes[1].key());
    cluster.nodes[0].kill().await?;
    cluster.sees(&new, "master", |e| e.role == Role::Master && e.state == State::Active).await?;
    cluster.sees(&old, "down", |e| e.role == Role::Proxy && e.state == State::Down).await?;
    cluster.readable(&ledger).await?;
    cluster.fill("later", 20).await?;

    cluster.nodes[0].start().await?;
    cluster
        .sees(&old, "a proxy again", |e| e.role == Role::Proxy && e.state == State::Active)
        .await?;
    cluster.readable(&ledger).await
}

async fn preserved(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::manual(&ctx, 2).await?;
    first_master(&cluster).await?;
    let ledger = cluster.fill("k", 40).await?;
    let key = cluster.nodes[0].key();
    cluster.nodes[0].kill().await?;
    cluster
        .sees(&key, "a master that is down", |e| e.role == Role::Master && e.state == State::Down)
        .await?;
    let answer = cluster.nodes[1].client().await?.set("lost", "x").await?;
    ensure!(answer == "SERVER_ERROR proxy failure", "a write without master: {answer}");

    cluster.nodes[0].start().await?;
    cluster
        .sees(&key, "master again", |e| e.role == Role::Master && e.state == State::Active)
        .await?;
    cluster.readable(&ledger).await
}

//! From proxies to the wanted shape, and what happens to data that nodes bring along.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::{Index, Manifest};
use crate::suite::map::{Entry, NodeMap, Role, State};
use crate::suite::node::Node;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("assignment/nine nodes become 3 x 3", nine),
    case!("assignment/surplus nodes stay proxies", surplus),
    case!("assignment/what is missing is filled when a node comes", filled_later),
    case!("assignment/a node with data of its own waits for a person", old_data_waits),
    case!("assignment/nobody is flushed by an index that has lost its store", lost_store),
];

/// Masters and active slaves are read, everything else is not.
fn require_balances(map: &NodeMap) -> Result<()> {
    let wrong = map.0.iter().find(|(_, e): &(&String, &Entry)| {
        let serves = e.state == State::Active && e.role != Role::Proxy;
        e.balance != i32::from(serves)
    });
    ensure!(wrong.is_none(), "a balance is wrong:\n{map}");
    Ok(())
}

async fn nine(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(3, 3), 9).await?;
    cluster.agree("balances", require_balances).await?;
    let ledger = cluster.fill("k", 180).await?;
    let mut sum = 0;
    for partition in 0..3 {
        let master = cluster.master(partition).await?;
        let items = cluster.node(&master)?.users_keys().await?;
        ensure!(items > 0, "partition {partition} holds nothing");
        sum += items;
        for slave in cluster.slaves(partition).await? {
            let slave = cluster.node(&slave)?;
            eventually(PATIENCE, "a slave to hold what its master holds", || async {
                let copies = slave.users_keys().await?;
                ensure!(copies == items, "{copies} of {items}");
                Ok(())
            })
            .await?;
        }
    }
    ensure!(sum == ledger.len(), "{sum} items for {} keys", ledger.len());
    Ok(())
}

async fn surplus(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(2, 2), 6).await?;
    let map = cluster.agree("balances", require_balances).await?;
    ensure!(map.count(Role::Proxy, State::Active) == 2, "{map}");
    cluster.fill("k", 60).await?;
    Ok(())
}

async fn filled_later(ctx: Context) -> Result<()> {
    let mut index = ctx.auto_index(Manifest::shape(2, 2))?;
    index.start().await?;
    let nodes = ctx.nodes(4, &index)?;
    let mut cluster = Cluster { index, nodes };
    for i in 0..3 {
        cluster.nodes[i].start().await?;
    }
    cluster
        .agree("two masters and a slave", |map| {
            ensure!(map.master(0).is_some() && map.master(1).is_some(), "{map}");
            ensure!(map.count(Role::Slave, State::Active) == 1, "{map}");
            Ok(())
        })
        .await?;
    let ledger = cluster.fill("k", 60).await?;
    cluster.nodes[3].start().await?;
    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await
}

/// Fills a node's disk with keys of another life: as the only master of another index.
async fn with_old_data(ctx: &Context, node: &mut Node, keys: usize) -> Result<()> {
    let mut other: Index = ctx.other_index("other")?;
    other.start().await?;
    node.set_index(other.addr());
    node.start().await?;
    other.accepts(&format!("node role {} master 1 0", node.args())).await?;
    let addr = node.addr();
    for i in 0..keys {
        eventually(PATIENCE, "an old key to be stored", || async {
            let answer = Client::connect(addr).await?.set(&format!("old{i}"), "old").await?;
            ensure!(answer == "STORED", "{answer}");
            Ok(())
        })
        .await?;
    }
    node.terminate().await?;
    Ok(())
}

/// The index may have lost its memory, and what the node brings may be all that is left of a
/// cluster: only a person may throw it away.
async fn old_data_waits(ctx: Context) -> Result<()> {
    let mut index = ctx.auto_index(Manifest::shape(1, 2))?;
    index.start().await?;
    let nodes = ctx.nodes(2, &index)?;
    let mut cluster = Cluster { index, nodes };
    cluster.nodes[0].start().await?;
    let has_master = |map: &NodeMap| {
        ensure!(map.master(0).is_some(), "{map}");
        Ok(())
    };
    cluster.agree("a master", has_master).await?;
    let mut ledger = cluster.fill("k", 30).await?;

    let home = cluster.index.addr();
    let second = &mut cluster.nodes[1];
    with_old_data(&ctx, second, 20).await?;
    second.set_index(home);
    second.start().await?;
    let key = second.key();
    eventually(PATIENCE, "the log to name the node", || async {
        let log = cluster.index.log_text()?;
        let named = log.lines().any(|line| line.contains("MayHoldData") && line.contains(&key));
        ensure!(named, "not yet");
        Ok(())
    })
    .await?;
    throughout(Duration::from_secs(2), "its data is kept", || async {
        ensure!(cluster.nodes[1].users_keys().await? == 20, "keys are gone");
        Ok(())
    })
    .await?;
    cluster.sees(&key, "a proxy", |e| e.role == Role::Proxy && e.state == State::Active).await?;

    let answer = cluster.nodes[1].client().await?.command("flush_all").await?;
    ensure!(answer == "OK", "flush_all: {answer}");
    cluster.takes_shape(1, 2).await?;
    for i in 0..20 {
        ledger.deleted(&format!("old{i}"));
    }
    cluster.readable(&ledger).await
}

async fn lost_store(ctx: Context) -> Result<()> {
    let index = ctx.auto_index(Manifest::shape(1, 2))?;
    let nodes = ctx.nodes(2, &index)?;
    let mut cluster = Cluster { index, nodes };
    for node in &mut cluster.nodes {
        with_old_data(&ctx, node, 20).await?;
        node.set_index(cluster.index.addr());
    }
    cluster.index.start().await?;
    for node in &mut cluster.nodes {
        node.start().await?;
    }
    throughout(Duration::from_secs(5), "nobody is emptied", || async {
        for node in &cluster.nodes {
            ensure!(node.users_keys().await? == 20, "{} holds fewer keys", node.key());
        }
        Ok(())
    })
    .await
}

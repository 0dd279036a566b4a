//! What a node reports once and the index never hears (R10): `active`, `ready`, `proxy`,
//! `shutdown`. The index is killed besides, so that it cannot remember having asked for anything;
//! the transition completes all the same, from what the node says in `stats threads` and `stats`.
//!
//! With the stand-in the report is dropped by the node. A real flared gives a report up when it
//! has found no index for 4.5 s, so with it the index is dead while the report is due.

use anyhow::{Result, ensure};

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::keys::Ledger;
use crate::suite::map::{Role, State};
use crate::suite::node::Node;
use crate::suite::runner::{Case, skip};

pub(super) const CASES: &[Case] = &[
    case!("reports/a lost `active` is found out", active),
    case!("reports/a lost `ready` is found out", ready),
    case!("reports/a lost `proxy` is found out", proxy),
    case!("reports/a lost `shutdown` is found out", shutdown),
];

/// The pause per key that the source of a copy makes, in µs: a copy of 40 keys takes about two
/// seconds then, long enough to kill the index while it runs.
const COPY_PAUSE_MICROS: u32 = 50_000;

/// 1 x 1 with 40 keys on the first of two nodes, the other a proxy; copies are slow.
async fn master_and_proxy(ctx: &Context) -> Result<(Cluster, Ledger)> {
    let mut index = ctx.auto_index(Manifest::shape(1, 1))?;
    index.start().await?;
    let mut nodes = ctx.nodes(2, &index)?;
    for node in &mut nodes {
        node.setting("reconstruction-interval", &COPY_PAUSE_MICROS);
        node.with_control(ctx.env().ports.take()?);
    }
    let mut cluster = Cluster { index, nodes };
    cluster.nodes[0].start().await?;
    cluster.takes_shape(1, 1).await?;
    cluster.nodes[1].start().await?;
    cluster.sees(&cluster.nodes[1].key(), "a proxy", |e| e.role == Role::Proxy).await?;
    let ledger = cluster.fill("k", 40).await?;
    Ok((cluster, ledger))
}

/// Waits until the node has begun to copy.
async fn copying(node: &Node) -> Result<()> {
    eventually(PATIENCE, "the copy to begin", || async {
        let types = node.thread_types().await?;
        ensure!(types.contains(&3), "threads {types:?}");
        Ok(())
    })
    .await
}

/// Waits until the node copies no more, and has given up reporting if it had to.
async fn copied(node: &Node) -> Result<()> {
    eventually(PATIENCE, "the copy to end", || async {
        let types = node.thread_types().await?;
        ensure!(!types.contains(&3), "threads {types:?}");
        Ok(())
    })
    .await
}

/// Lets a copy of node `i` end without its report being heard, with the index dead meanwhile.
async fn lose(cluster: &mut Cluster, i: usize, report: &str) -> Result<()> {
    if !cluster.nodes[i].is_real() {
        cluster.nodes[i].order(&format!("lose {report}")).await?;
    }
    copying(&cluster.nodes[i]).await?;
    cluster.index.kill().await?;
    copied(&cluster.nodes[i]).await?;
    cluster.index.start().await
}

async fn active(ctx: Context) -> Result<()> {
    let (mut cluster, ledger) = master_and_proxy(&ctx).await?;
    cluster.index.set_manifest(Manifest::shape(1, 2))?;
    lose(&mut cluster, 1, "active").await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn ready(ctx: Context) -> Result<()> {
    let (mut cluster, ledger) = master_and_proxy(&ctx).await?;
    cluster.index.set_manifest(Manifest::shape(2, 1))?;
    lose(&mut cluster, 1, "ready").await?;
    cluster.takes_shape(2, 1).await?;
    cluster.readable(&ledger).await
}

/// The copy fails, the node says so and nobody hears it: it must not stay in preparation for ever.
async fn proxy(ctx: Context) -> Result<()> {
    let (mut cluster, ledger) = master_and_proxy(&ctx).await?;
    if cluster.nodes[1].is_real() {
        return skip("a real flared's copy cannot be made to fail while its source lives");
    }
    cluster.nodes[1].order("copy fail").await?;
    cluster.nodes[1].order("lose proxy").await?;
    cluster.index.set_manifest(Manifest::shape(1, 2))?;
    let key = cluster.nodes[1].key();
    eventually(PATIENCE, "the slave to prepare", || async {
        let map = cluster.index.map().await?;
        let entry = map.node(&key)?;
        ensure!(entry.role == Role::Slave && entry.state == State::Prepare, "not yet:\n{map}");
        Ok(())
    })
    .await?;
    cluster.index.kill().await?;
    copied(&cluster.nodes[1]).await?;
    cluster.index.start().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn shutdown(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2).grace(3), 3).await?;
    let ledger = cluster.fill("k", 40).await?;
    let master = cluster.master(0).await?;
    // dead while the node leaves: nobody hears its `shutdown`, stand-in or real
    cluster.index.kill().await?;
    let status = cluster.node_mut(&master)?.terminate().await?;
    ensure!(status.code() == Some(0), "the node ended with {status}");
    cluster.index.start().await?;
    cluster
        .agree("another master", |map| {
            ensure!(map.master(0).is_some_and(|now| now != master), "{map}");
            ensure!(map.node(&master)?.state == State::Down, "{map}");
            Ok(())
        })
        .await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

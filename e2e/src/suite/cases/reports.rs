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
use crate::suite::map::{Entry, Role, State};
use crate::suite::node::Node;
use crate::suite::runner::{Case, skip};

pub(super) const CASES: &[Case] = &[
    case!("reports/a lost `active` is found out", active),
    case!("reports/a lost `ready` is found out", ready),
    case!("reports/a lost `proxy` is found out", proxy),
    case!("reports/a lost `shutdown` is found out", shutdown),
];

/// The pause per key that a source makes for a real flared, in µs: a copy of 40 keys takes about
/// two seconds then, long enough to kill the index while it runs.
const COPY_PAUSE_MICROS: u32 = 50_000;

/// 1 x `replicas` on one node with 40 keys, and `more` nodes that are not started, each with slow
/// copies and a control port.
async fn with_latecomers(ctx: &Context, manifest: Manifest, more: usize) -> Result<Cluster> {
    let mut index = ctx.auto_index(manifest)?;
    index.start().await?;
    let mut nodes = ctx.nodes(1 + more, &index)?;
    for node in &mut nodes {
        if node.is_real() {
            node.setting("reconstruction-interval", &COPY_PAUSE_MICROS);
        } else {
            node.with_control(ctx.env().ports.take()?);
        }
    }
    let mut cluster = Cluster { index, nodes };
    cluster.nodes[0].start().await?;
    let has_master = |map: &crate::suite::map::NodeMap| {
        ensure!(map.master(0).is_some(), "{map}");
        Ok(())
    };
    cluster.agree("a master", has_master).await?;
    Ok(cluster)
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
    let stand_in = !cluster.nodes[i].is_real();
    if stand_in {
        cluster.nodes[i].order("copy hold").await?;
        cluster.nodes[i].order(&format!("lose {report}")).await?;
    }
    copying(&cluster.nodes[i]).await?;
    cluster.index.kill().await?;
    if stand_in {
        cluster.nodes[i].order("copy release").await?;
    }
    copied(&cluster.nodes[i]).await?;
    cluster.index.start().await
}

/// Prepares a node so that it copies slowly enough for [`lose`], and starts it.
async fn start_held(cluster: &mut Cluster, i: usize) -> Result<()> {
    cluster.nodes[i].start().await?;
    if !cluster.nodes[i].is_real() {
        cluster.nodes[i].order("copy hold").await?;
    }
    Ok(())
}

async fn active(ctx: Context) -> Result<()> {
    let mut cluster = with_latecomers(&ctx, Manifest::shape(1, 2), 1).await?;
    let ledger = cluster.fill("k", 40).await?;
    start_held(&mut cluster, 1).await?;
    lose(&mut cluster, 1, "active").await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn ready(ctx: Context) -> Result<()> {
    let mut cluster = with_latecomers(&ctx, Manifest::shape(1, 1), 1).await?;
    let ledger = cluster.fill("k", 40).await?;
    start_held(&mut cluster, 1).await?;
    cluster.sees(&cluster.nodes[1].key(), "a proxy", |e| e.role == Role::Proxy).await?;
    cluster.index.set_manifest(Manifest::shape(2, 1))?;
    lose(&mut cluster, 1, "ready").await?;
    cluster.takes_shape(2, 1).await?;
    cluster.readable(&ledger).await
}

/// The copy fails, the node says so and nobody hears it: it must not stay in preparation for ever.
async fn proxy(ctx: Context) -> Result<()> {
    let mut cluster = with_latecomers(&ctx, Manifest::shape(1, 2), 1).await?;
    if cluster.nodes[1].is_real() {
        return skip("a real flared's copy cannot be made to fail while its source lives");
    }
    let ledger = cluster.fill("k", 40).await?;
    cluster.nodes[1].start().await?;
    cluster.nodes[1].order("copy fail").await?;
    cluster.nodes[1].order("lose proxy").await?;
    let preparing = |e: &Entry| e.role == Role::Slave && e.state == State::Prepare;
    let key = cluster.nodes[1].key();
    eventually(PATIENCE, "the slave to prepare", || async {
        ensure!(preparing(cluster.index.map().await?.node(&key)?), "not yet");
        Ok(())
    })
    .await?;
    copied(&cluster.nodes[1]).await?;
    cluster.index.kill().await?;
    cluster.index.start().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn shutdown(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
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

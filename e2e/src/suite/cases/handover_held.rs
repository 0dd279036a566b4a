//! A write that a client has sent to the old master itself, and that is carried out there before
//! the swap and sent on to the copies after it, by another map: to nobody. On real nodes that takes
//! some luck (603 of 381,063 writes, see `node_faults/storage.rs`); the stand-in holds the write.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::node::Node;
use crate::suite::runner::{Case, skip};

pub(super) const CASES: &[Case] = &[
    case!("handover/a write that is held at the old master is lost if nobody leads away", lost),
    case!("handover/park waits for writes of clients that are led away", waited_for(false)),
    case!("handover/pause waits for writes of clients that are led away", waited_for(true)),
];

/// How long the swap must not go on while the write is held: half of what it waits at most.
const HELD: Duration = Duration::from_millis(250);

/// What the write says.
const VALUE: &str = "held";

async fn begin(ctx: &Context) -> Result<Cluster> {
    let mut index = ctx.auto_index(Manifest::shape(1, 2))?;
    index.start().await?;
    let mut nodes = ctx.nodes(3, &index)?;
    if nodes.iter().any(Node::is_real) {
        return skip("a real flared cannot be told to hold a write");
    }
    for node in &mut nodes {
        node.with_control(ctx.env().ports.take()?);
    }
    let mut cluster = Cluster { index, nodes };
    cluster.start_nodes().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.fill("k", 20).await?;
    Ok(cluster)
}

/// A write, on its way and held at this node; its client has an address that no node has.
async fn held_write(old: &Node) -> Result<JoinHandle<Result<String>>> {
    old.order("writes hold").await?;
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let mut client = Client::connect_from(from, old.addr()).await?.answer_within(PATIENCE);
    let write = tokio::spawn(async move { client.set("k1", VALUE).await });
    shows(old, "execute").await?;
    Ok(write)
}

/// Waits until the write is in that state.
async fn shows(old: &Node, state: &str) -> Result<()> {
    eventually(PATIENCE, &format!("the write in state {state}"), || async {
        let threads = old.client().await?.stats("stats threads").await?;
        let ours = threads.iter().find(|(_, op)| *op == "set").map(|(name, _)| name);
        let ours = ours.and_then(|name| name.split(':').next());
        let shown = ours.and_then(|id| threads.get(&format!("{id}:state")));
        ensure!(shown.is_some_and(|shown| shown == state), "it shows {shown:?}");
        Ok(())
    })
    .await
}

/// It is acknowledged, and only a slave has it.
async fn lost(ctx: Context) -> Result<()> {
    let cluster = begin(&ctx).await?;
    let old = cluster.master(0).await?;
    let write = held_write(cluster.node(&old)?).await?;
    let (status, text) = cluster.index.switchover(0, "{}").await?;
    ensure!(status == 200, "the swap was answered {status}: {text}");
    cluster.node(&old)?.order("writes release").await?;
    ensure!(write.await?? == "STORED", "the write was refused");
    let new = cluster.master(0).await?;
    ensure!(new != old, "{old} is the master still");
    let found = async |node| cluster.node(node)?.client().await?.get("k1").await;
    let (at_old, at_new) = (found(&old).await?, found(&new).await?);
    ensure!(at_old.as_deref() == Some(VALUE), "the old master holds {at_old:?}");
    ensure!(at_new.as_deref() != Some(VALUE), "the new master has it: leading away is not needed");
    Ok(())
}

/// The swap goes on when the write has ended, and both copies have it then.
async fn waited_for(ctx: Context, pause: bool) -> Result<()> {
    let cluster = begin(&ctx).await?;
    let old = cluster.master(0).await?;
    let write = held_write(cluster.node(&old)?).await?;
    let version = cluster.index.version().await?;
    let order = format!(r#"{{"endClients":true,"pause":{pause}}}"#);
    let swap = cluster.index.switchover(0, &order);
    let released = async {
        shows(cluster.node(&old)?, "killed").await?;
        throughout(HELD, "nobody is told of a swap", || async {
            let now = cluster.index.version().await?;
            ensure!(now == version, "version {now} after {version}");
            Ok(())
        })
        .await?;
        cluster.node(&old)?.order("writes release").await
    };
    let (swapped, released) = tokio::join!(swap, released);
    released?;
    let (status, text) = swapped?;
    ensure!(status == 200, "the swap was answered {status}: {text}");
    ensure!(write.await?? == "STORED", "the write was refused");
    cluster.takes_shape(1, 2).await?;
    ensure!(cluster.master(0).await? != old, "{old} is the master still");
    for node in cluster.running() {
        let found = node.client().await?.get("k1").await?;
        ensure!(found.as_deref() == Some(VALUE), "{} answers {found:?}", node.key());
    }
    cluster.copies_are_equal(0, 1).await
}

//! Nodes that are going to be stopped and say so in time.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};

use super::case;
use crate::load::{Load, Shape};
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::map::Role;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("leaving/a master hands its partition over before it is stopped", under_load),
    case!("leaving/a master that nobody can take over from may not be stopped", last_copy),
    case!("leaving/the manifest has a slave leave: it is copied elsewhere first", listed),
    case!("leaving/clients are led away and nodes are not", clients),
];

/// `node leave` with the name and port of a node key.
fn leave(key: &str) -> String {
    format!("node leave {}", key.replace(':', " "))
}

/// Load through all nodes but the master that leaves: its own clients are led elsewhere first
/// (flare-protocol.md 12).
async fn under_load(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let old = cluster.master(0).await?;
    let nodes = cluster.running().filter(|node| node.key() != old).map(|node| node.addr());
    let nodes = nodes.collect();
    let mut load = Load::start(&Shape { nodes, ..cluster.load_shape("leave", 4) })?;
    load.flows(300).await?;
    // The index answers when the swap is done, or after some seconds that it is not yet: a busy
    // machine may be too slow for the limits of its steps.
    let order = leave(&old);
    eventually(PATIENCE, "the node to be free to go", || cluster.index.accepts(&order)).await?;
    cluster.sees(&old, "no master any more", |entry| entry.role != Role::Master).await?;
    // Now it is stopped, and missed by nobody.
    load.flows(300).await?;
    cluster.node_mut(&old)?.terminate().await?;
    cluster.takes_shape(1, 2).await?;
    load.flows(300).await?;
    let outcome = load.stop().await?;
    cluster.right(&outcome).await?;
    // When it starts again it is a node like any other: it gets a role where one is missing.
    let slave = cluster.slaves(0).await?.remove(0);
    cluster.node_mut(&old)?.start().await?;
    cluster.node_mut(&slave)?.kill().await?;
    cluster
        .agree("a role for the node that came back", |map| {
            ensure!(map.slaves(0) == [&old], "{map}");
            Ok(())
        })
        .await
        .map(drop)
}

async fn last_copy(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 1), 1).await?;
    let ledger = cluster.fill("k", 20).await?;
    let master = cluster.master(0).await?;
    let mut asker = cluster.index.client().await?;
    let answer = asker.command(&leave(&master)).await?;
    ensure!(answer == "SERVER_ERROR node may not be stopped yet", "{answer}");
    let (_, topology) = cluster.index.admin("/api/v1/topology").await?;
    ensure!(topology.contains("leaving_master"), "nobody is told: {topology}");
    let stays = asker.command(&format!("{} cancel", leave(&master))).await?;
    ensure!(stays == "OK", "{stays}");
    let (_, topology) = cluster.index.admin("/api/v1/topology").await?;
    ensure!(!topology.contains("leaving_master"), "still said: {topology}");
    cluster.readable(&ledger).await
}

async fn listed(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let ledger = cluster.fill("k", 60).await?;
    let leaves = cluster.slaves(0).await?.remove(0);
    let master = cluster.master(0).await?;
    cluster.index.set_manifest(Manifest::shape(1, 2).without(std::slice::from_ref(&leaves)))?;
    cluster
        .agree("a proxy instead of the slave that leaves", |map| {
            ensure!(map.node(&leaves)?.role == Role::Proxy, "{map}");
            ensure!(map.slaves(0).len() == 1, "{map}");
            Ok(())
        })
        .await?;
    ensure!(cluster.master(0).await? == master, "the master moved for nothing");
    cluster.node_mut(&leaves)?.terminate().await?;
    cluster.readable(&ledger).await
}

/// What shares an address with a node counts as that node; on one machine only a client with an
/// address of its own is known as one.
async fn clients(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let ledger = cluster.fill("k", 20).await?;
    let old = cluster.master(0).await?;
    let peer = cluster.node(&old)?.addr();
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let mut client = Client::connect_from(elsewhere, peer).await?;
    let mut beside = Client::connect(peer).await?;
    for client in [&mut client, &mut beside] {
        ensure!(client.set("at-the-master", "1").await? == "STORED", "no write at the master");
    }
    cluster.swap(&old, r#"{"endClients": true}"#).await?;
    client.closed().await?;
    ensure!(beside.get("at-the-master").await?.is_some(), "a neighbour of the node was cut off");
    ensure!(cluster.master(0).await? != old, "the master did not change");
    cluster.readable(&ledger).await
}

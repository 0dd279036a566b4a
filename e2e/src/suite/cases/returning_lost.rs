//! Copies that lack something: a slave that was silent for too long, a master that comes back
//! empty, one that will not come back.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::eventually;
use crate::suite::index::Manifest;
use crate::suite::keys::Ledger;
use crate::suite::map::{Role, State};
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("returning/a slave that was silent for too long is copied again", silent_slave),
    case!("returning/the best copy takes over from a master that lost its data", best_copy),
    case!("returning/a person chooses the copy to go on with", chosen_copy),
];

/// How long the index may take to say something on the admin interface.
const SOON: Duration = Duration::from_secs(30);

/// Stops the slave in order, then kills the master, whose data is lost with it; starts the slave
/// again. What it holds is all that is left.
pub(super) async fn lose_master(cluster: &mut Cluster, master: &str, slave: &str) -> Result<()> {
    cluster.node_mut(slave)?.terminate().await?;
    cluster.sees(slave, "down", |entry| entry.state == State::Down).await?;
    cluster.node_mut(master)?.kill().await?;
    cluster.node_mut(master)?.lose_data()?;
    cluster.node_mut(slave)?.start().await?;
    let proxy = |entry: &crate::suite::map::Entry| {
        entry.role == Role::Proxy && entry.state == State::Active
    };
    cluster.sees(slave, "back, without a role", proxy).await?;
    cluster
        .sees(master, "down, with its role", |entry| {
            entry.role == Role::Master && entry.state == State::Down
        })
        .await
}

async fn becomes_master(cluster: &Cluster, key: &str) -> Result<()> {
    cluster
        .sees(key, "the master", |entry| entry.role == Role::Master && entry.state == State::Active)
        .await
}

async fn best_copy(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(2, 2).without_breaker();
    let mut cluster = Cluster::auto(&ctx, manifest, 4).await?;
    let mut ledger = cluster.fill("k", 60).await?;
    // What partition 0 has given up to partition 1 it still has on disk; it must not come back.
    let gone: Vec<String> = ledger.present().take(20).map(ToOwned::to_owned).collect();
    let node = cluster.running().next().expect("a node runs").addr();
    ledger.delete(node, &gone).await?;
    let (master, slave) = (cluster.master(1).await?, cluster.slaves(1).await?.remove(0));
    lose_master(&mut cluster, &master, &slave).await?;
    cluster.node_mut(&master)?.start().await?;
    becomes_master(&cluster, &slave).await?;
    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await
}

async fn chosen_copy(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 2).without_breaker();
    let mut cluster = Cluster::auto(&ctx, manifest, 2).await?;
    let ledger: Ledger = cluster.fill("k", 40).await?;
    let (master, slave) = (cluster.master(0).await?, cluster.slaves(0).await?.remove(0));
    lose_master(&mut cluster, &master, &slave).await?;
    let (status, body) = cluster.index.recover(0, "127.0.0.1:1").await?;
    ensure!(status == 404 || status == 409, "a node that there is not: {status} {body}");
    let wish = || async {
        let (status, body) = cluster.index.recover(0, &slave).await?;
        ensure!(status == 200, "{status} {body}");
        Ok(())
    };
    eventually(SOON, "the choice to be taken", wish).await?;
    becomes_master(&cluster, &slave).await?;
    cluster.readable(&ledger).await?;
    // The old master is back at last, and a copy like any other.
    cluster.node_mut(&master)?.start().await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

async fn silent_slave(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 2).silence(1_000, 2_000);
    let cluster = Cluster::auto(&ctx, manifest, 3).await?;
    let mut ledger = cluster.fill("k", 40).await?;
    let (master, slave) = (cluster.master(0).await?, cluster.slaves(0).await?.remove(0));
    let lapsed = || async {
        let (_, body) = cluster.index.admin("/api/v1/topology").await?;
        let view: serde_json::Value = serde_json::from_str(&body)?;
        let nodes = view["nodes"].as_array().ok_or_else(|| anyhow!("no nodes: {body}"))?;
        let node = nodes.iter().find(|node| node["key"] == slave.as_str());
        let node = node.ok_or_else(|| anyhow!("no {slave}: {body}"))?;
        ensure!(node["lapse"]["cause"] == "silent", "{node}");
        ensure!(node["role"] == "slave" && node["state"] == "active", "marked down: {node}");
        Ok(())
    };
    cluster.node(&slave)?.freeze()?;
    eventually(SOON, "the slave to have lapsed", lapsed).await?;
    ledger.write(&[cluster.node(&master)?.addr()], "meanwhile", 1).await?;
    cluster.node(&slave)?.thaw()?;
    let again = || async {
        let log = cluster.index.log_text()?;
        ensure!(log.contains("it has to copy again; it was silent for"), "not yet");
        Ok(())
    };
    eventually(SOON, "the slave to lose its role", again).await?;
    cluster.takes_shape(1, 2).await?;
    cluster.readable(&ledger).await
}

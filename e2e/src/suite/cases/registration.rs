//! Nodes come to an index that assigns by itself; two with one name; where the index listens.

use anyhow::{Result, ensure};

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, throughout};
use crate::suite::index::Manifest;
use crate::suite::map::{Role, State};
use crate::suite::runner::{Case, skip};

pub(super) const CASES: &[Case] = &[
    case!("registration/nodes join and each gets a number of its own", joins),
    case!("registration/port 0 picks a free one and prints it", free_port),
    case!("registration/a name in use is refused and its owner untouched", name_in_use),
    case!("registration/a second process with a node's name exits 255", second_process),
];

async fn joins(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 1), 3).await?;
    let map = cluster.agreed().await?;
    ensure!(map.count(Role::Master, State::Active) == 1, "{map}");
    ensure!(map.count(Role::Proxy, State::Active) == 2, "{map}");
    let mut numbers: Vec<_> = map.0.values().map(|entry| entry.thread_type).collect();
    numbers.sort_unstable();
    numbers.dedup();
    ensure!(numbers.len() == 3, "two nodes share a thread type:\n{map}");
    ensure!(numbers.iter().all(|number| *number >= 16), "{numbers:?}");
    cluster.fill("k", 30).await?;
    Ok(())
}

async fn free_port(ctx: Context) -> Result<()> {
    let mut index = ctx.auto_index(Manifest::shape(1, 1))?.with_any_port();
    index.spawn()?;
    let listening = index.printed("index").await?;
    ensure!(listening.port() != 0, "it prints {listening}");
    let answer = Client::connect(listening).await?.command("ping").await?;
    ensure!(answer == "OK", "{answer}");
    let (status, body) = index.admin("/healthz").await?;
    ensure!(status == 200, "/healthz answers {status}: {body}");
    Ok(())
}

/// Someone else announces the name of a healthy master.
async fn name_in_use(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 30).await?;
    let master = cluster.master(0).await?;
    let before = cluster.agreed().await?;
    let node = cluster.node(&master)?;
    let answer = cluster.index.command(&format!("node add {}", node.args())).await?;
    ensure!(answer.starts_with("SERVER_ERROR"), "a second {master} is answered {answer}");
    throughout(std::time::Duration::from_secs(3), "the master stays", || async {
        let map = cluster.index.map().await?;
        ensure!(map == before, "the map became\n{map}");
        Ok(())
    })
    .await?;
    cluster.readable(&ledger).await
}

/// A second node process with the master's name, at another address of the machine.
async fn second_process(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let master = cluster.master(0).await?;
    let node = cluster.node(&master)?;
    if node.is_real() {
        return skip("a real flared binds all addresses, so two cannot share a port");
    }
    let before = cluster.agreed().await?;
    let mut twin = node.twin("twin", "127.0.0.2")?;
    twin.spawn()?;
    let status = twin.wait().await?;
    ensure!(status.code() == Some(255), "the twin ended with {status}");
    let after = cluster.agree("the old map", |_| Ok(())).await?;
    ensure!(after == before, "the map became\n{after}");
    let log = cluster.index.log_text()?;
    ensure!(log.contains(&master), "the log does not name {master}");
    tokio::time::timeout(PATIENCE, cluster.fill("k", 10)).await??;
    Ok(())
}

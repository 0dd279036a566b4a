//! What looks like a death for a moment and is none: a node that hangs for less than the limit,
//! one that is slow, one that has no connection left for anybody new. Nothing may move for it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::Instant;

use super::case;
use crate::suite::client::Client;
use crate::suite::context::Context;
use crate::suite::eventually::throughout;
use crate::suite::index::Manifest;
use crate::suite::runner::{Case, skip};
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("false alarms/a master that hangs for one ping stays master", hangs),
    case!("false alarms/a master whose answers drip within the limit stays master", drips),
    case!("false alarms/a master without a free connection stays master", full),
];

/// How long nothing may move: longer than three pings take to be missed.
const WATCHED: Duration = Duration::from_secs(5);

/// How many connections a node of [`full`] takes: enough for the index, the nodes and the witness.
const CONNECTIONS: &str = "40";

/// A node that takes so many knows no limit.
const CONNECTIONS_MAX: usize = 200;

/// The usual watch: a ping each second, which may take a second. So a hung node can be told from
/// one that a busy machine has delayed.
fn stage(settings: &'static [(&'static str, &'static str)]) -> Stage {
    Stage { manifest: Manifest::shape(1, 2), nodes: 3, mode: Mode::Sync, settings }
}

/// The index' map stays that of this version.
async fn nothing_moves(trial: &Trial, version: u64) -> Result<()> {
    let index = &trial.cluster.index;
    throughout(WATCHED, "nothing moves", || async {
        let now = index.version().await?;
        ensure!(now == version, "version {version} became {now}:\n{}", index.map().await?);
        Ok(())
    })
    .await
}

/// One ping is missed, as the index' log tells, and perhaps another; not a third.
async fn hangs(ctx: Context) -> Result<()> {
    let trial = Trial::begin(&ctx, stage(&[])).await?;
    let master = trial.cluster.master(0).await?;
    let mut load = trial.load().await?;
    load.flows(100).await?;
    let version = trial.cluster.index.version().await?;
    let start = trial.cluster.index.log_text()?.len();
    let node = trial.cluster.node(&master)?;
    node.freeze()?;
    node.frozen().await?;
    trial.said("no answer in time", start).await?;
    node.thaw()?;
    nothing_moves(&trial, version).await?;
    trial.end_with(load.stop().await?).await.map(drop)
}

/// Each answer to a ping takes four fifths of what it may.
async fn drips(ctx: Context) -> Result<()> {
    let trial = Trial::begin(&ctx, stage(&[])).await?;
    let master = trial.cluster.master(0).await?;
    let node = trial.cluster.node(&master)?;
    if node.is_real() {
        return skip("a real flared does not send its answers in pieces");
    }
    let version = trial.cluster.index.version().await?;
    // `OK`, with its line end
    node.order("drip 200").await?;
    let began = Instant::now();
    node.client().await?.command("ping").await?;
    ensure!(began.elapsed() >= Duration::from_millis(600), "it does not drip");
    let slow = nothing_moves(&trial, version).await;
    node.order("clear").await?;
    slow?;
    trial.end().await.map(drop)
}

/// Clients take every connection that the master has to give. It accepts others and closes them at
/// once. Those that the index and the nodes have with it stand.
async fn full(ctx: Context) -> Result<()> {
    let mut trial = Trial::begin(&ctx, stage(&[("max-connection", CONNECTIONS)])).await?;
    let master = trial.cluster.master(0).await?;
    let addr = trial.cluster.node(&master)?.addr();
    let version = trial.cluster.index.version().await?;
    let other = trial.cluster.running().find(|node| node.key() != master);
    let other = other.context("there is another node")?.addr();
    let mut clients = Vec::new();
    let pings = async || {
        let mut client = Client::connect(addr).await?;
        client.command("ping").await.map(|_| client)
    };
    while let Ok(client) = pings().await {
        clients.push(client);
        ensure!(clients.len() < CONNECTIONS_MAX, "it goes on accepting");
    }
    nothing_moves(&trial, version).await?;
    ensure!(pings().await.is_err(), "it is not full any more");
    // who is connected to it goes on
    trial.ledger.write(&[other], "full", 20).await?;
    drop(clients);
    trial.end().await.map(drop)
}

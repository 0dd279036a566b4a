//! Clients that write to a master at the moment when it gets a slave: the slave has all of it.
//!
//! A flared drops the copies that meet the moment in which it makes its connections to a slave, and
//! its clients are told `STORED` all the same. So the index has it make them before the slave
//! copies.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::case;
use crate::suite::client::Client;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[case!(
    "connections/sixteen clients write to a master that has just got a slave, which lacks nothing",
    writers
)];

/// How many clients write at the same time, and how many keys each: for longer than the moment.
const WRITERS: usize = 16;
const KEYS: usize = 200;

/// The order that makes the stand-in's moment, two threads, so long that the slave would have
/// copied what there is before it ends. An index that waits for it does so for 500 ms.
const SLOW: &str = "threads delay 50";

async fn writers(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 1).without_breaker();
    let wanted = Manifest { replicas: 2, ..manifest.clone() };
    let stage = Stage { manifest, nodes: 2, mode: Mode::Async, settings: &[] };
    let mut trial = Trial::begin(&ctx, stage).await?;
    let master = trial.cluster.master(0).await?;
    let node = trial.cluster.node(&master)?;
    if node.takes_orders() {
        node.order(SLOW).await?;
    }
    let addr = node.addr();
    let mut clients = Vec::new();
    for _ in 0..WRITERS {
        clients.push(Client::connect(addr).await?.answer_within(PATIENCE));
    }
    trial.grow(wanted)?;
    eventually(PATIENCE, "a slave in the map", || has_slave(addr)).await?;
    let mut writing = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        writing.spawn(write_all(client, number));
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    trial.cluster.takes_shape(1, 2).await?;
    trial.cluster.copies_are_equal(0, 1).await?;
    trial.end().await.map(drop)
}

/// The master itself knows that it has one.
async fn has_slave(master: SocketAddr) -> Result<()> {
    let nodes = Client::connect(master).await?.stats("stats nodes").await?;
    let slave = |(name, role): (&String, &String)| name.ends_with(":role") && role == "slave";
    ensure!(nodes.iter().any(slave), "{nodes:?}");
    Ok(())
}

/// Writes keys of its own, each once: what the slave lacks no later write mends.
async fn write_all(mut client: Client, number: usize) -> Result<()> {
    for count in 0..KEYS {
        let key = format!("writer{number}-{count}");
        let answer = client.set(&key, "x").await?;
        ensure!(answer == "STORED", "{key}: {answer}");
    }
    Ok(())
}

//! Nodes that come back under another name: with another port or another address, with their data
//! or without. For the index they are new nodes, and what a new node brings may be the last copy.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::case;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, throughout};
use crate::suite::index::Manifest;
use crate::suite::map::{Role, State};
use crate::suite::runner::{Case, skip};
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("moving/a slave comes back empty under another port", empty(Name::Port)),
    case!("moving/a slave comes back empty under another address", empty(Name::Address)),
    case!("moving/a slave comes back with old data under another port", full(Name::Port)),
    case!("moving/a slave comes back with old data under another address", full(Name::Address)),
    case!("moving/the only copy comes back under another port", only_copy),
];

/// Which part of its name changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Port,
    Address,
}

/// How long a node is watched that must not be emptied.
const WATCHED: std::time::Duration = std::time::Duration::from_secs(1);

impl Name {
    fn other(self, ctx: &Context, addr: SocketAddr) -> Result<SocketAddr> {
        Ok(match self {
            Self::Port => SocketAddr::new(addr.ip(), ctx.env().ports.take()?),
            Self::Address => SocketAddr::from(([127, 0, 0, 7], addr.port())),
        })
    }
}

fn stage(replicas: u32) -> Stage {
    let manifest = Manifest::shape(1, replicas).quick().without_breaker();
    Stage { manifest, nodes: 2, mode: Mode::Sync, settings: &[] }
}

/// The slave dies and is found dead; life goes on without it.
async fn slave_gone(ctx: &Context) -> Result<(Trial, String)> {
    let mut trial = Trial::begin(ctx, stage(2)).await?;
    let slave = trial.cluster.slave(0).await?;
    trial.cluster.node_mut(&slave)?.kill().await?;
    trial.cluster.sees(&slave, "down", |e| e.state == State::Down).await?;
    trial.life_goes_on("without-the-slave").await?;
    Ok((trial, slave))
}

/// Starts the dead node under its other name; that name.
async fn moves(ctx: &Context, trial: &mut Trial, key: &str, name: Name) -> Result<String> {
    let node = trial.cluster.node_mut(key)?;
    if name == Name::Address && node.is_real() {
        return skip("a real flared listens on all addresses: its old name leads to it, too");
    }
    let addr = name.other(ctx, node.addr())?;
    node.move_to(addr)?;
    node.start().await?;
    Ok(node.key())
}

async fn empty(ctx: Context, name: Name) -> Result<()> {
    let (mut trial, slave) = slave_gone(&ctx).await?;
    trial.cluster.node(&slave)?.lose_data()?;
    let new = moves(&ctx, &mut trial, &slave, name).await?;
    let slave_now = |e: &crate::suite::map::Entry| e.role == Role::Slave;
    trial.cluster.sees(&new, "a copy", slave_now).await?;
    trial.end().await.map(drop)
}

/// What it brings is old, but the index cannot know that: a person says that it may go.
async fn full(ctx: Context, name: Name) -> Result<()> {
    let (mut trial, slave) = slave_gone(&ctx).await?;
    let new = moves(&ctx, &mut trial, &slave, name).await?;
    keeps_its_data(&trial, &new, "MayHoldData").await?;
    trial.cluster.sees(&new, "a proxy", |e| e.role == Role::Proxy).await?;
    let answer = trial.cluster.node(&new)?.client().await?.command("flush_all").await?;
    ensure!(answer == "OK", "flush_all: {answer}");
    trial.end().await.map(drop)
}

/// A person is told, and nothing is taken from the node.
async fn keeps_its_data(trial: &Trial, key: &str, told: &str) -> Result<()> {
    let held = trial.cluster.node(key)?.items().await?;
    ensure!(held > 0, "it came without its data");
    trial.said(told, 0).await?;
    throughout(WATCHED, "its data is kept", || async {
        let items = trial.cluster.node(key)?.items().await?;
        ensure!(items == held, "{items} items, it came with {held}");
        Ok(())
    })
    .await
}

/// Nothing may be made of the partition without a person: an empty master would hide the keys. In
/// this test the person finds out that the name was wrong.
async fn only_copy(ctx: Context) -> Result<()> {
    let mut trial = Trial::begin(&ctx, stage(1)).await?;
    let master = trial.cluster.master(0).await?;
    let addr = trial.cluster.node(&master)?.addr();
    trial.cluster.node_mut(&master)?.kill().await?;
    trial.nobody_serves().await?;
    let new = moves(&ctx, &mut trial, &master, Name::Port).await?;
    keeps_its_data(&trial, &new, "MasterDown").await?;
    let map = trial.cluster.index.map().await?;
    ensure!(map.node(&master)?.role == Role::Master, "the lost master's role is gone:\n{map}");
    ensure!(map.count(Role::Master, State::Active) == 0, "someone else is master:\n{map}");

    let node = trial.cluster.node_mut(&new)?;
    node.kill().await?;
    node.move_to(addr)?;
    node.start().await?;
    crate::suite::eventually(PATIENCE, "the master to serve", || async {
        let map = trial.cluster.index.map().await?;
        ensure!(map.master(0) == Some(master.as_str()), "{map}");
        Ok(())
    })
    .await?;
    trial.end().await.map(drop)
}

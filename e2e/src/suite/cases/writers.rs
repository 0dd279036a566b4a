//! Clients that write through a node while it becomes a slave, in sync mode.
//!
//! Their writes come back to the node as copies before it knows that it is a slave, and wait for
//! themselves (`sync_mode.rs` shows how). With flared's own patience that lasts 40 minutes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::case;
use crate::suite::client::Client;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::map::{Role, State};
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] =
    &[case!("sync/writers at a node that becomes a slave are not kept waiting", writers)];

/// How many clients write at the same time.
const WRITERS: usize = 4;

async fn writers(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(1, 1).quick().without_breaker();
    let stage = Stage { manifest, nodes: 2, mode: Mode::Sync, settings: &[] };
    let wanted = Manifest { replicas: 2, ..stage.manifest.clone() };
    let mut trial = Trial::begin(&ctx, stage).await?;
    let map = trial.cluster.index.map().await?;
    let free = map.0.iter().find(|(_, entry)| entry.role == Role::Proxy);
    let free = free.map(|(key, _)| key.clone()).unwrap_or_default();
    let addr = trial.cluster.node(&free)?.addr();

    let answers: Vec<Arc<AtomicUsize>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let mut tasks = JoinSet::new();
    for (number, answered) in answers.iter().enumerate() {
        tasks.spawn(write_on(addr, number, Arc::clone(answered)));
    }
    get_on(&answers).await?;
    trial.grow(wanted)?;
    let active = |entry: &crate::suite::map::Entry| entry.state == State::Active;
    let is_slave = |entry: &crate::suite::map::Entry| entry.role == Role::Slave && active(entry);
    trial.cluster.sees(&free, "a slave", is_slave).await?;
    get_on(&answers).await?;
    tasks.shutdown().await;
    trial.cluster.copies_are_equal(0, 1).await?;
    trial.end().await.map(drop)
}

/// Every writer gets some answers more.
async fn get_on(answers: &[Arc<AtomicUsize>]) -> Result<()> {
    let counts = || answers.iter().map(|answered| answered.load(Ordering::Relaxed));
    let before: Vec<usize> = counts().collect();
    eventually(PATIENCE, "every writer to get on", || async {
        let slow = counts().zip(&before).filter(|(now, before)| *now < **before + 5).count();
        ensure!(slow == 0, "{slow} of {WRITERS} writers wait");
        Ok(())
    })
    .await
}

/// Writes one key after the other, whatever the answers; counts them.
async fn write_on(addr: SocketAddr, number: usize, answered: Arc<AtomicUsize>) -> Result<()> {
    let mut client = Client::connect(addr).await?.answer_within(2 * PATIENCE);
    for count in 0_usize.. {
        client.set(&format!("writer{number}-{}", count % 50), &count.to_string()).await?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

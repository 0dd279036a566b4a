//! Master and slave die one after the other, in both orders, and come back one after the other.
//!
//! What the second one acknowledged when the first was gone is on the second alone. So whoever
//! died first must not become master with what it had, although it is the first to be back, and
//! must not be emptied either while it may be the only copy.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::case;
use crate::suite::blow::Blow;
use crate::suite::context::Context;
use crate::suite::eventually::throughout;
use crate::suite::index::Manifest;
use crate::suite::map::State;
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

/// Who dies first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Master,
    Slave,
}

pub(super) const CASES: &[Case] = &[
    case!("pairs/master and slave die at once", both(First::Master, 0, 2)),
    case!("pairs/the master dies 300 ms before the slave", both(First::Master, 300, 2)),
    case!("pairs/the master dies 1 s before the slave", both(First::Master, 1_000, 2)),
    case!("pairs/the master dies 2 s before the slave", both(First::Master, 2_000, 2)),
    case!("pairs/slave and master die at once", both(First::Slave, 0, 2)),
    case!("pairs/the slave dies 300 ms before the master", both(First::Slave, 300, 2)),
    case!("pairs/the slave dies 1 s before the master", both(First::Slave, 1_000, 2)),
    case!("pairs/the slave dies 2 s before the master", both(First::Slave, 2_000, 2)),
    case!("pairs/with a spare, 300 ms apart", both(First::Master, 300, 3)),
    case!("pairs/with a spare, 1 s apart", both(First::Slave, 1_000, 3)),
];

async fn both(ctx: Context, first: First, apart_millis: u64, nodes: usize) -> Result<()> {
    let manifest = Manifest::shape(1, 2).quick().without_breaker();
    let stage = Stage { manifest, nodes, mode: Mode::Sync, settings: &[] };
    let mut trial = Trial::begin(&ctx, stage).await?;
    let master = trial.cluster.master(0).await?;
    let slave = trial.cluster.slave(0).await?;
    let (first, second) = match first {
        First::Master => (master, slave),
        First::Slave => (slave, master),
    };
    let mut load = trial.load().await?;
    load.flows(600).await?;
    load.avoid([trial.cluster.node(&first)?.addr()].into()).await?;
    let wound_of_first = Blow::Kill.strike(&mut trial.cluster, &first).await?;
    // the pause is what is tested: the index has noticed nothing yet, or has done its work
    sleep(Duration::from_millis(apart_millis)).await;
    let wound_of_second = Blow::Kill.strike(&mut trial.cluster, &second).await?;
    if nodes == 2 {
        trial.nobody_serves().await?;
    }
    wound_of_first.heal(&mut trial.cluster).await?;
    // time for an index that errs: the first one back is given a role, or emptied
    trial.cluster.sees(&first, "back", |entry| entry.state != State::Down).await?;
    let held = trial.cluster.node(&first)?.items().await?;
    throughout(Duration::from_millis(700), "its data is kept", || async {
        let items = trial.cluster.node(&first)?.items().await?;
        // clients go on deleting where they can; a node that is emptied holds nothing
        ensure!(nodes > 2 || items > held / 2, "{items} items, it came back with {held}");
        Ok(())
    })
    .await?;
    wound_of_second.heal(&mut trial.cluster).await?;
    trial.recovers().await?;
    load.flows(50).await?;
    trial.end_with(load.stop().await?).await.map(drop)
}

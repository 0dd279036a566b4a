//! A node that goes down and comes back again and again. The cluster must not copy for ever, must
//! not lose a key, and must come to rest when the node stays up, with or without it.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::case;
use crate::suite::blow::Blow;
use crate::suite::context::Context;
use crate::suite::eventually::throughout;
use crate::suite::index::Manifest;
use crate::suite::map::State;
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("flapping/a master with a spare dies ten times", flaps(Blow::Kill, 10, 3)),
    case!("flapping/one of two nodes dies ten times", flaps(Blow::Kill, 10, 2)),
    case!("flapping/one of two nodes dies three times", flaps(Blow::Kill, 3, 2)),
    case!("flapping/one of two nodes hangs twice", flaps(Blow::Stop, 2, 2)),
];

/// A copy takes about a quarter of a second, so that some are cut off by the next death.
const COPIES: &[(&str, &str)] = &[("reconstruction-interval", "4000")];

/// How long the map must stay as it is when the node stays up.
const REST: Duration = Duration::from_secs(2);

/// From the second death on a node waits 5 s for a role, then 10 s, then 20 s. After so many deaths
/// that is longer than a test waits.
const WAITED_FOR: usize = 3;

/// The first copy, that of a spare node, and those of the returns between which it had no rest.
const COPIES_MAX: usize = 4;

async fn flaps(ctx: Context, blow: Blow, times: usize, nodes: usize) -> Result<()> {
    let manifest = Manifest::shape(1, 2).quick().without_breaker();
    let stage = Stage { manifest, nodes, mode: Mode::Sync, settings: COPIES };
    let mut trial = Trial::begin(&ctx, stage).await?;
    let flapper = trial.cluster.master(0).await?;
    for time in 0..times {
        let wound = blow.strike(&mut trial.cluster, &flapper).await?;
        trial.cluster.sees(&flapper, "down", |e| e.state == State::Down).await?;
        trial.life_goes_on(&format!("time{time}-")).await?;
        wound.heal(&mut trial.cluster).await?;
        trial.cluster.sees(&flapper, "back", |e| e.state != State::Down).await?;
    }
    if times > WAITED_FOR {
        // a person is told, and may end the pause: an index that begins knows of no deaths
        trial.said("Flapping", 0).await?;
        trial.cluster.index.kill().await?;
        trial.cluster.index.start().await?;
    }
    let settled = trial.recovers().await?;
    throughout(REST, "the map stays", || async {
        let map = trial.cluster.index.map().await?;
        ensure!(map == settled, "the map was\n{settled}and became\n{map}");
        Ok(())
    })
    .await?;
    let (_, history) = trial.end().await?;
    let copies: usize = settled.0.keys().map(|key| history.preparations(key)).sum();
    ensure!(copies <= COPIES_MAX, "{copies} copies were begun for {times} returns");
    Ok(())
}

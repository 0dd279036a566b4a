//! Half of the nodes die at once, as when a zone is lost: the circuit breaker opens. Nothing is
//! moved while it is open, nobody loses data, and who lives goes on serving; when the nodes are
//! back all is as it was, by itself or after a person has said so.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::case;
use crate::suite::blow::{Blow, Wound};
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::map::NodeMap;
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("zone/a master and another's slave die and come back", by_itself(Zone::Mixed)),
    case!("zone/both masters die and come back", by_itself(Zone::Masters)),
    case!("zone/both slaves die and come back", by_itself(Zone::Slaves)),
    case!("zone/the breaker waits for a person if so set", by_hand),
];

/// Who was in the lost zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Mixed,
    Masters,
    Slaves,
}

/// How long nothing may move while the breaker is open.
const WATCHED: Duration = Duration::from_secs(2);

/// For so long the nodes must be well before a breaker closes by itself, and a second.
const RECOVERY: Duration = Duration::from_secs(11);

/// Two partitions of two on four nodes; synchronously, so that a slave that is promoted before the
/// breaker opens has everything.
async fn begin(ctx: &Context, manifest: Manifest) -> Result<Trial> {
    let stage = Stage { manifest, nodes: 4, mode: Mode::Sync, settings: &[] };
    Trial::begin(ctx, stage).await
}

impl Zone {
    async fn nodes(self, trial: &Trial) -> Result<Vec<String>> {
        let master = async |partition| trial.cluster.master(partition).await;
        let slave = async |partition| trial.cluster.slave(partition).await;
        Ok(match self {
            Self::Mixed => vec![master(0).await?, slave(1).await?],
            Self::Masters => vec![master(0).await?, master(1).await?],
            Self::Slaves => vec![slave(0).await?, slave(1).await?],
        })
    }

    /// All its nodes die; returns when the breaker is open.
    async fn dies(self, trial: &mut Trial) -> Result<Vec<Wound>> {
        let mut wounds = Vec::new();
        let start = trial.cluster.index.log_text()?.len();
        for key in self.nodes(trial).await? {
            wounds.push(Blow::Kill.strike(&mut trial.cluster, &key).await?);
        }
        // Said when it is stored, and so when all is that was decided before: the admin interface
        // tells sooner, and a node that was found dead first may be failed over after that.
        trial.said("the circuit breaker opened", start).await?;
        ensure!(trial.cluster.index.breaker_is_open().await?, "it is closed again");
        Ok(wounds)
    }
}

/// The breaker is open: the map stays as it is, no living node loses a key, and what a living
/// master owns can be read and written.
async fn nothing_moves(trial: &mut Trial) -> Result<()> {
    let before = trial.cluster.index.map().await?;
    let held = items(trial).await?;
    throughout(WATCHED, "nothing moves", || async {
        let map = trial.cluster.index.map().await?;
        ensure!(map == before, "the map became\n{map}");
        let now = items(trial).await?;
        ensure!(now == held, "the living hold {now:?} items, and held {held:?}");
        Ok(())
    })
    .await?;
    serves(trial, &before).await
}

async fn items(trial: &Trial) -> Result<Vec<usize>> {
    let looks = trial.cluster.running().map(|node| node.users_keys());
    futures_util::future::try_join_all(looks).await
}

/// Every key of a living master can be overwritten there, and is read there.
async fn serves(trial: &mut Trial, map: &NodeMap) -> Result<()> {
    for partition in [0, 1] {
        let Some(master) = map.master(partition) else { continue };
        let node = trial.cluster.node(master)?;
        if !node.takes_part() {
            continue;
        }
        let addr = node.addr();
        let keys: Vec<String> =
            node.client().await?.dump(partition, 2).await?.into_keys().take(10).collect();
        ensure!(!keys.is_empty(), "{master} holds no key of its partition");
        for key in keys {
            // its slave may be dead, and a synchronous write would wait for it
            let mut client = trial.cluster.node(master)?.client().await?;
            let request = format!("set {key} 0 0 5 async\r\nnewer\r\n");
            client.send(request.as_bytes()).await?;
            let answer = client.line().await?;
            ensure!(answer == "STORED", "{addr} answered set {key}: {answer}");
            trial.ledger.wrote(&key, "newer");
            let found = client.get(&key).await?;
            ensure!(found.as_deref() == Some("newer"), "{key} is {found:?} at {addr}");
        }
    }
    Ok(())
}

async fn by_itself(ctx: Context, zone: Zone) -> Result<()> {
    let mut trial = begin(&ctx, Manifest::shape(2, 2).quick()).await?;
    let wounds = zone.dies(&mut trial).await?;
    nothing_moves(&mut trial).await?;
    for wound in wounds {
        wound.heal(&mut trial.cluster).await?;
    }
    eventually(RECOVERY + PATIENCE, "the breaker to close", || async {
        ensure!(!trial.cluster.index.breaker_is_open().await?, "it is open");
        Ok(())
    })
    .await?;
    trial.end().await.map(drop)
}

async fn by_hand(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(2, 2).quick().without_auto_reset();
    let mut trial = begin(&ctx, manifest).await?;
    let wounds = Zone::Mixed.dies(&mut trial).await?;
    nothing_moves(&mut trial).await?;
    for wound in wounds {
        wound.heal(&mut trial.cluster).await?;
    }
    let since = Instant::now();
    throughout(RECOVERY, "the breaker is open", || async {
        ensure!(
            trial.cluster.index.breaker_is_open().await?,
            "it closed by itself after {:?}",
            since.elapsed()
        );
        Ok(())
    })
    .await?;
    let (status, body) = trial.cluster.index.order("/api/v1/breaker/reset").await?;
    ensure!(status == 200, "the reset is answered {status}: {body}");
    trial.end().await.map(drop)
}

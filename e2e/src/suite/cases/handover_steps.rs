//! A planned swap that is disturbed at each of its steps: the index killed, either node dead or
//! hung, a third node that does not take the map. It ends with one master and all copies equal,
//! with every acknowledged write, and says the truth about how it ended.
//!
//! No client is connected to the old master. A step is made to last by SIGSTOP: of a node without
//! clients (`third`), without which all others have not taken the map, and of the old master.
//! What happens then and what must come of it stands in tables, one per test.
//!
//! Most run in sync mode, in which what was acknowledged is at two nodes whatever dies; and again
//! asynchronously, with nothing queued between the parties when one is disturbed. While the relay
//! is introduced the old master serves as ever, so then what it has queued would be lost with it.

use std::collections::BTreeSet;
use std::time::Duration;

use Mode::{Async, Sync};
use Party::{New, Old, Third};
use Step::{Holding, Introducing, Releasing, Switching};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::handover_troubles::{
    INDEX_DIES, NEW_DIES, NEW_HANGS, OLD_DIES, OLD_HANGS, Party, Step, Strike, THIRD_HANGS, Trouble,
};
use super::{LONG, case};
use crate::load::{Load, RESENT_AFTER, Shape};
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::map::{NodeMap, Role, State};
use crate::suite::node::Node;
use crate::suite::runner::Case;
use crate::suite::trial::Mode;

pub(super) const CASES: &[Case] = &[
    case!("handover/the index is killed at each step of a park", park(Sync, INDEX_DIES), LONG),
    case!("handover/the index is killed at each step of a pause", pause(Sync, INDEX_DIES), LONG),
    case!("handover/the index stands still at each step of a park", index_stalls, LONG),
    case!("handover/the old master dies at each step", park(Sync, OLD_DIES), LONG),
    case!("handover/the old master hangs at each step", park(Sync, OLD_HANGS), LONG),
    case!("handover/the new master dies before it serves", park(Sync, NEW_DIES), LONG),
    case!("handover/the new master hangs before it serves", park(Sync, NEW_HANGS), LONG),
    case!("handover/a third node does not take the map", patient(Sync, THIRD_HANGS), LONG),
    case!("handover/async, the index is killed at each step", pause(Async, INDEX_DIES), LONG),
    case!("handover/async, the old master dies at each step", park(Async, OLD_DIES), LONG),
    case!("handover/async, the old master hangs at each step", park(Async, OLD_HANGS), LONG),
    case!("handover/async, the new master dies before it serves", park(Async, NEW_DIES), LONG),
    case!("handover/async, the new master hangs before it serves", park(Async, NEW_HANGS), LONG),
];

const PARK: &str = "{}";
const PAUSE: &str = r#"{"pause":true}"#;

/// How often a step may be missed because a busy machine was slow.
const TRIES: usize = 5;

/// Operations before a swap and again after it.
const OPERATIONS: u64 = 100;

/// So many missed pings make a node dead for [`patient`]; a swap waits for three seconds at most.
const PATIENT: u32 = 10;

/// For so long an index stands still: longer than a swap may take.
const STALL: Duration = Duration::from_secs(8);

/// How many nodes have no clients: the first ones.
const PARTIES: usize = 3;

/// What the index answered to the order, or that it did not.
type Answer = JoinHandle<Result<(u16, String)>>;

/// A cluster with a swap under way.
struct Stage {
    cluster: Cluster,
    load: Load,
    /// Keys of the old master, of the slave that is to take over, and of the one that holds none
    /// and has no clients.
    old: String,
    new: String,
    third: String,
    mode: Mode,
    /// Has the swap a relay?
    parks: bool,
    /// Until it was looked at.
    answer: Option<Answer>,
}

/// Four nodes, of which the last has the clients. That one is to leave, so that it gets no role:
/// in sync mode a node that becomes a slave while clients write through it may have to wait for
/// its master, and that for it (see the suite `sync`).
async fn cluster(ctx: &Context, mode: Mode, manifest: Manifest) -> Result<Cluster> {
    let mut index = ctx.auto_index(manifest.clone())?;
    let mut nodes = ctx.nodes(4, &index)?;
    nodes.iter_mut().for_each(|node| node.setting("replication-type", mode.name()));
    let clients: Vec<String> = nodes.iter().map(Node::key).skip(PARTIES).collect();
    index.set_manifest(manifest.without(&clients))?;
    index.start().await?;
    let mut cluster = Cluster { index, nodes };
    cluster.start_nodes().await?;
    cluster.takes_shape(1, 2).await?;
    Ok(cluster)
}

impl Stage {
    /// Brings a swap to a step, under load, and keeps it there for one or two seconds.
    async fn reach(
        mut cluster: Cluster,
        mode: Mode,
        step: Step,
        order: &'static str,
    ) -> Result<Self> {
        for _ in 0..TRIES {
            // the swap does not wait for a third node that is down
            let map = cluster.is_whole(1, 2).await?;
            let (Some(old), [new]) = (map.master(0), &map.slaves(0)[..]) else { bail!("{map}") };
            let (old, new) = (old.to_owned(), (*new).to_owned());
            let mut parties = cluster.nodes.iter().take(PARTIES).map(Node::key);
            let third = parties.find(|key| *key != old && *key != new);
            let Some(third) = third else { bail!("{map}") };
            let shape = cluster.load_shape(&format!("{step:?}-{}-", rand::random::<u16>()), 4);
            let mut load = Load::start(&Shape { resent_after: RESENT_AFTER, ..shape })?;
            let away = [&old, &new, &third].map(|key| cluster.node(key).map(|node| node.addr()));
            load.avoid(away.into_iter().collect::<Result<BTreeSet<_>>>()?).await?;
            load.flows(OPERATIONS).await?;

            let version = cluster.index.version().await?;
            freeze(&cluster, &third).await?;
            let admin = cluster.index.printed("admin").await?;
            let answer = tokio::spawn(async move {
                let path = "/api/v1/partitions/0/switchover";
                crate::suite::http::post(admin, path, order, PATIENCE).await
            });
            let answer = Some(answer);
            let parks = order == PARK;
            let stage = Self { cluster, load, old, new, third, mode, parks, answer };
            if stage.go_to(step, version).await? {
                return Ok(stage);
            }
            stage.thaw_all();
            cluster = stage.ends_well().await?;
        }
        bail!("{step:?} was missed {TRIES} times")
    }

    /// False if the swap was taken back on the way: it has a limit for each step.
    async fn go_to(&self, step: Step, before: u64) -> Result<bool> {
        let shows = |wanted: Step| async move {
            eventually(PATIENCE, &format!("{wanted:?}"), || async {
                let version = self.cluster.index.version().await?;
                let map = self.cluster.index.map().await?;
                let now = self.step_of(&map, version - before);
                ensure!(now.is_some_and(|now| now >= wanted) || self.is_over(), "{map}");
                Ok(now == Some(wanted))
            })
            .await
        };
        if self.parks && (!shows(Introducing).await? || step == Introducing) {
            return Ok(shows(step).await? && !self.is_over());
        }
        if !shows(Holding).await? {
            return Ok(false);
        }
        self.owe_nothing(before + u64::from(self.parks)).await?;
        if step == Holding {
            return Ok(!self.is_over());
        }
        freeze(&self.cluster, &self.old).await?;
        self.cluster.node(&self.third)?.thaw()?;
        if !shows(Switching).await? || step == Switching {
            return Ok(shows(step).await? && !self.is_over());
        }
        freeze(&self.cluster, &self.third).await?;
        self.cluster.node(&self.old)?.thaw()?;
        Ok(shows(Releasing).await? && !self.is_over())
    }

    /// Waits until the nodes that have clients know the map after `before`, and have sent the old
    /// master what they had for it, and it has sent that to its slave.
    async fn owe_nothing(&self, before: u64) -> Result<()> {
        let map = self.cluster.index.map().await?;
        let towards = map.node(&self.old)?.thread_type;
        let (old, third) = (self.old.as_str(), self.third.as_str());
        for node in self.cluster.running() {
            if [old, third].contains(&node.key().as_str()) {
                continue;
            }
            eventually(PATIENCE, "nothing queued towards the old master", || async {
                ensure!(node.map().await?.0 > before, "it has not taken the map");
                ensure!(node.owes(towards).await? == 0, "something is queued or under way");
                Ok(())
            })
            .await?;
        }
        let towards = map.node(&self.new)?.thread_type;
        eventually(PATIENCE, "nothing queued towards the new master", || async {
            let owed = self.cluster.node(&self.old)?.owes(towards).await?;
            ensure!(owed == 0, "{owed} are queued or under way");
            Ok(())
        })
        .await
    }

    fn key(&self, party: Party) -> &str {
        match party {
            Old => &self.old,
            New => &self.new,
            Third => &self.third,
        }
    }

    async fn suffer(&mut self, strike: Strike) -> Result<()> {
        match strike {
            Strike::Index => {
                self.cluster.index.kill().await?;
                self.cluster.index.start().await?;
                self.thaw_all();
            }
            Strike::Kill(party) => {
                let key = self.key(party).to_owned();
                self.cluster.node_mut(&key)?.kill().await?;
                self.thaw_all();
            }
            Strike::Hang(parties) => {
                for party in parties {
                    freeze(&self.cluster, self.key(*party)).await?;
                }
                for party in [Old, New, Third].into_iter().filter(|it| !parties.contains(it)) {
                    self.cluster.node(self.key(party))?.thaw()?;
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.answer.as_ref().is_none_or(Answer::is_finished)
    }

    /// The step that a map shows, `versions` after the one before the swap.
    fn step_of(&self, map: &NodeMap, versions: u64) -> Option<Step> {
        let of_ours = |key: &str| self.cluster.node(key).is_ok();
        let relay_serves = map.master(0).is_some_and(|key| !of_ours(key));
        let relay_reads = map.slaves(0).iter().any(|key| !of_ours(key));
        // A park has one map more than a pause.
        let held = 1 + u64::from(self.parks);
        let refuses = |key: &str| {
            map.node(key).is_ok_and(|e| e.role == Role::Master && e.state == State::Down)
        };
        match versions {
            _ if map.master(0) == Some(&self.new) => Some(Releasing),
            1 if relay_reads && map.master(0) == Some(&self.old) => Some(Introducing),
            _ if versions == held && (relay_serves || refuses(&self.old)) => Some(Holding),
            _ if versions == held + 1 && (relay_serves || refuses(&self.new)) => Some(Switching),
            _ => None,
        }
    }

    /// Lets all that were stopped go on.
    fn thaw_all(&self) {
        for node in self.cluster.running() {
            // one that was killed meanwhile needs no thawing
            node.thaw().ok();
        }
    }

    /// Waits until a node is the master by the index' word, whoever hangs still.
    async fn becomes_master(&self, key: &str) -> Result<()> {
        eventually(PATIENCE, &format!("{key} to be the master"), || async {
            let map = self.cluster.index.map().await?;
            ensure!(map.master(0) == Some(key), "{map}");
            Ok(())
        })
        .await
    }

    /// Is the order answered as `done` says?
    async fn answers(&mut self, done: bool) -> Result<()> {
        let answer = self.answer.take().ok_or_else(|| anyhow!("it was looked at already"))?;
        let (status, text) = answer.await??;
        ensure!((status == 200) == done, "the index answered {status} {text}");
        Ok(())
    }

    /// All nodes agree on one master with one slave, the load goes on, every acknowledged write is
    /// there and the copies are equal.
    async fn ends_well(self) -> Result<Cluster> {
        if self.mode == Async {
            self.cluster.nobody_owes_the_dead().await?;
        }
        let Self { mut cluster, mut load, answer, .. } = self;
        // without an index it ends by itself
        if let Some(answer) = answer {
            answer.await.ok();
        }
        for node in &mut cluster.nodes {
            if node.ended()? {
                node.start().await?;
            }
        }
        cluster.takes_shape(1, 2).await?;
        load.avoid(BTreeSet::new()).await?;
        load.flows(OPERATIONS).await?;
        let outcome = load.stop().await?;
        cluster.right(&outcome).await?;
        cluster.copies_are_equal(0, 1).await?;
        Ok(cluster)
    }
}

async fn freeze(cluster: &Cluster, key: &str) -> Result<()> {
    cluster.node(key)?.freeze()?;
    cluster.node(key)?.frozen().await
}

fn manifest() -> Manifest {
    Manifest::shape(1, 2).without_breaker()
}

async fn park(ctx: Context, mode: Mode, troubles: &[Trouble]) -> Result<()> {
    disturbed(&ctx, (mode, manifest()), PARK, troubles).await
}

/// A park of an index that finds no node dead before the swap gives up waiting for it.
async fn patient(ctx: Context, mode: Mode, troubles: &[Trouble]) -> Result<()> {
    let manifest = manifest();
    let lapse_millis = manifest.lapse_millis;
    disturbed(&ctx, (mode, manifest.silence(PATIENT, lapse_millis)), PARK, troubles).await
}

async fn pause(ctx: Context, mode: Mode, troubles: &[Trouble]) -> Result<()> {
    let troubles = troubles.iter().copied().filter(|trouble| trouble.at != Introducing);
    disturbed(&ctx, (mode, manifest()), PAUSE, &troubles.collect::<Vec<_>>()).await
}

/// One swap after the other, each disturbed in its way.
async fn disturbed(
    ctx: &Context,
    (mode, manifest): (Mode, Manifest),
    order: &'static str,
    troubles: &[Trouble],
) -> Result<()> {
    let mut cluster = cluster(ctx, mode, manifest).await?;
    for trouble in troubles {
        if mode == Async && trouble.at == Introducing && trouble.strike.hits(Old) {
            continue;
        }
        let mut stage = Stage::reach(cluster, mode, trouble.at, order).await?;
        stage.suffer(trouble.strike).await?;
        for _ in 0..TRIES {
            // on a busy machine the strike may come when the swap is done
            if trouble.done != Some(false) || !stage.is_over() {
                break;
            }
            stage.thaw_all();
            stage = Stage::reach(stage.ends_well().await?, mode, trouble.at, order).await?;
            stage.suffer(trouble.strike).await?;
        }
        stage.becomes_master(stage.key(trouble.master)).await?;
        if let Some(done) = trouble.done {
            stage.answers(done).await?;
        }
        stage.thaw_all();
        cluster = stage.ends_well().await.with_context(|| format!("{trouble:?}"))?;
    }
    Ok(())
}

/// The index stands still, and the relay in it, with the writes that it holds, until each step has
/// taken too long. The swap may be done or taken back then, but not be left between, nor lose what
/// was held.
async fn index_stalls(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx, Sync, manifest()).await?;
    for step in [Introducing, Holding, Switching, Releasing] {
        let mut stage = Stage::reach(cluster, Sync, step, PARK).await?;
        stage.cluster.index.signal(Signal::STOP)?;
        stage.thaw_all();
        // the pause is what is tested
        sleep(STALL).await;
        stage.cluster.index.signal(Signal::CONT)?;
        let map = stage.cluster.takes_shape(1, 2).await?;
        stage.answers(map.master(0) == Some(&stage.new)).await?;
        cluster = stage.ends_well().await.with_context(|| format!("{step:?}"))?;
    }
    Ok(())
}

//! A planned swap that is disturbed at each of its steps: the index killed, either node dead or
//! hung, a third node that does not take the map. It ends with one master and all copies equal,
//! with every acknowledged write, and says the truth about how it ended.
//!
//! No client is connected to the old master. A step is made to last by SIGSTOP: of a node without
//! clients (`third`), without which all others have not taken the map, and of the old master.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail, ensure};
use tokio::task::JoinHandle;

use super::case;
use crate::load::Load;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::map::{NodeMap, Role, State};
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("handover/the index is killed at each step of a park", index_park, super::LONG),
    case!("handover/the index is killed at each step of a pause", index_pause, super::LONG),
    case!("handover/the old master dies at each step", old_dies, super::LONG),
    case!("handover/the old master hangs at each step", old_hangs, super::LONG),
    case!("handover/the new master dies before it serves", new_dies, super::LONG),
    case!("handover/the new master hangs before it serves", new_hangs, super::LONG),
    case!("handover/a third node does not take the map", third_hangs, super::LONG),
];

const PARK: &str = "{}";
const PAUSE: &str = r#"{"pause":true}"#;

/// The steps, in order, each a stored map (flare-protocol.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// All but the old master know that it is none.
    Holding,
    /// The old master is told.
    Switching,
    /// The new master serves; all are told.
    Releasing,
}

const STEPS: [Step; 3] = [Step::Holding, Step::Switching, Step::Releasing];

/// How often a step may be missed because a busy machine was slow.
const TRIES: usize = 5;

/// Operations before a swap and again after it.
const OPERATIONS: u64 = 100;

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
    /// Until it was looked at.
    answer: Option<Answer>,
}

/// They replicate asynchronously, and nothing is queued between the parties when one is disturbed.
/// In sync mode a copy that reaches a node just before the map that makes it a slave goes back to
/// the master, and may wait there for the write that it belongs to (flare-protocol.md 12).
async fn cluster(ctx: &Context) -> Result<Cluster> {
    Cluster::auto(ctx, Manifest::shape(1, 2).without_breaker(), 4).await
}

impl Stage {
    /// Brings a swap to a step, under load, and keeps it there for about two seconds.
    async fn reach(mut cluster: Cluster, step: Step, order: &'static str) -> Result<Self> {
        for _ in 0..TRIES {
            let map = cluster.takes_shape(1, 2).await?;
            let (Some(old), [new]) = (map.master(0), &map.slaves(0)[..]) else { bail!("{map}") };
            let (old, new) = (old.to_owned(), (*new).to_owned());
            let proxy = |key: &&String| **key != old && **key != new;
            let keys: Vec<String> = cluster.nodes.iter().map(|node| node.key()).collect();
            let Some(third) = keys.iter().find(proxy).cloned() else { bail!("{map}") };
            let mut load = cluster.load(&format!("{step:?}-{}-", rand::random::<u16>()), 4)?;
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
            let stage = Self { cluster, load, old, new, third, answer: Some(answer) };
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
        if !shows(Step::Holding).await? {
            return Ok(false);
        }
        self.owe_nothing(before).await?;
        if step == Step::Holding {
            return Ok(!self.is_over());
        }
        freeze(&self.cluster, &self.old).await?;
        self.cluster.node(&self.third)?.thaw()?;
        if !shows(Step::Switching).await? || step == Step::Switching {
            return Ok(shows(step).await? && !self.is_over());
        }
        freeze(&self.cluster, &self.third).await?;
        self.cluster.node(&self.old)?.thaw()?;
        Ok(shows(Step::Releasing).await? && !self.is_over())
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

    fn is_over(&self) -> bool {
        self.answer.as_ref().is_none_or(Answer::is_finished)
    }

    /// The step that a map shows, `versions` after the one before the swap.
    fn step_of(&self, map: &NodeMap, versions: u64) -> Option<Step> {
        let of_ours = |key: &str| self.cluster.node(key).is_ok();
        let relay_serves = map.master(0).is_some_and(|key| !of_ours(key));
        let refuses = |key: &str| {
            map.node(key).is_ok_and(|e| e.role == Role::Master && e.state == State::Down)
        };
        match versions {
            _ if map.master(0) == Some(&self.new) => Some(Step::Releasing),
            1 if relay_serves || refuses(&self.old) => Some(Step::Holding),
            2 if relay_serves || refuses(&self.new) => Some(Step::Switching),
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

async fn index_park(ctx: Context) -> Result<()> {
    index_killed(&ctx, PARK).await
}

async fn index_pause(ctx: Context) -> Result<()> {
    index_killed(&ctx, PAUSE).await
}

/// Held writes go back to an old master that was never told; a switch that it may know of is
/// completed.
async fn index_killed(ctx: &Context, order: &'static str) -> Result<()> {
    let mut cluster = cluster(ctx).await?;
    for step in STEPS {
        let mut stage = Stage::reach(cluster, step, order).await?;
        stage.cluster.index.kill().await?;
        stage.cluster.index.start().await?;
        stage.thaw_all();
        let master = if step == Step::Holding { &stage.old } else { &stage.new };
        stage.becomes_master(master).await?;
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

async fn old_dies(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx).await?;
    for step in STEPS {
        let mut stage = Stage::reach(cluster, step, PARK).await?;
        let old = stage.old.clone();
        stage.cluster.node_mut(&old)?.kill().await?;
        stage.thaw_all();
        stage.becomes_master(&stage.new).await?;
        stage.answers(true).await?;
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

async fn old_hangs(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx).await?;
    for step in STEPS {
        let mut stage = Stage::reach(cluster, step, PARK).await?;
        freeze(&stage.cluster, &stage.old).await?;
        if step != Step::Holding {
            stage.cluster.node(&stage.third)?.thaw()?;
        }
        // found dead, as ever; what was held meanwhile is not lost
        stage.becomes_master(&stage.new).await?;
        if step != Step::Holding {
            stage.answers(true).await?;
        }
        stage.thaw_all();
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

/// Not at the last step: there it is a master that dies, which is no matter of the swap any more.
async fn new_dies(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx).await?;
    for step in [Step::Holding, Step::Switching] {
        let mut stage = Stage::reach(cluster, step, PARK).await?;
        let new = stage.new.clone();
        stage.cluster.node_mut(&new)?.kill().await?;
        stage.thaw_all();
        stage.becomes_master(&stage.old).await?;
        stage.answers(false).await?;
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

/// Not at the last step, as above.
async fn new_hangs(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx).await?;
    for step in [Step::Holding, Step::Switching] {
        let mut stage = Stage::reach(cluster, step, PARK).await?;
        freeze(&stage.cluster, &stage.new).await?;
        for key in [&stage.old, &stage.third] {
            stage.cluster.node(key)?.thaw()?;
        }
        stage.becomes_master(&stage.old).await?;
        stage.answers(false).await?;
        stage.thaw_all();
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

/// The others do not go on without a node that might send to the old master still; at the end
/// nobody waits for it.
async fn third_hangs(ctx: Context) -> Result<()> {
    let mut cluster = cluster(&ctx).await?;
    for (step, done) in [(Step::Holding, false), (Step::Releasing, true)] {
        let mut stage = Stage::reach(cluster, step, PARK).await?;
        stage.answers(done).await?;
        let master = if done { &stage.new } else { &stage.old };
        stage.becomes_master(master).await?;
        stage.thaw_all();
        cluster = stage.ends_well().await?;
    }
    Ok(())
}

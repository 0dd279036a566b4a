//! A cluster with keys in it, under the eyes of a witness: what most tests of failover begin with,
//! and what each of them must show in the end.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use super::cluster::Cluster;
use super::context::Context;
use super::eventually::{PATIENCE, eventually};
use super::index::Manifest;
use super::keys::Ledger;
use super::map::{NodeMap, Role, State};
use super::node::Node;
use super::witness::{History, Witness};
use crate::load::{Load, Outcome, RESENT_AFTER, Shape};

/// How long a client of a trial's load waits for an answer: what is answered later may have been
/// carried out twice, and then a counter is one too high, and a deleted key is not found.
const CLIENT_PATIENCE: Duration = RESENT_AFTER;

/// How long a client rests after an unclear answer: the key is of no use any more.
const CLIENT_REST: Duration = Duration::from_millis(200);

/// One in so many keys of a load must never have met an unclear answer, so that something is shown.
/// On an idle machine more than half do not; on one that is ten times slower one in four.
const ONE_CLEAR_IN: usize = 8;

/// How many keys a client of a trial's load lays aside at most. A slow copy of all keys takes
/// seconds then, and so does a look at each of them at every node.
const KEPT: usize = 32;

/// How many keys a trial begins with; some of them are deleted and changed right away.
const KEYS: usize = 60;

/// How masters answer writes: `replication-type` of flared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When the slaves have it. What was acknowledged survives the master.
    Sync,
    /// At once. What was acknowledged in the last moment before a master died may be lost.
    Async,
}

impl Mode {
    /// As the value of `replication-type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// What a trial is about.
#[derive(Debug)]
pub struct Stage {
    /// The wanted shape.
    pub manifest: Manifest,
    /// How many nodes; more than the shape needs are spare.
    pub nodes: usize,
    /// How masters answer.
    pub mode: Mode,
    /// flared's settings of all nodes, besides.
    pub settings: &'static [(&'static str, &'static str)],
}

/// A cluster in its wanted shape, with keys that were written, overwritten and deleted, and that
/// every node answers rightly.
#[derive(Debug)]
pub struct Trial {
    /// The cluster.
    pub cluster: Cluster,
    /// The keys, deleted ones included. Only changes that are noted here may be made to them.
    pub ledger: Ledger,
    witness: Witness,
    shape: (u32, u32),
    /// Has it got more partitions meanwhile?
    grew: bool,
}

impl Trial {
    /// Sets the stage.
    pub async fn begin(ctx: &Context, stage: Stage) -> Result<Self> {
        Self::begin_in(ctx, stage, &[]).await
    }

    /// Sets the stage, with nodes in zones: the first in the zone of the first name, and so on.
    /// Nothing is assigned before the index has seen all nodes.
    pub async fn begin_in(ctx: &Context, stage: Stage, zones: &[&str]) -> Result<Self> {
        let Stage { manifest, .. } = stage;
        let shape = (manifest.partitions, manifest.replicas);
        let mut index = ctx.auto_index(manifest.clone())?;
        let mut nodes = ctx.nodes(stage.nodes, &index)?;
        let keys = nodes.iter().map(Node::key);
        let zoned = keys.zip(zones.iter().map(|&zone| zone.to_owned()));
        let manifest = manifest.zoned(zoned);
        let waits = Manifest { paused: !zones.is_empty(), ..manifest.clone() };
        index.set_manifest(waits)?;
        index.start().await?;
        for node in &mut nodes {
            node.setting("replication-type", stage.mode.name());
            for (key, value) in stage.settings {
                node.setting(key, *value);
            }
            if !node.is_real() {
                node.with_control(ctx.env().ports.take()?);
            }
        }
        let witness = Witness::begin(index.addr(), nodes.iter().map(|node| node.addr()));
        let mut cluster = Cluster { index, nodes };
        cluster.start_nodes().await?;
        if !zones.is_empty() {
            cluster.seen().await?;
            cluster.index.set_manifest(manifest)?;
        }
        cluster.takes_shape(shape.0, shape.1).await?;
        let ledger = cluster.fill("k", KEYS).await?;
        let mut trial = Self { cluster, ledger, witness, shape, grew: false };
        trial.life_goes_on("more").await?;
        trial.cluster.readable(&trial.ledger).await?;
        Ok(trial)
    }

    /// Deletes, overwrites and adds keys through the nodes that take part.
    pub async fn life_goes_on(&mut self, prefix: &str) -> Result<()> {
        let nodes: Vec<_> = self.cluster.running().map(|node| node.addr()).collect();
        let first = *nodes.first().ok_or_else(|| anyhow!("no node takes part"))?;
        let present: Vec<String> = self.ledger.present().map(ToOwned::to_owned).collect();
        let (deleted, rest) = present.split_at(present.len() / 4);
        self.ledger.delete(first, deleted).await?;
        let changed = &rest[..rest.len() / 3];
        self.ledger.overwrite(first, changed, prefix).await?;
        self.ledger.write(&nodes, prefix, KEYS / 4).await
    }

    /// From now on another shape is wanted.
    pub fn grow(&mut self, manifest: Manifest) -> Result<()> {
        self.grew |= manifest.partitions > self.shape.0;
        self.shape = (manifest.partitions, manifest.replicas);
        self.cluster.index.set_manifest(manifest)
    }

    /// Load through all masters and slaves, by clients that do not wait long, on keys enough that
    /// most of them meet no refusal.
    ///
    /// Not through spare nodes, and neither through one that is to become a slave again: what a
    /// node passes on to its master in sync mode, at the moment when the master knows it as a
    /// slave and it does not yet, comes back to it as a copy, is passed on again behind itself,
    /// and holds up that connection for as long as `net-read-timeout` lets it.
    pub async fn load(&self) -> Result<Load> {
        let map = self.cluster.agree("one map", |_| Ok(())).await?;
        let serves = |node: &&Node| map.node(&node.key()).is_ok_and(|e| e.role != Role::Proxy);
        let nodes = self.cluster.running().filter(serves).map(Node::addr).collect();
        let shape = self.cluster.load_shape("load", 6);
        let (patience, rest) = (CLIENT_PATIENCE, CLIENT_REST);
        Load::start(&Shape {
            nodes,
            values: 120,
            counters: 24,
            kept: KEPT,
            patience,
            rest,
            ..shape
        })
    }

    /// Waits until another node than `old` is master of the partition, for all that take part.
    pub async fn replaced(&self, old: &str, partition: i32) -> Result<String> {
        let map = self.cluster.agree("another master", |map| {
            ensure!(map.master(partition).is_some_and(|now| now != old), "{map}");
            Ok(())
        });
        Ok(map.await?.master(partition).expect("it was there a moment ago").to_owned())
    }

    /// Waits until the index knows that no partition has a master that is not down.
    pub async fn nobody_serves(&self) -> Result<NodeMap> {
        eventually(PATIENCE, "all masters to be down", || async {
            let map = self.cluster.index.map().await?;
            ensure!(map.count(Role::Master, State::Active) == 0, "{map}");
            Ok(map)
        })
        .await
    }

    /// Waits until no node that takes part is down, for all of them, and the wanted shape is there.
    pub async fn recovers(&self) -> Result<NodeMap> {
        self.cluster.is_whole(self.shape.0, self.shape.1).await
    }

    /// What holds after every trial: the wanted shape is there, every node that takes part answers
    /// with exactly what was acknowledged, deleted keys are gone, and nobody ever showed two
    /// masters of one partition.
    pub async fn end(self) -> Result<(Cluster, History)> {
        self.recovers().await?;
        self.cluster.readable(&self.ledger).await?;
        let history = self.witness.end().await?;
        Ok((self.cluster, history))
    }

    /// As [`Trial::end`], with the keys of a load. Keys with an operation that had no clear answer
    /// are left out; at least one in [`ONE_CLEAR_IN`] must be left.
    ///
    /// When a key moves to a new partition, an increment that a node sent to the old master just
    /// before, and one that it sends to the new master, may both count from the same number
    /// (seen: one in some hundred counters), so counters of several clients prove nothing then.
    pub async fn end_with(self, mut outcome: Outcome) -> Result<(Cluster, History)> {
        if self.grew {
            outcome.forget_contended_counters();
        }
        let all = outcome.keys.len();
        let unclear = outcome.forget_unclear();
        let last = outcome.seen.last_unclear.as_deref().unwrap_or_default();
        let left = all - unclear;
        ensure!(left >= all / ONE_CLEAR_IN, "{unclear} of {all} keys are unclear, last: {last}");
        self.recovers().await?;
        self.cluster.right(&outcome).await?;
        self.end().await
    }

    /// Waits until the index says that in its log, from `start` bytes on.
    pub async fn said(&self, what: &str, start: usize) -> Result<()> {
        eventually(PATIENCE, &format!("`{what}` in the index's log"), || async {
            let log = self.cluster.index.log_text()?;
            let new = log.get(start..).unwrap_or_default();
            ensure!(new.contains(what), "its log ends with {:?}", new.lines().last());
            Ok(())
        })
        .await
    }
}

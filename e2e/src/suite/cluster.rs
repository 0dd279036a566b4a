//! An index with its nodes, and what may be asked of them together: above all whether every
//! living node works by the same map as the index, and what that map looks like.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::context::Context;
use super::eventually::{PATIENCE, eventually};
use super::index::{Index, Manifest};
use super::keys::Ledger;
use super::map::{Entry, NodeMap, State};
use super::node::Node;
use crate::load::{self, Load, Outcome, Shape};

/// How often a swap of a master may be taken back because a busy machine was slow: each of its
/// steps has a limit.
pub const SWAP_TRIES: usize = 5;

/// An index and nodes that belong to it.
#[derive(Debug)]
pub struct Cluster {
    /// The index.
    pub index: Index,
    /// The nodes, in the order of their keys as far as they were made together.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts an index that assigns towards `manifest` and `nodes` nodes, and waits until every
    /// node works by a map of that shape.
    pub async fn auto(ctx: &Context, manifest: Manifest, nodes: usize) -> Result<Self> {
        Self::auto_with(ctx, manifest, nodes, &[]).await
    }

    /// As [`Cluster::auto`], with settings for every node: keys of flared's configuration.
    pub async fn auto_with(
        ctx: &Context,
        manifest: Manifest,
        nodes: usize,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let (partitions, replicas) = (manifest.partitions, manifest.replicas);
        let mut index = ctx.auto_index(manifest)?;
        index.start().await?;
        let mut nodes = ctx.nodes(nodes, &index)?;
        for node in &mut nodes {
            settings.iter().for_each(|(key, value)| node.setting(key, *value));
        }
        let mut cluster = Self { index, nodes };
        cluster.start_nodes().await?;
        cluster.takes_shape(partitions, replicas).await?;
        Ok(cluster)
    }

    /// Starts an index that assigns nothing, and nodes that are proxies so far.
    pub async fn manual(ctx: &Context, nodes: usize) -> Result<Self> {
        let mut index = ctx.manual_index()?;
        index.start().await?;
        let nodes = ctx.nodes(nodes, &index)?;
        let mut cluster = Self { index, nodes };
        cluster.start_nodes().await?;
        Ok(cluster)
    }

    /// Starts all nodes, and waits until each answers.
    pub async fn start_nodes(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.spawn()?;
        }
        for node in &mut self.nodes {
            node.answers().await?;
        }
        Ok(())
    }

    /// Waits until the index has looked into every node, and each has the present map.
    pub async fn seen(&self) -> Result<()> {
        eventually(PATIENCE, "the index to see all nodes", || async {
            let (_, body) = self.index.admin("/api/v1/topology").await?;
            let view: serde_json::Value = serde_json::from_str(&body)?;
            let nodes = view["nodes"].as_array().into_iter().flatten();
            let version = view["version"].as_u64();
            let seen = |node: &&serde_json::Value| {
                node["items"].is_number() && node["acknowledged"].as_u64() >= version
            };
            let seen = nodes.filter(seen).count();
            ensure!(seen == self.nodes.len(), "{seen} of {}", self.nodes.len());
            Ok(())
        })
        .await
    }

    /// The node with this key.
    pub fn node(&self, key: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.key() == key);
        found.ok_or_else(|| anyhow!("no node of this test is {key}"))
    }

    /// The node with this key.
    pub fn node_mut(&mut self, key: &str) -> Result<&mut Node> {
        let found = self.nodes.iter_mut().find(|node| node.key() == key);
        found.ok_or_else(|| anyhow!("no node of this test is {key}"))
    }

    /// The nodes that have a process and are not set aside.
    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.takes_part())
    }

    /// The map by which *all* running nodes work, which is the index's too; an error while they
    /// differ. A node that has not acknowledged a map shows the old one.
    pub async fn agreed(&self) -> Result<NodeMap> {
        let version = self.index.version().await?;
        let map = self.index.map().await?;
        self.nodes_hold(version, &map, None).await?;
        Ok(map)
    }

    /// As [`Cluster::agreed`], leaving out one node: a frozen one acknowledges nothing.
    pub async fn agreed_without(&self, frozen: &str) -> Result<NodeMap> {
        let version = self.index.version().await?;
        let map = self.index.map().await?;
        self.nodes_hold(version, &map, Some(frozen)).await?;
        Ok(map)
    }

    async fn nodes_hold(&self, version: u64, map: &NodeMap, except: Option<&str>) -> Result<()> {
        let looks = self.running().filter(|node| Some(node.key().as_str()) != except);
        let looks = looks.map(|node| async {
            let (held, theirs) = node.map().await.with_context(|| node.key())?;
            ensure!(held == version, "{} holds version {held}, not {version}", node.key());
            ensure!(&theirs == map, "{} works by\n{theirs}not by\n{map}", node.key());
            Ok(())
        });
        futures_util::future::try_join_all(looks).await.map(drop)
    }

    /// Has copies stop before their next entry, or go on: what is to happen in the middle of one
    /// does, however slow the machine. Nodes that take no orders, real ones above all, go on: with
    /// them only the pause per key makes a copy last.
    pub async fn hold_copies(&self, hold: bool) -> Result<()> {
        let order = if hold { "copy hold" } else { "copy release" };
        for node in self.running().filter(|node| node.takes_orders()) {
            node.order(order).await?;
        }
        Ok(())
    }

    /// Waits until all running nodes agree on a map for which `condition` holds.
    pub async fn agree(
        &self,
        what: &str,
        condition: impl Fn(&NodeMap) -> Result<()>,
    ) -> Result<NodeMap> {
        eventually(PATIENCE, what, || async {
            let map = self.agreed().await?;
            condition(&map)?;
            Ok(map)
        })
        .await
    }

    /// Waits until all running nodes agree on `partitions` × `copies`, nothing preparing.
    pub async fn takes_shape(&self, partitions: u32, copies: u32) -> Result<NodeMap> {
        let (partitions, copies) = (i32::try_from(partitions)?, usize::try_from(copies)?);
        let what = format!("{partitions} partitions of {copies}");
        self.agree(&what, |map| map.require_shape(partitions, copies)).await
    }

    /// As [`Cluster::takes_shape`], with none of the running nodes down.
    pub async fn is_whole(&self, partitions: u32, copies: u32) -> Result<NodeMap> {
        let (partitions, copies) = (i32::try_from(partitions)?, usize::try_from(copies)?);
        let alive: Vec<String> = self.running().map(Node::key).collect();
        self.agree("the wanted shape, and nobody down", |map| {
            map.require_shape(partitions, copies)?;
            for key in &alive {
                ensure!(map.node(key)?.state != State::Down, "{key} is down:\n{map}");
            }
            Ok(())
        })
        .await
    }

    /// Waits until all running nodes agree that the node has this entry.
    pub async fn sees(&self, key: &str, what: &str, test: impl Fn(&Entry) -> bool) -> Result<()> {
        let holds = |map: &NodeMap| {
            if test(map.node(key)?) { Ok(()) } else { Err(anyhow!("the map is\n{map}")) }
        };
        self.agree(&format!("{key} to be {what}"), holds).await.map(drop)
    }

    /// The key of the partition's master, as all nodes see it now.
    pub async fn master(&self, partition: i32) -> Result<String> {
        let map = self.agree("a master", |map| {
            map.master(partition).map(drop).ok_or_else(|| anyhow!("none for {partition}:\n{map}"))
        });
        Ok(map.await?.master(partition).expect("it was there a moment ago").to_owned())
    }

    /// The keys of the partition's active slaves, as all nodes see it now.
    pub async fn slaves(&self, partition: i32) -> Result<Vec<String>> {
        let map = self.agree("one map", |_| Ok(())).await?;
        Ok(map.slaves(partition).into_iter().map(ToOwned::to_owned).collect())
    }

    /// The key of one of the partition's active slaves, as all nodes see it now.
    pub async fn slave(&self, partition: i32) -> Result<String> {
        let slaves = self.slaves(partition).await?;
        slaves.into_iter().next().ok_or_else(|| anyhow!("partition {partition} has no slave"))
    }

    /// Swaps the master of partition 0, again if it was taken back; what the index answers must be
    /// true.
    pub async fn swap(&self, old: &str, order: &str) -> Result<()> {
        for _ in 0..SWAP_TRIES {
            let (status, text) = self.index.switchover(0, order).await?;
            if status == 200 {
                return Ok(());
            }
            self.still_leads(old, &text).await?;
        }
        bail!("the swap was taken back {SWAP_TRIES} times")
    }

    /// An error unless the node is the master of partition 0 still, though that was to end.
    pub async fn still_leads(&self, old: &str, refusal: &str) -> Result<()> {
        let master = self.master(0).await?;
        ensure!(master == old, "{master} is the master though the swap was refused: {refusal}");
        Ok(())
    }

    /// Writes `count` new keys, in turn through every running node, and waits until each can be
    /// read through every running node.
    pub async fn fill(&self, prefix: &str, count: usize) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        let nodes: Vec<_> = self.running().map(Node::addr).collect();
        if nodes.is_empty() {
            bail!("no node runs");
        }
        ledger.write(&nodes, prefix, count).await?;
        self.readable(&ledger).await?;
        Ok(ledger)
    }

    /// Puts load on all running nodes: keys that `clients` clients change in turn.
    pub fn load(&self, prefix: &str, clients: usize) -> Result<Load> {
        Load::start(&self.load_shape(prefix, clients))
    }

    /// What [`Cluster::load`] puts on the nodes.
    pub fn load_shape(&self, prefix: &str, clients: usize) -> Shape {
        let seed = rand::random();
        // a failing test keeps its output, and with it the seed
        eprintln!("{prefix}: load with seed {seed}");
        Shape {
            nodes: self.running().map(Node::addr).collect(),
            clients,
            values: 40,
            counters: 8,
            kept: load::KEPT,
            prefix: prefix.to_owned(),
            seed,
            patience: load::PATIENCE,
            resent_after: load::PATIENCE,
            rest: Duration::ZERO,
            from: None,
        }
    }

    /// Waits until every running node answers with what a load left, and nothing contradicted
    /// what was acknowledged.
    pub async fn right(&self, outcome: &Outcome) -> Result<()> {
        outcome.require_consistent()?;
        eventually(PATIENCE, "all keys after a load", || async {
            // all nodes are asked, since it says much which of them are wrong
            let mut wrong = Vec::new();
            for node in self.running() {
                wrong.extend(outcome.check(node.addr()).await.err().map(|e| format!("{e:#}")));
            }
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            Ok(())
        })
        .await
    }

    /// Waits until nobody has anything queued for a node that does not run. A write that a master
    /// has queued for a slave that has just died reaches that when it is back and has no role,
    /// which sends it on to the master, over what was deleted there since (docs/verification.md).
    /// No index can prevent it.
    pub async fn nobody_owes_the_dead(&self) -> Result<()> {
        let map = self.index.map().await?;
        let living: BTreeSet<String> = self.running().map(Node::key).collect();
        let dead = self.nodes.iter().map(Node::key).filter(|key| !living.contains(key));
        for dead in dead {
            let towards = map.node(&dead)?.thread_type;
            for node in self.running() {
                let what = format!("nothing queued towards {dead}");
                eventually(PATIENCE, &what, || async {
                    ensure!(node.owes(towards).await? == 0, "{} has something for it", node.key());
                    Ok(())
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Waits until every running node answers with exactly what the ledger says.
    pub async fn readable(&self, ledger: &Ledger) -> Result<()> {
        for node in self.running() {
            let addr = node.addr();
            let what = format!("all {} keys through {addr}", ledger.len());
            eventually(PATIENCE, &what, || ledger.check(addr)).await?;
        }
        Ok(())
    }
}

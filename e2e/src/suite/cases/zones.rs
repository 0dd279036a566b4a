//! Zones that are told by the manifest: copies of a partition lie in different racks, a dead
//! master's place is taken in another rack, and a whole rack may die.
//!
//! In each case racks are given to nodes so that an index that does not ask for them, and goes by
//! the order of keys, does the wrong thing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use tokio::time::Instant;

use super::case;
use crate::suite::blow::Blow;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually, throughout};
use crate::suite::index::Manifest;
use crate::suite::map::{Role, State};
use crate::suite::node::Node;
use crate::suite::runner::{Case, skip};
use crate::suite::trial::{Mode, Stage, Trial};

pub(super) const CASES: &[Case] = &[
    case!("zones/the rack that starts first does not get both copies", starts_first),
    case!("zones/a master that dies is replaced from another rack", promotion),
    case!("zones/one of two racks dies without the breaker", rack_dies(TWO_RACKS, false)),
    case!("zones/one of two racks dies, and the breaker opens", rack_dies_and_returns),
    case!("zones/one of three racks dies and comes back", rack_dies(THREE_RACKS, true)),
    case!("zones/copies in one rack are told of and not moved", told),
];

/// Two partitions of two.
const TWO_RACKS: &[&str] = &["rack-1", "rack-1", "rack-2", "rack-2"];
/// Three partitions of two.
const THREE_RACKS: &[&str] = &["rack-1", "rack-1", "rack-2", "rack-2", "rack-3", "rack-3"];

/// How long nothing may move because zones were told; the manifest is looked at once a second.
const WATCHED: Duration = Duration::from_secs(2);

/// How long the first rack is alone: long enough for a copy to be made.
const ALONE: Duration = Duration::from_secs(3);

/// The index waits for ten seconds; a second of them may be lost on the way.
const WAITED_FOR: Duration = Duration::from_secs(9);

/// The rack of a node.
fn rack<'a>(cluster: &Cluster, racks: &[&'a str], key: &str) -> Result<&'a str> {
    let at = cluster.nodes.iter().position(|node| node.key() == key);
    at.and_then(|at| racks.get(at).copied()).with_context(|| format!("{key} has no rack"))
}

/// The nodes of a rack.
fn nodes_of(cluster: &Cluster, racks: &[&str], rack: &str) -> Vec<String> {
    let all = cluster.nodes.iter().zip(racks);
    all.filter(|(_, of)| **of == rack).map(|(node, _)| node.key()).collect()
}

fn stage(manifest: Manifest, nodes: usize) -> Stage {
    Stage { manifest, nodes, mode: Mode::Sync, settings: &[] }
}

/// An index that waited for nobody would have made the copy in the first rack before the other one
/// is there.
async fn starts_first(ctx: Context) -> Result<()> {
    let racks = ["rack-1", "rack-1", "rack-2"];
    let mut index = ctx.auto_index(Manifest::shape(1, 2))?;
    let nodes = ctx.nodes(racks.len(), &index)?;
    let zoned = nodes.iter().map(Node::key).zip(racks.map(ToOwned::to_owned));
    index.set_manifest(Manifest::shape(1, 2).zoned(zoned))?;
    index.start().await?;
    let mut cluster = Cluster { index, nodes };
    let begin = Instant::now();
    for node in &mut cluster.nodes[..2] {
        node.start().await?;
    }
    throughout(ALONE, "no copy is made beside the master", || async {
        let map = cluster.index.map().await?;
        ensure!(map.slaves(0).is_empty() || begin.elapsed() > WAITED_FOR, "{map}");
        Ok(())
    })
    .await?;
    cluster.nodes[2].start().await?;
    cluster.seen().await?;
    if begin.elapsed() > WAITED_FOR {
        return skip("the machine is too slow for a rack to be there in time");
    }
    let map = cluster.takes_shape(1, 2).await?;
    let master = cluster.master(0).await?;
    let slave = cluster.slave(0).await?;
    let in_rack_2 = [master, slave].contains(&cluster.nodes[2].key());
    ensure!(in_rack_2, "both copies are in rack-1:\n{map}");
    Ok(())
}

/// Master and one slave are in one rack, the other slave, which comes last, in another.
async fn promotion(ctx: Context) -> Result<()> {
    let racks = ["rack-1", "rack-1", "rack-2"];
    let mut trial = Trial::begin_in(&ctx, stage(Manifest::shape(1, 3), 3), &racks).await?;
    let old = trial.cluster.master(0).await?;
    let old_rack = rack(&trial.cluster, &racks, &old)?;
    let wound = Blow::Kill.strike(&mut trial.cluster, &old).await?;
    let new = trial.replaced(&old, 0).await?;
    let new_rack = rack(&trial.cluster, &racks, &new)?;
    ensure!(new_rack != old_rack, "{new} of {new_rack} took over from {old} of {old_rack}");
    trial.cluster.readable(&trial.ledger).await?;
    trial.life_goes_on("after").await?;
    wound.heal(&mut trial.cluster).await?;
    trial.end().await.map(drop)
}

/// Every partition has its copies in two racks, so that each rack may die.
async fn rack_dies(ctx: Context, racks: &'static [&'static str], breaker: bool) -> Result<()> {
    let partitions = racks.len() / 2;
    let manifest = Manifest { breaker, ..Manifest::shape(u32::try_from(partitions)?, 2) };
    let mut trial = Trial::begin_in(&ctx, stage(manifest, racks.len()), racks).await?;
    let map = trial.cluster.agreed().await?;
    let partitions = i32::try_from(partitions)?;
    for partition in 0..partitions {
        let (master, slave) = (trial.cluster.master(partition).await?, map.slaves(partition)[0]);
        let of_master = rack(&trial.cluster, racks, &master)?;
        let of_slave = rack(&trial.cluster, racks, slave)?;
        ensure!(of_master != of_slave, "partition {partition} lies in {of_master} alone:\n{map}");
    }
    let mut wounds = Vec::new();
    for key in nodes_of(&trial.cluster, racks, "rack-1") {
        wounds.push(Blow::Kill.strike(&mut trial.cluster, &key).await?);
    }
    trial
        .cluster
        .agree("every partition to be served elsewhere", |map| {
            let served = |partition: &i32| {
                map.master(*partition).is_some_and(|master| {
                    rack(&trial.cluster, racks, master).is_ok_and(|rack| rack != "rack-1")
                })
            };
            ensure!((0..partitions).all(|partition| served(&partition)), "{map}");
            Ok(())
        })
        .await?;
    trial.cluster.readable(&trial.ledger).await?;
    trial.life_goes_on("after").await?;
    for wound in wounds {
        wound.heal(&mut trial.cluster).await?;
    }
    let (cluster, _) = trial.end().await?;
    let left = cluster.index.blocked().await?;
    ensure!(!left.contains("one_zone"), "after the return some copies share a rack: {left:?}");
    Ok(())
}

/// Half of the nodes are gone: what was not failed over before the breaker opened waits for the
/// rack. Each partition has a copy in the other one, from which it is read meanwhile.
async fn rack_dies_and_returns(ctx: Context) -> Result<()> {
    let manifest = Manifest::shape(2, 2).quick();
    let mut trial = Trial::begin_in(&ctx, stage(manifest, TWO_RACKS.len()), TWO_RACKS).await?;
    let start = trial.cluster.index.log_text()?.len();
    let mut wounds = Vec::new();
    let lost = nodes_of(&trial.cluster, TWO_RACKS, "rack-1");
    for key in &lost {
        wounds.push(Blow::Kill.strike(&mut trial.cluster, key).await?);
    }
    trial.said("the circuit breaker opened", start).await?;
    let map = trial.cluster.index.map().await?;
    let kept = lost.iter().any(|key| map.node(key).is_ok_and(|e| e.state == State::Active));
    ensure!(kept, "the death that opened it was acted on:\n{map}");
    throughout(WATCHED, "nothing moves", || async {
        let now = trial.cluster.index.map().await?;
        ensure!(now == map, "the map became\n{now}");
        Ok(())
    })
    .await?;
    for node in trial.cluster.running() {
        let entry = map.node(&node.key())?;
        let held = node.client().await?.dump(entry.partition, 2).await?;
        let mut keys = trial.ledger.present_values().filter(|(key, _)| held.contains_key(*key));
        let (key, value) = keys.next().with_context(|| format!("{} is empty", node.key()))?;
        let found = node.client().await?.get(key).await?;
        ensure!(found.as_deref() == Some(value), "{key} is {found:?} at {}", node.key());
    }
    for wound in wounds {
        wound.heal(&mut trial.cluster).await?;
    }
    let (cluster, _) = trial.end().await?;
    // closed by itself, with each partition in both racks again
    eventually(PATIENCE, "nothing to be in the way", || async {
        let left = cluster.index.blocked().await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

/// Zones are told of a cluster that has its shape: it is said that both copies are in one rack, and
/// they stay where they are, though a node of another rack is free. A person who has the slave
/// leave gets a copy there.
async fn told(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let ledger = cluster.fill("k", 40).await?;
    let map = cluster.agreed().await?;
    let slave = cluster.slave(0).await?;
    let keys: Vec<String> = cluster.nodes.iter().map(Node::key).collect();
    let is_free = |key: &&String| map.node(key).is_ok_and(|entry| entry.role == Role::Proxy);
    let free = keys.iter().find(is_free).context("no node is free")?;
    let rack = |key: &String| {
        let rack = if key == free { "rack-2" } else { "rack-1" };
        (key.clone(), rack.to_owned())
    };
    cluster.index.set_manifest(Manifest::shape(1, 2).zoned(keys.iter().map(rack)))?;
    eventually(PATIENCE, "one_zone to be said", || async {
        let kinds = cluster.index.blocked().await?;
        ensure!(kinds.contains("one_zone"), "{kinds:?}");
        Ok(())
    })
    .await?;
    throughout(WATCHED, "nothing moves", || async {
        let now = cluster.index.map().await?;
        ensure!(now == map, "the map became\n{now}");
        Ok(())
    })
    .await?;
    let leave = format!("node leave {}", slave.replace(':', " "));
    cluster.index.accepts(&leave).await?;
    cluster
        .agree("a copy in the other rack", |map| {
            ensure!(map.slaves(0) == [free] && map.node(&slave)?.role == Role::Proxy, "{map}");
            Ok(())
        })
        .await?;
    cluster.index.accepts(&format!("{leave} cancel")).await?;
    let left = cluster.index.blocked().await?;
    ensure!(!left.contains("one_zone"), "it is still said: {left:?}");
    cluster.takes_shape(1, 2).await?;
    ensure!(cluster.slave(0).await? == *free, "the copy moved back");
    cluster.readable(&ledger).await
}

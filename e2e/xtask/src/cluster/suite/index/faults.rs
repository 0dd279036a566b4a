//! What happens to nodes and to the index, and what must be so afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flare_e2e::suite::keys::{Ledger, Report};

use super::super::super::control::Order;
use super::super::lab::Lab;
use super::super::{Case, case};
use super::kill_container;
use super::world::{BRISK, CALM, World, inside};

pub(super) fn all() -> Vec<Case> {
    vec![
        case("index/a-container-is-killed", a_container_is_killed),
        case("index/a-pod-is-deleted", a_pod_is_deleted),
        case("index/a-pod-is-deleted-by-force", a_pod_is_deleted_by_force),
        case("index/a-node-is-cut-off-and-healed", a_node_is_cut_off),
        case("index/the-index-is-killed", the_index_is_killed),
        case("index/the-index-moves-to-another-node", the_index_moves),
    ]
}

/// The master of a partition that something is done to.
struct Victim {
    partition: i32,
    key: String,
    pod: String,
    /// The Kubernetes node that it runs on.
    node: String,
}

/// A master that can be lost together with its Kubernetes node: it is alone there, so that neither
/// the index nor a second data node is lost with it. (Two of the four would be half of them, and
/// the circuit breaker waits for a person then.) If there is none, pods are deleted until one is.
fn victim(world: &World) -> Result<Victim> {
    for _ in 0..4 {
        let map = world.settled()?;
        let home = world.lab.field("pod/flare-index-0", ".spec.nodeName")?;
        let mut away: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        for key in map.0.keys() {
            let node =
                world.lab.field(&format!("pod/{}", World::pod_of(key)?), ".spec.nodeName")?;
            if node != home {
                away.entry(node).or_default().push(key);
            }
        }
        let Some((node, key)) = away.iter().find_map(|(node, keys)| match keys[..] {
            [key] => Some((node, key)),
            _ => None,
        }) else {
            let (node, keys) = away.first_key_value().context("all nodes run beside the index")?;
            leave(world, node, keys.first().context("a pod per entry")?)?;
            continue;
        };
        let partition = map.node(key)?.partition;
        let master = map.master(partition).context("a partition has no master")?;
        if master == key {
            let (node, pod) = (node.clone(), World::pod_of(key)?.to_owned());
            return Ok(Victim { partition, key: key.clone(), pod, node });
        }
        // Its slave takes over, which is the one that is alone.
        leave(world, node, master)?;
    }
    bail!("again and again, no master is alone on its Kubernetes node")
}

/// Has a data node come back elsewhere than on this Kubernetes node.
fn leave(world: &World, node: &str, key: &str) -> Result<()> {
    world.lab.kubectl(&format!("cordon {node}"))?;
    let pod = World::pod_of(key)?;
    let settled =
        world.lab.kubectl(&format!("delete pod {pod}")).and_then(|_| world.settled().map(drop));
    world.lab.kubectl(&format!("uncordon {node}"))?;
    settled
}

/// What is done to a master.
struct Fault {
    name: &'static str,
    act: fn(&World, &Victim) -> Result<()>,
    /// Undoes what left the master alive and without a way to hear that it is none any more.
    heal: Option<fn(&World, &Victim) -> Result<()>>,
}

/// Does something to a master under load: another node becomes master, the cluster becomes whole
/// again, and no acknowledged change is lost.
fn master_moves(lab: &Lab, fault: &Fault) -> Result<()> {
    inside(lab, |world| {
        let name = fault.name;
        let victim = victim(world)?;
        let mut ledger = world.write(&[world.service], &format!("{name}-before-"))?;
        let pods = world.pods()?;
        let others = reachable(world, &pods, &victim)?;
        let traffic = world.flowing(&format!("{name}-during-"), &ledger)?;
        let since = Instant::now();
        (fault.act)(world, &victim)?;
        let moved = world.until_moved(&others, victim.partition, &victim.key, since);
        // Before anything is healed: see there.
        let during = world.stop(traffic);
        let healed = heal(world, fault, &victim, &pods, &ledger)?;
        let (moved, during) = (moved?, during?);
        ledger.merge(during.ledger);

        // The victim has these still, when it is back. Not through itself: what clients write
        // through a node while it becomes a slave may get an error (docs/verification.md).
        world.delete(&others, &mut ledger)?;
        let prefix = format!("{name}-returning-");
        let traffic = world.traffic(vec![world.service], &prefix, &ledger, CALM)?;
        ledger.merge(world.write(&others, &format!("{name}-after-"))?);
        world.settled()?;
        let whole = since.elapsed();
        let returning = world.stop(traffic)?;
        ledger.merge(returning.ledger);
        world.check(&ledger)?;
        let healed = healed.map(|healed| healed.note(world)).transpose()?.unwrap_or_default();
        world.notes.push(format!(
            "{name}: new map on all nodes after {} ms ({} writes acknowledged, {} not){healed}, \
             whole again after {:.1} s ({} and {})",
            moved.as_millis(),
            during.writes,
            during.refused.len(),
            whole.as_secs_f64(),
            returning.writes,
            returning.refused.len(),
        ));
        Ok(())
    })
}

/// A master that was cut off was told that it is none any more.
struct Healed {
    /// How long after the network was whole.
    told: Duration,
    /// What clients wrote in that time.
    report: Report,
}

impl Healed {
    fn note(&self, world: &World) -> Result<String> {
        let Self { told, report } = self;
        let lost = world.count_wrong(&report.ledger)?;
        let (told, refused) = (told.as_millis(), report.refused.len());
        Ok(format!(
            ", healed -> old master told after {told} ms ({} writes acknowledged, {refused} not; \
             {lost} of those acknowledged lost)",
            report.writes
        ))
    }
}

/// Undoes a fault, and waits until all nodes know what happened.
///
/// A master that was cut off does not know that it was superseded, and serves whoever reaches it
/// before the index does: it does not find keys that were written meanwhile, and what it
/// acknowledges can be lost. No index can prevent that (docs/verification.md, "What the suites of
/// failover leave out"); how long it lasts is the index's part. So clients whose every acknowledged
/// change has to be there stop before, and others start when all nodes know. Those that write in
/// between, half of the time right to the old master, are for the report.
fn heal(
    world: &World,
    fault: &Fault,
    victim: &Victim,
    pods: &BTreeMap<String, SocketAddr>,
    steady: &Ledger,
) -> Result<Option<Healed>> {
    let Some(heal) = fault.heal else { return Ok(None) };
    heal(world, victim)?;
    let since = Instant::now();
    let old = *pods.get(&victim.key).context("the victim's pod had no address")?;
    let prefix = format!("{}-healing-", fault.name);
    let traffic = world.traffic(vec![old, world.service], &prefix, steady, BRISK)?;
    let all: Vec<SocketAddr> = pods.values().copied().collect();
    let told = world.until_moved(&all, victim.partition, &victim.key, since);
    let report = world.stop(traffic)?;
    Ok(Some(Healed { told: told?, report }))
}

/// The nodes that do not run on the victim's Kubernetes node, which may be cut off.
fn reachable(
    world: &World,
    pods: &BTreeMap<String, SocketAddr>,
    victim: &Victim,
) -> Result<Vec<SocketAddr>> {
    let beside = world.lab.field(
        &format!("pods --field-selector=spec.nodeName={}", victim.node),
        ".items[*].status.podIP",
    )?;
    let beside: Vec<&str> = beside.split(' ').collect();
    let nodes = pods.values().copied();
    Ok(nodes.filter(|node| !beside.contains(&&*node.ip().to_string())).collect())
}

fn a_container_is_killed(lab: &Lab) -> Result<()> {
    let act = |_: &World, victim: &Victim| {
        let server = victim.key.rsplit_once(':').map_or(victim.key.as_str(), |(name, _)| name);
        kill_container(&[&format!("--server-name={server}")])
    };
    master_moves(lab, &Fault { name: "container-killed", act, heal: None })
}

fn a_pod_is_deleted(lab: &Lab) -> Result<()> {
    let act = |world: &World, victim: &Victim| {
        world.lab.kubectl(&format!("delete pod {} --wait=false", victim.pod)).map(drop)
    };
    master_moves(lab, &Fault { name: "pod-deleted", act, heal: None })
}

fn a_pod_is_deleted_by_force(lab: &Lab) -> Result<()> {
    let act = |world: &World, victim: &Victim| {
        let command = format!("delete pod {} --force --grace-period=0 --wait=false", victim.pod);
        world.lab.kubectl(&command).map(drop)
    };
    master_moves(lab, &Fault { name: "pod-deleted-by-force", act, heal: None })
}

fn a_node_is_cut_off(lab: &Lab) -> Result<()> {
    let act = |world: &World, victim: &Victim| {
        world.lab.order(&Order::Cut { node: victim.node.clone() }).map(drop)
    };
    let heal = |world: &World, victim: &Victim| {
        world.lab.order(&Order::Heal { node: victim.node.clone() }).map(drop)
    };
    master_moves(lab, &Fault { name: "node-cut-off", act, heal: Some(heal) })
}

fn the_index_is_killed(lab: &Lab) -> Result<()> {
    inside(lab, |world| {
        index_goes(world, "index-killed", |_| {
            kill_container(&["/usr/bin/flare-operator", "--data-dir=/var/lib/flare/index"])
        })
    })
}

/// The index' pod is deleted while its node takes no new pods, so it comes back on another, with
/// the volume.
fn the_index_moves(lab: &Lab) -> Result<()> {
    inside(lab, |world| {
        let home = world.lab.field("pod/flare-index-0", ".spec.nodeName")?;
        world.lab.kubectl(&format!("cordon {home}"))?;
        let outcome = index_goes(world, "index-pod-deleted", |world| {
            world.lab.kubectl("delete pod flare-index-0 --wait=false").map(drop)
        });
        world.lab.kubectl(&format!("uncordon {home}"))?;
        outcome?;
        let now = world.lab.field("pod/flare-index-0", ".spec.nodeName")?;
        ensure!(now != home, "the index is still on {home}");
        Ok(())
    })
}

/// The index goes away and comes back: clients notice nothing, the map is the same, and the index
/// does its work again.
fn index_goes(world: &mut World, name: &str, act: impl FnOnce(&World) -> Result<()>) -> Result<()> {
    let before = world.settled()?;
    let restarts = "{.metadata.uid}/{.status.containerStatuses[0].restartCount}";
    let identity = |world: &World| {
        world.lab.kubectl(&format!("get pod/flare-index-0 --output=jsonpath={restarts}"))
    };
    let old = identity(world)?;
    let mut ledger = world.write(&[world.service], &format!("{name}-before-"))?;
    let traffic = world.flowing(&format!("{name}-during-"), &ledger)?;
    let since = Instant::now();
    act(world)?;
    world.lab.eventually("another index to answer", || {
        ensure!(identity(world)? != old, "it is still the old one");
        world.map(world.index).map(drop)
    })?;
    let back: Duration = since.elapsed();
    let Report { ledger: during, writes, refused, .. } = world.stop(traffic)?;
    ensure!(refused.is_empty(), "beside {writes} writes, without an index: {refused:#?}");
    ledger.merge(during);
    let map = world.settled()?;
    ensure!(map == before, "the map is another:\n{map}\nthan before:\n{before}");
    world.check(&ledger)?;
    world.notes.push(format!(
        "{name}: nodes served again after {:.1} s; {writes} writes acknowledged meanwhile",
        back.as_secs_f64()
    ));
    Ok(())
}

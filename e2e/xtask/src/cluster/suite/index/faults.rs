//! What happens to nodes and to the index, and what must be so afterwards.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::super::control::Order;
use super::super::lab::Lab;
use super::super::{Case, case};
use super::kill_container;
use super::world::{World, inside};

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

/// Does something to a master under load: another node becomes master, the cluster becomes whole
/// again, and no acknowledged change is lost.
fn master_moves(
    lab: &Lab,
    name: &'static str,
    act: fn(&World, &Victim) -> Result<()>,
    after: fn(&World, &Victim) -> Result<()>,
) -> Result<()> {
    inside(lab, |world| {
        let victim = victim(world)?;
        let mut ledger = world.write(&format!("{name}-before-"))?;
        let traffic = world.traffic(&format!("{name}-during-"), &ledger)?;
        let others: Vec<SocketAddr> = world
            .pods()?
            .into_iter()
            .filter(|(key, _)| *key != victim.key)
            .map(|(_, address)| address)
            .collect();
        let others = reachable(world, others, &victim)?;
        let since = Instant::now();
        act(world, &victim)?;
        let moved = world.until_moved(&others, victim.partition, &victim.key, since);
        // In any case, so that a failure is not the next test's as well.
        after(world, &victim)?;
        let moved = moved?;
        let (written, refused) = world.stop(traffic, &mut ledger)?;
        ledger.merge(world.write(&format!("{name}-after-"))?);
        world.settled()?;
        let whole = since.elapsed();
        world.check(&ledger)?;
        world.notes.push(format!(
            "{name}: new map on all nodes after {} ms, whole again after {:.1} s; {written} \
             writes acknowledged meanwhile, {refused} not",
            moved.as_millis(),
            whole.as_secs_f64()
        ));
        Ok(())
    })
}

/// Those nodes that do not run on the victim's Kubernetes node, which may be cut off.
fn reachable(world: &World, nodes: Vec<SocketAddr>, victim: &Victim) -> Result<Vec<SocketAddr>> {
    let beside = world.lab.field(
        &format!("pods --field-selector=spec.nodeName={}", victim.node),
        ".items[*].status.podIP",
    )?;
    let beside: Vec<&str> = beside.split(' ').collect();
    Ok(nodes.into_iter().filter(|node| !beside.contains(&&*node.ip().to_string())).collect())
}

fn nothing_more(_: &World, _: &Victim) -> Result<()> {
    Ok(())
}

fn a_container_is_killed(lab: &Lab) -> Result<()> {
    let kill = |_: &World, victim: &Victim| {
        let server = victim.key.rsplit_once(':').map_or(victim.key.as_str(), |(name, _)| name);
        kill_container(&[&format!("--server-name={server}")])
    };
    master_moves(lab, "container-killed", kill, nothing_more)
}

fn a_pod_is_deleted(lab: &Lab) -> Result<()> {
    let delete = |world: &World, victim: &Victim| {
        world.lab.kubectl(&format!("delete pod {} --wait=false", victim.pod)).map(drop)
    };
    master_moves(lab, "pod-deleted", delete, nothing_more)
}

fn a_pod_is_deleted_by_force(lab: &Lab) -> Result<()> {
    let delete = |world: &World, victim: &Victim| {
        let command = format!("delete pod {} --force --grace-period=0 --wait=false", victim.pod);
        world.lab.kubectl(&command).map(drop)
    };
    master_moves(lab, "pod-deleted-by-force", delete, nothing_more)
}

fn a_node_is_cut_off(lab: &Lab) -> Result<()> {
    let cut = |world: &World, victim: &Victim| {
        world.lab.order(&Order::Cut { node: victim.node.clone() }).map(drop)
    };
    let heal = |world: &World, victim: &Victim| {
        world.lab.order(&Order::Heal { node: victim.node.clone() }).map(drop)
    };
    master_moves(lab, "node-cut-off", cut, heal)
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
    let mut ledger = world.write(&format!("{name}-before-"))?;
    let traffic = world.traffic(&format!("{name}-during-"), &ledger)?;
    let since = Instant::now();
    act(world)?;
    world.lab.eventually("another index to answer", || {
        ensure!(identity(world)? != old, "it is still the old one");
        world.map(world.index).map(drop)
    })?;
    let back: Duration = since.elapsed();
    let (written, refused) = world.stop(traffic, &mut ledger)?;
    ensure!(refused == 0, "{refused} of {written} writes were refused without an index");
    let map = world.settled()?;
    ensure!(map == before, "the map is another:\n{map}\nthan before:\n{before}");
    world.check(&ledger)?;
    world.notes.push(format!(
        "{name}: nodes served again after {:.1} s; {written} writes acknowledged meanwhile",
        back.as_secs_f64()
    ));
    Ok(())
}

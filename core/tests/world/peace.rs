//! All faults have ended: every node runs, every message arrives. Then the cluster gets its shape.

use std::collections::BTreeSet;

use flare_core::model::{Role, State};
use flare_core::topology::Blocked;
use flare_core::wanted::Wanted;
use flare_core::zones::Zone;

use crate::data::partition_of;
use crate::sim::World;

/// Rounds, each of a second or less, in which everything that can happen happens once.
const ROUNDS: usize = 400;

/// Rounds of peace that a world begins with: enough for its shape.
const FIRST_ROUNDS: usize = 30;

pub(crate) const ONE_OF_TWO: Wanted =
    Wanted { partitions: 1, replicas: 2, paused: false, promote_lapsed: true };

/// A world in peace, with its shape and some keys.
pub(crate) fn settled(nodes: usize, wanted: Wanted) -> World {
    let mut world = World::new(nodes, wanted, false);
    world.want(wanted);
    for at in 0..nodes {
        world.nodes[at].start();
    }
    for _ in 0..FIRST_ROUNDS {
        round(&mut world);
    }
    world.moments.clear();
    world.story.clear();
    world.is_silent = true;
    world
}

pub(crate) fn make(world: &mut World, disks_were_lost: bool) {
    world.tell(|| "peace".to_owned());
    world.breaker_opens = false;
    for _ in 0..ROUNDS {
        (0..world.nodes.len()).for_each(|at| world.announce(at, false));
        round(world);
        if has_its_shape(world) {
            all_keys_are_there(world);
            return;
        }
    }
    let blocked = world.topology.blocked();
    let is_loss = |what: &Blocked| {
        matches!(what, Blocked::CameBackEmpty { .. } | Blocked::MayHoldData { .. })
    };
    if disks_were_lost && blocked.iter().any(is_loss) {
        // What is left of a lost disk's keys waits for a person.
        return all_keys_are_somewhere(world);
    }
    let map: Vec<String> = world
        .topology
        .snapshot()
        .entries()
        .map(|(key, entry)| format!("{key} {entry} {:?}", world.topology.facts(key)))
        .collect();
    panic!("the cluster does not get its shape: {blocked:?}\n{}", map.join("\n"));
}

/// What happens at a node, one after the other, each time that it can.
const TURNS: [fn(&mut World, usize); 13] = [
    |world, at| world.register(at),
    |world, _| world.store(false),
    |world, at| world.try_link(at),
    |world, at| world.push(at, false),
    |world, at| world.observe(at),
    |world, at| world.empty(at, false),
    |world, _| world.store(false),
    |world, _| world.echo(true),
    |world, at| world.detect(at, false),
    |world, at| (0..200).for_each(|_| world.copy(at)),
    |world, at| world.report(at, false),
    |world, _| world.store(false),
    |world, at| world.client(at),
];

/// Everything that can happen happens once.
pub(crate) fn round(world: &mut World) {
    for at in 0..world.nodes.len() {
        if !world.nodes[at].alive {
            world.nodes[at].start();
        }
    }
    turns(world, &|_| false);
}

/// The same without the start of dead nodes, up to the moment in which something is so.
pub(crate) fn turns(world: &mut World, is_so: &impl Fn(&World) -> bool) {
    for at in 0..world.nodes.len() {
        for turn in TURNS {
            turn(world, at);
            if is_so(world) {
                return;
            }
        }
    }
    world.tell_breaker();
    world.pass(1_000);
}

fn has_its_shape(world: &World) -> bool {
    let snapshot = world.topology.snapshot();
    let partitions = i32::try_from(world.wanted.partitions).expect("few partitions");
    let told = world.nodes.iter().all(|node| node.version() == snapshot.version());
    let whole = (0..partitions).all(|partition| {
        let members = snapshot.entries().filter(|(_, e)| e.partition == partition);
        let serving: Vec<Role> = members
            .filter(|(_, entry)| entry.state == State::Active && entry.balance > 0)
            .map(|(_, entry)| entry.role)
            .collect();
        let masters = serving.iter().filter(|role| **role == Role::Master).count();
        masters == 1 && u32::try_from(serving.len()) == Ok(world.wanted.replicas)
    });
    let quiet = snapshot.entries().all(|(_, entry)| entry.state == State::Active);
    told && whole && quiet && world.writing.is_none() && only_zones_are_told_of(world)
}

/// Nothing stands in the way but copies that share a zone, and each of those is told of.
fn only_zones_are_told_of(world: &World) -> bool {
    let snapshot = world.topology.snapshot();
    let mut shared = BTreeSet::new();
    for partition in 0..snapshot.partitions() {
        let members = snapshot.entries().filter(|(_, entry)| entry.partition == partition);
        let zones: Vec<Option<&Zone>> = members.map(|(key, _)| world.zones.of(key)).collect();
        let first = zones.first().copied().flatten();
        if let Some(zone) = first.filter(|_| zones.len() > 1 && zones.iter().all(|z| *z == first)) {
            shared.insert(Blocked::OneZone { partition, zone: zone.clone() });
        }
    }
    *world.topology.blocked() == shared
}

/// Every copy of a partition has of each key what a client was promised last, or nothing, if that
/// was deleted.
fn all_keys_are_there(world: &World) {
    let snapshot = world.topology.snapshot();
    let partitions = i32::try_from(world.wanted.partitions).expect("few partitions");
    for (key, promise) in &world.promised {
        let partition = partition_of(*key, partitions);
        for node in &world.nodes {
            let entry = snapshot.node(&node.key).map(|node| node.entry);
            let member = entry.is_some_and(|entry| entry.partition == partition);
            let value = node.data.value(*key);
            assert!(
                !member || value == *promise,
                "{} holds partition {partition}, with {value:?} as key {key}, not {promise:?}",
                node.key
            );
        }
    }
}

/// Nothing was lost but with the disks that held it: every value that a client was promised is on
/// a disk of its partition, or of one that was in it.
fn all_keys_are_somewhere(world: &World) {
    for (key, promise) in &world.promised {
        let kept = promise.is_none_or(|value| world.is_kept(*key, value));
        assert!(kept, "{promise:?}, promised as key {key}, is on no disk any more");
    }
}

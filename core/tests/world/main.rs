//! A small world of nodes with data around the shipped topology: random faults, then peace.
//!
//! Each run is made from its seed, which a failure prints together with the story of the run;
//! add it to `SEEDS` then, so that it is played always. While there are faults nothing that was
//! promised to a client may be flushed away and nothing may be told that is not stored; once they
//! end, the cluster must get the wanted shape, with every key on every copy of its partition.

mod check;
mod clients;
mod data;
mod effects;
mod exhaustive;
mod killed;
mod life;
mod links;
mod moves;
mod node;
mod peace;
mod rng;
mod sim;
mod stories;
mod trouble;

use std::panic::{AssertUnwindSafe, catch_unwind};

use flare_core::wanted::Wanted;
use rng::Rng;
use sim::World;

/// Seeds that found something once.
const SEEDS: [u64; 2] = [9_040, 50_761];

/// How many further seeds a run plays; `WORLDS=100000` plays more.
const WORLDS: u64 = 100;

#[test]
fn no_key_is_lost_and_the_cluster_gets_its_shape() {
    let worlds = std::env::var("WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(WORLDS);
    let first = std::env::var("SEED").ok().and_then(|n| n.parse().ok());
    let seeds: Vec<u64> = match first {
        Some(seed) => vec![seed],
        None => SEEDS.into_iter().chain(1_000..1_000 + worlds).collect(),
    };
    for seed in seeds {
        play(seed);
    }
}

fn world_of(seed: u64) -> (World, Rng, bool) {
    let partitions = 1 + u32::try_from(seed % 3).expect("small");
    let replicas = 1 + u32::try_from(seed / 3 % 3).expect("small");
    let spare = usize::try_from(seed / 9 % 2).expect("small");
    let nodes = usize::try_from(partitions * replicas).expect("small") + spare;
    let wanted = Wanted { partitions, replicas, paused: false, promote_lapsed: true };
    let world = World::new(nodes, wanted, seed.is_multiple_of(2));
    (world, Rng::new(seed), seed.is_multiple_of(4))
}

fn play(seed: u64) {
    let (mut world, mut rng, disks_are_lost) = world_of(seed);
    let wanted = world.wanted;
    let played = catch_unwind(AssertUnwindSafe(|| {
        trouble::make(&mut world, &mut rng, disks_are_lost);
        peace::make(&mut world, disks_are_lost);
    }));
    if played.is_err() {
        let from = world.story.len().saturating_sub(1500);
        panic!("SEED={seed} {wanted:?}\n{}", world.story[from..].join("\n"));
    }
}

/// Worlds in which nothing happens prove nothing.
#[test]
fn the_worlds_are_eventful() {
    let mut unseen = vec![
        "is active",
        "the new master has its data",
        "is back and keeps its role",
        "without any data",
        "it was restarted",
        "it announced that it leaves",
        "its master is down",
        "ReportRecovered",
        "has to copy again",
        "StoreFailed",
        "the index starts again",
        "CameBackEmpty",
        "Lapsed {",
        "LapsedPromoted",
        "by_person: false",
        "by_person: true",
        "NodeEmptied",
        "Slave, state: Active, partition: 2",
        "Leaving",
        "OneZone",
        "is the master",
        "BreakerChanged { open: true",
        "taken back",
    ];
    for seed in 1_000..1_200 {
        let (mut world, mut rng, disks_are_lost) = world_of(seed);
        trouble::make(&mut world, &mut rng, disks_are_lost);
        peace::make(&mut world, disks_are_lost);
        unseen.retain(|event| !world.story.iter().any(|line| line.contains(event)));
        if unseen.is_empty() {
            return;
        }
    }
    panic!("never seen: {unseen:?}");
}

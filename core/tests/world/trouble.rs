//! What goes wrong, and how often, while a world is in trouble.

use flare_core::wanted::Wanted;

use crate::peace;
use crate::sim::World;

/// How many things happen.
const EVENTS: usize = 1_500;

/// One in so many of them is a fault, when times are quiet and when they are not.
const FAULT_ONE_IN: [usize; 2] = [150, 15];

pub(crate) fn make(world: &mut World, disks_are_lost: bool) {
    let full = world.wanted;
    world.want(Wanted { partitions: 1, replicas: full.replicas.min(2), ..full });
    for at in 0..world.nodes.len() {
        world.nodes[at].start();
    }
    let rounds = world.rng.below(12);
    for _ in 0..rounds {
        peace::round(world);
    }
    let mut stormy = 0;
    for _ in 0..EVENTS {
        if world.rng.one_in(100) {
            stormy = 1 - stormy;
        }
        if world.rng.one_in(300) {
            world.want(full);
        }
        let at = world.rng.below(world.nodes.len());
        if world.rng.one_in(FAULT_ONE_IN[stormy]) {
            fault(world, at, disks_are_lost);
        } else {
            routine(world, at);
        }
    }
    world.want(full);
}

/// What happens anyway, in any order.
fn routine(world: &mut World, at: usize) {
    let lost = world.rng.one_in(25);
    match world.rng.below(17) {
        0..=2 => world.store(lost),
        3 => world.register(at),
        4 | 5 => world.try_link(at),
        6 | 7 => world.push(at, lost),
        8 => world.observe(at),
        9 if world.links[at].probed => world.observe(at),
        9 => world.write(at),
        10 => (0..3).for_each(|_| world.copy(at)),
        11 => {
            let lost = world.rng.one_in(5);
            world.report(at, lost);
        }
        12 => world.empty(at, lost),
        13 => world.write(at),
        14 => world.detect(at, false),
        15 => world.echo(),
        _ => {
            let millis = [10, 100, 600, 1_000, 5_000][world.rng.below(5)];
            world.pass(millis);
        }
    }
}

fn fault(world: &mut World, at: usize, disks_are_lost: bool) {
    match world.rng.below(18) {
        0 | 1 => world.crash(at, false),
        2 if disks_are_lost => world.crash(at, true),
        3..=6 if !world.nodes[at].alive => world.nodes[at].start(),
        // Quicker than anybody notices.
        3 | 4 => {
            world.crash(at, false);
            world.nodes[at].start();
        }
        5 => world.leave(at),
        6 | 7 => world.end_link(at),
        8 => world.detect(at, true),
        9 => world.restart_index(),
        10 | 11 => world.announce(at, true),
        12 => world.announce(at, false),
        13 => world.switch(),
        14 => world.lapse(at),
        15 => world.recover(at),
        _ if !world.nodes[at].alive => world.nodes[at].start(),
        _ => world.tell_zones(),
    }
}

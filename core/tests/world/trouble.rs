//! What goes wrong, and how often, while a world is in trouble.

use flare_core::topology::{HandoverHow, HandoverWay};
use flare_core::wanted::Wanted;

use crate::clients::Wish;
use crate::killed::Killed;
use crate::peace;
use crate::rng::Rng;
use crate::sim::{Due, World};

/// How many things happen.
const EVENTS: usize = 1_500;

/// One in so many of them is a fault, when times are quiet and when they are not.
const FAULT_ONE_IN: [usize; 2] = [150, 15];

pub(crate) fn make(world: &mut World, rng: &mut Rng, disks_are_lost: bool) {
    let full = world.wanted;
    world.want(Wanted { partitions: 1, replicas: full.replicas.min(2), ..full });
    for at in 0..world.nodes.len() {
        world.nodes[at].start();
    }
    let rounds = rng.below(12);
    for _ in 0..rounds {
        peace::round(world);
    }
    let mut stormy = 0;
    for _ in 0..EVENTS {
        if rng.one_in(100) {
            stormy = 1 - stormy;
        }
        if rng.one_in(300) {
            world.want(full);
        }
        let at = rng.below(world.nodes.len());
        if rng.one_in(FAULT_ONE_IN[stormy]) {
            fault(world, rng, at, disks_are_lost);
        } else {
            routine(world, rng, at);
        }
    }
    world.want(full);
}

/// What happens anyway, in any order.
fn routine(world: &mut World, rng: &mut Rng, at: usize) {
    let lost = rng.one_in(25);
    match rng.below(17) {
        0..=2 => world.store(lost),
        3 => world.register(at),
        4 | 5 => world.try_link(at),
        6 | 7 => world.push(at, lost),
        8 => world.observe(at),
        9 if world.links[at].probed => world.observe(at),
        9 => client(world, rng, at),
        10 => (0..3).for_each(|_| world.copy(at)),
        11 => {
            let lost = rng.one_in(5);
            world.report(at, lost);
        }
        12 => world.empty(at, lost),
        13 => client(world, rng, at),
        14 => {
            world.detect(at, false);
            world.tell_breaker();
        }
        15 => {
            let well = match world.echoes.front() {
                Some(Due::RelayOpened) => rng.one_in(2),
                _ => !rng.one_in(20),
            };
            world.echo(well);
        }
        _ => {
            let millis = [10, 100, 600, 1_000, 5_000][rng.below(5)];
            world.pass(millis);
        }
    }
}

fn client(world: &mut World, rng: &mut Rng, at: usize) {
    let number = rng.below(1_000);
    let wishes = [Wish::WriteNew, Wish::Overwrite(number), Wish::Delete(number)];
    world.serve(at, wishes[rng.below(3)]);
}

fn fault(world: &mut World, rng: &mut Rng, at: usize, disks_are_lost: bool) {
    match rng.below(19) {
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
        9 => {
            let flushed = u32::try_from(rng.below(1 << world.nodes.len())).expect("few nodes");
            world.restart_index(Killed {
                written: rng.one_in(2),
                flushed,
                for_long: rng.one_in(4),
            });
        }
        10 | 11 => world.announce(at, true),
        12 => world.announce(at, false),
        13 => {
            let partitions = usize::try_from(world.wanted.partitions).expect("few partitions");
            let partition = i32::try_from(rng.below(partitions)).expect("few partitions");
            let way = [HandoverWay::Park, HandoverWay::Pause][rng.below(2)];
            world.switch(partition, HandoverHow { way, end_clients: rng.one_in(2) });
        }
        14 => world.lapse(at),
        15 => world.recover(at),
        16 => world.breaker_opens = !world.breaker_opens,
        _ if !world.nodes[at].alive => world.nodes[at].start(),
        _ => world.tell_zones(rng),
    }
}

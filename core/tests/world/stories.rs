//! The stories in which the index is killed behind each thing that it does.

use flare_core::model::{Role, State};
use flare_core::stored::HandoverStep;
use flare_core::topology::{HandoverHow, HandoverWay};
use flare_core::wanted::Wanted;

use crate::effects::{Story, each_death};
use crate::peace::{self, ONE_OF_TWO, settled};
use crate::sim::World;

/// Rounds after which an event that is waited for will not come any more.
const WAIT_ROUNDS: usize = 40;

const ONE_OF_ONE: Wanted = Wanted { replicas: 1, ..ONE_OF_TWO };
const ONE_OF_THREE: Wanted = Wanted { replicas: 3, ..ONE_OF_TWO };
const TWO_OF_ONE: Wanted = Wanted { partitions: 2, ..ONE_OF_ONE };
const TWO_OF_TWO: Wanted = Wanted { partitions: 2, ..ONE_OF_TWO };

const PARK: HandoverHow = HandoverHow { way: HandoverWay::Park, end_clients: true };
const PAUSE: HandoverHow = HandoverHow { way: HandoverWay::Pause, end_clients: false };

impl World {
    /// The first node that has this role in the first partition.
    fn first(&self, role: Role) -> usize {
        let entry = |at: &usize| self.entry(*at);
        let is_it = |at: &usize| entry(at).is_some_and(|e| e.role == role && e.partition <= 0);
        (0..self.nodes.len()).find(is_it).expect("a node of that role")
    }

    fn start(&mut self, at: usize) {
        if !self.nodes[at].alive {
            self.nodes[at].start();
        }
    }

    /// Rounds in which nobody starts a node.
    fn goes_on(&mut self, rounds: usize) {
        (0..rounds).for_each(|_| peace::turns(self, &|_| false));
    }

    /// Goes on to the very moment in which something is so.
    fn until(&mut self, is_so: impl Fn(&World) -> bool) {
        for _ in 0..WAIT_ROUNDS {
            peace::turns(self, &is_so);
            if is_so(self) {
                return self.tell(|| "now is the moment".to_owned());
            }
        }
    }

    fn dies_for(&mut self, at: usize, rounds: usize) {
        self.crash(at, false);
        self.goes_on(rounds);
        self.start(at);
        self.goes_on(6);
    }

    /// The node that copies, when it has copied a little; the story goes on without, if none does.
    fn copier(&mut self) -> Option<usize> {
        let copies = |world: &World| world.nodes.iter().position(|node| node.copy.is_some());
        self.until(|world| copies(world).is_some());
        let copier = copies(self)?;
        (0..3).for_each(|_| self.copy(copier));
        Some(copier)
    }

    /// A slave gets nothing of what clients write; in the end that is seen, and told until the map
    /// shows it.
    fn misses_writes(&mut self, slave: usize) {
        self.nodes[slave].is_deaf = true;
        self.goes_on(3);
        self.nodes[slave].is_deaf = false;
        let key = self.nodes[slave].key.clone();
        let is_known = |world: &World| {
            let known = world.topology.snapshot().node(&key);
            known.is_none_or(|node| node.lapse.is_some() || node.entry.role == Role::Proxy)
        };
        for _ in 0..WAIT_ROUNDS {
            self.lapse(slave);
            self.store(false);
            if is_known(self) {
                return;
            }
            self.goes_on(1);
        }
    }

    fn is_at(&self, step: HandoverStep) -> bool {
        self.topology.snapshot().stored().handover.as_ref().is_some_and(|plan| plan.step == step)
    }
}

fn sees<'a>(sees: &'a [&'a str]) -> Story<'a> {
    Story { sees, ..Story::default() }
}

#[test]
fn the_index_is_killed_while_a_node_dies_and_is_back() {
    let two = settled(2, ONE_OF_TWO);
    for role in [Role::Master, Role::Slave] {
        let at = two.first(role);
        for (rounds, seen) in [(0, "it was restarted"), (1, "Refused"), (8, "Refused")] {
            let name = format!("a {role} dies, and is back after {rounds} rounds");
            each_death(&name, &two, sees(&[seen, "copying: true"]), |world| {
                world.dies_for(at, rounds);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_one_of_three_copies_dies() {
    let three = settled(3, ONE_OF_THREE);
    let with_a_spare = settled(3, ONE_OF_TWO);
    for (name, start) in [("three copies", &three), ("two and a spare node", &with_a_spare)] {
        for role in [Role::Master, Role::Slave] {
            let at = start.first(role);
            each_death(&format!("{name}: a {role} dies"), start, sees(&["Refused"]), |world| {
                world.dies_for(at, 4);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_master_and_slave_die() {
    let two = settled(2, ONE_OF_TWO);
    let [master, slave] = [Role::Master, Role::Slave].map(|role| two.first(role));
    for (name, [first, then]) in
        [("master, then slave", [master, slave]), ("slave, then master", [slave, master])]
    {
        for rounds in [0, 2] {
            let name = format!("{name}, {rounds} rounds apart");
            each_death(&name, &two, sees(&["Refused", "MasterDown"]), |world| {
                world.crash(first, false);
                world.goes_on(rounds);
                world.crash(then, false);
                world.goes_on(3);
                world.start(first);
                world.goes_on(6);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_old_and_empty_disks_come_back() {
    let two = settled(2, ONE_OF_TWO);
    let [master, slave] = [Role::Master, Role::Slave].map(|role| two.first(role));
    let name = "a slave is back with old data while the master is dead";
    each_death(name, &two, sees(&["MasterDown", "keeps its role"]), |world| {
        world.crash(slave, false);
        world.goes_on(6);
        world.crash(master, false);
        world.goes_on(2);
        world.start(slave);
        world.goes_on(4);
        world.start(master);
        world.goes_on(4);
    });
    let lost = |sees| Story { sees, disks_are_lost: true };
    for (role, at) in [("master", master), ("slave", slave)] {
        for rounds in [0, 4] {
            let name = format!("a {role} is back without its data after {rounds} rounds");
            each_death(&name, &two, lost(&["with_disk=true"]), |world| {
                world.crash(at, true);
                world.goes_on(rounds);
                world.start(at);
                world.goes_on(4);
            });
        }
    }
    let name = "both are dead, and the master is back without its data";
    each_death(name, &two, lost(&["CameBackEmpty", "CopyChosen"]), |world| {
        world.crash(slave, false);
        world.crash(master, true);
        world.goes_on(2);
        world.start(master);
        world.goes_on(4);
        world.start(slave);
        world.goes_on(4);
    });
}

#[test]
fn the_index_is_killed_while_a_copy_is_made_and_somebody_dies() {
    let mut start = settled(2, ONE_OF_ONE);
    let master = start.first(Role::Master);
    start.want(ONE_OF_TWO);
    each_death("a node becomes a slave", &start, sees(&["copying: true"]), |_| {});
    each_death("a node dies that copies", &start, sees(&["Refused"]), |world| {
        if let Some(at) = world.copier() {
            world.dies_for(at, 3);
        }
    });
    each_death("a copy's source dies", &start, sees(&["Refused", "MasterDown"]), |world| {
        world.copier();
        world.dies_for(master, 3);
    });
    each_death("a copy's source is started again", &start, sees(&["it was restarted"]), |world| {
        world.copier();
        world.dies_for(master, 0);
    });
}

#[test]
fn the_index_is_killed_while_the_cluster_grows() {
    let mut four = settled(4, ONE_OF_TWO);
    four.want(TWO_OF_TWO);
    each_death("two copies each", &four, sees(&["partition: 1"]), |_| {});
    let mut start = settled(3, ONE_OF_ONE);
    start.want(TWO_OF_ONE);
    let old = start.first(Role::Master);
    let new_is = |world: &World, state| {
        let entries = (0..world.nodes.len()).map(|at| world.entry(at));
        entries.flatten().position(|entry| entry.is_master_of(1) && entry.state == state)
    };
    each_death("the new master dies in prepare", &start, sees(&["Refused"]), |world| {
        if let Some(at) = world.copier() {
            world.dies_for(at, 3);
        }
    });
    each_death("the old master dies in prepare", &start, sees(&["MasterDown"]), |world| {
        world.copier();
        world.dies_for(old, 3);
    });
    // It stays ready while something may be on its way to a slave that has just lost its role.
    let mut surplus = settled(3, ONE_OF_TWO);
    surplus.want(TWO_OF_ONE);
    for (state, start) in [(State::Ready, &surplus), (State::Active, &start)] {
        let old = start.first(Role::Master);
        for new_dies in [true, false] {
            let who = if new_dies { "new" } else { "old" };
            let name = format!("the {who} master dies when the new one is {state:?}");
            each_death(&name, start, sees(&["now is the moment"]), |world| {
                world.until(|world| new_is(world, state).is_some());
                let new = new_is(world, state).unwrap_or(old);
                world.dies_for(if new_dies { new } else { old }, 3);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_a_master_is_swapped() {
    for (name, start) in [("two", settled(2, ONE_OF_TWO)), ("three", settled(3, ONE_OF_THREE))] {
        for how in [PARK, PAUSE] {
            let name = format!("{:?}, {name} copies", how.way);
            each_death(&name, &start, sees(&["is the master\""]), |world| {
                world.switch(0, how);
                world.goes_on(6);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_a_master_is_swapped_and_somebody_dies() {
    let start = settled(2, ONE_OF_TWO);
    let steps = [HandoverStep::Holding, HandoverStep::Switching, HandoverStep::Releasing];
    let parked = [HandoverStep::Introducing].into_iter().chain(steps).map(|step| (PARK, step));
    for (how, step) in parked.chain(steps.map(|step| (PAUSE, step))) {
        for role in [Role::Master, Role::Slave] {
            let at = start.first(role);
            let name = format!("{:?}, the {role} dies in {step:?}", how.way);
            each_death(&name, &start, sees(&["now is the moment"]), |world| {
                world.switch(0, how);
                world.until(|world| world.is_at(step));
                world.dies_for(at, 3);
            });
        }
        let [master, slave] = [Role::Master, Role::Slave].map(|role| start.first(role));
        let name = format!("{:?}, the slave dies in {step:?}, and then the master", how.way);
        each_death(&name, &start, sees(&["now is the moment"]), |world| {
            world.switch(0, how);
            world.until(|world| world.is_at(step));
            world.crash(slave, false);
            // What the master acknowledges now only it has.
            (0..4).for_each(|_| world.client(master));
            world.leave(master);
            world.goes_on(2);
            world.start(slave);
            world.goes_on(3);
            world.start(master);
            world.goes_on(3);
        });
    }
}

#[test]
fn the_index_is_killed_while_nodes_leave() {
    for (name, start) in
        [("two", settled(2, ONE_OF_TWO)), ("two and a spare", settled(3, ONE_OF_TWO))]
    {
        let [master, slave] = [Role::Master, Role::Slave].map(|role| start.first(role));
        let name = |what: &str| format!("of {name} nodes {what}");
        each_death(&name("a master leaves"), &start, sees(&["is the master\""]), |world| {
            world.announce(master, true);
            world.goes_on(6);
            world.leave(master);
            world.goes_on(3);
            world.start(master);
        });
        for (role, at) in [("master", master), ("slave", slave)] {
            let name = name(&format!("a {role} ends and says so"));
            each_death(&name, &start, sees(&["Shutdown {"]), |world| {
                world.leave(at);
                world.goes_on(3);
                world.start(at);
                world.goes_on(3);
            });
        }
    }
}

#[test]
fn the_index_is_killed_while_a_copy_that_lapsed_is_made_again() {
    let start = settled(2, ONE_OF_TWO);
    let [master, slave] = [Role::Master, Role::Slave].map(|role| start.first(role));
    each_death("a slave lapses", &start, sees(&["Lapsed {", "NodeEmptied"]), |world| {
        world.misses_writes(slave);
        world.goes_on(6);
    });
    each_death("it takes over", &start, sees(&["LapsedPromoted"]), |world| {
        world.wanted.paused = true;
        world.want(world.wanted);
        world.misses_writes(slave);
        world.crash(master, false);
        world.goes_on(40);
        world.want(ONE_OF_TWO);
        world.start(master);
    });
}

#[test]
fn the_index_is_killed_while_a_node_flaps() {
    let start = settled(2, ONE_OF_TWO);
    for role in [Role::Master, Role::Slave] {
        let at = start.first(role);
        each_death(&format!("a {role} flaps"), &start, sees(&["Flapping"]), |world| {
            for _ in 0..6 {
                world.dies_for(at, 1);
            }
        });
    }
}

#[test]
fn the_index_is_killed_while_the_breaker_is_open() {
    let start = settled(4, TWO_OF_TWO);
    let [master, slave] = [Role::Master, Role::Slave].map(|role| start.first(role));
    let opens = ["BreakerChanged { open: true", "BreakerChanged { open: false", "MasterDown"];
    each_death("both nodes of a partition die", &start, sees(&opens), |world| {
        world.crash(master, false);
        world.crash(slave, false);
        world.breaker_opens = true;
        world.goes_on(4);
        world.start(slave);
        world.goes_on(3);
        world.start(master);
        world.goes_on(3);
        world.breaker_opens = false;
        world.goes_on(4);
    });
}

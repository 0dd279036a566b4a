//! Small worlds, exhausted: every order of what can happen, with every placing of a few faults, up
//! to a depth. In each state that is reached this way everything that `check` and the worlds hold
//! must hold; and if the faults end there, the cluster must get its shape again, with every key.
//!
//! `DEPTH=9 cargo test -p flare-core --test world exhaust` looks further than a usual run does.
//! Stateright keeps the states and finds the shortest way to one that is broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use flare_core::model::Timestamp;
use flare_core::stored::StoredTopology;
use flare_core::topology::{HandoverHow, HandoverWay, RequestId, Topology};
use flare_core::wanted::Wanted;
use stateright::{Checker, Model, Property};

use crate::clients::Wish;
use crate::data::{Key, Value};
use crate::killed::Killed;
use crate::node::Node;
use crate::peace::{self, ONE_OF_TWO, settled};
use crate::sim::{Due, Link, World};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Action {
    /// The index connects to a node, or finds that it cannot, and tells it the map.
    Tell(usize),
    /// The node shows what it is, copies, reports; who is dead is found dead.
    Hear(usize),
    /// The store has what was written.
    Store,
    /// Relay and links say one thing that is due.
    Echo,
    /// It is time for what the index wanted to wake up for.
    Wake,
    Start(usize),
    Client(usize, Wish),
    Fault(Fault),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fault {
    StoreFails,
    Crash(usize),
    CrashAndStart(usize),
    LinkEnds(usize),
    AnswerLost(usize),
    ReportLost(usize),
    FoundDeadByMistake(usize),
    /// The index is killed.
    Restart(Killed),
    /// The relay cannot be opened, or a node does not connect to others.
    EchoFails,
    /// Not a fault, but as rare: a person swaps the first partition's master.
    Switch(HandoverWay),
    Leave(usize),
}

/// A world that is explored.
struct Small {
    start: World,
    faults: u8,
}

/// A state of it.
#[derive(Debug, Clone)]
struct Reached {
    world: World,
    faults_left: u8,
    writes_left: u8,
    /// Something did not hold.
    is_broken: bool,
}

impl PartialEq for Reached {
    fn eq(&self, other: &Self) -> bool {
        (self.faults_left, self.writes_left, self.is_broken)
            == (other.faults_left, other.writes_left, other.is_broken)
            && self.world.decisive() == other.world.decisive()
    }
}

impl Hash for Reached {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.faults_left, self.writes_left, self.is_broken).hash(state);
        self.world.decisive().hash(state);
    }
}

impl Model for Small {
    type State = Reached;
    type Action = Action;

    fn init_states(&self) -> Vec<Reached> {
        let world = self.start.clone();
        vec![Reached { world, faults_left: self.faults, writes_left: 1, is_broken: false }]
    }

    fn actions(&self, state: &Reached, actions: &mut Vec<Action>) {
        if state.is_broken {
            return;
        }
        let world = &state.world;
        let nodes = 0..world.nodes.len();
        actions.extend([Action::Store, Action::Echo, Action::Wake]);
        actions.extend(nodes.clone().flat_map(|at| [Action::Tell(at), Action::Hear(at)]));
        actions.extend(nodes.clone().filter(|at| !world.nodes[*at].alive).map(Action::Start));
        if state.writes_left > 0 {
            let wishes = [Wish::WriteNew, Wish::Overwrite(0), Wish::Delete(0)];
            let of_node = |at| wishes.map(|wish| Action::Client(at, wish));
            actions.extend(nodes.clone().flat_map(of_node));
        }
        if state.faults_left > 0 {
            let mut faults = vec![Fault::StoreFails, Fault::EchoFails];
            faults.extend([HandoverWay::Park, HandoverWay::Pause].map(Fault::Switch));
            faults.extend(world.killed().map(Fault::Restart));
            faults.extend(nodes.filter(|at| world.nodes[*at].alive).flat_map(|at| {
                [
                    Fault::Crash(at),
                    Fault::CrashAndStart(at),
                    Fault::LinkEnds(at),
                    Fault::AnswerLost(at),
                    Fault::ReportLost(at),
                    Fault::FoundDeadByMistake(at),
                    Fault::Leave(at),
                ]
            }));
            actions.extend(faults.into_iter().map(Action::Fault));
        }
    }

    fn next_state(&self, last: &Reached, action: Action) -> Option<Reached> {
        let mut next = last.clone();
        next.faults_left -= u8::from(matches!(action, Action::Fault(_)));
        next.writes_left -= u8::from(matches!(action, Action::Client(..)));
        let happened = catch_unwind(AssertUnwindSafe(|| next.world.happens(action)));
        if happened.is_err() {
            next.is_broken = true;
            return Some(next);
        }
        // What changes nothing is no step.
        (next.world.decisive() != last.world.decisive()).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("all rules hold", |_, state: &Reached| !state.is_broken),
            Property::always("the cluster gets its shape", |_, state: &Reached| {
                let mut world = state.world.clone();
                state.is_broken
                    || catch_unwind(AssertUnwindSafe(|| peace::make(&mut world, false))).is_ok()
            }),
        ]
    }
}

/// All of a world that can make a difference to what happens next.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Decisive<'a> {
    nodes: &'a [Node],
    links: &'a [Link],
    now_and_wake: (Timestamp, Option<Timestamp>),
    topology: &'a Topology,
    writing: &'a Option<Arc<StoredTopology>>,
    medium: &'a StoredTopology,
    asked: &'a BTreeMap<RequestId, Option<usize>>,
    echoes: &'a VecDeque<Due>,
    promised: &'a BTreeMap<Key, Option<Value>>,
    stale: &'a BTreeSet<Key>,
}

impl World {
    /// What tells two worlds apart.
    fn decisive(&self) -> Decisive<'_> {
        Decisive {
            nodes: &self.nodes,
            links: &self.links,
            now_and_wake: (self.now, self.wake),
            topology: &self.topology,
            writing: &self.writing,
            medium: &self.medium,
            asked: &self.asked,
            echoes: &self.echoes,
            promised: &self.promised,
            stale: &self.stale,
        }
    }

    fn happens(&mut self, action: Action) {
        self.tell(|| format!("-- {action:?}"));
        match action {
            Action::Tell(at) => {
                self.register(at);
                self.try_link(at);
                self.push(at, false);
            }
            Action::Hear(at) => {
                self.observe(at);
                self.empty(at, false);
                while self.nodes[at].copy.is_some() {
                    self.copy(at);
                }
                self.report(at, false);
                self.detect(at, false);
            }
            Action::Store => self.store(false),
            Action::Echo => self.echo(true),
            Action::Wake => {
                if let Some(wake) = self.wake {
                    self.pass(wake.0.saturating_sub(self.now.0));
                }
            }
            Action::Start(at) => self.nodes[at].start(),
            Action::Client(at, wish) => self.serve(at, wish),
            Action::Fault(fault) => self.suffers(fault),
        }
    }

    fn suffers(&mut self, fault: Fault) {
        match fault {
            Fault::StoreFails => self.store(true),
            Fault::Crash(at) => self.crash(at, false),
            Fault::CrashAndStart(at) => {
                self.crash(at, false);
                self.nodes[at].start();
            }
            Fault::LinkEnds(at) => self.end_link(at),
            Fault::AnswerLost(at) => self.push(at, true),
            Fault::ReportLost(at) => self.report(at, true),
            Fault::FoundDeadByMistake(at) => self.detect(at, true),
            Fault::Restart(killed) => self.restart_index(killed),
            Fault::EchoFails => self.echo(false),
            Fault::Switch(way) => {
                let end_clients = way == HandoverWay::Park;
                self.switch(0, HandoverHow { way, end_clients });
            }
            Fault::Leave(at) => self.announce(at, true),
        }
    }
}

fn exhaust(name: &str, start: World, faults: u8, depth: usize) {
    let deeper = std::env::var("DEPTH").ok().and_then(|depth| depth.parse().ok());
    let depth = deeper.unwrap_or(depth);
    let checker =
        Small { start: start.clone(), faults }.checker().threads(2).target_max_depth(depth);
    let checker = checker.spawn_bfs().join();
    println!("{name}: {} states, {faults} faults, {depth} steps", checker.unique_state_count());
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let mut world = start;
        world.is_silent = false;
        let actions = path.into_actions();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            actions.iter().for_each(|action| world.happens(*action));
            peace::make(&mut world, false);
        }));
        panic!("{name}: not so: {property}\n{actions:#?}\n{}", world.story.join("\n"));
    }
}

#[test]
fn exhaust_two_copies() {
    exhaust("two copies", settled(2, ONE_OF_TWO), 2, 6);
}

#[test]
fn exhaust_two_copies_and_a_spare_node() {
    exhaust("two copies and a spare node", settled(3, ONE_OF_TWO), 1, 5);
}

#[test]
fn exhaust_a_growing_cluster() {
    let mut world = settled(2, Wanted { replicas: 1, ..ONE_OF_TWO });
    world.want(Wanted { partitions: 2, replicas: 1, ..ONE_OF_TWO });
    exhaust("a growing cluster", world, 1, 7);
}

#[test]
fn exhaust_a_node_that_gets_its_role() {
    let mut world = settled(2, Wanted { replicas: 1, ..ONE_OF_TWO });
    world.want(ONE_OF_TWO);
    exhaust("a node that gets its role", world, 1, 7);
}

//! The breaker in front of suspicion, as stories.

use std::sync::Arc;

use super::*;
use crate::model::{HashSettings, Incarnation, NodeEntry, Role, State};
use crate::policy::breaker::RECOVERY_MILLIS;
use crate::stored::{StoredNode, StoredTopology};
use crate::topology::Snapshot;

const MONITORING: MonitorSettings =
    MonitorSettings { startup_grace_millis: 0, ..MonitorSettings::DEFAULT };

const PROCESS: Incarnation = Incarnation { started: 1_000, pid: 7 };

fn node(number: usize) -> NodeKey {
    NodeKey::new("n", 1 + i32::try_from(number).expect("few nodes"))
}

/// As many partitions as nodes, each node a master.
fn masters(count: usize) -> Snapshot {
    let mut stored = StoredTopology::empty(HashSettings::default());
    for number in 0..count {
        let mut entry = NodeEntry::new_proxy(stored.next_thread_type);
        entry.role = Role::Master;
        entry.state = State::Active;
        entry.partition = i32::try_from(number).expect("few nodes");
        stored.next_thread_type += 1;
        stored.nodes.insert(node(number), StoredNode::new(entry));
    }
    Snapshot::new(Arc::new(stored))
}

fn watching(count: usize) -> Failover {
    let mut failover = Failover::new(MONITORING, BreakerSettings::default(), false, Timestamp(0));
    assert_eq!(failover.published(&masters(count), Timestamp(0)), None);
    failover
}

/// What is told of the evidence, but for doubts.
fn take(failover: &mut Failover, number: usize, evidence: Evidence, now: Timestamp) -> Vec<Input> {
    let mut told = failover.take(&node(number), evidence, now);
    told.retain(|input| !matches!(input, Input::Suspected { .. }));
    told
}

fn refused(failover: &mut Failover, number: usize) -> Vec<Input> {
    (0..3).flat_map(|_| take(failover, number, Evidence::ConnectRefused, Timestamp(1))).collect()
}

fn answers(failover: &mut Failover, number: usize, now: Timestamp) -> Vec<Input> {
    let answered = Evidence::PingAnswered { incarnation: Some(PROCESS) };
    take(failover, number, answered, now)
}

#[test]
fn deaths_are_ordered_until_so_many_are_dead_that_the_breaker_opens() {
    let mut failover = watching(4);
    assert!(matches!(refused(&mut failover, 0)[..], [Input::MarkDown { .. }]));
    let second = refused(&mut failover, 1);
    assert_eq!(second, [Input::BreakerChanged { open: true, assigned: 4, dead: 2 }]);
    assert!(refused(&mut failover, 2).is_empty(), "nobody is held dead while it is open");
}

#[test]
fn a_node_whose_death_was_held_back_is_ordered_down_after_the_breaker_closed() {
    let mut failover = watching(10);
    for number in 0..10 {
        answers(&mut failover, number, Timestamp(1));
    }
    for number in 0..5 {
        refused(&mut failover, number);
    }
    assert!(failover.breaker().0.is_open());
    for number in 0..3 {
        assert!(answers(&mut failover, number, Timestamp(2)).is_empty());
    }
    let later = Timestamp(2).plus_millis(RECOVERY_MILLIS);
    let closed = failover.wake(later);
    assert_eq!(closed, Some(Input::BreakerChanged { open: false, assigned: 10, dead: 2 }));
    let again = failover.take(&node(3), Evidence::ConnectRefused, later);
    assert!(matches!(again[..], [Input::MarkDown { .. }]));
}

#[test]
fn a_breaker_that_was_open_is_open_after_a_restart() {
    let mut failover = Failover::new(MONITORING, BreakerSettings::default(), true, Timestamp(0));
    assert!(failover.breaker().0.is_open());
    assert_eq!(failover.published(&masters(4), Timestamp(0)), None);
    assert_eq!(failover.wake(Timestamp(RECOVERY_MILLIS)), None, "nobody was heard from yet");
    let heard = Timestamp(RECOVERY_MILLIS);
    for number in 0..4 {
        assert!(answers(&mut failover, number, heard).is_empty());
    }
    assert_eq!(
        failover.wake(heard.plus_millis(RECOVERY_MILLIS)),
        Some(Input::BreakerChanged { open: false, assigned: 4, dead: 0 })
    );
}

/// A master that comes back empty stays down in the map until a slave may take over from it.
#[test]
fn a_node_that_answers_is_no_death_though_it_is_not_given_back() {
    let mut down = masters(4).stored().clone();
    for number in 0..2 {
        down.nodes.get_mut(&node(number)).expect("it is there").entry.state = State::Down;
    }
    let mut failover = Failover::new(MONITORING, BreakerSettings::default(), true, Timestamp(0));
    assert_eq!(failover.published(&Snapshot::new(Arc::new(down)), Timestamp(0)), None);
    let heard = Timestamp(5_000);
    for number in 0..4 {
        answers(&mut failover, number, heard);
    }
    assert_eq!(
        failover.wake(heard.plus_millis(RECOVERY_MILLIS)),
        Some(Input::BreakerChanged { open: false, assigned: 4, dead: 0 })
    );
    assert!(take(&mut failover, 0, Evidence::PingMissed, Timestamp(20_000)).is_empty());
    assert_eq!(failover.breaker().1.dead, 1, "it is silent again, and was never given back");
}

#[test]
fn a_person_closes_it() {
    let mut failover = watching(2);
    refused(&mut failover, 0);
    refused(&mut failover, 1);
    let closed = failover.reset();
    assert_eq!(closed, Some(Input::BreakerChanged { open: false, assigned: 2, dead: 2 }));
    let order = take(&mut failover, 0, Evidence::ConnectRefused, Timestamp(5));
    assert!(matches!(order[..], [Input::MarkDown { .. }]));
}

#[test]
fn a_doubt_is_told_once_and_so_is_its_end() {
    let mut failover = watching(4);
    let mut told = |evidence, at| -> Vec<bool> {
        let told = failover.take(&node(0), evidence, Timestamp(at));
        let doubts = told.into_iter().filter_map(|input| match input {
            Input::Suspected { suspected, .. } => Some(suspected),
            _ => None,
        });
        doubts.collect()
    };
    let answered = Evidence::PingAnswered { incarnation: Some(PROCESS) };
    assert!(told(answered, 1).is_empty());
    assert_eq!(told(Evidence::PingMissed, 1_000), [true]);
    assert!(told(Evidence::PingMissed, 2_000).is_empty());
    assert_eq!(told(answered, 3_000), [false]);
    assert!(told(answered, 4_000).is_empty());
}

#[test]
fn a_slave_that_is_silent_while_the_breaker_is_open_lapses() {
    let mut failover = watching(3);
    let mut stored = StoredTopology::clone(masters(3).stored());
    for number in [1, 2] {
        let slave = stored.nodes.get_mut(&node(number)).expect("a node of the map");
        slave.entry.role = Role::Slave;
        slave.entry.partition = 0;
    }
    let _ = failover.published(&Snapshot::new(Arc::new(stored)), Timestamp(0));
    let (mut marked_down, mut lapses) = (0, Vec::new());
    for second in 1..=30 {
        let now = Timestamp(second * 1_000);
        answers(&mut failover, 0, now);
        for number in [1, 2] {
            for told in take(&mut failover, number, Evidence::ConnectRefused, now) {
                match told {
                    Input::MarkDown { .. } => marked_down += 1,
                    Input::Lapsed { silent_millis, .. } => lapses.push((second, silent_millis)),
                    _ => {}
                }
            }
        }
    }
    assert_eq!(marked_down, 1, "the second death opens the breaker: {lapses:?}");
    // (The first was ordered down, so that its silence does not matter.)
    assert_eq!(lapses.first(), Some(&(18, 18_000)), "{lapses:?}");
}

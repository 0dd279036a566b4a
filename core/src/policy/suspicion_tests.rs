//! Each rule of detection, as a story: what a link saw when, and what was ordered.

use std::sync::Arc;

use super::*;
use crate::model::{HashSettings, NodeEntry, Role};
use crate::stored::{HandoverStep, StoredHandover, StoredNode, StoredTopology};

#[path = "silence_tests.rs"]
mod silence;

const SETTINGS: MonitorSettings = MonitorSettings::DEFAULT;

const FIRST: Incarnation = Incarnation { started: 1_000, pid: 7 };
const SECOND: Incarnation = Incarnation { started: 2_000, pid: 7 };

fn answered(process: Incarnation) -> Evidence {
    Evidence::PingAnswered { incarnation: Some(process) }
}

fn node() -> NodeKey {
    NodeKey::new("a", 1)
}

/// A map of that version in which node `a:1` is in that state; its process is the first one.
fn map(version: u64, state: State) -> Snapshot {
    let entry = NodeEntry { role: Role::Master, state, partition: 0, balance: 1, thread_type: 16 };
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.version = version;
    let known = StoredNode { incarnation: Some(FIRST), ..StoredNode::new(entry) };
    stored.nodes.insert(node(), known);
    Snapshot::new(Arc::new(stored))
}

/// An index that has known node `a:1` as active since 0.
fn watching(settings: MonitorSettings) -> Suspicion {
    let mut suspicion = Suspicion::new(settings, Timestamp(0));
    suspicion.published(&map(5, State::Active), Timestamp(0));
    suspicion
}

/// The same, and it has answered once.
fn watching_one_that_answered() -> Suspicion {
    let mut suspicion = watching(SETTINGS);
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(1)), None);
    suspicion
}

fn down(reason: DownReason) -> Option<Input> {
    let seen = Seen { version: 5, incarnation: Some(FIRST) };
    Some(Input::MarkDown { node: node(), seen, reason })
}

fn back(version: u64, process: Incarnation) -> Option<Input> {
    let seen = Seen { version, incarnation: Some(process) };
    Some(Input::Return { node: node(), seen })
}

/// Follows the machine's own pace: every attempt ends in `evidence` after `takes` milliseconds.
/// When the first order is given, and which.
fn until_ordered(suspicion: &mut Suspicion, evidence: Evidence, takes: u64) -> (u64, Input) {
    for _ in 0..1_000 {
        let attempt = suspicion.next_attempt(&node()).unwrap();
        let at = attempt.plus_millis(takes);
        if let Some(order) = suspicion.take(&node(), evidence, at) {
            return (at.0, order);
        }
    }
    panic!("never ordered");
}

#[test]
fn a_connection_that_ends_and_three_refusals_at_0_100_and_200_ms_are_a_death() {
    let mut suspicion = watching_one_that_answered();
    let end = Timestamp(5_000);
    assert_eq!(suspicion.take(&node(), Evidence::ConnectionEnded, end), None);
    for (after, order) in [(0, None), (100, None), (200, down(DownReason::Refused))] {
        assert_eq!(suspicion.next_attempt(&node()), Some(end.plus_millis(after)));
        let now = end.plus_millis(after);
        assert_eq!(suspicion.take(&node(), Evidence::ConnectRefused, now), order, "{after} ms");
    }
}

#[test]
fn a_hung_node_is_dead_after_threshold_times_interval() {
    let mut suspicion = watching_one_that_answered();
    let (at, order) = until_ordered(&mut suspicion, Evidence::PingMissed, 1_000);
    assert_eq!(Some(order), down(DownReason::Silent));
    assert_eq!(at, 1_000 + 3 * 1_000, "three pings from 1,000 on, each missed after 1,000 ms");
}

#[test]
fn a_sick_node_is_dead_after_the_threshold() {
    let mut suspicion = watching_one_that_answered();
    let (at, order) = until_ordered(&mut suspicion, Evidence::PingFailed, 2);
    assert_eq!((at, Some(order)), (3_002, down(DownReason::Sick)));
}

#[test]
fn a_connection_that_was_accepted_and_closed_once_is_no_death() {
    let mut suspicion = watching_one_that_answered();
    for at in [2_000, 2_001] {
        assert_eq!(suspicion.take(&node(), Evidence::ConnectionEnded, Timestamp(at)), None);
    }
    assert_eq!(suspicion.failures(&node()), 1, "the second one had never carried an answer");
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(3_001)), None);
    assert_eq!(suspicion.failures(&node()), 0);
}

#[test]
fn a_node_that_only_accepts_and_closes_is_dead_no_sooner_than_a_silent_one() {
    let mut suspicion = watching_one_that_answered();
    let end = Timestamp(1_001);
    assert_eq!(suspicion.take(&node(), Evidence::ConnectionEnded, end), None);
    let (at, order) = until_ordered(&mut suspicion, Evidence::ConnectionEnded, 1);
    assert_eq!((at, Some(order)), (3_002, down(DownReason::Silent)));
}

#[test]
fn an_answer_forgives_all_failures() {
    let mut suspicion = watching_one_that_answered();
    for round in 0..10 {
        for miss in 0..2 {
            let now = Timestamp(3_000 * round + 1_000 * miss + 2_000);
            assert_eq!(suspicion.take(&node(), Evidence::PingMissed, now), None);
        }
        let now = Timestamp(3_000 * round + 4_000);
        assert_eq!(suspicion.take(&node(), answered(FIRST), now), None);
    }
}

#[test]
fn an_order_is_given_again_with_each_failure_until_the_map_shows_it() {
    let mut suspicion = watching_one_that_answered();
    let (at, _) = until_ordered(&mut suspicion, Evidence::ConnectRefused, 0);
    for step in 1..4 {
        let now = Timestamp(at + 100 * step);
        assert_eq!(
            suspicion.take(&node(), Evidence::ConnectRefused, now),
            down(DownReason::Refused)
        );
    }
    suspicion.published(&map(6, State::Down), Timestamp(at + 400));
    let now = Timestamp(at + 500);
    assert_eq!(suspicion.take(&node(), Evidence::ConnectRefused, now), None);
    assert!(suspicion.next_attempt(&node()).unwrap() > now.plus_millis(100), "no more hurry");
}

#[test]
fn the_startup_grace_covers_only_a_node_that_was_not_heard_from() {
    let mut unheard = watching(SETTINGS);
    let (at, _) = until_ordered(&mut unheard, Evidence::ConnectRefused, 0);
    assert!((30_000..=31_000).contains(&at), "{at}: with the first failure after the grace");

    let mut heard = watching_one_that_answered();
    let (at, _) = until_ordered(&mut heard, Evidence::ConnectRefused, 0);
    assert!(at < 2_000, "{at}");

    let mut manual = watching(MonitorSettings { startup_grace_millis: 0, ..SETTINGS });
    let (at, _) = until_ordered(&mut manual, Evidence::ConnectRefused, 0);
    assert_eq!(at, 200);
}

#[test]
fn a_node_that_is_down_and_answers_returns_and_the_order_repeats_until_the_map_shows_it() {
    let mut suspicion = watching_one_that_answered();
    suspicion.published(&map(6, State::Down), Timestamp(2_000));
    for at in [3_000, 4_000] {
        assert_eq!(
            suspicion.take(&node(), answered(SECOND), Timestamp(at)),
            back(6, SECOND),
            "at {at}"
        );
    }
    suspicion.published(&map(7, State::Active), Timestamp(4_001));
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(5_000)), None);
}

#[test]
fn a_node_returns_only_when_its_process_is_known() {
    let mut suspicion = watching_one_that_answered();
    suspicion.published(&map(6, State::Down), Timestamp(2_000));
    let unknown = Evidence::PingAnswered { incarnation: None };
    assert_eq!(suspicion.take(&node(), unknown, Timestamp(3_000)), None);
}

#[test]
fn the_last_answers_of_a_node_that_leaves_are_no_return() {
    let mut suspicion = watching_one_that_answered();
    suspicion.published(&map(6, State::Down), Timestamp(2_000));
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(2_499)), None);
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(2_500)), back(6, FIRST));
}

#[test]
fn failures_while_down_are_not_held_against_a_node_that_returned() {
    let mut suspicion = watching_one_that_answered();
    until_ordered(&mut suspicion, Evidence::ConnectRefused, 0);
    suspicion.published(&map(6, State::Down), Timestamp(2_000));
    // A person, or the node's own `node add`, brings it back.
    suspicion.published(&map(7, State::Active), Timestamp(9_000));
    assert_eq!(suspicion.take(&node(), Evidence::PingMissed, Timestamp(10_000)), None);
}

#[test]
fn another_process_under_the_same_name_is_a_death_until_the_map_knows_it() {
    let mut suspicion = watching_one_that_answered();
    let seen = Seen { version: 5, incarnation: Some(SECOND) };
    let restarted = Input::MarkDown { node: node(), seen, reason: DownReason::Restarted };
    for at in [2_000, 3_000] {
        let order = suspicion.take(&node(), answered(SECOND), Timestamp(at));
        assert_eq!(order, Some(restarted.clone()));
    }
    let a_second_later = Incarnation { started: FIRST.started + 1, ..FIRST };
    let order = suspicion.take(&node(), answered(a_second_later), Timestamp(4_000));
    assert_eq!(order, None, "clocks tick between two readings; it is the same process");

    let mut manual = watching(MonitorSettings { restart_is_death: false, ..SETTINGS });
    assert_eq!(manual.take(&node(), answered(SECOND), Timestamp(2_000)), None);
}

#[test]
fn nothing_is_ordered_about_a_node_that_is_not_in_the_map_and_its_past_is_forgotten() {
    let mut suspicion = watching_one_that_answered();
    let stranger = NodeKey::new("b", 1);
    assert_eq!(suspicion.take(&stranger, Evidence::ConnectRefused, Timestamp(1)), None);
    assert_eq!(suspicion.next_attempt(&stranger), None);

    for at in [100, 200] {
        assert_eq!(suspicion.take(&node(), Evidence::ConnectRefused, Timestamp(at)), None);
    }
    let nobody = Snapshot::new(Arc::new(StoredTopology::empty(HashSettings::default())));
    suspicion.published(&nobody, Timestamp(300));
    assert_eq!(suspicion.next_attempt(&node()), None);
    suspicion.published(&map(7, State::Active), Timestamp(400));
    assert_eq!(suspicion.next_attempt(&node()), Some(Timestamp(400)), "tried at once");
    assert_eq!(suspicion.take(&node(), Evidence::ConnectRefused, Timestamp(40_000)), None);
    assert_eq!(suspicion.failures(&node()), 1);
}

#[test]
fn interval_0_switches_all_orders_off() {
    let mut suspicion = watching(MonitorSettings { interval_millis: 0, ..SETTINGS });
    for at in 0..100 {
        let now = Timestamp(at * 1_000);
        assert_eq!(suspicion.take(&node(), Evidence::ConnectRefused, now), None);
    }
    suspicion.published(&map(6, State::Down), Timestamp(100_000));
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(200_000)), None);
}

#[test]
fn threshold_0_holds_no_node_dead_as_in_flarei() {
    let settings = MonitorSettings { threshold: 0, startup_grace_millis: 0, ..SETTINGS };
    let mut suspicion = watching(settings);
    for at in 0..100 {
        let now = Timestamp(at * 1_000);
        assert_eq!(suspicion.take(&node(), Evidence::PingMissed, now), None);
    }
    suspicion.published(&map(6, State::Down), Timestamp(100_000));
    assert_eq!(suspicion.take(&node(), answered(FIRST), Timestamp(101_000)), back(6, FIRST));
}

#[test]
fn a_party_of_a_pause_that_is_shown_as_down_can_die() {
    let mut suspicion = watching_one_that_answered();
    let mut paused = map(6, State::Down).stored().clone();
    paused.handover = Some(StoredHandover {
        partition: 0,
        from: node(),
        to: NodeKey::new("b", 1),
        relay: None,
        balances: BTreeMap::new(),
        step: HandoverStep::Holding,
    });
    suspicion.published(&Snapshot::new(Arc::new(paused)), Timestamp(10));
    let answers = suspicion.take(&node(), answered(FIRST), Timestamp(1_000));
    assert_eq!(answers, None, "nothing is to be given back to it");
    let (_, order) = until_ordered(&mut suspicion, Evidence::ConnectRefused, 0);
    assert!(matches!(order, Input::MarkDown { .. }), "{order:?}");
}

//! What is made of silence: of one node while others answer, and of all of them.

use super::*;
use crate::stored::{Lapse, LapseCause};

/// A map of that version in which `a:1` is a slave that nothing is known against, or that was
/// silent for so many milliseconds; `m:1` is its master.
fn slave_map(version: u64, known: Option<u64>) -> Snapshot {
    let mut stored = StoredTopology::clone(map(version, State::Active).stored());
    let slave = stored.nodes.get_mut(&node()).unwrap();
    slave.entry.role = Role::Slave;
    slave.lapse = known
        .map(|silent_millis| Lapse { silent_millis, ..Lapse::new(LapseCause::Silent, version) });
    let entry = NodeEntry { thread_type: 17, role: Role::Master, ..slave.entry };
    stored.nodes.insert(master(), StoredNode::new(entry));
    Snapshot::new(Arc::new(stored))
}

fn master() -> NodeKey {
    NodeKey::new("m", 1)
}

/// The slave is silent from 10,000 on, for so many seconds, and then answers; its master answers
/// all the time, or not at all. What is told of the silence, and when.
fn lapses_of(silent_seconds: u64, master_answers: bool) -> Vec<(u64, u64)> {
    let patient = MonitorSettings { threshold: 1_000, ..SETTINGS };
    let mut suspicion = Suspicion::new(patient, Timestamp(0));
    suspicion.published(&slave_map(5, None), Timestamp(0));
    let mut told = Vec::new();
    for second in 1..=10 + silent_seconds + 5 {
        let now = Timestamp(second * 1_000);
        let silent = (11..=10 + silent_seconds).contains(&second);
        if master_answers || !silent {
            let _ = suspicion.take(&master(), answered(FIRST), now);
        }
        let evidence = if silent { Evidence::PingMissed } else { answered(FIRST) };
        let _ = suspicion.take(&node(), evidence, now);
        if let Some(Input::Lapsed { silent_millis, .. }) = suspicion.lapse(&node()) {
            told.push((second, silent_millis));
            suspicion.published(&slave_map(5, Some(silent_millis)), now);
        }
    }
    told
}

#[test]
fn a_slave_that_was_silent_for_as_long_as_its_master_tries_has_lapsed() {
    assert_eq!(lapses_of(16, true), [], "it answers 17 s after it last did");
    assert_eq!(lapses_of(17, true), [(28, 18_000)]);
    assert_eq!(lapses_of(25, true), [(28, 18_000), (36, 26_000)], "and how long it was in the end");
}

#[test]
fn silence_of_all_nodes_says_nothing_of_slaves() {
    assert_eq!(lapses_of(60, false), [], "it may be the index that was cut off");
}

/// From 2,000 on the index hears from nobody, for so many seconds; its nodes are well. What was
/// ordered, and by how many failures each was doubted at the end of it.
fn cut_off(settings: MonitorSettings, seconds: u64) -> (Suspicion, Vec<Input>, Vec<u32>) {
    let mut suspicion = Suspicion::new(settings, Timestamp(0));
    suspicion.published(&slave_map(5, None), Timestamp(0));
    let mut orders = Vec::new();
    for second in 1..=2 + seconds {
        for (node, at) in [(node(), second * 1_000), (master(), second * 1_000 + 500)] {
            let evidence = if second > 2 { Evidence::ConnectFailed } else { answered(FIRST) };
            orders.extend(suspicion.take(&node, evidence, Timestamp(at)));
        }
    }
    let doubts = [node(), master()].map(|node| suspicion.failures(&node)).to_vec();
    (suspicion, orders, doubts)
}

#[test]
fn an_index_that_hears_from_nobody_holds_nobody_dead() {
    let (mut suspicion, orders, doubts) = cut_off(SETTINGS, 60);
    assert_eq!((orders, doubts), (vec![], vec![60, 60]));
    let dead = Census { assigned: 2, dead: 2, unheard: 0 };
    assert_eq!(suspicion.census(), dead, "the breaker has to open all the same");
    // The wire is mended; an attempt that began before comes to nothing after it.
    assert_eq!(suspicion.take(&master(), answered(FIRST), Timestamp(63_000)), None);
    for at in [63_100, 63_200] {
        assert_eq!(suspicion.take(&node(), Evidence::PingMissed, Timestamp(at)), None, "{at}");
    }
    assert_eq!(suspicion.take(&master(), answered(FIRST), Timestamp(64_000)), None);
    let third = suspicion.take(&node(), Evidence::PingMissed, Timestamp(64_100));
    assert_eq!(third, down(DownReason::Silent), "that it is silent alone was seen three times");
}

#[test]
fn by_hand_each_silence_is_a_death_as_in_flarei() {
    let manual = MonitorSettings { silence_of_all_is_death: true, ..SETTINGS };
    let (_, orders, _) = cut_off(manual, 3);
    assert_eq!(orders.len(), 2, "{orders:?}");
}

#[test]
fn a_node_is_held_dead_though_the_other_answers_only_now_and_then() {
    let mut suspicion = Suspicion::new(SETTINGS, Timestamp(0));
    suspicion.published(&slave_map(5, None), Timestamp(0));
    let mut ordered = None;
    for second in 1..=5 {
        let flaps = if second % 2 == 0 { Evidence::PingMissed } else { answered(FIRST) };
        assert_eq!(suspicion.take(&master(), flaps, Timestamp(second * 1_000)), None);
        let evidence = if second == 1 { answered(FIRST) } else { Evidence::PingMissed };
        let order = suspicion.take(&node(), evidence, Timestamp(second * 1_000 + 1));
        ordered = ordered.or(order.map(|order| (second, order)));
    }
    assert_eq!(ordered, Some((4, down(DownReason::Silent).unwrap())));
}

#[test]
fn refusals_and_errors_need_nobody_who_answers() {
    for evidence in [Evidence::ConnectRefused, Evidence::PingFailed] {
        let mut suspicion = Suspicion::new(SETTINGS, Timestamp(0));
        suspicion.published(&slave_map(5, None), Timestamp(0));
        let orders = (0..3).filter_map(|at| {
            let _ = suspicion.take(&master(), Evidence::PingMissed, Timestamp(40_000 + at));
            suspicion.take(&node(), evidence, Timestamp(40_000 + at))
        });
        assert_eq!(orders.count(), 1, "{evidence:?}");
    }
}

#[test]
fn an_index_that_stood_still_does_not_take_that_for_silence() {
    let mut suspicion = Suspicion::new(SETTINGS, Timestamp(0));
    suspicion.published(&slave_map(5, None), Timestamp(0));
    let _ = suspicion.take(&node(), answered(FIRST), Timestamp(1_000));
    // Then it is stopped for a minute; the ping that was under way is missed.
    let _ = suspicion.take(&master(), answered(FIRST), Timestamp(61_000));
    let _ = suspicion.take(&node(), Evidence::PingMissed, Timestamp(61_001));
    let _ = suspicion.take(&node(), answered(FIRST), Timestamp(61_500));
    assert_eq!(suspicion.lapse(&node()), None);
}

#[test]
fn a_slave_that_is_made_anew_has_no_lapse() {
    let patient = MonitorSettings { threshold: 1_000, ..SETTINGS };
    let mut suspicion = Suspicion::new(patient, Timestamp(0));
    suspicion.published(&slave_map(5, None), Timestamp(0));
    for second in 1..=30 {
        let now = Timestamp(second * 1_000);
        let _ = suspicion.take(&master(), answered(FIRST), now);
        let _ = suspicion.take(&node(), Evidence::PingMissed, now);
    }
    assert!(suspicion.lapse(&node()).is_some());
    let mut proxy = StoredTopology::clone(slave_map(6, None).stored());
    proxy.nodes.get_mut(&node()).unwrap().entry.become_proxy(State::Active);
    suspicion.published(&Snapshot::new(Arc::new(proxy)), Timestamp(31_000));
    suspicion.published(&slave_map(7, None), Timestamp(32_000));
    let _ = suspicion.take(&node(), answered(FIRST), Timestamp(33_000));
    assert_eq!(suspicion.lapse(&node()), None);
}

//! What the circuit breaker does for a cluster, and what it costs.

use super::*;
use crate::policy::breaker::BreakerSettings;
use crate::simulation::{Manner, Storage};

const USUAL: Conditions = Conditions {
    breaker: BreakerSettings {
        enabled: true,
        trip_percent: 50,
        reset_percent: 80,
        auto_reset: true,
        min_dead: 2,
    },
    manner: Manner::Machine,
    storage: Storage::Disk,
    copy_millis: 10_000,
    apart_millis: 30_000,
    away_millis: 30_000,
};

fn outcomes(shape: (u32, u32, u32), conditions: Conditions, kind: Kind) -> Vec<Outcome> {
    let (partitions, replicas, zones) = shape;
    let deployment =
        Deployment::without_spares(partitions, replicas, zones).expect("a shape that can be");
    let cases = study(&deployment, conditions).into_iter().filter(|case| case.kind == kind);
    let outcomes: Vec<Outcome> = cases.map(|case| case.outcome).collect();
    assert!(!outcomes.is_empty());
    outcomes
}

#[test]
fn one_death_in_a_cluster_of_two_is_failed_over_by_default() {
    assert_eq!(USUAL.breaker, BreakerSettings::default());
    let deaths = outcomes((1, 2, 2), USUAL, Kind::Node);
    assert!(deaths.iter().all(|death| !death.trips && death.down.is_empty() && death.whole));
    let of_the_master = deaths.iter().filter_map(|death| death.moved_after_millis);
    assert_eq!(of_the_master.collect::<Vec<_>>(), [4_000], "three pings, and one read timeout");

    let breaker = BreakerSettings { min_dead: 1, ..USUAL.breaker };
    let strict = outcomes((1, 2, 2), Conditions { breaker, ..USUAL }, Kind::Node);
    assert!(strict.iter().all(|death| death.trips));
    assert!(strict.iter().any(|death| death.held_back == [0]));
}

#[test]
fn the_loss_of_one_of_two_zones_trips_it_and_the_return_closes_it() {
    for partitions in [2, 3] {
        for loss in outcomes((partitions, 2, 2), USUAL, Kind::Zone) {
            assert!(loss.trips);
            assert_eq!(loss.down, loss.held_back, "the other zone has every key");
            assert!(loss.closed_after_millis.is_some_and(|after| after >= 10_000), "{loss:?}");
            assert!(loss.lost.is_empty() && loss.whole, "{loss:?}");
        }
    }
}

#[test]
fn the_loss_of_one_of_three_zones_trips_it_at_30_and_not_at_50() {
    let losses = outcomes((3, 2, 3), USUAL, Kind::Zone);
    assert!(losses.iter().all(|loss| !loss.trips && loss.down.is_empty()));
    let breaker = BreakerSettings { trip_percent: 30, reset_percent: 75, ..USUAL.breaker };
    let losses = outcomes((3, 2, 3), Conditions { breaker, ..USUAL }, Kind::Zone);
    assert!(losses.iter().all(|loss| loss.trips && loss.whole));
}

#[test]
fn a_process_that_ends_is_found_sooner_than_a_silent_machine() {
    let ended = Conditions { manner: Manner::Process, ..USUAL };
    let moved = outcomes((1, 2, 2), ended, Kind::Node).into_iter();
    assert_eq!(moved.filter_map(|death| death.moved_after_millis).collect::<Vec<_>>(), [200]);
}

#[test]
fn what_both_copies_had_in_memory_is_lost_and_told() {
    let memory = Conditions { storage: Storage::Memory, ..USUAL };
    let deaths = outcomes((1, 2, 2), memory, Kind::TwoNodes);
    assert!(deaths.iter().all(|death| death.lost == [0] && death.held_back.is_empty()));
    let deaths = outcomes((1, 2, 2), USUAL, Kind::TwoNodes);
    assert!(deaths.iter().all(|death| death.lost.is_empty() && death.down == [0]));
}

/// The master that comes back empty must not keep the breaker open, which keeps its slave from
/// taking over.
#[test]
fn a_zone_that_comes_back_empty_is_filled_from_the_other_one() {
    let memory = Conditions { storage: Storage::Memory, ..USUAL };
    for loss in outcomes((2, 2, 2), memory, Kind::Zone) {
        assert!(loss.trips && loss.lost.is_empty() && loss.whole, "{loss:?}");
    }
}

#[test]
fn without_auto_reset_a_person_has_to_close_it() {
    let breaker = BreakerSettings { auto_reset: false, ..USUAL.breaker };
    for loss in outcomes((2, 2, 2), Conditions { breaker, ..USUAL }, Kind::Zone) {
        assert!(loss.trips && loss.closed_after_millis.is_none() && !loss.whole);
        assert!(loss.lost.is_empty(), "nodes serve all the same");
    }
}

#[test]
fn a_spare_takes_the_place_of_a_lost_copy_before_the_next_loss() {
    let deployment = Deployment { partitions: 1, replicas: 2, zones: 3, nodes: 3 };
    let cases = study(&deployment, USUAL);
    let twice = cases.iter().filter(|case| case.kind == Kind::TwoNodes);
    for Case { losses, outcome, .. } in twice {
        // The spare has no role until a copy is missing, and does not count before.
        assert_eq!(outcome.trips, losses[0] != "node c0", "{losses:?}");
        assert_eq!(outcome.down, outcome.held_back, "{losses:?}: some copy lives");
    }
    let breaker = BreakerSettings { enabled: false, ..USUAL.breaker };
    let cases = study(&deployment, Conditions { breaker, ..USUAL });
    assert!(cases.iter().all(|case| case.outcome.down.is_empty() && case.outcome.whole));
}

#[test]
fn it_is_the_same_each_time() {
    let deployment = Deployment::without_spares(2, 2, 3).expect("it can be");
    assert_eq!(study(&deployment, USUAL), study(&deployment, USUAL));
}

/// A slave that was cut off while the breaker was open never was down in the map, and lacks what
/// was written meanwhile all the same.
#[test]
fn after_a_cut_of_the_network_every_copy_is_complete_again() {
    let cut = Conditions { manner: Manner::Network, ..USUAL };
    for loss in outcomes((2, 2, 3), cut, Kind::NodeAndZone) {
        assert!(loss.whole && loss.lost.is_empty(), "{loss:?}");
    }
}

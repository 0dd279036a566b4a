//! What was found, summed up per kind of loss, and as JSON.

use anyhow::Result;
use flare_core::simulation::{Case, Conditions, Deployment, Kind};
use serde_json::{Value, json};

/// Everything that was found under some conditions.
pub(super) struct Study {
    pub(super) conditions: Conditions,
    pub(super) deployments: Vec<(Deployment, Vec<Case>)>,
}

/// The worst of all cases of one kind.
pub(super) struct Summary {
    pub(super) cases: usize,
    /// In how many of them it trips.
    pub(super) trips: usize,
    /// In how many of them the cluster does not get well by itself.
    pub(super) unwell: usize,
    /// Partitions, in the worst case.
    pub(super) down: usize,
    pub(super) held_back: usize,
    pub(super) lost: usize,
    pub(super) moved_after_millis: Option<u64>,
    pub(super) served_after_millis: Option<u64>,
    /// `None` where it stays open in some case.
    pub(super) closed_after_millis: Option<u64>,
}

/// Sums up the cases of one kind; `None` when there are none.
pub(super) fn sum_up(cases: &[Case], kind: Kind) -> Option<Summary> {
    let outcomes = || cases.iter().filter(|case| case.kind == kind).map(|case| &case.outcome);
    let closed: Option<Vec<u64>> = outcomes().map(|outcome| outcome.closed_after_millis).collect();
    Some(Summary {
        cases: outcomes().count(),
        trips: outcomes().filter(|outcome| outcome.trips).count(),
        unwell: outcomes().filter(|outcome| !outcome.whole).count(),
        down: outcomes().map(|outcome| outcome.down.len()).max()?,
        held_back: outcomes().map(|outcome| outcome.held_back.len()).max()?,
        lost: outcomes().map(|outcome| outcome.lost.len()).max()?,
        moved_after_millis: outcomes().filter_map(|outcome| outcome.moved_after_millis).max(),
        served_after_millis: outcomes().filter_map(|outcome| outcome.served_after_millis).max(),
        closed_after_millis: closed.and_then(|closed| closed.into_iter().max()),
    })
}

/// Every case, for a program. Times are milliseconds; names are only ever added.
pub(super) fn json(studies: &[Study]) -> Result<String> {
    let all: Vec<Value> = studies.iter().map(of_study).collect();
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn of_study(study: &Study) -> Value {
    let Conditions { breaker, .. } = study.conditions;
    let deployments = study.deployments.iter().map(|(deployment, cases)| {
        json!({
            "partitions": deployment.partitions,
            "replicas": deployment.replicas,
            "zones": deployment.zones,
            "nodes": deployment.nodes,
            "cases": cases.iter().map(of_case).collect::<Vec<_>>(),
        })
    });
    json!({
        "circuitBreaker": {
            "tripThresholdPercent": breaker.trip_percent,
            "resetThresholdPercent": breaker.reset_percent,
            "autoResetEnabled": breaker.auto_reset,
            "minDeadNodes": breaker.min_dead,
        },
        "deployments": deployments.collect::<Vec<_>>(),
    })
}

fn of_case(case: &Case) -> Value {
    let outcome = &case.outcome;
    json!({
        "kind": case.kind.to_string(),
        "losses": case.losses,
        "trips": outcome.trips,
        "down": outcome.down,
        "heldBack": outcome.held_back,
        "lost": outcome.lost,
        "movedAfterMillis": outcome.moved_after_millis,
        "servedAfterMillis": outcome.served_after_millis,
        "closedAfterMillis": outcome.closed_after_millis,
        "whole": outcome.whole,
    })
}

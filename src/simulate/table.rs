//! The table for a person: a line for each deployment and kind of loss, or for each loss.

use flare_core::policy::breaker::BreakerSettings;
use flare_core::simulation::{Case, Conditions, Deployment, Kind, Manner, Storage};

use crate::columns;

use super::report::{Study, sum_up};

const HEAD: [&str; 13] = [
    "part.", "copies", "zones", "nodes", "lost", "trips", "down", "held", "moved", "served",
    "closed", "gone", "unwell",
];

/// All of it.
pub(super) fn of(studies: &[Study], cases: bool) -> String {
    let tables = studies.iter().map(|study| {
        let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
        for (deployment, found) in &study.deployments {
            let Deployment { partitions, replicas, zones, nodes } = deployment;
            let shape = [partitions, replicas, zones, nodes].map(ToString::to_string);
            let lines = if cases { each(found) } else { summed_up(found) };
            for (at, line) in lines.into_iter().enumerate() {
                // Said once, so that the eye finds where the next one begins.
                let shape = if at == 0 { shape.clone() } else { Default::default() };
                rows.push(shape.into_iter().chain(line).collect());
            }
        }
        format!("{}\n\n{}", heading(&study.conditions), columns::aligned(&rows))
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn heading(conditions: &Conditions) -> String {
    let BreakerSettings { trip_percent, reset_percent, min_dead, auto_reset, .. } =
        conditions.breaker;
    let reset = match auto_reset {
        true => format!("resets by itself at {reset_percent} % healthy"),
        false => "waits for a person to reset it".to_owned(),
    };
    let manner = match conditions.manner {
        Manner::Machine => "Machines fall silent",
        Manner::Process => "Processes end",
        Manner::Network => "The network is cut",
    };
    let storage = match conditions.storage {
        Storage::Disk => "on disks",
        Storage::Memory => "in memory",
    };
    let (apart, away) = (conditions.apart_millis / 1_000, conditions.away_millis / 1_000);
    format!(
        "Trips at {trip_percent} % dead and {min_dead} dead nodes at least; {reset}.\n{manner}, \
         data lies {storage}; {apart} s from loss to loss, then away for {away} s."
    )
}

fn summed_up(cases: &[Case]) -> Vec<Vec<String>> {
    let lines = Kind::ALL.into_iter().filter_map(|kind| {
        let sum = sum_up(cases, kind)?;
        let closed = if sum.trips == 0 { None } else { Some(sum.closed_after_millis) };
        Some(vec![
            kind.to_string(),
            share(sum.trips, sum.cases),
            number(sum.down),
            number(sum.held_back),
            seconds(sum.moved_after_millis),
            seconds(sum.served_after_millis),
            closed.map_or("-".to_owned(), |after| after.map_or("never".to_owned(), of_millis)),
            number(sum.lost),
            share(sum.unwell, sum.cases),
        ])
    });
    lines.collect()
}

fn each(cases: &[Case]) -> Vec<Vec<String>> {
    let lines = cases.iter().map(|case| {
        let outcome = &case.outcome;
        let closed = outcome.closed_after_millis.map_or("never".to_owned(), of_millis);
        vec![
            case.losses.join(", "),
            if outcome.trips { "yes" } else { "-" }.to_owned(),
            list(&outcome.down),
            list(&outcome.held_back),
            seconds(outcome.moved_after_millis),
            seconds(outcome.served_after_millis),
            if outcome.trips { closed } else { "-".to_owned() },
            list(&outcome.lost),
            if outcome.whole { "-" } else { "yes" }.to_owned(),
        ]
    });
    lines.collect()
}

fn list(partitions: &[i32]) -> String {
    match partitions {
        [] => "-".to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

fn number(partitions: usize) -> String {
    if partitions == 0 { "-".to_owned() } else { partitions.to_string() }
}

/// In how many cases something is so.
fn share(some: usize, all: usize) -> String {
    match some {
        0 => "-".to_owned(),
        some if some == all => "all".to_owned(),
        some => format!("{some} of {all}"),
    }
}

fn seconds(millis: Option<u64>) -> String {
    millis.map_or("-".to_owned(), of_millis)
}

fn of_millis(millis: u64) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

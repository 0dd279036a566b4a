//! Events as log lines: one line each, with the node, from, to, why and the version.

use flare_core::model::{NodeKey, State};
use flare_core::topology::{Blocked, DownReason, Event};
use tracing::{error, info, warn};

use crate::reduction::HEADLINE;

/// One line for one event, at the level of what it means to the person on call.
pub(super) fn log(event: &Event) {
    match event {
        Event::NodeChanged { node, from, to, why, version } => {
            let from = from.map_or_else(|| "unknown".to_owned(), |entry| entry.to_string());
            let to = to.map_or_else(|| "removed".to_owned(), |entry| entry.to_string());
            info!(%node, from, to, why, version, "node changed");
        }
        Event::VersionRaised { node, shown, version } => {
            warn!(%node, shown, version, "a node shows a newer map than ours; going on above it");
        }
        Event::Blocked(blocked) => log_blocked(blocked),
        Event::Unblocked(blocked) => info!(?blocked, "no longer in the way of the wanted shape"),
        Event::InvariantBroken { what } => {
            error!(what, "a step would have broken a rule and was refused; this is a bug of ours");
        }
        Event::OrderRefused { order, refusal } => {
            info!(order, ?refusal, "an order was refused");
        }
        Event::StoreFailed { failure } => {
            error!(%failure, "changes were refused, the old map stays in force");
        }
        Event::Warned { what } => warn!(what, "done as flarei does it, though it is not safe"),
        Event::BreakerChanged { open: true, assigned, dead } => error!(
            assigned,
            dead, "the circuit breaker opened: nobody is marked down, promoted or assigned"
        ),
        Event::BreakerChanged { open: false, assigned, dead } => {
            warn!(assigned, dead, "the circuit breaker closed: the index acts again");
        }
        Event::Leaving { node, leaves } => info!(%node, leaves, "a node leaves, or stays"),
        Event::CopyChosen { node, partition, lapse, by_person } => {
            let against = lapse.map(|lapse| lapse.to_string());
            warn!(%node, partition, against, by_person, "the copy to go on with was chosen");
        }
        Event::Lapsed { node, partition, lapse } => {
            warn!(%node, partition, %lapse, "a copy may lack writes; it is to be made again");
        }
        Event::LapsedPromoted { node, partition, lapse } => error!(
            %node,
            partition,
            %lapse, "a copy that may lack writes became the master, since no other is left"
        ),
        Event::Handover { partition, what } => info!(partition, what, "handover"),
        Event::NodeEmptied { node } => info!(%node, "emptied before it gets a role"),
        Event::ReportRecovered { node, evidence } => {
            warn!(%node, evidence, "a report of the node was lost; going on by what it shows");
        }
    }
}

fn log_blocked(blocked: &Blocked) {
    match blocked {
        Blocked::PartitionReduction { have, wanted } => {
            error!(have, wanted, "{HEADLINE}: nothing was changed");
        }
        Blocked::CameBackEmpty { partition, node, best } => {
            let best = best.as_ref().map(NodeKey::as_str);
            error!(
                partition,
                %node,
                best,
                "a master came back empty: a person is asked which copy to go on with \
                 (flare-operator status, flare-operator recover)"
            );
        }
        other => warn!(blocked = ?other, "in the way of the wanted shape"),
    }
}

/// Did a node die by this event, as far as the event can tell?
pub(super) fn death(event: &Event) -> Option<DownReason> {
    let Event::NodeChanged { from: Some(from), to: Some(to), why, .. } = event else {
        return None;
    };
    if from.state == State::Down || to.state != State::Down {
        return None;
    }
    let reasons = [
        DownReason::Refused,
        DownReason::Silent,
        DownReason::Sick,
        DownReason::Restarted,
        DownReason::Left,
        DownReason::Ordered,
    ];
    reasons.into_iter().find(|reason| *why == reason.to_string())
}

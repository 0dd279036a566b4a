//! A partition whose master is away or came back empty: which copies may be left, with the
//! evidence by which a person, or the index itself, chooses the one to go on with.

use std::collections::BTreeMap;

use flare_core::model::NodeKey;
use flare_core::policy::recovery::{self, Candidate};
use flare_core::policy::shape::Shape;
use flare_core::topology::Mode;
use serde::Serialize;

use crate::admin::sentence;
use crate::overview::Overview;

/// What a partition may go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryView {
    /// Does its master answer, and show that it holds nothing? Then it can be told to go on so.
    pub master_empty: bool,
    /// The copy that was chosen and takes over when it knows that.
    pub chosen: Option<NodeKey>,
    /// The copies that may be left, in Flare's order.
    pub candidates: Vec<CandidateView>,
}

/// A node that may hold what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// The node.
    pub node: NodeKey,
    /// Its items; `null` while it does not answer, or may be about to be emptied.
    pub items: Option<u64>,
    /// Was its copy ever complete?
    pub complete: bool,
    /// The last map version in which it got every write; `null` when nothing is known against it.
    pub kept_until: Option<u64>,
    /// Does it lack nothing that another one has, by the evidence?
    pub best: bool,
    /// The evidence, for a person.
    pub sentence: String,
}

/// The partitions without a master that serves, by number; none in manual mode, where a person
/// gives the roles.
pub(super) fn recoveries(overview: &Overview) -> BTreeMap<i32, RecoveryView> {
    let stored = overview.snapshot.stored();
    if overview.mode == Mode::Manual {
        return BTreeMap::new();
    }
    let shape = Shape::of(stored);
    let lost = shape
        .counted()
        .filter_map(|(partition, known)| Some((partition, known.preserved_master()?.clone())));
    let view = |(partition, master): (i32, NodeKey)| {
        let candidates = recovery::candidates(stored, &overview.facts, partition, &master);
        let best = recovery::best(&candidates).map(|best| &best.node);
        let shown = overview.facts.get(&master).filter(|facts| facts.answers());
        let view = RecoveryView {
            master_empty: shown.and_then(|facts| facts.observed).is_some_and(|s| s.items == 0),
            chosen: stored.recoveries.get(&partition).cloned(),
            candidates: candidates
                .iter()
                .map(|one| candidate(one, best == Some(&one.node)))
                .collect(),
        };
        (partition, view)
    };
    lost.map(view).collect()
}

fn candidate(candidate: &Candidate, best: bool) -> CandidateView {
    CandidateView {
        node: candidate.node.clone(),
        items: candidate.items,
        complete: candidate.was_whole(),
        kept_until: candidate.lapse.map(|lapse| lapse.version),
        best,
        sentence: sentence::of_candidate(candidate),
    }
}

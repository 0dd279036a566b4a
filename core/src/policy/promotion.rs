//! Who takes over from a master that is dead or leaves (R5).

use std::collections::BTreeMap;

use crate::model::{NodeKey, State};
use crate::stored::StoredTopology;
use crate::topology::Facts;

/// The slave that takes over `partition` from `dead`: active, answering, and the process that it
/// was when it became active; preferably on another host, then the one with the largest balance,
/// then the first in key order. `None` leaves the role with the dead master (R2).
pub fn successor(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    dead: &NodeKey,
) -> Option<NodeKey> {
    let eligible =
        stored.nodes.iter().filter(|(key, _)| is_eligible(stored, facts, partition, key));
    eligible
        .min_by_key(|(key, node)| (key.name() == dead.name(), -i64::from(node.entry.balance)))
        .map(|(key, _)| key.clone())
}

/// May this node take over the partition without a loss?
pub fn is_eligible(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    key: &NodeKey,
) -> bool {
    let Some(node) = stored.nodes.get(key) else { return false };
    node.entry.is_slave_of(partition)
        && node.entry.state == State::Active
        && node.leaving.is_none()
        && facts
            .get(key)
            .is_some_and(|facts| facts.answers() && is_same_process(node.incarnation, facts))
}

fn is_same_process(stored: Option<crate::model::Incarnation>, facts: &Facts) -> bool {
    match (stored, facts.incarnation()) {
        (Some(stored), Some(seen)) => stored.is_same(&seen),
        _ => true,
    }
}

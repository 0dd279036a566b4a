//! Who takes over from a dead master (R5).

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
    let eligible = stored.nodes.iter().filter(|(key, node)| {
        let known = facts.get(*key);
        node.entry.is_slave_of(partition)
            && node.entry.state == State::Active
            && known.is_some_and(|facts| facts.linked && is_same_process(node.incarnation, facts))
    });
    eligible
        .min_by_key(|(key, node)| (key.name() == dead.name(), -i64::from(node.entry.balance)))
        .map(|(key, _)| key.clone())
}

fn is_same_process(stored: Option<crate::model::Incarnation>, facts: &Facts) -> bool {
    match (stored, facts.incarnation()) {
        (Some(stored), Some(seen)) => stored.is_same(&seen),
        _ => true,
    }
}

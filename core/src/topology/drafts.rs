//! What automatic mode does to a draft and flarei does not: who is told first, whose copy is void,
//! who takes over from a master that kept its role. And, in both modes, what is remembered of
//! copies.

use crate::model::{NodeEntry, NodeKey, Role, State};
use crate::stored::{Holding, Lapse, LapseCause, StoredNode, StoredTopology};
use crate::topology::transitions::{active_partitions, promote, set};

/// The masters that a node with a new role copies from, or gets others' writes from meanwhile. They
/// are told first: a write that a source takes after the copy has passed that key, and before it
/// knows of the copying node, would be missing there for ever (flare-protocol.md 5.3, 6.3).
pub(crate) fn sources(draft: &StoredTopology, node: &NodeKey) -> Vec<NodeKey> {
    let Some(entry) = draft.nodes.get(node).map(|node| node.entry) else { return Vec::new() };
    let is_source = |other: &NodeEntry| {
        other.role == Role::Master
            && other.state != State::Down
            && entry.state == State::Prepare
            && match entry.role {
                Role::Master => other.state == State::Active,
                _ => other.partition == entry.partition,
            }
    };
    let sources = draft.nodes.iter().filter(|(_, other)| is_source(&other.entry));
    sources.map(|(key, _)| key.clone()).collect()
}

/// The masters whose keys partly move to this new one: none, when it is not a new master.
pub(crate) fn give_keys_up(draft: &StoredTopology, node: &NodeKey) -> Vec<NodeKey> {
    let is_master = |entry: &NodeEntry| entry.role == Role::Master && entry.state == State::Active;
    if !draft.nodes.get(node).is_some_and(|known| is_master(&known.entry)) {
        return Vec::new();
    }
    let others = draft.nodes.iter().filter(|(key, other)| *key != node && is_master(&other.entry));
    others.map(|(key, _)| key.clone()).collect()
}

/// Has another node than `master` become the partition's master?
pub(crate) fn is_replaced(stored: &StoredTopology, master: &NodeKey, partition: i32) -> bool {
    stored.nodes.iter().any(|(other, node)| {
        other != master && node.entry.is_master_of(partition) && node.entry.state != State::Down
    })
}

/// The slave takes over, and the dead master loses the role that it had kept.
pub(crate) fn promote_for_preserved(draft: &mut StoredTopology, next: &NodeKey, partition: i32) {
    let preserved: Vec<NodeKey> = draft
        .nodes
        .iter()
        .filter(|(_, node)| node.entry.is_preserved() && node.entry.partition == partition)
        .map(|(key, _)| key.clone())
        .collect();
    for key in preserved {
        set(draft, &key, |entry| entry.become_proxy(State::Down));
    }
    promote(draft, next, partition);
}

/// The master of `partition` is dead, and with it every copy from it is void: those that copy go
/// back to being proxies and start again. flared tries for seconds to connect, so it may well copy
/// from what comes back in the dead master's place, an empty or an old disk, and call that
/// complete; and a new master would copy from those that are left and call itself ready, without
/// the keys that the dead one gives up to it (flare-protocol.md 2, 6.3).
pub(crate) fn give_up_copies(draft: &mut StoredTopology, partition: i32) {
    let splits_off = draft
        .nodes
        .values()
        .map(|node| &node.entry)
        .find(|entry| entry.role == Role::Master && entry.state.is_preparing())
        .map(|entry| entry.partition);
    for node in draft.nodes.values_mut() {
        let entry = &mut node.entry;
        let copies = entry.state.is_preparing() && entry.partition == partition;
        if copies || splits_off == Some(entry.partition) {
            entry.become_proxy(State::Active);
        }
    }
}

/// Notes whose keys may lie on a node that becomes a proxy, and what speaks against that copy;
/// forgets it when the node begins to copy from the start, or is the partition's master. A copy
/// that was chosen to take over stays so while it can, and its partition has no master.
pub(crate) fn remember_holdings(before: &StoredTopology, draft: &mut StoredTopology) {
    let counted = active_partitions(before);
    for (key, node) in &mut draft.nodes {
        let old = before.nodes.get(key).map(|old| old.entry);
        let had_role = old.filter(|old| old.role != Role::Proxy);
        if node.entry.role != Role::Proxy {
            let begins = had_role.is_none() && node.entry.state.is_preparing();
            let leads = node.entry.role == Role::Master && !node.entry.state.is_preparing();
            node.lapse = node.lapse.filter(|_| !begins && !leads);
            node.holds = Holding::Unknown;
            node.empty_intent = None;
            continue;
        }
        let Some(old) = had_role else { continue };
        if old.partition < counted {
            let cause = match old.state.is_preparing() {
                true => LapseCause::Unfinished,
                false => LapseCause::LostRole,
            };
            node.holds = Holding::Partition(old.partition);
            node.lapse = node.lapse.or(Some(Lapse::new(cause, before.version)));
        } else {
            node.holds = Holding::Spare;
            node.lapse = None;
        }
    }
    let mut recoveries = std::mem::take(&mut draft.recoveries);
    recoveries.retain(|partition, chosen| {
        let takes_over = |node: &StoredNode| {
            node.entry.is_slave_of(*partition) && node.entry.state == State::Active
        };
        let of = |entry: &NodeEntry| entry.is_preserved() && entry.partition == *partition;
        draft.nodes.get(chosen).is_some_and(takes_over)
            && draft.nodes.values().any(|node| of(&node.entry))
            && !draft.nodes.values().any(|node| {
                node.entry.is_master_of(*partition) && node.entry.state == State::Active
            })
    });
    draft.recoveries = recoveries;
}

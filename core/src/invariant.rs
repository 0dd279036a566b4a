//! What must hold after every step (R1, R2, R3, R8, R14), checked in release builds too.
//!
//! Used by `topology` before it accepts a step, and by every tier of tests. Everything here looks
//! at two stored states, the one before and the one after.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{NO_PARTITION, NodeEntry, NodeKey, Role, State};
use crate::stored::StoredTopology;

/// A safety rule of the design that can be seen in two successive stored states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// At most one master that is not down per partition; partitions fit roles.
    OneMaster,
    /// Nodes must accept the map (flare-protocol.md 1.6), and partitions never become fewer.
    MapIsAccepted,
    /// Versions and thread types only grow.
    NumbersGrow,
    /// A role change is one that a node sees as a change of its own entry.
    OneRoleChange,
    /// The hash settings are fixed, and `partition-size` stays above the partitions.
    HashIsFixed,
}

impl Rule {
    /// The number under which the design lists it.
    pub fn number(self) -> &'static str {
        match self {
            Self::OneMaster => "R1",
            Self::MapIsAccepted => "R2",
            Self::NumbersGrow => "R3",
            Self::OneRoleChange => "R8",
            Self::HashIsFixed => "R14",
        }
    }
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// What is wrong, with names and numbers.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.number(), self.what)
    }
}

/// Everything that the step from `before` to `after` breaks. What was broken before already (an
/// imported map, a manual one) does not count again, so that it can be mended step by step.
pub fn broken_by(before: &StoredTopology, after: &StoredTopology) -> Vec<Violation> {
    let mut found = of_map(after);
    if !found.is_empty() {
        let old = of_map(before);
        found.retain(|violation| !old.contains(violation));
    }
    numbers_grow(before, after, &mut found);
    one_role_change(before, after, &mut found);
    if before.hash != after.hash {
        push(&mut found, Rule::HashIsFixed, format!("{:?} became {:?}", before.hash, after.hash));
    }
    let (old, new) = (counted_partitions(before), counted_partitions(after));
    if new < old {
        push(&mut found, Rule::MapIsAccepted, format!("{old} partitions became {new}"));
    }
    found
}

/// Everything that is wrong with one state by itself.
pub fn of_map(stored: &StoredTopology) -> Vec<Violation> {
    let mut found = Vec::new();
    one_master(stored, &mut found);
    map_is_accepted(stored, &mut found);
    thread_types(stored, &mut found);
    found
}

fn one_master(stored: &StoredTopology, found: &mut Vec<Violation>) {
    let mut living: BTreeMap<i32, &NodeKey> = BTreeMap::new();
    for (key, node) in &stored.nodes {
        let entry = &node.entry;
        let fits = match entry.role {
            Role::Proxy => entry.partition == NO_PARTITION,
            Role::Master | Role::Slave => entry.partition >= 0,
        };
        if !fits {
            push(
                found,
                Rule::OneMaster,
                format!("{key} is {} of partition {}", entry.role, entry.partition),
            );
        }
        if entry.role == Role::Master
            && entry.state != State::Down
            && let Some(other) = living.insert(entry.partition, key)
        {
            push(
                found,
                Rule::OneMaster,
                format!("partition {} has two masters, {other} and {key}", entry.partition),
            );
        }
    }
}

/// flared keeps its old partition maps without a word when the new ones are not consistent.
fn map_is_accepted(stored: &StoredTopology, found: &mut Vec<Violation>) {
    let mut active: Vec<i32> = masters(stored, |state| !state.is_preparing());
    active.sort_unstable();
    active.dedup();
    let gapless = active.iter().enumerate().all(|(at, p)| usize::try_from(*p) == Ok(at));
    if !gapless {
        push(found, Rule::MapIsAccepted, format!("active masters are of partitions {active:?}"));
    }
    let mut preparing: Vec<i32> = masters(stored, State::is_preparing);
    preparing.sort_unstable();
    preparing.dedup();
    let next = i32::try_from(active.len()).unwrap_or(i32::MAX);
    if preparing.len() > 1 || preparing.first().is_some_and(|partition| *partition != next) {
        push(
            found,
            Rule::MapIsAccepted,
            format!("partitions {preparing:?} prepare while {} are active", active.len()),
        );
    }
    // A relay that is not needed any more is a slave of nothing, on purpose.
    let relay = stored.handover.as_ref().and_then(|handover| handover.relay.as_ref());
    for (key, node) in stored.nodes.iter().filter(|(key, _)| Some(*key) != relay) {
        let partition = node.entry.partition;
        let known = active.contains(&partition) || preparing.contains(&partition);
        if node.entry.role == Role::Slave && node.entry.state != State::Down && !known {
            push(
                found,
                Rule::MapIsAccepted,
                format!("{key} is a slave of partition {partition}, which has no master"),
            );
        }
    }
    let partitions = active.len() + preparing.len();
    if partitions > 0 && partitions >= stored.hash.partition_size as usize {
        push(
            found,
            Rule::HashIsFixed,
            format!(
                "{partitions} partitions need a partition-size above {}",
                stored.hash.partition_size
            ),
        );
    }
}

fn masters(stored: &StoredTopology, state: impl Fn(State) -> bool) -> Vec<i32> {
    stored
        .nodes
        .values()
        .map(|node| &node.entry)
        .filter(|entry| entry.role == Role::Master && state(entry.state))
        .map(|entry| entry.partition)
        .collect()
}

fn counted_partitions(stored: &StoredTopology) -> usize {
    let mut counted = masters(stored, |state| !state.is_preparing());
    counted.sort_unstable();
    counted.dedup();
    counted.len()
}

fn thread_types(stored: &StoredTopology, found: &mut Vec<Violation>) {
    let mut owners: BTreeMap<u32, &NodeKey> = BTreeMap::new();
    for (key, node) in &stored.nodes {
        let number = node.entry.thread_type;
        if number >= stored.next_thread_type {
            push(
                found,
                Rule::NumbersGrow,
                format!("{key} has thread type {number}, next is {}", stored.next_thread_type),
            );
        }
        if let Some(other) = owners.insert(number, key) {
            push(found, Rule::NumbersGrow, format!("{other} and {key} share thread type {number}"));
        }
    }
}

fn numbers_grow(before: &StoredTopology, after: &StoredTopology, found: &mut Vec<Violation>) {
    let same_map = before.nodes.len() == after.nodes.len()
        && before
            .nodes
            .iter()
            .zip(&after.nodes)
            .all(|((a, x), (b, y))| a == b && x.entry == y.entry);
    let grows =
        if same_map { after.version >= before.version } else { after.version > before.version };
    if !grows {
        push(
            found,
            Rule::NumbersGrow,
            format!("version {} became {}", before.version, after.version),
        );
    }
    if after.next_thread_type < before.next_thread_type {
        push(
            found,
            Rule::NumbersGrow,
            format!(
                "next thread type {} became {}",
                before.next_thread_type, after.next_thread_type
            ),
        );
    }
    for (key, node) in &after.nodes {
        let number = node.entry.thread_type;
        let kept = before.nodes.get(key).map(|old| old.entry.thread_type);
        let fresh = kept.is_none() && number >= before.next_thread_type;
        if kept != Some(number) && !fresh {
            push(found, Rule::NumbersGrow, format!("{key} got the used thread type {number}"));
        }
    }
}

fn one_role_change(before: &StoredTopology, after: &StoredTopology, found: &mut Vec<Violation>) {
    for (key, node) in &after.nodes {
        let new = &node.entry;
        // A swap changes a living master's role, and its relay comes and goes: its own steps see
        // to what nodes are told (flare-protocol.md 12).
        if swapped(before, after, key) {
            continue;
        }
        match before.nodes.get(key).map(|old| &old.entry) {
            None if new.role != Role::Proxy => {
                push(found, Rule::OneRoleChange, format!("{key} begins as {new}"));
            }
            Some(old) if !visible(old, new) => {
                push(found, Rule::OneRoleChange, format!("{key}: {old} became {new}"));
            }
            _ => {}
        }
    }
}

/// Does a handover under way account for what changes about this node?
fn swapped(before: &StoredTopology, after: &StoredTopology, key: &NodeKey) -> bool {
    [before, after].into_iter().filter_map(|stored| stored.handover.as_ref()).any(|handover| {
        let partition_kept = [before, after].into_iter().all(|stored| {
            let entry = stored.nodes.get(key).map(|node| node.entry);
            entry.is_none_or(|entry| entry.partition == handover.partition)
        });
        let party = *key == handover.from || *key == handover.to;
        partition_kept && party || handover.relay.as_ref() == Some(key)
    })
}

/// Is it one step in the eyes of the node (flare-protocol.md 6.2)?
fn visible(old: &NodeEntry, new: &NodeEntry) -> bool {
    if (old.role, old.partition) == (new.role, new.partition) {
        return true;
    }
    match (old.role, new.role) {
        (_, Role::Proxy) => true,
        (Role::Proxy, _) => old.state != State::Down,
        (Role::Slave, Role::Master) => {
            old.partition == new.partition
                && old.state == State::Active
                && new.state == State::Active
        }
        _ => false,
    }
}

fn push(found: &mut Vec<Violation>, rule: Rule, what: String) {
    found.push(Violation { rule, what });
}

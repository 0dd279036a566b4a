//! flarei's own rules: what `node add|role|state|remove` and `shutdown` do to a node map.
//!
//! Pure functions on a draft, exactly as upstream decides (flare-protocol.md 3.2 to 3.6); what
//! automatic mode does differently is in `automatic`. Versions, storing and pushing are not their
//! business.

use crate::model::{NO_PARTITION, NodeEntry, NodeKey, Role, State};
use crate::stored::{StoredNode, StoredTopology};
use crate::topology::Refusal;

/// Thread types stay below this: on the wire they are 32 bit and signed (flare-protocol.md 1.2).
const THREAD_TYPES_END: u32 = i32::MAX as u32;

/// What a transition asks for beside the changed draft.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Change {
    /// Why, for the log.
    pub(crate) why: String,
    /// The node that the reason is about, where others change because of it.
    pub(crate) about: Option<NodeKey>,
    /// To be told before everybody else (R9).
    pub(crate) first: Vec<NodeKey>,
    /// To be told after everybody else: masters that give keys up.
    pub(crate) last: Vec<NodeKey>,
    /// Not to be told: they are on their way out.
    pub(crate) left_out: Vec<NodeKey>,
}

impl Change {
    /// A change that everybody is told of at once.
    pub(crate) fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    /// Why this node changed.
    pub(crate) fn why_of(&self, key: &NodeKey) -> String {
        match self.about.as_ref().filter(|about| *about != key) {
            Some(about) => format!("{about}: {}", self.why),
            None => self.why.clone(),
        }
    }
}

/// `None`: accepted, but nothing was to do, so that nothing is stored or pushed.
pub(crate) type Outcome = Result<Option<Change>, Refusal>;

/// `node add` (flare-protocol.md 3.2). A node that is down is accepted and not changed.
pub(crate) fn add(draft: &mut StoredTopology, key: &NodeKey) -> Outcome {
    match draft.nodes.get(key).map(|node| node.entry.state) {
        Some(State::Down) => Ok(Some(Change::because("registered again"))),
        Some(_) => Err(Refusal::AlreadyRegistered),
        None => {
            if draft.next_thread_type >= THREAD_TYPES_END {
                return Err(Refusal::Limit("thread types"));
            }
            let entry = NodeEntry::new_proxy(draft.next_thread_type);
            draft.next_thread_type += 1;
            draft.nodes.insert(key.clone(), StoredNode::new(entry));
            Ok(Some(Change::because("registered")))
        }
    }
}

/// `node role` (flare-protocol.md 3.3). A balance or partition that was left out is -1.
pub(crate) fn set_role(
    draft: &mut StoredTopology,
    key: &NodeKey,
    role: Role,
    balance: i32,
    partition: i32,
) -> Outcome {
    let entry = entry(draft, key)?;
    match (entry.role, entry.state, role) {
        (_, State::Down, _) => return Err(Refusal::NodeDown),
        (Role::Master, State::Prepare | State::Ready, Role::Proxy) => {
            give_up_partition(draft, entry.partition);
            set(draft, key, |entry| entry.become_proxy(State::Active));
        }
        (Role::Slave, State::Prepare | State::Ready, Role::Slave)
            if !partition_is_preparing(draft, entry.partition) =>
        {
            return Err(Refusal::Transition);
        }
        (Role::Slave, State::Prepare | State::Ready, Role::Proxy) => {
            set(draft, key, |entry| entry.become_proxy(State::Active));
        }
        (Role::Slave, State::Active, Role::Proxy) => {
            if balance_sum(draft, entry.partition, key, 0) == 0 {
                return Err(Refusal::Balance);
            }
            set(draft, key, |entry| entry.become_proxy(State::Active));
        }
        (Role::Master, _, Role::Master) | (Role::Slave, _, Role::Slave) => {
            if balance < 0 || balance_sum(draft, entry.partition, key, balance) == 0 {
                return Err(Refusal::Balance);
            }
            set(draft, key, |entry| entry.balance = balance);
        }
        (Role::Proxy, _, _) => {
            set(draft, key, |entry| entry.state = State::Active);
            leave_proxy(draft, key, role, balance, partition)?;
        }
        (Role::Master | Role::Slave, _, _) => return Err(Refusal::Transition),
    }
    Ok(Some(Change::because("role was set")))
}

fn leave_proxy(
    draft: &mut StoredTopology,
    key: &NodeKey,
    role: Role,
    balance: i32,
    partition: i32,
) -> Result<(), Refusal> {
    match role {
        Role::Proxy => {}
        Role::Slave => {
            let master = draft
                .nodes
                .values()
                .map(|node| &node.entry)
                .find(|entry| entry.is_master_of(partition) && entry.state != State::Down)
                .ok_or(Refusal::Partition)?;
            let balance = if master.state == State::Active { 0 } else { balance.max(0) };
            set(draft, key, |entry| {
                entry.role = Role::Slave;
                entry.state = State::Prepare;
                entry.partition = partition;
                entry.balance = balance;
            });
        }
        Role::Master => {
            let state = new_master_state(draft, partition)?;
            if balance < 1 {
                return Err(Refusal::Balance);
            }
            set(draft, key, |entry| {
                entry.role = Role::Master;
                entry.state = state;
                entry.partition = partition;
                entry.balance = balance;
            });
        }
    }
    Ok(())
}

/// The state in which a new master of `partition` starts: active when nobody can have data to
/// copy from or the partition is lost, prepare for the next partition.
fn new_master_state(draft: &StoredTopology, partition: i32) -> Result<State, Refusal> {
    let count = active_partitions(draft);
    let masters = || draft.nodes.values().filter(move |node| node.entry.is_master_of(partition));
    if partition < 0 || partition > count {
        return Err(Refusal::Partition);
    }
    if partition == count {
        if masters().next().is_some() {
            return Err(Refusal::Partition);
        }
        // flared's resolver has no row for more (flare-protocol.md Q1); flarei does not check.
        if i64::from(count) + 1 >= i64::from(draft.hash.partition_size) {
            return Err(Refusal::Limit("partition-size"));
        }
        return Ok(if count == 0 { State::Active } else { State::Prepare });
    }
    if masters().any(|node| node.entry.state != State::Down) {
        return Err(Refusal::Partition);
    }
    Ok(State::Active)
}

/// `node state … ready` (flare-protocol.md 3.4).
pub(crate) fn ready(draft: &mut StoredTopology, key: &NodeKey) -> Outcome {
    if entry(draft, key)?.state != State::Prepare {
        return Err(Refusal::Transition);
    }
    set(draft, key, |entry| entry.state = State::Ready);
    Ok(Some(Change::because("has copied its data")))
}

/// `node state … active`, and the return of a node that was down (flare-protocol.md 3.4).
pub(crate) fn up(draft: &mut StoredTopology, key: &NodeKey) -> Outcome {
    let before = entry(draft, key)?;
    let mut change = Change::because("is active");
    match (before.state, before.role) {
        (State::Active, _) => return Ok(None),
        (State::Prepare, Role::Slave) => set(draft, key, |entry| entry.state = State::Active),
        (State::Prepare, _) => return Err(Refusal::Transition),
        (State::Ready, role) => {
            if role == Role::Master {
                change.first.push(key.clone());
                change.first.extend(slaves_of(draft, before.partition));
            }
            set(draft, key, |entry| entry.state = State::Active);
        }
        (State::Down, Role::Master) => {
            change.why = "is back and keeps its role".into();
            let replaced = draft.nodes.iter().any(|(other, node)| {
                other != key
                    && node.entry.partition == before.partition
                    && node.entry.state != State::Down
            });
            if replaced {
                change.why = "is back, and its partition has other nodes".into();
            }
            set(draft, key, |entry| {
                entry.state = State::Active;
                if replaced {
                    entry.become_proxy(State::Active);
                }
            });
        }
        (State::Down, _) => {
            change.why = "is back".into();
            set(draft, key, |entry| entry.become_proxy(State::Active));
        }
    }
    Ok(Some(change))
}

/// `node state … down`, `shutdown` and a death (flare-protocol.md 3.5). `successor` names the
/// slave that takes over an active master's partition.
pub(crate) fn down(
    draft: &mut StoredTopology,
    key: &NodeKey,
    why: String,
    successor: impl FnOnce(&StoredTopology, i32) -> Option<NodeKey>,
) -> Outcome {
    let before = entry(draft, key)?;
    if before.state == State::Down {
        return Ok(None);
    }
    let mut change = Change { about: Some(key.clone()), ..Change::because(why) };
    let mut preserved = false;
    if before.role == Role::Master {
        if before.state == State::Active {
            match successor(draft, before.partition) {
                Some(next) => {
                    promote(draft, &next, before.partition);
                    change.first.push(next);
                }
                None => preserved = true,
            }
        } else {
            give_up_partition(draft, before.partition);
        }
    }
    set(draft, key, |entry| {
        entry.state = State::Down;
        if !preserved {
            entry.become_proxy(State::Down);
        }
    });
    Ok(Some(change))
}

/// Makes an active slave the master of its partition, with a balance that keeps the partition
/// readable (flare-protocol.md 3.5).
pub(crate) fn promote(draft: &mut StoredTopology, next: &NodeKey, partition: i32) {
    let slaves_sum: i64 = draft
        .nodes
        .values()
        .filter(|node| node.entry.is_slave_of(partition))
        .map(|node| i64::from(node.entry.balance))
        .sum();
    set(draft, next, |entry| {
        entry.role = Role::Master;
        if slaves_sum == 0 {
            entry.balance = entry.balance.saturating_add(1);
        }
    });
}

/// flarei's choice: the active slave with the largest balance, the first in key order on ties.
pub(crate) fn upstream_successor(draft: &StoredTopology, partition: i32) -> Option<NodeKey> {
    let mut best: Option<(&NodeKey, i32)> = None;
    for (key, node) in &draft.nodes {
        let entry = &node.entry;
        if entry.is_slave_of(partition)
            && entry.state == State::Active
            && best.is_none_or(|(_, balance)| entry.balance > balance)
        {
            best = Some((key, entry.balance));
        }
    }
    best.map(|(key, _)| key.clone())
}

/// `node remove` (flare-protocol.md 3.6).
pub(crate) fn remove(draft: &mut StoredTopology, key: &NodeKey) -> Outcome {
    let before = entry(draft, key)?;
    if before.state != State::Down {
        return Err(Refusal::NotDown);
    }
    let replaced = draft.nodes.iter().any(|(other, node)| {
        other != key && node.entry.partition == before.partition && node.entry.state != State::Down
    });
    if before.role == Role::Master && !replaced {
        return Err(Refusal::LastCopy);
    }
    draft.nodes.remove(key);
    Ok(Some(Change::because("was removed")))
}

/// The number of partitions that count: those with a master that is active or down.
pub(crate) fn active_partitions(stored: &StoredTopology) -> i32 {
    let highest = stored
        .nodes
        .values()
        .map(|node| &node.entry)
        .filter(|entry| entry.role == Role::Master && !entry.state.is_preparing())
        .map(|entry| entry.partition)
        .max();
    highest.map_or(0, |partition| partition.saturating_add(1))
}

pub(crate) fn slaves_of(stored: &StoredTopology, partition: i32) -> Vec<NodeKey> {
    let slaves = stored.nodes.iter().filter(|(_, node)| node.entry.is_slave_of(partition));
    slaves.map(|(key, _)| key.clone()).collect()
}

pub(crate) fn entry(stored: &StoredTopology, key: &NodeKey) -> Result<NodeEntry, Refusal> {
    stored.nodes.get(key).map(|node| node.entry).ok_or(Refusal::UnknownNode)
}

pub(crate) fn set(draft: &mut StoredTopology, key: &NodeKey, edit: impl FnOnce(&mut NodeEntry)) {
    if let Some(node) = draft.nodes.get_mut(key) {
        edit(&mut node.entry);
    }
}

/// The slaves of a partition that will not come to be go back to being proxies.
fn give_up_partition(draft: &mut StoredTopology, partition: i32) {
    for slave in slaves_of(draft, partition) {
        set(draft, &slave, |entry| entry.become_proxy(State::Active));
    }
}

fn partition_is_preparing(stored: &StoredTopology, partition: i32) -> bool {
    stored
        .nodes
        .values()
        .any(|node| node.entry.is_master_of(partition) && node.entry.state.is_preparing())
}

/// All stored balances of the partition, whatever role and state, with `balance` for `key`.
fn balance_sum(stored: &StoredTopology, partition: i32, key: &NodeKey, balance: i32) -> i64 {
    stored
        .nodes
        .iter()
        .filter(|(other, node)| *other != key && node.entry.partition == partition)
        .map(|(_, node)| i64::from(node.entry.balance))
        .sum::<i64>()
        + if partition == NO_PARTITION { 0 } else { i64::from(balance) }
}

/// Does any node prepare?
pub(crate) fn prepares(stored: &StoredTopology) -> bool {
    stored.nodes.values().any(|node| node.entry.state.is_preparing())
}

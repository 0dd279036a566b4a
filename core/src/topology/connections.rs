//! The connections that nodes must have among each other before anything depends on them.
//!
//! A flared makes its connections to a node with the first write for it, and drops what else it
//! has for that node in that moment: a master acknowledges such a write, and its slave lacks it
//! for good. Measured on real nodes, 16 clients writing to a master that has just got a slave: in
//! 20 of 60 rounds it missed some of their first 48 writes, 1 to 9 of them. Once made, the
//! connections stay as long as the process, also through changes of role.
//!
//! So a node that passes writes on is told of a map before the others, and has its connections
//! made with it: by a write of ours right behind the map, to a key of a reserved name, that is
//! deleted later. The others are told then. A copy begins only then; what was dropped before is in
//! it. Between the two a node that does not know yet that it is a slave sends on what it gets, so
//! that time must not grow: that is why map and write are one request.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{HashAlgorithm, HashSettings, NodeEntry, NodeKey, Role, State, Timestamp};
use crate::placement::Rows;
use crate::stored::StoredTopology;
use crate::topology::transitions::active_partitions;
use crate::topology::{Effect, Event, Mode, Step, Topology};

/// What the keys begin with that the index writes, and soon deletes, to have a node make its
/// connections. Reserved: users' keys must not begin so.
const CONNECTING_KEY_PREFIX: &str = "flare-operator.connect.";

/// So many keys are tried until one belongs where it has to.
const KEYS_TRIED_MAX: u32 = 1 << 18;

/// Makes a node connect to those that it passes a key on to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ConnectingRequest {
    /// A key that the node passes on.
    pub key: String,
    /// What it is asked to do with it.
    pub how: ConnectingHow,
}

/// What a node is asked to do with a key that it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectingHow {
    /// To write it.
    Write,
    /// To write it, as if another node had sent it: a new master that still copies takes no others
    /// (flare-protocol.md 5.3).
    WriteAsNode,
    /// To read it so often in one request: each time the node chooses anew whom it asks
    /// (flare-protocol.md 5.2).
    Read(u32),
}

impl ConnectingRequest {
    /// Does it leave a key behind that is to be deleted?
    pub fn writes(&self) -> bool {
        !matches!(self.how, ConnectingHow::Read(_))
    }
}

/// By node, the thread types of those that it passes writes on to as the map stands
/// (flare-protocol.md 5.3).
pub(super) fn needed(stored: &StoredTopology) -> BTreeMap<NodeKey, BTreeSet<u32>> {
    let mut needed = BTreeMap::<NodeKey, BTreeSet<u32>>::new();
    let takes_writes = |entry: &&NodeEntry| entry.role != Role::Proxy && entry.state != State::Down;
    let entries = || stored.nodes.values().map(|node| &node.entry).filter(takes_writes);
    let mut slaves = BTreeMap::<i32, Vec<u32>>::new();
    // No master of a map in which a relay is a slave is told that map.
    let relay = stored.handover.as_ref().and_then(|plan| stored.nodes.get(plan.relay.as_ref()?));
    let relay = relay.map(|relay| relay.entry.thread_type);
    let copies = entries().filter(|entry| entry.role == Role::Slave);
    for slave in copies.filter(|slave| Some(slave.thread_type) != relay) {
        slaves.entry(slave.partition).or_default().push(slave.thread_type);
    }
    let new_master = entries().find(|entry| is_new_master(entry)).map(|entry| entry.thread_type);
    for (key, node) in &stored.nodes {
        let entry = &node.entry;
        if entry.role != Role::Master || entry.state == State::Down {
            continue;
        }
        let own = slaves.get(&entry.partition).into_iter().flatten().copied();
        let new = new_master.filter(|_| !is_new_master(entry));
        let all: BTreeSet<u32> = own.chain(new).collect();
        if !all.is_empty() {
            needed.insert(key.clone(), all);
        }
    }
    needed
}

fn is_new_master(entry: &NodeEntry) -> bool {
    entry.role == Role::Master && entry.state.is_preparing()
}

/// The write that makes this master connect to all that it passes writes on to; `None` when no
/// key was found that goes to all of them.
fn connecting_write(stored: &StoredTopology, master: &NodeKey) -> Option<ConnectingRequest> {
    let entry = stored.nodes.get(master).map(|node| node.entry)?;
    let mine = u32::try_from(entry.partition).ok()?;
    let proxied = is_new_master(&entry);
    let new = stored.nodes.values().find(|node| is_new_master(&node.entry));
    let rows = Rows::new(&stored.hash, u32::try_from(active_partitions(stored)).ok()?)?;
    let fits = |key: &str| {
        let (now, next) = rows.of(key);
        match new {
            // Only where a new partition begins do two rows count.
            Some(new) if !proxied => now == mine && Ok(next) == u32::try_from(new.entry.partition),
            Some(_) => next == mine,
            None => now == mine,
        }
    };
    let how = if proxied { ConnectingHow::WriteAsNode } else { ConnectingHow::Write };
    let key = reserved_key(&stored.hash, fits)?;
    Some(ConnectingRequest { key, how })
}

/// A reserved key of this partition.
pub(super) fn reserved_key_of(stored: &StoredTopology, partition: i32) -> Option<String> {
    let rows = Rows::new(&stored.hash, u32::try_from(active_partitions(stored)).ok()?)?;
    let mine = u32::try_from(partition).ok()?;
    reserved_key(&stored.hash, |key| rows.of(key).0 == mine)
}

/// The first reserved key that fits.
fn reserved_key(hash: &HashSettings, fits: impl Fn(&str) -> bool) -> Option<String> {
    (0..KEYS_TRIED_MAX).map(|number| numbered_key(hash, number)).find(|key| fits(key))
}

/// Keys that reach every slot. With `simple` a slot is the sum of a key's bytes, which letters
/// raise one by one and digits would not.
fn numbered_key(hash: &HashSettings, number: u32) -> String {
    if hash.algorithm != HashAlgorithm::Simple {
        return format!("{CONNECTING_KEY_PREFIX}{number}");
    }
    let letter = |above: u32| char::from(b'a' + u8::try_from(above.min(25)).unwrap_or(25));
    let slots = number % hash.modular_virtual.max(1);
    let (whole, rest) = (slots / u32::from(b'a'), slots % u32::from(b'a'));
    let last: String = (0..4).map(|place| letter(rest.saturating_sub(25 * place))).collect();
    format!("{CONNECTING_KEY_PREFIX}{}{last}", "a".repeat(whole as usize))
}

impl Topology {
    /// Has the node all connections that it needs for the newest map? Where not, they are being
    /// made, and nobody who waits for the node goes on yet. flarei leaves them to chance, and so
    /// does manual mode.
    pub(super) fn has_connections(&mut self, node: &NodeKey, step: &mut Step) -> bool {
        let Mode::Automatic(_) = self.settings.mode else { return true };
        let Some(needed) = self.snapshot.passes_writes_to(node) else { return true };
        let Some(facts) = self.facts.get_mut(node) else { return true };
        let towards: Vec<u32> = needed.difference(&facts.connected).copied().collect();
        if towards.is_empty() {
            return true;
        }
        if facts.connecting.iter().any(|under_way| towards.iter().all(|to| under_way.contains(to)))
        {
            return false;
        }
        let Some(request) = connecting_write(self.snapshot.stored(), node) else {
            let what = format!("no key was found that makes {node} connect to its slaves");
            step.effects.push(Effect::Happened(Event::Warned { what }));
            facts.connected.extend(towards);
            return true;
        };
        facts.connecting = Some(towards.clone());
        let version = self.snapshot.version();
        step.effects.push(Effect::Connect { node: node.clone(), version, request, towards });
        false
    }

    /// A node knows that it is to copy: from now on it sends nothing back, so what was written for
    /// connections to it can be deleted, before keys change their owner.
    pub(super) fn forget_keys(&mut self, step: &mut Step) {
        for (node, facts) in &mut self.facts {
            if std::mem::take(&mut facts.has_connecting_key) {
                step.effects.push(Effect::ForgetKeys { node: node.clone() });
            }
        }
    }

    /// The end of an [`Effect::Connect`]: whoever waited for the node goes on. Where the node did
    /// not do it, it is not asked again before its connection to us was made anew.
    pub(super) fn connected(
        &mut self,
        node: &NodeKey,
        towards: &[u32],
        missing: &[u32],
        (now, step): (Timestamp, &mut Step),
    ) {
        let Some(facts) = self.facts.get_mut(node) else { return };
        if facts.connecting.as_deref() != Some(towards) {
            return;
        }
        facts.connected.extend(facts.connecting.take().into_iter().flatten());
        facts.has_connecting_key = true;
        let acked = facts.acked;
        if !missing.is_empty() {
            let what = format!(
                "{node} did not connect to the nodes of the thread types {missing:?}: the first \
                 writes that it passes on to them may get lost"
            );
            step.effects.push(Effect::Happened(Event::Warned { what }));
        }
        self.took_map_in(node, acked, now, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stored::StoredNode;

    /// A map of nodes named by role, state and partition, with thread types from 16 on.
    fn map(hash: HashSettings, nodes: &[(&str, Role, State, i32)]) -> StoredTopology {
        let mut stored = StoredTopology::empty(hash);
        for (name, role, state, partition) in nodes {
            let mut entry = NodeEntry::new_proxy(stored.next_thread_type);
            stored.next_thread_type += 1;
            (entry.role, entry.state, entry.partition) = (*role, *state, *partition);
            stored.nodes.insert(NodeKey::new(name, 1), StoredNode::new(entry));
        }
        stored
    }

    const GROWING: [(&str, Role, State, i32); 7] = [
        ("m0", Role::Master, State::Active, 0),
        ("m1", Role::Master, State::Active, 1),
        ("m2", Role::Master, State::Prepare, 2),
        ("s0", Role::Slave, State::Prepare, 0),
        ("s1", Role::Slave, State::Down, 1),
        ("s2", Role::Slave, State::Prepare, 2),
        ("p", Role::Proxy, State::Active, -1),
    ];

    #[test]
    fn masters_need_their_slaves_and_the_new_master() {
        let needed = needed(&map(HashSettings::default(), &GROWING));
        let of = |name: &str| needed.get(&NodeKey::new(name, 1)).cloned().unwrap_or_default();
        assert_eq!(of("m0"), BTreeSet::from([18, 19]));
        assert_eq!(of("m1"), BTreeSet::from([18]), "a slave that is down takes nothing");
        assert_eq!(of("m2"), BTreeSet::from([21]));
        assert_eq!(of("s0"), BTreeSet::new());
    }

    #[test]
    fn a_key_is_found_for_every_master_and_every_way_to_place_keys() {
        for algorithm in [HashAlgorithm::Simple, HashAlgorithm::Crc32, HashAlgorithm::Jenkins] {
            for partitions in [1, 2, 9] {
                let names: Vec<String> = (0..=partitions).map(|at| format!("m{at}")).collect();
                let state = |at| if at == partitions { State::Prepare } else { State::Active };
                let nodes: Vec<_> = (0..=partitions)
                    .map(|at| (&*names[at as usize], Role::Master, state(at), at))
                    .collect();
                let stored = map(HashSettings { algorithm, ..HashSettings::default() }, &nodes);
                let rows = Rows::new(&stored.hash, partitions.unsigned_abs()).expect("they work");
                for (at, name) in names.iter().enumerate() {
                    let write = connecting_write(&stored, &NodeKey::new(name, 1));
                    let write = write.expect("a key for every master");
                    assert!(write.key.starts_with(CONNECTING_KEY_PREFIX));
                    let is_new = at == names.len() - 1;
                    let how =
                        if is_new { ConnectingHow::WriteAsNode } else { ConnectingHow::Write };
                    assert_eq!(write.how, how);
                    let (now, next) = rows.of(&write.key);
                    assert_eq!(next, partitions.unsigned_abs(), "it goes to the new master");
                    assert!(is_new || now as usize == at, "it belongs to this one");
                }
            }
        }
    }
}

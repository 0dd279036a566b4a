//! Writers at a node that has just become a slave, who may wait for their own writes.
//!
//! Between the moment in which a master knows of a slave and that in which the slave knows it
//! itself, a write that a client sends through the slave comes back to it as a copy, and is sent on
//! behind the write that waits for it. In sync mode both wait for four times `net-read-timeout`,
//! 40 minutes unless that is set, and with them every write on that connection. On real nodes, with
//! clients that write through the node without pause, 26 of 26 copies began so (verification.md,
//! "Who waits for whom in sync mode"). To tell the slave first would lose writes. So the
//! connections on which a write waits that long are ended: its client gets an error, though it was
//! carried out, and the others go on.

use crate::model::{NodeKey, Role};
use crate::protocol::node::SenderThread;
use crate::topology::{Effect, Mode, Snapshot, Step, Topology};

/// A request is stuck when another has waited behind it for so many seconds.
pub const STUCK_SECONDS: u64 = 2;

/// The thread type of the master that a node is a slave of by this map; `None` for a node of which
/// no request may be ended. What a slave sends its master nobody has acknowledged; what a master
/// sends its slaves is acknowledged, and must arrive however long they are silent.
pub fn master_of_slave(map: &Snapshot, node: &NodeKey) -> Option<u32> {
    let of = map.node(node).map(|node| node.entry).filter(|entry| entry.role == Role::Slave)?;
    let master = map.entries().find(|(_, entry)| entry.is_master_of(of.partition));
    master.map(|(_, entry)| entry.thread_type)
}

/// Which of a node's requests to others are to be ended, as `kill` takes them: those to its master,
/// if it is a slave now, behind which another has waited for [`STUCK_SECONDS`]. A connection that
/// is busy and gets on has none like it.
pub fn stuck_requests(map: &Snapshot, node: &NodeKey, senders: &[SenderThread]) -> Vec<u32> {
    let Some(master) = master_of_slave(map, node) else { return Vec::new() };
    let stuck =
        |it: &&SenderThread| it.towards == master && !it.waits && it.behind >= STUCK_SECONDS;
    senders.iter().filter(stuck).map(|it| it.thread).collect()
}

impl Topology {
    /// A node knows that it copies as a slave: its writers are looked after for a while, once.
    pub(super) fn free_stuck_writers(&mut self, node: &NodeKey, step: &mut Step) {
        let Mode::Automatic(_) = self.settings.mode else { return };
        let Some(facts) = self.facts.get_mut(node) else { return };
        if facts.freed_for >= facts.role_version || master_of_slave(&self.snapshot, node).is_none()
        {
            return;
        }
        facts.freed_for = facts.role_version;
        step.effects.push(Effect::FreeStuckWriters { node: node.clone() });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{HashSettings, NodeEntry, State};
    use crate::stored::{StoredNode, StoredTopology};

    const NODES: [(&str, Role, i32); 5] = [
        ("master", Role::Master, 0),
        ("slave", Role::Slave, 0),
        ("other", Role::Master, 1),
        ("orphan", Role::Slave, 2),
        ("proxy", Role::Proxy, -1),
    ];

    /// The thread type of a node.
    fn thread_type(name: &str) -> u32 {
        let place = NODES.iter().position(|(known, ..)| *known == name);
        16 + u32::try_from(place.expect("it is in the map")).expect("a small number")
    }

    fn map() -> Snapshot {
        let mut stored = StoredTopology::empty(HashSettings::default());
        for (name, role, partition) in NODES {
            let mut entry = NodeEntry::new_proxy(thread_type(name));
            (entry.role, entry.state, entry.partition) = (role, State::Active, partition);
            stored.nodes.insert(NodeKey::new(name, 1), StoredNode::new(entry));
        }
        Snapshot::new(Arc::new(stored))
    }

    /// What is ended of a node's requests: the name to which each leads, and how long the next one
    /// has waited.
    fn ended(node: &str, waiting: &[(&str, u64)]) -> Vec<u32> {
        let threads: Vec<SenderThread> = (1..)
            .zip(waiting)
            .map(|(thread, (to, behind))| SenderThread {
                thread,
                towards: thread_type(to),
                waits: false,
                queued: 1,
                behind: *behind,
            })
            .collect();
        stuck_requests(&map(), &NodeKey::new(node, 1), &threads)
    }

    #[test]
    fn a_slaves_requests_to_its_master_are_ended_when_another_has_waited_too_long() {
        let waiting = [("master", 1), ("master", 2), ("master", 600), ("other", 600)];
        assert_eq!(ended("slave", &waiting), [2, 3]);
        assert!(ended("slave", &[]).is_empty());
    }

    #[test]
    fn nothing_that_anybody_else_waits_for_is_ended() {
        let waiting = NODES.map(|(name, ..)| (name, 600));
        for node in ["master", "other", "orphan", "proxy", "not in the map"] {
            assert!(ended(node, &waiting).is_empty(), "{node}");
        }
    }
}

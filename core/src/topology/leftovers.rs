//! Connections that a node keeps to nodes that there are no more.
//!
//! A flared never ends a connection to a node that has left the map: it keeps the thread and the
//! socket for as long as it lives. The relay of each planned handover is such a node, and leaves
//! two in every other one (seen: 200 threads after 100 swaps). They use up the file descriptors,
//! and make `stats threads` longer, which every swap reads often. Nobody can need them again,
//! since a thread type is never given twice (flare-protocol.md 1.6). So they are ended, when they
//! are at nothing.

use std::collections::BTreeSet;

use crate::protocol::node::SenderThread;
use crate::topology::Snapshot;

/// Do any of the thread types that a node has connections to belong to no node of this map, by
/// which it works?
pub fn has_leftovers(map: &Snapshot, connected: &BTreeSet<u32>) -> bool {
    let known = known(map);
    connected.iter().any(|kind| !known.contains(kind))
}

/// Which of a node's connections to others are to be ended, as `kill` takes them, now that it works
/// by this map: those to nodes that are not in it. What is under way on them still may finish.
pub fn leftovers(map: &Snapshot, senders: &[SenderThread]) -> Vec<u32> {
    let known = known(map);
    let idle = senders.iter().filter(|it| it.waits && it.queued == 0);
    idle.filter(|it| !known.contains(&it.towards)).map(|it| it.thread).collect()
}

fn known(map: &Snapshot) -> BTreeSet<u32> {
    map.entries().map(|(_, entry)| entry.thread_type).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{HashSettings, NodeEntry, NodeKey};
    use crate::stored::{StoredNode, StoredTopology};

    fn map() -> Snapshot {
        let mut stored = StoredTopology::empty(HashSettings::default());
        for (name, kind) in [("a", 16), ("b", 18)] {
            let entry = NodeEntry::new_proxy(kind);
            stored.nodes.insert(NodeKey::new(name, 1), StoredNode::new(entry));
        }
        Snapshot::new(Arc::new(stored))
    }

    #[test]
    fn idle_connections_to_nodes_that_are_in_no_map_are_ended() {
        let sender = |thread, towards, waits, queued| SenderThread {
            thread,
            towards,
            waits,
            queued,
            behind: 0,
        };
        let senders = [
            sender(1, 16, true, 0),
            sender(2, 17, true, 0),
            sender(3, 17, false, 0),
            sender(4, 17, true, 1),
            sender(5, 18, true, 0),
            sender(6, 19, true, 0),
        ];
        assert_eq!(leftovers(&map(), &senders), [2, 6]);
        assert!(has_leftovers(&map(), &BTreeSet::from([16, 17])));
        assert!(!has_leftovers(&map(), &BTreeSet::from([16, 18])));
    }
}

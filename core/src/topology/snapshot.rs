//! A committed map, published whole: what sessions answer from and what nodes are sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{HashSettings, NodeEntry, NodeKey, State};
use crate::protocol::encode;
use crate::stored::{HandoverStep, StoredNode, StoredTopology};
use crate::topology::{active_partitions, connections};

/// One committed generation, with the bytes that many readers share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    stored: Arc<StoredTopology>,
    sync_request: Bytes,
    node_lines: Bytes,
    passes_writes_to: BTreeMap<NodeKey, BTreeSet<u32>>,
}

impl Snapshot {
    /// The number of partitions that count (flare-protocol.md 1.6).
    pub fn partitions(&self) -> i32 {
        active_partitions(self.stored())
    }

    /// The nodes that are not down.
    pub fn living(&self) -> usize {
        self.entries().filter(|(_, entry)| entry.state != State::Down).count()
    }

    /// Encodes the map once, for all that will read it.
    pub fn new(stored: Arc<StoredTopology>) -> Self {
        let sync_request = encode::node_sync(stored.version, entries(&stored));
        // The reply to `node add` is the same lines without the first.
        let first_line = sync_request.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let node_lines = sync_request.slice(first_line..);
        let passes_writes_to = connections::needed(&stored);
        Self { stored, sync_request, node_lines, passes_writes_to }
    }

    /// The thread types of the nodes that this one passes writes on to; `None` when there is none.
    pub(super) fn passes_writes_to(&self, node: &NodeKey) -> Option<&BTreeSet<u32>> {
        self.passes_writes_to.get(node)
    }

    /// The map's version.
    pub fn version(&self) -> u64 {
        self.stored.version
    }

    /// The store's generation that holds it.
    pub fn generation(&self) -> u64 {
        self.stored.generation
    }

    /// How keys are placed.
    pub fn hash(&self) -> &HashSettings {
        &self.stored.hash
    }

    /// Everything that is stored.
    pub fn stored(&self) -> &StoredTopology {
        &self.stored
    }

    /// What is known of one node.
    pub fn node(&self, key: &NodeKey) -> Option<&StoredNode> {
        self.stored.nodes.get(key)
    }

    /// May this node be told of this map before the others are? While a master is swapped a map
    /// is for some only, and at its end for the one who serves first (flare-protocol.md 12); else
    /// it may have an order of its own (R9).
    pub(super) fn is_for(&self, node: &NodeKey) -> bool {
        let Some(handover) = &self.stored.handover else {
            return self.stored.telling.as_ref().is_none_or(|telling| {
                let first = telling.first.is_empty() || telling.first.contains(node);
                first && !telling.last.contains(node)
            });
        };
        match handover.step {
            HandoverStep::Introducing | HandoverStep::Holding => *node != handover.from,
            HandoverStep::Switching => *node == handover.from,
            HandoverStep::Releasing => *node == handover.to,
        }
    }

    /// The nodes and their entries, in Flare's order.
    pub fn entries(&self) -> impl Iterator<Item = (&NodeKey, &NodeEntry)> {
        entries(&self.stored)
    }

    /// The whole `node sync` request, NODE lines and `END` included (flare-protocol.md 3.7).
    pub fn sync_request(&self) -> &Bytes {
        &self.sync_request
    }

    /// The NODE lines and `END`: the answer to `node add` (flare-protocol.md 3.2).
    pub fn node_lines(&self) -> &Bytes {
        &self.node_lines
    }
}

fn entries(stored: &StoredTopology) -> impl Iterator<Item = (&NodeKey, &NodeEntry)> {
    stored.nodes.iter().map(|(key, node)| (key, &node.entry))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::stored::StoredHandover;

    #[test]
    fn a_map_in_the_middle_of_a_swap_is_not_for_everybody() {
        let nodes = ["a", "b", "c"].map(|name| NodeKey::new(name, 1));
        let told = |step| {
            let mut stored = StoredTopology::empty(HashSettings::default());
            let [from, to, _] = nodes.clone();
            let (relay, balances) = (None, BTreeMap::new());
            let handover = StoredHandover { partition: 0, from, to, relay, balances, step };
            stored.handover = Some(handover);
            let snapshot = Snapshot::new(Arc::new(stored));
            nodes.each_ref().map(|node| snapshot.is_for(node))
        };
        assert_eq!(told(HandoverStep::Introducing), [false, true, true]);
        assert_eq!(told(HandoverStep::Holding), [false, true, true]);
        assert_eq!(told(HandoverStep::Switching), [true, false, false]);
        assert_eq!(told(HandoverStep::Releasing), [false, true, false]);
    }
}

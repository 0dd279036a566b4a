//! A committed map, published whole: what sessions answer from and what nodes are sent.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{HashSettings, NodeEntry, NodeKey};
use crate::protocol::encode;
use crate::stored::{StoredNode, StoredTopology};

/// One committed generation, with the bytes that many readers share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Snapshot {
    stored: Arc<StoredTopology>,
    sync_request: Bytes,
    node_lines: Bytes,
}

impl Snapshot {
    /// Encodes the map once, for all that will read it.
    pub fn new(stored: Arc<StoredTopology>) -> Self {
        let sync_request = encode::node_sync(stored.version, entries(&stored));
        // The reply to `node add` is the same lines without the first.
        let first_line = sync_request.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let node_lines = sync_request.slice(first_line..);
        Self { stored, sync_request, node_lines }
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

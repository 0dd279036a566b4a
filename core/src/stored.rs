//! What a restart must not forget: the stored form of one cluster's topology.
//!
//! The node map and what the index knows beside it. `store_format` puts it into bytes (file,
//! ConfigMap), `flare_xml` reads and writes upstream's form; only `topology` changes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FIRST_THREAD_TYPE, HashSettings, Incarnation, NodeEntry, NodeKey, NodeMap};

/// Everything about one cluster that survives a restart of the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredTopology {
    /// Grows by one with every write to the store; orders the writes, not the maps.
    pub generation: u64,
    /// The leadership under which it was written (R12); 0 on bare machines.
    #[serde(default)]
    pub epoch: u64,
    /// `node_map_version`: grows by one with every change, never restarts (R3).
    pub version: u64,
    /// The thread type of the next new node; never reused (R3).
    pub next_thread_type: u32,
    /// The number of the next intent to empty a node.
    #[serde(default = "first_intent")]
    pub next_intent: u64,
    /// How keys are placed (R14).
    pub hash: HashSettings,
    /// The nodes.
    pub nodes: BTreeMap<NodeKey, StoredNode>,
}

fn first_intent() -> u64 {
    1
}

/// What is stored of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredNode {
    /// Its line in the map.
    #[serde(flatten)]
    pub entry: NodeEntry,
    /// The process that was last known under this key (R13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// What may lie on the disk of a proxy: asked before it is emptied (R6).
    #[serde(default)]
    pub holds: Holding,
    /// This master came back without its data: what other nodes still hold of its partition may
    /// be all that is left.
    #[serde(default)]
    pub came_back_empty: bool,
    /// The node is to be emptied before it gets a role (R7); stored before `flush_all` is sent,
    /// removed with the change that gives the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_intent: Option<u64>,
}

/// What may lie on the disk of a node that has no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Holding {
    /// Not known: it came with whatever it has.
    #[default]
    Unknown,
    /// Keys of this partition: it was its master or slave.
    Partition(i32),
    /// Only copies of keys that masters hold: it prepared a partition that never came to be.
    Spare,
}

impl StoredNode {
    /// A node of which nothing is known but its entry.
    pub fn new(entry: NodeEntry) -> Self {
        Self {
            entry,
            incarnation: None,
            holds: Holding::Unknown,
            came_back_empty: false,
            empty_intent: None,
        }
    }
}

impl StoredTopology {
    /// A cluster that has no node yet.
    pub fn empty(hash: HashSettings) -> Self {
        Self {
            generation: 0,
            epoch: 0,
            version: 0,
            next_thread_type: FIRST_THREAD_TYPE,
            next_intent: first_intent(),
            hash,
            nodes: BTreeMap::new(),
        }
    }

    /// The node map alone.
    pub fn node_map(&self) -> NodeMap {
        self.nodes.iter().map(|(key, node)| (key.clone(), node.entry)).collect()
    }
}

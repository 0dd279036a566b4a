//! What a restart must not forget: the stored form of one cluster's topology.
//!
//! The node map and what the index knows beside it. `store_format` puts it into bytes (file,
//! ConfigMap), `flare_xml` reads and writes upstream's form; only `topology` changes it.

use std::collections::BTreeMap;
use std::fmt;

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
    /// The master that is being swapped with its slave, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<StoredHandover>,
    /// Who is told of this map before and after the others; an index that was killed before it
    /// told them goes on in that order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telling: Option<StoredTelling>,
    /// The nodes that were chosen to take over partitions whose masters are dead, and are told so
    /// step by step (R8); by partition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recoveries: BTreeMap<i32, NodeKey>,
    /// Is the circuit breaker open? A restart must not close it (R11).
    #[serde(default)]
    pub breaker_open: bool,
    /// The nodes.
    pub nodes: BTreeMap<NodeKey, StoredNode>,
}

/// The order in which nodes are told of a map (R9).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredTelling {
    /// Before everybody else.
    #[serde(default)]
    pub first: Vec<NodeKey>,
    /// After everybody else.
    #[serde(default)]
    pub last: Vec<NodeKey>,
}

/// A planned swap of a living master with an active slave: each step is a stored map, so that an
/// index that dies in the middle goes on or takes it back (flare-protocol.md 12).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredHandover {
    /// The partition whose master changes.
    pub partition: i32,
    /// The old master.
    pub from: NodeKey,
    /// The new master.
    pub to: NodeKey,
    /// The relay that holds writes meanwhile (park); without it they are refused (pause).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<NodeKey>,
    /// The read balances that the partition's nodes had before, while they are others
    /// ([`HandoverStep::Introducing`]).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub balances: BTreeMap<NodeKey, i32>,
    /// How far it is.
    pub step: HandoverStep,
}

/// The steps of a handover, each with a map of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HandoverStep {
    /// All but the old master hold a map in which the relay is a slave that is rarely chosen for
    /// reads: they make their connections to it.
    Introducing,
    /// All but the old master hold a map in which it is no master: its writes run dry.
    Holding,
    /// The old master is told; what it still owes the new one arrives.
    Switching,
    /// The new master serves; the relay hands over what it held.
    Releasing,
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
    /// What is known against its copy: that of its role, or what it `holds` as a proxy (R5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapse: Option<Lapse>,
    /// The node is to be emptied before it gets a role (R7); stored before `flush_all` is sent,
    /// removed with the change that gives the role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_intent: Option<u64>,
    /// The node is going to be stopped: it gets no role any more, and hands over what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Leaving>,
}

/// Who said that a node leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Leaving {
    /// It did itself, or a person: until it starts again, or is told to stay.
    Announced,
    /// The manifest: as long as the node is named there.
    Listed,
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

/// Why a copy may lack writes that its partition's master acknowledged (R5).
///
/// flared repairs nothing, and nothing that such a node reports shows it (flare-protocol.md 5.4);
/// so it is kept until the node was emptied and has begun to copy from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lapse {
    /// What happened.
    pub cause: LapseCause,
    /// The version of the last map in which nothing was known against the copy; for an unfinished
    /// one, the last in which it was being made.
    pub version: u64,
    /// When it began, in Unix seconds; dated when it is first stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_unix_seconds: Option<u64>,
    /// For how long the node was silent, in milliseconds; 0 when that is not the cause.
    #[serde(default)]
    pub silent_millis: u64,
}

/// What speaks against a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LapseCause {
    /// The node was silent for longer than its master keeps trying to send it a write.
    Silent,
    /// It was a whole copy until it lost its role: marked down, restarted, surplus, failed over.
    LostRole,
    /// It lost its role, or a person chose it, before its copy was complete.
    Unfinished,
}

impl Lapse {
    /// A copy that is no more kept up to date after `version`.
    pub fn new(cause: LapseCause, version: u64) -> Self {
        Self { cause, version, since_unix_seconds: None, silent_millis: 0 }
    }
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version;
        match self.cause {
            LapseCause::Silent => {
                let (seconds, tenths) = (self.silent_millis / 1000, self.silent_millis / 100 % 10);
                write!(f, "it was silent for {seconds}.{tenths} s at map version {version}")
            }
            LapseCause::LostRole => {
                write!(f, "it was a whole copy up to map version {version}")
            }
            LapseCause::Unfinished => {
                write!(f, "its copy was never complete, and last made in map version {version}")
            }
        }
    }
}

impl StoredNode {
    /// A node of which nothing is known but its entry.
    pub fn new(entry: NodeEntry) -> Self {
        Self {
            entry,
            incarnation: None,
            holds: Holding::Unknown,
            lapse: None,
            empty_intent: None,
            leaving: None,
        }
    }
}

impl StoredTopology {
    /// Is the node shown as down only so that it refuses writes for a moment, in a handover without
    /// a relay?
    pub fn is_paused(&self, key: &NodeKey) -> bool {
        self.handover.as_ref().filter(|plan| plan.relay.is_none()).is_some_and(|plan| {
            match plan.step {
                HandoverStep::Holding => plan.from == *key,
                HandoverStep::Switching => plan.to == *key,
                HandoverStep::Introducing | HandoverStep::Releasing => false,
            }
        })
    }

    /// A cluster that has no node yet.
    pub fn empty(hash: HashSettings) -> Self {
        Self {
            generation: 0,
            epoch: 0,
            version: 0,
            next_thread_type: FIRST_THREAD_TYPE,
            next_intent: first_intent(),
            hash,
            handover: None,
            telling: None,
            recoveries: BTreeMap::new(),
            breaker_open: false,
            nodes: BTreeMap::new(),
        }
    }

    /// The node map alone.
    pub fn node_map(&self) -> NodeMap {
        self.nodes.iter().map(|(key, node)| (key.clone(), node.entry)).collect()
    }
}

//! A flared as the index sees it, as far as losses of nodes go: the map it holds, the data of its
//! partition as a number of writes, the copy it makes (flare-protocol.md 5 and 6).

use std::collections::BTreeMap;

use crate::model::{Incarnation, NodeEntry, NodeKey, Role, Timestamp};
use crate::topology::{Observation, Snapshot};

/// Seconds between the starts of two processes of one node: two within a second may be one.
const START_APART_SECONDS: i64 = 100;

/// Can the node be talked to?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Its process has the answer to `node add`, or runs since before.
    Serving,
    /// Its process waits for the answer to `node add`; its port is not open yet.
    Registering,
    /// Its machine does not answer.
    Silent,
    /// Its machine answers that nobody listens.
    Refusing,
}

/// A copy under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) source: Option<NodeKey>,
    pub(super) partition: i32,
    pub(super) ends: Timestamp,
}

/// One node: its data outlives its process when it lies on a disk.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) key: NodeKey,
    pub(super) zone: u32,
    pub(super) presence: Presence,
    /// The version and the node's own entry of the map that it holds.
    version: u64,
    pub(super) entry: Option<NodeEntry>,
    /// Writes that it has, by partition.
    pub(super) data: BTreeMap<i32, u64>,
    pub(super) copy: Option<Copy>,
    starts: i64,
    pid: u32,
}

impl Node {
    pub(super) fn new(key: NodeKey, zone: u32, pid: u32) -> Self {
        Self {
            key,
            zone,
            presence: Presence::Serving,
            version: 0,
            entry: None,
            data: BTreeMap::new(),
            copy: None,
            starts: 0,
            pid,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.presence == Presence::Serving
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation { started: self.starts * START_APART_SECONDS, pid: self.pid }
    }

    /// Its `stats` and `stats threads`.
    pub(super) fn observation(&self) -> Observation {
        Observation {
            incarnation: self.incarnation(),
            version: self.version,
            items: self.data.values().sum(),
            copying: self.copy.is_some(),
        }
    }

    /// The process ended, and another one is started: it has to register.
    pub(super) fn restart(&mut self) {
        self.starts += 1;
        self.presence = Presence::Registering;
        (self.version, self.entry, self.copy) = (0, None, None);
    }

    /// The answer to `node add`: taken as given, no copy begins (flare-protocol.md 6.2).
    pub(super) fn registered(&mut self, map: &Snapshot) {
        self.presence = Presence::Serving;
        self.entry = map.node(&self.key).map(|node| node.entry);
    }

    /// `node sync`: a proxy that is given a role copies its partition. A map that is older than its
    /// own is not taken.
    pub(super) fn sync(&mut self, map: &Snapshot, copied_at: Timestamp) -> bool {
        if self.version >= map.version() {
            return false;
        }
        let before = self.entry;
        self.version = map.version();
        self.entry = map.node(&self.key).map(|node| node.entry);
        let was_proxy = before.is_some_and(|entry| entry.role == Role::Proxy);
        match self.entry {
            Some(now) if was_proxy && now.role == Role::Slave => {
                let mut entries = map.entries();
                let master = entries
                    .find(|(_, entry)| entry.is_master_of(now.partition) && !entry.is_preserved());
                let source = master.map(|(key, _)| key.clone());
                self.copy = Some(Copy { source, partition: now.partition, ends: copied_at });
            }
            Some(now) if now.role == Role::Proxy => self.copy = None,
            _ => {}
        }
        true
    }
}

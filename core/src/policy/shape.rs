//! What a stored map amounts to: per partition its master and slaves, and the free nodes.
//!
//! Worked out once for each look at the map, so that the rules read like sentences.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, Role, State};
use crate::stored::StoredTopology;

/// One partition that counts or prepares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Its master and the master's state; of two, the one that is not down.
    pub master: Option<(NodeKey, State)>,
    /// Its active slaves, in key order.
    pub active_slaves: Vec<NodeKey>,
    /// Its slaves that still copy, in key order.
    pub preparing_slaves: Vec<NodeKey>,
    /// Those of all these that are going to be stopped.
    pub leaving: BTreeSet<NodeKey>,
}

impl Partition {
    /// The master, if it serves.
    pub fn active_master(&self) -> Option<&NodeKey> {
        self.master.as_ref().filter(|(_, state)| *state == State::Active).map(|(key, _)| key)
    }

    /// The master, if it still copies or waits to be activated.
    pub fn preparing_master(&self) -> Option<&NodeKey> {
        self.master.as_ref().filter(|(_, state)| state.is_preparing()).map(|(key, _)| key)
    }

    /// The master, if it is down and keeps its role.
    pub fn preserved_master(&self) -> Option<&NodeKey> {
        self.master.as_ref().filter(|(_, state)| *state == State::Down).map(|(key, _)| key)
    }

    /// Is any copy of it being made?
    pub fn prepares(&self) -> bool {
        self.preparing_master().is_some() || !self.preparing_slaves.is_empty()
    }

    /// Copies that there are or will be, the master included, on nodes that stay.
    pub fn copies(&self) -> usize {
        self.members().filter(|node| !self.leaving.contains(*node)).count()
    }

    /// The master, if it serves and is going to be stopped.
    pub fn leaving_master(&self) -> Option<&NodeKey> {
        self.active_master().filter(|master| self.leaving.contains(*master))
    }

    /// The nodes that hold it.
    pub fn members(&self) -> impl Iterator<Item = &NodeKey> {
        let master = self.master.iter().map(|(key, _)| key);
        master.chain(&self.active_slaves).chain(&self.preparing_slaves)
    }
}

/// The map, by partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// By number; those that count come first, the preparing one may follow.
    pub partitions: BTreeMap<i32, Partition>,
    /// Proxies that are active and stay, in key order.
    pub free: Vec<NodeKey>,
}

impl Shape {
    /// Reads the map.
    pub fn of(stored: &StoredTopology) -> Self {
        let mut shape = Self::default();
        for (key, node) in &stored.nodes {
            let entry = &node.entry;
            let leaves = node.leaving.is_some();
            if leaves && entry.role != Role::Proxy {
                shape.partition(entry.partition).leaving.insert(key.clone());
            }
            match (entry.role, entry.state) {
                (Role::Master, state) => shape.master(key, entry.partition, state),
                (Role::Slave, State::Active) => {
                    shape.partition(entry.partition).active_slaves.push(key.clone());
                }
                (Role::Slave, State::Prepare | State::Ready) => {
                    shape.partition(entry.partition).preparing_slaves.push(key.clone());
                }
                (Role::Proxy, State::Active) if !leaves => shape.free.push(key.clone()),
                (Role::Slave | Role::Proxy, _) => {}
            }
        }
        shape
    }

    /// The partitions that count: their masters are active, or down and preserved.
    pub fn counted(&self) -> impl Iterator<Item = (i32, &Partition)> {
        self.partitions
            .iter()
            .filter(|(_, partition)| {
                partition.active_master().is_some() || partition.preserved_master().is_some()
            })
            .map(|(number, partition)| (*number, partition))
    }

    /// The partition that prepares, if one does.
    pub fn preparing(&self) -> Option<(i32, &NodeKey)> {
        self.partitions.iter().find_map(|(number, partition)| {
            partition.preparing_master().map(|master| (*number, master))
        })
    }

    fn partition(&mut self, number: i32) -> &mut Partition {
        self.partitions.entry(number).or_default()
    }

    fn master(&mut self, key: &NodeKey, number: i32, state: State) {
        let partition = self.partition(number);
        if partition.master.is_none() || state != State::Down {
            partition.master = Some((key.clone(), state));
        }
    }
}

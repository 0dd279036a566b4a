//! What a node knows of its cluster, and what follows for a key: who answers a read, who executes
//! a write, who gets its result (flare-protocol.md 1.4, 5.2, 5.3, 6.2). No I/O.

use super::map::{NodeMap, Partition, Partitions, Role};
use super::resolver::{Meta, Resolver};

/// A node to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: String,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) thread_type: i32,
}

/// Who answers a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadRoute {
    Local,
    /// One of these, by weight.
    Forward(Vec<(Target, u32)>),
    Miss,
}

/// Who executes a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteRoute {
    Local,
    Forward(Target),
    /// The partition's master is down or left the map.
    NoMaster,
    NoPartition,
}

/// Who gets the result of a local write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Copies {
    /// A synchronous write waits for these.
    pub(crate) slaves: Vec<Target>,
    /// The master in preparation that will own the key; never waited for.
    pub(crate) preparing: Option<Target>,
}

/// A reconstruction: what to ask whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) sources: Vec<Target>,
    pub(crate) partition: i32,
    /// Number of partitions that the sources filter by.
    pub(crate) size: usize,
    /// As a master: the bandwidth is divided by this number, the report is `ready`.
    pub(crate) as_master: Option<usize>,
}

/// What a new map makes a node do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Nothing,
    Copy(Copy),
    /// A slave of a partition that does not exist: it asks to be a proxy again.
    BecomeProxy,
}

/// The map is older than the one in force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outdated;

/// The node's view of its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    me: String,
    version: u64,
    nodes: NodeMap,
    maps: Partitions,
    resolver: Resolver,
}

impl Cluster {
    /// With the map of the `node add` reply, which has no version and causes no work.
    pub(crate) fn new(me: String, meta: Meta, nodes: NodeMap) -> Self {
        let maps = Partitions::derive(&nodes).unwrap_or_default();
        Self { me, version: 0, nodes, maps, resolver: Resolver::new(meta) }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn nodes(&self) -> &NodeMap {
        &self.nodes
    }

    pub(crate) fn my_role(&self) -> Option<Role> {
        self.nodes.get(&self.me).map(|node| node.role)
    }

    /// This node's partition and the number of active ones, as its master.
    pub(crate) fn mastered(&self) -> Option<(usize, usize)> {
        let own = self.nodes.get(&self.me).filter(|node| node.role == Role::Master)?;
        Some((usize::try_from(own.partition).ok()?, self.maps.active_count()))
    }

    /// Takes a map in. Only a change of this node's own entry from proxy to slave or master
    /// causes work; an inconsistent map replaces the nodes and leaves the routing (Q12).
    pub(crate) fn install(&mut self, version: u64, nodes: NodeMap) -> Result<Work, Outdated> {
        if self.version > 0 && self.version > version {
            return Err(Outdated);
        }
        let before = self.my_role();
        self.version = version;
        self.nodes = nodes;
        if let Some(maps) = Partitions::derive(&self.nodes) {
            self.maps = maps;
        }
        let own = self.nodes.get(&self.me);
        Ok(match (before, own.map(|node| (node.role, node.partition))) {
            (Some(Role::Proxy), Some((Role::Slave, partition))) => self.copy_as_slave(partition),
            (Some(Role::Proxy), Some((Role::Master, partition))) => self.copy_as_master(partition),
            _ => Work::Nothing,
        })
    }

    fn copy_as_slave(&self, partition: i32) -> Work {
        let (map, size) = match self.maps.active.get(&partition) {
            Some(active) => (Some(active), self.maps.active_count()),
            None => (self.maps.prepare.get(&partition), self.maps.all_count()),
        };
        let Some(map) = map else { return Work::BecomeProxy };
        // a master that is down is nobody to copy from, and upstream says nothing about it
        match map.master.as_deref().and_then(|key| self.target(key)) {
            Some(master) => {
                Work::Copy(Copy { sources: vec![master], partition, size, as_master: None })
            }
            None => Work::Nothing,
        }
    }

    fn copy_as_master(&self, partition: i32) -> Work {
        let masters = self.maps.active.values().filter_map(|map| map.master.as_deref());
        let others = masters.filter(|key| *key != self.me);
        let sources: Vec<Target> = others.filter_map(|key| self.target(key)).collect();
        if sources.is_empty() {
            return Work::Nothing;
        }
        Work::Copy(Copy {
            sources,
            partition,
            size: self.maps.all_count(),
            as_master: Some(self.maps.active_count()),
        })
    }

    /// A node of the map by its key.
    pub(crate) fn target(&self, key: &str) -> Option<Target> {
        self.nodes.get(key).map(|node| Target {
            key: key.to_owned(),
            host: node.host.clone(),
            port: node.port,
            thread_type: node.thread_type,
        })
    }

    /// Whether a node may be sent anything: it is in the map and no proxy.
    pub(crate) fn is_served(&self, key: &str) -> bool {
        self.nodes.get(key).is_some_and(|node| node.role != Role::Proxy)
    }

    /// Keys of the slaves of the partition that this node is master of.
    pub(crate) fn own_slaves(&self) -> Vec<Target> {
        let own = |map: &&Partition| map.master.as_deref() == Some(self.me.as_str());
        let map = self.maps.active.values().chain(self.maps.prepare.values()).find(own);
        let slaves = map.map(|map| map.slaves.as_slice()).unwrap_or_default();
        slaves.iter().filter_map(|key| self.target(key)).collect()
    }

    pub(crate) fn partition(&mut self, key: &[u8], size: usize) -> Option<usize> {
        self.resolver.partition(key, size)
    }

    fn active_of(&mut self, key: &[u8]) -> Option<&Partition> {
        let number = self.resolver.partition(key, self.maps.active_count())?;
        self.maps.active(number)
    }

    /// The preparing partition that will own the key, if it is one.
    fn preparing_of(&mut self, key: &[u8]) -> Option<&Partition> {
        let number = self.resolver.partition(key, self.maps.all_count())?;
        self.maps.prepare(number)
    }

    /// flare-protocol.md 5.2.
    pub(crate) fn read_route(&mut self, key: &[u8]) -> ReadRoute {
        let me = self.me.clone();
        let Some(partition) = self.active_of(key) else { return ReadRoute::Miss };
        let mine = partition.master.as_ref() == Some(&me)
            || partition.readers.iter().any(|(reader, _)| *reader == me);
        if mine {
            return ReadRoute::Local;
        }
        let readers = partition.readers.clone();
        let readers: Vec<(Target, u32)> = readers
            .into_iter()
            .filter_map(|(key, weight)| self.target(&key).map(|target| (target, weight)))
            .collect();
        if readers.is_empty() { ReadRoute::Miss } else { ReadRoute::Forward(readers) }
    }

    /// flare-protocol.md 5.3: executed here, or passed on to the owner's master.
    pub(crate) fn write_route(&mut self, key: &[u8], proxied: bool) -> WriteRoute {
        let me = self.me.clone();
        let coming = proxied && self.preparing_of(key).is_some_and(|b| b.contains(&me));
        let Some(owner) = self.active_of(key) else { return WriteRoute::NoPartition };
        let master = owner.master.clone();
        if master.as_ref() == Some(&me) || proxied && owner.contains(&me) || coming {
            return WriteRoute::Local;
        }
        match master.and_then(|key| self.target(&key)) {
            Some(target) => WriteRoute::Forward(target),
            None => WriteRoute::NoMaster,
        }
    }

    /// flare-protocol.md 5.3, steps 2 to 4.
    pub(crate) fn copies(&mut self, key: &[u8], proxied: bool) -> Copies {
        let me = self.me.clone();
        let is_master = |map: &Partition| map.master.as_ref() == Some(&me);
        let preparing = self.preparing_of(key).cloned();
        let owned = self.active_of(key).filter(|a| is_master(a)).cloned();
        let coming = preparing.as_ref().filter(|b| proxied && is_master(b));
        let slaves = coming.or(owned.as_ref()).map(|map| map.slaves.clone()).unwrap_or_default();
        let next = preparing.as_ref().filter(|_| owned.is_some()).and_then(|b| b.master.clone());
        Copies {
            slaves: slaves.iter().filter_map(|key| self.target(key)).collect(),
            preparing: next.and_then(|key| self.target(&key)),
        }
    }
}

#[cfg(test)]
mod tests;

//! The node map and the two partition maps derived from it (flare-protocol.md 1.2, 1.3, 1.6).

use std::collections::BTreeMap;
use std::fmt;

use super::words::{Words, signed};

/// Longest server name in a `NODE` line: upstream's token buffer less one.
const MAX_NAME: usize = 1023;

/// A node's role. Numbers outside 0..=2 are taken as they come, as upstream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Slave,
    Proxy,
    Other,
}

/// A node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Prepare,
    Down,
    Ready,
    Other,
}

impl Role {
    fn numbered(number: i32) -> Self {
        match number {
            0 => Self::Master,
            1 => Self::Slave,
            2 => Self::Proxy,
            _ => Self::Other,
        }
    }
}

impl State {
    fn numbered(number: i32) -> Self {
        match number {
            0 => Self::Active,
            1 => Self::Prepare,
            2 => Self::Down,
            3 => Self::Ready,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Master => "master",
            Self::Slave => "slave",
            Self::Proxy => "proxy",
            Self::Other => "",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Prepare => "prepare",
            Self::Down => "down",
            Self::Ready => "ready",
            Self::Other => "",
        })
    }
}

/// One line of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeInfo {
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) partition: i32,
    pub(crate) balance: i32,
    pub(crate) thread_type: i32,
}

impl NodeInfo {
    /// `NODE <name> <port> <role#> <state#> <partition> <balance> <thread_type>`; more is ignored.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = Words::new(line);
        if words.word(MAX_NAME) != b"NODE" {
            return None;
        }
        let host = words.word(MAX_NAME);
        let mut number = || signed(words.digits());
        let node = Self {
            host: String::from_utf8_lossy(host).into_owned(),
            port: number()?,
            role: Role::numbered(number()?),
            state: State::numbered(number()?),
            partition: number()?,
            balance: number()?,
            thread_type: number()?,
        };
        (!host.is_empty()).then_some(node)
    }

    /// `<server name>:<port>`.
    pub(crate) fn key(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// By node key, in byte order of the key.
pub(crate) type NodeMap = BTreeMap<String, NodeInfo>;

/// One partition of a partition map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Key of its master; none if the master is down.
    pub(crate) master: Option<String>,
    /// Keys of the slaves that are not down, in key order, those in prepare and ready included.
    pub(crate) slaves: Vec<String>,
    /// The read-choice list: node keys with their weight, only weights above 0.
    pub(crate) readers: Vec<(String, u32)>,
}

impl Partition {
    pub(crate) fn contains(&self, key: &str) -> bool {
        self.master.as_deref() == Some(key) || self.slaves.iter().any(|slave| slave == key)
    }

    fn add_reader(&mut self, key: &str, balance: i32) {
        match u32::try_from(balance) {
            Ok(weight) if weight > 0 => self.readers.push((key.to_owned(), weight)),
            _ => {}
        }
    }
}

/// The active and the prepare map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Partitions {
    pub(crate) active: BTreeMap<i32, Partition>,
    pub(crate) prepare: BTreeMap<i32, Partition>,
}

impl Partitions {
    /// Derives the maps; none if they break upstream's rules (a gap, more than one partition in
    /// preparation, or not the next one), in which case the former maps stay in force (Q12).
    pub(crate) fn derive(nodes: &NodeMap) -> Option<Self> {
        let mut maps = Self::default();
        for (key, node) in nodes.iter().filter(|(_, node)| node.role == Role::Master) {
            maps.add_master(key, node);
        }
        let slaves = |node: &NodeInfo| node.role == Role::Slave && node.state != State::Down;
        for (key, node) in nodes.iter().filter(|(_, node)| slaves(node)) {
            maps.add_slave(key, node);
        }
        maps.consistent().then_some(maps)
    }

    fn add_master(&mut self, key: &str, node: &NodeInfo) {
        let map = match node.state {
            State::Down => {
                self.active.entry(node.partition).or_default();
                return;
            }
            State::Active => &mut self.active,
            State::Prepare | State::Ready | State::Other => &mut self.prepare,
        };
        let partition = map.entry(node.partition).or_default();
        if partition.master.is_none() {
            partition.master = Some(key.to_owned());
            partition.add_reader(key, node.balance);
        }
    }

    fn add_slave(&mut self, key: &str, node: &NodeInfo) {
        let (active, prepare) = (&mut self.active, &mut self.prepare);
        let found = active.get_mut(&node.partition).or_else(|| prepare.get_mut(&node.partition));
        if let Some(partition) = found {
            partition.slaves.push(key.to_owned());
            if node.state == State::Active {
                partition.add_reader(key, node.balance);
            }
        }
    }

    fn consistent(&self) -> bool {
        let count = i32::try_from(self.active.len()).unwrap_or(i32::MAX);
        let highest = self.active.keys().next_back().copied().unwrap_or(-1);
        self.prepare.len() <= 1
            && highest + 1 == count
            && self.prepare.keys().all(|number| *number == count)
    }

    /// N of flare-protocol.md 1.6.
    pub(crate) fn active_count(&self) -> usize {
        self.active.len()
    }

    /// N + P.
    pub(crate) fn all_count(&self) -> usize {
        self.active.len() + self.prepare.len()
    }

    pub(crate) fn active(&self, number: usize) -> Option<&Partition> {
        self.active.get(&i32::try_from(number).ok()?)
    }

    pub(crate) fn prepare(&self, number: usize) -> Option<&Partition> {
        self.prepare.get(&i32::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(lines: &[&str]) -> Option<Partitions> {
        let node = |line: &&str| NodeInfo::parse(line.as_bytes()).expect(line);
        let nodes = lines.iter().map(node).map(|node| (node.key(), node)).collect();
        Partitions::derive(&nodes)
    }

    #[test]
    fn node_lines() {
        let node = NodeInfo::parse(b"NODE 127.0.0.1 22130 1 1 0 0 18").unwrap();
        assert_eq!(node.key(), "127.0.0.1:22130");
        assert_eq!((node.role, node.state), (Role::Slave, State::Prepare));
        assert!(NodeInfo::parse(b"NODE h 1 2 0 -1 0 16 99 extra").is_some());
        assert!(NodeInfo::parse(b"NODE h 1 9 9 -1 0 16").is_some(), "not range-checked");
        assert_eq!(NodeInfo::parse(b"NODE h 1 2 0 -1 0"), None);
        assert_eq!(NodeInfo::parse(b"node h 1 2 0 -1 0 16"), None);
    }

    #[test]
    fn a_down_master_keeps_its_partition_and_an_active_one_takes_over() {
        let kept = maps(&["NODE a 1 0 2 0 1 16"]).unwrap();
        assert_eq!(kept.active_count(), 1);
        assert_eq!(kept.active[&0].master, None);
        let taken = maps(&["NODE a 1 0 2 0 1 16", "NODE b 1 0 0 0 1 17"]).unwrap();
        assert_eq!(taken.active[&0].master.as_deref(), Some("b:1"));
        let earlier = maps(&["NODE a 1 0 0 0 1 16", "NODE b 1 0 2 0 1 17"]).unwrap();
        assert_eq!(earlier.active[&0].master.as_deref(), Some("a:1"));
    }

    #[test]
    fn slaves_that_are_not_active_take_writes_but_no_reads() {
        let maps = maps(&[
            "NODE a 1 0 0 0 1 16",
            "NODE b 1 1 1 0 5 17",
            "NODE c 1 1 0 0 2 18",
            "NODE d 1 1 2 0 2 19",
        ])
        .unwrap();
        assert_eq!(maps.active[&0].slaves, ["b:1", "c:1"]);
        assert_eq!(maps.active[&0].readers, [("a:1".to_owned(), 1), ("c:1".to_owned(), 2)]);
    }

    #[test]
    fn inconsistent_maps_are_not_derived() {
        assert_eq!(maps(&["NODE a 1 0 0 1 1 16"]), None, "gap");
        assert_eq!(maps(&["NODE a 1 0 1 1 1 16"]), None, "prepare is not the next one");
        let two = ["NODE a 1 0 0 0 1 16", "NODE b 1 0 1 1 1 17", "NODE c 1 0 1 2 1 18"];
        assert_eq!(maps(&two), None, "two in preparation");
        let next = maps(&["NODE a 1 0 0 0 1 16", "NODE b 1 0 3 1 1 17", "NODE c 1 1 1 1 0 18"]);
        let next = next.unwrap();
        assert_eq!((next.active_count(), next.all_count()), (1, 2));
        assert_eq!(next.prepare[&1].slaves, ["c:1"]);
    }
}

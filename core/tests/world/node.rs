//! A flared as the index sees it: the map it holds, its keys, the copy it makes, its reports.
//!
//! Written from flare-protocol.md 5 and 6, without the index's own ideas about nodes.

use std::sync::Arc;

use flare_core::model::{Incarnation, NodeEntry, NodeKey, Role, State};
use flare_core::topology::{Observation, Snapshot};

use crate::data::{Data, Key, partition_of};

/// What the node says of itself, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Report {
    Active,
    Ready,
    Failed,
}

/// A copy under way (type 3 threads).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Copy {
    /// What is still to be read: the source, and the key behind which to go on.
    pub(crate) sources: Vec<(NodeKey, Option<Key>)>,
    pub(crate) partition: i32,
    pub(crate) of: i32,
    role: Role,
}

/// One node: its disk outlives its process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    pub(crate) data: Data,
    /// Do writes that others pass on to it get lost?
    pub(crate) is_deaf: bool,
    pub(crate) alive: bool,
    /// Has this process the answer to its `node add`? Before, it answers nothing.
    pub(crate) serving: bool,
    process: i64,
    map: Option<Arc<Snapshot>>,
    version: u64,
    pub(crate) copy: Option<Copy>,
    pub(crate) report: Option<Report>,
    /// Was its partition ever handed over, so that it may go from master to slave as it is?
    pub(crate) handed_over: bool,
}

impl Node {
    pub(crate) fn new(key: NodeKey) -> Self {
        Self {
            key,
            data: Data::default(),
            is_deaf: false,
            alive: false,
            serving: false,
            process: 0,
            map: None,
            version: 0,
            copy: None,
            report: None,
            handed_over: false,
        }
    }

    /// A new process; it has to register.
    pub(crate) fn start(&mut self) {
        self.stop();
        self.alive = true;
        self.process += 10;
    }

    pub(crate) fn stop(&mut self) {
        self.alive = false;
        self.serving = false;
        self.map = None;
        self.version = 0;
        self.copy = None;
        self.report = None;
        self.data.process_ended();
    }

    /// The answer to `node add`: taken as given, no copy begins (flare-protocol.md 6.2).
    pub(crate) fn registered(&mut self, map: Arc<Snapshot>) {
        let own = map.node(&self.key).map(|node| node.entry);
        let own = own.expect("the answer to `node add` shows the caller");
        assert!(!own.state.is_preparing(), "{} would never copy: {own} (R8)", self.key);
        self.map = Some(map);
        self.serving = true;
    }

    /// `node sync`: is it accepted?
    pub(crate) fn sync(&mut self, map: Arc<Snapshot>) -> bool {
        if self.version > 0 && self.version > map.version() {
            return false;
        }
        let before = self.entry();
        self.version = map.version();
        self.map = Some(map);
        let (Some(before), Some(after)) = (before, self.entry()) else { return true };
        if before.role == Role::Proxy && after.role != Role::Proxy {
            self.begin_copy(after);
        } else if before.role != Role::Proxy && after.role == before.role {
            assert_eq!(before.partition, after.partition, "{} copies nothing (R8)", self.key);
        } else if before.role == Role::Master && after.role == Role::Slave && !self.handed_over {
            panic!("{} goes from master to slave and copies nothing (R8)", self.key);
        }
        true
    }

    fn begin_copy(&mut self, own: NodeEntry) {
        assert!(
            self.copy.is_none() && self.report.is_none(),
            "{} gets a role while an older copy runs: its report would be taken for the new one's",
            self.key
        );
        let Some(map) = &self.map else { return };
        let active = map.partitions();
        let preparing = self.of_map(|e| e.role == Role::Master && e.state.is_preparing()).len();
        let all = active + i32::try_from(preparing).expect("few partitions");
        let others = self.of_map(|entry| match own.role {
            Role::Master => entry.role == Role::Master && entry.state == State::Active,
            _ => entry.is_master_of(own.partition) && entry.state != State::Down,
        });
        let sources: Vec<NodeKey> = others.into_iter().filter(|key| *key != self.key).collect();
        if sources.is_empty() {
            self.report = (own.role == Role::Slave).then_some(Report::Failed);
            return;
        }
        let of = if own.partition < active && own.role == Role::Slave { active } else { all };
        let sources = sources.into_iter().map(|key| (key, None)).collect();
        self.copy = Some(Copy { sources, partition: own.partition, of, role: own.role });
    }

    /// The copy has ended: the node is about to say so.
    pub(crate) fn copied(&mut self, complete: bool) {
        let Some(copy) = self.copy.take() else { return };
        self.report = Some(match (complete, copy.role) {
            (false, _) => Report::Failed,
            (true, Role::Master) => Report::Ready,
            (true, _) => Report::Active,
        });
    }

    /// The nodes of its map that are so.
    pub(crate) fn of_map(&self, wanted: impl Fn(&NodeEntry) -> bool) -> Vec<NodeKey> {
        let Some(map) = &self.map else { return Vec::new() };
        map.entries().filter(|(_, entry)| wanted(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// Itself, in its own map.
    pub(crate) fn entry(&self) -> Option<NodeEntry> {
        self.map.as_ref().and_then(|map| map.node(&self.key)).map(|node| node.entry)
    }

    /// Partitions that serve in its own map, and those that prepare.
    pub(crate) fn partitions(&self) -> (i32, usize) {
        let preparing = self.of_map(|e| e.role == Role::Master && e.state.is_preparing()).len();
        (self.map.as_ref().map_or(0, |map| map.partitions()), preparing)
    }

    /// Does it carry out what another node passes on to it? It does when it belongs to the key's
    /// partition, or the one that the key is about to move to (flare-protocol.md 5.3).
    pub(crate) fn takes(&self, key: Key) -> bool {
        let (active, preparing) = self.partitions();
        let moves_to = (preparing > 0).then(|| partition_of(key, active + 1));
        self.entry().filter(|own| own.role != Role::Proxy).is_some_and(|own| {
            own.partition == partition_of(key, active)
                || own.partition == active && moves_to == Some(active)
        })
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        Incarnation { started: self.process, pid: 1 }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Its `stats` and `stats threads`. A reconstruction thread lives until its report is through.
    pub(crate) fn observation(&self) -> Observation {
        Observation {
            incarnation: self.incarnation(),
            version: self.version,
            items: self.data.items(),
            copying: self.copy.is_some() || self.report.is_some(),
        }
    }
}

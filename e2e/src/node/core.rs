//! One node's state, shared by its tasks. They all run on the node's own thread, so a borrow is
//! never contended; none is held across an await.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::clock::unix_seconds;
use super::cluster::Cluster;
use super::counters::Counters;
use super::faults::Faults;
use super::links::Links;
use super::replication::ClusterReplication;
use super::settings::Settings;
use super::storage::{Entry, Storage};
use super::threads::Threads;

/// Everything a running node has.
pub(crate) struct Node {
    /// `<server name>:<port>`, under which the index knows it.
    pub(crate) key: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) settings: RefCell<Settings>,
    pub(crate) config_path: String,
    pub(crate) pid_path: String,
    pub(crate) cluster: RefCell<Cluster>,
    pub(crate) storage: RefCell<Storage>,
    pub(crate) counters: Counters,
    pub(crate) threads: Rc<Threads>,
    pub(crate) links: Links,
    pub(crate) replication: ClusterReplication,
    pub(crate) faults: Rc<Faults>,
    /// Sources that a new master still waits for; failed ones are never taken off (Q9).
    pub(crate) outstanding_sources: Cell<usize>,
    /// Unix seconds.
    pub(crate) started: u64,
}

impl Node {
    pub(crate) fn uptime(&self) -> u64 {
        unix_seconds().saturating_sub(self.started)
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        self.settings.borrow().net_read_timeout()
    }

    /// `replication-type`, unless the request says otherwise.
    pub(crate) fn replicates_in_sync(&self, sync: bool, r#async: bool) -> bool {
        sync || !r#async && self.settings.borrow().text("replication-type") == "sync"
    }

    /// The entry after a place of an iteration (0 is before all), and its place.
    pub(crate) fn entry_after(&self, place: u64) -> Option<(u64, Entry)> {
        self.storage.borrow().after(place).map(|(place, entry)| (place, entry.clone()))
    }
}

/// The right to iterate over the storage; a node has one (flare-protocol.md 4.7).
pub(crate) struct Iteration {
    node: Rc<Node>,
    generation: u64,
}

impl Iteration {
    /// None while another has it.
    pub(crate) fn begin(node: &Rc<Node>) -> Option<Self> {
        let generation = node.storage.borrow_mut().begin_iteration()?;
        Some(Self { node: Rc::clone(node), generation })
    }

    /// Whether the storage was flushed meanwhile.
    pub(crate) fn is_canceled(&self) -> bool {
        self.node.storage.borrow().generation() != self.generation
    }
}

impl Drop for Iteration {
    fn drop(&mut self) {
        self.node.storage.borrow_mut().end_iteration();
    }
}

//! The topology of one cluster: the node map, how it changes and what follows from a change.
pub mod api;
mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use api::*;
pub use snapshot::Snapshot;

use crate::model::{NodeKey, Timestamp};
use crate::stored::StoredTopology;
use crate::wanted::Wanted;

/// Who decides about roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A person or flare-tools, as with flarei.
    Manual,
    /// The index, from the wanted shape.
    Automatic(Wanted),
}

/// What a topology is started with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Who decides about roles.
    pub mode: Mode,
    /// The most nodes that a cluster may have.
    pub nodes_max: usize,
}

/// What is known of a node beside its stored entry; gone after a restart of the index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// The highest version that this process acknowledged or showed.
    pub acked: u64,
    /// Does the connection to it stand?
    pub linked: bool,
    /// What it last showed.
    pub observed: Option<Observation>,
}

/// The node map of one cluster; decides, never waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topology {
    snapshot: Arc<Snapshot>,
    blocked: BTreeSet<Blocked>,
    settings: Settings,
}

impl Topology {
    /// Goes on from what was stored.
    pub fn new(stored: StoredTopology, settings: Settings) -> Self {
        let snapshot = Arc::new(Snapshot::new(Arc::new(stored)));
        Self { snapshot, blocked: BTreeSet::new(), settings }
    }

    /// Takes one input in. An `Err` goes to whoever sent the input; nothing has changed then.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Step, Refusal> {
        let _ = (input, now, &self.settings);
        Err(Refusal::StoodDown)
    }

    /// The committed map.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What stands in the way of the wanted shape.
    pub fn blocked(&self) -> &BTreeSet<Blocked> {
        &self.blocked
    }

    /// What is known of a node beside its entry.
    pub fn facts(&self, node: &NodeKey) -> Option<&Facts> {
        let _ = node;
        None
    }
}

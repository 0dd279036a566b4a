//! Nodes that are to copy are told so when their sources know.
//!
//! A source passes on what it is given meanwhile to those that it knows: a write that it takes
//! after the copy has passed that key, and before it knows of the copy, would be missing there for
//! ever (flare-protocol.md 5.3, 6.3), and the copy would call itself whole. Nobody waits for a copy
//! as for a new master, so its beginning waits as long as a source does not take the map in, or is
//! dead.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{NodeKey, State, Timestamp};
use crate::stored::{StoredNode, StoredTopology};
use crate::topology::drafts::sources;
use crate::topology::{Effect, Mode, Step, Targets, Topology};

/// The nodes that were to copy when the index was started: whether they have begun, and whether
/// their sources know, is not known.
pub(super) fn unheard(stored: &StoredTopology, mode: Mode) -> BTreeSet<NodeKey> {
    let copies = stored.nodes.iter().filter(|(_, node)| node.entry.state == State::Prepare);
    match mode {
        Mode::Manual => BTreeSet::new(),
        Mode::Automatic(_) => copies.map(|(key, _)| key.clone()).collect(),
    }
}

impl Topology {
    /// May this node be told of the committed map when the index starts? The others are told in
    /// their turn.
    pub fn tells_at_once(&self, node: &NodeKey) -> bool {
        self.snapshot.is_for(node) && !self.held_copiers.contains(node)
    }

    /// Is it to copy, by the committed map, and does not know that yet, nor a source of its copy?
    pub(super) fn is_ahead_of_source(&self, node: &NodeKey) -> bool {
        let (Mode::Automatic(_), Some(facts)) = (self.settings.mode, self.facts.get(node)) else {
            return false;
        };
        let knows_of_it = |source: &NodeKey| {
            let known = self.facts.get(source);
            known.is_some_and(|it| it.acked >= facts.role_version && it.connecting.is_none())
        };
        // Asked of every node of every map: most do not prepare, and have no sources to look for.
        let prepares = |node: &StoredNode| node.entry.state == State::Prepare;
        self.snapshot.node(node).is_some_and(prepares)
            && !facts.knows_its_role()
            && !sources(self.snapshot.stored(), node).iter().all(knows_of_it)
    }

    /// The nodes that are not told of the committed map yet; they are told as soon as they may be.
    pub(super) fn hold_copiers(&mut self) -> Vec<NodeKey> {
        let nodes = self.snapshot.stored().nodes.keys();
        let held: Vec<_> = nodes.filter(|node| self.is_ahead_of_source(node)).cloned().collect();
        self.held_copiers = held.iter().cloned().collect();
        held
    }

    /// Tells those that waited for their sources, and may begin.
    pub(super) fn tell_copiers(&mut self, now: Timestamp, step: &mut Step) {
        if self.held_copiers.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.held_copiers);
        let (waiting, told): (BTreeSet<_>, BTreeSet<_>) =
            waiting.into_iter().partition(|node| self.is_ahead_of_source(node));
        self.held_copiers = waiting;
        if told.is_empty() {
            return;
        }
        let version = self.snapshot.version();
        for node in &told {
            if let Some(facts) = self.facts.get_mut(node).filter(|facts| facts.acked < version) {
                facts.watch.is_told(version, now);
            }
        }
        let snapshot = Arc::clone(&self.snapshot);
        step.effects.push(Effect::Push { snapshot, to: Targets::Only(Vec::from_iter(told)) });
    }
}

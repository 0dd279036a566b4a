//! Ends connections that the node keeps to nodes that there are no more (why, and which:
//! `flare_core::topology`, `leftovers`).

use std::collections::BTreeSet;

use bytes::Bytes;
use flare_core::protocol::node::SenderThread;
use flare_core::topology::Snapshot;
use flare_core::topology::leftovers::{has_leftovers, leftovers};
use tokio::time::Instant;
use tracing::info;

use super::NodeLink;
use super::exchange::Question;

/// How far that is.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// The node is to be asked which of its connections they are.
    look: bool,
    to_end: Vec<u32>,
}

impl NodeLink {
    /// The newest map that the node may be told of, if it works by it.
    fn works_by(&self) -> Option<&Snapshot> {
        self.released.as_deref().filter(|map| map.version() == self.acknowledged)
    }

    /// The node showed to whom it has connections.
    pub(super) fn look_for_leftovers(&mut self, connected: &BTreeSet<u32>) {
        let look = self.works_by().is_some_and(|map| has_leftovers(map, connected));
        self.leftovers.look = look;
    }

    /// What is to be asked next about its connections to other nodes.
    pub(super) fn next_of_senders(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        if let Some(thread) = self.leftovers.to_end.pop() {
            return Some(Question::end_sender(thread));
        }
        if std::mem::take(&mut self.leftovers.look) {
            return Some(Question::list_senders());
        }
        self.next_of_stuck(now)
    }

    /// The node showed what its connections to other nodes are at.
    pub(super) fn senders_listed(&mut self, senders: &[SenderThread]) {
        let ended = self.works_by().map(|map| leftovers(map, senders)).unwrap_or_default();
        if !ended.is_empty() {
            info!(
                parent: &self.span, threads = ended.len(),
                "connections to nodes that there are no more are ended"
            );
        }
        self.leftovers.to_end = ended;
        self.waiting_listed(senders);
    }

    /// The connection to the node ended: it may be another process on the next one.
    pub(super) fn forget_leftovers(&mut self) {
        self.leftovers = Leftovers::default();
    }
}

//! What comes out of the topology: bytes to persist, things to do, answers.

use std::sync::Arc;

use super::{Event, Refusal, RequestId};
use crate::model::{Incarnation, NodeKey, Timestamp};
use crate::stored::StoredTopology;
use crate::topology::{ConnectingRequest, Snapshot};

/// What one input led to: first store, then speak (R4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[must_use = "a step that is not carried out is lost"]
pub struct Step {
    /// To be written; the answer comes back as [`super::Input::Stored`] or
    /// [`super::Input::StoreFailed`].
    pub persist: Option<Arc<StoredTopology>>,
    /// To be carried out now, in this order.
    pub effects: Vec<Effect>,
}

/// Something for the actor to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// This map is committed: sessions and admin answer from it, links exist for its nodes.
    Publish(Arc<Snapshot>),
    /// Send the map to these nodes; a newer one replaces an unsent older one.
    Push {
        /// The map to send.
        snapshot: Arc<Snapshot>,
        /// Whom to send it to.
        to: Targets,
    },
    /// Answer an asker.
    Reply {
        /// The asker.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Ask the node for `stats` and `stats threads`; comes back as [`super::Input::Observed`].
    Probe {
        /// The node.
        node: NodeKey,
    },
    /// Send `flush_all`, on a connection to this very process; comes back as
    /// [`super::Input::Emptied`].
    Empty {
        /// The node.
        node: NodeKey,
        /// The stored intent.
        intent: u64,
        /// The process that may be emptied; another one is not (R13).
        incarnation: Incarnation,
    },
    /// Ask the node for a key that it passes on to those of these thread types, so that it connects
    /// to them, and delete later what was written; comes back as [`super::Input::Connected`].
    Connect {
        /// The node.
        node: NodeKey,
        /// The map in which it passes the key on to them: asked together with that, so that it is
        /// as early as can be; where the node has it already, only if a connection is missing.
        version: u64,
        /// What it is asked.
        request: ConnectingRequest,
        /// The thread types of the nodes that it needs connections to.
        towards: Vec<u32>,
    },
    /// Delete now what was written for [`Effect::Connect`], if anything was.
    ForgetKeys {
        /// The node that was written to.
        node: NodeKey,
    },
    /// For some seconds, end the node's requests of [`crate::topology::stuck`].
    FreeStuckWriters {
        /// The node.
        node: NodeKey,
    },
    /// End the connections of this node's clients, as far as their addresses tell them from nodes;
    /// comes back as [`super::Input::ClientsEnded`].
    EndClients {
        /// The node.
        node: NodeKey,
    },
    /// Open the relay that holds the writes of a handover; comes back as
    /// [`super::Input::RelayOpened`].
    OpenRelay {
        /// The node that it passes reads on to.
        reads_to: NodeKey,
    },
    /// Read through the node until it has connections to the relay; comes back as
    /// [`super::Input::Introduced`].
    Introduce {
        /// The node.
        node: NodeKey,
        /// The reads, to be repeated.
        request: ConnectingRequest,
        /// The thread type of the relay.
        towards: u32,
        /// Give up at this moment.
        until: Timestamp,
    },
    /// Pass what the relay holds, and what comes yet, on to this node.
    ReleaseRelay {
        /// The node that serves the writes.
        to: NodeKey,
    },
    /// End the relay and its connections.
    CloseRelay,
    /// Watch a node's `stats threads` until nothing is queued or executing towards this thread
    /// type, three readings in a row; comes back as [`super::Input::QueueDrained`].
    WatchQueue {
        /// The node.
        node: NodeKey,
        /// The thread type of the node that it sends to.
        towards: u32,
        /// Give up at this moment, without a word.
        until: Timestamp,
        /// Look at it only after so many milliseconds.
        settle_millis: u64,
    },
    /// Call back with [`super::Input::WakeDue`] at this moment; an earlier wish replaces a
    /// later one.
    WakeAt(Timestamp),
    /// For the log, the events and the metrics.
    Happened(Event),
}

/// Whom a map goes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Targets {
    /// Every node of the map that is not left out by name.
    AllBut(Vec<NodeKey>),
    /// These only.
    Only(Vec<NodeKey>),
}

/// What an asker is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Done, or nothing was to do.
    Done,
    /// Registered; the whole map is the answer.
    Registered(Arc<Snapshot>),
    /// Not done.
    Refused(Refusal),
}

impl Effect {
    /// [`Effect::WatchQueue`], begun at once.
    pub(crate) fn watch_queue(node: NodeKey, towards: u32, until: Timestamp) -> Self {
        Self::WatchQueue { node, towards, until, settle_millis: 0 }
    }
}

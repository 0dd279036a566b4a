//! What the link to a node can be told and asked.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use flare_core::model::{Incarnation, NodeKey, Timestamp};
use flare_core::policy::suspicion::MonitorSettings;
use flare_core::protocol::command::ThreadState;
use flare_core::topology::{ConnectingRequest, Snapshot};

use crate::session::Traffic;

/// The node may be told of this map; a newer one replaces an unsent older one.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PushMap {
    /// The map.
    pub snapshot: Arc<Snapshot>,
}

/// Asks for the node's `stats` and `stats threads` now, not at the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ProbeNode;

/// Empties the node, if it is this very process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EmptyNode {
    /// The stored intent.
    pub intent: u64,
    /// The process that may be emptied (R13).
    pub incarnation: Incarnation,
}

/// Watches the node's `stats threads` until nothing is queued or executing towards a thread type,
/// three readings in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct WatchQueue {
    /// The thread type of the node that it sends to.
    pub towards: u32,
    /// Give up at this moment, without a word.
    pub until: Timestamp,
    /// Look at it only after so long.
    pub settle: Duration,
}

/// Ends the connections of the node's clients, as far as their addresses tell them from nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EndClients;

/// Have the node connect to those that it passes writes on to; an order to connect that was not
/// carried out yet is replaced by it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ConnectNode {
    /// The map that makes it necessary: nothing is asked before that is told.
    pub version: u64,
    /// What it is asked for that.
    pub request: ConnectingRequest,
    /// The thread types of the nodes that it is to connect to.
    pub towards: Vec<u32>,
}

/// Read through the node, on a connection of its own, until it has connections to the relay. Ends
/// with a `topology::NodeIntroduced`, whatever came of it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct IntroduceRelay {
    /// The reads, to be repeated.
    pub request: ConnectingRequest,
    /// The relay's thread type.
    pub towards: u32,
    /// When it is given up.
    pub until: Timestamp,
}

/// Delete now what was written to have the node connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ForgetKeys;

/// For some seconds, end the node's requests that are stuck (`flare_core::topology`,
/// `stuck_requests`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct FreeStuckWriters;

/// The node has just called the index itself, so it listens: connect now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeCalled;

/// How the node is watched changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChangeSettings {
    /// The new settings.
    pub settings: MonitorSettings,
}

/// Ends the connection and opens another (`kill` of a monitor).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReopenLink;

/// The node is no longer in the map: the link ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EndLink;

/// Asks what the link is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "LinkFacts")]
pub struct GetFacts;

/// The answer to [`GetFacts`].
#[derive(Debug, Clone, PartialEq, Eq, actix::MessageResponse)]
pub struct LinkFacts {
    /// What `kill` takes.
    pub thread: u32,
    /// The node.
    pub node: NodeKey,
    /// The node's thread type, which is the link's type in `stats threads`.
    pub thread_type: u32,
    /// What it does.
    pub state: ThreadState,
    /// The request that the node has not answered.
    pub op: &'static str,
    /// Seconds since the link was made.
    pub uptime: u64,
    /// 1 when the newest map is not acknowledged.
    pub queue: u64,
    /// How long it has not been, in seconds.
    pub behind: u64,
    /// Bytes of all its connections.
    pub traffic: Traffic,
}

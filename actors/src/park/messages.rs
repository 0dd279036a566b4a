//! What the relay of a cluster can be told.

use actix::Message;
use flare_core::model::NodeKey;

/// Listen, and hold what nodes send. Answered by `topology::RelayOpened`.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct OpenRelay {
    /// A node that will send to it: the relay listens where this node reaches us.
    pub towards: NodeKey,
}

/// Pass on what is held, and what comes yet.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReleaseRelay {
    /// The node that serves the writes.
    pub to: NodeKey,
}

/// End. What is passed on already may finish; what is still held fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct CloseRelay;

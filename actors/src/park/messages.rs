//! What the relay of a cluster can be told.

use actix::Message;
use flare_core::model::NodeKey;

/// Listen, pass reads on, and hold what else nodes send. Answered by `topology::RelayOpened`.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct OpenRelay {
    /// The old master, which reads go on to. The relay listens where this node reaches us: all
    /// reach us where one does, as they reach the index.
    pub reads_to: NodeKey,
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

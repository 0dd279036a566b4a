//! What the relay of a cluster can be told.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use actix::Message;

/// Listen, pass reads on, and hold what else nodes send. Answered by `topology::RelayOpened`. A
/// relay that stands already ends.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct OpenRelay {
    /// Which relay this is: what is told of it names it.
    pub number: u64,
    /// The old master, which reads go on to. The relay listens where a node of another machine
    /// reaches us, or this one where there is none: all reach us where that does, as they reach the
    /// index.
    pub reads_to: SocketAddr,
    /// Who may connect; `None` is everybody.
    pub peers: Option<BTreeSet<IpAddr>>,
}

/// Pass on what is held, and what comes yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReleaseRelay {
    /// The node that serves the writes.
    pub to: SocketAddr,
}

/// End. What is passed on already may finish; what is still held fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct CloseRelay;

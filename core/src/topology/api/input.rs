//! What goes into the topology: things that happened, and things that somebody wants.

use std::fmt;

use std::collections::BTreeSet;

use crate::model::{Incarnation, NodeKey, Role, State};
use crate::wanted::Wanted;
use crate::zones::Zones;

/// Names one asker, so that its answer finds it; unique within the actor's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Who asks for a change (R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The connection comes from an address of the node that the command is about.
    Node,
    /// Anybody else on the index port.
    Outsider,
    /// A person, by the admin interface.
    Admin,
}

/// What a node's `stats` and `stats threads` showed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Observation {
    /// Which process answered.
    pub incarnation: Incarnation,
    /// Its `node_map_version`.
    pub version: u64,
    /// Its `curr_items`; includes expired entries and keys of former partitions.
    pub items: u64,
    /// Is a reconstruction thread (type 3) running? (flare-protocol.md 4.9.)
    pub copying: bool,
}

/// Something that happened, or that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// `node add`.
    Register {
        /// Who waits for the answer.
        request: RequestId,
        /// The node that registers.
        node: NodeKey,
        /// Who asks.
        origin: Origin,
    },
    /// `node role`.
    SetRole {
        /// Who waits for the answer.
        request: RequestId,
        /// The node whose role is to change.
        node: NodeKey,
        /// The wanted role.
        role: Role,
        /// The wanted balance; -1 when left out.
        balance: i32,
        /// The wanted partition; -1 when left out.
        partition: i32,
        /// Who asks.
        origin: Origin,
    },
    /// `node state`.
    SetState {
        /// Who waits for the answer.
        request: RequestId,
        /// The node whose state is to change.
        node: NodeKey,
        /// The wanted state.
        state: State,
        /// Who asks.
        origin: Origin,
    },
    /// `node remove`, or a person forgets a node that is down.
    Remove {
        /// Who waits for the answer.
        request: RequestId,
        /// The node to forget.
        node: NodeKey,
        /// Who asks.
        origin: Origin,
    },
    /// `shutdown`: the node leaves.
    Shutdown {
        /// Who waits for the answer.
        request: RequestId,
        /// The node that leaves.
        node: NodeKey,
        /// Who asks.
        origin: Origin,
    },
    /// The failover actor holds the node dead.
    MarkDown {
        /// The node.
        node: NodeKey,
        /// What it saw when it decided.
        seen: Seen,
        /// Why.
        reason: DownReason,
    },
    /// The failover actor holds a node alive again that is down in the map.
    Return {
        /// The node.
        node: NodeKey,
        /// What it saw when it decided.
        seen: Seen,
    },
    /// The failover actor saw a node silent for longer than its master keeps trying to reach it,
    /// though it is not down: its copy may lack writes (R5).
    Lapsed {
        /// The node.
        node: NodeKey,
        /// What it saw when it decided.
        seen: Seen,
        /// For how long the node was silent, in milliseconds; so far, when it still is.
        silent_millis: u64,
    },
    /// The failover actor began or ceased to doubt a node that is not held dead.
    Suspected {
        /// The node.
        node: NodeKey,
        /// Did the last attempt to reach it fail?
        suspected: bool,
    },
    /// The connection to the node stands, and it has answered.
    LinkOpened {
        /// The node.
        node: NodeKey,
    },
    /// The connection to the node ended, or it could not be opened.
    LinkEnded {
        /// The node.
        node: NodeKey,
    },
    /// The node answered `OK` to the push of this version.
    Acknowledged {
        /// The node.
        node: NodeKey,
        /// The version of the pushed map.
        version: u64,
    },
    /// The end of a [`super::Effect::Connect`].
    Connected {
        /// The node.
        node: NodeKey,
        /// The thread types of the order.
        towards: Vec<u32>,
        /// Those of them that it still has no connection for.
        missing: Vec<u32>,
    },
    /// Which connections to other nodes the node has, by its `stats threads`; said when they are
    /// other ones than on this connection before.
    ConnectionsShown {
        /// The node.
        node: NodeKey,
        /// The thread types of the nodes that it has connections to.
        towards: BTreeSet<u32>,
    },
    /// The node's `stats` and `stats threads` were read.
    Observed {
        /// The node.
        node: NodeKey,
        /// What they showed.
        observation: Observation,
    },
    /// The end of a [`super::Effect::Empty`].
    Emptied {
        /// The node.
        node: NodeKey,
        /// The intent that was carried out.
        intent: u64,
        /// Did the node answer `OK` to `flush_all`?
        ok: bool,
    },
    /// The store holds this generation.
    Stored {
        /// The generation of [`super::Step::persist`].
        generation: u64,
    },
    /// The store refused this generation, or it is not known whether it took it.
    StoreFailed {
        /// The generation of [`super::Step::persist`].
        generation: u64,
        /// What the store said.
        failure: StoreFailure,
    },
    /// The circuit breaker opened or closed (R11).
    BreakerChanged {
        /// Is the index kept from acting?
        open: bool,
        /// Nodes with a role, and dead ones that had one.
        assigned: u32,
        /// Those of them that are dead.
        dead: u32,
    },
    /// A partition's master is to be swapped with an active slave, without copying.
    Switchover {
        /// Who waits for the answer; it comes when the swap is over.
        request: RequestId,
        /// The partition.
        partition: i32,
        /// The new master; `None` lets the index choose.
        to: Option<NodeKey>,
        /// How it is done.
        how: HandoverHow,
        /// Who asks.
        origin: Origin,
    },
    /// The end of [`super::Effect::EndClients`].
    ClientsEnded {
        /// The node.
        node: NodeKey,
    },
    /// A node is going to be stopped, or stays after all. The answer comes when it may be stopped.
    PrepareToLeave {
        /// Who waits for the answer.
        request: RequestId,
        /// The node.
        node: NodeKey,
        /// Does it leave?
        leaves: bool,
        /// Who asks.
        origin: Origin,
    },
    /// The manifest names the nodes that are to leave; others that it named before stay.
    LeavingListed {
        /// The nodes; they need not be known yet.
        nodes: BTreeSet<NodeKey>,
    },
    /// Which nodes lie in which zones, as far as it is known; replaces what was told before. Left
    /// out where there is but one zone, since all copies being in it would be warned of.
    ZonesTold {
        /// The zones; their nodes need not be known yet.
        zones: Zones,
    },
    /// A person chooses the copy that a partition goes on with, whose master is dead or came back
    /// empty.
    Recover {
        /// Who waits for the answer; it comes when the choice is stored.
        request: RequestId,
        /// The partition.
        partition: i32,
        /// The node that holds the copy; the master itself, when it is to go on empty.
        from: NodeKey,
        /// Who asks.
        origin: Origin,
    },
    /// The relay of [`super::Effect::OpenRelay`] listens, or could not be opened.
    RelayOpened {
        /// Its name and port as nodes reach it; `None` when it could not be opened.
        relay: Option<NodeKey>,
    },
    /// A node has connected to the relay: it can be reached.
    RelayReached,
    /// The relay ended by itself; what it held was not acknowledged.
    RelayEnded,
    /// The end of a [`super::Effect::Introduce`], whatever came of it.
    Introduced {
        /// The node.
        node: NodeKey,
    },
    /// The node has nothing queued or executing towards the thread type of
    /// [`super::Effect::WatchQueue`].
    QueueDrained {
        /// The node.
        node: NodeKey,
        /// The thread type that was watched.
        towards: u32,
    },
    /// The wanted shape changed (automatic mode).
    WantedChanged {
        /// The new shape; one that would shrink is refused.
        wanted: Wanted,
    },
    /// The moment of [`super::Effect::WakeAt`] has come; harmless at any other time.
    WakeDue,
}

/// How a planned swap is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandoverHow {
    /// How writes are kept from crossing.
    pub way: HandoverWay,
    /// Are the old master's client connections ended first? A write that it takes from a client of
    /// its own in that moment can be lost (flare-protocol.md 12); of use only where clients do not
    /// come straight back to it.
    pub end_clients: bool,
}

/// How a planned swap keeps writes from crossing (flare-protocol.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HandoverWay {
    /// A relay beside the index holds them for some milliseconds.
    Park,
    /// Nodes refuse them for some milliseconds.
    Pause,
}

/// What the sender of an order had seen when it decided (design.md 3: orders carry what they saw).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The version of the map it looked at.
    pub version: u64,
    /// The process it looked at, where one had answered.
    pub incarnation: Option<Incarnation>,
}

/// Why a node is held dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownReason {
    /// Its port refuses connections.
    Refused,
    /// It does not answer pings in time.
    Silent,
    /// It answers pings with an error, such as `SERVER_ERROR storage error`.
    Sick,
    /// Another process answers under its name: it was restarted.
    Restarted,
    /// It said so itself (`shutdown`).
    Left,
    /// A person or a tool said so (`node state … down`).
    Ordered,
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "its port refuses connections",
            Self::Silent => "it does not answer pings",
            Self::Sick => "it answers pings with an error",
            Self::Restarted => "it was restarted",
            Self::Left => "it announced that it leaves",
            Self::Ordered => "somebody marked it down",
        })
    }
}

/// Why a write to the store did not happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StoreFailure {
    /// Somebody else wrote in between (R4): this index is no longer the one that decides.
    Conflict,
    /// The medium refused; the text says how, for a person.
    Unwritable(String),
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("another index wrote the map in between"),
            Self::Unwritable(reason) => write!(f, "the map could not be stored: {reason}"),
        }
    }
}

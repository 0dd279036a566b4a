//! What the topology actor of a cluster can be told and asked.
//!
//! Changes answer the core's [`Answer`]; queries answer from the committed map; events answer
//! nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::Message;
use bytes::Bytes;
use flare_core::model::{NodeKey, Role, State};
use flare_core::topology::{
    Answer, DownReason, Observation, Origin, Refusal, Seen, Snapshot, StoreFailure,
};
use flare_core::wanted::Wanted;
use flare_core::zones::Zones;
use tokio::sync::watch;

use crate::link::{LinkFacts, MonitorSettings};
use crate::obituary::End;
use crate::whereabouts::Whereabouts;

/// `node add` (flare-protocol.md 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct RegisterNode {
    /// The node that registers.
    pub node: NodeKey,
    /// Who asks.
    pub origin: Origin,
}

/// `node role` (flare-protocol.md 3.3).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct SetNodeRole {
    /// The node whose role is to change.
    pub node: NodeKey,
    /// The wanted role.
    pub role: Role,
    /// The wanted balance; -1 when left out.
    pub balance: i32,
    /// The wanted partition; -1 when left out.
    pub partition: i32,
    /// Who asks.
    pub origin: Origin,
}

/// `node state` (flare-protocol.md 3.4).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct SetNodeState {
    /// The node whose state is to change.
    pub node: NodeKey,
    /// The wanted state.
    pub state: State,
    /// Who asks.
    pub origin: Origin,
}

/// `node remove` (flare-protocol.md 3.6).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct RemoveNode {
    /// The node to forget.
    pub node: NodeKey,
    /// Who asks.
    pub origin: Origin,
}

/// `shutdown`: a node leaves (flare-protocol.md 3.5).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct ShutdownNode {
    /// The node that leaves.
    pub node: NodeKey,
    /// Who asks.
    pub origin: Origin,
}

/// A node is going to be stopped, or stays after all (`node leave`,
/// `POST /api/v1/nodes/{key}/leave`); the answer comes when it may be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Answer")]
pub struct PrepareToLeave {
    /// The node.
    pub node: NodeKey,
    /// Does it leave?
    pub leaves: bool,
    /// Who asks.
    pub origin: Origin,
}

/// The manifest names the nodes that are to leave; others that it named before stay.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ListLeaving {
    /// The nodes; they need not be known yet.
    pub nodes: BTreeSet<NodeKey>,
}

/// Which nodes lie in which zones; replaces what was told before.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct TellZones {
    /// The zones; their nodes need not be known yet.
    pub zones: Zones,
}

/// The connections of a node's clients were ended, as far as it is known which they are.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ClientsEnded {
    /// The node.
    pub node: NodeKey,
}

/// The failover actor holds a node dead. Refused when stale; it is sent again upon the next
/// evidence, so nobody waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct MarkNodeDown {
    /// The node.
    pub node: NodeKey,
    /// What the failover actor saw when it decided.
    pub seen: Seen,
    /// Why.
    pub reason: DownReason,
}

/// The failover actor holds a node alive again that is down in the map.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReturnNode {
    /// The node.
    pub node: NodeKey,
    /// What the failover actor saw when it decided.
    pub seen: Seen,
}

/// A node that is not held dead was silent for longer than its master keeps trying (R5).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NoteLapse {
    /// The node.
    pub node: NodeKey,
    /// What the failover actor saw when it decided.
    pub seen: Seen,
    /// For how long it was silent, in milliseconds.
    pub silent_millis: u64,
}

/// The failover actor began or ceased to doubt a node.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct SuspectNode {
    /// The node.
    pub node: NodeKey,
    /// Did the last attempt to reach it fail?
    pub suspected: bool,
}

/// The relay that was ordered stands, or could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct RelayOpened {
    /// Which relay, by the number of the order.
    pub number: u64,
    /// Its name and port as nodes reach it.
    pub relay: Option<NodeKey>,
}

/// A node has connected to the relay; said of its first connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct RelayReached {
    /// Which relay, by the number of the order.
    pub number: u64,
}

/// The relay ended though nobody told it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct RelayEnded {
    /// Which relay, by the number of the order.
    pub number: u64,
}

/// The circuit breaker opened or closed (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChangeBreaker {
    /// Is the index kept from acting?
    pub open: bool,
    /// Nodes with a role, and dead ones that had one.
    pub assigned: u32,
    /// Those of them that are dead.
    pub dead: u32,
}

/// The wanted shape changed (automatic mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct ChangeWanted {
    /// The new shape.
    pub wanted: Wanted,
}

/// How nodes are watched changed (SIGHUP); reaches every link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChangeMonitoring {
    /// The new settings.
    pub settings: MonitorSettings,
}

/// The connection to a node stands, and the node has answered on it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LinkOpened {
    /// The node.
    pub node: NodeKey,
}

/// A node took the connection of its link, elsewhere than the last time.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeReached {
    /// The node.
    pub node: NodeKey,
    /// Where.
    pub found: Whereabouts,
}

/// The connection to a node ended, or it could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LinkEnded {
    /// The node.
    pub node: NodeKey,
}

/// A node answered `OK` to a push.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct MapAcknowledged {
    /// The node.
    pub node: NodeKey,
    /// The version of the pushed map.
    pub version: u64,
}

/// A node has nothing queued or executing towards a thread type (three readings in a row).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct QueueDrained {
    /// The node.
    pub node: NodeKey,
    /// The thread type that was watched.
    pub towards: u32,
}

/// A node was made to connect to those that it passes writes on to.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeConnected {
    /// The node.
    pub node: NodeKey,
    /// The thread types of the order.
    pub towards: Vec<u32>,
    /// Those of them that it still has no connection for.
    pub missing: Vec<u32>,
}

/// A node has connections to the relay, or did not get them in time.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeIntroduced {
    /// The node.
    pub node: NodeKey,
}

/// Which connections to other nodes a node has, when they are other ones than before.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ConnectionsSeen {
    /// The node.
    pub node: NodeKey,
    /// The thread types of the nodes that it has connections to.
    pub towards: BTreeSet<u32>,
}

/// A node's `stats` and `stats threads` were read.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeObserved {
    /// The node.
    pub node: NodeKey,
    /// What they showed.
    pub observation: Observation,
}

/// An order to empty a node was carried out, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct NodeEmptied {
    /// The node.
    pub node: NodeKey,
    /// The intent that was carried out.
    pub intent: u64,
    /// Did the node answer `OK` to `flush_all`?
    pub ok: bool,
}

/// The store has written a generation, or refused it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct StoreAnswered {
    /// The generation.
    pub generation: u64,
    /// Is it safe?
    pub outcome: Result<(), StoreFailure>,
}

/// The actor of a link is gone; unless it was told to stop, it is made again.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LinkDied {
    /// The node.
    pub node: NodeKey,
    /// The link's thread id, so that a late notice does not touch its successor.
    pub thread: u32,
    /// How it ended.
    pub end: End,
}

/// Asks for the body of `stats nodes` for the committed map; encoded once per version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Bytes")]
pub struct GetStatsNodes;

/// Asks for the committed map, and to be told of every later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "watch::Receiver<Published>")]
pub struct WatchTopology;

/// The committed map as sessions answer from it.
#[derive(Debug, Clone)]
pub struct Published {
    /// The map.
    pub snapshot: Arc<Snapshot>,
    /// The body of `stats nodes`, once somebody has asked for it in this version.
    pub stats_nodes: Option<Bytes>,
}

impl Published {
    /// A map that nobody has asked about yet.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, stats_nodes: None }
    }
}

/// Asks each link what it is doing (`stats threads`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Vec<LinkFacts>")]
pub struct GetLinks;

/// What became of an order to end a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Killed {
    /// It ends.
    Ended,
    /// It is not the caller's to end (R15).
    Refused,
    /// There is none with that id.
    Unknown,
}

/// Ends the connection of the link with this thread id (`kill`); it is made again. Refused in
/// automatic mode: a link that anybody could end at any time would get no answer to its pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Killed")]
pub struct KillLink {
    /// The link's thread id.
    pub thread: u32,
}

/// Asks to finish: answers once no step is in hand, that is, no write is under way and nobody
/// waits for an answer. Later changes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct FinishSteps;

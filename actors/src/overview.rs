//! What the index tells about itself: the questions that admin asks, and the answers.
//!
//! `TopologyActor` answers [`GetOverview`] and [`ForgetNode`], the listener answers
//! [`GetSessions`]. All answers are plain values of our own types; `admin::view` turns them into
//! JSON, `admin::metrics_server` into gauges, `reduction` into what a person must know. Nobody
//! else needs to know who is behind a [`Sources`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};
use flare_core::model::NodeKey;
use flare_core::topology::{Blocked, Event, Facts, HandoverHow, Mode, Refusal, Snapshot};
use tokio::sync::broadcast;

use crate::failover::{GetBreaker, ResetBreaker};
use crate::topology::PrepareToLeave;

/// How long admin waits for any one of these answers before it says that the actor is stuck.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Asks the topology of a cluster for all that it knows; answered from the committed map.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Overview")]
pub struct GetOverview;

/// All that is known of one cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// The cluster's name; also the `cluster` label of its metrics.
    pub cluster: Arc<str>,
    /// Who decides about roles, and the wanted shape in force.
    pub mode: Mode,
    /// The committed map.
    pub snapshot: Arc<Snapshot>,
    /// What is known of each node of that map beside its stored entry.
    pub facts: BTreeMap<NodeKey, Facts>,
    /// What stands in the way of the wanted shape.
    pub blocked: BTreeSet<Blocked>,
    /// Why this index should not be relied on, one sentence each: the last write to the store
    /// failed, or one hangs, or an invariant broke. Empty means ready.
    pub troubles: Vec<String>,
    /// How long the write that the store has in hand has been waited for; zero without one.
    pub store_waits: Duration,
}

/// Asks the listener for its connections.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Sessions")]
pub struct GetSessions {
    /// Tell about at most this many; 0 asks for the number only, which is cheap.
    pub most: usize,
}

/// The connections that are open on the index port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// How many are open.
    pub open: usize,
    /// How many may be; further ones are closed.
    pub limit: usize,
    /// The oldest of them, up to [`GetSessions::most`], by connection number.
    pub shown: Vec<SessionFacts>,
}

/// One connection on the index port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// Its number: the `conn` field of its log lines; never used twice in a process's life.
    pub id: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// The node that it speaks for, once a command named one.
    pub node: Option<NodeKey>,
    /// How long it has been open.
    pub open_for: Duration,
    /// How long nothing has arrived on it.
    pub idle_for: Duration,
    /// Requests read so far, unknown ones included.
    pub requests: u64,
}

/// A person orders to forget a node that is down (`DELETE /api/v1/nodes/{key}`); the topology
/// handles it as `Input::Remove` with `Origin::Admin`.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct ForgetNode {
    /// The node.
    pub node: NodeKey,
}

/// A person swaps the master of a partition with an active slave, without copying
/// (`POST /api/v1/partitions/{partition}/switchover`).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct SwitchMaster {
    /// The partition.
    pub partition: i32,
    /// The new master; `None` lets the index choose.
    pub to: Option<NodeKey>,
    /// How it is done.
    pub how: HandoverHow,
}

/// A person chooses the copy that a partition goes on with, whose master is dead or came back empty
/// (`POST /api/v1/partitions/{partition}/recover`).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), Refusal>")]
pub struct RecoverPartition {
    /// The partition.
    pub partition: i32,
    /// The node that holds the copy; the master itself, when it is to go on empty.
    pub from: NodeKey,
}

/// How long admin waits for the end of a swap, or until a node may be stopped: the deadlines of
/// all steps together (12.5 s), and some.
pub const SWITCH_DEADLINE: Duration = Duration::from_secs(14);

/// Asks to be told of the events of the topology from now on, and for the latest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "EventStream")]
pub struct SubscribeEvents;

/// The answer to [`SubscribeEvents`].
#[derive(Debug)]
pub struct EventStream {
    /// The latest events, oldest first; a bounded number.
    pub recent: Vec<EventRecord>,
    /// The events from then on; a reader that falls behind loses the oldest and is told so.
    pub next: broadcast::Receiver<EventRecord>,
}

/// One event, with when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Grows by one with every event of this process.
    pub number: u64,
    /// Unix milliseconds.
    pub at_unix_millis: u64,
    /// What happened.
    pub event: Arc<Event>,
}

/// Where admin gets its answers.
#[derive(Clone)]
pub struct Sources {
    /// The topology of the cluster.
    pub overview: Recipient<GetOverview>,
    /// The listener.
    pub sessions: Recipient<GetSessions>,
    /// The topology again, for what a person may order.
    pub forget: Recipient<ForgetNode>,
    /// The topology again.
    pub leave: Recipient<PrepareToLeave>,
    /// The topology again.
    pub switch: Recipient<SwitchMaster>,
    /// The topology again.
    pub recover: Recipient<RecoverPartition>,
    /// The failover actor, for its circuit breaker.
    pub breaker: Recipient<GetBreaker>,
    /// The failover actor again: a person may close the breaker.
    pub reset_breaker: Recipient<ResetBreaker>,
    /// The topology again, for its events.
    pub events: Recipient<SubscribeEvents>,
}

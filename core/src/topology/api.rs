//! What goes into the topology and what comes out: inputs, steps, effects, refusals.
//!
//! Everything is plain data. The actor carries out effects in order, after the store has
//! confirmed the generation they wait for; it adds nothing.

use std::fmt;
use std::sync::Arc;

use crate::model::{Incarnation, NodeEntry, NodeKey, Role, State, Timestamp};
use crate::stored::StoredTopology;
use crate::topology::Snapshot;
use crate::wanted::Wanted;

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
    /// The node's `stats` and `stats threads` were read.
    Observed {
        /// The node.
        node: NodeKey,
        /// What they showed.
        observation: Observation,
    },
    /// The end of a [`Effect::Empty`].
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
        /// The generation of [`Step::persist`].
        generation: u64,
    },
    /// The store refused this generation, or it is not known whether it took it.
    StoreFailed {
        /// The generation of [`Step::persist`].
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
        /// How writes are kept from crossing.
        way: HandoverWay,
        /// Who asks.
        origin: Origin,
    },
    /// The relay of [`Effect::OpenRelay`] listens, or could not be opened.
    RelayOpened {
        /// Its name and port as nodes reach it; `None` when it could not be opened.
        relay: Option<NodeKey>,
    },
    /// The relay ended by itself; what it held was not acknowledged.
    RelayEnded,
    /// The node has nothing queued or executing towards the thread type of
    /// [`Effect::WatchQueue`].
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
    /// The moment of [`Effect::WakeAt`] has come; harmless at any other time.
    WakeDue,
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

/// What one input led to: first store, then speak (R4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[must_use = "a step that is not carried out is lost"]
pub struct Step {
    /// To be written; the answer comes back as [`Input::Stored`] or [`Input::StoreFailed`].
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
    /// Ask the node for `stats` and `stats threads`; comes back as [`Input::Observed`].
    Probe {
        /// The node.
        node: NodeKey,
    },
    /// Send `flush_all`, on a connection to this very process; comes back as [`Input::Emptied`].
    Empty {
        /// The node.
        node: NodeKey,
        /// The stored intent.
        intent: u64,
        /// The process that may be emptied; another one is not (R13).
        incarnation: Incarnation,
    },
    /// Open the relay that holds the writes of a handover; comes back as [`Input::RelayOpened`].
    OpenRelay,
    /// Pass what the relay holds, and what comes yet, on to this node.
    ReleaseRelay {
        /// The node that serves the writes.
        to: NodeKey,
    },
    /// End the relay and its connections.
    CloseRelay,
    /// Watch a node's `stats threads` until nothing is queued or executing towards this thread
    /// type, three readings in a row; comes back as [`Input::QueueDrained`].
    WatchQueue {
        /// The node.
        node: NodeKey,
        /// The thread type of the node that it sends to.
        towards: u32,
        /// Give up at this moment, without a word.
        until: Timestamp,
    },
    /// Call back with [`Input::WakeDue`] at this moment; an earlier wish replaces a later one.
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

/// Something that a person may want to know later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// A node's entry changed.
    NodeChanged {
        /// The node.
        node: NodeKey,
        /// Before; `None` for a new node.
        from: Option<NodeEntry>,
        /// After; `None` for a node that was removed.
        to: Option<NodeEntry>,
        /// Why, for a person.
        why: String,
        /// The version that shows it.
        version: u64,
    },
    /// Nodes show a higher version than ours: ours goes above it (R3).
    VersionRaised {
        /// The node that showed it.
        node: NodeKey,
        /// What it showed.
        shown: u64,
        /// Ours from now on.
        version: u64,
    },
    /// Something stands in the way of the wanted shape, and stays until a person or time mends it.
    Blocked(Blocked),
    /// What stood in the way no longer does.
    Unblocked(Blocked),
    /// A step would have broken a rule and was refused; a bug of ours, the old map stays.
    InvariantBroken {
        /// What would have been broken.
        what: String,
    },
    /// A step was refused that nobody waits for.
    OrderRefused {
        /// The order, for a person.
        order: String,
        /// Why not.
        refusal: Refusal,
    },
    /// The store refused a write; everything since the committed map was taken back.
    StoreFailed {
        /// What it said.
        failure: StoreFailure,
    },
    /// The circuit breaker opened or closed.
    BreakerChanged {
        /// Is the index kept from acting?
        open: bool,
        /// Nodes with a role, and dead ones that had one.
        assigned: u32,
        /// Those of them that are dead.
        dead: u32,
    },
    /// A planned swap of a master began, went on, or ended.
    Handover {
        /// The partition.
        partition: i32,
        /// What happened, for a person.
        what: String,
    },
    /// In manual mode: done as flarei does it, though it is not safe (R2, R8).
    Warned {
        /// What is unsafe about it.
        what: String,
    },
    /// A node was emptied before it gets a role (R7).
    NodeEmptied {
        /// The node.
        node: NodeKey,
    },
    /// A report of the node was lost; its `stats` showed what it would have said (R10).
    ReportRecovered {
        /// The node.
        node: NodeKey,
        /// What the evidence was, for a person.
        evidence: String,
    },
}

/// Why the cluster does not get the shape that is wanted (automatic mode).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blocked {
    /// The manifest asks for fewer partitions than hold data.
    PartitionReduction {
        /// The partitions there are.
        have: u32,
        /// The partitions that are wanted.
        wanted: u32,
    },
    /// Growing within the modular hint would scramble the keys (flare-protocol.md 1.8).
    GrowthWithinHint {
        /// The partitions there are.
        have: u32,
        /// The hint.
        hint: u32,
    },
    /// More partitions are wanted than `partition-size` allows (R14).
    PartitionSize {
        /// The partitions that are wanted.
        wanted: u32,
        /// The limit, `partition-size` - 1.
        most: u32,
    },
    /// Too few nodes.
    MissingNodes {
        /// Nodes that are registered and alive.
        have: u32,
        /// Nodes that the shape needs.
        needed: u32,
    },
    /// The partition's master is down and no slave can take over.
    MasterDown {
        /// The partition.
        partition: i32,
    },
    /// The partition's master came back without its data, while another node may hold what is
    /// left of it: it does not go on by itself (R6).
    CameBackEmpty {
        /// The partition.
        partition: i32,
        /// The master.
        node: NodeKey,
    },
    /// So many nodes are dead that the index does not act by itself (R11).
    BreakerOpen,
    /// The node may hold the only copy of some data, so that it is not emptied (R6).
    MayHoldData {
        /// The node.
        node: NodeKey,
    },
    /// The node shows a version too far above ours (R3).
    VersionJump {
        /// The node.
        node: NodeKey,
        /// What it shows.
        shown: u64,
    },
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No such node.
    UnknownNode,
    /// A `node add` of a node that is in the map and not down (manual mode).
    AlreadyRegistered,
    /// A `node add` under the name of a node that is alive: a second node with the same name (R13).
    NameTaken,
    /// The node is down.
    NodeDown,
    /// Only a node that is down can be removed.
    NotDown,
    /// The transition is not allowed from the node's role and state.
    Transition,
    /// The partition is not the next one, not lost, or has no master that is alive.
    Partition,
    /// The balance is negative, or nobody of the partition would be read from.
    Balance,
    /// No slave of the partition can take over without loss, or its master does not serve.
    NoSuccessor,
    /// The circuit breaker is open (R11).
    BreakerOpen,
    /// Another change of roles is under way; it has to end first.
    Busy,
    /// A planned swap could not be completed in time, and was taken back.
    TakenBack(&'static str),
    /// The node is the last one that may hold its partition's data (R6).
    LastCopy,
    /// Not from that sender, in automatic mode (R15).
    NotAllowed,
    /// The node or its partition has changed since the order was decided.
    Stale,
    /// A limit, with its name.
    Limit(&'static str),
    /// The change would break a rule; nothing was changed.
    Invariant(String),
    /// The change could not be stored; nothing was changed.
    Store(StoreFailure),
    /// This index does not decide any more.
    StoodDown,
}

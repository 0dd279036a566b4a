//! Why a change was not made.

use super::StoreFailure;

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
    /// In manual mode the index does nothing by itself: a person swaps masters.
    OnlyAutomatic,
    /// The manifest has the node leave.
    Listed,
    /// The node is noted as leaving, but its partition could not be handed over in time.
    StillMaster,
    /// No slave of the partition can take over without loss, or its master does not serve.
    NoSuccessor,
    /// The partition has a master that serves, or is back with its data.
    NotLost,
    /// The node's copy cannot take over; the text says why.
    NoCopy(&'static str),
    /// The circuit breaker is open (R11).
    BreakerOpen,
    /// Another change of roles is under way; it has to end first.
    Busy,
    /// A planned swap could not be completed in time, and was taken back.
    TakenBack(&'static str),
    /// The node is the last one that may hold its partition's data (R6).
    LastCopy,
    /// The node may hold what is left of a partition that has no master, so it is not forgotten
    /// before that has one (R6).
    MayBeLeft {
        /// The partition.
        partition: i32,
    },
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

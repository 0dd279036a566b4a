//! What a person may want to know: what happened, for the log, the page and the metrics.

use super::{Blocked, Refusal, StoreFailure};
use crate::model::{NodeEntry, NodeKey};
use crate::stored::Lapse;

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
    /// A node announced that it leaves, or that it stays after all.
    Leaving {
        /// The node.
        node: NodeKey,
        /// Does it leave?
        leaves: bool,
    },
    /// A planned swap of a master began, went on, or ended.
    Handover {
        /// The partition.
        partition: i32,
        /// What happened, for a person.
        what: String,
    },
    /// A copy may lack writes from now on; it is made again as soon as that can be done (R5).
    Lapsed {
        /// The node.
        node: NodeKey,
        /// The partition that it copies.
        partition: i32,
        /// What happened.
        lapse: Lapse,
    },
    /// A copy that may lack writes becomes the partition's data, since no other is left (R5).
    LapsedPromoted {
        /// The node.
        node: NodeKey,
        /// The partition.
        partition: i32,
        /// What may be lost: what is known against the copy.
        lapse: Lapse,
    },
    /// The copy that a partition goes on with was chosen, its master being dead or empty (R6).
    CopyChosen {
        /// The node.
        node: NodeKey,
        /// The partition.
        partition: i32,
        /// What is known against its copy; `None` for the master itself, which goes on empty.
        lapse: Option<Lapse>,
        /// Did a person choose it? Else the evidence left no doubt.
        by_person: bool,
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

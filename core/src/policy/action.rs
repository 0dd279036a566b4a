//! One thing that the policy wants done, with its reason; `topology` carries it out.

use std::fmt;

use crate::model::{NodeKey, Role};
use crate::stored::Lapse;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Store the intent to empty a node, then empty it (R7).
    IntendToEmpty {
        /// The node.
        node: NodeKey,
    },
    /// Empty a node for an intent that is stored or will be.
    EmptyAgain {
        /// The node.
        node: NodeKey,
        /// The intent.
        intent: u64,
    },
    /// Give a proxy a role.
    Assign {
        /// The node.
        node: NodeKey,
        /// The role.
        role: Role,
        /// The partition.
        partition: i32,
    },
    /// Make a node that has copied active.
    Activate {
        /// The node.
        node: NodeKey,
        /// What showed it, when the node's own report was lost.
        evidence: Option<String>,
    },
    /// Call a new master ready, though its report was lost.
    CallReady {
        /// The node.
        node: NodeKey,
        /// What showed it.
        evidence: String,
    },
    /// Take the role back from a node whose copy ended in a way that is not known; it gets a role
    /// again, emptied.
    CopyAgain {
        /// The node.
        node: NodeKey,
        /// What showed that it does not copy any more.
        evidence: String,
    },
    /// Let an active slave take over from a master that is down.
    Promote {
        /// The slave.
        node: NodeKey,
        /// The partition.
        partition: i32,
        /// What may be lost with it, when no whole copy is left.
        lapse: Option<Lapse>,
    },
    /// Begin to have a node take over that has no role of the partition any more: it is told that
    /// it is a slave first.
    Recover {
        /// The node.
        node: NodeKey,
        /// The partition.
        partition: i32,
        /// What may be lost with it.
        lapse: Lapse,
    },
    /// Take the role back from a node whose copy lapsed; it gets one again, emptied.
    Renew {
        /// The node.
        node: NodeKey,
        /// What is known against its copy.
        lapse: Lapse,
    },
    /// Swap a master that leaves with an active slave, without copying.
    HandOver {
        /// The master.
        node: NodeKey,
        /// Its partition.
        partition: i32,
    },
    /// Make a surplus slave a proxy.
    Demote {
        /// The slave.
        node: NodeKey,
    },
    /// Set the read balance.
    SetBalance {
        /// The node.
        node: NodeKey,
        /// The balance.
        balance: i32,
    },
}

impl Action {
    /// Why, for the log.
    pub fn why(&self) -> String {
        match self {
            Self::IntendToEmpty { .. } | Self::EmptyAgain { .. } => {
                "a copy starts clean".to_owned()
            }
            Self::Assign { role: Role::Master, .. } => "the partition is wanted".to_owned(),
            Self::Assign { .. } => "the partition lacks a copy".to_owned(),
            Self::Activate { evidence: Some(evidence), .. } | Self::CallReady { evidence, .. } => {
                format!("its report was lost; {evidence}")
            }
            Self::CopyAgain { evidence, .. } => format!("it has to copy again; {evidence}"),
            Self::Activate { evidence: None, .. } => "the new master has its data".to_owned(),
            Self::Promote { lapse: None, .. } => "its master is down".to_owned(),
            Self::Promote { lapse: Some(lapse), .. } => {
                format!("its master is down and no other copy is left; {lapse}")
            }
            Self::Recover { lapse, .. } => {
                format!(
                    "the master came back empty, and this is the best copy that is left; {lapse}"
                )
            }
            Self::Renew { lapse, .. } => format!("it has to copy again; {lapse}"),
            Self::HandOver { .. } => "the master leaves".to_owned(),
            Self::Demote { .. } => "more copies than wanted".to_owned(),
            Self::SetBalance { .. } => "every active copy is read from".to_owned(),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IntendToEmpty { node } => write!(f, "intend to empty {node}"),
            Self::EmptyAgain { node, intent } => write!(f, "empty {node} for intent {intent}"),
            Self::Assign { node, role, partition } => {
                write!(f, "make {node} {role} of partition {partition}")
            }
            Self::Activate { node, .. } => write!(f, "activate {node}"),
            Self::CallReady { node, .. } => write!(f, "call {node} ready"),
            Self::CopyAgain { node, .. } => write!(f, "have {node} copy again"),
            Self::Renew { node, .. } => write!(f, "have {node} copy again, since it lapsed"),
            Self::Recover { node, partition, .. } => {
                write!(f, "recover partition {partition} from {node}")
            }
            Self::Promote { node, partition, .. } => {
                write!(f, "promote {node} to master of partition {partition}")
            }
            Self::HandOver { node, partition } => {
                write!(f, "hand partition {partition} over from {node}")
            }
            Self::Demote { node } => write!(f, "demote {node}"),
            Self::SetBalance { node, balance } => write!(f, "set balance of {node} to {balance}"),
        }
    }
}

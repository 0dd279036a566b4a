//! What no stored map can be: looked for whenever one is read, from our own form or upstream's.
//!
//! Only what would make it dangerous to go on. A map that breaks a rule in a way that can be
//! mended (two masters, a gap) is taken, and `invariant` speaks of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::{FIRST_THREAD_TYPE, NO_PARTITION, NodeEntry, NodeKey, Role};
use crate::protocol::words::name_is_usable;
use crate::stored::StoredTopology;

/// The most nodes that a stored map may have; ten times what the index is measured with.
pub const STORED_NODES_MAX: usize = 10_000;

/// Why a stored map can't be ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Impossible {
    /// More nodes than [`STORED_NODES_MAX`].
    TooManyNodes(usize),
    /// A name that no node can have.
    Name(NodeKey),
    /// Two nodes with one thread type: nodes would send one's traffic to the other
    /// (flare-protocol.md 1.5).
    ThreadTypeShared {
        /// The number.
        thread_type: u32,
        /// One node.
        first: NodeKey,
        /// The other one.
        second: NodeKey,
    },
    /// A thread type that the counter has not reached, so that it would be given out again.
    ThreadTypeNotGiven {
        /// The node.
        node: NodeKey,
        /// Its thread type.
        thread_type: u32,
        /// The next one to be given out.
        next: u32,
    },
    /// A thread type that flared uses for itself.
    ThreadTypeReserved {
        /// The node.
        node: NodeKey,
        /// Its thread type.
        thread_type: u32,
    },
    /// A proxy with a partition, or a master or slave without.
    Partition {
        /// The node.
        node: NodeKey,
        /// Its role.
        role: Role,
        /// Its partition.
        partition: i32,
    },
    /// A negative balance.
    Balance {
        /// The node.
        node: NodeKey,
        /// Its balance.
        balance: i32,
    },
    /// Hash settings with which nodes crash or misroute (flare-protocol.md 1.8).
    Hash(&'static str),
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyNodes(nodes) => {
                write!(f, "it has {nodes} nodes, and at most {STORED_NODES_MAX} are possible")
            }
            Self::Name(node) => {
                let name = node.as_str().escape_debug();
                write!(f, "no node can be called `{name}`")
            }
            Self::ThreadTypeShared { thread_type, first, second } => {
                write!(f, "{first} and {second} share the thread type {thread_type}")
            }
            Self::ThreadTypeNotGiven { node, thread_type, next } => write!(
                f,
                "{node} has the thread type {thread_type}, but the next one to give out is {next}"
            ),
            Self::ThreadTypeReserved { node, thread_type } => write!(
                f,
                "{node} has the thread type {thread_type}, and those below {FIRST_THREAD_TYPE} \
                 are flared's own"
            ),
            Self::Partition { node, role, partition } => {
                write!(f, "{node} is a {role} and has the partition {partition}")
            }
            Self::Balance { node, balance } => write!(f, "{node} has the balance {balance}"),
            Self::Hash(what) => write!(f, "its {what} is 0"),
        }
    }
}

impl std::error::Error for Impossible {}

/// Looks for what can't be; the first thing found.
///
/// # Errors
///
/// With what is impossible about it.
pub fn check(stored: &StoredTopology) -> Result<(), Impossible> {
    let hash = &stored.hash;
    let settings = [
        (hash.partition_size, "partition-size"),
        (hash.modular_hint, "partition-modular-hint"),
        (hash.modular_virtual, "partition-modular-virtual"),
    ];
    if let Some((_, what)) = settings.into_iter().find(|(value, _)| *value == 0) {
        return Err(Impossible::Hash(what));
    }
    if stored.nodes.len() > STORED_NODES_MAX {
        return Err(Impossible::TooManyNodes(stored.nodes.len()));
    }
    let mut owners: BTreeMap<u32, &NodeKey> = BTreeMap::new();
    for (node, known) in &stored.nodes {
        check_entry(node, &known.entry, stored.next_thread_type)?;
        let thread_type = known.entry.thread_type;
        if let Some(first) = owners.insert(thread_type, node) {
            let (first, second) = (first.clone(), node.clone());
            return Err(Impossible::ThreadTypeShared { thread_type, first, second });
        }
    }
    Ok(())
}

/// What can be seen in one entry alone; `next` is the next thread type to be given out.
fn check_entry(node: &NodeKey, entry: &NodeEntry, next: u32) -> Result<(), Impossible> {
    let NodeEntry { role, partition, balance, thread_type, .. } = *entry;
    let fits = match role {
        Role::Proxy => partition == NO_PARTITION,
        Role::Master | Role::Slave => partition >= 0,
    };
    let node = || node.clone();
    if !name_is_usable(node().name()) {
        return Err(Impossible::Name(node()));
    }
    if !fits {
        return Err(Impossible::Partition { node: node(), role, partition });
    }
    if balance < 0 {
        return Err(Impossible::Balance { node: node(), balance });
    }
    if thread_type < FIRST_THREAD_TYPE {
        return Err(Impossible::ThreadTypeReserved { node: node(), thread_type });
    }
    if thread_type >= next {
        return Err(Impossible::ThreadTypeNotGiven { node: node(), thread_type, next });
    }
    Ok(())
}

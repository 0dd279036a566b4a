//! Fewer partitions than hold data: what would be lost, and the safe way instead.
//!
//! The core refuses such a shape (`Blocked::PartitionReduction`); this says to a person what that
//! means, in the same words in the log, in the API and on the page. Nothing is decided here.

use std::fmt;

use flare_core::model::{NodeKey, Role};
use flare_core::topology::Blocked;
use serde::Serialize;

use crate::overview::Overview;

/// The words that one can search a log for.
pub const HEADLINE: &str = "UNSAFE PARTITION REDUCTION DETECTED";

/// The safe way, in order (flare-protocol.md 8): the data moves to a new cluster.
///
/// flared does not move keys between partitions that exist, and places a key by the number of
/// partitions: with fewer, most keys would be looked for where they are not, and those of the
/// dropped partitions would be nowhere.
pub const STEPS: [&str; 5] = [
    "Put spec.partitions back, so that this manifest says what the cluster is. Make a new cluster \
     with fewer partitions: a manifest, an index and nodes of its own.",
    "Wait until every partition of the new cluster has an active master and nothing is blocked \
     there (GET /api/v1/topology of its index).",
    "On every node of this cluster set cluster-replication = true, cluster-replication-mode = \
     duplicate, and as cluster-replication-server-name and -port a master or a proxy of the new \
     one, not a slave; then send the node SIGHUP. Each master copies its partition, and every \
     write from then on.",
    "Wait until `stats threads` of every master shows no thread of type 6 (the copy) and queue 0 \
     on those of type 5, then compare the numbers of items of both clusters: flared does not say \
     when a copy failed.",
    "Set cluster-replication-mode = forward on every node and send SIGHUP, move the clients to \
     the new cluster, and stop this one when none is left. While it forwards, incr and decr lose \
     their amounts: move clients that count before you forward.",
];

/// On Kubernetes there is a resource for it.
pub const ON_KUBERNETES: &str = "On Kubernetes a FlareMigration takes these steps.";

/// One refused reduction, for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reduction {
    /// The partitions there are.
    pub have: u32,
    /// The partitions that are wanted.
    pub wanted: u32,
    /// The partitions that would no longer be.
    pub lost: Vec<LostPartition>,
    /// The safe way.
    pub steps: [&'static str; 5],
    /// Who else can take it.
    pub note: &'static str,
}

/// A partition that would no longer be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LostPartition {
    /// Its number.
    pub partition: u32,
    /// The items on that of its nodes that shows most; `None` when no node was asked yet.
    pub items: Option<u64>,
    /// Its nodes, the master first.
    pub nodes: Vec<NodeKey>,
}

impl Reduction {
    /// The refused reduction of this cluster, if there is one.
    pub fn of(overview: &Overview) -> Option<Self> {
        let (have, wanted) = overview.blocked.iter().find_map(|blocked| match blocked {
            Blocked::PartitionReduction { have, wanted } => Some((*have, *wanted)),
            _ => None,
        })?;
        let lost = (wanted..have).map(|partition| lost(overview, partition)).collect();
        Some(Self { have, wanted, lost, steps: STEPS, note: ON_KUBERNETES })
    }
}

fn lost(overview: &Overview, partition: u32) -> LostPartition {
    let mut nodes: Vec<_> = overview
        .snapshot
        .entries()
        .filter(|(_, entry)| u32::try_from(entry.partition) == Ok(partition))
        .collect();
    nodes.sort_by_key(|(_, entry)| entry.role != Role::Master);
    let items =
        nodes.iter().filter_map(|(node, _)| Some(overview.facts.get(*node)?.observed?.items)).max();
    let nodes = nodes.into_iter().map(|(node, _)| node.clone()).collect();
    LostPartition { partition, items, nodes }
}

impl fmt::Display for Reduction {
    /// One line: what was asked, what would be lost, and the steps.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { have, wanted, .. } = self;
        write!(
            f,
            "{HEADLINE}: the manifest reduces the partitions from {have} to {wanted}; nothing was \
             changed. Would be lost:"
        )?;
        for LostPartition { partition, items, nodes } in &self.lost {
            write!(f, " partition {partition} with ")?;
            match items {
                Some(items) => write!(f, "{items} items")?,
                None => f.write_str("an unknown number of items")?,
            }
            f.write_str(" on")?;
            for node in nodes {
                write!(f, " {node}")?;
            }
            f.write_str(";")?;
        }
        f.write_str(" and most other keys would be looked for on the wrong node. The safe way:")?;
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, " ({}) {step}", index + 1)?;
        }
        write!(f, " {}", self.note)
    }
}

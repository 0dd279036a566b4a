//! What stands between a cluster and its wanted shape, and stays until a person or time mends it.

use crate::model::NodeKey;
use crate::zones::Zone;

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
    /// The partition's master is leaving, and nobody has taken over from it yet.
    LeavingMaster {
        /// The partition.
        partition: i32,
        /// The master.
        node: NodeKey,
    },
    /// The partition's master came back without its data, while another node may hold what is
    /// left of it: it does not go on by itself (R6).
    CameBackEmpty {
        /// The partition.
        partition: i32,
        /// The master.
        node: NodeKey,
        /// The best copy by the evidence, which must not take over by itself; `None` while no
        /// copy is clearly the best. The evidence itself comes and goes, and is no part of this:
        /// [`candidates`](crate::policy::recovery::candidates).
        best: Option<NodeKey>,
    },
    /// All copies of the partition lie in one zone, whose loss takes them all. It stays so until
    /// one of them is made anew while a node of another zone is free: nothing is moved for it.
    OneZone {
        /// The partition.
        partition: i32,
        /// The zone.
        zone: Zone,
    },
    /// So many nodes are dead that the index does not act by itself (R11).
    BreakerOpen,
    /// The node may hold the only copy of some data, so that it is not emptied (R6).
    MayHoldData {
        /// The node.
        node: NodeKey,
    },
    /// The node copies, and no item has come to it for minutes.
    CopyStalled {
        /// The node.
        node: NodeKey,
    },
    /// The node copies as a new partition's master, and its process has failed to do so before: it
    /// may never say that it is done (flare-protocol.md Q9).
    NeedsRestart {
        /// The node.
        node: NodeKey,
    },
    /// The node answers, and has not taken the map in for many seconds.
    MapNotTaken {
        /// The node.
        node: NodeKey,
    },
    /// The node has died again and again, and gets no role for a while.
    Flapping {
        /// The node.
        node: NodeKey,
        /// How often it died, never long after the time before.
        deaths: u32,
    },
    /// The node shows a version too far above ours (R3).
    VersionJump {
        /// The node.
        node: NodeKey,
        /// What it shows.
        shown: u64,
    },
}

impl Blocked {
    /// Is this `old` itself, or what is true now instead, about the same trouble?
    pub(crate) fn replaces(&self, old: &Self) -> bool {
        match (self, old) {
            (
                Self::CameBackEmpty { partition, node, .. },
                Self::CameBackEmpty { partition: old_partition, node: old_node, .. },
            ) => (partition, node) == (old_partition, old_node),
            _ => self == old,
        }
    }
}

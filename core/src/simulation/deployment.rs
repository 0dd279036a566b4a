//! A cluster as it is laid out over zones: how many partitions, copies, nodes, and which is where.

use std::collections::BTreeMap;

use crate::model::{HashSettings, Incarnation, NodeEntry, NodeKey, Role, State};
use crate::policy::assignment::READ_BALANCE;
use crate::stored::{Holding, StoredNode, StoredTopology};

/// The most nodes that are simulated: pairs of losses grow with the square of it.
pub const SIMULATED_NODES_MAX: u32 = 36;

/// The port that every node listens on.
const PORT: i32 = 12121;

/// Letters for zones, and so the most zones there can be.
const ZONES: [&str; 26] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x", "y", "z",
];

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deployment {
    /// Partitions, at least 1.
    pub partitions: u32,
    /// Copies of each, the master included, at least 1.
    pub replicas: u32,
    /// Zones, 1 to 26.
    pub zones: u32,
    /// Nodes: at least one for each copy and each zone, at most [`SIMULATED_NODES_MAX`]. Those
    /// beyond the copies are spares.
    pub nodes: u32,
}

/// Why a deployment cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// One of the numbers is 0.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// There are more copies than nodes.
    #[error("{nodes} nodes are too few for {copies} copies, since a node holds one")]
    TooFewNodes {
        /// The nodes.
        nodes: u32,
        /// Partitions times replicas.
        copies: u64,
    },
    /// A zone would have no node.
    #[error("{nodes} nodes leave one of {zones} zones without a node")]
    EmptyZone {
        /// The nodes.
        nodes: u32,
        /// The zones.
        zones: u32,
    },
    /// More than is simulated.
    #[error("{0} nodes are too many to try every pair of losses; at most {SIMULATED_NODES_MAX}")]
    TooManyNodes(u32),
}

impl Deployment {
    /// As many nodes as copies.
    ///
    /// # Errors
    /// As [`Deployment::check`].
    pub fn without_spares(
        partitions: u32,
        replicas: u32,
        zones: u32,
    ) -> Result<Self, DeploymentError> {
        let deployment =
            Self { partitions, replicas, zones, nodes: partitions.saturating_mul(replicas) };
        deployment.check()?;
        Ok(deployment)
    }

    /// The deployments of up to three partitions, three replicas and three zones, two at least,
    /// that can be: of these eighteen four would leave a zone without a node.
    pub fn usual() -> Vec<Self> {
        let partitions = 1..=3;
        let shapes =
            partitions.flat_map(|partitions| (1..=3).map(move |copies| (partitions, copies)));
        shapes
            .flat_map(|(partitions, replicas)| {
                (2..=3)
                    .filter_map(move |zones| Self::without_spares(partitions, replicas, zones).ok())
            })
            .collect()
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// Says which number is wrong, and why.
    pub fn check(&self) -> Result<(), DeploymentError> {
        let Self { partitions, replicas, zones, nodes } = *self;
        let numbers = [
            ("partitions", partitions),
            ("replicas", replicas),
            ("zones", zones),
            ("nodes", nodes),
        ];
        if let Some((name, _)) = numbers.into_iter().find(|(_, number)| *number == 0) {
            return Err(DeploymentError::Zero(name));
        }
        let copies = u64::from(partitions) * u64::from(replicas);
        if nodes > SIMULATED_NODES_MAX {
            return Err(DeploymentError::TooManyNodes(nodes));
        }
        if u64::from(nodes) < copies {
            return Err(DeploymentError::TooFewNodes { nodes, copies });
        }
        if nodes < zones || zones as usize > ZONES.len() {
            return Err(DeploymentError::EmptyZone { nodes, zones });
        }
        Ok(())
    }

    /// Where everything is. Copies of one partition go to as many zones as there are, masters
    /// too: as a person would lay them out who knows the zones. (Bare nodes have none that the
    /// index could know of: it tells hosts apart, not zones.)
    pub(super) fn seats(&self) -> Vec<Seat> {
        let copies = (0..self.replicas)
            .flat_map(|copy| (0..self.partitions).map(move |partition| (partition, copy)));
        let mut taken = BTreeMap::new();
        let mut sit = |zone: u32, copy: Option<(u32, u32)>| {
            let ordinal: &mut u32 = taken.entry(zone).or_default();
            let letter = ZONES.get(zone as usize).copied().unwrap_or_default();
            let node = NodeKey::new(&format!("{letter}{ordinal}"), PORT);
            *ordinal += 1;
            Seat { node, zone, copy }
        };
        let mut seats: Vec<Seat> =
            copies.map(|(of, copy)| sit((of + copy) % self.zones, Some((of, copy)))).collect();
        for _ in seats.len()..self.nodes as usize {
            let crowd = |zone: &u32| seats.iter().filter(|seat| seat.zone == *zone).count();
            let zone = (0..self.zones).min_by_key(crowd).unwrap_or_default();
            seats.push(sit(zone, None));
        }
        seats.sort_by(|one, other| one.node.cmp(&other.node));
        seats
    }
}

/// The name of a zone.
pub(super) fn zone_name(zone: u32) -> &'static str {
    ZONES.get(zone as usize).copied().unwrap_or("?")
}

/// One node's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) node: NodeKey,
    pub(super) zone: u32,
    /// Its partition and the number of the copy, 0 for the master; `None` for a spare.
    pub(super) copy: Option<(u32, u32)>,
}

/// The map of a cluster that has its shape.
pub(super) fn stored(seats: &[Seat], incarnation: impl Fn(usize) -> Incarnation) -> StoredTopology {
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.version = 1;
    for (at, seat) in seats.iter().enumerate() {
        let thread_type = stored.next_thread_type;
        stored.next_thread_type += 1;
        let mut node = StoredNode::new(NodeEntry::new_proxy(thread_type));
        node.entry.state = State::Active;
        node.incarnation = Some(incarnation(at));
        if let Some((partition, copy)) = seat.copy {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let role = if copy == 0 { Role::Master } else { Role::Slave };
            node.entry.role = role;
            node.entry.partition = partition;
            node.entry.balance = READ_BALANCE;
            node.holds = Holding::Partition(partition);
        }
        stored.nodes.insert(seat.node.clone(), node);
    }
    stored
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fourteen_of_eighteen_shapes_have_a_node_in_every_zone() {
        let usual = Deployment::usual();
        assert_eq!(usual.len(), 14);
        for deployment in usual {
            let zones: BTreeSet<u32> = deployment.seats().iter().map(|seat| seat.zone).collect();
            assert_eq!(zones.len(), deployment.zones as usize, "{deployment:?}");
        }
    }

    #[test]
    fn copies_of_a_partition_are_in_as_many_zones_as_there_are() {
        for deployment in Deployment::usual() {
            for partition in 0..deployment.partitions {
                let seats = deployment.seats();
                let members =
                    seats.iter().filter(|s| s.copy.is_some_and(|(of, _)| of == partition));
                let zones: BTreeSet<u32> = members.map(|seat| seat.zone).collect();
                let most = deployment.replicas.min(deployment.zones) as usize;
                assert_eq!(zones.len(), most, "partition {partition} of {deployment:?}");
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_in_words() {
        let said = |partitions, replicas, zones, nodes| {
            let deployment = Deployment { partitions, replicas, zones, nodes };
            deployment.check().expect_err("it cannot be").to_string()
        };
        assert!(said(0, 1, 2, 2).contains("partitions is 0"));
        assert!(said(2, 2, 2, 3).contains("3 nodes are too few for 4 copies"));
        assert!(said(1, 1, 2, 1).contains("leave one of 2 zones without a node"));
        assert!(said(1, 1, 2, 1_000).contains("at most 36"));
    }
}

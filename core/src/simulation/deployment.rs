//! A cluster over zones: how many partitions, copies and nodes, and which node lies where.

use crate::model::NodeKey;
use crate::wanted::Wanted;
use crate::zones::{Zone, Zones};

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

    /// The nodes, as evenly over the zones as their number allows, in key order.
    pub(super) fn seats(&self) -> Vec<Seat> {
        let seat = |at: u32| {
            let (ordinal, zone) = (at / self.zones, at % self.zones);
            Seat { node: NodeKey::new(&format!("{}{ordinal}", zone_name(zone)), PORT), zone }
        };
        let mut seats: Vec<Seat> = (0..self.nodes).map(seat).collect();
        seats.sort_by(|one, other| one.node.cmp(&other.node));
        seats
    }

    /// The shape that is wanted of it.
    pub(super) fn wanted(&self) -> Wanted {
        let Self { partitions, replicas, .. } = *self;
        Wanted { partitions, replicas, paused: false, promote_lapsed: true }
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
}

/// What a person tells the index of these nodes' zones.
pub(super) fn zones_of(seats: &[Seat]) -> Zones {
    let mut zones = Zones::default();
    for seat in seats {
        // Each node is named once, so that nothing contradicts it.
        let _ = zones.put_node(seat.node.clone(), Zone::new(zone_name(seat.zone)));
    }
    zones
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

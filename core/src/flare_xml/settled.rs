//! The way back to flarei, for a map that it can go on from.

use std::fmt;

use crate::model::NodeKey;
use crate::stored::StoredTopology;

/// Why flarei could not go on from a map: a master is being swapped. Between the steps the relay
/// may stand in it, balances are not what they were, or a partition has no master that is up, and
/// flarei knows of no swap that it would have to end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unsettled {
    /// The partition.
    pub partition: i32,
    /// The old master.
    pub from: NodeKey,
    /// The new one.
    pub to: NodeKey,
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, from, to } = self;
        write!(
            f,
            "the master of partition {partition} is being swapped ({from} hands over to {to}), and \
             flarei cannot go on from a map between two steps: start the index again, which ends \
             the swap by itself within seconds, and export after that"
        )
    }
}

impl std::error::Error for Unsettled {}

/// Writes a `flare.xml` that flarei goes on from.
///
/// # Errors
///
/// While a master is being swapped.
pub fn encode_settled(stored: &StoredTopology) -> Result<Vec<u8>, Unsettled> {
    match &stored.handover {
        Some(handover) => Err(Unsettled {
            partition: handover.partition,
            from: handover.from.clone(),
            to: handover.to.clone(),
        }),
        None => Ok(super::encode(stored)),
    }
}

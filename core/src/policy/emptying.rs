//! May a node be emptied? R7 wants it before a role, R6 forbids it for a last copy.

use crate::model::{NodeKey, Role, State};
use crate::policy::assignment::View;
use crate::policy::shape::{Partition, Shape};
use crate::stored::Holding;
use crate::topology::Facts;

/// Why a node is not emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotEmptied {
    /// What it holds is not known yet; it has to be asked first.
    Unknown,
    /// It may hold the only copy of something.
    MayHoldData,
}

/// R6: the last copy is sacred, and "unknown" is not "nothing".
///
/// A node without items has nothing to lose; only what it showed as a proxy that copies no more
/// counts. Any other may be emptied only while what it holds is held elsewhere: the keys of its
/// former partition by a master that is active and answers, those that it copied for a partition
/// that never came to be by the masters of all. (A master that comes back without its data is
/// active again only when no node holds any of it, or a person said so: `policy::recovery`.) A
/// node that came with items of its own is left to a person: the index may have lost its memory,
/// and this may be all that is left of a cluster.
///
/// # Errors
/// Says whether the node is to be asked first or kept as it is.
pub fn may_empty(view: &View<'_>, shape: &Shape, node: &NodeKey) -> Result<(), NotEmptied> {
    let stored = view.stored.nodes.get(node).ok_or(NotEmptied::Unknown)?;
    if stored.entry.role != Role::Proxy || stored.entry.state != State::Active {
        return Err(NotEmptied::MayHoldData);
    }
    let observed = view.facts(node).and_then(Facts::observed_in_role);
    let observed = observed.filter(|observed| !observed.copying).ok_or(NotEmptied::Unknown)?;
    if observed.items == 0 {
        return Ok(());
    }
    let kept_by_master = |partition: &Partition| {
        let facts = partition.active_master().and_then(|master| view.facts(master));
        facts.is_some_and(Facts::answers)
    };
    let safe = match stored.holds {
        Holding::Partition(number) => shape.partitions.get(&number).is_some_and(kept_by_master),
        Holding::Spare => shape.counted().all(|(_, partition)| kept_by_master(partition)),
        Holding::Unknown => false,
    };
    if safe { Ok(()) } else { Err(NotEmptied::MayHoldData) }
}

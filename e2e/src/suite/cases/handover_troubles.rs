//! What happens at the steps of a planned swap, and what must come of it: the tables of
//! `handover_steps`.

use Party::{New, Old, Third};
use Step::{Holding, Introducing, Releasing, Switching};

/// The steps, in order, each a stored map (flare-protocol.md 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// All but the old master know the relay as a slave, and connect to it. Parks only.
    Introducing,
    /// All but the old master know that it is none.
    Holding,
    /// The old master is told.
    Switching,
    /// The new master serves; all are told.
    Releasing,
}

/// One of the nodes that a swap is about, or the one that is about nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Old,
    New,
    Third,
}

/// What happens at a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Strike {
    /// The index is killed, and started again.
    Index,
    /// A node is killed.
    Kill(Party),
    /// These hang until the cluster has got over it. All others go on.
    Hang(&'static [Party]),
}

impl Strike {
    /// Does it end this party, or have it hang?
    pub(super) fn hits(self, party: Party) -> bool {
        match self {
            Self::Index => false,
            Self::Kill(hit) => hit == party,
            Self::Hang(hit) => hit.contains(&party),
        }
    }
}

/// What happens at a step, and what comes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trouble {
    pub(super) at: Step,
    pub(super) strike: Strike,
    /// The master in the end, while those that hang still do.
    pub(super) master: Party,
    /// Whether the order is answered with success; none if it cannot be answered, or either way.
    pub(super) done: Option<bool>,
}

const fn at(at: Step, strike: Strike, master: Party, done: Option<bool>) -> Trouble {
    Trouble { at, strike, master, done }
}

/// Held writes go back to an old master that was never told; a switch that it may know of is
/// completed.
pub(super) const INDEX_DIES: &[Trouble] = &[
    at(Introducing, Strike::Index, Old, None),
    at(Holding, Strike::Index, Old, None),
    at(Switching, Strike::Index, New, None),
    at(Releasing, Strike::Index, New, None),
];

pub(super) const OLD_DIES: &[Trouble] = &[
    at(Introducing, Strike::Kill(Old), New, Some(true)),
    at(Holding, Strike::Kill(Old), New, Some(true)),
    at(Switching, Strike::Kill(Old), New, Some(true)),
    at(Releasing, Strike::Kill(Old), New, Some(true)),
];

/// It is found dead, as ever; what was held meanwhile is not lost. The first swap is taken back
/// for the third node's sake, or completed by the death, whichever comes first.
pub(super) const OLD_HANGS: &[Trouble] = &[
    at(Introducing, Strike::Hang(&[Old]), New, None),
    at(Holding, Strike::Hang(&[Old, Third]), New, None),
    at(Switching, Strike::Hang(&[Old]), New, Some(true)),
    at(Releasing, Strike::Hang(&[Old]), New, Some(true)),
];

/// Not at the last step: there it is a master that dies, which is no matter of the swap any more.
pub(super) const NEW_DIES: &[Trouble] = &[
    at(Introducing, Strike::Kill(New), Old, Some(false)),
    at(Holding, Strike::Kill(New), Old, Some(false)),
    at(Switching, Strike::Kill(New), Old, Some(false)),
];

/// Not at the last step, as above.
pub(super) const NEW_HANGS: &[Trouble] = &[
    at(Introducing, Strike::Hang(&[New]), Old, Some(false)),
    at(Holding, Strike::Hang(&[New]), Old, Some(false)),
    at(Switching, Strike::Hang(&[New]), Old, Some(false)),
];

/// The others do not go on without a node that might send to the old master still; at the end
/// nobody waits for it.
pub(super) const THIRD_HANGS: &[Trouble] = &[
    at(Introducing, Strike::Hang(&[Third]), Old, Some(false)),
    at(Holding, Strike::Hang(&[Third]), Old, Some(false)),
    at(Releasing, Strike::Hang(&[Third]), New, Some(true)),
];

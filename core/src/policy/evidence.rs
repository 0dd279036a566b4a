//! What a node's `stats` and `stats threads` prove about its copy, when its report was lost (R10).
//!
//! flared reports once and never again (flare-protocol.md 6.3). A reconstruction thread (type 3)
//! lives until its report was delivered or given up, so a node that knows its role and shows no
//! such thread, twice in a row, has ended its copy, one way or the other. Where its items prove
//! that the copy is complete the transition goes on; where they don't, the copy is made again from
//! the start: that costs time, and never a key.

use crate::model::{NodeKey, Role, State};
use crate::policy::assignment::View;

/// Observations in a row without a copying thread that mean "it has ended"; two, since the first
/// may have been under way while the node took its role in.
pub const QUIET_OBSERVATIONS: u32 = 2;

/// What is known about a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node said that it has its data (a master in state ready).
    Ready,
    /// Nothing to decide: the node has not taken its role in, or is not reachable.
    Copying,
    /// The node and its sources have to be looked at.
    Look,
    /// The copy is complete; the text is the evidence.
    Complete(String),
    /// The copy ended, and nothing proves that it is complete; the text is the evidence.
    Unproven(String),
}

/// Judges the copy of a preparing node from `sources`.
pub fn of(view: &View<'_>, node: &NodeKey, sources: &[NodeKey]) -> Verdict {
    let Some(entry) = view.stored.nodes.get(node).map(|stored| stored.entry) else {
        return Verdict::Copying;
    };
    if entry.role == Role::Master && entry.state == State::Ready {
        return Verdict::Ready;
    }
    let Some(facts) = view.facts(node).filter(|facts| facts.linked && facts.knows_its_role())
    else {
        return Verdict::Copying;
    };
    if facts.watch.is_stalled(view.now) {
        let items = view.items(node).unwrap_or_default();
        return Verdict::Unproven(format!("it copies, stays at {items} items, and does not end"));
    }
    if facts.quiet < QUIET_OBSERVATIONS {
        return Verdict::Look;
    }
    // What a source showed before the copy ended may have been long ago, when it held less.
    let since = facts.quiet_since.unwrap_or(view.now);
    let held: Option<Vec<u64>> =
        sources.iter().map(|source| view.items_since(source, since)).collect();
    let (Some(items), Some(held)) = (view.items(node), held) else { return Verdict::Look };
    let complete = match entry.role {
        // The one source's items are the partition's, unless it keeps keys of former partitions.
        Role::Slave => held == [items],
        // How many of the sources' keys belong to the new partition is not known, except when
        // there are none at all.
        Role::Master | Role::Proxy => held.iter().all(|items| *items == 0),
    };
    let seen = format!("it does not copy any more and holds {items} items, its sources {held:?}");
    if complete { Verdict::Complete(seen) } else { Verdict::Unproven(seen) }
}

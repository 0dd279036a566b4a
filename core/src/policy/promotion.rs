//! Who takes over from a master that is dead or leaves (R5).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Incarnation, NodeKey, State, Timestamp};
use crate::policy::apart::{self, Apart};
use crate::policy::assignment::View;
use crate::stored::{Lapse, StoredNode, StoredTopology};
use crate::topology::{Facts, other_slaves};
use crate::zones::Zone;

/// How long a dead master may take to come back with its data before a copy that lapsed takes its
/// place for good, in milliseconds: a supervisor or a kubelet has started a process again well
/// within it, and that one lacks nothing.
pub const LAPSED_WAIT_MILLIS: u64 = 30_000;

/// The slave that takes over `partition` from `dead` without a loss; of several the one that
/// [`Ranking`] puts first. `None` leaves the role with the dead master (R2).
pub fn successor(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    dead: &NodeKey,
) -> Option<NodeKey> {
    let mut eligible = stored
        .nodes
        .iter()
        .filter(|(key, _)| is_eligible(stored, facts, partition, key))
        .peekable();
    // Mostly there is none or one, and nothing to rank.
    eligible.peek()?;
    let ranking = Ranking::of(stored, facts, dead);
    eligible.min_by_key(|(key, node)| ranking.preference(key, node)).map(|(key, _)| key.clone())
}

/// May this node take over the partition without a loss? An active slave without a lapse that
/// answers, is not doubted, and is the process that it was when it became active.
pub fn is_eligible(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    key: &NodeKey,
) -> bool {
    let whole = stored.nodes.get(key).is_some_and(|node| node.lapse.is_none());
    whole && could_serve(stored, facts, partition, key)
}

/// What a copy that lapsed can do for a partition whose master is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastResort {
    /// There is none, or it must not be used.
    Nobody,
    /// It takes over, unless something better shows itself before this moment has come.
    At(Timestamp),
    /// It takes over.
    Now(NodeKey, Lapse),
}

/// The copy that is left when no other is: an active slave that lapsed. It takes over only when no
/// slave without a lapse is in the map, even a silent one (that one is either heard again or
/// marked down), and when the dead master had time to come back (R5).
pub fn last_resort(view: &View<'_>, partition: i32, dead: &NodeKey) -> LastResort {
    let slaves = || {
        view.stored.nodes.iter().filter(|(_, node)| {
            node.entry.is_slave_of(partition) && node.entry.state == State::Active
        })
    };
    let is_there = slaves().next().is_some();
    let none_is_whole = slaves().all(|(_, node)| node.lapse.is_some());
    if !view.wanted.promote_lapsed || !is_there || !none_is_whole {
        return LastResort::Nobody;
    }
    // The one that was whole for longest lacks least; then as for any other.
    let ranking = Ranking::of(view.stored, view.facts, dead);
    let best = slaves()
        .filter(|(key, _)| could_serve(view.stored, view.facts, partition, key))
        .filter_map(|(key, node)| Some((key, node, node.lapse?)))
        .min_by_key(|(key, node, lapse)| {
            (lapse.cause, Reverse(lapse.version), ranking.preference(key, node))
        });
    let Some((key, _, lapse)) = best else { return LastResort::Nobody };
    let since = view.facts(dead).map(|facts| facts.down_since).unwrap_or_default();
    let due = since.plus_millis(LAPSED_WAIT_MILLIS);
    match view.now >= due {
        true => LastResort::Now(key.clone(), lapse),
        false => LastResort::At(due),
    }
}

/// Which of several nodes that may take over does it. Whatever makes a node preferable has its
/// place here, and nowhere else:
///
/// 1. where it lies, see [`Danger`]: what killed the master may be about to take its whole zone;
/// 2. another host than the dead master's;
/// 3. connections to the other slaves: its first writes reach them;
/// 4. the largest balance: the node that is read from most;
/// 5. the order of keys.
struct Ranking<'a> {
    stored: &'a StoredTopology,
    facts: &'a BTreeMap<NodeKey, Facts>,
    dead: &'a NodeKey,
    ill: BTreeSet<&'a Zone>,
}

/// How likely a node is to follow a dead master (R5, "another zone's healthy node").
///
/// Who may take over is well itself, so "healthy" is said of its zone: a zone in which other nodes
/// are down or doubted now may be the next to go. Even so it is better than the dead master's own,
/// in which somebody is dead for sure. What is not known stands between the two: it may be either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Danger {
    /// It lies in another zone, in which nobody is dead or doubted.
    AnotherZone,
    /// It lies in another zone, in which somebody is.
    AnotherIllZone,
    /// Its zone, or the dead master's, is not known.
    Unknown,
    /// It lies in the dead master's zone, or on its host.
    SameZone,
}

impl<'a> Ranking<'a> {
    fn of(
        stored: &'a StoredTopology,
        facts: &'a BTreeMap<NodeKey, Facts>,
        dead: &'a NodeKey,
    ) -> Self {
        Self { stored, facts, dead, ill: apart::ill_zones(stored, facts) }
    }

    /// The least comes first.
    fn preference<'k>(&self, key: &'k NodeKey, node: &StoredNode) -> impl Ord + use<'k> {
        let same_host = key.name() == self.dead.name();
        let cold = !self.is_connected(key, node.entry.partition);
        (self.danger(key), same_host, cold, Reverse(node.entry.balance), key)
    }

    /// Is it known to have its connections to the slaves that it would pass writes on to?
    fn is_connected(&self, key: &NodeKey, partition: i32) -> bool {
        let has = self.facts.get(key).map(|facts| &facts.shows_connected);
        let mut others = other_slaves(self.stored, partition, key);
        has.is_some_and(|has| others.all(|towards| has.contains(&towards)))
    }

    fn danger(&self, key: &NodeKey) -> Danger {
        let ill = apart::zone(self.facts, key).is_some_and(|zone| self.ill.contains(zone));
        match apart::apart(self.facts, key, self.dead) {
            Apart::Another if ill => Danger::AnotherIllZone,
            Apart::Another => Danger::AnotherZone,
            Apart::Unknown => Danger::Unknown,
            Apart::Same => Danger::SameZone,
        }
    }
}

/// An active slave that answers, is not doubted, and is still the process that it was.
fn could_serve(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    key: &NodeKey,
) -> bool {
    let Some(node) = stored.nodes.get(key) else { return false };
    node.entry.is_slave_of(partition)
        && node.entry.state == State::Active
        && node.leaving.is_none()
        && facts.get(key).is_some_and(|facts| {
            facts.answers() && !facts.suspected && is_same_process(node.incarnation, facts)
        })
}

fn is_same_process(stored: Option<Incarnation>, facts: &Facts) -> bool {
    match (stored, facts.incarnation()) {
        (Some(stored), Some(seen)) => stored.is_same(&seen),
        _ => true,
    }
}

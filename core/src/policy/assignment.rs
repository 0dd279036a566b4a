//! From the wanted shape to the next action (automatic mode): one pure function, [`next`].
//!
//! Level-triggered (R10): it looks at the map and the facts as they are, however they came to be,
//! and names one action at a time, or none. In this order: finish what prepares, give a partition
//! a master again, see that every copy is read from, then (unless paused) missing copies, the next
//! partition, surplus copies, copies that lapsed.
//!
//! A flared serves one `dump` at a time and refuses a second (`database busy`, flare-protocol.md
//! 4.7), which the copying node then reports as a failed copy. So each master is the source of at
//! most one copy at any time, and a new master, which copies from all of them, has them for
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, Role, Timestamp};
pub use crate::policy::action::Action;
use crate::policy::apart::{self, Crowd};
use crate::policy::choice::Room;
use crate::policy::evidence::{self, Verdict};
use crate::policy::promotion;
use crate::policy::recovery;
use crate::policy::shape::{Partition, Shape};
use crate::policy::watchdog;
use crate::stored::{Holding, Lapse, StoredTopology};
use crate::topology::{Blocked, Facts};
use crate::wanted::Wanted;

/// The read balance of every active copy: reads are spread evenly over a partition's copies. A
/// copy that has another positive balance (an imported map) keeps it.
pub const READ_BALANCE: i32 = 1;

/// What the policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The map with all accepted changes.
    pub stored: &'a StoredTopology,
    /// What is known of the nodes.
    pub facts: &'a BTreeMap<NodeKey, Facts>,
    /// The wanted shape.
    pub wanted: Wanted,
    /// The time.
    pub now: Timestamp,
}

impl<'a> View<'a> {
    /// What is known of one node.
    pub fn facts(&self, node: &NodeKey) -> Option<&'a Facts> {
        self.facts.get(node)
    }

    /// The number of items that a node showed last on its present connection; `None` when it is
    /// not known.
    pub fn items(&self, node: &NodeKey) -> Option<u64> {
        self.facts(node).and_then(|facts| facts.observed).map(|observed| observed.items)
    }

    /// The same, when it showed them at `moment` or later.
    pub fn items_since(&self, node: &NodeKey, moment: Timestamp) -> Option<u64> {
        let later = self.facts(node)?.observed_at.is_some_and(|at| at >= moment);
        self.items(node).filter(|_| later)
    }

    /// May somebody still have something on its way to the node, for a role that it lost?
    pub(super) fn may_be_owed(&self, node: &NodeKey) -> bool {
        let stored = self.stored.nodes.get(node);
        let had_role = stored.is_some_and(|stored| stored.holds != Holding::Unknown);
        had_role && !self.facts(node).is_some_and(|facts| facts.drained)
    }

    /// Does the node answer?
    pub(super) fn answers(&self, node: &NodeKey) -> bool {
        self.facts(node).is_some_and(Facts::answers)
    }
}

/// The next action, and what was seen on the way to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The next action; `None` when nothing can be done at this moment.
    pub action: Option<Action>,
    /// What stands in the way of the wanted shape. Complete only when there is no action.
    pub blocked: BTreeSet<Blocked>,
    /// Is the wanted shape reached, so that nothing is to do until something changes?
    pub settled: bool,
    /// When to look again, though nothing else happens.
    pub look_at: Option<Timestamp>,
    /// Nodes that are to be asked for their `stats`, since a decision waits for it.
    pub probes: BTreeSet<NodeKey>,
    /// Nodes that can be used when nobody has anything on its way to them any more.
    pub drains: BTreeSet<NodeKey>,
}

/// Decides what to do next.
pub fn next(view: &View<'_>) -> Plan {
    let shape = Shape::of(view.stored);
    let mut planner =
        Planner { view, shape: &shape, claimed: BTreeSet::new(), plan: Plan::default() };
    planner.note_blocked();
    watchdog::note(view, &mut planner.plan.blocked);
    if view.stored.breaker_open {
        planner.plan.blocked.insert(Blocked::BreakerOpen);
        return planner.plan;
    }
    planner.plan.action = planner
        .finish_preparing()
        .or_else(|| planner.replace_dead_master())
        .or_else(|| planner.relieve_leaving_master())
        .or_else(|| planner.read_balance());
    if planner.plan.action.is_none() && !view.wanted.paused {
        planner.plan.action =
            planner.fill().or_else(|| planner.drop_surplus()).or_else(|| planner.renew_lapsed());
    }
    planner.plan.settled = planner.is_settled();
    planner.plan
}

pub(super) struct Planner<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) shape: &'a Shape,
    /// Nodes that are on their way to a role.
    pub(super) claimed: BTreeSet<NodeKey>,
    pub(super) plan: Plan,
}

impl<'a> Planner<'a> {
    fn note_blocked(&mut self) {
        let wanted = self.view.wanted;
        let have = u32::try_from(self.shape.partitions.len()).unwrap_or(u32::MAX);
        if wanted.partitions < have {
            let wanted = wanted.partitions;
            self.plan.blocked.insert(Blocked::PartitionReduction { have, wanted });
        }
        let most = self.view.stored.hash.partition_size.saturating_sub(1);
        if wanted.partitions > most {
            let wanted = wanted.partitions;
            self.plan.blocked.insert(Blocked::PartitionSize { wanted, most });
        }
        for (partition, known) in self.shape.counted() {
            let Some(master) = known.preserved_master() else { continue };
            self.plan.blocked.insert(Blocked::MasterDown { partition });
            let (stored, facts) = (self.view.stored, self.view.facts);
            let candidates = recovery::candidates(stored, facts, partition, master);
            let is_chosen = stored.recoveries.contains_key(&partition);
            // Also while its connection is away: it is the same trouble.
            let known = self.view.facts(master).is_some_and(Facts::is_known_empty);
            let is_empty = known || self.came_back_empty(master);
            if is_empty && !candidates.is_empty() && !is_chosen {
                let node = master.clone();
                let best = recovery::best(&candidates).map(|best| best.node.clone());
                self.plan.blocked.insert(Blocked::CameBackEmpty { partition, node, best });
            }
        }
        self.plan.blocked.extend(apart::in_one_zone(self.shape, self.view.facts));
        for (partition, known) in self.shape.counted() {
            if let Some(master) = known.leaving_master() {
                let node = master.clone();
                self.plan.blocked.insert(Blocked::LeavingMaster { partition, node });
            }
        }
        let of_partitions = self.shape.partitions.values().map(|partition| {
            let preserved = partition.preserved_master();
            let staying = preserved.filter(|master| !partition.leaving.contains(*master));
            partition.copies() - usize::from(staying.is_some())
        });
        let living = of_partitions.sum::<usize>() + self.shape.free.len();
        let have = u32::try_from(living).unwrap_or(u32::MAX);
        let needed = wanted.partitions.saturating_mul(wanted.replicas);
        if have < needed {
            self.plan.blocked.insert(Blocked::MissingNodes { have, needed });
        }
    }

    fn is_settled(&self) -> bool {
        let wanted = self.view.wanted;
        let copies = usize::try_from(wanted.replicas.max(1)).unwrap_or(usize::MAX);
        let whole = |partition: &Partition| {
            partition.active_master().is_some()
                && partition.preparing_slaves.is_empty()
                && partition.leaving_master().is_none()
                && partition.copies() == copies
                && partition.active_slaves.iter().all(|slave| self.lapse(slave).is_none())
        };
        self.plan.action.is_none()
            && self.plan.probes.is_empty()
            && self.shape.partitions.len() >= wanted.partitions as usize
            && self.shape.partitions.values().all(whole)
    }

    /// A new master that has its data is activated; a node whose report was lost is known by its
    /// `stats` (R10).
    fn finish_preparing(&mut self) -> Option<Action> {
        for (number, partition) in &self.shape.partitions {
            let preparing = partition.preparing_master().into_iter();
            for node in preparing.chain(&partition.preparing_slaves) {
                if let Some(lapse) = self.lapse(node) {
                    return Some(Action::Renew { node: node.clone(), lapse });
                }
                let Some(sources) = self.sources_of(*number, partition, node) else {
                    let evidence = "a partition that it copies from has no master".to_owned();
                    return Some(Action::CopyAgain { node: node.clone(), evidence });
                };
                match evidence::of(self.view, node, &sources) {
                    // Dead since it said so, or restarted: what was written meanwhile it lacks.
                    Verdict::Ready if !self.view.answers(node) => {}
                    Verdict::Ready if self.is_owed_to_lost_nodes() => {}
                    Verdict::Ready => {
                        return Some(Action::Activate { node: node.clone(), evidence: None });
                    }
                    Verdict::Copying => {}
                    Verdict::Look => {
                        self.plan.probes.insert(node.clone());
                        self.plan.probes.extend(sources);
                    }
                    Verdict::Complete(evidence) if partition.preparing_master() == Some(node) => {
                        return Some(Action::CallReady { node: node.clone(), evidence });
                    }
                    Verdict::Complete(evidence) => {
                        let evidence = Some(evidence);
                        return Some(Action::Activate { node: node.clone(), evidence });
                    }
                    Verdict::Unproven(evidence) => {
                        return Some(Action::CopyAgain { node: node.clone(), evidence });
                    }
                }
            }
        }
        None
    }

    /// May somebody still have something on its way to a node that lost its role? When keys change
    /// their owner, it must not: such a node, back in time, sends it on to the new one, which does
    /// not know the versions that keys had when they were deleted on the old one, and so takes an
    /// old deletion for a new one (flare-protocol.md 4.5; seen on real nodes in one of four
    /// growths in which the first new master died: acknowledged writes were gone).
    fn is_owed_to_lost_nodes(&mut self) -> bool {
        let lost = self
            .view
            .stored
            .nodes
            .iter()
            .filter(|(key, node)| node.entry.role == Role::Proxy && self.view.may_be_owed(key));
        let lost: Vec<NodeKey> = lost.map(|(key, _)| key.clone()).collect();
        let any = !lost.is_empty();
        self.plan.drains.extend(lost);
        any
    }

    /// The masters that a preparing node copies from (flare-protocol.md 6.2); `None` when a new
    /// partition's master can't copy from all others.
    fn sources_of(
        &self,
        number: i32,
        partition: &Partition,
        node: &NodeKey,
    ) -> Option<Vec<NodeKey>> {
        if partition.preparing_master() == Some(node) {
            let others = self.shape.counted().filter(|(other, _)| *other != number);
            return others.map(|(_, other)| other.active_master().cloned()).collect();
        }
        Some(partition.master.iter().map(|(master, _)| master.clone()).collect())
    }

    /// What is known against a node's copy.
    pub(super) fn lapse(&self, node: &NodeKey) -> Option<Lapse> {
        self.view.stored.nodes.get(node).and_then(|stored| stored.lapse)
    }

    /// A master that leaves is swapped with a slave, while it still serves.
    fn relieve_leaving_master(&mut self) -> Option<Action> {
        self.shape.counted().find_map(|(partition, known)| {
            let node = known.leaving_master()?.clone();
            let waits = self.view.facts(&node)?.retry_at.is_some_and(|at| self.view.now < at);
            let (stored, facts) = (self.view.stored, self.view.facts);
            let next = promotion::successor(stored, facts, partition, &node);
            (!waits && next.is_some()).then_some(Action::HandOver { node, partition })
        })
    }

    /// Missing masters and copies. An empty cluster gets its masters first; one with keys in it
    /// gets its copies back before it grows.
    fn fill(&mut self) -> Option<Action> {
        let empty = self.shape.counted().all(|(_, partition)| {
            let facts = partition.active_master().and_then(|master| self.view.facts(master));
            facts.and_then(Facts::observed_in_role).is_some_and(|observed| observed.items == 0)
        });
        if empty {
            self.grow(empty).or_else(|| self.add_copy())
        } else {
            self.add_copy().or_else(|| self.grow(empty))
        }
    }

    /// The next partition, when all that there are can give their keys to it.
    fn grow(&mut self, empty: bool) -> Option<Action> {
        let hash = &self.view.stored.hash;
        let have = u32::try_from(self.shape.counted().count()).unwrap_or(u32::MAX);
        let most = hash.partition_size.saturating_sub(1);
        if self.shape.preparing().is_some() || have >= self.view.wanted.partitions.min(most) {
            return None;
        }
        // A partition without a serving master could not give up its keys, and flared would copy
        // from the others only; a source that is busy would refuse.
        let sources_free = self.shape.counted().all(|(_, partition)| {
            let answers = |master| self.view.answers(master);
            partition.active_master().is_some_and(answers) && partition.preparing_slaves.is_empty()
        });
        if !sources_free {
            return None;
        }
        if have > 0 && have < hash.modular_hint && !empty {
            let hint = hash.modular_hint;
            self.plan.blocked.insert(Blocked::GrowthWithinHint { have, hint });
            return None;
        }
        let partition = i32::try_from(have).unwrap_or(i32::MAX);
        let node = self.choose(Role::Master, &Room::default())?;
        self.give(node, Role::Master, partition)
    }

    /// The next copy of a partition that lacks one; one copy per source at a time.
    fn add_copy(&mut self) -> Option<Action> {
        if self.shape.preparing().is_some() {
            return None;
        }
        let wanted = usize::try_from(self.view.wanted.replicas).unwrap_or(usize::MAX);
        let (shape, facts) = (self.shape, self.view.facts);
        let wanting = || shape.counted().filter(|(_, partition)| partition.copies() < wanted);
        let mut lacking: Vec<(usize, i32, &Partition)> = wanting()
            .filter(|(_, partition)| {
                let answers = |master| self.view.answers(master);
                partition.active_master().is_some_and(answers)
                    && partition.preparing_slaves.is_empty()
            })
            .map(|(number, partition)| (partition.copies(), number, partition))
            .collect();
        lacking.sort_by_key(|(copies, number, _)| (*copies, *number));
        // A master that was emptied and has just got its role shows nothing in it yet. It is enough
        // here: what hangs on it is a wait.
        let shows_nothing = |master| self.view.items(master) == Some(0);
        let early =
            shape.counted().all(|(_, known)| known.active_master().is_some_and(shows_nothing));
        let mut others = Crowd::default();
        wanting().for_each(|(_, partition)| others.add(facts, partition.members()));
        for (copies, number, partition) in lacking {
            others.take(facts, partition.members());
            let own = partition.members().collect();
            let room = Room { own, others: Some(&others), early };
            let node = self.choose(Role::Slave, &room);
            let action = node.and_then(|node| self.give(node, Role::Slave, number));
            if action.is_some() {
                return action;
            }
            if copies + 1 < wanted {
                others.add(facts, partition.members().chain(node));
            }
        }
        None
    }
}

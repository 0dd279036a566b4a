//! A partition whose master is dead: who takes over, and which copy is the best that is left.
//!
//! A master that comes back empty while another node holds some of its data does not go on, and
//! nothing is promoted blindly (R6). Where the evidence leaves no doubt the best copy is taken:
//! every node that may hold one was seen, and one of them lacks nothing that another has. Else a
//! person is asked. A node that has no role at present is first told that it is a slave of the
//! dead master, then that it is the master: a flared that went straight from proxy to master would
//! copy from the masters of all other partitions, and bring back what was deleted since those
//! split (flare-protocol.md 5.3, 6.2).

use std::collections::BTreeMap;

use crate::model::{NodeKey, Role, State};
use crate::policy::action::Action;
use crate::policy::assignment::{Planner, View};
use crate::policy::promotion::{self, LastResort};
use crate::stored::{Holding, Lapse, LapseCause, StoredNode, StoredTopology};
use crate::topology::Facts;

/// A node that may hold what is left of a partition whose master is dead, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// The node.
    pub node: NodeKey,
    /// What is known against its copy; `None` for a whole one.
    pub lapse: Option<Lapse>,
    /// Its `curr_items`; `None` while it does not answer, or may be about to be emptied.
    pub items: Option<u64>,
}

impl Candidate {
    /// Was its copy ever complete?
    pub fn was_whole(&self) -> bool {
        self.lapse.is_none_or(|lapse| lapse.cause != LapseCause::Unfinished)
    }

    /// The last map version in which it got every write, as far as is known.
    pub fn kept_until(&self) -> u64 {
        self.lapse.map_or(u64::MAX, |lapse| lapse.version)
    }
}

/// The nodes other than `master` that may hold keys of its partition: its slaves, and proxies that
/// were; but for those that are known to hold nothing.
pub fn candidates(
    stored: &StoredTopology,
    facts: &BTreeMap<NodeKey, Facts>,
    partition: i32,
    master: &NodeKey,
) -> Vec<Candidate> {
    let may_hold = stored.nodes.iter().filter(|(key, node)| {
        let member = node.entry.partition == partition;
        *key != master && (member || node.holds == Holding::Partition(partition))
    });
    let of = |(key, node): (&NodeKey, &StoredNode)| {
        let known = facts.get(key);
        // One that copies, though it is to be a proxy, does not hold what it will hold.
        let seen = known.and_then(Facts::observed_in_role).filter(|seen| !seen.copying);
        let seen = seen.map(|seen| seen.items);
        // A `flush_all` may be on its way to it.
        let is_emptied = node.empty_intent.is_some() && seen != Some(0);
        let doubtful = is_emptied || known.is_none_or(|facts| !facts.answers() || facts.suspected);
        Candidate {
            node: key.clone(),
            lapse: against(node, stored.version),
            items: seen.filter(|items| *items == 0 || !doubtful),
        }
    };
    may_hold.map(of).filter(|candidate| candidate.items != Some(0)).collect()
}

/// What is known against a node's copy; `None` for a whole one.
fn against(node: &StoredNode, version: u64) -> Option<Lapse> {
    let unknown = || Lapse::new(LapseCause::Unfinished, 0);
    match (node.entry.role, node.entry.state) {
        (Role::Slave, State::Active) => node.lapse,
        (Role::Proxy, _) => Some(node.lapse.unwrap_or_else(unknown)),
        _ => Some(node.lapse.unwrap_or(Lapse::new(LapseCause::Unfinished, version))),
    }
}

/// The copy that is as good as any other in every measure: it was whole, and still so when the
/// others were last kept up to date, and no other node shows more items. `None` when some node was
/// not seen, or when the measures contradict each other: an unfinished copy may have what was
/// written after a whole one had lost its role.
pub fn best(candidates: &[Candidate]) -> Option<&Candidate> {
    if candidates.iter().any(|candidate| candidate.items.is_none()) {
        return None;
    }
    let lacks_nothing_of = |one: &Candidate, other: &Candidate| {
        let later = match other.was_whole() {
            true => other.kept_until() > one.kept_until(),
            false => other.kept_until() >= one.kept_until(),
        };
        one.items >= other.items && !later
    };
    candidates.iter().find(|one| {
        let mut others = candidates.iter().filter(|other| other.node != one.node);
        one.was_whole() && others.all(|other| lacks_nothing_of(one, other))
    })
}

impl Planner<'_> {
    /// Does the dead master answer, and show that it has nothing?
    pub(super) fn came_back_empty(&self, master: &NodeKey) -> bool {
        let answers = self.view.facts(master).is_some_and(Facts::answers);
        answers && self.view.items(master) == Some(0)
    }

    /// A partition whose master is dead: a slave that could not take over at the moment of its
    /// death can do it now, or the best of what is left takes over.
    pub(super) fn replace_dead_master(&mut self) -> Option<Action> {
        for (partition, known) in self.shape.counted() {
            let Some(dead) = known.preserved_master() else { continue };
            let next = promotion::successor(self.view.stored, self.view.facts, partition, dead);
            if let Some(node) = next {
                return Some(Action::Promote { node, partition, lapse: None });
            }
            if let Some(chosen) = self.view.stored.recoveries.get(&partition) {
                match self.take_over_when_told(partition, chosen) {
                    None => continue,
                    action => return action,
                }
            }
            // A master that is back with its data is given its role back: it lacks nothing.
            let well =
                self.view.facts(dead).is_some_and(|facts| facts.answers() && !facts.suspected);
            if well && !self.came_back_empty(dead) {
                continue;
            }
            let action = match self.came_back_empty(dead) {
                true => self.take_best(partition, dead),
                false => self.take_last(partition, dead),
            };
            if action.is_some() {
                return action;
            }
        }
        None
    }

    /// The dead master is away: a slave that lapsed is the last resort.
    fn take_last(&mut self, partition: i32, dead: &NodeKey) -> Option<Action> {
        match promotion::last_resort(self.view, partition, dead) {
            LastResort::Nobody => None,
            LastResort::At(due) => {
                self.plan.look_at = self.plan.look_at.map_or(Some(due), |at| Some(at.min(due)));
                None
            }
            LastResort::Now(node, lapse) => {
                Some(Action::Promote { node, partition, lapse: Some(lapse) })
            }
        }
    }

    /// The dead master is back without its data: the best copy takes over, if it is clear which.
    fn take_best(&mut self, partition: i32, dead: &NodeKey) -> Option<Action> {
        let View { stored, facts, wanted, .. } = self.view;
        let candidates = candidates(stored, facts, partition, dead);
        let unseen = candidates.iter().filter(|candidate| candidate.items.is_none());
        self.plan.probes.extend(unseen.map(|candidate| candidate.node.clone()));
        let best = best(&candidates).filter(|_| wanted.promote_lapsed)?;
        let (node, lapse) = (best.node.clone(), best.lapse);
        let known = stored.nodes.get(&node)?;
        match known.entry.is_slave_of(partition) && known.entry.state == State::Active {
            // It is given back first, or is about to be stopped.
            _ if known.entry.state == State::Down || known.leaving.is_some() => None,
            true => Some(Action::Promote { node, partition, lapse }),
            false => Some(Action::Recover { node, partition, lapse: lapse? }),
        }
    }

    /// The chosen node takes over when it knows that it is a slave, and has given up to copy from
    /// the dead master.
    fn take_over_when_told(&mut self, partition: i32, chosen: &NodeKey) -> Option<Action> {
        let lapse = self.lapse(chosen);
        let facts = self.view.facts(chosen)?;
        let told = facts.answers() && !facts.suspected && facts.knows_its_role();
        let rests = facts.observed_in_role().is_some_and(|seen| !seen.copying);
        if told && rests {
            return Some(Action::Promote { node: chosen.clone(), partition, lapse });
        }
        self.plan.probes.insert(chosen.clone());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, items: Option<u64>, lapse: Option<(LapseCause, u64)>) -> Candidate {
        let lapse = lapse.map(|(cause, version)| Lapse::new(cause, version));
        Candidate { node: NodeKey::new(name, 1), lapse, items }
    }

    fn chosen(candidates: &[Candidate]) -> Option<&str> {
        best(candidates).map(|candidate| candidate.node.name())
    }

    #[test]
    fn a_copy_that_is_as_good_as_any_other_in_every_measure_is_chosen() {
        use LapseCause::{LostRole, Silent, Unfinished};
        let whole = candidate("whole", Some(10), Some((LostRole, 5)));
        let begun = candidate("begun", Some(9), Some((Unfinished, 4)));
        assert_eq!(chosen(std::slice::from_ref(&begun)), None, "it was never complete");
        assert_eq!(chosen(&[begun, whole.clone()]), Some("whole"));
        let more = candidate("more", Some(11), Some((Unfinished, 4)));
        assert_eq!(chosen(&[whole.clone(), more]), None, "another one shows more");
        let newer = candidate("newer", Some(9), Some((Unfinished, 6)));
        assert_eq!(chosen(&[whole.clone(), newer]), None, "it may have what was written later");
        let later = candidate("later", Some(10), Some((Silent, 7)));
        assert_eq!(chosen(&[whole.clone(), later]), Some("later"));
        let later = candidate("later", Some(8), Some((Silent, 7)));
        assert_eq!(chosen(&[whole.clone(), later]), None, "whole for longer, with fewer items");
        let away = candidate("away", None, Some((Unfinished, 2)));
        assert_eq!(chosen(&[whole, away]), None, "what it holds is not known");
        assert_eq!(chosen(&[]), None);
    }
}

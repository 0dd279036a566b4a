//! Nodes that are going to be stopped and say so in time: [`Input::PrepareToLeave`].
//!
//! Upstream's `shutdown` comes too late for a planned move: a node sends it when it has stopped
//! listening (flare-protocol.md 6.5). A node that is known to leave gets no role any more, and
//! never takes over; the policy hands its partition over while it still serves, and has its copy
//! made elsewhere where a node is free. Nothing is taken from it that is not held elsewhere.
//!
//! [`Input::PrepareToLeave`]: crate::topology::Input::PrepareToLeave

use std::collections::BTreeSet;

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::stored::{Leaving, StoredNode};
use crate::topology::{Answer, Effect, Event, Origin, Refusal, RequestId, Step, Topology};

/// How long the answer to a node that leaves waits for its partition to be handed over, at most:
/// long enough for a handover in which one node hangs. The handover itself goes on after it.
pub const LEAVE_MILLIS_MAX: u64 = 7_000;

/// How many may wait so at one time (R16).
pub const LEAVERS_MAX: usize = 64;

/// A handover that could not begin, because something else is under way, is tried again so soon.
pub const HANDOVER_RETRY_MILLIS: u64 = 250;

/// Somebody who waits until a node may be stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leaver {
    request: RequestId,
    node: NodeKey,
    pub(super) deadline: Timestamp,
}

/// May the node be stopped without taking a partition's master away? It may when it is none.
pub fn may_stop(node: &StoredNode) -> bool {
    node.entry.role != Role::Master || node.entry.state == State::Down
}

impl Topology {
    /// Notes that a node leaves, or stays after all. The answer to the first comes when the node
    /// may be stopped.
    pub(super) fn prepare_to_leave(
        &mut self,
        request: RequestId,
        node: NodeKey,
        (leaves, origin): (bool, Origin),
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if self.is_manual() {
            return Err(Refusal::OnlyAutomatic);
        }
        if origin == Origin::Outsider {
            return Err(Refusal::NotAllowed);
        }
        let known = self.proposed.nodes.get(&node).ok_or(Refusal::UnknownNode)?;
        if !leaves && known.leaving == Some(Leaving::Listed) {
            return Err(Refusal::Listed);
        }
        if self.leavers.len() >= LEAVERS_MAX {
            return Err(Refusal::Limit("nodes that wait until they may be stopped"));
        }
        if known.leaving.is_some() != leaves {
            self.note_leaving(&node, leaves.then_some(Leaving::Announced));
        }
        if leaves {
            let deadline = now.plus_millis(LEAVE_MILLIS_MAX);
            self.leavers.push(Leaver { request, node, deadline });
        } else {
            self.answer_when_stored((request, false), step);
        }
        Ok(())
    }

    /// The manifest names the nodes that are to leave.
    pub(super) fn leaving_listed(&mut self, nodes: BTreeSet<NodeKey>) {
        self.listed_to_leave = nodes;
        self.follow_leaving_list();
    }

    /// Which nodes leave, as the manifest has it; said once, and to be done again after a write
    /// that failed.
    pub(super) fn follow_leaving_list(&mut self) {
        let changed: Vec<_> = self
            .proposed
            .nodes
            .iter()
            .filter_map(|(key, node)| match (self.listed_to_leave.contains(key), node.leaving) {
                (true, None) => Some((key.clone(), Some(Leaving::Listed))),
                (false, Some(Leaving::Listed)) => Some((key.clone(), None)),
                _ => None,
            })
            .collect();
        for (key, leaving) in changed {
            self.note_leaving(&key, leaving);
        }
    }

    /// A node that starts again stays, unless the manifest has it leave.
    pub(super) fn leaving_of_new_process(&self, node: &NodeKey) -> Option<Leaving> {
        self.listed_to_leave.contains(node).then_some(Leaving::Listed)
    }

    pub(super) fn note_leaving(&mut self, node: &NodeKey, leaving: Option<Leaving>) {
        if self.proposed.nodes.get(node).is_none_or(|known| known.leaving == leaving) {
            return;
        }
        self.record(|stored| {
            if let Some(known) = stored.nodes.get_mut(node) {
                known.leaving = leaving;
            }
        });
        self.settled = false;
        self.news = true;
        let leaves = leaving.is_some();
        self.gathered.events.push(Event::Leaving { node: node.clone(), leaves });
    }

    /// Answers those whose node may be stopped, by the committed map, or cannot be in time.
    pub(super) fn answer_leavers(&mut self, now: Timestamp, step: &mut Step) {
        if self.leavers.is_empty() {
            return;
        }
        let mut waiting = Vec::new();
        for leaver in std::mem::take(&mut self.leavers) {
            // In the middle of a swap the master is shown as a slave; the swap may yet be taken
            // back, or be on its way back.
            let committed = self.snapshot.node(&leaver.node);
            let noted = committed.is_none_or(|node| node.leaving.is_some());
            let swapped = self.snapshot.stored().handover.is_some();
            let proposed = self.proposed.nodes.get(&leaver.node);
            let may_stop = [committed, proposed].into_iter().all(|node| node.is_none_or(may_stop))
                && !swapped
                && !self.is_handed_over(&leaver.node);
            let request = leaver.request;
            if noted && may_stop {
                self.answer(&[(request, false)], step);
            } else if now >= leaver.deadline {
                let answer = Answer::Refused(Refusal::StillMaster);
                step.effects.push(Effect::Reply { request, answer });
            } else {
                waiting.push(leaver);
            }
        }
        self.leavers = waiting;
    }

    /// What was noted for them is lost.
    pub(super) fn refuse_leavers(&mut self, refusal: &Refusal, step: &mut Step) {
        for Leaver { request, .. } in std::mem::take(&mut self.leavers) {
            let answer = Answer::Refused(refusal.clone());
            step.effects.push(Effect::Reply { request, answer });
        }
    }

    /// Begins to hand the partition of a leaving master over. What is in the way of that for a
    /// moment is waited for; nobody needs to hear of it.
    pub(super) fn hand_over(
        &mut self,
        node: &NodeKey,
        partition: i32,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        match self.hand_over_for_leaving(partition, now, step) {
            Err(Refusal::Busy) => {
                let facts = self.facts.entry(node.clone()).or_default();
                facts.retry_at = Some(now.plus_millis(HANDOVER_RETRY_MILLIS));
                Ok(())
            }
            begun => begun,
        }
    }
}

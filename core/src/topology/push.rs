//! Who is told of a map before whom: new masters first (R9), masters that give keys up last.
//!
//! A flared that takes a map in while it carries a write out may end the write under the new map
//! and not pass it on. So a master whose keys partly move to a new partition is told last, when
//! the nodes that write through it know the new owner and owe it nothing: measured on real nodes,
//! telling everybody at once lost a write in 7 of 10 activations, this way in 0 of 20.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{NodeKey, State, Timestamp};
use crate::stored::StoredTelling;
use crate::topology::handover::{Audience, RELEASING_MILLIS_MAX};
use crate::topology::{Effect, RequestId, Step, Targets, Topology};

/// How long the other nodes wait at most until a new master has taken in the map (R9); a hung
/// one must not delay them longer.
pub const FIRST_PUSH_WAIT_MILLIS: u64 = 500;

/// How long masters that give keys up wait at most until the others know and owe them nothing.
/// Whatever was under way is done by then, so that a queue that never runs dry costs no more.
pub const LAST_PUSH_WAIT_MILLIS: u64 = 1_000;

/// The order in which one map is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Told {
    /// Before everybody else.
    pub(super) first: Vec<NodeKey>,
    /// Not at all: on their way out.
    pub(super) left_out: Vec<NodeKey>,
    /// After everybody else.
    pub(super) last: Vec<NodeKey>,
}

/// A map that is not told to everybody yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct StagedPush {
    version: u64,
    stage: Stage,
    left_out: Vec<NodeKey>,
    last: Vec<NodeKey>,
    pub(super) asked: Vec<(RequestId, bool)>,
    pub(super) deadline: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    /// These have to take the map in before the others are told.
    First(BTreeSet<NodeKey>),
    /// Each of these has to take it in, and then to owe nothing to these thread types.
    Others(BTreeMap<NodeKey, Vec<u32>>),
}

impl Topology {
    /// Is there a map, told or yet to be stored, of which masters that give keys up are told
    /// last? No role is given meanwhile: its order could contradict that one.
    pub(super) fn keeps_some_for_last(&self) -> bool {
        let staged = self.staged_push.as_ref().is_some_and(|pending| !pending.last.is_empty());
        let writing = self.writing.as_ref().is_some_and(|writing| writing.keeps_some_for_last());
        staged || writing || !self.gathered.last.is_empty()
    }

    /// The index was started: it goes on to tell the stored map in its order. Nodes that have it
    /// already say so at once.
    pub(super) fn resume_push(&mut self, now: Timestamp, step: &mut Step) {
        let stored = self.snapshot.stored();
        if let (Some(telling), None) = (stored.telling.clone(), &stored.handover) {
            let StoredTelling { first, last } = telling;
            let told = Told { first, left_out: Vec::new(), last };
            self.stage_push(told, Vec::new(), now, step);
        }
    }

    /// Begins to tell the committed map in stages. A map that comes while another is told takes
    /// its place; nobody is kept for last then, since a new master does not wait for them.
    pub(super) fn stage_push(
        &mut self,
        told: Told,
        asked: Vec<(RequestId, bool)>,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Told { first, mut left_out, last } = told;
        let mut waiting = BTreeSet::from_iter(first);
        let (mut all_asked, mut keep) = (Vec::new(), last);
        // Nobody writes to who takes over in a handover before it knows: the relay waits, and the
        // handover goes another way before this is over.
        let wait = match self.snapshot.stored().handover {
            Some(_) => 2 * RELEASING_MILLIS_MAX,
            None => FIRST_PUSH_WAIT_MILLIS,
        };
        let mut deadline = now.plus_millis(wait);
        if let Some(before) = self.staged_push.take() {
            left_out.extend(before.left_out);
            all_asked = before.asked;
            keep = Vec::new();
            if let Stage::First(still) = before.stage {
                waiting.extend(still);
                deadline = deadline.min(before.deadline);
            }
        }
        all_asked.extend(asked);
        self.staged_push = Some(StagedPush {
            version: self.snapshot.version(),
            stage: Stage::First(waiting),
            left_out,
            last: keep,
            asked: all_asked,
            deadline,
        });
        self.push_newest(now, step);
    }

    /// A map without an order of its own: it waits behind one that has, and takes its place.
    pub(super) fn push_behind(&mut self, left_out: Vec<NodeKey>, now: Timestamp, step: &mut Step) {
        match &mut self.staged_push {
            Some(pending) => {
                pending.left_out.extend(left_out);
                self.push_newest(now, step);
            }
            None => self.push_to(left_out, &[], step),
        }
    }

    /// Sends the newest map to those whose turn it is.
    fn push_newest(&mut self, now: Timestamp, step: &mut Step) {
        let Some(pending) = &mut self.staged_push else { return };
        let nodes = &self.snapshot.stored().nodes;
        let lives =
            |key: &NodeKey| nodes.get(key).is_some_and(|node| node.entry.state != State::Down);
        match &mut pending.stage {
            Stage::First(waiting) => {
                waiting.retain(lives);
                let nodes: Vec<NodeKey> = waiting.iter().cloned().collect();
                if !nodes.is_empty() {
                    let to = Targets::Only(nodes.clone());
                    step.effects.push(Effect::Push { snapshot: Arc::clone(&self.snapshot), to });
                }
                for node in &nodes {
                    self.has_connections(node, step);
                }
            }
            Stage::Others(waiting) => {
                waiting.retain(|key, _| lives(key));
                let (left_out, last) = (pending.left_out.clone(), pending.last.clone());
                self.push_to(left_out, &last, step);
            }
        }
        self.advance_push(now, step);
    }

    fn push_to(&mut self, mut left_out: Vec<NodeKey>, last: &[NodeKey], step: &mut Step) {
        // Who left and came back within one write is to be told like everybody else.
        left_out.retain(|key| {
            self.snapshot.node(key).is_some_and(|node| node.entry.state == State::Down)
        });
        left_out.extend_from_slice(last);
        left_out.extend(self.hold_copiers());
        let to = match self.handover_audience() {
            Some(Audience::AllBut(key)) => {
                left_out.push(key);
                Targets::AllBut(left_out)
            }
            Some(Audience::Only(key)) => Targets::Only(vec![key]),
            None => Targets::AllBut(left_out),
        };
        step.effects.push(Effect::Push { snapshot: Arc::clone(&self.snapshot), to });
    }

    /// A node acknowledged a version: perhaps the next may be told.
    pub(super) fn push_acknowledged(
        &mut self,
        node: &NodeKey,
        acked: u64,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(pending) = self.staged_push.as_mut().filter(|push| acked >= push.version) else {
            return;
        };
        match &mut pending.stage {
            Stage::First(waiting) => {
                waiting.remove(node);
            }
            Stage::Others(waiting) => {
                if let Some(towards) = waiting.get(node).and_then(|owed| owed.first()) {
                    let (node, towards, until) = (node.clone(), *towards, pending.deadline);
                    step.effects.push(Effect::watch_queue(node, towards, until));
                }
            }
        }
        self.advance_push(now, step);
    }

    /// A node has nothing left towards one of the masters that wait to be told.
    pub(super) fn push_drained(
        &mut self,
        node: &NodeKey,
        drained: u32,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(pending) = &mut self.staged_push else { return };
        let Stage::Others(waiting) = &mut pending.stage else { return };
        if let Some(owed) = waiting.get_mut(node) {
            owed.retain(|towards| *towards != drained);
            match owed.first() {
                Some(towards) => {
                    let (node, towards, until) = (node.clone(), *towards, pending.deadline);
                    step.effects.push(Effect::watch_queue(node, towards, until));
                }
                None => {
                    waiting.remove(node);
                }
            }
        }
        self.advance_push(now, step);
    }

    /// Goes on to the next stage when the present one is over, done or not.
    pub(super) fn advance_push(&mut self, now: Timestamp, step: &mut Step) {
        let Some(pending) = &mut self.staged_push else { return };
        let late = now >= pending.deadline;
        let (done, first) = match &pending.stage {
            Stage::First(waiting) => (waiting.is_empty(), true),
            Stage::Others(waiting) => (waiting.is_empty(), false),
        };
        if !done && !late {
            return;
        }
        let asked = std::mem::take(&mut pending.asked);
        if first && !pending.last.is_empty() {
            self.tell_others(now, step);
        } else if let Some(pending) = self.staged_push.take() {
            self.push_to(pending.left_out, &[], step);
        }
        self.answer(&asked, step);
    }

    /// The middle stage: everybody but those who are told last.
    fn tell_others(&mut self, now: Timestamp, step: &mut Step) {
        let Some(pending) = &mut self.staged_push else { return };
        let nodes = &self.snapshot.stored().nodes;
        let owed: Vec<u32> = pending
            .last
            .iter()
            .filter_map(|key| nodes.get(key))
            .map(|node| node.entry.thread_type)
            .collect();
        pending.deadline = now.plus_millis(LAST_PUSH_WAIT_MILLIS);
        let told = nodes.iter().filter(|(key, node)| {
            node.entry.state != State::Down
                && !pending.last.contains(key)
                && self.facts.get(*key).is_some_and(|facts| facts.linked || !facts.heard)
        });
        let waiting: BTreeMap<NodeKey, Vec<u32>> =
            told.map(|(key, _)| (key.clone(), owed.clone())).collect();
        for key in waiting.keys() {
            let knows = self.facts.get(key).is_some_and(|facts| facts.acked >= pending.version);
            if let Some(towards) = owed.first().filter(|_| knows) {
                let (node, towards, until) = (key.clone(), *towards, pending.deadline);
                step.effects.push(Effect::watch_queue(node, towards, until));
            }
        }
        pending.stage = Stage::Others(waiting);
        let (left_out, last) = (pending.left_out.clone(), pending.last.clone());
        self.push_to(left_out, &last, step);
    }
}

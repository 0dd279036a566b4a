//! `node add`: a new node, one that comes back, and one that comes under the name of a living one.
//!
//! In automatic mode the last waits until it is known whether it replaces the old process or is a
//! second node with the same name (R13).

use crate::model::{NodeKey, State, Timestamp};
use crate::topology::transitions;
use crate::topology::{
    Answer, DownReason, Effect, Event, Origin, Refusal, RequestId, Step, Topology,
};

/// How long a `node add` under the name of a living node waits for evidence, at most; longer
/// than a silent node takes to be marked down at default settings.
pub const HELD_REGISTRATION_MILLIS: u64 = 10_000;

/// How many `node add` may wait so at one time (R16).
pub const HELD_REGISTRATIONS_MAX: usize = 64;

/// A `node add` that waits until it is known whether the old process still lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HeldRegistration {
    request: RequestId,
    node: NodeKey,
    pub(super) deadline: Timestamp,
}

/// What is known of the process that a held `node add` would replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldProcess {
    /// Its connection ended, or another process answers in its place.
    Gone,
    /// It has just answered.
    Alive,
}

impl Topology {
    /// `node add` (flare-protocol.md 3.2, R13).
    pub(super) fn register(
        &mut self,
        request: RequestId,
        node: NodeKey,
        origin: Origin,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        self.may_report(origin)?;
        let known = self.proposed.nodes.get(&node).map(|known| known.entry.state);
        if known.is_none() && self.proposed.nodes.len() >= self.settings.nodes_max {
            return Err(Refusal::Limit("nodes"));
        }
        match known {
            None => self.add(request, &node, step),
            Some(State::Down) if !self.is_paused(&node) => self.add(request, &node, step),
            Some(_) if self.is_manual() => Err(Refusal::AlreadyRegistered),
            Some(_) if self.facts.get(&node).is_some_and(|facts| facts.heard && !facts.linked) => {
                self.restarted(request, &node, now, step)
            }
            Some(_) => self.hold(request, node, now, step),
        }
    }

    fn add(&mut self, request: RequestId, node: &NodeKey, step: &mut Step) -> Result<(), Refusal> {
        let mut draft = self.proposed.clone();
        if let Some(change) = transitions::add(&mut draft, node)? {
            self.accept(draft, change)?;
        }
        self.process_began(node);
        self.answer_when_stored((request, true), step);
        Ok(())
    }

    /// What was known of its last process does not count for this one.
    fn process_began(&mut self, node: &NodeKey) {
        self.facts.entry(node.clone()).or_default().process_ended();
        self.note_leaving(node, self.leaving_of_new_process(node));
    }

    /// The node was quicker than our detection: failed over first; the failover actor gives it
    /// back once it answers. Upstream refuses here, and flared exits (flare-protocol.md 3.2).
    fn restarted(
        &mut self,
        request: RequestId,
        node: &NodeKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        self.take_down(node, DownReason::Restarted, now, step)?;
        self.process_began(node);
        self.answer_when_stored((request, true), step);
        Ok(())
    }

    /// The connection to the old process stands, or the index was just started and has none yet:
    /// ask it before believing that it was replaced (R13).
    fn hold(
        &mut self,
        request: RequestId,
        node: NodeKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if self.held.len() >= HELD_REGISTRATIONS_MAX {
            return Err(Refusal::Limit("registrations that wait for evidence"));
        }
        step.effects.push(Effect::Probe { node: node.clone() });
        let deadline = now.plus_millis(HELD_REGISTRATION_MILLIS);
        self.held.push(HeldRegistration { request, node, deadline });
        Ok(())
    }

    /// Evidence about a node for which a `node add` waits.
    pub(super) fn settle_held(
        &mut self,
        node: &NodeKey,
        old: OldProcess,
        now: Timestamp,
        step: &mut Step,
    ) {
        let (settled, waiting) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.node == *node);
        self.held = waiting;
        let settled: Vec<HeldRegistration> = settled;
        for HeldRegistration { request, node, .. } in settled {
            let done = match old {
                OldProcess::Gone => self.restarted(request, &node, now, step),
                OldProcess::Alive => Err(Refusal::NameTaken),
            };
            if let Err(refusal) = done {
                self.refuse_held(request, &node, refusal, step);
            }
        }
    }

    fn refuse_held(
        &mut self,
        request: RequestId,
        node: &NodeKey,
        refusal: Refusal,
        step: &mut Step,
    ) {
        let order = format!("node add {} {}", node.name(), node.port());
        step.effects
            .push(Effect::Happened(Event::OrderRefused { order, refusal: refusal.clone() }));
        step.effects.push(Effect::Reply { request, answer: Answer::Refused(refusal) });
    }

    /// Nothing is decided here any more.
    pub(super) fn refuse_all_held(&mut self, refusal: &Refusal, step: &mut Step) {
        for held in std::mem::take(&mut self.held) {
            self.refuse_held(held.request, &held.node, refusal.clone(), step);
        }
    }

    /// Held registrations of nodes that went down meanwhile, or whose wait is over.
    pub(super) fn resolve_held(&mut self, now: Timestamp, step: &mut Step) {
        let is_down = |topology: &Self, key: &NodeKey| {
            let known = topology.proposed.nodes.get(key);
            known.is_none_or(|node| node.entry.state == State::Down) && !topology.is_paused(key)
        };
        let mut waiting = Vec::new();
        for held in std::mem::take(&mut self.held) {
            if is_down(self, &held.node) {
                if let Err(refusal) = self.add(held.request, &held.node, step) {
                    self.refuse_held(held.request, &held.node, refusal, step);
                }
            } else if now >= held.deadline {
                self.refuse_held(held.request, &held.node, Refusal::NameTaken, step);
            } else {
                waiting.push(held);
            }
        }
        self.held.extend(waiting);
    }
}

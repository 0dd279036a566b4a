//! What automatic mode does differently from flarei, and how the policy's actions are carried out.
//!
//! Who may ask for what (R15), who takes over from a dead master (R5), what a returning node gets,
//! and the loop that asks `policy` for the next action.

use std::collections::BTreeSet;

use crate::model::{NodeEntry, NodeKey, Role, State, Timestamp};
use crate::policy::assignment::{self, Action, View};
use crate::policy::{promotion, recovery};
use crate::stored::StoredTopology;
use crate::topology::drafts::{self, give_keys_up, is_replaced, promote_for_preserved, sources};
use crate::topology::transitions::{self, Change, set};
use crate::topology::{
    DownReason, Effect, Event, Mode, Origin, PROBE_INTERVAL_MILLIS, Refusal, RequestId,
    STORE_RETRY_MILLIS, Seen, Step, Topology,
};
use crate::wanted::Wanted;

impl Topology {
    pub(super) fn is_manual(&self) -> bool {
        self.settings.mode == Mode::Manual
    }

    /// A node's own report (R15).
    pub(super) fn may_report(&self, origin: Origin) -> Result<(), Refusal> {
        match origin {
            Origin::Node => Ok(()),
            Origin::Outsider | Origin::Admin if self.is_manual() => Ok(()),
            Origin::Outsider | Origin::Admin => Err(Refusal::NotAllowed),
        }
    }

    /// The entry that limits what may be asked about a node; `None` in manual mode, where all may
    /// be asked. Nobody changes a node that is being swapped.
    fn limited_entry(&self, node: &NodeKey, origin: Origin) -> Result<Option<NodeEntry>, Refusal> {
        if self.is_handed_over(node) {
            return Err(Refusal::Busy);
        }
        if self.is_manual() {
            return Ok(None);
        }
        self.may_report(origin)?;
        transitions::entry(&self.proposed, node).map(Some)
    }

    /// In automatic mode a node may only give up a role that it does not have yet: that is how
    /// flared reports a failed copy (flare-protocol.md 6.3).
    pub(super) fn may_set_role(
        &self,
        node: &NodeKey,
        role: Role,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.limited_entry(node, origin)? else { return Ok(()) };
        match (role, entry.state) {
            (Role::Proxy, State::Prepare | State::Ready) => Ok(()),
            (_, State::Down) => Err(Refusal::NodeDown),
            _ => Err(Refusal::NotAllowed),
        }
    }

    /// In automatic mode a node may only say that its copy is complete.
    pub(super) fn may_set_state(
        &self,
        node: &NodeKey,
        state: State,
        origin: Origin,
    ) -> Result<(), Refusal> {
        let Some(entry) = self.limited_entry(node, origin)? else { return Ok(()) };
        match (state, entry.role, entry.state) {
            // A report that comes late, from a node that was marked down meanwhile, must not
            // bring it up (flare-protocol.md 6.5).
            (_, _, State::Down) => Err(Refusal::NodeDown),
            (State::Active, _, State::Active) => Ok(()),
            (State::Active, Role::Slave, State::Prepare) => Ok(()),
            (State::Ready, Role::Master, State::Prepare) => Ok(()),
            (State::Active | State::Ready, _, _) => Err(Refusal::Transition),
            (State::Down | State::Prepare, _, _) => Err(Refusal::NotAllowed),
        }
    }

    /// In automatic mode only a person forgets a node, and never a partition's only master:
    /// flarei forgets it as soon as some node prepares to be its slave (flare-protocol.md 3.6).
    /// Nor what may be left of a partition while it has no master (R6).
    pub(super) fn may_remove(&self, node: &NodeKey, origin: Origin) -> Result<(), Refusal> {
        if self.is_manual() {
            return Ok(());
        }
        if origin != Origin::Admin {
            return Err(Refusal::NotAllowed);
        }
        let entry = transitions::entry(&self.proposed, node)?;
        if entry.is_preserved() && !is_replaced(&self.proposed, node, entry.partition) {
            return Err(Refusal::LastCopy);
        }
        self.may_be_left_of(node).map_or(Ok(()), |of| Err(Refusal::MayBeLeft { partition: of }))
    }

    pub(super) fn set_state(
        &mut self,
        request: RequestId,
        node: &NodeKey,
        state: State,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        match state {
            State::Prepare => Err(Refusal::Transition),
            State::Ready => self.change(request, step, |draft| transitions::ready(draft, node)),
            State::Active => {
                let automatic = !self.is_manual();
                self.change(request, step, |draft| {
                    let outcome = transitions::up(draft, node);
                    if automatic {
                        set(draft, node, |entry| entry.balance = assignment::READ_BALANCE);
                    }
                    outcome
                })?;
                if let Some(facts) = self.facts.get_mut(node) {
                    facts.failures = 0;
                }
                Ok(())
            }
            State::Down => {
                let why = DownReason::Ordered.to_string();
                self.change(request, step, |draft| {
                    transitions::down(draft, node, why, transitions::upstream_successor)
                })
            }
        }
    }

    /// `shutdown`: as a death, but the node itself is told only if it was an active master
    /// (flare-protocol.md 3.5).
    pub(super) fn shutdown(
        &mut self,
        request: RequestId,
        node: &NodeKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let entry = transitions::entry(&self.proposed, node)?;
        if entry.state != State::Down || self.is_handed_over(node) {
            self.take_down(node, DownReason::Left, now, step)?;
            if !(entry.role == Role::Master && entry.state == State::Active) {
                self.gathered.left_out.push(node.clone());
            }
        }
        self.answer_when_stored((request, false), step);
        Ok(())
    }

    /// An order is stale when the node changed after its sender looked.
    pub(super) fn is_current(&self, node: &NodeKey, seen: &Seen) -> Result<(), Refusal> {
        let facts = self.facts.get(node).ok_or(Refusal::UnknownNode)?;
        let other_process = match (facts.incarnation(), seen.incarnation) {
            (Some(known), Some(seen)) => !known.is_same(&seen),
            _ => false,
        };
        if other_process || facts.changed_version > seen.version {
            return Err(Refusal::Stale);
        }
        Ok(())
    }

    pub(super) fn mark_down(
        &mut self,
        node: &NodeKey,
        reason: DownReason,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let is_down = transitions::entry(&self.proposed, node)?.state == State::Down;
        match is_down && !self.is_paused(node) {
            true => Ok(()),
            false => self.take_down(node, reason, now, step),
        }
    }

    /// Takes a node down; an eligible slave takes over from an active master.
    pub(super) fn take_down(
        &mut self,
        node: &NodeKey,
        reason: DownReason,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if let Some(ended) = self.party_died(node, now, step) {
            return ended;
        }
        let mut draft = self.proposed.clone();
        let manual = self.is_manual();
        let facts = &self.facts;
        let pick = |stored: &StoredTopology, partition| match manual {
            // No failover while so many are dead (R11): the master keeps its role, as one without
            // a slave does.
            _ if stored.breaker_open => None,
            true => transitions::upstream_successor(stored, partition),
            false => promotion::successor(stored, facts, partition, node),
        };
        if let Some(change) = transitions::down(&mut draft, node, reason.to_string(), pick)? {
            let before = transitions::entry(&self.proposed, node)?;
            if !manual && before.role == Role::Master && before.state == State::Active {
                drafts::give_up_copies(&mut draft, before.partition);
            }
            self.accept(draft, change)?;
            let often = !matches!(reason, DownReason::Left | DownReason::Ordered);
            let facts = self.facts.entry(node.clone()).or_default();
            facts.down_since = now;
            if often {
                let pause = facts.watch.died(now);
                facts.retry_at = facts.retry_at.max(pause);
            }
        }
        Ok(())
    }

    /// A node that was down is alive again (flare-protocol.md 3.4).
    pub(super) fn give_back(&mut self, node: &NodeKey, seen: &Seen) -> Result<(), Refusal> {
        if transitions::entry(&self.proposed, node)?.state != State::Down {
            return Ok(());
        }
        if self.is_handed_over(node) {
            return Err(Refusal::Busy);
        }
        self.is_current(node, seen)?;
        let mut draft = self.proposed.clone();
        let manual = self.is_manual();
        let outcome = match manual {
            true => transitions::up(&mut draft, node),
            false => self.give_back_automatically(&mut draft, node),
        };
        if let Some(change) = outcome? {
            self.accept(draft, change)?;
        }
        Ok(())
    }

    /// A returning master whose partition nobody took over keeps it, whatever slaves still prepare
    /// (upstream demotes it and leaves the partition without a master: flare-protocol.md Q8), but
    /// not when it lost its data and another node may have what is left of it (R6).
    fn give_back_automatically(
        &self,
        draft: &mut StoredTopology,
        node: &NodeKey,
    ) -> transitions::Outcome {
        let before = transitions::entry(draft, node)?;
        if !before.is_preserved() || is_replaced(draft, node, before.partition) {
            set(draft, node, |entry| entry.become_proxy(State::Active));
            return Ok(Some(Change::because("is back")));
        }
        let items = self.facts.get(node).and_then(|facts| facts.observed).map(|seen| seen.items);
        let empty = items.ok_or(Refusal::Stale)? == 0;
        let others = || recovery::candidates(draft, &self.facts, before.partition, node);
        if empty && !others().is_empty() {
            return Err(Refusal::LastCopy);
        }
        set(draft, node, |entry| entry.state = State::Active);
        let why = match empty {
            true => "is back, without any data, and keeps its role",
            false => "is back and keeps its role",
        };
        Ok(Some(Change::because(why)))
    }

    /// Asks the policy for actions until it has none, and carries them out.
    pub(super) fn carry_out_policy(&mut self, wanted: Wanted, now: Timestamp, step: &mut Step) {
        if self.keeps_some_for_last() || self.is_pausing(now) {
            return;
        }
        self.pause_until = None;
        // Each action gives or takes one role, or empties one node: more are a loop of ours.
        let actions_max = 4 * self.proposed.nodes.len() + 4;
        let mut blocked = BTreeSet::new();
        for _ in 0..actions_max {
            let view = View { stored: &self.proposed, facts: &self.facts, wanted, now };
            let plan = assignment::next(&view);
            self.probe(&plan.probes, now, step);
            blocked = plan.blocked;
            self.settled = plan.settled;
            self.probing = !plan.probes.is_empty();
            self.look_at = plan.look_at;
            let drained = self.drain(&plan.drains, now, step);
            let Some(action) = plan.action else {
                if drained {
                    continue;
                }
                break;
            };
            if self.keeps_some_for_last() || self.handover.is_some() {
                break;
            }
            self.connect_to_slaves(&action, step);
            let order = action.to_string();
            if let Err(refusal) = self.act(action, now, step) {
                let refused = match refusal {
                    Refusal::Invariant(what) => Event::InvariantBroken { what },
                    refusal => Event::OrderRefused { order, refusal },
                };
                step.effects.push(Effect::Happened(refused));
                self.pause_until = Some(now.plus_millis(STORE_RETRY_MILLIS));
                break;
            }
        }
        self.tell_blocked(blocked, step);
    }

    fn probe(&mut self, nodes: &BTreeSet<NodeKey>, now: Timestamp, step: &mut Step) {
        for node in nodes {
            let Some(facts) = self.facts.get_mut(node).filter(|facts| facts.linked) else {
                continue;
            };
            let due = facts.probed_at.map(|at| at.plus_millis(PROBE_INTERVAL_MILLIS));
            if due.is_none_or(|due| now >= due) {
                facts.probed_at = Some(now);
                step.effects.push(Effect::Probe { node: node.clone() });
            }
        }
    }

    fn act(&mut self, action: Action, now: Timestamp, step: &mut Step) -> Result<(), Refusal> {
        let why = action.why();
        let mut draft = self.proposed.clone();
        match action {
            Action::IntendToEmpty { node } => {
                let intent = draft.next_intent;
                self.record(|stored| {
                    stored.next_intent += 1;
                    if let Some(stored) = stored.nodes.get_mut(&node) {
                        stored.empty_intent = Some(intent);
                    }
                });
                self.facts.entry(node.clone()).or_default().emptying = Some(intent);
                self.gathered.empty.push((node, intent));
                return Ok(());
            }
            Action::EmptyAgain { node, intent } => {
                self.facts.entry(node.clone()).or_default().emptying = Some(intent);
                let stored = self.snapshot.node(&node).and_then(|node| node.empty_intent);
                // Else it is on its way to the store, and goes out from there.
                if stored == Some(intent) {
                    self.empty(&[(node, intent)], now, step);
                }
                return Ok(());
            }
            Action::Assign { node, role, partition } => {
                let balance = if role == Role::Master { assignment::READ_BALANCE } else { 0 };
                transitions::set_role(&mut draft, &node, role, balance, partition)?;
                let first = sources(&draft, &node);
                self.accept(draft, Change { first, ..Change::because(why) })?;
            }
            Action::Activate { node, evidence } => {
                let change = transitions::up(&mut draft, &node)?.unwrap_or_default();
                set(&mut draft, &node, |entry| entry.balance = assignment::READ_BALANCE);
                let last = give_keys_up(&draft, &node);
                self.accept(draft, Change { why, last, ..change })?;
                self.facts.entry(node.clone()).or_default().failures = 0;
                self.tell_recovered(node, evidence);
            }
            Action::CallReady { node, evidence } => {
                transitions::ready(&mut draft, &node)?;
                self.accept(draft, Change::because(why))?;
                self.tell_recovered(node, Some(evidence));
            }
            Action::CopyAgain { node, evidence } => {
                transitions::set_role(&mut draft, &node, Role::Proxy, -1, -1)?;
                self.accept(draft, Change::because(why))?;
                self.facts.entry(node.clone()).or_default().failed(now);
                self.tell_recovered(node, Some(evidence));
            }
            Action::Promote { node, partition, lapse } => {
                promote_for_preserved(&mut draft, &node, partition);
                let first = vec![node.clone()];
                self.accept(draft, Change { first, ..Change::because(why) })?;
                self.tell_lapsed_promoted(node, partition, lapse);
            }
            Action::Recover { node, partition, lapse } => {
                self.recover_by_itself(node, partition, lapse, why)?;
            }
            Action::HandOver { node, partition } => {
                self.hand_over(&node, partition, now, step)?;
            }
            Action::Renew { node, .. } | Action::Demote { node } => {
                transitions::set_role(&mut draft, &node, Role::Proxy, -1, -1)?;
                self.accept(draft, Change::because(why))?;
            }
            Action::SetBalance { node, balance } => {
                set(&mut draft, &node, |entry| entry.balance = balance);
                self.accept(draft, Change::because(why))?;
            }
        }
        Ok(())
    }

    fn tell_recovered(&mut self, node: NodeKey, evidence: Option<String>) {
        let told = evidence.map(|evidence| Event::ReportRecovered { node, evidence });
        self.gathered.events.extend(told);
    }
}
